"""Many connections, and some in which nobody is left: the server goes on for all others."""

import json
import resource
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

MANY = 1500
HALF = b"POST /api/write HTTP/1.1\r\nHost: x\r\nContent-Length: 50\r\n\r\nload_one"
KEEP_ALIVE_TIMER = "02:"  # as /proc/net/tcp says it, see proc_net_tcp.txt of the kernel


@pytest.fixture
def port(integration: Any, tmp_path: Path) -> Iterator[int]:
    """Where a metric store listens."""
    chosen = int(integration.free_port())
    config = tmp_path / "config.json"
    document = {
        "main": {"addr": f"127.0.0.1:{chosen}"},
        "metrics": {"load_one": {"frequency": 60, "aggregation": None}},
        "metric-store": {"wal": {"directory": str(tmp_path / "samples")}},
    }
    config.write_text(json.dumps(document), "utf-8")
    command = (integration.BIN / "cc-backend", "metric-store", "--config", config)
    with integration.process(*command, log=tmp_path / "log"):
        integration.wait_for(f"the store's start (see {tmp_path / 'log'})", lambda: is_up(chosen))
        yield chosen


def is_up(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/healthz", timeout=20).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


@pytest.fixture
def many_files() -> Iterator[None]:
    """This process may have as many files open as it needs here."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < MANY + 200:
        pytest.skip(f"only {hard} files may be open here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, MANY + 200), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_files")
def test_connections_that_collectors_keep_open_keep_nobody_else_out(port: int) -> None:
    with ExitStack() as stack:
        for _ in range(MANY):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20))
        assert is_up(port)


@pytest.mark.skipif(sys.byteorder != "little", reason="/proc/net/tcp writes addresses as the machine holds them")
def test_the_kernel_asks_whether_there_is_still_somebody(port: int, integration: Any) -> None:
    """What a node that died has sent by half would hold a thread for good."""

    def is_asked() -> bool:
        with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
            client.sendall(HALF)
            theirs, ours = f"0100007F:{port:04X}", f"0100007F:{client.getsockname()[1]:04X}"
            lines = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()]
            return any(line[1:3] == [theirs, ours] and line[5].startswith(KEEP_ALIVE_TIMER) for line in lines)

    integration.wait_for("a connection that the kernel keeps an eye on", is_asked)
