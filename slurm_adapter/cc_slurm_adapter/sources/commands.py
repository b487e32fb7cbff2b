"""Running Slurm's commands: with a time limit, in the C locale and UTC."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import selectors
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Callable, Dict, List, Mapping, Optional, Protocol, Sequence, Tuple

from cc_slurm_adapter.errors import SlurmError

logger = logging.getLogger(__name__)

_SHOWN = 200
# Variables that would make Slurm's commands filter or format their output differently.
_VARIABLES_REMOVED = ("SQUEUE_", "SINFO_", "SACCT_", "SCONTROL_", "SLURM_CLUSTERS", "SLURM_JSON", "SLURM_YAML")
MAX_OUTPUT_BYTES = 1 << 30
_KILL_WAIT_S = 5.0
_PIECE_BYTES = 1 << 20
_MAX_ERRORS_BYTES = 1 << 16
_F_SETPIPE_SZ = 1031  # fcntl.F_SETPIPE_SZ, which Python names from 3.10 on
_STEP_S = 0.5


@dataclass(frozen=True)
class CommandResult:
    """The output and exit status of a command; `error_line` is the first line of its standard error."""

    command: str
    status: int
    output: bytes
    error_line: str

    def checked_output(self) -> bytes:
        """The output. Raises SlurmError if the command failed."""
        if self.status:
            raise SlurmError(
                f"{self.command}: exit status {self.status}{f': {self.error_line}' if self.error_line else ''}"
            )
        return self.output

    def checked_text(self) -> str:
        """The output as text. Raises SlurmError if the command failed."""
        return self.checked_output().decode("utf-8", errors="replace")


class Runner(Protocol):
    """Runs Slurm commands."""

    def run(self, words: Sequence[str]) -> CommandResult:
        """The result of a command such as ["squeue", "--json"]. Raises SlurmError if it could not be run."""


class CommandRunner:
    """Runs commands from a folder, or from PATH; one is killed after `timeout_s` or once `should_continue` is false."""

    def __init__(
        self,
        environment: Mapping[str, str],
        *,
        directory: str = "",
        timeout_s: float = 60.0,
        max_output_bytes: int = MAX_OUTPUT_BYTES,
        should_continue: Callable[[], bool] = lambda: True,
    ) -> None:
        self._directory = directory
        self._timeout_s = timeout_s
        self._max_output_bytes = max_output_bytes
        self._should_continue = should_continue
        # UTC has no ambiguous hour, and the standard time format is independent of the site's configuration
        self._environment: Dict[str, str] = {
            **{name: value for name, value in environment.items() if not name.startswith(_VARIABLES_REMOVED)},
            "TZ": "UTC",
            "LC_ALL": "C",
            "SLURM_TIME_FORMAT": "standard",
        }

    def run(self, words: Sequence[str]) -> CommandResult:
        """The result of a command. Raises SlurmError if it cannot be started or takes too long."""
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
        try:
            return self._finish(child, command)
        finally:  # not `with child`, which waits forever for a child that cannot be killed: hung storage, sudo
            for pipe in (child.stdout, child.stderr):
                if pipe is not None:
                    pipe.close()

    def _finish(self, child: subprocess.Popen[bytes], command: str) -> CommandResult:
        try:
            output, errors = self._communicate(child, command)
        except BaseException:
            _kill(child)
            raise
        logger.debug("ran command=%r status=%d bytes=%d", command, child.returncode, len(output))
        return CommandResult(command, child.returncode, output, _first_line(errors))

    def _communicate(self, child: subprocess.Popen[bytes], command: str) -> Tuple[bytes, bytes]:
        end_s = time.monotonic() + self._timeout_s
        output, errors = _streams(child)
        with selectors.DefaultSelector() as selector:
            for stream in (output, errors):
                selector.register(stream.descriptor, selectors.EVENT_READ, stream)
            while selector.get_map():
                left_s = end_s - time.monotonic()
                for key, _ in selector.select(max(min(left_s, _STEP_S), 0.0)):
                    if not key.data.read():
                        selector.unregister(key.fd)
                if output.size > self._max_output_bytes:
                    raise SlurmError(f"{command}: the output is larger than {self._max_output_bytes >> 20} MiB")
                self._check(command, left_s)
        while child.poll() is None:
            left_s = end_s - time.monotonic()
            with contextlib.suppress(subprocess.TimeoutExpired):
                child.wait(max(min(left_s, _STEP_S), 0.0))
            if child.returncode is None:
                self._check(command, left_s)
        return output.text(), errors.text()

    def _check(self, command: str, left_s: float) -> None:
        if left_s <= 0:
            raise SlurmError(f"{command}: not finished within {self._timeout_s:g} s")
        if not self._should_continue():
            raise SlurmError(f"{command}: killed, because the adapter is stopping")


class _PipeReader:
    """The content of a pipe: all of it, or its first bytes."""

    def __init__(self, pipe: IO[bytes], *, keep_bytes: Optional[int] = None) -> None:
        self.descriptor = pipe.fileno()
        self.size = 0
        self._keep_bytes = keep_bytes
        self._pieces: List[bytes] = []
        with contextlib.suppress(OSError):  # a larger pipe gives fewer and larger pieces
            fcntl.fcntl(self.descriptor, _F_SETPIPE_SZ, _PIECE_BYTES)

    def read(self) -> bool:
        """Read the next piece; False at the end."""
        piece = os.read(self.descriptor, _PIECE_BYTES)
        if self._keep_bytes is None or self.size < self._keep_bytes:
            self._pieces.append(piece)
        self.size += len(piece)
        return bool(piece)

    def text(self) -> bytes:
        """The bytes that were kept."""
        return b"".join(self._pieces)


def _streams(child: subprocess.Popen[bytes]) -> Tuple[_PipeReader, _PipeReader]:
    if child.stdout is None or child.stderr is None:  # both are pipes
        raise SlurmError("a command has no output")
    return _PipeReader(child.stdout), _PipeReader(child.stderr, keep_bytes=_MAX_ERRORS_BYTES)


def _kill(child: subprocess.Popen[bytes]) -> None:
    """Kill the child and its process group."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(_KILL_WAIT_S)


def _first_line(errors: bytes) -> str:
    lines: List[str] = errors.decode("utf-8", errors="replace").strip().splitlines()
    first: Optional[str] = next((line.strip() for line in lines if line.strip()), None)
    return (first or "")[:_SHOWN]
