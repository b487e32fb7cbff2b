from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_files import finish_thread, llite_text

from cc_agent.collectors.base import Tick
from cc_agent.collectors.lustrestat import LustrestatCollector, LustrestatOptions, parse_lctl, parse_llite_stats
from cc_agent.errors import NotAvailableError, NotPresentError

Write = Callable[[str, str], None]

DEBUG = "sys/kernel/debug/lustre/llite/{}/stats"
PROC = "proc/fs/lustre/llite/{}/stats"


def _values(
    root: Path, write: Write, *steps: dict[str, int], place: str = DEBUG, **options: Any
) -> list[dict[str, float]]:
    collector = LustrestatCollector(LustrestatOptions(**options), root)
    sent = []
    for number, filesystems in enumerate(steps):
        for name, step in filesystems.items():
            write(place.format(name), llite_text(step))
        if not number:
            collector.open()
        readings = collector.read(Tick(10 * number, 50.0 + 10 * number, 10.0))
        sent.append({series.metric + series.tags.get("stype-id", ""): value for series, value in readings})
    collector.close()
    return sent


def test_rates_are_sent_if_nothing_is_chosen(tmp_path: Path, write: Write) -> None:
    first, second = _values(tmp_path, write, {"work": 1, "home": 1}, {"work": 2, "home": 11})
    assert first == {}
    assert second["lustre_read_bw"] == 11_000
    assert second["lustre_write_bw"] == 22_000
    assert second["lustre_read_requests_rate"] == 11
    assert second["lustre_open_rate"] == 3.3
    assert second["lustre_statfs_rate"] == 0


def test_the_names_of_the_reference(tmp_path: Path, write: Write) -> None:
    _, second = _values(tmp_path, write, {"work": 1}, {"work": 2}, send_abs_values=True, send_diff_values=True)
    assert second["lustre_read_bytes"] == 20_000
    assert second["lustre_read_bytes_diff"] == 10_000
    assert second["lustre_write_requests_diff"] == 20
    assert second["lustre_inode_permission_diff"] == 40
    assert "lustre_read_bw" not in second


def test_old_kernels_have_the_files_below_proc(tmp_path: Path, write: Write) -> None:
    (only,) = _values(tmp_path, write, {"work": 2}, place=PROC, send_abs_values=True)
    assert only["lustre_read_bytes"] == 20_000


def test_single_file_systems_are_sent_on_request(tmp_path: Path, write: Write) -> None:
    (only,) = _values(tmp_path, write, {"a-ffff1": 1, "b-ffff2": 2}, send_abs_values=True, send_device_values=True)
    assert (only["lustre_opena-ffff1"], only["lustre_openb-ffff2"], only["lustre_open"]) == (3, 6, 9)


def test_a_file_system_that_is_mounted_later_is_found(tmp_path: Path, write: Write) -> None:
    write(DEBUG.format("work"), llite_text(1))
    collector = LustrestatCollector(LustrestatOptions(send_abs_values=True), tmp_path)
    collector.open()
    opens = []
    for monotonic_s in (1000.0, 1010.0, 1060.0):
        readings = collector.read(Tick(0, monotonic_s, 10.0))
        opens.append({series.metric: value for series, value in readings}["lustre_open"])
        write(DEBUG.format("home"), llite_text(1))
    collector.close()
    assert opens == [3, 3, 6]


def test_without_any_mount_the_sums_are_zero(tmp_path: Path, write: Write) -> None:
    (tmp_path / "sys/kernel/debug/lustre/llite").mkdir(parents=True)
    assert _values(tmp_path, write, {}, {})[1]["lustre_read_bw"] == 0


def test_a_machine_without_lustre_is_not_at_fault(tmp_path: Path) -> None:
    with pytest.raises(NotPresentError, match="cannot be read"):
        LustrestatCollector(LustrestatOptions(), tmp_path).open()


class _ClosedFolder(LustrestatCollector):
    """As for an account that may not read debugfs, which root always may."""

    def _find_files(self, folder: Path) -> None:
        if "debug" in folder.parts:
            raise PermissionError(13, "Permission denied", str(folder))
        super()._find_files(folder)


def test_files_that_are_closed_to_the_agent_are_named_with_advice(tmp_path: Path, write: Write) -> None:
    write("proc/filesystems", "nodev\tlustre\n")
    with pytest.raises(NotAvailableError, match="Permission denied") as caught:
        _ClosedFolder(LustrestatOptions(), tmp_path).open()
    assert "CAP_DAC_READ_SEARCH" in caught.value.advice
    assert not isinstance(caught.value, NotPresentError)


def test_where_debugfs_is_closed_the_files_below_proc_do(tmp_path: Path, write: Write) -> None:
    write(PROC.format("work"), llite_text(1))
    collector = _ClosedFolder(LustrestatOptions(send_abs_values=True), tmp_path)
    collector.open()
    readings = {series.metric: value for series, value in collector.read(Tick(0, 5.0, 10.0))}
    collector.close()
    assert readings["lustre_open"] == 3


def test_closed_files_without_lustre_are_not_a_fault(tmp_path: Path, write: Write) -> None:
    write("proc/filesystems", "nodev\tproc\n")
    with pytest.raises(NotPresentError):
        _ClosedFolder(LustrestatOptions(), tmp_path).open()


def test_closed_files_are_read_by_lctl_where_it_is_configured(tmp_path: Path, write: Write) -> None:
    write("proc/filesystems", "nodev\tlustre\n")
    write("bin/lctl", f"#!/bin/sh\n[ \"$*\" = 'get_param llite.*.stats' ] && cat {tmp_path}/out\n")
    write("out", f"llite.work-ffff1.stats=\n{llite_text(1)}llite.home-ffff2.stats=\n{llite_text(2)}")
    (tmp_path / "bin/lctl").chmod(0o700)
    options = LustrestatOptions(lctl_command=str(tmp_path / "bin/lctl"), send_abs_values=True)
    collector = _ClosedFolder(options, tmp_path)
    collector.open()
    readings = collector.read(Tick(0, 50.0, 10.0))
    assert readings == []
    finish_thread("lctl")
    readings = collector.read(Tick(10, 60.0, 10.0))
    collector.close()
    assert {series.metric: value for series, value in readings}["lustre_open"] == 9


def test_output_of_lctl_for_no_file_system() -> None:
    assert parse_lctl(b"") == parse_lctl(b"error: get_param: no file\n") == {}


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"read_bytes",
        b"read_bytes x samples",
        b"read_bytes 5",
        b"read_bytes 5 samples [bytes] 1 2 x",
        b"\xff\0 1 samples",
    ],
)
def test_lines_of_another_form_are_skipped(text: bytes) -> None:
    assert set(parse_llite_stats(text).values()) == {0}
    assert parse_llite_stats(text + b"\nopen 7 samples [regs]\n")["lustre_open"] == 7


def test_reads_without_a_sum_have_no_bytes() -> None:
    counts = parse_llite_stats(b"read_bytes 5 samples [bytes]\n")
    assert (counts["lustre_read_requests"], counts["lustre_read_bytes"]) == (5, 0)


@given(st.integers(0, 2**60))
def test_what_is_written_is_read(step: int) -> None:
    counts = parse_llite_stats(llite_text(step).encode())
    assert counts["lustre_read_bytes"] == 10_000 * step
    assert counts["lustre_write_requests"] == 20 * step
