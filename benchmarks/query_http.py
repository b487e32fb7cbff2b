"""A job's samples over HTTP: a real server with its log on, asked as cc-backend asks it.

Run: python benchmarks/query_http.py [--nodes 64] [--metrics 10] [--hours 24]

Node metrics at 60 s, values with full single precision; the answer is not compressed. The best of several requests on a
kept connection, from the request to the last byte; what the asker then does to have arrays is measured apart.
Promise: 64 nodes x 10 metrics x 24 h within 100 ms.
"""

import argparse
import http.client
import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _bench import BIN, free_port, serving

from cc_backend.metricstore.query import binary_codec
from cc_backend.metricstore.query.json_codec import decode_json
from cc_backend.metricstore.query.protocol import QueryResponse

ROUNDS = 9
SLOTS_A_BATCH = 60


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("nodes", 64), ("metrics", 10), ("hours", 24)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        config = write_config(Path(folder), port, given.metrics)
        with serving([BIN / "cc-backend", "metric-store", "--config", config], port=port, log_level="error"):
            measure(port, given.nodes, given.metrics, given.hours * 60)
    return 0


def measure(port: int, nodes: int, metrics: int, slots: int) -> None:
    """Fill the store, then ask."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    begin_s = int(time.time()) // 60 * 60 - slots * 60
    fill(connection, nodes, metrics, slots, begin_s)
    count = nodes * metrics * slots
    print(f"{os.cpu_count()} cores; {nodes} nodes x {metrics} metrics x {slots} slots = {count:,} samples")
    print("| question                              |   MB |     ms | ms to arrays |")
    print("|---------------------------------------|-----:|-------:|-------------:|")
    names = [f"m{number}" for number in range(metrics)]
    queries = [{"metric": name, "host": f"n{node:04d}"} for node in range(nodes) for name in names]
    document = {"cluster": "bench", "from": begin_s, "to": begin_s + slots * 60}
    coarse = [{**query, "resolution": 600} for query in queries]
    for title, changes, accept, read in (
        ("samples and statistics, JSON", {"queries": queries}, "application/json", decode_json),
        ("samples and statistics, binary", {"queries": queries}, binary_codec.MEDIA_TYPE, binary_codec.decode),
        ("all nodes, one metric, JSON", {"for-all-nodes": names[:1]}, "application/json", decode_json),
        ("resampled to 600 s (lttb), JSON", {"queries": coarse}, "application/json", decode_json),
        ("statistics alone, JSON", {"queries": queries, "with-data": False}, "application/json", decode_json),
    ):
        ask(connection, title, json.dumps({**document, **changes}).encode(), accept, read)


def fill(connection: http.client.HTTPConnection, nodes: int, metrics: int, slots: int, begin_s: int) -> None:
    """An hour of one node in a batch."""
    chance = random.Random(1)
    texts = [repr(chance.random() * 1e4) for _ in range(4999)]
    number = 0
    for first in range(0, slots, SLOTS_A_BATCH):
        for node in range(nodes):
            lines = []
            for slot in range(first, min(first + SLOTS_A_BATCH, slots)):
                for metric in range(metrics):
                    number += 1
                    value = texts[number % len(texts)]
                    lines.append(
                        f"m{metric},cluster=bench,hostname=n{node:04d},type=node value={value} {begin_s + slot * 60}"
                    )
            connection.request("POST", "/api/write", "\n".join(lines).encode())
            answer = connection.getresponse()
            answer.read()
            if answer.status != http.client.OK:
                raise SystemExit(f"the server answered {answer.status}")


def ask(
    connection: http.client.HTTPConnection, title: str, body: bytes, accept: str, read: Callable[[bytes], QueryResponse]
) -> None:
    """One row."""
    best_s = read_s = float("inf")
    size = 0
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        connection.request("GET", "/api/query?version=v2", body, {"Accept": accept})
        answer = connection.getresponse()
        content = answer.read()
        best_s = min(best_s, time.perf_counter() - begin)
        if answer.status != http.client.OK:
            raise SystemExit(f"the server answered {answer.status}: {content[:200]!r}")
        begin = time.perf_counter()
        read(content)
        read_s = min(read_s, time.perf_counter() - begin)
        size = len(content)
    print(f"| {title:37} | {size / 1e6:4.1f} | {best_s * 1e3:6.1f} | {read_s * 1e3:12.1f} |", flush=True)


def write_config(folder: Path, port: int, metrics: int) -> Path:
    """A store of its own, open to this machine."""
    document = {
        "main": {"addr": f"127.0.0.1:{port}"},
        "metrics": {f"m{number}": {"frequency": 60, "aggregation": "avg"} for number in range(metrics)},
        "metric-store": {"wal": {"directory": "samples"}},
    }
    path = folder / "metric-store.json"
    path.write_text(json.dumps(document), "utf-8")
    return path


if __name__ == "__main__":
    sys.exit(main())
