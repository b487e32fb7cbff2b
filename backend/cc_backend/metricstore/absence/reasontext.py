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
    absences: Sequence[Absence], metric: str, *, zone: tzinfo | None, most: int = MOST_SENTENCES
) -> list[str]:
    """One sentence for each absence in the order given, none twice, and one for the rest.

    `metric` is what the metric is called; `zone` is that of the times, None that of this machine.
    """
    told = list(dict.fromkeys(sentence(one, metric, zone=zone) for one in absences))
    left = len(told) - most
    return [*told[:most], f"And {left} more such {'stretch' if left == 1 else 'stretches'}."] if left > 0 else told


def sentence(absence: Absence, metric: str, *, zone: tzinfo | None) -> str:
    """One absence as one sentence."""
    return _SENTENCES[absence.why].format(
        metric=metric,
        nodes=host_text(absence.hosts) or "The nodes of this job",
        when=_when(absence, zone),
        end=_moment(absence.to_s, zone, absence.from_s),
        last=_last(absence, zone),
    )


def host_text(hosts: Iterable[str]) -> str:
    """The hosts as a short list, `n[017-020]`; of a long one the beginning and how many there are."""
    names = list(hosts)
    folded = fold(names)
    if len(folded) <= _LONGEST_LIST:
        return folded
    return f"{len(names)} nodes ({min(names)} and others)"


def _when(absence: Absence, zone: tzinfo | None) -> str:
    if absence.ongoing:
        return f"since {_moment(absence.from_s, zone, absence.from_s)}"
    begin, end = (_moment(time_s, zone, absence.from_s) for time_s in (absence.from_s, absence.to_s))
    return f"from {begin} to {end}"


def _last(absence: Absence, zone: tzinfo | None) -> str:
    if absence.last_s is None:
        return ""
    return f"; its last sample is of {_moment(absence.last_s, zone, absence.from_s)}"


def _moment(time_s: int, zone: tzinfo | None, other_s: int) -> str:
    """The time of day; with the day where it is another one than that of `other_s`."""
    then, other = (datetime.fromtimestamp(moment_s, UTC).astimezone(zone) for moment_s in (time_s, other_s))
    return f"{then:%H:%M}" if then.date() == other.date() else f"{then:%H:%M} on {then.day} {then:%B}"


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
