"""What is missing of a job in words: as findings, below a plot that has gaps, and for metrics without a plot. Pure."""

from collections.abc import Iterable, Sequence
from datetime import tzinfo

from cc_backend.metricstore.absence.reasons import JobAbsences
from cc_backend.metricstore.absence.reasontext import host_text, sentences
from cc_backend.model import Absence, Level, Why
from cc_backend.web.findings import Finding
from cc_backend.wording.format import HOUR_S, MINUTE_S, duration, number
from cc_backend.wording.labels import lower, metric_name

MOST_FINDINGS = 3
MOST_REASONS = 2  # below a plot
_IN_MINUTES_BELOW_S = 5 * HOUR_S
_NEXT_TO_NOTHING_S, _NEXT_TO_NOTHING = 180, 0.05
_ADVICE = "If other jobs there are silent too, tell the support staff."
_LEFT_OUT = "Means leave this time out."


def absent_findings(absences: JobAbsences, *, length_s: float, nodes: int, zone: tzinfo | None) -> list[Finding]:
    """What whole nodes, or the store, did not deliver; the greatest loss first, at most a few and one for the rest.

    `length_s` and `nodes` are those of the job.
    """
    groups: dict[tuple[Why, tuple[str, ...]], list[Absence]] = {}
    for one in absences.hosts:
        groups.setdefault((one.why, one.hosts), []).append(one)
    found = [_finding(group, length_s, nodes, zone, absences.now_s) for group in groups.values()]
    if len(found) <= MOST_FINDINGS + 1:
        return found
    named, others = (
        [hosts for _, hosts in part] for part in (list(groups)[:MOST_FINDINGS], list(groups)[MOST_FINDINGS:])
    )
    rest = {host for hosts in others for host in hosts}.difference(*named)
    if not rest:
        return found[:MOST_FINDINGS]
    more = f"The agents on {number(len(rest))} more nodes were silent for some time."
    return [*found[:MOST_FINDINGS], Finding(Level.ARTEFACT, more, f"{host_text(rest)}. {_LEFT_OUT}")]


def _finding(
    group: Sequence[Absence], length_s: float, nodes: int, zone: tzinfo | None, now_s: float | None
) -> Finding:
    first = group[0]
    lost_s = lost_of(group, length_s)
    everything = lost_s >= length_s
    told = sentences(sorted(group, key=lambda one: one.from_s), "", zone=zone, now_s=now_s, most=MOST_FINDINGS)
    when = " ".join(told)
    several = len(first.hosts) > 1
    hosts = f"all {number(nodes)} nodes" if several and len(first.hosts) == nodes else host_text(first.hosts)
    match first.why:
        case Why.HOST_SILENT | Why.HOST_NEVER if everything or first.why is Why.HOST_NEVER:
            return Finding(Level.ARTEFACT, f"No samples of {hosts}.", f"{when} {_ADVICE}")
        case Why.HOST_SILENT:
            subject = f"The agents on {hosts}" if several else f"The agent on {hosts}"
            if len(group) == 1 and first.ongoing:
                headline = f"{subject} {'have' if several else 'has'} been silent for the last {duration(lost_s)}."
            else:
                headline = f"{subject} {'were' if several else 'was'} silent for {share(lost_s, length_s)}."
            return Finding(Level.ARTEFACT, headline, f"{when} {_LEFT_OUT} {_ADVICE}")
        case Why.STORE_DOWN:
            lost = "the whole job" if everything else share(lost_s, length_s)
            return Finding(Level.ARTEFACT, f"The metric store was off for {lost}.", f"{when} {_LEFT_OUT}")
        case Why.RESTORING | Why.TOO_OLD:
            what = "The samples of this job" if everything else f"Samples of {share(lost_s, length_s)}"
            verb = "are not read back yet" if first.why is Why.RESTORING else "are no longer kept"
            return Finding(Level.ARTEFACT, f"{what} {verb}.", when)
        case _:
            return Finding(Level.ARTEFACT, when)


def lost_of(group: Sequence[Absence], length_s: float) -> float:
    """How many seconds of a job some absences cover together; all of it where hardly more than a sample is left."""
    covered, end = 0, -1
    for one in sorted(group, key=lambda one: one.from_s):
        covered += max(0, one.to_s - max(one.from_s, end))
        end = max(end, one.to_s)
    rest = length_s - covered
    return length_s if rest < min(_NEXT_TO_NOTHING_S, _NEXT_TO_NOTHING * length_s) else float(covered)


def share(lost_s: float, length_s: float) -> str:
    """How much of a job: `68 of 120 min`, `3 h 05 min of 26 h`; `120 min` where it is all of it."""
    if lost_s >= length_s:
        return duration(length_s)
    if lost_s >= MINUTE_S and length_s < _IN_MINUTES_BELOW_S:
        return f"{number(int(lost_s // MINUTE_S))} of {number(int(length_s // MINUTE_S))} min"
    return f"{duration(lost_s)} of {duration(length_s)}"


def plot_reasons(absences: JobAbsences, metric: str, *, gaps: bool, zone: tzinfo | None) -> tuple[str, ...]:
    """What stands below a plot: what is so for this metric alone; or, with gaps in the plot, what made them."""
    found = absences.metrics.get(metric, ())
    told = _of_metric(found) or (found if gaps else ())
    return tuple(sentences(told, lower(metric_name(metric)), zone=zone, now_s=absences.now_s, most=MOST_REASONS))


def _of_metric(found: Sequence[Absence]) -> tuple[Absence, ...]:
    """Without what is so for whole nodes or the store, which the findings tell."""
    return tuple(one for one in found if not (one.why.of_host or one.why.of_store))


def missing_reasons(
    absences: JobAbsences, metrics: Iterable[str], *, zone: tzinfo | None
) -> tuple[tuple[str, str], ...]:
    """Names of metrics that were not measured, with the reason they share; an empty reason where there is none."""
    groups: dict[tuple[Absence, ...], list[str]] = {}
    for metric in metrics:
        found = absences.metrics.get(metric, ())
        groups.setdefault(_of_metric(found) or tuple(found), []).append(metric)
    return tuple(
        (
            ", ".join(metric_name(name) for name in names),
            " ".join(sentences(found, _words(names), zone=zone, now_s=absences.now_s, most=MOST_REASONS)),
        )
        for found, names in groups.items()
    )


def _words(names: Sequence[str]) -> str:
    return lower(metric_name(names[0])) if len(names) == 1 else "these"


def why_missing(absences: JobAbsences, metrics: Sequence[str], *, zone: tzinfo | None) -> str:
    """One sentence for metrics that were not measured, empty where they have no reason in common."""
    reasons = {reason for _, reason in missing_reasons(absences, metrics, zone=zone)}
    return reasons.pop() if len(reasons) == 1 else ""
