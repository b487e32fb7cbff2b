from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_files import finish_thread

from cc_agent.collectors.base import Tick
from cc_agent.collectors.beegfs import BeegfsCollector, BeegfsOptions, parse_client_stats, parse_mounts
from cc_agent.errors import NotPresentError

Write = Callable[[str, str], None]

MOUNTS = "beegfs_nodev /scratch beegfs rw 0 0\nbeegfs_ondemand /my\\040job beegfs rw 0 0\nproc /proc proc rw 0 0\n"
META = "=== 10 s ===\nSum:    30 [sum]   20 [stat]   10 [newOp]\nnode1.site   13 [sum]   5 [stat]   8 [newOp]\n"
STORAGE = "Sum: 1 [sum]\nnode1   {0} [sum]   {0} [ops-rd]   {0}.5 [MiB-rd/s]   {1} [MiB-wr/s]\n"


@pytest.fixture
def program(tmp_path: Path, write: Write) -> str:
    """A program that answers with a file, once for each mount point."""
    write("bin/beegfs-ctl", f'#!/bin/sh\necho "$*" >> {tmp_path}/calls\ncat {tmp_path}/answer\n')
    (tmp_path / "bin/beegfs-ctl").chmod(0o700)
    write("proc/self/mounts", MOUNTS)
    return str(tmp_path / "bin/beegfs-ctl")


def _values(root: Path, write: Write, kind: str, *answers: str, **options: Any) -> list[dict[str, float]]:
    measured_s = iter(range(1000, 10**6, 60))
    made = BeegfsOptions(**options)
    collector = BeegfsCollector(kind, made, root, "node1.example.org", lambda: float(next(measured_s)))
    collector.open()
    sent = []
    for number, answer in enumerate(answers):
        write("answer", answer)
        tick = Tick(0, 1000.0 + 60 * number, 10.0)
        assert collector.read(tick) == []
        finish_thread(collector.name)
        readings = collector.read(tick)
        sent.append({series.metric + series.tags.get("stype-id", ""): value for series, value in readings})
    collector.close()
    return sent


def test_operations_of_this_node_on_all_mounts(tmp_path: Path, write: Write, program: str) -> None:
    (sent,) = _values(tmp_path, write, "meta", META, beegfs_path=program)
    assert (sent["beegfs_cmeta_sum"], sent["beegfs_cmeta_stat"], sent["beegfs_cmeta_other"]) == (26, 10, 16)
    assert sent["beegfs_cmeta_open"] == 0
    assert len(sent) == 40
    calls = (tmp_path / "calls").read_text().splitlines()
    assert [call.split()[2:4] for call in calls] == [["--mount=/scratch", "--allstats"], ["--mount=/my", "job"]]


def test_operations_of_all_clients_as_in_the_reference_on_request(tmp_path: Path, write: Write, program: str) -> None:
    options = {"beegfs_path": program, "all_clients": True, "exclude_filesystem": ("/scratch",)}
    (sent,) = _values(tmp_path, write, "meta", META, **options)
    assert sent["beegfs_cmeta_sum"] == 30


def test_storage_servers_also_count_bytes(tmp_path: Path, write: Write, program: str) -> None:
    options = {"beegfs_path": program, "exclude_filesystem": ("/scratch",), "send_device_values": True}
    first, second = _values(tmp_path, write, "storage", STORAGE.format(1, 0), STORAGE.format(61, 120), **options)
    assert first["beegfs_cstorage_ops-rd"] == 1
    assert "beegfs_read_bw" not in first
    assert (second["beegfs_read_bw"], second["beegfs_write_bw"]) == (2**20, 2 * 2**20)
    assert second["beegfs_cstorage_sum/my job"] == 61


def test_operations_are_excluded_by_the_names_of_beegfs(tmp_path: Path, write: Write, program: str) -> None:
    (sent,) = _values(tmp_path, write, "meta", META, beegfs_path=program, exclude_metrics=("stat", "ack"))
    assert not {"beegfs_cmeta_stat", "beegfs_cmeta_ack"} & sent.keys()
    assert len(sent) == 38


def test_a_node_that_did_nothing_has_no_line(tmp_path: Path, write: Write, program: str) -> None:
    (sent,) = _values(tmp_path, write, "meta", "Sum: 5 [sum]\nnode11 5 [sum]\n", beegfs_path=program)
    assert set(sent.values()) == {0}


@pytest.mark.parametrize("mounts", ["", "proc /proc proc rw 0 0\n", "beegfs_nodev\n"])
def test_a_machine_without_beegfs_is_not_at_fault(tmp_path: Path, write: Write, program: str, mounts: str) -> None:
    write("proc/self/mounts", mounts)
    with pytest.raises(NotPresentError, match="no BeeGFS"):
        BeegfsCollector("meta", BeegfsOptions(beegfs_path=program), tmp_path).open()


@pytest.mark.parametrize("text", [b"", b"node1x 5 [sum]", b"\xff\0", b"[sum]"])
def test_output_without_the_client_gives_nothing(text: bytes) -> None:
    assert parse_client_stats(text, "node1", ("sum",)) is None


def test_mount_points_are_named_once() -> None:
    assert parse_mounts((MOUNTS + MOUNTS).encode()) == ["/scratch", "/my job"]


@given(st.integers(0, 2**63), st.integers(0, 2**63))
def test_what_is_written_is_read(total: int, other: int) -> None:
    text = f"node1    {total} [sum]    {other} [new]\n".encode()
    assert parse_client_stats(text, "node1", ("sum", "ack")) == {"sum": total, "ack": 0, "other": other}
