from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import List

import pytest

from cc_slurm_adapter.errors import SlurmError
from cc_slurm_adapter.sources import commands
from cc_slurm_adapter.sources.commands import CommandRunner


def script(folder: Path, text: str) -> None:
    path = folder / "sinfo"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_a_command_gets_a_known_language_and_time_zone(tmp_path: Path) -> None:
    script(tmp_path, 'echo "$TZ $LC_ALL $SLURM_TIME_FORMAT [$SQUEUE_FORMAT]"')
    runner = CommandRunner(
        {**os.environ, "TZ": "Europe/Berlin", "LC_ALL": "de_DE", "SQUEUE_FORMAT": "%i"}, directory=str(tmp_path)
    )
    assert runner.run(["sinfo"]).checked_text() == "UTC C standard []\n"


@pytest.mark.parametrize(
    "name",
    [
        *("SQUEUE_NAMES", "SQUEUE_QOS", "SQUEUE_USERS", "SQUEUE_FORMAT2", "SQUEUE_LOCAL", "SQUEUE_FEDERATION"),
        *("SACCT_FEDERATION", "SACCT_FORMAT", "SINFO_FORMAT", "SCONTROL_FEDERATION", "SLURM_CLUSTERS", "SLURM_JSON"),
    ],
)
def test_nothing_of_a_users_shell_leaves_jobs_out(tmp_path: Path, name: str) -> None:
    script(tmp_path, f'echo "[${name}] [$SLURM_CONF]"')
    runner = CommandRunner({**os.environ, name: "mine", "SLURM_CONF": "/etc/x"}, directory=str(tmp_path))
    assert runner.run(["sinfo"]).checked_text() == "[] [/etc/x]\n"


def test_status_and_first_line_of_errors_are_reported(tmp_path: Path) -> None:
    script(tmp_path, "echo; echo ' cannot connect' >&2; echo more >&2; exit 3")
    with pytest.raises(SlurmError, match=r"sinfo -N: exit status 3: cannot connect$"):
        CommandRunner(os.environ, directory=str(tmp_path)).run(["sinfo", "-N"]).checked_text()


def test_a_command_that_is_not_there_is_an_error_with_advice(tmp_path: Path) -> None:
    with pytest.raises(SlurmError, match=r"No such file or directory; set slurm\.command-directory"):
        CommandRunner(os.environ, directory=str(tmp_path)).run(["sinfo"])


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_a_command_that_hangs_is_killed_with_its_children(tmp_path: Path) -> None:
    script(tmp_path, f"sleep 600 & echo $! > {tmp_path}/pid; wait")
    with pytest.raises(SlurmError, match=r"not finished within 0\.5 s"):
        CommandRunner(os.environ, directory=str(tmp_path), timeout_s=0.5).run(["sinfo"])
    pid = int((tmp_path / "pid").read_text())
    end_s = time.monotonic() + 5
    while not gone(pid) and time.monotonic() < end_s:
        pass
    assert gone(pid)


def test_a_command_is_killed_when_the_adapter_ends(tmp_path: Path) -> None:
    script(tmp_path, "sleep 600")
    with pytest.raises(SlurmError, match="killed, because the adapter is stopping"):
        CommandRunner(os.environ, directory=str(tmp_path), should_continue=lambda: False).run(["sinfo"])


def test_a_command_with_endless_output_is_killed_before_it_takes_the_memory(tmp_path: Path) -> None:
    script(tmp_path, f"echo $$ > {tmp_path}/pid; exec cat /dev/zero")
    with pytest.raises(SlurmError, match="the output is larger than 4 MiB"):
        CommandRunner(os.environ, directory=str(tmp_path), max_output_bytes=4 << 20).run(["sinfo"])
    assert gone(int((tmp_path / "pid").read_text()))


def test_of_messages_without_end_only_the_first_counts(tmp_path: Path) -> None:
    script(tmp_path, "head -c 300000 /dev/zero | tr '\\0' 'x' >&2; echo end; exit 4")
    answer = CommandRunner(os.environ, directory=str(tmp_path)).run(["sinfo"])
    assert (answer.status, answer.output, len(answer.error_line)) == (4, b"end\n", 200)


def test_a_command_that_closes_its_output_and_stays_is_waited_for_no_longer_than_allowed(tmp_path: Path) -> None:
    script(tmp_path, "exec >&- 2>&-; sleep 600")
    with pytest.raises(SlurmError, match=r"not finished within 0\.5 s"):
        CommandRunner(os.environ, directory=str(tmp_path), timeout_s=0.5).run(["sinfo"])


def test_a_large_output_is_read_whole(tmp_path: Path) -> None:
    script(tmp_path, "head -c 3000000 /dev/zero")
    assert len(CommandRunner(os.environ, directory=str(tmp_path)).run(["sinfo"]).output) == 3_000_000


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # it still runs, as it should here
def test_a_command_that_cannot_be_killed_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int, _signal: int) -> None:
        pids.append(pid)
        raise PermissionError

    pids: List[int] = []
    kill = os.killpg
    monkeypatch.setattr(os, "killpg", refuse)
    monkeypatch.setattr(commands, "_KILL_WAIT_S", 0.1)
    script(tmp_path, "exec sleep 20")
    begun_s = time.monotonic()
    try:
        with pytest.raises(SlurmError, match=r"not finished within 0\.2 s"):
            CommandRunner(os.environ, directory=str(tmp_path), timeout_s=0.2).run(["sinfo"])
        assert time.monotonic() - begun_s < 10
    finally:
        kill(pids[0], signal.SIGKILL)
        os.waitpid(pids[0], 0)
