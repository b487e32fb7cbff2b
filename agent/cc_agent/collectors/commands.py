"""Programs whose output is samples: run with a deadline and a limit of output, each in a process group of its own."""

from __future__ import annotations

import contextlib
import os
import selectors
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from typing import Callable, Dict, Generic, List, Optional, Sequence, Tuple, TypeVar

from cc_agent.collectors.background import BackgroundReader
from cc_agent.collectors.base import MetricFilter, Tick
from cc_agent.errors import NotPresentError
from cc_common.settings import option

T = TypeVar("T")

MAX_OUTPUT_BYTES = 4 * 1024 * 1024
_MAX_REASON_BYTES = 200
_MAX_INPUT_BYTES = 4096
_CHUNK_BYTES = 65536


class CommandError(OSError):
    """A program failed, took too long or printed too much."""


@dataclass(frozen=True)
class BackgroundOptions(MetricFilter):
    """Options of collectors that read in the background."""

    interval_s: float = option(
        60.0, "time between readings, which are done in the background", key="interval", kind="duration", minimum=1.0
    )
    timeout_s: float = option(
        10.0, "stop a program that takes longer", key="timeout", kind="duration", minimum=0.1, maximum=600.0
    )


@dataclass(frozen=True)
class Measurement(Generic[T]):
    """What a source gave, and the monotonic time when it was asked."""

    monotonic_s: float
    value: T


class SlowSource(Generic[T]):
    """Reads at intervals of its own in the background; what it reads is given once, as soon as it is there."""

    def __init__(
        self, name: str, read: Callable[[], T], interval_s: float, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._interval_s = interval_s
        self._reader = BackgroundReader(name, lambda: Measurement(monotonic(), read()))
        self._started_s: Optional[float] = None

    def poll(self, tick: Tick) -> Optional[Measurement[T]]:
        """What was read since the last call, if anything; begins a reading if it is time. Raises what `read` raises."""
        found = self._reader.take()
        due = self._started_s is None or tick.monotonic_s - self._started_s >= self._interval_s - tick.interval_s / 2
        if due and self._reader.start():
            self._started_s = tick.monotonic_s
        return found

    def tick_of(self, tick: Tick, measurement: Measurement[T]) -> Tick:
        """The tick for rates between measurements: with the moment and the interval of those."""
        return Tick(tick.time_s, measurement.monotonic_s, max(self._interval_s, tick.interval_s))

    def close(self) -> None:
        """Drop a reading that is under way."""
        self._reader.close()
        self._started_s = None


def find_program(name: str, advice: str) -> str:
    """The path of a program. Raises NotPresentError, with advice, if it is not installed."""
    path = shutil.which(name)
    if path is None:
        raise NotPresentError(f"the program {name!r} is not installed or cannot be executed; it cannot be read", advice)
    return path


def run_command(
    words: Sequence[str],
    *,
    timeout_s: float,
    sudo: bool = False,
    send: bytes = b"",
    statuses: Optional[Sequence[int]] = (0,),
    max_bytes: int = MAX_OUTPUT_BYTES,
) -> bytes:
    """The standard output of a program, which no shell sees.

    `send` is its standard input, 4096 bytes at most; `statuses` are the exit statuses of success, None for any. Raises
    CommandError if it fails, is not done in time or prints more than `max_bytes`. Whatever it leaves of its process
    group is killed.
    """
    command = ["sudo", "-n", *words] if sudo else list(words)
    if len(send) > _MAX_INPUT_BYTES:
        raise ValueError(f"standard input of {words[0]} is longer than {_MAX_INPUT_BYTES} bytes")
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=_environment(),
            start_new_session=True,
        )
    except OSError as error:
        raise CommandError(f"{command[0]} cannot be run: {error.strerror}") from error
    deadline_s = time.monotonic() + timeout_s
    try:
        with process:
            try:
                output, reason = _exchange(process, send, deadline_s, max_bytes)
                _wait_for_end(process, deadline_s)
            finally:
                _kill_group(process)
            status = process.wait()
    except subprocess.TimeoutExpired:
        raise CommandError(f"{command[0]} takes longer than {timeout_s:g} s") from None
    if statuses is not None and status not in statuses:
        text = " ".join(reason.decode(errors="replace").split()) or "no reason given"
        raise CommandError(f"{command[0]} ended with status {status}: {text}")
    return output


def _exchange(process: subprocess.Popen[bytes], send: bytes, deadline_s: float, max_bytes: int) -> Tuple[bytes, bytes]:
    """What the program prints, and the beginning of what it prints about errors."""
    assert process.stdin is not None  # noqa: S101 for mypy: all three are pipes
    assert process.stdout is not None  # noqa: S101
    assert process.stderr is not None  # noqa: S101
    with contextlib.suppress(BrokenPipeError):  # it does not read
        process.stdin.write(send)
        process.stdin.close()
    chunks: Dict[int, List[bytes]] = {process.stdout.fileno(): [], process.stderr.fileno(): []}
    size = 0
    with selectors.DefaultSelector() as selector:
        for descriptor in chunks:
            selector.register(descriptor, selectors.EVENT_READ)
        while selector.get_map():
            remaining_s = deadline_s - time.monotonic()
            if remaining_s <= 0:
                raise subprocess.TimeoutExpired(process.args, 0)
            for key, _ in selector.select(remaining_s):
                chunk = os.read(key.fd, _CHUNK_BYTES)
                if not chunk:
                    selector.unregister(key.fd)
                elif key.fd == process.stdout.fileno():
                    size += len(chunk)
                    if size > max_bytes:
                        raise CommandError(f"{process.args[0]!s} prints more than {max_bytes} bytes")  # type: ignore[index]
                    chunks[key.fd].append(chunk)
                elif sum(map(len, chunks[key.fd])) < _MAX_REASON_BYTES:
                    chunks[key.fd].append(chunk[:_MAX_REASON_BYTES])
    return b"".join(chunks[process.stdout.fileno()]), b"".join(chunks[process.stderr.fileno()])


def _wait_for_end(process: subprocess.Popen[bytes], deadline_s: float) -> None:
    """Wait until the program has ended, but leave it a zombie: so its process group is its own until it is killed."""
    pause_s = 0.001
    with contextlib.suppress(ChildProcessError):  # SIGCHLD is ignored: there are no zombies
        while os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() >= deadline_s:
                raise subprocess.TimeoutExpired(process.args, 0)
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, 0.05)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _environment() -> Dict[str, str]:
    """English numbers and messages, and nothing of the agent's own secrets."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {"PATH": os.defpath, **kept, "LC_ALL": "C"}
