import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_files import finish_thread

from cc_agent.collectors.base import Tick
from cc_agent.collectors.topprocs import (
    ProcessTimes,
    TopprocsCollector,
    TopprocsOptions,
    parse_process_stat,
    program_name,
    read_processes,
    top_programs,
)
from cc_agent.errors import NotAvailableError
from cc_common.errors import SettingsError
from cc_common.settings import load

Write = Callable[[str, str], None]

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def _stat(name: str, user: int, system: int, start: int = 5) -> str:
    return f"7 ({name}) S 1 7 7 0 -1 4194304 100 0 0 0 {user} {system} 0 0 20 0 1 0 {start} 1000 100 18446744073\n"


def _readings(
    root: Path, write: Write, options: TopprocsOptions, *steps: dict[int, str]
) -> list[list[tuple[str, str, float]]]:
    """Metric, program and value at each step, 60 s apart."""
    measured_s = iter(range(1000, 10**6, 60))
    for pid, text in steps[0].items():
        write(f"proc/{pid}/stat", text)
    collector = TopprocsCollector(options, root, monotonic=lambda: float(next(measured_s)))
    collector.open()
    sent = []
    for number, step in enumerate(steps):
        for pid, text in step.items():
            write(f"proc/{pid}/stat", text)
        assert collector.read(Tick(0, 1000.0 + 60 * number, 10.0)) == []
        finish_thread("topprocs")
        readings = collector.read(Tick(0, 1010.0 + 60 * number, 10.0))
        sent.append([(series.metric, series.tags.get("stype-id", ""), value) for series, value in readings])
        assert all(isinstance(value, float) for _, value in readings)
    collector.close()
    return sent


def test_programs_are_ranked_by_the_time_of_all_their_processes(tmp_path: Path, write: Write) -> None:
    before = {1: _stat("solver", 0, 0), 2: _stat("solver", 0, 0), 3: _stat("sh", 0, 0), 4: _stat("python3", 0, 0)}
    minute = 60 * TICKS_PER_S
    after = {
        1: _stat("solver", minute, 0), 2: _stat("solver", minute // 2, 0), 3: _stat("sh", 0, 0),
        4: _stat("python3", 0, minute),
    }  # fmt: skip
    first, second = _readings(tmp_path, write, TopprocsOptions(num_procs=3), before, after)
    assert first == []
    assert second == [("topproc1", "solver", 150.0), ("topproc2", "python3", 100.0)]


def test_names_may_be_kept_private(tmp_path: Path, write: Write) -> None:
    steps = ({1: _stat("secret", 0, 0)}, {1: _stat("secret", 600, 0)})
    _, second = _readings(tmp_path, write, TopprocsOptions(send_names=False), *steps)
    assert [(metric, name) for metric, name, _ in second] == [("topproc1", "")]


def test_another_process_with_the_same_number_counts_from_its_start() -> None:
    before: ProcessTimes = {(7, 100): ("old", 5000)}
    now: ProcessTimes = {(7, 200): ("new", 30)}
    assert top_programs(now, before, 100.0, 2) == [("new", 30.0)]


def test_a_machine_without_proc_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotAvailableError, match="cannot be read"):
        TopprocsCollector(TopprocsOptions(), tmp_path).open()


@pytest.mark.parametrize("number", [0, 11])
def test_the_number_of_programs_has_the_limits_of_the_reference(number: int) -> None:
    with pytest.raises(SettingsError, match="num_procs"):
        load(TopprocsOptions, {"num_procs": number}, source="test")


@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("a b", "a_b"),
        ("x,type=node", "x_type_node"),
        ("kworker/3:1", "kworker"),
        ("ä\n", "__"),
        ("bash", "bash"),
        ("", "_"),
    ],
)
def test_names_cannot_break_a_line(name: str, program: str) -> None:
    assert program_name(name) == program


@pytest.mark.parametrize(
    "text", [b"", b"7 (sh", b"7 sh S 1", b"7 () S" + b" 1" * 30, b"7 (sh) S" + b" x" * 30, b"\xff"]
)
def test_other_texts_are_no_process(text: bytes) -> None:
    assert parse_process_stat(text) is None


@given(st.text("ab() ", min_size=1, max_size=15), st.integers(0, 2**60), st.integers(0, 2**60))
def test_what_is_written_is_read(name: str, user: int, system: int) -> None:
    assert parse_process_stat(_stat(name, user, system, 9).encode()) == (program_name(name), user + system, 9)


def test_this_process_is_among_those_of_this_machine() -> None:
    found = {pid: (name, ticks) for (pid, _), (name, ticks) in read_processes(Path("/proc")).items()}
    text = subprocess.run(
        ["ps", "-o", "comm=", "-p", str(os.getpid())], capture_output=True, text=True, check=True
    ).stdout
    assert found[os.getpid()][0] == program_name(text.strip())
