"""What whole nodes, or the store, did not deliver of a job, as findings. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from cc_backend.insight.findings import Code
from cc_backend.metricstore.gaps.reasons import JobAbsences
from cc_backend.model import Absence, Finding, Job, Level, Why

MOST_FINDINGS = 3
MOST_STRETCHES = 4
_NEXT_TO_NOTHING_S, _NEXT_TO_NOTHING = 180, 0.05


def absence_findings(job: Job, absences: JobAbsences) -> list[Finding]:
    """The greatest loss first, at most a few findings and one for the rest."""
    groups: dict[tuple[Why, tuple[str, ...]], list[Absence]] = {}
    for one in absences.hosts:
        groups.setdefault((one.why, one.hosts), []).append(one)
    found = [_finding(job, group) for group in groups.values()]
    if len(found) <= MOST_FINDINGS + 1:
        return found
    hosts_of = [hosts for _, hosts in groups]
    rest = {host for hosts in hosts_of[MOST_FINDINGS:] for host in hosts}.difference(*hosts_of[:MOST_FINDINGS])
    if not rest:
        return found[:MOST_FINDINGS]
    facts = {"why": "", "lost_s": 0, "length_s": job.duration, "stretches": []}
    return [
        *found[:MOST_FINDINGS],
        Finding(Code.ABSENT, Level.ARTEFACT, hosts=tuple(sorted(rest)), nodes=len(rest), facts=facts),
    ]


def _finding(job: Job, group: Sequence[Absence]) -> Finding:
    first = group[0]
    ordered = sorted(group, key=lambda one: one.from_s)
    facts = {
        "why": first.why.value,
        "lost_s": lost_of(group, job.duration),
        "length_s": job.duration,
        "of_nodes": job.num_nodes,
        "times": len(group),
        "stretches": [[one.from_s, one.to_s, one.last_s, one.ongoing] for one in ordered[:MOST_STRETCHES]],
    }
    return Finding(
        Code.ABSENT, Level.ARTEFACT, "", first.hosts, len(first.hosts), ordered[0].from_s, facts=facts
    )  # fmt: skip


def lost_of(group: Sequence[Absence], length_s: float) -> float:
    """How many seconds of a job some absences cover together; all of it where hardly more than a sample is left."""
    covered, end = 0, -1
    for one in sorted(group, key=lambda one: one.from_s):
        covered += max(0, one.to_s - max(one.from_s, end))
        end = max(end, one.to_s)
    rest = length_s - covered
    return length_s if rest < min(_NEXT_TO_NOTHING_S, _NEXT_TO_NOTHING * length_s) else float(covered)


def stretches_of(finding: Finding) -> list[Absence]:
    """The stretches of time that such a finding is about, as absences again."""
    facts: Mapping[str, Any] = finding.facts
    return [
        Absence(Why(facts["why"]), finding.hosts, from_s, to_s, last_s, ongoing)
        for from_s, to_s, last_s, ongoing in facts["stretches"]
    ]
