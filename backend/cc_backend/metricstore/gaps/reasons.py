"""Finds data gaps and their reasons from the slots in which a host, and one of its metrics, sent samples.

Pure: flags and times in, gaps out. `analysis` gets the flags from the store, `reason_text` makes sentences.
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
"""Min length of a gap: single samples are often missing, because an agent was busy or a batch came late."""
GRACE_SLOTS = 4
"""The newest slots, which are not judged because their samples may be on their way."""
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
_CODE_OF_REASON = {reason: code for code, reason in enumerate(_REASONS, start=1)}


@dataclass(frozen=True, slots=True)
class StoreHistory:
    """What the store knows about its own operation.

    Samples before `kept_from_s` may have been removed, those before `restoring_before_s` may not be restored yet, and
    in `downtimes` (from, to) the store did not run.
    """

    kept_from_s: int = 0
    restoring_before_s: int = 0
    downtimes: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True, slots=True)
class HostPresence:
    """One host in a span of slots: in which slots it sent any metric, and in which one certain metric.

    `is_host_known` and `is_metric_known` say whether there are any samples at all; the times are of the newest ones.
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
    """The gaps in the data of a job: by metric, for metrics that have gaps; and those of whole hosts.

    `now_s` is when they were found; sentences about them then leave out the date of the same day.
    """

    metrics: Mapping[str, tuple[DataGap, ...]] = field(default_factory=dict)
    hosts: tuple[DataGap, ...] = ()
    now_s: int | None = None

    def __bool__(self) -> bool:
        return bool(self.metrics)

    @property
    def unexpected(self) -> dict[str, tuple[DataGap, ...]]:
        """The gaps by metric, without those that follow from the job alone."""
        return {
            metric: gaps
            for metric, gaps in self.metrics.items()
            if not all(
                gap.reason in (GapReason.JOB_HAS_NO_SUCH_HARDWARE, GapReason.JOB_SHORTER_THAN_TIMESTEP) for gap in gaps
            )
        }


NO_GAPS = JobGaps()
"""The gaps of a job whose data is complete."""


def judgeable_slots(from_s: int, to_s: int, timestep_s: int, *, now_s: int) -> SlotRange:
    """The slots of [from_s, to_s) that can be judged at `now_s`: all but the newest `GRACE_SLOTS`."""
    first = -(-from_s // timestep_s)
    end = min(-(-to_s // timestep_s), now_s // timestep_s - GRACE_SLOTS + 1)
    return SlotRange(first, max(end - first, 0), timestep_s)


def find_gaps(presence: HostPresence, history: StoreHistory, *, now_s: int) -> list[DataGap]:
    """The gaps of a metric of a host in the span, each with its reason, in order."""
    codes = _reason_codes(presence, history)
    step_s = presence.span.timestep_s
    found = []
    for begin, end, code in _merge_short_runs(_runs(codes), len(codes)):
        reason = _REASONS[code - 1]
        from_s, to_s = presence.span.from_s + begin * step_s, presence.span.from_s + end * step_s
        last_s = (
            presence.metric_last_s
            if reason is GapReason.METRIC_SILENT_ON_HOST
            else presence.host_last_s
            if reason is GapReason.HOST_SILENT
            else None
        )
        found.append(
            DataGap(
                reason,
                () if reason.is_store_wide else (presence.host,),
                from_s,
                to_s,
                last_sample_s=last_s if begin == 0 and last_s is not None and last_s < from_s else None,
                is_ongoing=end == len(codes) and to_s + (GRACE_SLOTS + 1) * step_s > now_s,
            )
        )
    return found


def _reason_codes(presence: HostPresence, history: StoreHistory) -> Int64Array:
    """Per slot 0 if there is a sample, else the code of the reason; if several fit, the last one wins."""
    begins_s = (presence.span.first_slot + np.arange(presence.span.slots)) * presence.span.timestep_s
    missing = ~presence.metric_sent
    codes = np.zeros(presence.span.slots, np.int64)
    codes[missing] = _CODE_OF_REASON[
        GapReason.METRIC_SILENT_ON_HOST if presence.is_metric_known else GapReason.METRIC_NEVER_SEEN_ON_HOST
    ]
    codes[missing & ~presence.host_sent] = _CODE_OF_REASON[
        GapReason.HOST_SILENT if presence.is_host_known else GapReason.HOST_NEVER_SEEN
    ]
    # Samples of a long job are kept beyond the retention: gaps after the first of them are not due to it.
    first_s = begins_s[np.argmax(presence.host_sent)] if presence.host_sent.any() else np.iinfo(np.int64).max
    codes[missing & (begins_s < min(history.kept_from_s, first_s))] = _CODE_OF_REASON[GapReason.OLDER_THAN_RETENTION]
    for from_s, to_s in history.downtimes:
        codes[missing & ~presence.host_sent & (begins_s + presence.span.timestep_s > from_s) & (begins_s < to_s)] = (
            _CODE_OF_REASON[GapReason.STORE_DOWN]
        )
    codes[missing & (begins_s < history.restoring_before_s)] = _CODE_OF_REASON[GapReason.STORE_RESTORING]
    return codes


def _runs(codes: Int64Array) -> list[tuple[int, int, int]]:
    """Begin, end and code of each run of equal codes."""
    edges = np.flatnonzero(np.diff(codes)) + 1
    bounds = [0, *edges.tolist(), len(codes)] if len(codes) else [0]
    return [(begin, end, int(codes[begin])) for begin, end in pairwise(bounds)]


def _merge_short_runs(runs: Sequence[tuple[int, int, int]], slots: int) -> list[tuple[int, int, int]]:
    """The runs with a reason. One shorter than `MIN_GAP_SLOTS` joins a neighbour with a reason, or is dropped."""
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


def merge_hosts(gaps: Iterable[DataGap], *, tolerance_s: int = 0) -> tuple[DataGap, ...]:
    """One gap for all hosts that have the same gap for the same reason; longest first.

    Gaps are the same if both ends are at most `tolerance_s` apart; the merged gap is the widest. A host that sent
    nothing at all for a part of the time in which others lack one metric is merged with them.
    """
    alike: dict[tuple[GapReason, _Interval, _Interval], list[DataGap]] = {}
    for gap, around in _with_interval_around(list(gaps)):
        alike.setdefault((gap.reason, _Interval(gap.from_s, gap.to_s, gap.is_ongoing), around), []).append(gap)
    same = {key: _union(*found) for key, found in alike.items()}
    groups: list[DataGap] = []
    bounds: list[_Bounds] = []
    for (_, own, around), gap in sorted(same.items(), key=lambda item: (item[0][1].from_s - item[0][1].to_s, item[0])):
        place = _place_among(bounds, gap.reason, own, around, tolerance_s)
        if place is None:
            groups.append(gap)
            if len(bounds) < _MAX_COMPARED:
                bounds.append(_bounds(gap))
        else:
            groups[place] = _union(groups[place], gap)
            bounds[place] = _bounds(groups[place])
    merged = (replace(gap, hosts=tuple(sorted(gap.hosts))) if len(gap.hosts) > 1 else gap for gap in groups)
    return tuple(sorted(merged, key=lambda gap: (gap.from_s - gap.to_s, gap.from_s, gap.hosts)))


def _with_interval_around(gaps: Sequence[DataGap]) -> Iterator[tuple[DataGap, _Interval]]:
    """Each gap with the interval in which its host lacks the metric without a break, whatever the reasons."""
    by_host: dict[tuple[str, ...], list[DataGap]] = {}
    for gap in gaps:
        by_host.setdefault(gap.hosts, []).append(gap)
    for found in by_host.values():
        chains: list[list[DataGap]] = []
        for gap in sorted(found, key=lambda gap: gap.from_s):
            if chains and chains[-1][-1].to_s == gap.from_s:
                chains[-1].append(gap)
            else:
                chains.append([gap])
        for chain in chains:
            around = _Interval(chain[0].from_s, chain[-1].to_s, chain[-1].is_ongoing)
            for gap in chain:
                yield gap, _Interval(gap.from_s, gap.to_s, gap.is_ongoing) if gap.reason.is_host_wide else around


def _bounds(group: DataGap) -> _Bounds:
    return group.from_s, group.to_s, group.is_ongoing, group.reason


def _place_among(
    bounds: Sequence[_Bounds], reason: GapReason, own: _Interval, around: _Interval, tolerance_s: int
) -> int | None:
    """The place of the first group of which a stretch is a part, if the rest of that is missing of its host too."""
    earliest_s, latest_s = around.from_s - tolerance_s, own.from_s + tolerance_s
    min_end_s, max_end_s = own.to_s - tolerance_s, around.to_s + tolerance_s
    # thousands of stretches with a hundred groups each, nearly all of which begin too early or too late
    for place, (from_s, to_s, ongoing, group_why) in enumerate(bounds):
        if (
            earliest_s <= from_s <= latest_s
            and min_end_s <= to_s <= max_end_s
            and group_why is reason
            and (ongoing == around.ongoing or to_s < around.to_s - tolerance_s)
        ):
            return place
    return None


def _union(*several: DataGap) -> DataGap:
    """Several gaps as one: the widest, with all hosts."""
    if len(several) == 1:
        return several[0]
    last_s = [gap.last_sample_s for gap in several if gap.last_sample_s is not None]
    return replace(
        several[0],
        hosts=tuple(dict.fromkeys(host for gap in several for host in gap.hosts)),
        from_s=min(gap.from_s for gap in several),
        to_s=max(gap.to_s for gap in several),
        last_sample_s=max(last_s) if len(last_s) == len(several) else None,
    )


def gaps_of_whole_hosts(by_metric: Mapping[str, Sequence[DataGap]], *, tolerance_s: int) -> tuple[DataGap, ...]:
    """The gaps of whole hosts: for each host and reason those of the metric that lacks the most."""
    most: dict[tuple[str, GapReason], list[DataGap]] = {}
    for gaps in by_metric.values():
        mine: dict[tuple[str, GapReason], list[DataGap]] = {}
        for gap in gaps:
            for host in gap.hosts or ("",):
                if gap.reason.is_host_wide or gap.reason.is_store_wide:
                    mine.setdefault((host, gap.reason), []).append(replace(gap, hosts=(host,) if host else ()))
        for key, found in mine.items():
            if _total_s(found) > _total_s(most.get(key, [])):
                most[key] = found
    return merge_hosts((gap for found in most.values() for gap in found), tolerance_s=tolerance_s)


def _total_s(gaps: Iterable[DataGap]) -> int:
    return sum(gap.to_s - gap.from_s for gap in gaps)
