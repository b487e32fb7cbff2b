"""What is made of the bytes of a group, with answers computed by hand."""

import errno
import struct

import pytest
from perf_machine import FakePerf

from cc_agent.collectors.perf.counters import CounterGroup, countable_groups
from cc_agent.collectors.perf.syscall import EventCode

CODES = [EventCode(4, 0xC0), EventCode(4, 0x3C)]
SECOND_NS = 1_000_000_000
TOP = 1 << 64


class Answers(FakePerf):
    """Gives these readings of a group, one after another."""

    def __init__(self, *readings: bytes) -> None:
        super().__init__()
        self.readings = list(readings)

    def read(self, *_request: int) -> bytes:
        return self.readings.pop(0)


def reading(enabled_ns: int, running_ns: int, *values: int) -> bytes:
    return struct.pack(f"={3 + len(values)}Q", len(values), enabled_ns, running_ns, *values)


def group(*readings: bytes) -> CounterGroup:
    return CounterGroup(Answers(*readings), CODES, 0)


def test_rates_are_per_second_of_the_time_enabled() -> None:
    counted = group(reading(5 * SECOND_NS, 5 * SECOND_NS, 100, 7), reading(15 * SECOND_NS, 15 * SECOND_NS, 2100, 57))
    assert not counted.advance()
    assert counted.advance()
    assert counted.rates == [200.0, 5.0]
    assert (counted.enabled_ns, counted.running_ns) == (10 * SECOND_NS, 10 * SECOND_NS)


def test_the_difference_is_scaled_and_not_the_total() -> None:
    # All the time at first, a quarter of the time later: 1000 events in 2.5 of 10 s are 400 per second. Scaling totals
    # would give (11000 * 20 / 12.5 - 10000) / 10 = 760.
    counted = group(
        reading(10 * SECOND_NS, 10 * SECOND_NS, 10_000, 0), reading(20 * SECOND_NS, 12_500_000_000, 11_000, 0)
    )
    counted.advance()
    assert counted.advance()
    assert counted.rates == [400.0, 0.0]


def test_a_group_that_never_ran_has_no_rate() -> None:
    counted = group(reading(SECOND_NS, 0, 0, 0), reading(11 * SECOND_NS, 0, 0, 0))
    counted.advance()
    assert not counted.advance()
    assert (counted.enabled_ns, counted.running_ns, counted.stalled) == (10 * SECOND_NS, 0, False)


def test_a_group_whose_time_stands_still_is_stalled() -> None:
    counted = group(reading(SECOND_NS, SECOND_NS, 5, 5), reading(SECOND_NS, SECOND_NS, 5, 5))
    assert not counted.stalled
    counted.advance()
    assert not counted.stalled
    assert not counted.advance()
    assert counted.stalled


def test_counters_wrap_at_64_bits() -> None:
    counted = group(reading(0, 0, TOP - 1000, TOP - 1), reading(SECOND_NS, SECOND_NS, 500, TOP - 1))
    counted.advance()
    assert counted.advance()
    assert counted.rates == [1500.0, 0.0]


def test_counters_that_were_set_back_give_nothing_once() -> None:
    counted = group(
        reading(SECOND_NS, SECOND_NS, 10**12, 5),
        reading(2 * SECOND_NS, 2 * SECOND_NS, 100, 6),
        reading(3 * SECOND_NS, 3 * SECOND_NS, 150, 8),
    )
    counted.advance()
    assert not counted.advance()
    assert counted.advance()
    assert counted.rates == [50.0, 2.0]


@pytest.mark.parametrize("content", [b"", bytes(8), bytes(39), bytes(41), bytes(4096)])
def test_an_answer_of_another_length_is_an_error(content: bytes) -> None:
    counted = group(content)
    with pytest.raises(OSError, match=r"hwthread 0 gave \d+ bytes"):
        counted.advance()


def test_closing_removes_all_members() -> None:
    calls = FakePerf()
    counted = CounterGroup(calls, CODES, 0)
    assert len(calls.events) == 2
    counted.close()
    counted.close()
    assert not calls.events


def test_a_full_group_goes_on_in_another_one() -> None:
    calls = FakePerf()
    calls.group_limit = 4
    codes = [EventCode(4, number) for number in range(10)]
    assert countable_groups(calls, codes, 0) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert not calls.events


def test_missing_and_refused_events_are_left_out() -> None:
    calls = FakePerf()
    calls.refuse = {(4, 1): errno.ENOENT, (4, 2): errno.EOPNOTSUPP, (4, 0): errno.EINVAL}
    assert countable_groups(calls, [EventCode(4, number) for number in range(5)], 0) == [[3, 4]]


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM, errno.EMFILE, errno.EBUSY])
def test_a_missing_right_is_not_taken_for_a_missing_event(number: int) -> None:
    calls = FakePerf()
    calls.refuse = {(4, 1): number}
    with pytest.raises(OSError, match=r".") as caught:
        countable_groups(calls, [EventCode(4, 0), EventCode(4, 1)], 0)
    assert caught.value.errno == number
    assert not calls.events
