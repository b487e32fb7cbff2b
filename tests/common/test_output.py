"""Commands whose output goes to a reader that has gone, or to a full disk, in processes of their own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMMANDS = (
    ["cc_agent", "once", "--cluster", "demo"],
    ["cc_agent", "topology", "--cluster", "demo"],
    ["cc_agent", "show-config"],
    ["cc_agent", "version"],
    ["cc_agent", "--help"],
    ["cc_slurm_adapter", "show-config", "--url", "http://localhost"],
    ["cc_slurm_adapter", "--help"],
)


def run(repository: Path, folder: Path, command: "list[str]", output: int) -> "subprocess.CompletedProcess[str]":
    path = os.pathsep.join(str(repository / part) for part in ("common", "agent", "slurm_adapter"))
    return subprocess.run(
        [sys.executable, "-m", *command],
        stdout=output,
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        cwd=folder,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": path},
        check=False,
    )


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_reader_that_has_gone_is_no_fault_to_talk_about(
    repository: Path, tmp_path: Path, command: "list[str]"
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = run(repository, tmp_path, command, writer)
    os.close(writer)
    assert done.returncode == 1
    assert "Exception ignored" not in done.stderr
    assert "Errno" not in done.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_a_full_disk_is_reported_in_one_line(repository: Path, tmp_path: Path, command: "list[str]") -> None:
    with Path("/dev/full").open("wb") as full:
        done = run(repository, tmp_path, command, full.fileno())
    assert done.returncode == 1
    shown = [line for line in done.stderr.splitlines() if "is an estimate" not in line and "thresholds" not in line]
    assert [line for line in shown if "No space left on device" in line] == shown[-1:]
    assert "Exception ignored" not in done.stderr
