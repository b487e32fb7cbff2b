"""What several benchmarks need: where they ran, how much memory they take, and servers on free ports."""

import gc
import http.client
import importlib.util
import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

BIN = Path(sys.executable).parent
"""Where the programs of this installation are."""


def machine() -> str:
    """One line about where this ran."""
    lines = Path("/proc/cpuinfo").read_text(encoding="ascii").splitlines()
    model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())
    versions = f"Linux {platform.release()}, Python {platform.python_version()}, NumPy {version('numpy')}"
    return f"{model}, {os.cpu_count()} cores, {versions}"


def resident_bytes() -> int:
    """What this process takes of the memory now, garbage collected."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def cli(*arguments: object, given: str = "") -> str:
    """What a command of cc-backend prints; `given` is its input."""
    command = [str(BIN / "cc-backend"), *map(str, arguments)]
    return subprocess.run(command, input=given, capture_output=True, text=True, check=True).stdout


def make_site(folder: Path, cluster: Mapping[str, Any]) -> Path:
    """The configuration file of a new backend that knows one cluster."""
    config = folder / "site" / "config.json"
    cli("init", config.parent)
    (folder / "cluster.json").write_text(json.dumps(cluster), "utf-8")
    cli("cluster", "add", folder / "cluster.json", "--config", config)
    return config


@contextmanager
def serving(
    command: Sequence[object], *, port: int | None = None, address: str = "CC_BACKEND_ADDR", log_level: str = "warning"
) -> Iterator[tuple[int, int]]:
    """Port and process id of a server, which ends with the block; `address` is the variable that tells it the port."""
    port = port or free_port()
    environment = {**os.environ, address: f"127.0.0.1:{port}", "CC_LOG_LEVEL": log_level}
    server = subprocess.Popen([*map(str, command)], env=environment)
    try:
        wait_until_up(port)
        yield port, server.pid
    finally:
        server.terminate()
        server.wait()


@contextmanager
def postgresql_database() -> Iterator[str]:
    """The address of an empty database on a PostgreSQL server of its own, with the options that one has by default."""
    path = Path(__file__).resolve().parent.parent / "tests" / "postgres_server.py"
    spec = importlib.util.spec_from_file_location("postgres_server", path)
    if spec is None or spec.loader is None:
        raise SystemExit(f"{path} cannot be read")
    helper: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(helper)
    programs = helper.programs()
    if programs is None:
        raise SystemExit("no PostgreSQL server here")
    with helper.running_server(programs, **_AS_INSTALLED) as server:
        yield server.url(server.new_database())


_AS_INSTALLED = {
    "fsync": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "shared_buffers": "128MB",
    "wal_level": "replica",
    "max_wal_size": "1GB",
    "min_wal_size": "80MB",
}
"""Defaults of PostgreSQL in place of the options of the tests."""


def use_database(config: Path, address: str) -> None:
    """Let a backend keep its jobs in this database."""
    document = json.loads(config.read_text("utf-8"))
    document["main"]["db"] = address
    config.write_text(json.dumps(document), "utf-8")


def free_port() -> int:
    """A port nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until_up(port: int) -> None:
    """Return when the server answers."""
    for _ in range(300):
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=1):
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"no server came up on port {port}")


def session_cookie(answer: http.client.HTTPResponse) -> str:
    """The login that an answer gives, as a browser sends it back; ends the program if there is none."""
    for cookie in answer.headers.get_all("Set-Cookie") or ():
        if cookie.startswith("session="):
            return str(cookie.partition(";")[0])
    raise SystemExit(f"the login failed: {answer.status}")
