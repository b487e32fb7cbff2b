from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_files import finish_thread

from cc_agent.collectors.base import Tick
from cc_agent.collectors.commands import CommandError
from cc_agent.collectors.gpfs import GpfsCollector, GpfsOptions, parse_mmpmon
from cc_agent.errors import NotPresentError

Write = Callable[[str, str], None]


def _line(filesystem: str, step: int, *, status: int = 0) -> str:
    return (
        f"_fs_io_s_ _n_ 10.0.0.1 _nn_ node1 _rc_ {status} _t_ 1066660148 _tu_ 407431 _cl_ site _fs_ {filesystem} _d_ 2 "
        f"_br_ {6000 * step} _bw_ {3000 * step} _oc_ {10 * step} _cc_ {16 * step} _rdc_ {100 * step} _wc_ {300 * step} "
        f"_dir_ {7 * step} _iu_ {2 * step}\n"
    )


@pytest.fixture
def mmpmon(tmp_path: Path, write: Write) -> str:
    """A program that answers with a file, if it is asked as mmpmon is."""
    script = f'#!/bin/sh\nread request\n[ "$* $request" = "-p -s once fs_io_s" ] && cat {tmp_path}/answer\n'
    write("bin/mmpmon", script)
    (tmp_path / "bin/mmpmon").chmod(0o700)
    return str(tmp_path / "bin/mmpmon")


def _values(mmpmon: str, write: Write, *answers: str, **options: Any) -> list[dict[str, float]]:
    """What is sent for each answer, the program run every 60 s of ticks of 10 s."""
    measured_s = iter(range(1000, 10**6, 60))
    collector = GpfsCollector(GpfsOptions(mmpmon_path=mmpmon, **options), monotonic=lambda: float(next(measured_s)))
    collector.open()
    sent = []
    for number, answer in enumerate(answers):
        write("answer", answer)
        assert collector.read(Tick(60 * number, 1000.0 + 60 * number, 10.0)) == []
        finish_thread("gpfs")
        readings = collector.read(Tick(60 * number + 10, 1010.0 + 60 * number, 10.0))
        sent.append({series.metric + series.tags.get("stype-id", ""): value for series, value in readings})
    collector.close()
    return sent


def test_rates_are_sent_if_nothing_is_chosen(mmpmon: str, write: Write) -> None:
    answers = [_line("gpfs0", step) + _line("home", 1) for step in (1, 7)]
    first, second = _values(mmpmon, write, *answers)
    assert first == {}
    assert second == {
        "gpfs_opens_rate": 1.0, "gpfs_closes_rate": 1.6, "gpfs_reads_rate": 10.0, "gpfs_writes_rate": 30.0,
        "gpfs_readdirs_rate": 0.7, "gpfs_inode_updates_rate": 0.2, "gpfs_bw_read": 600.0, "gpfs_bw_write": 300.0,
    }  # fmt: skip


def test_counters_differences_and_sums_have_the_names_of_the_reference(mmpmon: str, write: Write) -> None:
    more = {"send_abs_values": True, "send_diff_values": True, "send_total_values": True}
    _, second = _values(mmpmon, write, _line("gpfs0", 1), _line("gpfs0", 2), **more)
    assert second["gpfs_num_closes"] == 32
    assert second["gpfs_num_closes_diff"] == 16
    assert (second["gpfs_bytes_total"], second["gpfs_bytes_total_diff"]) == (18000, 9000)
    assert (second["gpfs_iops"], second["gpfs_iops_diff"]) == (800, 400)
    assert (second["gpfs_metaops"], second["gpfs_metaops_diff"]) == (70, 35)
    assert not any(name.endswith("_rate") or "_bw_" in name for name in second)


@pytest.mark.parametrize("derived", [False, True])
def test_rates_of_bytes_by_themselves(mmpmon: str, write: Write, *, derived: bool) -> None:
    answers = (_line("gpfs0", 1), _line("gpfs0", 7))
    _, second = _values(mmpmon, write, *answers, send_bandwidths=True, send_derived_values=derived)
    assert (second["gpfs_bw_read"], second["gpfs_bw_write"], second["gpfs_bw_total"]) == (600, 300, 900)
    assert ("gpfs_opens_rate" in second) == derived


def test_single_file_systems_on_request_and_others_excluded(mmpmon: str, write: Write) -> None:
    answer = _line("gpfs0", 1) + _line("home", 1) + _line("scratch", 1)
    more = {"send_abs_values": True, "send_device_values": True, "exclude_filesystem": ("scratch",)}
    (only,) = _values(mmpmon, write, answer, **more)
    assert (only["gpfs_num_opens"], only["gpfs_num_openshome"]) == (20, 10)
    assert "gpfs_num_opensscratch" not in only


def test_a_program_that_fails_is_a_failure_of_the_collector(tmp_path: Path, write: Write) -> None:
    write("bin/mmpmon", "#!/bin/sh\necho must be root >&2; exit 1\n")
    (tmp_path / "bin/mmpmon").chmod(0o700)
    collector = GpfsCollector(GpfsOptions(mmpmon_path=str(tmp_path / "bin/mmpmon")))
    collector.open()
    collector.read(Tick(0, 1000.0, 10.0))
    finish_thread("gpfs")
    with pytest.raises(CommandError, match="must be root"):
        collector.read(Tick(10, 1010.0, 10.0))
    collector.close()


def test_a_machine_without_gpfs_is_not_at_fault(tmp_path: Path) -> None:
    with pytest.raises(NotPresentError, match="cannot be executed"):
        GpfsCollector(GpfsOptions(mmpmon_path=str(tmp_path / "mmpmon"))).open()


@pytest.mark.parametrize(
    "text",
    [b"", b"_fs_io_s_", b"_fs_io_s_ _rc_", _line("a", 1, status=1).encode(), b"_ver_ _n_ 1 _rc_ 0 _fs_ a", b"\xff"],
)
def test_lines_of_another_form_are_skipped(text: bytes) -> None:
    assert parse_mmpmon(text) == {}
    assert parse_mmpmon(text + b"\n" + _line("b", 1).encode()).keys() == {"b"}


@given(st.integers(0, 2**60), st.text("abc019_", min_size=1, max_size=10))
def test_what_is_written_is_read(step: int, name: str) -> None:
    assert parse_mmpmon(_line(name, step).encode())[name]["gpfs_bytes_written"] == 3000 * step
