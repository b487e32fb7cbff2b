"""A network namespace of the test's own, joined to this machine by one wire that can be cut."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import pytest

_NOBODY = "02:00:00:00:00:99"


class Wire:
    """Two ends of a veth pair: `here` in this namespace, `there` in the other.

    The addresses are of the range for benchmarks, RFC 2544; nothing leaves this machine.
    """

    def __init__(self, name: str, subnet: str) -> None:
        self.namespace = f"cc-{name}"
        self.here_address, self.there_address = f"{subnet}.1", f"{subnet}.2"
        self._here, self._there = f"cc{name}h", f"cc{name}t"

    @property
    def inside(self) -> tuple[str, ...]:
        """What to put before a command that is to run in the other namespace."""
        return ("ip", "netns", "exec", self.namespace)

    def link(self, state: str) -> None:
        """`down`: as if the cable was pulled. `up`: plugged in again."""
        _ip("link", "set", self._here, state)

    def drop(self, *, dropping: bool) -> None:
        """Silently lose every packet from the other side on: it is addressed to a card that does not exist."""
        if dropping:
            neighbour = ("neigh", "replace", self.here_address, "lladdr", _NOBODY, "dev", self._there)
            _ip(*neighbour, "nud", "permanent", inside=self.namespace)
        else:
            _ip("neigh", "del", self.here_address, "dev", self._there, inside=self.namespace)

    def make(self) -> None:
        """Lay it."""
        _ip("netns", "add", self.namespace)
        _ip("link", "add", self._here, "type", "veth", "peer", "name", self._there)
        _ip("link", "set", self._there, "netns", self.namespace)
        _ip("address", "add", f"{self.here_address}/30", "dev", self._here)
        _ip("link", "set", self._here, "up")
        _ip("address", "add", f"{self.there_address}/30", "dev", self._there, inside=self.namespace)
        _ip("link", "set", self._there, "up", inside=self.namespace)
        _ip("link", "set", "lo", "up", inside=self.namespace)

    def remove(self) -> None:
        """Take it away; the other end goes with the namespace."""
        with suppress(subprocess.CalledProcessError):
            _ip("link", "del", self._here)
        with suppress(subprocess.CalledProcessError):
            _ip("netns", "del", self.namespace)


@contextmanager
def wire() -> Iterator[Wire]:
    """A wire for one test; skips where there can be none."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("a network namespace can be made by root only, with the command ip of iproute2")
    number = secrets.randbelow(250)
    laid = Wire(f"{os.getpid() % 100_000}", f"198.18.{number}")
    try:
        laid.make()
    except subprocess.CalledProcessError as error:
        laid.remove()
        pytest.skip(f"no network namespace can be made here: {error.stderr.strip()}")
    try:
        yield laid
    finally:
        laid.remove()


def _ip(*arguments: str, inside: str = "") -> None:
    namespace = ["-n", inside] if inside else []
    subprocess.run(["ip", *namespace, *arguments], check=True, capture_output=True, text=True)
