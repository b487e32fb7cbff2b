"""The wall clock jumps, or is wrong at the start: what is removed, what is taken, and who is believed."""

import logging

import pytest

from cc_backend.runtime.trusted_clock import (
    EARLIEST_TIME_S,
    MAX_AHEAD_OF_UNKNOWN_S,
    MAX_DEVIATION_S,
    OBSERVE_S,
    TrustedClock,
)

NOW_S = 1_790_000_000
DAY_S = 86_400
YEAR_S = 366 * DAY_S
STEPS = [30 * DAY_S, 50 * YEAR_S, 3600, -3600, -30 * DAY_S, -NOW_S]


class Clocks:
    """A wall clock that can be set, and one that only goes forth."""

    def __init__(self, wall_s: float = NOW_S) -> None:
        self.wall_s, self.steady_s = float(wall_s), 50.0

    def trusted(self, last_known_s: float = 0) -> TrustedClock:
        return TrustedClock(lambda: self.wall_s, monotonic=lambda: self.steady_s, last_known_s=last_known_s)

    def pass_by(self, seconds: float) -> None:
        self.wall_s += seconds
        self.steady_s += seconds


def hear(clock: TrustedClock, clocks: Clocks, hosts: int, offset_s: float, *, name: str = "n") -> None:
    """Samples of so many hosts, whose clocks differ by so much from the wall clock."""
    for host in range(hosts):
        clock.observe_sample(f"{name}{host}", int(clocks.wall_s + offset_s))


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


def test_while_nothing_jumps_there_is_one_time(clocks: Clocks) -> None:
    clock = clocks.trusted()
    for _ in range(1000):
        clocks.pass_by(3600)
        clocks.wall_s += 5  # a steady clock that is slow, or NTP at work
        assert clock.range() == (int(clocks.wall_s), int(clocks.wall_s))
    assert not clock.in_doubt


@pytest.mark.parametrize("step_s", STEPS)
def test_after_a_jump_things_are_removed_by_the_earlier_time_and_samples_taken_by_both(
    clocks: Clocks, step_s: float
) -> None:
    clock = clocks.trusted()
    clocks.pass_by(10)
    clocks.wall_s += step_s
    assert clock.in_doubt
    true_s = NOW_S + 10
    assert clock.now_s() == true_s
    assert clock.range() == (min(true_s, true_s + step_s), max(true_s, true_s + step_s))
    clocks.pass_by(100_000)
    clock.resolve_doubt()
    assert clock.retention_now_s() == true_s + min(step_s, 0) + 100_000


@pytest.mark.parametrize("step_s", STEPS)
def test_a_jump_that_samples_confirm_is_followed(
    clocks: Clocks, step_s: float, caplog: pytest.LogCaptureFixture
) -> None:
    clock = clocks.trusted()
    clocks.wall_s += step_s
    assert clock.in_doubt
    clocks.pass_by(OBSERVE_S)
    hear(clock, clocks, 3, -20)
    clock.resolve_doubt()
    assert not clock.in_doubt
    assert clock.retention_now_s() == int(clocks.wall_s)
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 3


@pytest.mark.parametrize("step_s", STEPS)
def test_a_jump_that_samples_contradict_is_not(clocks: Clocks, step_s: float) -> None:
    clock = clocks.trusted()
    clocks.wall_s += step_s
    assert clock.in_doubt
    for _ in range(100):
        clocks.pass_by(60)
        hear(clock, clocks, 3, -step_s)
        clock.resolve_doubt()
    assert clock.in_doubt
    assert clock.retention_now_s() == NOW_S + 6000 + min(step_s, 0)


def test_the_minority_that_jumped_along_does_not_count(clocks: Clocks) -> None:
    """Such as the agent of the server's own machine."""
    clock = clocks.trusted()
    clocks.wall_s += 30 * DAY_S
    assert clock.in_doubt
    clocks.pass_by(OBSERVE_S)
    hear(clock, clocks, 2, 0, name="wrong")
    hear(clock, clocks, 3, -30 * DAY_S)
    clock.resolve_doubt()
    assert clock.retention_now_s() == NOW_S + OBSERVE_S


def test_hosts_are_listened_to_for_a_while_and_only_the_newest_counts(clocks: Clocks) -> None:
    clock = clocks.trusted()
    clocks.wall_s += 30 * DAY_S
    assert clock.in_doubt
    hear(clock, clocks, 3, 0)
    clocks.pass_by(OBSERVE_S - 1)
    clock.resolve_doubt()
    assert clock.in_doubt, "others may still come"
    hear(clock, clocks, 3, -30 * DAY_S)  # the backlog came first
    clocks.pass_by(1)
    clock.resolve_doubt()
    assert clock.in_doubt
    clocks.pass_by(OBSERVE_S + 1)
    clock.resolve_doubt()
    assert clock.in_doubt, "nobody was heard lately"


def test_without_a_majority_nothing_is_decided(clocks: Clocks) -> None:
    clock = clocks.trusted()
    clocks.wall_s += YEAR_S
    assert clock.in_doubt
    clocks.pass_by(OBSERVE_S)
    for host in range(10):
        clock.observe_sample(f"n{host}", int(clocks.wall_s - host * 10 * DAY_S))
    clock.resolve_doubt()
    assert clock.retention_now_s() == NOW_S + OBSERVE_S


def test_a_jump_there_and_back_leaves_nothing_behind(clocks: Clocks) -> None:
    clock = clocks.trusted()
    clocks.wall_s += 50 * YEAR_S
    assert clock.in_doubt
    clocks.wall_s -= 50 * YEAR_S
    clocks.pass_by(1)
    assert not clock.in_doubt
    assert clock.range() == (NOW_S + 1, NOW_S + 1)


class TestStart:
    @pytest.mark.parametrize("away_s", [0, 60, MAX_DEVIATION_S])
    def test_soon_after_the_last_sign_of_life_the_clock_is_trusted(self, clocks: Clocks, away_s: float) -> None:
        assert not clocks.trusted(NOW_S - away_s).in_doubt

    def test_a_first_start_trusts_the_clock(self, clocks: Clocks) -> None:
        assert not clocks.trusted().in_doubt

    def test_a_clock_far_ahead_of_what_is_on_disk_frees_nothing_until_samples_confirm_it(self, clocks: Clocks) -> None:
        clock = clocks.trusted(NOW_S - 30 * DAY_S)
        assert clock.range() == (NOW_S - 30 * DAY_S, NOW_S)
        clocks.pass_by(OBSERVE_S)
        hear(clock, clocks, 1, 0)
        clock.resolve_doubt()
        assert clock.range() == (NOW_S + OBSERVE_S, NOW_S + OBSERVE_S)

    @pytest.mark.parametrize("last_known_s", [0, NOW_S])
    def test_a_dead_battery_refuses_no_sample_and_the_samples_say_what_time_it_is(self, last_known_s: float) -> None:
        """The server was off for two hours, and its clock begins in 1970; the nodes know better."""
        clocks = Clocks(0)
        clock = clocks.trusted(last_known_s)
        true_s = NOW_S + 7200
        assert clock.retention_now_s() == 0
        assert clock.range().latest_s > true_s
        clocks.pass_by(OBSERVE_S)
        hear(clock, clocks, 3, true_s)
        clock.resolve_doubt()
        assert clock.range() == (OBSERVE_S, true_s + OBSERVE_S), "and no longer ten years ahead"
        clocks.wall_s = true_s + OBSERVE_S + 60  # NTP answers
        assert not clock.in_doubt
        assert clock.retention_now_s() == true_s + OBSERVE_S + 60

    def test_ntp_that_answers_before_any_sample_is_confirmed_by_the_samples(self) -> None:
        clocks = Clocks(0)
        clock = clocks.trusted()
        clocks.wall_s = NOW_S
        assert clock.range() == (EARLIEST_TIME_S, NOW_S + MAX_AHEAD_OF_UNKNOWN_S)
        clocks.pass_by(OBSERVE_S)
        hear(clock, clocks, 3, 0)
        clock.resolve_doubt()
        assert clock.range() == (NOW_S + OBSERVE_S, NOW_S + OBSERVE_S)

    def test_after_a_time_in_which_the_clock_was_years_ahead_the_right_one_is_believed(self, clocks: Clocks) -> None:
        clock = clocks.trusted(NOW_S + 50 * YEAR_S)
        assert clock.retention_now_s() == NOW_S
        clocks.pass_by(OBSERVE_S)
        hear(clock, clocks, 3, 0)
        clock.resolve_doubt()
        assert clock.range() == (NOW_S + OBSERVE_S, NOW_S + OBSERVE_S)


@pytest.mark.parametrize("wall_s", [0, 86_400, EARLIEST_TIME_S - 10 * DAY_S])
def test_a_sign_of_life_that_a_dead_clock_left_confirms_no_dead_clock_after_a_restart(wall_s: int) -> None:
    clock = Clocks(wall_s).trusted(last_known_s=wall_s - 5)
    assert clock.in_doubt
    assert clock.range().latest_s > NOW_S  # samples of the true time are taken
    assert clock.retention_now_s() <= wall_s
