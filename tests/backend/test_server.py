import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from cc_backend.server import become_server, listen_address
from cc_common.errors import SettingsError


@pytest.mark.parametrize(
    ("addr", "expected"),
    [
        ("localhost:8080", ("127.0.0.1", 8080)),
        ("127.0.0.1:80", ("127.0.0.1", 80)),
        ("0.0.0.0:8080", ("0.0.0.0", 8080)),
        (":8080", ("0.0.0.0", 8080)),
        ("[::1]:8080", ("::1", 8080)),
        ("monitoring.example.org:443", ("monitoring.example.org", 443)),
    ],
)
def test_an_address_is_a_host_and_a_port(addr: str, expected: tuple[str, int]) -> None:
    assert listen_address(addr) == expected


@pytest.mark.parametrize(
    "addr", ["", "localhost", "localhost:", "localhost:0", "localhost:70000", "localhost:http", "[::1:80"]
)
def test_an_address_without_a_usable_port_is_refused(addr: str) -> None:
    with pytest.raises(SettingsError, match="port"):
        listen_address(addr)


def test_a_server_is_started_so_that_it_gives_memory_back_unless_the_site_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    started: list[tuple[list[str], Mapping[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda _, command, environment: started.append((command, environment)))
    monkeypatch.setenv("MALLOC_ARENA_MAX", "7")
    monkeypatch.delenv("MALLOC_MMAP_THRESHOLD_", raising=False)
    become_server(tmp_path / "config.json")
    [(command, environment)] = started
    assert command[1:] == ["-m", "cc_backend.server", str(tmp_path / "config.json")]
    assert environment["MALLOC_ARENA_MAX"] == "7"
    assert int(environment["MALLOC_MMAP_THRESHOLD_"]) < 19 * 1024 * 1024, "a login's memory is a block of its own"


def ended_with(parent: str) -> int:
    program = f"import os; from cc_backend.server import end_with_parent; end_with_parent({parent}); os._exit(7)"
    return subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode


def test_a_process_whose_parent_died_before_it_could_ask_ends_at_once() -> None:
    assert ended_with("0") == 1, "another process adopted it: that one is not its parent"
    assert ended_with("os.getppid()") == 7


def test_a_process_that_ignores_signals_ends_with_its_parent_all_the_same() -> None:
    orphan = (
        "import os, signal, time; from cc_backend.server import end_with_parent; end_with_parent(os.getppid());"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); print('ready', flush=True); time.sleep(60)"
    )
    parent = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {orphan!r}]).wait()"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        process.kill()
        assert process.stdout.read() == b"", "the pipe closes when the last process that holds it has ended"


def test_a_serving_process_that_is_told_to_end_while_it_starts_ends() -> None:
    program = (
        "import os, signal; from cc_backend.server import forget_inherited_signals;"
        "signal.signal(signal.SIGTERM, lambda *_: None); forget_inherited_signals(); os.kill(os.getpid(), 15)"
    )
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=60)
    assert done.returncode == -signal.SIGTERM
