"""Why there is no data: from what a host and one of its metrics sent, the stretches without samples and their causes.

Pure: flags and times in, stretches out. `whynodata` gets the flags from the store, `reasontext` finds the words.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from cc_backend.metricstore.model import BoolArray, Int64Array
from cc_backend.metricstore.query.series_reader import SlotRange
from cc_backend.model import DataGap, GapReason

MIN_GAP_SLOTS = 2
"""Single missing samples happen: an agent was busy, a batch came a moment late."""
GRACE_SLOTS = 4
"""The newest samples may be on their way."""
_MAX_COMPARED = 100


_REASONS = (
    GapReason.HOST_NEVER_SEEN,
    GapReason.HOST_SILENT,
    GapReason.METRIC_NEVER_SEEN_ON_HOST,
    GapReason.METRIC_SILENT_ON_HOST,
    GapReason.OLDER_THAN_RETENTION,
    GapReason.STORE_DOWN,
    GapReason.STORE_RESTORING,
)
_CODE_OF_REASON = {why: code for code, why in enumerate(_REASONS, start=1)}


@dataclass(frozen=True, slots=True)
class StoreHistory:
    """What the store knows of itself.

    Samples before `kept_from_s` may be gone, those before `restoring_before_s` may not be back yet, and in `outages`
    (from, to) the store did not run.
    """

    kept_from_s: int = 0
    restoring_before_s: int = 0
    downtimes: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True, slots=True)
class HostPresence:
    """One host in one span, for one metric: in which slots it sent anything, and in which the metric.

    `known` and `measured` say whether there are samples at all, whenever; the times are those of the newest.
    """

    host: str
    span: SlotRange
    host_sent: BoolArray
    metric_sent: BoolArray
    is_host_known: bool
    is_metric_known: bool
    host_last_s: int | None = None
    metric_last_s: int | None = None


@dataclass(frozen=True, slots=True)
class JobGaps:
    """What is missing of a job: by metric, without those of which nothing is; and of its hosts as a whole.

    `unix_now_s` is when it was found out; words for it then need no day for moments of the same day.
    """

    metrics: Mapping[str, tuple[DataGap, ...]] = field(default_factory=dict)
    hosts: tuple[DataGap, ...] = ()
    now_s: int | None = None

    def __bool__(self) -> bool:
        return bool(self.metrics)

    @property
    def unexpected(self) -> dict[str, tuple[DataGap, ...]]:
        """The absences by metric without those that follow from the job alone."""
        return {
            metric: found
            for metric, found in self.metrics.items()
            if not all(
                one.reason in (GapReason.JOB_HAS_NO_SUCH_HARDWARE, GapReason.JOB_SHORTER_THAN_TIMESTEP) for one in found
            )
        }


NO_GAPS = JobGaps()
"""What is missing of a job that is complete."""


def judgeable_slots(from_s: int, to_s: int, timestep_s: int, *, now_s: int) -> SlotRange:
    """The slots of [from_s, to_s) that can be judged at `unix_now_s`: their samples are not on their way any more."""
    first = -(-from_s // timestep_s)
    end = min(-(-to_s // timestep_s), now_s // timestep_s - GRACE_SLOTS + 1)
    return SlotRange(first, max(end - first, 0), timestep_s)


def find_gaps(seen: HostPresence, facts: StoreHistory, *, now_s: int) -> list[DataGap]:
    """The stretches of the span in which a metric of a host has no samples, each with its cause, in order."""
    codes = _reason_codes(seen, facts)
    step_s = seen.span.timestep_s
    found = []
    for begin, end, code in _merge_short_runs(_runs(codes), len(codes)):
        why = _REASONS[code - 1]
        from_s, to_s = seen.span.from_s + begin * step_s, seen.span.from_s + end * step_s
        last_s = (
            seen.metric_last_s
            if why is GapReason.METRIC_SILENT_ON_HOST
            else seen.host_last_s
            if why is GapReason.HOST_SILENT
            else None
        )
        found.append(
            DataGap(
                why,
                () if why.is_store_wide else (seen.host,),
                from_s,
                to_s,
                last_sample_s=last_s if begin == 0 and last_s is not None and last_s < from_s else None,
                is_ongoing=end == len(codes) and to_s + (GRACE_SLOTS + 1) * step_s > now_s,
            )
        )
    return found


def _reason_codes(seen: HostPresence, facts: StoreHistory) -> Int64Array:
    """Per slot 0 where there is a sample, else the code of the cause; of several that fit the last one counts."""
    begins_s = (seen.span.first_slot + np.arange(seen.span.slots)) * seen.span.timestep_s
    missing = ~seen.metric_sent
    codes = np.zeros(seen.span.slots, np.int64)
    codes[missing] = _CODE_OF_REASON[
        GapReason.METRIC_SILENT_ON_HOST if seen.is_metric_known else GapReason.METRIC_NEVER_SEEN_ON_HOST
    ]
    codes[missing & ~seen.host_sent] = _CODE_OF_REASON[
        GapReason.HOST_SILENT if seen.is_host_known else GapReason.HOST_NEVER_SEEN
    ]
    # Samples of a long job are kept beyond the retention: what follows the first one was never there.
    first_s = begins_s[np.argmax(seen.host_sent)] if seen.host_sent.any() else np.iinfo(np.int64).max
    codes[missing & (begins_s < min(facts.kept_from_s, first_s))] = _CODE_OF_REASON[GapReason.OLDER_THAN_RETENTION]
    for from_s, to_s in facts.downtimes:
        codes[missing & ~seen.host_sent & (begins_s + seen.span.timestep_s > from_s) & (begins_s < to_s)] = (
            _CODE_OF_REASON[GapReason.STORE_DOWN]
        )
    codes[missing & (begins_s < facts.restoring_before_s)] = _CODE_OF_REASON[GapReason.STORE_RESTORING]
    return codes


def _runs(codes: Int64Array) -> list[tuple[int, int, int]]:
    """Begin, end and code of each stretch of equal codes."""
    edges = np.flatnonzero(np.diff(codes)) + 1
    bounds = [0, *edges.tolist(), len(codes)] if len(codes) else [0]
    return [(begin, end, int(codes[begin])) for begin, end in pairwise(bounds)]


def _merge_short_runs(runs: Sequence[tuple[int, int, int]], slots: int) -> list[tuple[int, int, int]]:
    """The runs with a cause. One that is too short to say much joins a neighbour with a cause, or is left out."""
    kept: list[tuple[int, int, int]] = []
    for (begin, end, own), (_, _, following) in pairwise([*runs, (slots, slots, 0)]):
        short = end - begin < MIN_GAP_SLOTS <= slots
        touches = bool(kept) and kept[-1][1] == begin
        code = own
        if own and short:
            code = kept[-1][2] if touches else following
        if not code:
            continue
        if touches and kept[-1][2] == code:
            kept[-1] = (kept[-1][0], end, code)
        else:
            kept.append((begin, end, code))
    return kept


class _Interval(NamedTuple):
    from_s: int
    to_s: int
    ongoing: bool


_Bounds = tuple[int, int, bool, GapReason]


def merge_hosts(absences: Iterable[DataGap], *, tolerance_s: int = 0) -> tuple[DataGap, ...]:
    """The same with one entry for all hosts that lack the same stretch for the same cause, the longest first.

    Stretches are the same if both ends are at most `tolerance_s` apart; the widest counts. A host that sent nothing at
    all for a part of the time in which others lack one metric joins them.
    """
    alike: dict[tuple[GapReason, _Interval, _Interval], list[DataGap]] = {}
    for one, around in _with_interval_around(list(absences)):
        alike.setdefault((one.reason, _Interval(one.from_s, one.to_s, one.is_ongoing), around), []).append(one)
    same = {key: _union(*found) for key, found in alike.items()}
    groups: list[DataGap] = []
    bounds: list[_Bounds] = []
    for (_, own, around), one in sorted(same.items(), key=lambda item: (item[0][1].from_s - item[0][1].to_s, item[0])):
        place = _place_among(bounds, one.reason, own, around, tolerance_s)
        if place is None:
            groups.append(one)
            if len(bounds) < _MAX_COMPARED:
                bounds.append(_bounds(one))
        else:
            groups[place] = _union(groups[place], one)
            bounds[place] = _bounds(groups[place])
    told = (replace(one, hosts=tuple(sorted(one.hosts))) if len(one.hosts) > 1 else one for one in groups)
    return tuple(sorted(told, key=lambda one: (one.from_s - one.to_s, one.from_s, one.hosts)))


def _with_interval_around(absences: Sequence[DataGap]) -> Iterator[tuple[DataGap, _Interval]]:
    """Each absence with the stretch in which its host lacks the metric without a break, whatever the causes."""
    by_host: dict[tuple[str, ...], list[DataGap]] = {}
    for one in absences:
        by_host.setdefault(one.hosts, []).append(one)
    for found in by_host.values():
        chains: list[list[DataGap]] = []
        for one in sorted(found, key=lambda one: one.from_s):
            if chains and chains[-1][-1].to_s == one.from_s:
                chains[-1].append(one)
            else:
                chains.append([one])
        for chain in chains:
            around = _Interval(chain[0].from_s, chain[-1].to_s, chain[-1].is_ongoing)
            for one in chain:
                yield one, _Interval(one.from_s, one.to_s, one.is_ongoing) if one.reason.is_host_wide else around


def _bounds(group: DataGap) -> _Bounds:
    return group.from_s, group.to_s, group.is_ongoing, group.reason


def _place_among(
    bounds: Sequence[_Bounds], why: GapReason, own: _Interval, around: _Interval, tolerance_s: int
) -> int | None:
    """The place of the first group of which a stretch is a part, if the rest of that is missing of its host too."""
    earliest_s, latest_s = around.from_s - tolerance_s, own.from_s + tolerance_s
    least_end_s, most_end_s = own.to_s - tolerance_s, around.to_s + tolerance_s
    # thousands of stretches with a hundred groups each, nearly all of which begin too early or too late
    for place, (from_s, to_s, ongoing, group_why) in enumerate(bounds):
        if (
            earliest_s <= from_s <= latest_s
            and least_end_s <= to_s <= most_end_s
            and group_why is why
            and (ongoing == around.ongoing or to_s < around.to_s - tolerance_s)
        ):
            return place
    return None


def _union(*several: DataGap) -> DataGap:
    """Stretches as one, the widest, of all their hosts."""
    if len(several) == 1:
        return several[0]
    last_s = [one.last_sample_s for one in several if one.last_sample_s is not None]
    return replace(
        several[0],
        hosts=tuple(dict.fromkeys(host for one in several for host in one.hosts)),
        from_s=min(one.from_s for one in several),
        to_s=max(one.to_s for one in several),
        last_sample_s=max(last_s) if len(last_s) == len(several) else None,
    )


def gaps_of_whole_hosts(by_metric: Mapping[str, Sequence[DataGap]], *, tolerance_s: int) -> tuple[DataGap, ...]:
    """What is missing of whole hosts, once for all metrics: of each host the metric counts that lacks the most."""
    most: dict[tuple[str, GapReason], list[DataGap]] = {}
    for absences in by_metric.values():
        mine: dict[tuple[str, GapReason], list[DataGap]] = {}
        for one in absences:
            for host in one.hosts or ("",):
                if one.reason.is_host_wide or one.reason.is_store_wide:
                    mine.setdefault((host, one.reason), []).append(replace(one, hosts=(host,) if host else ()))
        for key, found in mine.items():
            if _total_s(found) > _total_s(most.get(key, [])):
                most[key] = found
    return merge_hosts((one for found in most.values() for one in found), tolerance_s=tolerance_s)


def _total_s(absences: Iterable[DataGap]) -> int:
    return sum(one.to_s - one.from_s for one in absences)
