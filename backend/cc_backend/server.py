"""Runs a server: one process, an event loop that speaks HTTP, and threads that run requests.

`cc-backend serve` checks the configuration and then replaces itself by this module with exec, so that no memory of the
checks is kept, and the memory allocator is set to return free memory.
"""

import asyncio
import gc
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeVar

from cc_backend.httpserver.listening import bind_socket, listen_address
from cc_backend.runtime.log import configure_logging
from cc_backend.settings import BackendSettings, ListenSettings, load_settings
from cc_common.errors import CockpitError, SettingsError
from cc_common.systemd_notify import Notifier

if TYPE_CHECKING:
    import ssl
    from socket import socket

    from cc_backend.httpserver.server import Application

MAX_CONNECTIONS = 16_384
"""Maximum open connections: an agent or collector of each node may keep one open for its next batch."""
# How long a computing thread may hold the interpreter while others wait. The event loop releases it whenever it sends
# or receives: with the default of 5 ms it could do only some hundred of these a second beside busy workers.
_SWITCH_S = 0.0005
_CERTIFICATE, _KEY = "main.https-cert-file", "main.https-key-file"
_OPEN_FILES = 65_536  # connections, and the snapshot files of the metric store
_FILES_BESIDE_CONNECTIONS = 512
_MAX_BATCHES_IN_MEMORY = 4  # memory for bodies, in multiples of the largest batch

# glibc reads these when a process starts; variables that are set already win. By default it would keep, in each of up
# to eight arenas a core, twice the largest block that was ever freed: the 19 MiB of a login in every thread that had
# one. Smaller blocks, such as a large response, are better kept for the next request.
_ALLOCATOR = {
    "MALLOC_ARENA_MAX": "2",
    "MALLOC_MMAP_THRESHOLD_": str(18 * 1024 * 1024),
    "MALLOC_TRIM_THRESHOLD_": str(64 * 1024 * 1024),
}


class ServerSettings(Protocol):
    """The settings of a program that is a server."""

    @property
    def main(self) -> ListenSettings:
        """Where and how it listens."""


Settings = TypeVar("Settings", bound=ServerSettings)

logger = logging.getLogger("cc_backend.server")  # also when run as __main__


def exec_server(config: Path, module: str = "cc_backend.server") -> NoReturn:
    """Replace this process by a server with this configuration."""
    command = [sys.executable, "-m", module, str(config.resolve())]
    os.execve(command[0], command, {**_ALLOCATOR, **os.environ})  # noqa: S606 - no shell


def main() -> None:
    """Serve with the configuration file that the command line names."""
    sys.exit(run(lambda: load_settings(Path(sys.argv[1]), environment=os.environ).value, make_program))


@dataclass(frozen=True, slots=True)
class ServerProgram:
    """The application to serve, and the function that stops its background work."""

    application: "Application"
    stop: Callable[[], None]


def run(
    load: Callable[[], Settings],
    make_program: Callable[[Settings], ServerProgram],
) -> int:
    """Serve until SIGTERM or SIGINT; the exit status. If it cannot start, the reason is printed in one line."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until there is an event loop: no traceback
    configure_logging()
    try:
        settings = load()
        chosen = settings.main
        listener = bind_socket(chosen.addr)
        tls = tls_context(chosen)
        made = make_program(settings)
    except CockpitError as error:
        priority = "<3>" if "JOURNAL_STREAM" in os.environ else ""  # as `logging_setup` does
        sys.stderr.write(f"{priority}cc-backend: {error}\n")
        return 2 if isinstance(error, SettingsError) else 1
    freeze_garbage_collector()
    try:
        asyncio.run(_serve(chosen, listener, tls, made.application))
    finally:
        made.stop()
    return 0


async def _serve(
    chosen: ListenSettings, listener: "socket", tls: "ssl.SSLContext | None", application: "Application"
) -> None:
    from cc_backend.httpserver.limits import ServerLimits  # noqa: PLC0415 - the command line needs none of these
    from cc_backend.httpserver.server import HttpServer  # noqa: PLC0415
    from cc_backend.httpserver.wsgi import Endpoint  # noqa: PLC0415

    sys.setswitchinterval(_SWITCH_S)
    scheme = "https" if tls else "http"
    notifier = Notifier.from_environment(os.environ)
    limits = ServerLimits(
        connections=min(MAX_CONNECTIONS, raise_file_limit() - _FILES_BESIDE_CONNECTIONS),
        body_memory_bytes=_MAX_BATCHES_IN_MEMORY * chosen.max_batch_bytes,
    )
    host, port = listen_address(chosen.addr)
    server = HttpServer(application, Endpoint(host, port, scheme), threads=chosen.threads, limits=limits)

    def ready() -> None:
        logger.info("serving url=%s://%s", scheme, chosen.addr)
        notifier.ready()

    await server.serve([listener], tls, _stop_event(notifier), ready)


def _stop_event(notifier: Notifier) -> asyncio.Event:
    stopping = asyncio.Event()

    def stop() -> None:
        notifier.stopping()
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
            asyncio.get_running_loop().add_signal_handler(number, stop)
    return stopping


def tls_context(listening: ListenSettings) -> "ssl.SSLContext | None":
    """The TLS context; None if the settings name no certificate.

    Raises:
        SettingsError: certificate or key cannot be used.
    """
    if not listening.https_cert_file and not listening.https_key_file:
        return None
    import ssl  # noqa: PLC0415 - only where it is wanted

    for setting, path in ((_CERTIFICATE, listening.https_cert_file), (_KEY, listening.https_key_file)):
        if not path:
            raise SettingsError(setting, f"{setting}: is missing; HTTPS takes {_CERTIFICATE} and {_KEY}")
        try:
            Path(path).open("rb").close()
        except OSError as error:
            raise SettingsError(setting, f"{setting}: {path} cannot be read: {error.strerror}") from None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(listening.https_cert_file, listening.https_key_file)
    except (OSError, ssl.SSLError) as error:
        raise SettingsError(
            _CERTIFICATE,
            f"{_CERTIFICATE} and {_KEY} ({listening.https_cert_file}, {listening.https_key_file}): {error}",
        ) from None
    return context


def freeze_garbage_collector() -> None:
    """Exclude all present objects from garbage collection, which would delay all requests by 20 ms."""
    gc.collect()
    gc.freeze()


def raise_file_limit() -> int:
    """Raise the limit of open files as far as a server needs it and the system allows; the new limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        return wanted
    return _OPEN_FILES if soft == resource.RLIM_INFINITY else soft


def make_program(settings: BackendSettings) -> ServerProgram:
    """The backend with its background work running."""
    from cc_backend.app import create_app, server_application  # noqa: PLC0415 - the command line does not need it
    from cc_backend.maintenance.store_tasks import BackgroundWork  # noqa: PLC0415
    from cc_backend.maintenance.tasks import periodic_tasks  # noqa: PLC0415
    from cc_backend.services import EXTENSION  # noqa: PLC0415

    app = create_app(settings)
    background = BackgroundWork(app.extensions[EXTENSION], periodic_tasks)
    background.start()
    return ServerProgram(server_application(app, settings), background.stop)


if __name__ == "__main__":
    main()
