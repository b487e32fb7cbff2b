"""The listening socket of a server, and error texts for an address that cannot be used."""

import contextlib
import errno
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from cc_backend.errors import BackendError
from cc_common.errors import SettingsError

# dead nodes and cut cables are detected after a minute and a half
_KEEP_ALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
_UNSENT_BYTES = 64 * 1024
_FIRST_UNPRIVILEGED_PORT = 1024
_LISTEN_STATE = "0A"  # proc(5), /proc/net/tcp
_MAX_COMMAND = 80


def listen_address(addr: str) -> tuple[str, int]:
    """Host and port of a setting such as `localhost:8080`, `:8080` (all addresses) or `[::1]:8080`.

    Raises:
        SettingsError: there is no port, or it is not a number up to 65535.
    """
    try:
        parts = urlsplit(f"//{addr}")
        port = parts.port
    except ValueError:
        port = None
    if not port:
        raise SettingsError(
            "main.addr", f"main.addr: {addr!r} must be HOST:PORT, the port from 1 to 65535, as in localhost:8080"
        )
    host = parts.hostname or ""
    return {"": "0.0.0.0", "localhost": "127.0.0.1"}.get(host, host), port  # noqa: S104 - an empty host asks for all


def bind_socket(addr: str) -> socket.socket:
    """A socket bound to the address of a setting, for one server alone; it does not listen yet.

    Raises:
        SettingsError: this is not an address.
        BackendError: it cannot be used; the text has the reason, and the process that has the port.
    """
    host, port = listen_address(addr)
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        raise BackendError(f"main.addr: {host!r} is not the name or an address of this machine: {error}") from None
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # also while old connections time out
        enable_keep_alive(found)
        # else the end of a response that takes two writes waits 40 ms for the client to acknowledge its beginning;
        # asyncio does not set it, because sockets that are accepted here do not say which protocol they have
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # unread responses wait in this process and not in the kernel, which would hold megabytes of them
        found.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT_BYTES)
        found.bind(place)
        found.listen(1)  # two sockets may bind, but only one may listen
        found.setblocking(False)  # noqa: FBT003 - positional only
    except OSError as error:
        found.close()
        raise BackendError(_bind_error_text(error, addr, port)) from None
    return found


def enable_keep_alive(found: socket.socket) -> None:
    """Enable TCP keep-alive, so that the kernel detects dead peers.

    Accepted sockets inherit it from the listening one (tcp(7)).
    """
    found.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in _KEEP_ALIVE:
        found.setsockopt(socket.IPPROTO_TCP, option, value)


def _bind_error_text(error: OSError, addr: str, port: int) -> str:
    if error.errno == errno.EADDRINUSE:
        owner = describe_port_owner(port)
        return f"port {port} is taken by {owner}; stop it, or choose another port in main.addr ({addr})"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"main.addr: {addr} is not an address of this machine"
    if error.errno in (errno.EACCES, errno.EPERM) and port < _FIRST_UNPRIVILEGED_PORT:
        return (
            f"port {port} is only for root and for services with CAP_NET_BIND_SERVICE, which the systemd unit grants; "
            f"choose one from {_FIRST_UNPRIVILEGED_PORT} on in main.addr ({addr})"
        )
    return f"main.addr: cannot listen on {addr}: {error.strerror}"


def describe_port_owner(port: int) -> str:
    """The process that listens on a port, as `process 4711 (cc-backend serve)`, if this user may see it."""
    inodes = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            for descriptor in (process / "fd").iterdir():
                with contextlib.suppress(OSError):
                    if os.readlink(descriptor) in inodes:  # noqa: PTH115 - no path: `socket:[...]`
                        return f"process {process.name} ({_command(process)})"
    return "another process"


def _listening_inodes(port: int) -> list[str]:
    found = []
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path("/proc/net", table).read_text("ascii").splitlines()[1:]:
                _, local, _, state, *rest = line.split()
                if state == _LISTEN_STATE and local.endswith(f":{port:04X}"):
                    found.append(rest[5])
    return found


def _command(process: Path) -> str:
    words = (process / "cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    return " ".join(words).strip()[:_MAX_COMMAND] or process.name
