"""Running Slurm's commands: with a time limit, in a known language and time zone."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Mapping, Optional, Protocol, Sequence, Tuple

from cc_slurm_adapter.errors import SlurmError

logger = logging.getLogger(__name__)

_SHOWN = 200
# settings of a user's shell that would make Slurm's commands leave something out, or print something else
_CHANGES_ANSWERS = (
    "SQUEUE_FORMAT",
    "SQUEUE_STATES",
    "SQUEUE_USERS",
    "SQUEUE_PARTITION",
    "SQUEUE_ACCOUNT",
    "SQUEUE_ALL",
    "SINFO_FORMAT",
    "SACCT_FORMAT",
    "SCONTROL_ALL",
    "SLURM_CLUSTERS",
    "SLURM_JSON",
    "SLURM_YAML",
)
_KILL_WAIT_S = 5.0
_STEP_S = 0.5


@dataclass(frozen=True)
class Answer:
    """What a command printed and how it ended."""

    command: str
    status: int
    output: bytes
    problem: str

    def text(self) -> str:
        """The output of a command that succeeded. Raises SlurmError."""
        if self.status:
            raise SlurmError(f"{self.command}: exit status {self.status}{f': {self.problem}' if self.problem else ''}")
        return self.output.decode("utf-8", errors="replace")


class Runner(Protocol):
    """Whatever runs a Slurm command."""

    def run(self, words: Sequence[str]) -> Answer:
        """The answer to a command, such as ["squeue", "--json"]. Raises SlurmError if there is none."""


class CommandRunner:
    """Runs commands from a folder, or from PATH, each for so many seconds at most, and as long as `go_on` says yes."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        directory: str = "",
        timeout_s: float = 60.0,
        go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self._directory = directory
        self._timeout_s = timeout_s
        self._go_on = go_on
        # UTC has no hour that exists twice, and the standard format none that a site has invented
        self._environment: Dict[str, str] = {
            **environment,
            "TZ": "UTC",
            "LC_ALL": "C",
            "SLURM_TIME_FORMAT": "standard",
        }
        for name in _CHANGES_ANSWERS:
            self._environment.pop(name, None)

    def run(self, words: Sequence[str]) -> Answer:
        """The answer to a command. Raises SlurmError if it cannot be started or takes too long."""
        command = " ".join(words)
        program = str(Path(self._directory) / words[0]) if self._directory else words[0]
        try:
            child = subprocess.Popen(
                [program, *words[1:]],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=self._environment,
                start_new_session=True,
            )
        except OSError as error:
            raise SlurmError(
                f"{command}: cannot be started: {error.strerror}; set slurm.command-directory or PATH"
            ) from error
        with child:
            return self._finish(child, command)

    def _finish(self, child: subprocess.Popen[bytes], command: str) -> Answer:
        try:
            output, errors = self._communicate(child, command)
        except BaseException:
            _kill(child)
            raise
        logger.debug("ran command=%r status=%d bytes=%d", command, child.returncode, len(output))
        return Answer(command, child.returncode, output, _first_line(errors))

    def _communicate(self, child: subprocess.Popen[bytes], command: str) -> Tuple[bytes, bytes]:
        end_s = time.monotonic() + self._timeout_s
        while True:
            left_s = end_s - time.monotonic()
            try:
                return child.communicate(timeout=max(min(left_s, _STEP_S), 0.0))
            except subprocess.TimeoutExpired:
                if left_s <= 0:
                    raise SlurmError(f"{command}: no answer within {self._timeout_s:g} s") from None
                if not self._go_on():
                    raise SlurmError(f"{command}: broken off, because the adapter ends") from None


def _kill(child: subprocess.Popen[bytes]) -> None:
    """End the child and what it has started, and read the rest, so that nothing stays behind."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.communicate(timeout=_KILL_WAIT_S)


def _first_line(errors: bytes) -> str:
    lines: List[str] = errors.decode("utf-8", errors="replace").strip().splitlines()
    first: Optional[str] = next((line.strip() for line in lines if line.strip()), None)
    return (first or "")[:_SHOWN]
