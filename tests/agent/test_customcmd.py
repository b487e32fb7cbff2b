import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kernel_files import finish_thread

from cc_agent.collectors.base import Tick
from cc_agent.collectors.customcmd import CustomcmdCollector, CustomcmdOptions
from cc_agent.errors import NotAvailableError

Write = Callable[[str, str], None]


def _readings(root: Path, **options: Any) -> dict[tuple[str, ...], float]:
    collector = CustomcmdCollector(CustomcmdOptions(**options), root)
    collector.open()
    assert collector.read(Tick(0, 1000.0, 10.0)) == []
    finish_thread("customcmd")
    readings = collector.read(Tick(10, 1010.0, 10.0))
    collector.close()
    assert all(set(series.tags) <= {"type", "type-id", "stype", "stype-id"} for series, _ in readings)
    return {(series.metric, *series.tags.values()): value for series, value in readings}


def test_commands_and_files_give_samples(tmp_path: Path, write: Write) -> None:
    write("data/a.txt", "inlet,type=node value=21.5 1700000000000000000\nbus,type=socket,type-id=1 value=3\n")
    command = "echo 'power,type=node,stype=psu,stype-id=2,rack=7 value=400i'"
    assert _readings(tmp_path, files=("data/a.txt",), commands=(command,)) == {
        ("inlet", "node"): 21.5,
        ("bus", "socket", "1"): 3.0,
        ("power", "node", "psu", "2"): 400.0,
    }


def test_a_bad_line_costs_only_itself_and_is_named(
    tmp_path: Path, write: Write, caplog: pytest.LogCaptureFixture
) -> None:
    write(
        "a",
        'good value=1\nbad value="text"\nnonsense\nalso value=2\nbad,type=rack,type-id=1 value=5\n'
        "bad,type=core value=1\n",
    )
    with caplog.at_level(logging.WARNING):
        assert _readings(tmp_path, files=("a",)) == {("good", "node"): 1.0, ("also", "node"): 2.0}
    assert "line 2: the value is text, not a number (2 lines)" in caplog.text


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("false", "ended with status 1"),
        ("no-such-program x", "cannot be run"),
        ("sleep 600", "takes longer than 0.3 s"),
        ("yes 'a value=1'", "prints more than 1048576 bytes"),
        ("echo 'a", "No closing quotation"),
    ],
)
def test_a_command_that_fails_costs_no_other(
    tmp_path: Path, write: Write, caplog: pytest.LogCaptureFixture, command: str, reason: str
) -> None:
    write("a", "good value=1\n")
    timeout_s = 0.3 if "sleep" in command else 20.0
    with caplog.at_level(logging.WARNING):
        assert _readings(tmp_path, commands=(command,), files=("a", "missing"), timeout_s=timeout_s) == {
            ("good", "node"): 1.0
        }
    assert reason in caplog.text


def test_a_file_without_end_is_not_read(tmp_path: Path, write: Write, caplog: pytest.LogCaptureFixture) -> None:
    write("big", "a value=1\n" * 110_000)
    with caplog.at_level(logging.WARNING):
        assert _readings(tmp_path, files=("big",)) == {}
    assert "larger than 1048576 bytes" in caplog.text


def test_a_pipe_that_nobody_writes_to_does_not_hold_up_the_files(tmp_path: Path, write: Write) -> None:
    os.mkfifo(tmp_path / "pipe")
    write("b", "x value=2\n")
    assert _readings(tmp_path, files=("pipe", "b")) == {("x", "node"): 2.0}


def test_no_shell_reads_a_command(tmp_path: Path, write: Write) -> None:
    assert _readings(tmp_path, commands=(f"echo a value=1; touch {tmp_path}/made",)) == {}
    assert not (tmp_path / "made").exists()


def test_series_without_end_are_cut_off(tmp_path: Path, write: Write) -> None:
    write("many", "".join(f"a{number} value=1\n" for number in range(10_050)))
    assert len(_readings(tmp_path, files=("many",))) == 10_000


def test_metrics_can_be_excluded(tmp_path: Path, write: Write) -> None:
    write("a", "b value=1\nc value=2\n")
    assert _readings(tmp_path, files=("a",), exclude_metrics=("b",)) == {("c", "node"): 2.0}


def test_without_a_source_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotAvailableError, match="no command or file") as caught:
        CustomcmdCollector(CustomcmdOptions(), tmp_path).open()
    assert "commands" in caught.value.advice
