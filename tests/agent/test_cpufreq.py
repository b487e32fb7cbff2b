from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_agent.collectors.base import Collector, Tick
from cc_agent.collectors.cpufreq import (
    CpufreqCollector,
    CpufreqCpuinfoCollector,
    CpufreqCpuinfoOptions,
    CpufreqOptions,
    parse_cpuinfo_clocks,
)
from cc_agent.errors import NotPresentError

Write = Callable[[str, str], None]

CLOCK = "sys/devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq"


def _clocks(collector: Collector) -> dict[str, float]:
    return {series.tags["type-id"]: value for series, value in collector.read(Tick(0, 5.0, 10.0))}


def test_the_clock_of_a_core_is_that_of_its_first_hardware_thread_in_hertz(machine: Path) -> None:
    collector = CpufreqCollector(CpufreqOptions(), machine)
    collector.open()
    assert collector.metrics[0].unit == "Hz"
    assert _clocks(collector) == {"0": 2_000_000_000, "1": 2_000_001_000}
    collector.close()


@pytest.mark.parametrize("text", ["<unknown>\n", "", "\0"])
def test_a_clock_that_is_not_known_costs_no_other(machine: Path, write: Write, text: str) -> None:
    collector = CpufreqCollector(CpufreqOptions(), machine)
    collector.open()
    write(CLOCK.format(0), text)
    assert _clocks(collector).keys() == {"1"}
    collector.close()


def test_a_core_that_goes_offline_and_comes_back_is_followed(machine: Path, write: Write) -> None:
    collector = CpufreqCollector(CpufreqOptions(), machine)
    collector.open()
    write("sys/devices/system/cpu/online", "0,2\n")
    assert _clocks(collector).keys() == {"0"}
    write("sys/devices/system/cpu/online", "0-3\n")
    assert _clocks(collector).keys() == {"0", "1"}
    collector.close()


def test_a_machine_without_frequency_driver_is_not_at_fault(tmp_path: Path, write: Write) -> None:
    write("sys/devices/system/cpu/online", "0-3\n")
    with pytest.raises(NotPresentError, match="cannot be read"):
        CpufreqCollector(CpufreqOptions(), tmp_path).open()


def test_the_clocks_of_cpuinfo_are_in_megahertz(machine: Path) -> None:
    collector = CpufreqCpuinfoCollector(CpufreqCpuinfoOptions(), machine)
    collector.open()
    assert collector.metrics[0].unit == "MHz"
    assert _clocks(collector) == {"0": 2000.5, "1": 2001.5}
    collector.close()


def test_entries_of_cpuinfo_are_known_by_their_number_not_by_their_place(machine: Path, write: Write) -> None:
    collector = CpufreqCpuinfoCollector(CpufreqCpuinfoOptions(), machine)
    collector.open()
    write("proc/cpuinfo", "processor : 1\ncpu MHz : 1500.0\n\nprocessor : 3\ncpu MHz : 1600\n\n")
    assert _clocks(collector) == {"1": 1500.0}
    collector.close()


def test_a_processor_that_does_not_say_its_clock_is_not_at_fault(machine: Path, write: Write) -> None:
    write("proc/cpuinfo", "processor : 0\nBogoMIPS : 50.00\n")
    with pytest.raises(NotPresentError, match="no clock"):
        CpufreqCpuinfoCollector(CpufreqCpuinfoOptions(), machine).open()


@pytest.mark.parametrize(
    "text",
    [b"", b"processor", b"processor : x\ncpu MHz : 1", b"cpu MHz : 5", b"processor : 0\ncpu MHz : nan", b"\xff\n\n\0"],
)
def test_entries_of_another_form_are_skipped(text: bytes) -> None:
    assert parse_cpuinfo_clocks(text) == {}


@given(st.dictionaries(st.integers(0, 4095), st.integers(1, 10**7), max_size=8))
def test_what_is_written_is_read(clocks: dict[int, int]) -> None:
    text = "\n\n".join(f"processor\t: {cpu}\ncpu MHz\t\t: {khz / 1000:.3f}" for cpu, khz in clocks.items())
    assert parse_cpuinfo_clocks(text.encode()) == {cpu: khz / 1000 for cpu, khz in clocks.items()}
