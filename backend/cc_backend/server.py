"""Runs the application under granian: one serving process with threads, watched by a parent.

`cc-backend serve` checks what can be wrong, says it once and plainly, and then becomes this module by exec, so that
the parent holds nothing of what the checks loaded. The serving process builds the application and owns all state.
"""

import ctypes
import logging
import multiprocessing.util
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

from cc_backend.settings import BackendSettings, load_settings
from cc_common.errors import SettingsError

if TYPE_CHECKING:
    from flask import Flask

CONFIG_VARIABLE = "CC_BACKEND_CONFIG"
PARENT_VARIABLE = "CC_BACKEND_PARENT"
BACKLOG = 1024

STOP_S = 45
"""So long the serving process may take to end: less than systemd waits (TimeoutStopSec=60 in the unit)."""

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
    os.execv(sys.executable, [sys.executable, "-m", module, str(config.resolve())])  # noqa: S606 - no shell


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
        backpressure=BACKLOG,
        websockets=False,
        respawn_failed_workers=True,
        workers_kill_timeout=STOP_S,
        log_level=LogLevels.error,
        ssl_cert=Path(listening.certificate) if listening.certificate else None,
        ssl_key=Path(listening.key) if listening.key else None,
        ssl_protocol_min=SSLProtocols.tls12,
    )
    os.register_at_fork(after_in_child=forget_inherited_handlers)
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
    return Path(os.environ[CONFIG_VARIABLE])


def at_end(stop: Callable[[], None]) -> None:
    """Call something when the serving process is told to end."""
    # granian ends the process without the usual exit handlers; these run
    multiprocessing.util.Finalize(None, stop, exitpriority=100)


def forget_inherited_handlers() -> None:
    """Let SIGTERM and SIGINT end this process until the server has handlers of its own.

    A forked process has those of its parent, which only note the signal for the parent's loop: told to end while the
    application is made, it would go on, and its parent would wait for it for good.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


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
