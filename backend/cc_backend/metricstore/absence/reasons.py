"""Why there is no data: from what a host and one of its metrics sent, the stretches without samples and their causes.

Pure: flags and times in, stretches out. `whynodata` gets the flags from the store, `reasontext` finds the words.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from cc_backend.metricstore.answers.query import Range
from cc_backend.metricstore.model import Flags, Ids
from cc_backend.model import Absence, Why

LEAST_SLOTS = 2
"""Single missing samples happen: an agent was busy, a batch came a moment late."""
GRACE_SLOTS = 4
"""The newest samples may be on their way."""
_MOST_COMPARED = 100


_CODES = (Why.HOST_NEVER, Why.HOST_SILENT, Why.METRIC_NEVER, Why.METRIC_SILENT, Why.TOO_OLD, Why.STORE_DOWN,
          Why.RESTORING)  # fmt: skip
_CODE = {why: code for code, why in enumerate(_CODES, start=1)}


@dataclass(frozen=True, slots=True)
class StoreFacts:
    """What the store knows of itself.

    Samples before `kept_from_s` may be gone, those before `restoring_before_s` may not be back yet, and in `outages`
    (from, to) the store did not run.
    """

    kept_from_s: int = 0
    restoring_before_s: int = 0
    outages: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True, slots=True)
class HostSeen:
    """One host in one span, for one metric: in which slots it sent anything, and in which the metric.

    `known` and `measured` say whether there are samples at all, whenever; the times are those of the newest.
    """

    host: str
    span: Range
    heard: Flags
    present: Flags
    known: bool
    measured: bool
    host_last_s: int | None = None
    metric_last_s: int | None = None


@dataclass(frozen=True, slots=True)
class JobAbsences:
    """What is missing of a job: by metric, without those of which nothing is; and of its hosts as a whole.

    `now_s` is when it was found out; words for it then need no day for moments of the same day.
    """

    metrics: Mapping[str, tuple[Absence, ...]] = field(default_factory=dict)
    hosts: tuple[Absence, ...] = ()
    now_s: int | None = None

    def __bool__(self) -> bool:
        return bool(self.metrics)

    @property
    def unexpected(self) -> dict[str, tuple[Absence, ...]]:
        """The absences by metric without those that follow from the job alone."""
        return {
            metric: found
            for metric, found in self.metrics.items()
            if not all(one.why in (Why.NO_HARDWARE, Why.JOB_TOO_SHORT) for one in found)
        }


NOTHING_ABSENT = JobAbsences()
"""What is missing of a job that is complete."""


def span_of(from_s: int, to_s: int, timestep_s: int, *, now_s: int) -> Range:
    """The slots of [from_s, to_s) that can be judged at `now_s`: those whose samples are not on their way any more."""
    first = -(-from_s // timestep_s)
    end = min(-(-to_s // timestep_s), now_s // timestep_s - GRACE_SLOTS + 1)
    return Range(first, max(end - first, 0), timestep_s)


def absences_of(seen: HostSeen, facts: StoreFacts, *, now_s: int) -> list[Absence]:
    """The stretches of the span in which a metric of a host has no samples, each with its cause, in order."""
    codes = _codes(seen, facts)
    step_s = seen.span.timestep_s
    found = []
    for begin, end, code in _merged(_runs(codes), len(codes)):
        why = _CODES[code - 1]
        from_s, to_s = seen.span.from_s + begin * step_s, seen.span.from_s + end * step_s
        last_s = (
            seen.metric_last_s if why is Why.METRIC_SILENT else seen.host_last_s if why is Why.HOST_SILENT else None
        )
        found.append(
            Absence(
                why,
                () if why.of_store else (seen.host,),
                from_s,
                to_s,
                last_s=last_s if begin == 0 and last_s is not None and last_s < from_s else None,
                ongoing=end == len(codes) and to_s + (GRACE_SLOTS + 1) * step_s > now_s,
            )
        )
    return found


def _codes(seen: HostSeen, facts: StoreFacts) -> Ids:
    """Per slot 0 where there is a sample, else the code of the cause; of several that fit the last one counts."""
    begins_s = (seen.span.first_slot + np.arange(seen.span.slots)) * seen.span.timestep_s
    missing = ~seen.present
    codes = np.zeros(seen.span.slots, np.int64)
    codes[missing] = _CODE[Why.METRIC_SILENT if seen.measured else Why.METRIC_NEVER]
    codes[missing & ~seen.heard] = _CODE[Why.HOST_SILENT if seen.known else Why.HOST_NEVER]
    # Samples of a long job are kept beyond the retention: what follows the first one was never there.
    first_s = begins_s[np.argmax(seen.heard)] if seen.heard.any() else np.iinfo(np.int64).max
    codes[missing & (begins_s < min(facts.kept_from_s, first_s))] = _CODE[Why.TOO_OLD]
    for from_s, to_s in facts.outages:
        codes[missing & ~seen.heard & (begins_s + seen.span.timestep_s > from_s) & (begins_s < to_s)] = _CODE[
            Why.STORE_DOWN
        ]
    codes[missing & (begins_s < facts.restoring_before_s)] = _CODE[Why.RESTORING]
    return codes


def _runs(codes: Ids) -> list[tuple[int, int, int]]:
    """Begin, end and code of each stretch of equal codes."""
    edges = np.flatnonzero(np.diff(codes)) + 1
    bounds = [0, *edges.tolist(), len(codes)] if len(codes) else [0]
    return [(begin, end, int(codes[begin])) for begin, end in pairwise(bounds)]


def _merged(runs: Sequence[tuple[int, int, int]], slots: int) -> list[tuple[int, int, int]]:
    """The runs with a cause. One that is too short to say much joins a neighbour with a cause, or is left out."""
    kept: list[tuple[int, int, int]] = []
    for (begin, end, own), (_, _, following) in pairwise([*runs, (slots, slots, 0)]):
        short = end - begin < LEAST_SLOTS <= slots
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


class _Stretch(NamedTuple):
    from_s: int
    to_s: int
    ongoing: bool


_Bounds = tuple[int, int, bool, Why]


def folded(absences: Iterable[Absence], *, tolerance_s: int = 0) -> tuple[Absence, ...]:
    """The same with one entry for all hosts that lack the same stretch for the same cause, the longest first.

    Stretches are the same if both ends are at most `tolerance_s` apart; the widest counts. A host that sent nothing at
    all for a part of the time in which others lack one metric joins them.
    """
    alike: dict[tuple[Why, _Stretch, _Stretch], list[Absence]] = {}
    for one, around in _with_surroundings(list(absences)):
        alike.setdefault((one.why, _Stretch(one.from_s, one.to_s, one.ongoing), around), []).append(one)
    same = {key: _joined(*found) for key, found in alike.items()}
    groups: list[Absence] = []
    bounds: list[_Bounds] = []
    for (_, own, around), one in sorted(same.items(), key=lambda item: (item[0][1].from_s - item[0][1].to_s, item[0])):
        place = _place_among(bounds, one.why, own, around, tolerance_s)
        if place is None:
            groups.append(one)
            if len(bounds) < _MOST_COMPARED:
                bounds.append(_bounds(one))
        else:
            groups[place] = _joined(groups[place], one)
            bounds[place] = _bounds(groups[place])
    told = (replace(one, hosts=tuple(sorted(one.hosts))) if len(one.hosts) > 1 else one for one in groups)
    return tuple(sorted(told, key=lambda one: (one.from_s - one.to_s, one.from_s, one.hosts)))


def _with_surroundings(absences: Sequence[Absence]) -> Iterator[tuple[Absence, _Stretch]]:
    """Each absence with the stretch in which its host lacks the metric without a break, whatever the causes."""
    by_host: dict[tuple[str, ...], list[Absence]] = {}
    for one in absences:
        by_host.setdefault(one.hosts, []).append(one)
    for found in by_host.values():
        chains: list[list[Absence]] = []
        for one in sorted(found, key=lambda one: one.from_s):
            if chains and chains[-1][-1].to_s == one.from_s:
                chains[-1].append(one)
            else:
                chains.append([one])
        for chain in chains:
            around = _Stretch(chain[0].from_s, chain[-1].to_s, chain[-1].ongoing)
            for one in chain:
                yield one, _Stretch(one.from_s, one.to_s, one.ongoing) if one.why.of_host else around


def _bounds(group: Absence) -> _Bounds:
    return group.from_s, group.to_s, group.ongoing, group.why


def _place_among(bounds: Sequence[_Bounds], why: Why, own: _Stretch, around: _Stretch, tolerance_s: int) -> int | None:
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


def _joined(*several: Absence) -> Absence:
    """Stretches as one, the widest, of all their hosts."""
    if len(several) == 1:
        return several[0]
    last_s = [one.last_s for one in several if one.last_s is not None]
    return replace(
        several[0],
        hosts=tuple(dict.fromkeys(host for one in several for host in one.hosts)),
        from_s=min(one.from_s for one in several),
        to_s=max(one.to_s for one in several),
        last_s=max(last_s) if len(last_s) == len(several) else None,
    )


def of_hosts(by_metric: Mapping[str, Sequence[Absence]], *, tolerance_s: int) -> tuple[Absence, ...]:
    """What is missing of whole hosts, once for all metrics: of each host the metric counts that lacks the most."""
    most: dict[tuple[str, Why], list[Absence]] = {}
    for absences in by_metric.values():
        mine: dict[tuple[str, Why], list[Absence]] = {}
        for one in absences:
            for host in one.hosts or ("",):
                if one.why.of_host or one.why.of_store:
                    mine.setdefault((host, one.why), []).append(replace(one, hosts=(host,) if host else ()))
        for key, found in mine.items():
            if _length_s(found) > _length_s(most.get(key, [])):
                most[key] = found
    return folded((one for found in most.values() for one in found), tolerance_s=tolerance_s)


def _length_s(absences: Iterable[Absence]) -> int:
    return sum(one.to_s - one.from_s for one in absences)
