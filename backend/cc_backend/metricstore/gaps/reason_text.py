"""Reasons for missing data in words, short and exact, such as `n017 sent nothing from 14:02 to 15:10`."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, tzinfo

from cc_backend.metricstore.model import MetricFault
from cc_backend.model import Absence, Why
from cc_common.hostlist import fold

MOST_SENTENCES = 4
_LONGEST_LIST = 60
_SENTENCES = {
    Why.UNREACHABLE: "The store that has these samples cannot be reached just now.",
    Why.NOT_CONFIGURED: "This cluster is not set up to measure {metric}.",
    Why.NOT_HERE: "This kind of node does not measure {metric}.",
    Why.NO_HARDWARE: "This job has no GPU of which {metric} could be measured.",
    Why.JOB_TOO_SHORT: "The job was shorter than the time between two samples of {metric}.",
    Why.TOO_EARLY: "The first samples of {metric} are on their way.",
    Why.TOO_OLD: "Samples from before {end} are no longer kept.",
    Why.RESTORING: "The metric store was started a moment ago and still reads back older samples.",
    Why.STORE_DOWN: "The metric store did not run {when}.",
    Why.HOST_NEVER: "{nodes} never sent anything.",
    Why.HOST_SILENT: "{nodes} sent nothing {when}{last}.",
    Why.METRIC_NOWHERE: "No node of this cluster sends {metric}.",
    Why.METRIC_NEVER: "{nodes} sent other metrics, but never {metric}.",
    Why.METRIC_SILENT: "{nodes} sent other metrics, but no {metric} {when}{last}.",
    Why.UNKNOWN: "Why there are no samples of {metric} was not noted.",
}


def sentences(
    absences: Sequence[Absence],
    metric: str,
    *,
    zone: tzinfo | None,
    now_s: float | None = None,
    most: int = MOST_SENTENCES,
) -> list[str]:
    """One sentence for each absence in the order given, none twice, and one for the rest.

    `metric` is what the metric is called; `zone` is that of the times, None that of this machine. Moments of the day
    of `now_s` are told without their day.
    """
    told = list(dict.fromkeys(sentence(one, metric, zone=zone, now_s=now_s) for one in absences))
    left = len(told) - most
    return [*told[:most], f"And {left} more such {'stretch' if left == 1 else 'stretches'}."] if left > 0 else told


def sentence(absence: Absence, metric: str, *, zone: tzinfo | None, now_s: float | None = None) -> str:
    """One absence as one sentence."""
    when = _when(absence, zone, now_s)
    return _SENTENCES[absence.why].format(
        metric=metric,
        nodes=host_text(absence.hosts) or "The nodes of this job",
        when=when,
        end=_moment(absence.to_s, zone, now_s),
        last=_last(absence, zone),
    )


def host_text(hosts: Iterable[str]) -> str:
    """The hosts as a short list, `n[017-020]`; of a long one the beginning and how many there are."""
    names = list(hosts)
    folded = fold(names)
    if len(folded) <= _LONGEST_LIST:
        return folded
    return f"{len(names)} nodes ({min(names)} and others)"


def _when(absence: Absence, zone: tzinfo | None, now_s: float | None) -> str:
    if absence.ongoing:
        return f"since {_moment(absence.from_s, zone, now_s)}"
    begin, end = (_local(time_s, zone) for time_s in (absence.from_s, absence.to_s))
    if begin.date() == end.date():
        return f"from {begin:%H:%M} to {_moment(absence.to_s, zone, now_s)}"
    return f"from {_moment(absence.from_s, zone, now_s)} to {_moment(absence.to_s, zone, now_s)}"


def _last(absence: Absence, zone: tzinfo | None) -> str:
    if absence.last_s is None:
        return ""
    return f"; its last sample is of {_moment(absence.last_s, zone, absence.from_s)}"


def _local(time_s: float, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(time_s, UTC).astimezone(zone)


def _moment(time_s: float, zone: tzinfo | None, other_s: float | None) -> str:
    """The time of day; with the day, and the year, where they are others than those of `other_s`."""
    then = _local(time_s, zone)
    other = None if other_s is None else _local(other_s, zone)
    if other is not None and then.date() == other.date():
        return f"{then:%H:%M}"
    year = "" if other is not None and then.year == other.year else f" {then.year}"
    return f"{then:%H:%M} on {then.day} {then:%B}{year}"


def fault_text(fault: MetricFault, *, now_s: int, zone: tzinfo | None) -> str:
    """What is wrong with a metric of a host, after its name: `never came`, `not since 14:02`."""
    if fault.last_s is None:
        return "never came"
    since = f"not since {_moment(fault.last_s, zone, now_s)}"
    if not fault.parts:
        return since
    names = [" ".join(filter(None, part)) for part in fault.parts[:MOST_SENTENCES]]
    more = len(fault.parts) - len(names)
    return f"{since} from {', '.join(names)}{f' and {more} more' if more else ''}"
