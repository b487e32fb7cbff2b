"""The seconds in each state that every row of a node carries."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.jobs.node_state_times import MAX_REPORT_GAP_S, TIMED_STATES, KnownNode, add_time, changed_rows

NOW_S = 1_760_000_000
REST = ("[]", "full", "[]", "[]", 4, 64, 0, 1)
IDLE, BUSY = ("idle", *REST), ("allocated", *REST)


def known(state: tuple[Any, ...] = IDLE, *, time_s: int = NOW_S, seen_s: int = NOW_S) -> KnownNode:
    return KnownNode("std", seen_s, time_s, state, (1, 2, 3, 4, 5))


def test_the_first_report_begins_with_no_time_in_any_state() -> None:
    assert changed_rows(None, IDLE, NOW_S) == [(NOW_S, *IDLE, 0, 0, 0, 0, 0)]
    bare = KnownNode("std", 0, 0, (None,) * 9, ())
    assert changed_rows(bare, IDLE, NOW_S) == [(NOW_S, *IDLE, 0, 0, 0, 0, 0)]


def test_a_report_that_says_nothing_new_adds_no_row() -> None:
    assert changed_rows(known(), IDLE, NOW_S + 60) == []


def test_a_change_carries_the_time_in_the_state_before() -> None:
    assert changed_rows(known(), BUSY, NOW_S + 60) == [(NOW_S + 60, *BUSY, 1, 2, 63, 4, 5)]


def test_time_in_an_unknown_state_is_not_counted() -> None:
    assert changed_rows(known(("unknown", *REST)), BUSY, NOW_S + 60) == [(NOW_S + 60, *BUSY, 1, 2, 3, 4, 5)]


@pytest.mark.parametrize("state", [IDLE, BUSY])
def test_a_time_without_reports_is_a_row_of_its_own(state: tuple[Any, ...]) -> None:
    seen_s, now_s = NOW_S + 100, NOW_S + 101 + MAX_REPORT_GAP_S
    gap, row = changed_rows(known(seen_s=seen_s), state, now_s)
    assert gap == (seen_s, "unknown", "[]", "full", "[]", "[]", 0, 0, 0, 0, 1, 2, 103, 4, 5)
    assert row == (now_s, *state, 1, 2, 103, 4, 5)
    assert changed_rows(known(seen_s=seen_s), IDLE, now_s - 1) == []


def test_a_clock_that_is_set_back_a_little_makes_no_time_and_no_disorder() -> None:
    assert changed_rows(known(), BUSY, NOW_S - MAX_REPORT_GAP_S) == [(NOW_S, *BUSY, 1, 2, 3, 4, 5)]


def test_a_clock_that_was_far_ahead_is_forgotten_once_it_is_right() -> None:
    ahead = known(time_s=NOW_S + 86_400, seen_s=NOW_S + 86_400)
    assert changed_rows(ahead, BUSY, NOW_S) == [(NOW_S, *BUSY, 1, 2, 3, 4, 5)]


@given(st.sampled_from([*TIMED_STATES, "unknown", "other"]), st.integers(-(2**40), 2**40))
def test_only_the_state_that_held_gets_time_and_never_less(state: str, duration_s: int) -> None:
    before = (10, 20, 30, 40, 50)
    after = add_time(before, state, duration_s)
    gained = {name: new - old for name, old, new in zip(TIMED_STATES, before, after, strict=True)}
    assert {name: gain for name, gain in gained.items() if gain} == (
        {state: duration_s} if state in TIMED_STATES and duration_s > 0 else {}
    )
