from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.metricstore.gaps.reasons import (
    HostPresence,
    StoreHistory,
    find_gaps,
    gaps_of_whole_hosts,
    judgeable_slots,
    merge_hosts,
)
from cc_backend.metricstore.query.series_reader import SlotRange
from cc_backend.model import DataGap, GapReason

FIRST = 30_000_000
START_S = FIRST * 60
LONG_AFTER_S = START_S + 30 * 86400
NO_FACTS = StoreHistory()


def seen(heard: str, present: str, **more: object) -> HostPresence:
    """One character a slot: `#` where there is a sample."""
    flags = [np.array([mark == "#" for mark in marks], np.bool_) for marks in (heard, present)]
    known = {"is_host_known": "#" in heard, "is_metric_known": "#" in present, **more}
    return HostPresence("n1", SlotRange(FIRST, len(heard), 60), *flags, **known)  # type: ignore[arg-type]  # by name


def found(
    heard: str, present: str, facts: StoreHistory = NO_FACTS, now_s: int = LONG_AFTER_S, **more: object
) -> list[tuple[GapReason, int, int]]:
    return [
        (one.reason, (one.from_s - START_S) // 60, (one.to_s - START_S) // 60)
        for one in find_gaps(seen(heard, present, **more), facts, now_s=now_s)
    ]


def minutes(*times: int) -> Sequence[int]:
    return [START_S + 60 * time for time in times]


@pytest.mark.parametrize(
    ("heard", "present", "expected"),
    [
        ("######", "######", []),
        ("##...#", "##...#", [(GapReason.HOST_SILENT, 2, 5)]),
        ("######", "##...#", [(GapReason.METRIC_SILENT_ON_HOST, 2, 5)]),
        ("######", "......", [(GapReason.METRIC_NEVER_SEEN_ON_HOST, 0, 6)]),
        ("......", "......", [(GapReason.HOST_NEVER_SEEN, 0, 6)]),
        ("##.###", "##.###", []),
        ("###..#", "#....#", [(GapReason.METRIC_SILENT_ON_HOST, 1, 3), (GapReason.HOST_SILENT, 3, 5)]),
        ("#..#..#", "#..#..#", [(GapReason.HOST_SILENT, 1, 3), (GapReason.HOST_SILENT, 4, 6)]),
        ("..####", "..####", [(GapReason.HOST_SILENT, 0, 2)]),
        ("##....", "##....", [(GapReason.HOST_SILENT, 2, 6)]),
        (".", ".", [(GapReason.HOST_NEVER_SEEN, 0, 1)]),
    ],
)
def test_a_stretch_without_samples_has_one_cause(
    heard: str, present: str, expected: list[tuple[GapReason, int, int]]
) -> None:
    assert found(heard, present) == expected


@pytest.mark.parametrize(
    ("heard", "present", "expected"),
    [
        ("##...##", "#....##", [(GapReason.HOST_SILENT, 1, 5)]),
        ("##...##", "##....#", [(GapReason.HOST_SILENT, 2, 6)]),
        ("#..#..#", "#.....#", [(GapReason.HOST_SILENT, 1, 6)]),
    ],
)
def test_a_single_slot_of_another_cause_joins_its_neighbour(
    heard: str, present: str, expected: list[tuple[GapReason, int, int]]
) -> None:
    assert found(heard, present) == expected


def test_a_host_or_metric_that_is_known_from_another_time_is_silent_now() -> None:
    assert found("....", "....", is_host_known=True) == [(GapReason.HOST_SILENT, 0, 4)]
    assert found("####", "....", is_metric_known=True) == [(GapReason.METRIC_SILENT_ON_HOST, 0, 4)]


def test_time_in_which_the_store_did_not_run_is_no_fault_of_a_host() -> None:
    down = StoreHistory(downtimes=[tuple(minutes(2, 4))])  # type: ignore[list-item]  # two times
    assert found("#.....#", "#.....#", down) == [(GapReason.STORE_DOWN, 1, 4), (GapReason.HOST_SILENT, 4, 6)]
    assert found("#######", "#.....#", down) == [(GapReason.METRIC_SILENT_ON_HOST, 1, 6)]


def test_an_outage_that_late_samples_have_filled_is_none() -> None:
    assert found("######", "######", StoreHistory(downtimes=[(START_S, START_S + 300)])) == []


def test_what_the_store_no_longer_keeps_has_no_other_reason() -> None:
    facts = StoreHistory(kept_from_s=minutes(3)[0])
    assert found("......", "......", facts, is_host_known=True) == [
        (GapReason.OLDER_THAN_RETENTION, 0, 3),
        (GapReason.HOST_SILENT, 3, 6),
    ]


def test_samples_of_a_long_job_are_kept_beyond_that_time_so_what_is_missing_never_came() -> None:
    facts = StoreHistory(kept_from_s=minutes(100)[0])
    assert found("###...", "###...", facts) == [(GapReason.HOST_SILENT, 3, 6)]


def test_what_is_still_read_back_has_no_other_reason_yet() -> None:
    facts = StoreHistory(restoring_before_s=minutes(4)[0], downtimes=[(START_S, minutes(2)[0])])
    assert found("....##", "....##", facts) == [(GapReason.STORE_RESTORING, 0, 4)]


def test_causes_of_the_store_name_no_host() -> None:
    (one,) = find_gaps(seen("....", "...."), StoreHistory(downtimes=[(0, LONG_AFTER_S)]), now_s=LONG_AFTER_S)
    assert (one.reason, one.hosts) == (GapReason.STORE_DOWN, ())


def test_silence_up_to_now_is_ongoing_and_earlier_silence_is_not() -> None:
    now_s = START_S + 6 * 60 + 200
    (one,) = find_gaps(seen("##....", "##...."), StoreHistory(), now_s=now_s)
    assert one.is_ongoing
    (one,) = find_gaps(seen("##...#", "##...#"), StoreHistory(), now_s=now_s)
    assert not one.is_ongoing
    (one,) = find_gaps(seen("##....", "##...."), StoreHistory(), now_s=LONG_AFTER_S)
    assert not one.is_ongoing


@pytest.mark.parametrize(
    ("heard", "last_s", "told_s"),
    [("....##", -600, -600), ("....##", 300, None), ("##..##", -600, None)],
)
def test_the_sample_before_the_silence_is_told_where_silence_began_before_the_job(
    heard: str, last_s: int, told_s: int | None
) -> None:
    (one,) = find_gaps(seen(heard, heard, host_last_s=START_S + last_s), StoreHistory(), now_s=LONG_AFTER_S)
    assert one.last_sample_s == (None if told_s is None else START_S + told_s)


@given(st.lists(st.sampled_from("#."), min_size=2, max_size=60), st.lists(st.booleans(), min_size=60, max_size=60))
def test_absences_cover_the_missing_slots_but_for_single_ones(heard: list[str], measured: list[bool]) -> None:
    present = "".join("#" if mark == "#" and there else "." for mark, there in zip(heard, measured, strict=False))
    covered = [False] * len(present)
    end = 0
    for why, begin, after in found("".join(heard), present):
        assert end <= begin < after <= len(present)
        assert why in (
            GapReason.HOST_NEVER_SEEN,
            GapReason.HOST_SILENT,
            GapReason.METRIC_NEVER_SEEN_ON_HOST,
            GapReason.METRIC_SILENT_ON_HOST,
        )
        end = after
        covered[begin:after] = [True] * (after - begin)
    for slot, mark in enumerate(present):
        alone = present[max(slot - 1, 0) : slot + 2].count(".") == 1
        assert covered[slot] == (mark == "." and not alone)


def test_the_newest_slots_are_not_judged_and_the_first_is_the_first_at_or_after_the_start() -> None:
    assert judgeable_slots(START_S + 1, START_S + 600, 60, now_s=LONG_AFTER_S) == SlotRange(FIRST + 1, 9, 60)
    assert judgeable_slots(START_S, START_S + 600, 60, now_s=START_S + 600) == SlotRange(FIRST, 7, 60)
    assert judgeable_slots(START_S, START_S + 600, 60, now_s=START_S).slots == 0


def absence(host: str, begin: int, end: int, why: GapReason = GapReason.HOST_SILENT, **more: object) -> DataGap:
    return DataGap(why, (host,) if host else (), *minutes(begin, end), **more)  # type: ignore[arg-type]  # by name


def test_hosts_that_lack_the_same_share_one_absence_and_the_longest_comes_first() -> None:
    absences = [
        absence("n3", 5, 9),
        absence("n1", 0, 3),
        absence("n2", 5, 9),
        absence("n2", 0, 1, GapReason.METRIC_SILENT_ON_HOST),
    ]
    assert [(one.hosts, one.reason) for one in merge_hosts(absences)] == [
        (("n2", "n3"), GapReason.HOST_SILENT),
        (("n1",), GapReason.HOST_SILENT),
        (("n2",), GapReason.METRIC_SILENT_ON_HOST),
    ]


def test_ends_a_little_apart_are_the_same_stretch_and_the_widest_counts() -> None:
    absences = [absence("n1", 0, 10), absence("n2", 1, 9), absence("n3", 0, 14)]
    first, second = merge_hosts(absences, tolerance_s=120)
    assert (second.hosts, second.from_s, second.to_s) == (("n1", "n2"), *minutes(0, 10))
    assert first.hosts == ("n3",)


def test_a_host_that_was_silent_for_a_part_of_what_others_lack_joins_them() -> None:
    lacking = [absence(host, 0, 9, GapReason.METRIC_SILENT_ON_HOST) for host in ("n1", "n2")]
    pieces = [
        absence("n3", 0, 2, GapReason.METRIC_SILENT_ON_HOST),
        absence("n3", 2, 6),
        absence("n3", 6, 9, GapReason.METRIC_SILENT_ON_HOST),
    ]
    assert [(one.reason, one.hosts, one.from_s, one.to_s) for one in merge_hosts([*lacking, *pieces])] == [
        (GapReason.METRIC_SILENT_ON_HOST, ("n1", "n2", "n3"), *minutes(0, 9)),
        (GapReason.HOST_SILENT, ("n3",), *minutes(2, 6)),
    ]
    assert len(merge_hosts([*lacking, pieces[0]])) == 2


def test_what_is_ongoing_is_not_folded_with_what_is_over() -> None:
    assert len(merge_hosts([absence("n1", 0, 9), absence("n2", 0, 9, is_ongoing=True)])) == 2


def test_a_silent_host_is_told_once_for_all_metrics() -> None:
    by_metric = {
        "load": [absence("n1", 2, 8)],
        "flops": [absence("n1", 3, 8), absence("n2", 0, 9, GapReason.METRIC_SILENT_ON_HOST)],
        "power": [absence("", 0, 2, GapReason.STORE_DOWN)],
    }
    assert [(one.hosts, one.reason) for one in gaps_of_whole_hosts(by_metric, tolerance_s=0)] == [
        (("n1",), GapReason.HOST_SILENT),
        ((), GapReason.STORE_DOWN),
    ]
