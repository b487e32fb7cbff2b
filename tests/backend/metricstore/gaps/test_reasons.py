from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.metricstore.gaps.reasons import HostSeen, StoreFacts, absences_of, folded, of_hosts, span_of
from cc_backend.metricstore.query.series_reader import Range
from cc_backend.model import Absence, Why

FIRST = 30_000_000
START_S = FIRST * 60
LONG_AFTER_S = START_S + 30 * 86400
NO_FACTS = StoreFacts()


def seen(heard: str, present: str, **more: object) -> HostSeen:
    """One character a slot: `#` where there is a sample."""
    flags = [np.array([mark == "#" for mark in marks], np.bool_) for marks in (heard, present)]
    known = {"known": "#" in heard, "measured": "#" in present, **more}
    return HostSeen("n1", Range(FIRST, len(heard), 60), *flags, **known)  # type: ignore[arg-type]  # by name


def found(
    heard: str, present: str, facts: StoreFacts = NO_FACTS, now_s: int = LONG_AFTER_S, **more: object
) -> list[tuple[Why, int, int]]:
    return [
        (one.why, (one.from_s - START_S) // 60, (one.to_s - START_S) // 60)
        for one in absences_of(seen(heard, present, **more), facts, now_s=now_s)
    ]


def minutes(*times: int) -> Sequence[int]:
    return [START_S + 60 * time for time in times]


@pytest.mark.parametrize(
    ("heard", "present", "expected"),
    [
        ("######", "######", []),
        ("##...#", "##...#", [(Why.HOST_SILENT, 2, 5)]),
        ("######", "##...#", [(Why.METRIC_SILENT, 2, 5)]),
        ("######", "......", [(Why.METRIC_NEVER, 0, 6)]),
        ("......", "......", [(Why.HOST_NEVER, 0, 6)]),
        ("##.###", "##.###", []),
        ("###..#", "#....#", [(Why.METRIC_SILENT, 1, 3), (Why.HOST_SILENT, 3, 5)]),
        ("#..#..#", "#..#..#", [(Why.HOST_SILENT, 1, 3), (Why.HOST_SILENT, 4, 6)]),
        ("..####", "..####", [(Why.HOST_SILENT, 0, 2)]),
        ("##....", "##....", [(Why.HOST_SILENT, 2, 6)]),
        (".", ".", [(Why.HOST_NEVER, 0, 1)]),
    ],
)
def test_a_stretch_without_samples_has_one_cause(
    heard: str, present: str, expected: list[tuple[Why, int, int]]
) -> None:
    assert found(heard, present) == expected


@pytest.mark.parametrize(
    ("heard", "present", "expected"),
    [
        ("##...##", "#....##", [(Why.HOST_SILENT, 1, 5)]),
        ("##...##", "##....#", [(Why.HOST_SILENT, 2, 6)]),
        ("#..#..#", "#.....#", [(Why.HOST_SILENT, 1, 6)]),
    ],
)
def test_a_single_slot_of_another_cause_joins_its_neighbour(
    heard: str, present: str, expected: list[tuple[Why, int, int]]
) -> None:
    assert found(heard, present) == expected


def test_a_host_or_metric_that_is_known_from_another_time_is_silent_now() -> None:
    assert found("....", "....", known=True) == [(Why.HOST_SILENT, 0, 4)]
    assert found("####", "....", measured=True) == [(Why.METRIC_SILENT, 0, 4)]


def test_time_in_which_the_store_did_not_run_is_no_fault_of_a_host() -> None:
    down = StoreFacts(outages=[tuple(minutes(2, 4))])  # type: ignore[list-item]  # two times
    assert found("#.....#", "#.....#", down) == [(Why.STORE_DOWN, 1, 4), (Why.HOST_SILENT, 4, 6)]
    assert found("#######", "#.....#", down) == [(Why.METRIC_SILENT, 1, 6)]


def test_an_outage_that_late_samples_have_filled_is_none() -> None:
    assert found("######", "######", StoreFacts(outages=[(START_S, START_S + 300)])) == []


def test_what_the_store_no_longer_keeps_has_no_other_reason() -> None:
    facts = StoreFacts(kept_from_s=minutes(3)[0])
    assert found("......", "......", facts, known=True) == [(Why.TOO_OLD, 0, 3), (Why.HOST_SILENT, 3, 6)]


def test_samples_of_a_long_job_are_kept_beyond_that_time_so_what_is_missing_never_came() -> None:
    facts = StoreFacts(kept_from_s=minutes(100)[0])
    assert found("###...", "###...", facts) == [(Why.HOST_SILENT, 3, 6)]


def test_what_is_still_read_back_has_no_other_reason_yet() -> None:
    facts = StoreFacts(restoring_before_s=minutes(4)[0], outages=[(START_S, minutes(2)[0])])
    assert found("....##", "....##", facts) == [(Why.RESTORING, 0, 4)]


def test_causes_of_the_store_name_no_host() -> None:
    (one,) = absences_of(seen("....", "...."), StoreFacts(outages=[(0, LONG_AFTER_S)]), now_s=LONG_AFTER_S)
    assert (one.why, one.hosts) == (Why.STORE_DOWN, ())


def test_silence_up_to_now_is_ongoing_and_earlier_silence_is_not() -> None:
    now_s = START_S + 6 * 60 + 200
    (one,) = absences_of(seen("##....", "##...."), StoreFacts(), now_s=now_s)
    assert one.ongoing
    (one,) = absences_of(seen("##...#", "##...#"), StoreFacts(), now_s=now_s)
    assert not one.ongoing
    (one,) = absences_of(seen("##....", "##...."), StoreFacts(), now_s=LONG_AFTER_S)
    assert not one.ongoing


@pytest.mark.parametrize(
    ("heard", "last_s", "told_s"),
    [("....##", -600, -600), ("....##", 300, None), ("##..##", -600, None)],
)
def test_the_sample_before_the_silence_is_told_where_silence_began_before_the_job(
    heard: str, last_s: int, told_s: int | None
) -> None:
    (one,) = absences_of(seen(heard, heard, host_last_s=START_S + last_s), StoreFacts(), now_s=LONG_AFTER_S)
    assert one.last_s == (None if told_s is None else START_S + told_s)


@given(st.lists(st.sampled_from("#."), min_size=2, max_size=60), st.lists(st.booleans(), min_size=60, max_size=60))
def test_absences_cover_the_missing_slots_but_for_single_ones(heard: list[str], measured: list[bool]) -> None:
    present = "".join("#" if mark == "#" and there else "." for mark, there in zip(heard, measured, strict=False))
    covered = [False] * len(present)
    end = 0
    for why, begin, after in found("".join(heard), present):
        assert end <= begin < after <= len(present)
        assert why in (Why.HOST_NEVER, Why.HOST_SILENT, Why.METRIC_NEVER, Why.METRIC_SILENT)
        end = after
        covered[begin:after] = [True] * (after - begin)
    for slot, mark in enumerate(present):
        alone = present[max(slot - 1, 0) : slot + 2].count(".") == 1
        assert covered[slot] == (mark == "." and not alone)


def test_the_newest_slots_are_not_judged_and_the_first_is_the_first_at_or_after_the_start() -> None:
    assert span_of(START_S + 1, START_S + 600, 60, now_s=LONG_AFTER_S) == Range(FIRST + 1, 9, 60)
    assert span_of(START_S, START_S + 600, 60, now_s=START_S + 600) == Range(FIRST, 7, 60)
    assert span_of(START_S, START_S + 600, 60, now_s=START_S).slots == 0


def absence(host: str, begin: int, end: int, why: Why = Why.HOST_SILENT, **more: object) -> Absence:
    return Absence(why, (host,) if host else (), *minutes(begin, end), **more)  # type: ignore[arg-type]  # by name


def test_hosts_that_lack_the_same_share_one_absence_and_the_longest_comes_first() -> None:
    absences = [absence("n3", 5, 9), absence("n1", 0, 3), absence("n2", 5, 9), absence("n2", 0, 1, Why.METRIC_SILENT)]
    assert [(one.hosts, one.why) for one in folded(absences)] == [
        (("n2", "n3"), Why.HOST_SILENT),
        (("n1",), Why.HOST_SILENT),
        (("n2",), Why.METRIC_SILENT),
    ]


def test_ends_a_little_apart_are_the_same_stretch_and_the_widest_counts() -> None:
    absences = [absence("n1", 0, 10), absence("n2", 1, 9), absence("n3", 0, 14)]
    first, second = folded(absences, tolerance_s=120)
    assert (second.hosts, second.from_s, second.to_s) == (("n1", "n2"), *minutes(0, 10))
    assert first.hosts == ("n3",)


def test_a_host_that_was_silent_for_a_part_of_what_others_lack_joins_them() -> None:
    lacking = [absence(host, 0, 9, Why.METRIC_SILENT) for host in ("n1", "n2")]
    pieces = [
        absence("n3", 0, 2, Why.METRIC_SILENT),
        absence("n3", 2, 6),
        absence("n3", 6, 9, Why.METRIC_SILENT),
    ]
    assert [(one.why, one.hosts, one.from_s, one.to_s) for one in folded([*lacking, *pieces])] == [
        (Why.METRIC_SILENT, ("n1", "n2", "n3"), *minutes(0, 9)),
        (Why.HOST_SILENT, ("n3",), *minutes(2, 6)),
    ]
    assert len(folded([*lacking, pieces[0]])) == 2


def test_what_is_ongoing_is_not_folded_with_what_is_over() -> None:
    assert len(folded([absence("n1", 0, 9), absence("n2", 0, 9, ongoing=True)])) == 2


def test_a_silent_host_is_told_once_for_all_metrics() -> None:
    by_metric = {
        "load": [absence("n1", 2, 8)],
        "flops": [absence("n1", 3, 8), absence("n2", 0, 9, Why.METRIC_SILENT)],
        "power": [absence("", 0, 2, Why.STORE_DOWN)],
    }
    assert [(one.hosts, one.why) for one in of_hosts(by_metric, tolerance_s=0)] == [
        (("n1",), Why.HOST_SILENT),
        ((), Why.STORE_DOWN),
    ]
