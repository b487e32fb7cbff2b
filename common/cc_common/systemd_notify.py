"""State notifications to systemd, for services of type notify (sd_notify(3))."""

from __future__ import annotations

import os
import socket
from typing import Mapping, Optional

_MICROSECONDS = 1_000_000


class Notifier:
    """Sends states to the service manager; does nothing without one."""

    def __init__(self, address: str = "", watchdog_s: Optional[float] = None) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self.watchdog_s = watchdog_s

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Notifier:
        """The notifier for the NOTIFY_SOCKET and WATCHDOG_USEC of the environment."""
        watchdog = environment.get("WATCHDOG_USEC", "")
        meant = environment.get("WATCHDOG_PID", "") in ("", str(os.getpid()))
        usable = watchdog.isdigit() and int(watchdog) > 0 and meant
        return cls(environment.get("NOTIFY_SOCKET", ""), int(watchdog) / _MICROSECONDS if usable else None)

    def ready(self) -> None:
        """The service has started."""
        self._send("READY=1")

    def ping_watchdog(self) -> None:
        """Reset the watchdog timer of the service, if it has one."""
        if self.watchdog_s is not None:
            self._send("WATCHDOG=1")

    def stopping(self) -> None:
        """The service is about to end."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """One line for `systemctl status`."""
        self._send(f"STATUS={text}")

    def _send(self, state: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(1.0)
                sender.sendto(state.encode(), self._address)
        except OSError:
            return  # the service works without its manager
