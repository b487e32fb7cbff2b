"""A NATS server of a test's own, on loopback."""

from __future__ import annotations

import importlib
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cc_common.nats_client import LoopThread

UP_S = 20.0


def program() -> str | None:
    """The server's program; None if it is not installed."""
    return shutil.which("nats-server") or shutil.which("nats-server", path="/usr/sbin:/usr/local/bin:/root/go/bin")


@dataclass
class NatsServer:
    """A server with a configuration in the server's own format, which may be killed and started again."""

    folder: Path
    configuration: str = ""
    port: int = 0
    running: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server, and wait until it takes connections; on the same port as before, if it ran before."""
        file = self.folder / "nats.conf"
        with (self.folder / "nats.log").open("ab") as log:
            for _ in range(5):
                port = self.port or _free_port()
                file.write_text(f'host: "127.0.0.1"\nport: {port}\n{self.configuration}\n', "utf-8")
                self.running = subprocess.Popen(
                    [str(program()), "-c", str(file)], stdout=log, stderr=log, start_new_session=True
                )
                if _is_up(port, self.running):
                    self.port = port
                    return
        raise AssertionError((self.folder / "nats.log").read_text("utf-8", "replace"))

    def kill(self) -> None:
        """End the server at once, as a power cut would."""
        if self.running is not None:
            self.running.kill()
            self.running.wait()
            self.running = None


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _is_up(port: int, running: subprocess.Popen[bytes]) -> bool:
    deadline_s = time.monotonic() + UP_S
    while time.monotonic() < deadline_s and running.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
                if connection.recv(5) == b"INFO ":
                    return True
        except OSError:
            time.sleep(0.02)
    return False


@contextmanager
def running_server(folder: Path, configuration: str = "") -> Iterator[NatsServer]:
    """A running server, ended with the context."""
    server = NatsServer(folder, configuration)
    server.start()
    try:
        yield server
    finally:
        server.kill()


class Listener:
    """Subscribes to everything with a client of its own, and remembers the messages."""

    def __init__(self, address: str, **options: Any) -> None:
        self.messages: list[bytes] = []
        self._thread = LoopThread("listener")
        self._address = address
        self._options = options
        self._client: Any = None

    async def _open(self) -> None:
        nats = importlib.import_module("nats")

        async def keep(message: Any) -> None:
            if not message.subject.startswith(("$", "_INBOX")):
                self.messages.append(message.data)

        self._client = await nats.connect(self._address, **self._options)
        await self._client.subscribe(">", cb=keep)
        await self._client.flush()

    async def _flush(self) -> None:
        await self._client.flush()

    async def _close(self) -> None:
        await self._client.close()

    def __enter__(self) -> Listener:  # noqa: PYI034 Python 3.9 has no Self
        self._thread.run(self._open(), 10)
        return self

    def sees(self) -> list[bytes]:
        self._thread.run(self._flush(), 10)
        return self.messages

    def __exit__(self, *_: object) -> None:
        self._thread.close(self._close)
