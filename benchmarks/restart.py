"""How soon a store answers after a restart, when it is whole, and what snapshots cost those who send samples.

    python benchmarks/restart.py [--series 1000000] [--hours 12] [--log-minutes 30] [--directory FOLDER]

Nodes with 10 series of their own and 72 hardware threads x 14 metrics, one sample a minute, noise in full precision.
One process fills a folder (the last minutes are in the log only) and is killed; another one opens it. Then node batches
come in at a steady pace, first alone, then while one snapshot after the other is taken. Promises for a million series
over 12 hours: whole in 60 s, and with snapshots the 99th percentile of a batch at most three times that without.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from _bench import machine

from cc_backend.metricstore import Limits, MetricSpec, MetricStore, Query

CLUSTER = "orion"
STEP_S = 60
END_S = 1_790_000_040
THREADS = 72
NODE_METRICS = [f"node_metric_{number}" for number in range(10)]
THREAD_METRICS = [f"thread_metric_{number}" for number in range(14)]
PER_NODE = len(NODE_METRICS) + THREADS * len(THREAD_METRICS)
TABLE = {CLUSTER: {name: MetricSpec(STEP_S, "sum") for name in NODE_METRICS + THREAD_METRICS}}
BATCHES_A_SECOND = 100  # of about a thousand lines: six times what a million series send on average
PACED_S = 20.0


def opened(folder: Path, nodes: int, *, background: bool = False) -> MetricStore:
    """The store of the benchmark."""
    limits = Limits(series=2 * nodes * PER_NODE)
    return MetricStore.open(folder, TABLE, now_s=END_S, limits=limits, background=background)


def batch(node: int, time_s: int) -> bytes:
    """What a node sends in a minute."""
    tags = f"cluster={CLUSTER},hostname=n{node:04d},type"
    values = np.random.default_rng(node + time_s).normal(100, 10, PER_NODE).astype(np.float32).tolist()
    keys = [f"{metric},{tags}=node" for metric in NODE_METRICS] + [
        f"{metric},{tags}=hwthread,type-id={thread}" for metric in THREAD_METRICS for thread in range(THREADS)
    ]
    return "\n".join(f"{key} value={value!r} {time_s}" for key, value in zip(keys, values, strict=True)).encode()


def fill(folder: Path, nodes: int, slots: int, log_slots: int) -> None:
    """Fill a folder; samples go in without text, to be quick. Ends without closing anything."""
    store = opened(folder, nodes)
    begin_s = END_S - STEP_S * slots
    for node in range(nodes):
        assert store.ingest(batch(node, begin_s), received_s=END_S).accepted == PER_NODE
    table, log = store._table, store._log  # noqa: SLF001 past the text
    assert log is not None
    sids = np.arange(nodes * PER_NODE)
    chance = np.random.default_rng(1)
    for slot in range(1, slots):
        values = chance.normal(100, 10, len(sids)).astype(np.float32)
        time_s = begin_s + STEP_S * slot
        if slot == slots - log_slots:
            store.upkeep(time_s, {})
            assert store.snapshot(time_s)
        if slot >= slots - log_slots:
            for part in np.array_split(np.arange(len(sids)), nodes):
                log.append(sids[part], values[part], time_s, received_s=time_s, encoded_names=table.encoded_names)
        table.columns.store_samples(sids, values, time_s)
        if slot % 60 == 0:
            store.upkeep(time_s, {})


def restart(folder: Path, nodes: int, slots: int) -> dict[str, float]:
    """Open the folder and see what it can do when."""
    begin, begin_cpu = time.perf_counter(), time.process_time()
    store = opened(folder, nodes, background=True)
    found = {"open_s": time.perf_counter() - begin}
    queries = [Query(metric, "n0001") for metric in NODE_METRICS]
    store.query(CLUSTER, queries, from_s=END_S - 3600, to_s=END_S)
    found["first_answer_s"] = time.perf_counter() - begin
    assert store.ingest(batch(1, END_S), received_s=END_S).durable
    found["first_batch_s"] = time.perf_counter() - begin
    found["first_batch_cpu_s"] = time.process_time() - begin_cpu
    slowest = 0.0
    while store.restoring:
        asked = time.perf_counter()
        (rows, *_) = store.query(CLUSTER, queries, from_s=END_S - 3600, to_s=END_S)
        slowest = max(slowest, time.perf_counter() - asked)
        if "last_hour_s" not in found and rows and not np.isnan(rows[0].data).any():
            found["last_hour_s"] = time.perf_counter() - begin
        time.sleep(0.01)
    found["whole_s"] = time.perf_counter() - begin
    found["whole_cpu_s"] = time.process_time() - begin_cpu
    found.setdefault("last_hour_s", found["whole_s"])
    found["slowest_answer_s"] = slowest
    for node in range(0, nodes, max(nodes // 50, 1)):
        for row in store.query(CLUSTER, [Query(THREAD_METRICS[3], f"n{node:04d}", "hwthread")],
                               from_s=END_S - STEP_S * slots, to_s=END_S)[0]:  # fmt: skip
            assert not np.isnan(row.data).any(), "not whole"
    found["peak_gb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    state = store.counters()
    found["as_they_are"] = state.restore.chunks_adopted / max(state.restore.chunks, 1)
    found["log_gb"] = state.log.size_bytes / 1e9
    found["snapshot_gb"] = state.snapshots.size_bytes / 1e9
    found |= {f"alone_{name}": value for name, value in paced(store, nodes, threading.Event(), PACED_S).items()}
    found |= beside_snapshots(store, nodes)
    store.close()
    return found


def paced(store: MetricStore, nodes: int, until: threading.Event, seconds: float) -> dict[str, float]:
    """Take batches at a steady pace, for so long and as long as `until` is not set; percentiles of their seconds."""
    took: list[float] = []
    batches = [batch(node, END_S + STEP_S) for node in range(min(nodes, 100))]
    begin = time.perf_counter()
    while (now := time.perf_counter() - begin) < seconds and not until.is_set():
        due = len(took) / BATCHES_A_SECOND
        if now < due:
            time.sleep(due - now)
        asked = time.perf_counter()
        assert store.ingest(batches[len(took) % len(batches)], received_s=END_S + STEP_S).durable
        took.append(time.perf_counter() - asked)
    return {"batches": len(took), "p50_ms": 1e3 * float(np.percentile(took, 50)),
            "p99_ms": 1e3 * float(np.percentile(took, 99)), "longest_ms": 1e3 * max(took)}  # fmt: skip


def beside_snapshots(store: MetricStore, nodes: int) -> dict[str, float]:
    """The same while one snapshot after the other is taken, each of all blocks of the window in use."""
    table = store._table  # noqa: SLF001 past the text
    sids = np.arange(0, table.series_count, 500)  # one sample makes a block one with changes
    ended = threading.Event()
    took: list[float] = []

    def snapshots() -> None:
        begin, slot = time.perf_counter(), 2
        while time.perf_counter() - begin < PACED_S:
            with store._memory:  # noqa: SLF001
                table.columns.store_samples(sids, np.full(len(sids), 1.5, np.float32), END_S + slot * STEP_S)
            asked = time.perf_counter()
            assert store.snapshot(END_S + slot * STEP_S)
            took.append(time.perf_counter() - asked)
            slot += 1
        ended.set()

    thread = threading.Thread(target=snapshots)
    thread.start()
    found = paced(store, nodes, ended, 600)
    thread.join()
    return {f"beside_{name}": value for name, value in found.items()} | {
        "snapshots": len(took), "first_snapshot_s": took[0], "snapshot_s": float(np.median(took)),
    }  # fmt: skip


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=1_000_000)
    parser.add_argument("--hours", type=float, default=12)
    parser.add_argument("--log-minutes", type=int, default=30, help="so much is in the log only")
    parser.add_argument("--directory", type=Path)
    parser.add_argument("--step", choices=("fill", "restart"), help="only this one, in FOLDER")
    options = parser.parse_args()
    nodes = max(options.series // PER_NODE, 2)
    slots = round(options.hours * 3600 / STEP_S)
    if options.step == "fill":
        fill(options.directory, nodes, slots, options.log_minutes)
        os.kill(os.getpid(), signal.SIGKILL)
    if options.step == "restart":
        print(json.dumps(restart(options.directory, nodes, slots)))
        return
    print(machine())
    with tempfile.TemporaryDirectory(dir=options.directory) as folder:
        command = [sys.executable, __file__, "--series", str(options.series), "--hours", str(options.hours)]
        command += ["--log-minutes", str(options.log_minutes), "--directory", folder]
        begin = time.perf_counter()
        filled = subprocess.run([*command, "--step", "fill"], check=False)
        if filled.returncode != -signal.SIGKILL:
            raise SystemExit("the folder could not be filled")
        print(f"{nodes * PER_NODE} series x {slots} samples, filled in {time.perf_counter() - begin:.0f} s\n")
        done = subprocess.run([*command, "--step", "restart"], check=True, capture_output=True, text=True)
        show(json.loads(done.stdout))


def show(found: dict[str, float]) -> None:
    """The table."""
    print("| after a kill | |")
    print("|---|---:|")
    print(f"| snapshots, GB | {found['snapshot_gb']:.2f} |")
    print(f"| log, GB | {found['log_gb']:.2f} |")
    for name, words in (
        ("open_s", "store opened"), ("first_answer_s", "first answer"), ("first_batch_s", "first batch taken"),
        ("first_batch_cpu_s", "processor time until then"), ("last_hour_s", "last hour of a node whole"),
        ("whole_s", "whole"), ("whole_cpu_s", "processor time until then"), ("slowest_answer_s", "slowest answer"),
    ):  # fmt: skip
        print(f"| {words}, s | {found[name]:.3f} |")
    print(f"| blocks taken as they are | {100 * found['as_they_are']:.0f} % |")
    print(f"| memory at most, GB | {found['peak_gb']:.2f} |\n")
    print(f"{BATCHES_A_SECOND} batches of {PER_NODE} lines a second; {found['snapshots']:.0f} snapshots, the first in "
          f"{found['first_snapshot_s']:.1f} s, half of them in {found['snapshot_s']:.1f} s")  # fmt: skip
    print("| batch | alone | beside snapshots | ratio |")
    print("|---|---:|---:|---:|")
    for name, words in (("p50_ms", "median, ms"), ("p99_ms", "99 %, ms"), ("longest_ms", "longest, ms")):
        alone, beside = found[f"alone_{name}"], found[f"beside_{name}"]
        print(f"| {words} | {alone:.2f} | {beside:.2f} | {beside / alone:.1f} |")


if __name__ == "__main__":
    main()
