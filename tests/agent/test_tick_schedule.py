import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_agent.tick_schedule import clock_was_set_back, is_too_late, next_tick, send_delay_s


@pytest.mark.parametrize(
    ("now_s", "interval_s", "tick_s"),
    [(0, 10, 10), (0.1, 10, 10), (9.999, 10, 10), (10, 10, 20), (1700000000.5, 60, 1700000040), (59.9, 1, 60)],
)
def test_ticks_are_multiples_of_the_interval(now_s: float, interval_s: int, tick_s: int) -> None:
    assert next_tick(now_s, interval_s) == tick_s


@given(st.floats(0, 4e9), st.integers(1, 86400))
def test_the_next_tick_is_ahead_by_at_most_one_interval(now_s: float, interval_s: int) -> None:
    tick_s = next_tick(now_s, interval_s)
    assert tick_s % interval_s == 0
    assert now_s < tick_s <= now_s + interval_s


def test_more_than_half_an_interval_is_too_late() -> None:
    assert not is_too_late(105.0, 100, 10)
    assert is_too_late(105.1, 100, 10)


def test_a_tick_beyond_one_interval_means_a_clock_set_back() -> None:
    assert not clock_was_set_back(90.0, 100, 10)
    assert clock_was_set_back(89.9, 100, 10)


def test_each_host_sends_at_its_own_moment_and_all_are_spread_evenly() -> None:
    delays = [send_delay_s(f"node{number:04d}", 10) for number in range(2000)]
    assert delays == [send_delay_s(f"node{number:04d}", 10) for number in range(2000)]
    assert all(0 <= delay < 4 for delay in delays)
    counts = [sum(1 for delay in delays if part <= delay < part + 1) for part in range(4)]
    assert all(400 < count < 600 for count in counts)
