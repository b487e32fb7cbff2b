"""Runs the application under granian: one serving process with threads, watched by a parent.

`cc-backend serve` checks what can be wrong, says it once and plainly, and then becomes this module by exec, so that
nothing of what the checks loaded is held. This module has granian fork the serving process, which builds the
application and owns all state, and then becomes `watcher`, again by exec: its parent needs nothing of granian.
"""

import contextlib
import ctypes
import logging
import multiprocessing
import multiprocessing.util
import os
import resource
import signal
import socket
import stat
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

from cc_backend import watcher
from cc_backend.settings import BackendSettings, load_settings
from cc_common.errors import SettingsError

if TYPE_CHECKING:
    from flask import Flask

CONFIG_VARIABLE = "CC_BACKEND_CONFIG"
PARENT_VARIABLE = "CC_BACKEND_PARENT"
BACKLOG = 1024
CONNECTIONS = 16_384
"""So many may be open: an agent or collector of each node may keep one for its next batch."""
_OPEN_FILES = 65_536  # connections, and the snapshot files of the metric store

# dead nodes and cut cables are noticed after a minute and a half: a request that they left half-sent keeps a thread
_KEEP_ALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))

STOP_S = 45
"""So long the serving process may take to end: less than systemd waits (TimeoutStopSec=60 in the unit)."""

# glibc reads these when a process starts; what is set already stays. By itself it would keep, in each of up to eight
# arenas a core, twice the largest block that was ever freed: the 19 MiB of a login in every thread that has had one.
# What is smaller, such as a large answer, is better kept for the next.
_ALLOCATOR = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(18 * 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 1024 * 1024),
}
_DESCRIPTORS = 1024  # more than a process has open that has only started another

# prctl(2): the serving process must not outlive its parent, or the next start finds the port taken
_PR_SET_PDEATHSIG = 1

logger = logging.getLogger("cc_backend.server")  # also when run as __main__


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
        raise SettingsError("main.addr", f"main.addr: {addr!r} needs a port between 1 and 65535, as in localhost:8080")
    host = parts.hostname or ""
    return {"": "0.0.0.0", "localhost": "127.0.0.1"}.get(host, host), port  # noqa: S104 - an empty host asks for all


def become_server(config: Path, module: str = "cc_backend.server") -> NoReturn:
    """Replace this process by the parent of a server for this configuration."""
    command = server_command(config, module)
    os.execve(command[0], command, {**_ALLOCATOR, **os.environ})  # noqa: S606 - no shell


def server_command(config: Path, module: str) -> list[str]:
    """The command line that runs a module such as this one."""
    return [sys.executable, "-m", module, str(config.resolve())]


def main() -> None:
    """Serve the configuration that the command line names."""
    from cc_backend.log import configure_logging  # noqa: PLC0415 - not needed by whoever only asks for addresses

    configure_logging()
    config = Path(sys.argv[1])
    serve(config, load_settings(config, environment=os.environ).value)


def serve(config: Path, settings: BackendSettings) -> None:
    """Serve until SIGTERM or SIGINT."""
    main_settings = settings.main
    run(
        "cc_backend.server:application",
        config,
        Listening(
            main_settings.addr, main_settings.threads, main_settings.https_cert_file, main_settings.https_key_file
        ),
    )


@dataclass(frozen=True, slots=True)
class Listening:
    """Where and how a server listens; with a certificate it speaks HTTPS."""

    addr: str
    threads: int
    certificate: str = ""
    key: str = ""


def run(target: str, config: Path, listening: Listening) -> None:
    """Serve the application that `target` (`module:function`) makes, in one process under this one, until told to end.

    The function finds its configuration and this process in the environment, and calls `settle_in` first.
    """
    # granian starts helper processes when it is imported; nobody else needs it
    from granian import Granian  # noqa: PLC0415
    from granian.constants import Interfaces, SSLProtocols  # noqa: PLC0415
    from granian.log import LogLevels  # noqa: PLC0415

    host, port = listen_address(listening.addr)
    multiprocessing.set_start_method("fork", force=True)  # what granian goes by; only a fork can be watched
    os.environ[CONFIG_VARIABLE] = str(config.resolve())
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    server = Granian(
        target,
        address=host,
        port=port,
        interface=Interfaces.WSGI,
        factory=True,
        workers=1,
        blocking_threads=listening.threads,
        backlog=BACKLOG,
        backpressure=CONNECTIONS,
        websockets=False,
        log_level=LogLevels.error,
        ssl_cert=Path(listening.certificate) if listening.certificate else None,
        ssl_key=Path(listening.key) if listening.key else None,
        ssl_protocol_min=SSLProtocols.tls12,
    )
    raise_file_limit()
    become_watcher_at_fork(server_command(config, target.partition(":")[0]))
    logger.info("serving url=%s://%s", "https" if listening.certificate else "http", listening.addr)
    server.serve()


def application() -> "Flask":
    """The application of the serving process, with its background work running; called by granian."""
    from cc_backend.app import create_app  # noqa: PLC0415 - the parent does not need it
    from cc_backend.maintenance.scheduler import start_background  # noqa: PLC0415
    from cc_backend.services import EXTENSION  # noqa: PLC0415

    loaded = load_settings(settle_in(), environment=os.environ)
    app = create_app(loaded.value)
    background = start_background(app.extensions[EXTENSION])
    at_end(background.stop)
    return app


def settle_in() -> Path:
    """First thing in a serving process: end with the parent, log as the parent does; gives the configuration's path."""
    from cc_backend.log import configure_logging  # noqa: PLC0415

    end_with_parent(int(os.environ[PARENT_VARIABLE]))
    configure_logging()
    threading.Thread(target=keep_connections_alive, name="keep-alive", daemon=True).start()
    return Path(os.environ[CONFIG_VARIABLE])


def raise_file_limit() -> None:
    """Let this process have as many files open as a server may need, as far as the system allows it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def keep_connections_alive(patience_s: float = 60.0) -> None:
    """Have the kernel ask connections in which nothing comes whether there is still somebody.

    Set on the socket that this process listens on, as soon as there is one: what is accepted from it inherits it
    (tcp(7)). granian opens the socket after the application was made and has no setting for this.
    """
    end_s = time.monotonic() + patience_s
    while not any(_keeps_alive(number) for number in _open_sockets()) and time.monotonic() < end_s:
        time.sleep(0.1)


def _open_sockets() -> list[int]:
    found = []
    for name in os.listdir("/proc/self/fd"):  # noqa: PTH208 numbers, not paths
        with contextlib.suppress(OSError):  # closed by now
            if stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                found.append(int(name))
    return found


def _keeps_alive(descriptor: int) -> bool:
    """Whether it is a socket that listens, and has been told to."""
    try:
        with socket.socket(fileno=os.dup(descriptor)) as one:
            if not one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                return False
            one.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEP_ALIVE:
                one.setsockopt(socket.IPPROTO_TCP, option, value)
    except OSError:  # closed by now, or no TCP
        return False
    return True


def at_end(stop: Callable[[], None]) -> None:
    """Call something when the serving process is told to end."""
    # granian ends the process without the usual exit handlers; these run
    multiprocessing.util.Finalize(None, stop, exitpriority=100)


def become_watcher_at_fork(command: Sequence[str]) -> None:
    """When this process forks, let it go on as the watcher of its child; `command` starts a server anew.

    From now on what the watcher waits for waits for it.
    """
    starter, hangup = os.getpid(), signal.getsignal(signal.SIGHUP)
    reading, writing = os.pipe()
    signal.pthread_sigmask(signal.SIG_BLOCK, watcher.WATCHED)

    def in_child() -> None:
        if os.getppid() == starter:
            os.write(writing, str(os.getpid()).encode())
            forget_inherited_signals()

    def in_parent() -> None:
        if os.getpid() != starter:  # these hooks are inherited, and this is a fork of the serving process
            return
        try:
            os.close(writing)
            child = os.read(reading, 20).decode()  # nothing, if it has died already
            signal.signal(signal.SIGHUP, hangup)  # nohup asks to ignore it
            os.closerange(3, _DESCRIPTORS)  # a second holder of the socket would take connections for nobody
            isolated = [sys.executable, "-I", "-S", watcher.__file__]
            if child:
                os.execv(sys.executable, [*isolated, child, str(STOP_S), *command])  # noqa: S606 - no shell
        finally:
            os._exit(1)

    os.register_at_fork(after_in_child=in_child, after_in_parent=in_parent)


def forget_inherited_signals() -> None:
    """Let SIGTERM and SIGINT end this process until the server has handlers of its own.

    A forked process has the handlers of its parent, or its parent's signals blocked: told to end while the application
    is made, it would go on, and its parent would wait for it for good. A hangup is for the parent, which passes it on.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, watcher.WATCHED)


def end_with_parent(parent: int) -> None:
    """Ask the kernel to end this process when its parent dies, however it dies; ends it at once if that has happened.

    The process of the parent is named by who knows it: asked for here, it could be that of who adopted an orphan.
    The signal is the one that nothing can swallow: until the server has handlers of its own, those inherited from the
    parent would take SIGTERM and do nothing. What was acknowledged is safe all the same.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the call
        raise SystemExit(1)


if __name__ == "__main__":
    main()
