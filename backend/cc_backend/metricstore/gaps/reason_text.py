"""Gaps and their reasons as sentences, such as `n017 sent nothing from 14:02 to 15:10`."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, tzinfo

from cc_backend.metricstore.model import MetricFault
from cc_backend.model import DataGap, GapReason
from cc_common.hostlist import fold

MAX_SENTENCES = 4
_MAX_LIST_CHARACTERS = 60
_SENTENCES = {
    GapReason.STORE_UNREACHABLE: "The store that has these samples cannot be reached just now.",
    GapReason.METRIC_NOT_CONFIGURED: "This cluster is not set up to measure {metric}.",
    GapReason.METRIC_NOT_ON_SUBCLUSTER: "This kind of node does not measure {metric}.",
    GapReason.JOB_HAS_NO_SUCH_HARDWARE: "This job has no GPU of which {metric} could be measured.",
    GapReason.JOB_SHORTER_THAN_TIMESTEP: "The job was shorter than the time between two samples of {metric}.",
    GapReason.FIRST_SAMPLES_PENDING: "The first samples of {metric} are on their way.",
    GapReason.OLDER_THAN_RETENTION: "Samples from before {end} are no longer kept.",
    GapReason.STORE_RESTORING: "The metric store was started a moment ago and still reads back older samples.",
    GapReason.STORE_DOWN: "The metric store did not run {when}.",
    GapReason.HOST_NEVER_SEEN: "{nodes} never sent anything.",
    GapReason.HOST_SILENT: "{nodes} sent nothing {when}{last}.",
    GapReason.METRIC_NEVER_SEEN: "No node of this cluster sends {metric}.",
    GapReason.METRIC_NEVER_SEEN_ON_HOST: "{nodes} sent other metrics, but never {metric}.",
    GapReason.METRIC_SILENT_ON_HOST: "{nodes} sent other metrics, but no {metric} {when}{last}.",
    GapReason.UNKNOWN: "Why there are no samples of {metric} was not noted.",
}


def gap_sentences(
    gaps: Sequence[DataGap],
    metric: str,
    *,
    zone: tzinfo | None,
    now_s: float | None = None,
    max_sentences: int = MAX_SENTENCES,
) -> list[str]:
    """One sentence for each gap, in order and without repetition; after `max_sentences` one for the rest.

    `metric` is the name of the metric; `zone` is the time zone, None for that of this machine. Times on the day of
    `now_s` are written without a date.
    """
    texts = list(dict.fromkeys(gap_sentence(gap, metric, zone=zone, now_s=now_s) for gap in gaps))
    left = len(texts) - max_sentences
    return (
        [*texts[:max_sentences], f"And {left} more such {'stretch' if left == 1 else 'stretches'}."]
        if left > 0
        else texts
    )


def gap_sentence(gap: DataGap, metric: str, *, zone: tzinfo | None, now_s: float | None = None) -> str:
    """One gap as a sentence."""
    when = _period_text(gap, zone, now_s)
    return _SENTENCES[gap.reason].format(
        metric=metric,
        nodes=host_text(gap.hosts) or "The nodes of this job",
        when=when,
        end=_moment_text(gap.to_s, zone, now_s),
        last=_newest_sample_text(gap, zone),
    )


def host_text(hosts: Iterable[str]) -> str:
    """The hosts as a host list, `n[017-020]`; if that is long, the number of hosts and the first one."""
    names = list(hosts)
    folded = fold(names)
    if len(folded) <= _MAX_LIST_CHARACTERS:
        return folded
    return f"{len(names)} nodes ({min(names)} and others)"


def _period_text(gap: DataGap, zone: tzinfo | None, now_s: float | None) -> str:
    if gap.is_ongoing:
        return f"since {_moment_text(gap.from_s, zone, now_s)}"
    begin, end = (_local(time_s, zone) for time_s in (gap.from_s, gap.to_s))
    if begin.date() == end.date():
        return f"from {begin:%H:%M} to {_moment_text(gap.to_s, zone, now_s)}"
    return f"from {_moment_text(gap.from_s, zone, now_s)} to {_moment_text(gap.to_s, zone, now_s)}"


def _newest_sample_text(gap: DataGap, zone: tzinfo | None) -> str:
    if gap.last_sample_s is None:
        return ""
    return f"; its last sample is of {_moment_text(gap.last_sample_s, zone, gap.from_s)}"


def _local(time_s: float, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(time_s, UTC).astimezone(zone)


def _moment_text(time_s: float, zone: tzinfo | None, other_s: float | None) -> str:
    """The time of day; with the day and the year where these differ from those of `other_s`."""
    then = _local(time_s, zone)
    other = None if other_s is None else _local(other_s, zone)
    if other is not None and then.date() == other.date():
        return f"{then:%H:%M}"
    year = "" if other is not None and then.year == other.year else f" {then.year}"
    return f"{then:%H:%M} on {then.day} {then:%B}{year}"


def fault_text(fault: MetricFault, *, now_s: int, zone: tzinfo | None) -> str:
    """The fault of a metric of a host, to follow its name: `never came`, `not since 14:02`."""
    if fault.last_s is None:
        return "never came"
    since = f"not since {_moment_text(fault.last_s, zone, now_s)}"
    if not fault.parts:
        return since
    names = [" ".join(filter(None, part)) for part in fault.parts[:MAX_SENTENCES]]
    more = len(fault.parts) - len(names)
    return f"{since} from {', '.join(names)}{f' and {more} more' if more else ''}"
