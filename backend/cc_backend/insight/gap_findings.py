"""What whole nodes, or the store, did not deliver of a job, as findings. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from cc_backend.insight.findings import FindingCode
from cc_backend.metricstore.gaps.reasons import JobGaps
from cc_backend.model import DataGap, Finding, GapReason, Job, Level

MAX_FINDINGS = 3
MAX_STRETCHES = 4
_NEGLIGIBLE_REST_S, _NEGLIGIBLE_REST_SHARE = 180, 0.05


def gap_findings(job: Job, gaps: JobGaps) -> list[Finding]:
    """The greatest loss first, at most a few findings and one for the rest."""
    groups: dict[tuple[GapReason, tuple[str, ...]], list[DataGap]] = {}
    for one in gaps.hosts:
        groups.setdefault((one.reason, one.hosts), []).append(one)
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
    ordered = sorted(group, key=lambda one: one.from_s)
    facts = {
        "why": first.reason.value,
        "lost_s": lost_seconds(group, job.duration),
        "length_s": job.duration,
        "of_nodes": job.num_nodes,
        "times": len(group),
        "stretches": [[one.from_s, one.to_s, one.last_sample_s, one.is_ongoing] for one in ordered[:MAX_STRETCHES]],
    }
    return Finding(
        FindingCode.SAMPLES_ABSENT, Level.ARTEFACT, "", first.hosts, len(first.hosts), ordered[0].from_s, facts=facts
    )  # fmt: skip


def lost_seconds(group: Sequence[DataGap], length_s: float) -> float:
    """How many seconds of a job some absences cover together; all of it where hardly more than a sample is left."""
    covered, end = 0, -1
    for one in sorted(group, key=lambda one: one.from_s):
        covered += max(0, one.to_s - max(one.from_s, end))
        end = max(end, one.to_s)
    rest = length_s - covered
    return length_s if rest < min(_NEGLIGIBLE_REST_S, _NEGLIGIBLE_REST_SHARE * length_s) else float(covered)


def gaps_of_finding(finding: Finding) -> list[DataGap]:
    """The stretches of time that such a finding is about, as absences again."""
    facts: Mapping[str, Any] = finding.facts
    return [
        DataGap(GapReason(facts["why"]), finding.hosts, from_s, to_s, last_s, ongoing)
        for from_s, to_s, last_s, ongoing in facts["stretches"]
    ]
