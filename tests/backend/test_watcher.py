import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from cc_backend.watcher import RESTARTED_VARIABLE, SOON_S

# As `server` does it: a process that forks and goes on as the watcher of its child, which says who it is.
STARTER = """
import os, signal, sys, time
from cc_backend import server

server.STOP_S = {stop_s}
{before}
server.become_watcher_at_fork([sys.executable, "-c", "print('started anew', flush=True)"])
if os.fork() == 0:
    {child}
    print(os.getpid(), flush=True)
    time.sleep(60)
"""


class Watched:
    """A watcher and the process that it watches."""

    def __init__(self, watcher: "subprocess.Popen[str]") -> None:
        assert watcher.stdout is not None
        self.watcher = watcher
        self.said = watcher.stdout
        self.child = int(self.said.readline())

    def tell(self, number: signal.Signals) -> None:
        self.watcher.send_signal(number)

    def kill_child(self) -> None:
        os.kill(self.child, signal.SIGKILL)

    def status(self) -> int:
        return self.watcher.wait(timeout=60)


@contextmanager
def watched(
    *, child: str = "pass", before: str = "pass", stop_s: float = 60, environment: Mapping[str, str] | None = None
) -> Iterator[Watched]:
    program = STARTER.format(child=child, before=before, stop_s=stop_s)
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **(environment or {})},
    ) as process:
        try:
            yield Watched(process)
        finally:
            process.kill()


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_what_tells_the_watcher_to_end_ends_the_process_that_it_watches(number: signal.Signals) -> None:
    with watched(child="signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('told to end', flush=True)))") as both:
        both.tell(number)
        assert both.status() == 0
        assert both.said.read() == "told to end\n"
        assert is_gone(both.child)


def test_a_process_that_does_not_end_when_it_is_told_is_killed() -> None:
    with watched(child="signal.signal(signal.SIGTERM, signal.SIG_IGN)", stop_s=0.1) as both:
        both.tell(signal.SIGTERM)
        assert both.status() == 0
        assert is_gone(both.child)


def test_a_process_that_dies_is_followed_by_another() -> None:
    with watched() as both:
        both.kill_child()
        assert both.said.read() == "started anew\n"
        assert both.status() == 0
        assert both.watcher.stderr is not None
        assert "status -9; starting it again" in both.watcher.stderr.read()


@pytest.mark.parametrize(("restarted_in_s", "said", "status"), [(60, "", 1), (-SOON_S, "started anew\n", 0)])
def test_a_process_that_dies_soon_after_it_was_started_anew_is_given_up(
    restarted_in_s: float, said: str, status: int
) -> None:
    with watched(environment={RESTARTED_VARIABLE: str(time.monotonic() + restarted_in_s)}) as both:
        both.kill_child()
        assert both.said.read() == said
        assert both.status() == status


def test_a_hangup_that_the_starter_was_told_to_ignore_is_ignored() -> None:
    with watched(before="signal.signal(signal.SIGHUP, signal.SIG_IGN)") as both:
        both.tell(signal.SIGHUP)
        while is_pending(both.watcher.pid, signal.SIGHUP):
            time.sleep(0.01)
        both.kill_child()
        assert both.said.read() == "started anew\n"


def is_pending(pid: int, number: signal.Signals) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text("ascii").splitlines()
    pending = next(line.split()[1] for line in lines if line.startswith("ShdPnd:"))
    return bool(int(pending, 16) >> (number - 1) & 1)


def test_the_watcher_holds_nothing_that_was_open() -> None:
    sockets = "reading, writing = os.pipe(); os.set_inheritable(writing, True)"
    with watched(before=sockets, child="os.close(writing); os.read(reading, 1)") as both:
        both.tell(signal.SIGTERM)  # it got here: the end of the pipe came, because nobody else can write to it
        assert both.status() == 0
