from __future__ import annotations

import os
import select
import threading
import time
from pathlib import Path

import pytest
from kernel_files import finish_thread

from cc_agent.collectors.base import Tick
from cc_agent.collectors.commands import CommandError, Measurement, SlowSource, find_program, run_command
from cc_agent.errors import NotPresentError


def _run(script: str, **more: object) -> bytes:
    return run_command(["sh", "-c", script], **{"timeout_s": 20.0, **more})  # type: ignore[arg-type]  # options of a test


def test_the_output_is_what_the_program_prints() -> None:
    assert _run("echo hello; echo this is an error >&2") == b"hello\n"


def test_the_program_reads_what_is_sent() -> None:
    assert _run("cat", send=b"once fs_io_s\n") == b"once fs_io_s\n"


def test_a_program_need_not_read_what_is_sent() -> None:
    assert _run("true", send=b"x" * 4096) == b""


def test_a_failure_is_named_with_its_reason() -> None:
    with pytest.raises(CommandError, match=r"^sh ended with status 3: permission denied$"):
        _run("echo permission denied >&2; exit 3")


def test_other_statuses_may_be_a_success() -> None:
    assert _run("echo a; exit 4", statuses=None) == b"a\n"


def test_a_program_that_is_not_there_is_named() -> None:
    with pytest.raises(CommandError, match="no-such-program cannot be run: No such file"):
        run_command(["no-such-program"], timeout_s=5)
    with pytest.raises(NotPresentError, match="no-such-program") as caught:
        find_program("no-such-program", "install it")
    assert caught.value.advice == "install it"


def test_a_program_that_takes_too_long_is_killed_with_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    began_s = time.monotonic()
    with pytest.raises(CommandError, match=r"longer than 0\.5 s"):
        _run(f"sleep 600 & echo $! > {pids}; echo $$ >> {pids}; wait", timeout_s=0.5)
    assert time.monotonic() - began_s < 20
    for pid in map(int, pids.read_text().split()):
        assert _ends(pid)


def _ends(pid: int) -> bool:
    """Whether the process ends soon, or has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 20)[0])
    finally:
        os.close(descriptor)


def test_a_program_that_prints_without_end_is_killed() -> None:
    with pytest.raises(CommandError, match="prints more than 100000 bytes"):
        _run("yes", max_bytes=100_000)


def test_what_a_program_leaves_running_is_killed_although_the_program_succeeds(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    assert _run(f"sleep 600 >&- 2>&- & echo $! > {pid}; echo done") == b"done\n"
    assert _ends(int(pid.read_text()))


def test_errors_without_end_are_no_harm() -> None:
    with pytest.raises(CommandError, match="status 1") as caught:
        _run("head -c 3000000 /dev/zero >&2; exit 1")
    assert len(str(caught.value)) < 1000


def test_a_program_that_closes_its_output_and_goes_on_is_killed() -> None:
    with pytest.raises(CommandError, match=r"longer than 0\.5 s"):
        _run("exec >&- 2>&-; sleep 600", timeout_s=0.5)


def test_words_are_no_shell() -> None:
    assert run_command(["echo", "$(id)", ";ls"], timeout_s=20) == b"$(id) ;ls\n"


def test_secrets_of_the_agent_are_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CC_AGENT_TOKEN", "secret")
    monkeypatch.setenv("LANG", "de_DE.UTF-8")
    output = _run("env")
    assert b"secret" not in output
    assert b"LC_ALL=C\n" in output


def test_more_than_a_pipe_holds_is_not_sent() -> None:
    with pytest.raises(ValueError, match="longer than 4096 bytes"):
        _run("cat", send=b"x" * 5000)


def _poll(source: SlowSource[int], monotonic_s: float) -> Measurement[int] | None:
    return source.poll(Tick(0, monotonic_s, 10.0))


def test_a_slow_source_is_asked_at_its_interval_and_gives_each_measurement_once() -> None:
    times = iter((1000.5, 1060.5))
    counter = iter(range(10))
    source = SlowSource("slow", lambda: next(counter), 60.0, monotonic=lambda: next(times))
    given = []
    for monotonic_s in (1000.0, 1010.0, 1020.0, 1056.0, 1066.0):
        given.append(_poll(source, monotonic_s))
        finish_thread("slow")
    first, second = (measured for measured in given if measured is not None)
    assert (first, second) == (Measurement(1000.5, 0), Measurement(1060.5, 1))
    assert source.tick_of(Tick(5, 1066.0, 10.0), second) == Tick(5, 1060.5, 60.0)


def test_a_source_that_hangs_is_not_asked_again() -> None:
    go_on = threading.Event()
    calls: list[int] = []

    def read() -> int:
        calls.append(1)
        go_on.wait(30)
        return 7

    source = SlowSource("hanging", read, 10.0)
    assert [_poll(source, seconds) for seconds in (0.0, 10.0, 20.0)] == [None, None, None]
    go_on.set()
    finish_thread("hanging")
    measured = _poll(source, 30.0)
    assert measured is not None
    assert measured.value == 7
    finish_thread("hanging")
    assert len(calls) == 2
    source.close()


def test_what_a_source_raises_is_raised_at_the_next_tick() -> None:
    source = SlowSource("failing", lambda: 1 // 0, 60.0)
    assert _poll(source, 0.0) is None
    finish_thread("failing")
    with pytest.raises(ZeroDivisionError):
        _poll(source, 10.0)
