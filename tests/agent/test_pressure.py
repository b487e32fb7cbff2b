from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_agent.collectors.base import Tick
from cc_agent.collectors.pressure import PressureCollector, PressureOptions, parse_pressure
from cc_agent.errors import NotPresentError

LINE = "{} avg10=1.00 avg60=2.00 avg300=3.00 total={}\n"


def _shares(root: Path, busy: Callable[[int], None], *steps: int) -> list[dict[str, float]]:
    collector = PressureCollector(PressureOptions(), root)
    collector.open()
    shares = []
    for number, step in enumerate(steps):
        busy(step)
        shares.append({series.metric: value for series, value in collector.read(Tick(0, 5.0 + 10 * number, 10.0))})
    collector.close()
    return shares


def test_the_share_of_time_is_that_of_the_whole_interval(machine: Path, busy: Callable[[int], None]) -> None:
    first, second = _shares(machine, busy, 1, 2)
    assert first == {}
    assert second == {
        "psi_cpu_some": 10.0, "psi_cpu_full": 1.0,
        "psi_memory_some": 20.0, "psi_memory_full": 1.0,
        "psi_io_some": 30.0, "psi_io_full": 1.0,
    }  # fmt: skip


def test_a_total_that_fell_gives_no_share(machine: Path, busy: Callable[[int], None]) -> None:
    _, second, third = _shares(machine, busy, 5, 1, 2)
    assert second == {}
    assert third["psi_io_some"] == 30.0


def test_no_share_is_above_all_the_time(machine: Path, busy: Callable[[int], None]) -> None:
    assert _shares(machine, busy, 1, 100)[1]["psi_cpu_some"] == 100.0


def test_what_a_kernel_does_not_measure_costs_nothing_else(machine: Path, busy: Callable[[int], None]) -> None:
    collector = PressureCollector(PressureOptions(exclude_metrics=("psi_io_some", "psi_io_full")), machine)
    collector.open()
    collector.close()
    (machine / "proc/pressure/io").unlink()
    (machine / "proc/pressure/cpu").unlink()
    collector.read(Tick(0, 5.0, 10.0))
    (machine / "proc/pressure/memory").write_text(LINE.format("some", 3 * 10**6))
    assert [(series.metric, value) for series, value in collector.read(Tick(0, 15.0, 10.0))] == [
        ("psi_memory_some", 10.0)
    ]
    collector.close()


def test_a_kernel_that_does_not_measure_it_is_not_at_fault(tmp_path: Path) -> None:
    with pytest.raises(NotPresentError, match="cannot be read"):
        PressureCollector(PressureOptions(), tmp_path).open()


@pytest.mark.parametrize(
    "text", [b"", b"some", b"some total=", b"some total=-1", b"most avg10=0 total=5", b"\xff total=7"]
)
def test_lines_of_another_form_are_skipped(text: bytes) -> None:
    assert parse_pressure(text) == {}


@given(st.integers(0, 2**64), st.integers(0, 2**64))
def test_what_is_written_is_read(some: int, full: int) -> None:
    text = LINE.format("some", some) + LINE.format("full", full)
    assert parse_pressure(text.encode()) == {"some": some, "full": full}


@pytest.mark.skipif(not Path("/proc/pressure/cpu").exists(), reason="this kernel does not measure pressure")
def test_this_kernel_is_read() -> None:
    assert {"some"} <= parse_pressure(Path("/proc/pressure/memory").read_bytes()).keys()
