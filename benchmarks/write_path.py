"""Where the processor time of a batch goes: in the store, and in the application around it. No sockets, one thread.

Run: python benchmarks/write_path.py

A request is given to the application as the HTTP server gives it, with a token that is bound to its cluster, and the
same batch to the store alone. Least of five rounds, microseconds a batch.
"""

import io
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from _bench import cli, machine, make_site
from http_write import batch, cluster

from cc_backend.app import create_app
from cc_backend.httpserver.parser import parse_head
from cc_backend.httpserver.wsgi import Endpoint, run_application, wsgi_environ
from cc_backend.services import EXTENSION, Services
from cc_backend.settings import load_settings

NODES, ROUNDS, LINES_A_ROUND = 16, 5, 1_000_000
ENDPOINT = Endpoint("127.0.0.1", 8080)


def main() -> int:
    """Print a table."""
    logging.disable()
    print(machine())
    print("| lines a batch | store, µs | with the application, µs |")
    print("|--------------:|----------:|-------------------------:|")
    with tempfile.TemporaryDirectory() as folder:
        measure(Path(folder))
    return 0


def measure(folder: Path) -> None:
    """One row for each size of a batch."""
    config = make_site(folder, cluster())
    token = cli("token", "create", "agents", "--config", config, "--scope", "write", "--cluster", "bench").strip()
    app = create_app(load_settings(config, environment={}).value)
    services: Services = app.extensions[EXTENSION]
    start_s = int(time.time()) // 60 * 60 - 24 * 3600
    for lines in (1, 1000, 10_000):
        bodies = [batch(f"n{node:03d}", lines, 360, start_s) for node in range(NODES)]

        def request(number: int, bodies: list[bytes] = bodies) -> None:
            body = bodies[number % NODES]
            head = (
                f"POST /api/write HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(body)}"
            )
            environ = wsgi_environ(parse_head(head.encode()), io.BytesIO(body), len(body), (ENDPOINT.host, 1), ENDPOINT)
            answer = run_application(app, environ)
            if answer.status != HTTPStatus.OK:
                raise SystemExit(f"the application answered {answer.status}")

        def store(number: int, bodies: list[bytes] = bodies) -> None:
            services.store.ingest(bodies[number % NODES], received_s=services.now_s(), allowed_clusters=("bench",))

        times = min(LINES_A_ROUND // lines, 2000)
        print(f"| {lines:13} | {least_us(store, times):9.0f} | {least_us(request, times):24.0f} |", flush=True)
    services.close()


def least_us(work: Callable[[int], None], times: int) -> float:
    """Processor time of this thread for one call."""
    found = []
    for _ in range(ROUNDS):
        began_s = time.thread_time()
        for number in range(times):
            work(number)
        found.append((time.thread_time() - began_s) / times)
    return min(found) * 1e6


if __name__ == "__main__":
    sys.exit(main())
