import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_agent.collectors.base import Tick
from cc_agent.collectors.vmstat import VmstatCollector, VmstatOptions, parse_context_switches, parse_vmstat
from cc_agent.errors import NotAvailableError


def _second_reading(root: Path, busy: Callable[[int], None], options: VmstatOptions, step: int = 2) -> dict[str, float]:
    collector = VmstatCollector(options, root, page_bytes=4096)
    collector.open()
    collector.read(Tick(0, 5.0, 10.0))
    busy(step)
    readings = collector.read(Tick(10, 15.0, 10.0))
    collector.close()
    return {series.metric: value for series, value in readings}


def test_rates_per_second_swap_in_bytes(machine: Path, busy: Callable[[int], None]) -> None:
    assert _second_reading(machine, busy, VmstatOptions()) == {
        "vm_page_faults": 10.0,
        "vm_major_faults": 1.0,
        "vm_swap_in": 409.6,
        "vm_swap_out": 819.2,
        "vm_oom_kills": 0.1,
        "vm_context_switches": 0.0,
    }


def test_counters_have_names_of_their_own(machine: Path, busy: Callable[[int], None]) -> None:
    sent = _second_reading(machine, busy, VmstatOptions(send_abs_values=True))
    assert sent["vm_swap_in_total"] == 2 * 4096
    assert sent["vm_context_switches_total"] == 5


def test_the_costly_file_is_read_only_for_context_switches(machine: Path, busy: Callable[[int], None]) -> None:
    (machine / "proc/stat").unlink()
    options = VmstatOptions(include_metrics=("vm_oom_kills",))
    assert _second_reading(machine, lambda _: None, options) == {"vm_oom_kills": 0.0}


def test_a_counter_that_fell_gives_no_rates(machine: Path, busy: Callable[[int], None]) -> None:
    assert _second_reading(machine, busy, VmstatOptions(), step=0) == {}


def test_an_old_kernel_does_not_count_kills(machine: Path, write: Callable[[str, str], None]) -> None:
    write("proc/vmstat", "pgfault 7\n")
    assert _second_reading(machine, lambda _: None, VmstatOptions()).keys() == {"vm_page_faults", "vm_context_switches"}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotAvailableError, match="vmstat cannot be read"):
        VmstatCollector(VmstatOptions(), tmp_path).open()


@pytest.mark.parametrize("text", [b"", b"pgfault", b"pgfault x", b"pgfault -5", b"pgfaults 1", b"\xff\xfe"])
def test_other_texts_are_rejected(text: bytes) -> None:
    with pytest.raises(ValueError, match="unknown form"):
        parse_vmstat(text)


@pytest.mark.parametrize("text", [b"", b"cpu 1 2", b"\nctxt \n", b"\nctxt x\n"])
def test_a_file_without_context_switches_is_rejected(text: bytes) -> None:
    with pytest.raises(ValueError, match="no line of context switches"):
        parse_context_switches(text)


@given(st.integers(0, 2**64), st.integers(0, 2**64))
def test_what_is_written_is_read(faults: int, switches: int) -> None:
    assert parse_vmstat(f"a 1\npgfault {faults}\n".encode()) == {"vm_page_faults_total": faults}
    assert parse_context_switches(f"cpu 1\nctxt {switches}\nbtime 1\n".encode()) == switches


@pytest.mark.skipif(not shutil.which("vmstat"), reason="needs vmstat (package procps)")
def test_the_tool_vmstat_counts_alike() -> None:
    before = parse_context_switches(Path("/proc/stat").read_bytes())
    text = subprocess.run(["vmstat", "-s"], capture_output=True, text=True, check=True).stdout
    after = parse_context_switches(Path("/proc/stat").read_bytes())
    shown = {words[1]: int(words[0]) for line in text.splitlines() if len(words := line.strip().split(" ", 1)) == 2}
    assert before <= shown["CPU context switches"] <= after
    pages = parse_vmstat(Path("/proc/vmstat").read_bytes())
    assert abs(pages["vm_swap_in_total"] - shown["pages swapped in"]) <= 1000
