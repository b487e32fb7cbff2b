"""Memory of the store per sample, time to read a job's data, and time to start again.

    python benchmarks/query.py [--nodes 64] [--metrics 10] [--hours 24] [--others 10]

A job of 64 nodes with 10 node metrics at 60 s, on nodes that also have `--others` x 72 series of hardware threads.
Promises: at most 6 bytes a kept sample in process memory; the job's data within 50 ms.
"""

import argparse
import gc
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from cc_backend.metricstore import MetricSpec, MetricStore, Query

CLUSTER = "orion"
START_S = 1_790_000_040
THREADS = 72


def machine() -> str:
    """One line about where this ran."""
    lines = Path("/proc/cpuinfo").read_text(encoding="ascii").splitlines()
    model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())
    versions = f"Linux {platform.release()}, Python {platform.python_version()}, NumPy {np.__version__}"
    return f"{model}, {os.cpu_count()} cores, {versions}"


def resident_bytes() -> int:
    """Memory of this process now."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def fill(store: MetricStore, nodes: int, node_metrics: list[str], thread_metrics: list[str], slots: int) -> None:
    """One batch per node and slot, as agents send them."""
    chance = np.random.default_rng(1)
    keys = [
        [
            f"{metric},cluster={CLUSTER},hostname=n{node:03d},type=node value=" for metric in node_metrics
        ] + [
            f"{metric},cluster={CLUSTER},hostname=n{node:03d},type=hwthread,type-id={thread} value="
            for metric in thread_metrics
            for thread in range(THREADS)
        ]
        for node in range(nodes)
    ]  # fmt: skip
    values = [repr(value) for value in (chance.random(4096) * 1e4).tolist()]
    for slot in range(slots):
        time_s = START_S + 60 * slot
        for node, prefixes in enumerate(keys):
            at = (slot * 31 + node * 17) % 3000
            lines = (f"{key}{values[(at + n) % 4096]} {time_s}" for n, key in enumerate(prefixes))
            assert store.ingest("\n".join(lines).encode(), received_s=time_s).durable


def best_of(run: Callable[[], object], times: int = 7) -> float:
    """Milliseconds of the fastest run."""
    best = float("inf")
    for _ in range(times):
        begin = time.perf_counter()
        run()
        best = min(best, time.perf_counter() - begin)
    return best * 1e3


def show(what: str, figure: str) -> None:
    """One line of the table."""
    print(f"| {what:<64} | {figure:>14} |")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--metrics", type=int, default=10)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--others", type=int, default=3, help="metrics of hardware threads beside them")
    parser.add_argument("--directory", type=Path, default=Path.cwd(), help="where the log is written; a real disk")
    options = parser.parse_args()
    node_metrics = [f"node_metric_{number}" for number in range(options.metrics)]
    thread_metrics = [f"thread_metric_{number}" for number in range(options.others)]
    table = {CLUSTER: {name: MetricSpec(60, "sum") for name in node_metrics + thread_metrics}}
    slots = options.hours * 60
    series = options.nodes * (len(node_metrics) + THREADS * len(thread_metrics))
    print(machine())
    show("what", "figure")
    show(f"series: {options.nodes} nodes, {slots} samples each", str(series))
    with tempfile.TemporaryDirectory(dir=options.directory) as name:
        before = resident_bytes()
        with MetricStore.open(Path(name), table, now_s=START_S) as store:
            fill(store, options.nodes, node_metrics, thread_metrics, slots)
            show("process memory a sample, bytes", f"{(resident_bytes() - before) / series / slots:.2f}")
            show("arrays a sample, bytes", f"{store.counters().sample_bytes / series / slots:.2f}")
            show("write-ahead log a sample, bytes", f"{store.counters().log.size_bytes / series / slots:.2f}")
            questions(store, options.nodes, node_metrics, thread_metrics, START_S + 60 * slots)
        begin = time.perf_counter()
        with MetricStore.open(Path(name), table, now_s=START_S) as store:
            seconds = time.perf_counter() - begin
            samples = store.counters().restore.samples
            show("restart, million samples a second", f"{samples / seconds / 1e6:.1f}")


def questions(store: MetricStore, nodes: int, node_metrics: list[str], thread_metrics: list[str], to_s: int) -> None:
    """Time the questions that a job's page and the footprint worker ask."""
    hosts = [f"n{node:03d}" for node in range(nodes)]
    of_nodes = [Query(metric, host) for metric in node_metrics for host in hosts]
    ids = tuple(str(thread) for thread in range(THREADS))
    combined = [Query(thread_metrics[0], host, "hwthread", ids, aggregate=True) for host in hosts]
    apart = [Query(thread_metrics[0], host, "hwthread", ids) for host in hosts]
    for what, queries in (
        (f"{nodes} nodes x {len(node_metrics)} metrics, all samples", of_nodes),
        (f"{nodes} nodes x 1 metric x {THREADS} threads, combined per node", combined),
        (f"{nodes} nodes x 1 metric x {THREADS} threads, each", apart),
    ):
        elapsed = best_of(lambda queries=queries: store.query(CLUSTER, queries, from_s=START_S, to_s=to_s))  # type: ignore[misc]
        show(f"{what}, ms", f"{elapsed:.1f}")
    elapsed = best_of(lambda: store.statistics(CLUSTER, of_nodes, from_s=START_S, to_s=to_s))
    show(f"{nodes} nodes x {len(node_metrics)} metrics, statistics only, ms", f"{elapsed:.1f}")


if __name__ == "__main__":
    main()
