"""Real processes on loopback: a backend in a folder of its own, and whatever talks to it."""

import contextlib
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

BIN = Path(sys.executable).parent
UP_TIMEOUT_S = 30.0
SERVER_PORTS = (10_000, 27_000)  # below those of tests/slurm and of outgoing connections


def run(name: str, *arguments: object, given: str = "") -> str:
    """What a command of the project prints; fails the test with its message otherwise."""
    done = subprocess.run(
        [BIN / name, *map(str, arguments)], input=given, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, f"{name} {arguments}: {done.stderr}"
    return done.stdout


def wait_for(what: str, probe: Callable[[], Any], timeout_s: float = UP_TIMEOUT_S) -> Any:
    """The first true answer of a probe; fails naming what never came."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        answer = probe()
        if answer:
            return answer
        time.sleep(0.1)
    pytest.fail(f"{what} did not happen within {timeout_s:.0f} s")


@contextmanager
def process(
    *command: object, log: Path, environment: Mapping[str, str] | None = None
) -> Iterator["subprocess.Popen[bytes]"]:
    """A process with its output in a file and our environment plus one; ended by SIGTERM, if need be SIGKILL."""
    with log.open("ab") as output:
        running = subprocess.Popen(
            [*map(str, command)],
            stdout=output,
            stderr=output,
            start_new_session=True,
            env={**os.environ, **(environment or {})},
        )
        try:
            yield running
        finally:
            running.terminate()
            try:
                running.wait(timeout=20)
            except subprocess.TimeoutExpired:
                running.kill()
                running.wait()


def free_port() -> int:
    """A port nobody listens on just now, and that the kernel does not give to a connection while a server is down.

    Tests in another process look for ports too, with the same seed: the choice is not that of `random`.
    """
    chance = secrets.SystemRandom()
    while True:
        with socket.socket() as probe, contextlib.suppress(OSError):
            port = chance.randrange(*SERVER_PORTS)
            probe.bind(("127.0.0.1", port))
            return port


@dataclass
class Backend:
    """A backend that was initialised with zero edits but its port."""

    directory: Path
    port: int

    @property
    def config(self) -> Path:
        """Its configuration file."""
        return self.directory / "config.json"

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> Path:
        """What it said."""
        return self.directory / "backend.log"

    def token(self, name: str, *arguments: str) -> str:
        """A new token."""
        return run("cc-backend", "token", "create", name, "--config", self.config, *arguments).strip()

    @contextmanager
    def serving(self) -> Iterator["subprocess.Popen[bytes]"]:
        """The server process, up and answering."""
        command = (BIN / "cc-backend", "serve", "--config", self.config)
        address = {"CC_BACKEND_ADDR": f"127.0.0.1:{self.port}"}
        with process(*command, log=self.log, environment=address) as running:
            wait_for(f"the backend's start (see {self.log})", lambda: self._is_up(running))
            yield running

    def _is_up(self, running: "subprocess.Popen[bytes]") -> bool:
        if running.poll() is not None:
            pytest.fail(f"the backend ended: {self.log.read_text('utf-8')[-2000:]}")
        try:
            return httpx.get(f"{self.url}/healthz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


def has_restored(url: str) -> bool:
    """Whether a server has its samples of before the start back; it answers before that."""
    return b"\ncc_backend_store_restoring 0\n" in httpx.get(f"{url}/metrics", timeout=20).content


def new_backend(directory: Path) -> Backend:
    """A backend in a new folder, on a free port; not yet serving."""
    run("cc-backend", "init", directory)
    return Backend(directory, free_port())


def attempt(name: str, *arguments: object) -> "subprocess.CompletedProcess[str]":
    """A command's result, whatever it is."""
    return subprocess.run([BIN / name, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)


@contextmanager
def small_disk(folder: Path, size: str = "1m") -> Iterator[None]:
    """A file system of one megabyte, mounted at a folder."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
