"""perf_event_open on this machine, with events that every kernel has: nothing here is made up."""

from __future__ import annotations

import errno
import mmap
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cc_agent.collectors.perf.counters import CounterGroup, countable_groups, split_groups
from cc_agent.collectors.perf.pmu import named, read_pmus
from cc_agent.collectors.perf.syscall import TYPE_HARDWARE, TYPE_SOFTWARE, EventCode, LinuxPerf, timer_mhz_of_page

TASK_CLOCK, PAGE_FAULTS, CONTEXT_SWITCHES = (EventCode(TYPE_SOFTWARE, number) for number in (1, 2, 3))
CPUS = sorted(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def calls() -> LinuxPerf:
    calls = LinuxPerf()
    try:
        calls.close(calls.open(TASK_CLOCK.attribute(disabled=True), CPUS[0], -1))
    except OSError as error:
        pytest.skip(f"perf_event_open is not allowed here: {error.strerror}")
    return calls


@pytest.fixture
def group(calls: LinuxPerf) -> Iterator[CounterGroup]:
    group = CounterGroup(calls, [TASK_CLOCK, PAGE_FAULTS, CONTEXT_SWITCHES], CPUS[0])
    yield group
    group.close()


@pytest.fixture
def pinned() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {CPUS[0]})
    yield
    os.sched_setaffinity(0, before)


def descriptors() -> set[Path]:
    return set(Path("/proc/self/fd").iterdir())


def touch_pages(count: int) -> None:
    """Fault in fresh memory, which the allocator cannot have at hand."""
    with mmap.mmap(-1, count * mmap.PAGESIZE) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        for page in range(count):
            memory[page * mmap.PAGESIZE] = 1


def test_a_group_is_read_with_one_call_and_counts_what_happens(group: CounterGroup, pinned: None) -> None:
    before_ns = time.monotonic_ns()
    assert not group.advance(), "the first reading has nothing to compare with"
    began_ns = time.monotonic_ns()
    touch_pages(500)
    ended_ns = time.monotonic_ns()
    assert group.advance()
    after_ns = time.monotonic_ns()
    seconds_per_s, faults_per_s, switches_per_s = group.rates
    assert seconds_per_s == pytest.approx(1e9, rel=0.2), "task-clock of a hardware thread goes like the clock"
    assert round(faults_per_s * group.running_ns / 1e9) >= 500
    assert switches_per_s >= 0
    assert group.enabled_ns == group.running_ns, "software events never wait for a counter"
    assert 0.99 * (ended_ns - began_ns) <= group.enabled_ns <= 1.01 * (after_ns - before_ns)


def test_every_hardware_thread_has_counters_of_its_own(calls: LinuxPerf) -> None:
    groups = [CounterGroup(calls, [TASK_CLOCK, CONTEXT_SWITCHES], cpu) for cpu in CPUS]
    assert [group.advance() for group in groups] == [False] * len(CPUS)
    assert [group.advance() for group in groups] == [True] * len(CPUS)
    assert [group.cpu for group in groups] == CPUS
    for group in groups:
        group.close()


def test_the_bytes_of_a_group_are_number_times_and_values(calls: LinuxPerf, group: CounterGroup) -> None:
    content = calls.read(group.leader, 4096)
    number, enabled_ns, running_ns, clock_ns, _, _ = struct.unpack("=6Q", content)
    assert number == 3
    assert 0 < running_ns <= enabled_ns
    assert clock_ns == pytest.approx(running_ns, rel=0.5)


def test_closed_and_opened_again_it_starts_anew(calls: LinuxPerf, group: CounterGroup) -> None:
    before = descriptors()
    other = CounterGroup(calls, [TASK_CLOCK, PAGE_FAULTS], CPUS[-1])
    other.advance()
    other.close()
    other.close()
    assert descriptors() == before
    again = CounterGroup(calls, [TASK_CLOCK, PAGE_FAULTS], CPUS[-1])
    assert not again.advance()
    assert again.advance()
    again.close()


def test_an_event_of_another_pmu_counts_beside_the_leader(calls: LinuxPerf) -> None:
    msr = named(read_pmus(), "msr")
    if not msr:
        pytest.skip("this machine has no PMU msr")
    group = CounterGroup(calls, [TASK_CLOCK, msr[0].encode("event=0x00")], CPUS[-1])
    group.advance()
    time.sleep(0.02)
    assert group.advance()
    assert group.rates[1] > 1e8, "the time stamp counter runs with more than 100 MHz"
    group.close()


def test_a_failed_member_leaves_no_descriptor_behind(calls: LinuxPerf) -> None:
    before = descriptors()
    with pytest.raises(OSError, match=r".") as caught:
        CounterGroup(calls, [TASK_CLOCK, EventCode(TYPE_SOFTWARE, 9999)], CPUS[0])
    assert caught.value.errno in (errno.ENOENT, errno.EINVAL)
    assert descriptors() == before


def test_events_that_a_machine_lacks_are_left_out(calls: LinuxPerf) -> None:
    codes = [EventCode(TYPE_SOFTWARE, 9999), TASK_CLOCK, EventCode(4_000_000, 1), PAGE_FAULTS]
    assert countable_groups(calls, codes, CPUS[0]) == [[1, 3]]
    assert countable_groups(calls, codes[:1], CPUS[0]) == []


def test_a_hardware_thread_that_is_not_there_is_an_error(calls: LinuxPerf) -> None:
    with pytest.raises(OSError, match=r"."):
        CounterGroup(calls, [TASK_CLOCK], 60_000)


def test_counting_hardware_events_works_or_is_refused_with_a_known_reason(calls: LinuxPerf) -> None:
    try:
        CounterGroup(calls, [EventCode(TYPE_HARDWARE, 1, user_only=True)], CPUS[0]).close()
        failure = 0
    except OSError as error:
        failure = error.errno or -1
    assert failure in (0, errno.ENOENT, errno.EOPNOTSUPP, errno.ENODEV)


def test_the_timer_is_told_in_mhz_or_not_at_all(calls: LinuxPerf, group: CounterGroup) -> None:
    rate = calls.timer_mhz(group.leader)
    assert rate is None or 1.0 <= rate <= 10_000.0
    with Path(os.devnull).open("rb") as file:
        assert calls.timer_mhz(file.fileno()) is None


def page(capabilities: int, shift: int, multiplier: int) -> bytes:
    return bytes(40) + struct.pack("=QHHI", capabilities, 48, shift, multiplier)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (page(0b1000, 31, 858_993_459), 2500.0),  # 2^31 / 858993459 ticks per ns
        (page(0b1000, 0, 1), 1000.0),
        (page(0b1000, 0, 40), 25.0),
        (page(0b0110, 31, 858_993_459), None),
        (page(0b1000, 31, 0), None),
        (page(0b1000, 64, 1), None),
        (b"", None),
        (bytes(56), None),
    ],
)
def test_the_rate_of_the_timer_follows_from_multiplier_and_shift(content: bytes, expected: float | None) -> None:
    assert timer_mhz_of_page(content) == (None if expected is None else pytest.approx(expected, rel=1e-8))


def test_the_attribute_is_laid_out_as_the_kernel_wants_it() -> None:
    content = EventCode(4, 0x1122334455667788, 0xA, 0xB, user_only=True).attribute(disabled=True)
    assert len(content) == 112
    assert content[:16] == struct.pack("=IIQ", 4, 112, 0x1122334455667788)
    assert content[16:32] == bytes(16), "counting, not sampling"
    assert content[32:48] == struct.pack("=QQ", 1 | 2 | 8, 1 << 0 | 1 << 5 | 1 << 6)
    assert content[48:72] == struct.pack("=QQQ", 0, 0xA, 0xB)
    assert content[72:] == bytes(40)
    assert EventCode(1, 2).attribute(disabled=False)[40:48] == bytes(8)


def test_a_third_configuration_word_takes_the_larger_attribute() -> None:
    content = EventCode(20, 1, config3=7).attribute(disabled=False)
    assert len(content) == 136
    assert content[4:8] == struct.pack("=I", 136)
    assert content[112:] == bytes(16) + struct.pack("=Q", 7)


def test_a_starved_group_is_cut_in_the_middle() -> None:
    assert split_groups([[0, 1, 2], [3, 4]], 0) == [[0], [1, 2], [3, 4]]
    assert split_groups([[0], [3, 4, 5, 6]], 1) == [[0], [3, 4], [5, 6]]
