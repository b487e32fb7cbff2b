"""Which WSGI server to put under the backend: its write route, log on, under each of those that are installed.

    python benchmarks/servers.py [SECONDS]

Every server gets one process, the threads of the settings, and the senders of `http_write.py`; that these are faster
than any server is measured too. The backend's own runs as in `cc-backend serve`, with the background work that the
others are spared. To compare others, which the backend does not need:

    pip install --target build/servers gunicorn waitress cheroot
    PYTHONPATH=build/servers python benchmarks/servers.py
"""

import importlib.metadata
import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from _bench import BIN, cli, free_port, make_site, serving
from http_write import SENDERS, cluster, feed, report, with_sink

OWN = "cc-backend"


def main() -> int:
    """Print a table; with a server's name, a port and a configuration be that server."""
    if len(sys.argv) > 2:
        SERVERS[sys.argv[1]](application(Path(sys.argv[3])), int(sys.argv[2]), threads(Path(sys.argv[3])))
        return 0
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    missing = [name for name in SERVERS if importlib.util.find_spec(name) is None]
    print(
        f"{os.cpu_count()} cores, {SENDERS} senders, {seconds:g} s each; not installed: {', '.join(missing) or 'none'}"
    )
    print("| server                                   | lines a batch | M lines/s |")
    print("|------------------------------------------|--------------:|----------:|")
    for lines in (1000, 10_000):
        with_sink(lines, seconds)
        for name in (OWN, *SERVERS):
            if name not in missing:
                with tempfile.TemporaryDirectory() as folder:
                    measure(name, Path(folder), lines, seconds)
    return 0


def measure(name: str, folder: Path, lines: int, seconds: float) -> None:
    """One row."""
    config = make_site(folder, cluster())
    token = cli("token", "create", "agents", "--config", config, "--scope", "write").strip()
    port = free_port()
    others: list[object] = [sys.executable, __file__, name, port, config]
    with serving([BIN / "cc-backend", "serve", "--config", config] if name == OWN else others, port=port):
        rate = feed(port, token, lines, seconds)
    report(f"{name} {importlib.metadata.version('clustercockpit' if name == OWN else name)}", lines, rate)


def application(config: Path) -> Any:
    """The backend's application, without its background work."""
    from cc_backend.app import create_app  # noqa: PLC0415 the parent needs none
    from cc_backend.settings import load_settings  # noqa: PLC0415

    return create_app(load_settings(config, environment=os.environ).value)


def threads(config: Path) -> int:
    """How many threads the settings want."""
    from cc_backend.settings import load_settings  # noqa: PLC0415

    return load_settings(config, environment=os.environ).value.main.threads


def gunicorn(app: Any, port: int, number: int) -> None:
    """Serve with threads that share the connections that are kept."""
    from gunicorn.app.base import BaseApplication  # noqa: PLC0415

    class Embedded(BaseApplication):  # type: ignore[misc]
        """The server without a command line."""

        def load_config(self) -> None:
            """Set what differs from its defaults."""
            for key, value in {
                "bind": f"127.0.0.1:{port}", "workers": 1, "threads": number, "worker_class": "gthread",
                "loglevel": "error",
            }.items():  # fmt: skip
                self.cfg.set(key, value)

        def load(self) -> Any:
            """The application."""
            return app

    Embedded().run()


def waitress(app: Any, port: int, number: int) -> None:
    """Serve with one thread for all sockets and others for the application."""
    from waitress import serve  # noqa: PLC0415

    serve(app, host="127.0.0.1", port=port, threads=number, max_request_body_size=1 << 28)


def cheroot(app: Any, port: int, number: int) -> None:
    """Serve with a pool of threads."""
    from cheroot.wsgi import Server  # noqa: PLC0415

    Server(("127.0.0.1", port), app, numthreads=number).start()


SERVERS: dict[str, Callable[[Any, int, int], None]] = {
    "gunicorn": gunicorn,
    "waitress": waitress,
    "cheroot": cheroot,
}


if __name__ == "__main__":
    sys.exit(main())
