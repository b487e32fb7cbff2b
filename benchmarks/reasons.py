"""Time to find out why samples of a job are missing.

    python benchmarks/reasons.py [--nodes 64] [--metrics 10] [--hours 24] [--others 3]

A job of 64 nodes with 10 node metrics and `--others` x 72 series of hardware threads, 24 hours at 60 s. Asked is about
all its metrics, as the job's page does it where each of them lacks something. Promise: within 200 ms, hot or cold.
"""

import argparse
import threading
import time
from collections.abc import Callable

import numpy as np
from _bench import machine

from cc_backend.metricstore import MetricSpec, MetricStore, Query
from cc_backend.metricstore.gaps.analysis import GapQuery
from cc_backend.metricstore.gaps.reasons import merge_hosts
from cc_backend.metricstore.model import HostPart, Identity, Int64Array
from cc_backend.model import DataGap

CLUSTER = "orion"
START_S = 1_790_000_040
STEP_S = 60
THREADS = 72


def best_of(run: Callable[[], object], times: int = 5) -> float:
    """Milliseconds of this thread in the fastest run."""
    best = float("inf")
    for _ in range(times):
        begin = time.thread_time()
        run()
        best = min(best, time.thread_time() - begin)
    return best * 1e3


def filled(
    hosts: list[str], metrics: dict[str, int], slots: int, silent: Callable[[Int64Array, int], Int64Array]
) -> MetricStore:
    """A store with every sample that `silent`, asked with the numbers of the hosts and a slot, leaves over."""
    table = {CLUSTER: {name: MetricSpec(STEP_S, "sum") for name in metrics}}
    store = MetricStore.open(None, table, now_s=START_S)
    series = store._table  # noqa: SLF001 samples go in without text, to be quick
    identities, of_host = [], []
    for number, host in enumerate(hosts):
        for name, parts in metrics.items():
            own = [HostPart()] if parts == 1 else [HostPart("hwthread", str(part)) for part in range(parts)]
            identities += [Identity(CLUSTER, host, name, part) for part in own]
            of_host += [number] * parts
    sids, hosts_of = series.register_many(identities), np.array(of_host)
    values = np.random.default_rng(1).normal(100, 10, len(sids)).astype(np.float32)
    for slot in range(slots):
        there = ~np.isin(hosts_of, silent(np.arange(len(hosts)), slot))
        if there.any():
            series.columns.store_samples(sids[there], values[there], START_S + STEP_S * slot)
    return store


def one_node_for_an_hour(hosts: Int64Array, slot: int) -> Int64Array:
    """One node is silent for 68 minutes."""
    return hosts[:1] if 600 <= slot < 668 else hosts[:0]


def all_nodes_for_an_hour(hosts: Int64Array, slot: int) -> Int64Array:
    """All nodes are silent for 68 minutes."""
    return hosts if 600 <= slot < 668 else hosts[:0]


def each_node_now_and_then(hosts: Int64Array, slot: int) -> Int64Array:
    """Every node is silent for 4 minutes in each hour, each at its own time."""
    return hosts[(slot + hosts) % 60 < 4]


def measured(store: MetricStore, asked: list[list[GapQuery]], now_s: int) -> str:
    """The numbers of one row: time to ask for everything, time to fold it, and how many stretches that is."""
    everything = [one for questions in asked for one in questions]
    ask = best_of(lambda: store.explain_gaps(CLUSTER, everything, now_s=now_s))
    found = [store.explain_gaps(CLUSTER, questions, now_s=now_s) for questions in asked]
    by_metric = [[one for absences in of_metric for one in absences] for of_metric in found]

    def fold() -> list[tuple[DataGap, ...]]:
        return [merge_hosts(absences, tolerance_s=2 * STEP_S) for absences in by_metric]

    return f"{ask:.1f} | {best_of(fold):.1f} | {sum(map(len, by_metric))} | {sum(map(len, fold()))}"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=64)
    parser.add_argument("--metrics", type=int, default=10)
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--others", type=int, default=3, help="metrics of hardware threads beside them")
    options = parser.parse_args()
    metrics = {f"node_metric_{number}": 1 for number in range(options.metrics)}
    metrics |= {f"thread_metric_{number}": THREADS for number in range(options.others)}
    hosts = [f"n{number:03d}" for number in range(options.nodes)]
    slots = options.hours * 3600 // STEP_S
    to_s = START_S + STEP_S * slots
    asked = [[GapQuery(Query(name, host), START_S, to_s) for host in hosts] for name in metrics]
    print(machine())
    print(f"{options.nodes} nodes, {len(metrics)} metrics, {slots} samples a series")
    print("| silent | state | all reasons, ms | in words for people, ms | stretches | folded |")
    print("|---|---|---:|---:|---:|---:|")
    for silent in (one_node_for_an_hour, all_nodes_for_an_hour, each_node_now_and_then):
        store = filled(hosts, metrics, slots, silent)
        for state in ("hot", "cold"):
            if state == "cold":
                for grid in store._table.columns.grids:  # noqa: SLF001 see above
                    grid.windows.compress(to_s // STEP_S + 1000, threading.RLock())
            print(
                f"| {silent.__name__.replace('_', ' ')} | {state} | {measured(store, asked, to_s + 600)} |", flush=True
            )


if __name__ == "__main__":
    main()
