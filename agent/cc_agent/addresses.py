"""Hosts and ports as configurations of cc-metric-collector have them."""

from __future__ import annotations

from typing import Any, Tuple

from cc_common.errors import SettingsError

_MAX_PORT = 65535


def port_number(value: Any) -> int:
    """The port that a setting names, as a number or in quotes. Raises SettingsError."""
    text = str(value)
    if isinstance(value, (int, str)) and text.isascii() and text.isdigit() and 0 < int(text[:6]) <= _MAX_PORT:
        return int(text)
    raise SettingsError("port", f"must be a number from 1 to {_MAX_PORT}, not {text[:20]!r}")


def server_addresses(servers: str, port: int) -> Tuple[str, ...]:
    """Each server of a list with commas, with a port."""
    return tuple(_with_port(server.strip(), port) for server in servers.split(","))


def _with_port(server: str, port: int) -> str:
    rest = server.rpartition("://")[2]
    has_port = ":" in rest.rpartition("]")[2]
    return server if has_port else f"{server}:{port}"
