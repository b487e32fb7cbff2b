import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from cc_common.systemd_notify import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator["tuple[str, socket.socket]"]:
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    address = str(tmp_path / "notify")
    receiver.bind(address)
    receiver.settimeout(5)
    yield address, receiver
    receiver.close()


def test_the_manager_hears_of_start_life_and_end(manager: "tuple[str, socket.socket]") -> None:
    address, receiver = manager
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "60000000"})
    assert notifier.watchdog_s == 60
    notifier.ready()
    notifier.ping_watchdog()
    notifier.status("busy")
    notifier.stopping()
    heard = [receiver.recv(200).decode() for _ in range(4)]
    assert heard == ["READY=1", "WATCHDOG=1", "STATUS=busy", "STOPPING=1"]


def test_an_abstract_address_is_understood() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        name = f"cc-agent-test-{os.getpid()}"
        receiver.bind("\0" + name)
        receiver.settimeout(5)
        Notifier("@" + name).ready()
        assert receiver.recv(100) == b"READY=1"


@pytest.mark.parametrize(
    "environment",
    [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "soon"}, {"WATCHDOG_USEC": "5", "WATCHDOG_PID": "1"}],
)
def test_without_a_watchdog_there_is_nothing_to_feed(environment: "dict[str, str]") -> None:
    assert Notifier.from_environment(environment).watchdog_s is None


def test_a_missing_manager_is_no_fault(tmp_path: Path) -> None:
    Notifier(str(tmp_path / "nobody"), watchdog_s=1.0).ping_watchdog()
    Notifier().ready()
