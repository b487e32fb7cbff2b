"""Time to answer the questions of a job's page: from samples as they came, compressed ones, and ones on disk only.

    python benchmarks/query.py [--nodes 64] [--metrics 10] [--hours 24] [--others 3]

A job of 64 nodes with 10 node metrics at 60 s, on nodes that also have `--others` x 72 series of hardware threads.
Promises: the job's node metrics within 50 ms, hot or cold; 72 hardware threads combined per node within 30 ms, hot.
"""

import argparse
import tempfile
import threading
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from _bench import machine

from cc_backend.metricstore import MetricSpec, MetricStore, Query
from cc_backend.metricstore.blocks.codec import choose_codec
from cc_backend.metricstore.blocks.file_slice import FileSlice, SliceFile
from cc_backend.metricstore.blocks.grid import Grid
from cc_backend.metricstore.index.series_table import SeriesTable
from cc_backend.metricstore.model import HostPart, Identity

CLUSTER = "orion"
START_S = 1_790_000_040
STEP_S = 60
THREADS = 72


def best_of(run: Callable[[], object], times: int = 9) -> float:
    """Milliseconds of this thread in the fastest run, so that what else the machine does counts little."""
    best = float("inf")
    for _ in range(times):
        begin = time.thread_time()
        run()
        best = min(best, time.thread_time() - begin)
    return best * 1e3


def filled(
    nodes: int, node_metrics: list[str], thread_metrics: list[str], slots: int
) -> tuple[MetricStore, SeriesTable]:
    """A store with noise in full precision, two decimals for every other series."""
    names = node_metrics + thread_metrics
    table = {CLUSTER: {name: MetricSpec(STEP_S, "sum") for name in names}}
    store = MetricStore.open(None, table, now_s=START_S)
    series: SeriesTable = store._table  # noqa: SLF001 samples go in without text, to be quick
    identities = [
        Identity(CLUSTER, f"n{node:03d}", metric, part)
        for node in range(nodes)
        for metric, part in [
            *((metric, HostPart()) for metric in node_metrics),
            *((metric, HostPart("hwthread", str(number))) for metric in thread_metrics for number in range(THREADS)),
        ]
    ]
    sids = series.register_many(identities)
    chance = np.random.default_rng(1)
    for slot in range(slots):
        values = chance.normal(100, 10, len(sids)).astype(np.float32)
        values[::2] = np.round(values[::2].astype(np.float64), 2)
        series.columns.store_samples(sids, values, START_S + STEP_S * slot)
    return store, series


def leave(grid: Grid) -> None:
    """Put all cold blocks into files, as they are under the memory cap; the files are in the page cache then."""
    with tempfile.TemporaryDirectory() as folder:
        for window in grid.windows.numbers():
            contents = [(chunk, grid.windows.block_content(window, chunk)) for chunk in grid.windows.chunks(window)]
            payloads = [one.payload for _, one in contents if one is not None and isinstance(one.payload, bytes)]
            path = Path(folder) / str(window)
            path.write_bytes(b"".join(payloads))
            file, offset = SliceFile(path), 0
            for (chunk, content), payload in zip(contents, payloads, strict=True):
                assert content is not None
                part = FileSlice(file, offset, len(payload), zlib.crc32(payload))
                grid.windows.mark_saved(window, chunk, content.version, part)
                offset += len(payload)
            grid.windows.evict(window)


def questions(nodes: int, node_metrics: list[str], thread_metric: str) -> list[tuple[str, list[Query]]]:
    """What the job's page and the footprint worker ask."""
    hosts = [f"n{node:03d}" for node in range(nodes)]
    of_nodes = [Query(metric, host) for metric in node_metrics for host in hosts]
    ids = tuple(str(thread) for thread in range(THREADS))
    combined = [Query(thread_metric, host, "hwthread", ids, aggregate=True) for host in hosts]
    apart = [Query(thread_metric, host, "hwthread", ids) for host in hosts]
    return [
        (f"{nodes} nodes x {len(node_metrics)} metrics", of_nodes),
        (f"{nodes} nodes x {THREADS} threads, combined per node", combined),
        (f"{nodes} nodes x {THREADS} threads, each", apart),
    ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--metrics", type=int, default=10)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--others", type=int, default=3, help="metrics of hardware threads beside them")
    options = parser.parse_args()
    node_metrics = [f"node_metric_{number}" for number in range(options.metrics)]
    thread_metrics = [f"thread_metric_{number}" for number in range(options.others)]
    slots = options.hours * 3600 // STEP_S
    to_s = START_S + STEP_S * slots
    print(f"{machine()}, codec in {'C' if choose_codec().native else 'NumPy'}")
    print(f"{options.nodes} nodes, {slots} samples a series")
    print("| question | state | samples, ms | statistics, ms |")
    print("|---|---|---:|---:|")
    store, series = filled(options.nodes, node_metrics, thread_metrics, slots)
    for state in ("hot", "cold", "on disk"):
        for grid in series.columns.grids:
            if state == "cold":
                grid.windows.compress(to_s // STEP_S + 1000, threading.RLock())
            if state == "on disk":
                leave(grid)
        for words, queries in questions(options.nodes, node_metrics, thread_metrics[0]):
            data, summary = (
                best_of(lambda ask=ask, queries=queries: ask(CLUSTER, queries, from_s=START_S, to_s=to_s))  # type: ignore[misc]
                for ask in (store.query, store.statistics)
            )
            print(f"| {words} | {state} | {data:.1f} | {summary:.1f} |", flush=True)


if __name__ == "__main__":
    main()
