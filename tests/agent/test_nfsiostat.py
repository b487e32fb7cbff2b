from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_files import mountstats_entry

from cc_agent.collectors.base import Tick
from cc_agent.collectors.nfsiostat import NfsiostatCollector, NfsiostatOptions, parse_mountstats
from cc_agent.errors import NotPresentError

Write = Callable[[str, str], None]

RATES = {"send_abs_values": False, "send_derived_values": True}


def _values(root: Path, write: Write, *steps: str, **options: Any) -> list[dict[str, float]]:
    collector = NfsiostatCollector(NfsiostatOptions(**options), root)
    write("proc/self/mountstats", steps[0] or "\n")
    write("proc/filesystems", "nodev\tnfs\nnodev\tnfs4\n")
    sent = []
    for number, text in enumerate(steps):
        write("proc/self/mountstats", "device proc mounted on /proc with fstype proc\n" + text)
        if not number:
            collector.open()
        readings = collector.read(Tick(10 * number, 50.0 + 10 * number, 10.0))
        sent.append({series.metric + series.tags.get("stype-id", ""): value for series, value in readings})
    collector.close()
    return sent


def test_counters_of_all_mounts_are_summed(tmp_path: Path, write: Write) -> None:
    text = mountstats_entry("/home", 1) + mountstats_entry("/proj", 2, export="/proj", version="nfs")
    (only,) = _values(tmp_path, write, text)
    assert only == {
        "nfsio_nread": 3000, "nfsio_nwrite": 6000, "nfsio_dread": 30, "nfsio_dwrite": 60,
        "nfsio_nfsread": 1500, "nfsio_nfswrite": 3000, "nfsio_pageread": 3, "nfsio_pagewrite": 6,
    }  # fmt: skip


def test_rates_and_how_long_servers_took(tmp_path: Path, write: Write) -> None:
    _, second = _values(tmp_path, write, mountstats_entry("/home", 1), mountstats_entry("/home", 11), **RATES)
    assert second["nfsio_nfsread_bw"] == 500
    assert second["nfsio_pagewrite_bw"] == 2
    assert second["nfsio_read_rtt"] == 5.0
    assert second["nfsio_write_rtt"] == 2.0
    assert second["nfsio_retrans"] == 1.0


def test_without_calls_there_is_no_time_that_servers_took(tmp_path: Path, write: Write) -> None:
    _, second = _values(tmp_path, write, mountstats_entry("/home", 1), mountstats_entry("/home", 1), **RATES)
    assert second["nfsio_nfsread_bw"] == 0
    assert not {"nfsio_read_rtt", "nfsio_write_rtt"} & second.keys()


def test_a_file_system_mounted_twice_counts_once(tmp_path: Path, write: Write) -> None:
    text = mountstats_entry("/home", 3) + mountstats_entry("/srv/home", 3, export="/home/sub")
    (only,) = _values(tmp_path, write, text + mountstats_entry("/other", 3, server="nas2"))
    assert only["nfsio_nread"] == 6000


def test_single_mounts_are_sent_on_request_by_path_or_server(tmp_path: Path, write: Write) -> None:
    text = mountstats_entry("/my\\040home", 1) + mountstats_entry("/proj", 2, export="/proj")
    (paths,) = _values(tmp_path, write, text, send_device_values=True)
    assert (paths["nfsio_nread/my home"], paths["nfsio_nread/proj"], paths["nfsio_nread"]) == (1000, 2000, 3000)
    (servers,) = _values(tmp_path, write, text, send_device_values=True, use_server_as_stype=True)
    assert servers["nfsio_nreadnas"] == 3000


def test_mounts_and_columns_can_be_excluded_as_in_the_reference(tmp_path: Path, write: Write) -> None:
    text = mountstats_entry("/home", 1) + mountstats_entry("/proj", 2, export="/proj")
    (only,) = _values(tmp_path, write, text, exclude_filesystem=("/proj",), exclude_metrics=("nread", "nfsio_dread"))
    assert only["nfsio_nwrite"] == 2000
    assert not {"nfsio_nread", "nfsio_dread"} & only.keys()


def test_a_mount_that_comes_and_goes_costs_no_other(tmp_path: Path, write: Write) -> None:
    home = [mountstats_entry("/home", step) for step in (1, 11, 21)]
    proj = mountstats_entry("/proj", 100, export="/proj")
    _, second, third = _values(tmp_path, write, home[0], home[1] + proj, home[2], **RATES)
    assert second["nfsio_nfsread_bw"] == third["nfsio_nfsread_bw"] == 500


def test_without_any_mount_the_sums_are_zero(tmp_path: Path, write: Write) -> None:
    _, second = _values(tmp_path, write, "", "", **RATES)
    assert second["nfsio_nfsread_bw"] == 0


def test_a_kernel_without_nfs_is_not_at_fault(tmp_path: Path, write: Write) -> None:
    write("proc/self/mountstats", "device proc mounted on /proc with fstype proc\n")
    write("proc/filesystems", "nodev\tproc\n\text4\n")
    with pytest.raises(NotPresentError, match="no NFS"):
        NfsiostatCollector(NfsiostatOptions(), tmp_path).open()


ENTRY = mountstats_entry("/home", 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "device",
        "device a:/b mounted on /c with fstype nfs4 statvers=1.1\n",
        ENTRY.replace("bytes:\t1000", "bytes:\tx"),
        ENTRY.replace("fstype nfs4", "fstype nfs5"),
        ENTRY[: ENTRY.index("\tbytes:") + 20],
    ],
)
def test_entries_of_another_form_are_skipped(text: str) -> None:
    assert parse_mountstats(text.encode()) == []
    others = [mount.path for mount in parse_mountstats((text + "\n" + mountstats_entry("/proj", 1)).encode())]
    assert others == ["/proj"]


def test_an_entry_cut_off_after_its_bytes_has_no_operations() -> None:
    (mount,) = parse_mountstats(ENTRY[: ENTRY.index("READ:")].encode())
    assert mount.operations == {}


@given(st.integers(0, 2**50), st.text("abc/.-", min_size=1, max_size=10))
def test_what_is_written_is_read(step: int, path: str) -> None:
    (mount,) = parse_mountstats(mountstats_entry(path, step).encode())
    assert (mount.server, mount.path) == ("nas", path)
    assert mount.counts["nfsio_nwrite"] == 2000 * step
    assert mount.operations == {"READ": (10 * step, 11 * step, 50 * step), "WRITE": (20 * step, 20 * step, 40 * step)}
