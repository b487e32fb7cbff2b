"""Samples over HTTP: a real server with its log on, fed by processes of their own.

Run: python benchmarks/http_write.py [SECONDS]

Each sender keeps one connection and posts batches of a 72-hwthread node, as fast as the answers come. The sender alone,
against a server that only reads and answers, is measured too: the figures mean something only if it is much faster.
"""

import http.client
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from _bench import BIN, cli, make_site, serving

from cc_backend.metricstore.ingest.native_reader import HAS_NATIVE

METRICS = ("cpu_user", "flops_any", "ipc", "clock", "mem_used_thread")
NODES = 16
SENDERS = 2


def main() -> int:
    """Print a table."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 5.0
    kernel = "C" if HAS_NATIVE else "Python"
    print(f"{os.cpu_count()} cores, {SENDERS} senders, {seconds:g} s each, token bound to its cluster, {kernel} kernel")
    print("| server                                   | lines a batch | M lines/s |")
    print("|------------------------------------------|--------------:|----------:|")
    for lines in (1000, 10_000):
        with_sink(lines, seconds)
        with tempfile.TemporaryDirectory() as folder:
            with_backend(Path(folder), lines, seconds)
    return 0


def with_sink(lines: int, seconds: float) -> None:
    """What the senders can do when nobody holds them up."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    rate = feed(server.server_address[1], "none", lines, seconds)
    server.shutdown()
    server.server_close()
    report("reads and answers only", lines, rate)


def with_backend(folder: Path, lines: int, seconds: float) -> None:
    """The real thing."""
    config = make_site(folder, cluster())
    token = cli("token", "create", "agents", "--config", config, "--scope", "write", "--cluster", "bench").strip()
    with serving([BIN / "cc-backend", "serve", "--config", config]) as (port, _):
        rate = feed(port, token, lines, seconds)
    report("cc-backend, log on, fsync every second", lines, rate)


def feed(port: int, token: str, lines: int, seconds: float) -> float:
    """Lines a second of all senders together."""
    with multiprocessing.Pool(SENDERS) as pool:
        counts = pool.starmap(send, [(port, token, lines, seconds, number) for number in range(SENDERS)])
    return sum(counts) / seconds


def send(port: int, token: str, lines: int, seconds: float, sender: int) -> int:
    """Post batches of one node after the other for so many seconds; returns how many lines that were."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"Authorization": f"Bearer {token}"}
    per_time = len(METRICS) * 72
    start_s = int(time.time()) // 60 * 60 - 24 * 3600
    bodies = [batch(f"n{sender}{node:02d}", lines, per_time, start_s) for node in range(NODES)]

    def post(body: bytes) -> None:
        connection.request("POST", "/api/write", body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != http.client.OK:
            raise SystemExit(f"the server answered {answer.status}")

    for body in bodies:  # the server has loaded what it needs and knows all series when the clock starts
        post(body)
    number, end_s = 0, time.monotonic() + seconds
    while time.monotonic() < end_s:
        post(bodies[number % NODES])
        number += 1
    connection.close()
    return number * lines


def batch(host: str, lines: int, per_time: int, start_s: int) -> bytes:
    """Lines of one node: every metric of every hardware thread, minute by minute until there are enough."""
    out = []
    for number in range(lines):
        minute, rest = divmod(number, per_time)
        metric, thread = METRICS[rest // 72], rest % 72
        tags = f"cluster=bench,hostname={host},type=hwthread,type-id={thread}"
        out.append(f"{metric},{tags} value={number * 0.37 % 100:.2f} {start_s + 60 * minute}")
    return "\n".join(out).encode() + b"\n"


def cluster() -> dict[str, object]:
    """A cluster of nodes with 72 hardware threads."""
    threads = list(range(72))
    metric = {"unit": {"base": ""}, "scope": "hwthread", "timestep": 60, "aggregation": "avg"}
    limits = {"peak": 100, "normal": 50, "caution": 20, "alert": 10}
    quantity = {"unit": {"base": "F/s", "prefix": "G"}, "value": 1}
    return {
        "name": "bench",
        "metricConfig": [{"name": name, **metric, **limits} for name in METRICS],
        "subClusters": [
            {
                "name": "main",
                "nodes": "n[000-999]",
                "processorType": "made up",
                "socketsPerNode": 2,
                "coresPerSocket": 36,
                "threadsPerCore": 1,
                "flopRateScalar": quantity,
                "flopRateSimd": quantity,
                "memoryBandwidth": quantity,
                "topology": {
                    "node": threads,
                    "socket": [threads[:36], threads[36:]],
                    "memoryDomain": [threads[:36], threads[36:]],
                    "core": [[thread] for thread in threads],
                },
            }
        ],
    }


class Sink(BaseHTTPRequestHandler):
    """Reads the body and says 200."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """One request."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def report(server: str, lines: int, rate: float) -> None:
    """One row."""
    print(f"| {server:40} | {lines:13} | {rate / 1e6:9.2f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
