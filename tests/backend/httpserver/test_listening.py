"""The socket of a server: its own alone, with an eye on who is still there, and plain words when it cannot be had."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cc_backend.errors import BackendError
from cc_backend.httpserver.listening import bind_socket, describe_port_owner, listen_address
from cc_common.errors import SettingsError


@pytest.fixture
def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def listening(free_port: int) -> Iterator[socket.socket]:
    with bind_socket(f"localhost:{free_port}") as found:
        yield found


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
    "addr", ["", "8080", "localhost", "localhost:", "localhost:0", "localhost:70000", "localhost:http", "[::1:80"]
)
def test_an_address_without_a_usable_port_is_refused(addr: str) -> None:
    with pytest.raises(SettingsError, match=r"main\.addr: .* must be HOST:PORT"):
        listen_address(addr)


def test_a_second_server_on_a_port_is_told_who_has_it(listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    command = re.escape(Path("/proc/self/cmdline").read_text().replace("\0", " ").strip()[:20])
    with pytest.raises(BackendError, match=rf"port {port} is taken by process {os.getpid()} \({command}"):
        bind_socket(f"127.0.0.1:{port}")


def test_a_port_that_two_would_share_willingly_is_taken_all_the_same(free_port: int) -> None:
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", free_port))
        other.listen()
        with pytest.raises(BackendError, match="is taken by process"):
            bind_socket(f"127.0.0.1:{free_port}")


def test_a_port_is_free_again_while_old_connections_time_out(listening: socket.socket) -> None:
    port = listening.getsockname()[1]
    client = socket.create_connection(("127.0.0.1", port))
    listening.settimeout(10)
    accepted, _ = listening.accept()
    accepted.close()  # closed here first: this end waits for stragglers
    client.close()
    listening.close()
    bind_socket(f"127.0.0.1:{port}").close()


def test_an_address_of_another_machine_is_named() -> None:
    with pytest.raises(BackendError, match=r"192\.0\.2\.1:8080 is not an address of this machine"):
        bind_socket("192.0.2.1:8080")


def test_a_name_that_nobody_knows_is_named() -> None:
    with pytest.raises(BackendError, match=r"'nobody\.invalid' is not the name or an address"):
        bind_socket("nobody.invalid:8080")


def test_a_port_for_the_privileged_is_explained() -> None:
    program = (
        "import os, sys; from cc_backend.errors import BackendError; from cc_backend.httpserver.listening import *\n"
        "socket.getaddrinfo('127.0.0.1', 1)\n"  # loads what the other user may not read
        "if os.getuid() == 0: os.setuid(65534)\n"
        "try: bind_socket('127.0.0.1:1')\n"
        "except BackendError as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert "port 1 is only for root and for services with CAP_NET_BIND_SERVICE" in said
    assert "choose one from 1024 on in main.addr (127.0.0.1:1)" in said


def test_the_kernel_asks_those_who_are_silent_whether_they_are_still_there(listening: socket.socket) -> None:
    """What a node that died has sent by half would stay open for good."""
    listening.settimeout(10)
    with socket.create_connection(listening.getsockname()), listening.accept()[0] as accepted:
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        idle_s, every_s, times = (
            accepted.getsockopt(socket.IPPROTO_TCP, option)
            for option in (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        )
    assert idle_s + every_s * times <= 120


def test_the_end_of_a_response_does_not_wait_until_its_beginning_is_acknowledged(listening: socket.socket) -> None:
    listening.settimeout(10)
    with socket.create_connection(listening.getsockname()), listening.accept()[0] as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


def test_a_port_without_a_listener_is_somebody_elses(free_port: int) -> None:
    assert describe_port_owner(free_port) == "another process"
