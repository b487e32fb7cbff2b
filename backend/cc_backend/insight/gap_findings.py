"""Findings about samples that are missing of whole nodes or of all: made from the gaps of a job. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from cc_backend.insight.findings import FindingCode
from cc_backend.metricstore import JobGaps
from cc_backend.model import DataGap, Finding, GapReason, Job, Level

MAX_FINDINGS = 3
MAX_STRETCHES = 4
_NEGLIGIBLE_REST_S, _NEGLIGIBLE_REST_SHARE = 180, 0.05


def gap_findings(job: Job, gaps: JobGaps) -> list[Finding]:
    """One finding for each set of hosts, the greatest loss first: at most 3, and one for all other hosts."""
    groups: dict[tuple[GapReason, tuple[str, ...]], list[DataGap]] = {}
    for gap in gaps.hosts:
        groups.setdefault((gap.reason, gap.hosts), []).append(gap)
    found = [_finding(job, group) for group in groups.values()]
    if len(found) <= MAX_FINDINGS + 1:
        return found
    hosts_of = [hosts for _, hosts in groups]
    rest = {host for hosts in hosts_of[MAX_FINDINGS:] for host in hosts}.difference(*hosts_of[:MAX_FINDINGS])
    if not rest:
        return found[:MAX_FINDINGS]
    facts = {"why": "", "lost_s": 0, "length_s": job.duration, "stretches": []}
    return [
        *found[:MAX_FINDINGS],
        Finding(
            FindingCode.SAMPLES_ABSENT, Level.ARTEFACT, hosts=tuple(sorted(rest)), node_count=len(rest), facts=facts
        ),
    ]


def _finding(job: Job, group: Sequence[DataGap]) -> Finding:
    first = group[0]
    ordered = sorted(group, key=lambda gap: gap.from_s)
    facts = {
        "why": first.reason.value,
        "lost_s": lost_seconds(group, job.duration),
        "length_s": job.duration,
        "of_nodes": job.num_nodes,
        "times": len(group),
        "stretches": [[gap.from_s, gap.to_s, gap.last_sample_s, gap.is_ongoing] for gap in ordered[:MAX_STRETCHES]],
    }
    return Finding(
        FindingCode.SAMPLES_ABSENT, Level.ARTEFACT, "", first.hosts, len(first.hosts), ordered[0].from_s, facts=facts
    )  # fmt: skip


def lost_seconds(group: Sequence[DataGap], length_s: float) -> float:
    """How many seconds of a job the gaps cover together; `length_s` where next to nothing is left."""
    covered, end = 0, -1
    for gap in sorted(group, key=lambda gap: gap.from_s):
        covered += max(0, gap.to_s - max(gap.from_s, end))
        end = max(end, gap.to_s)
    rest = length_s - covered
    return length_s if rest < min(_NEGLIGIBLE_REST_S, _NEGLIGIBLE_REST_SHARE * length_s) else float(covered)


def gaps_of_finding(finding: Finding) -> list[DataGap]:
    """The gaps that such a finding was made of."""
    facts: Mapping[str, Any] = finding.facts
    return [
        DataGap(GapReason(facts["why"]), finding.hosts, from_s, to_s, last_s, ongoing)
        for from_s, to_s, last_s, ongoing in facts["stretches"]
    ]
