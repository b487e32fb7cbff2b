"""Memory of the store per sample, as memory of the process: everything around the samples counts.

    python benchmarks/memory.py [--series 1000000] [--hours 12] [--archive FOLDER]

Nodes with 10 series of their own and 72 hardware threads x 14 metrics, one sample a minute. The values are noise in
full precision (normal, mean 100, deviation 10), or those of a job archive (`--archive`), again and again. Each case
runs in a process of its own. Promises for a million series over 12 hours: at most 6 bytes a sample hot, 3.2 compressed
noise, 2.2 compressed real data.
"""

import argparse
import gzip
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from _bench import machine, resident_bytes

from cc_backend.metricstore import MetricSpec, MetricStore
from cc_backend.metricstore.blocks.hot_block import WINDOW_SLOTS
from cc_backend.metricstore.index.series_table import SeriesTable
from cc_backend.metricstore.model import Limits

CLUSTER = "orion"
START_S = 1_790_000_040
STEP_S = 60
THREADS = 72
NODE_METRICS = [f"node_metric_{number}" for number in range(10)]
THREAD_METRICS = [f"thread_metric_{number}" for number in range(14)]
PER_NODE = len(NODE_METRICS) + THREADS * len(THREAD_METRICS)
HOT_S = 2 * 3600
CASES = ("table", "hot", "mixed", "cold")

Values = Callable[[int], npt.NDArray[np.float32]]


def noise(series: int) -> Values:
    """Full precision."""
    chance = np.random.default_rng(1)
    return lambda _slot: chance.normal(100, 10, series).astype(np.float32)


def of_archive(folder: Path, series: int) -> Values:
    """The series of all jobs of an archive, each series beginning somewhere else."""
    rows = []
    for path in sorted(folder.rglob("data.json.gz")):
        document = json.loads(gzip.decompress(path.read_bytes()))
        for metric in document.values():
            for scope in metric.values():
                rows += [[np.nan if x is None else x for x in one["data"]] for one in scope["series"]]
    length = min(len(row) for row in rows)
    matrix = np.array([row[:length] for row in rows], np.float32).T.copy()
    which = np.arange(series) % len(rows)
    begin = np.arange(series) // len(rows) * 97
    return lambda slot: matrix[(begin + slot) % length, which]


def opened(nodes: int) -> tuple[MetricStore, SeriesTable]:
    """A store that knows all series, having taken one batch of lines from each node."""
    names = NODE_METRICS + THREAD_METRICS
    limits = Limits(series=2 * nodes * PER_NODE)
    table = {CLUSTER: {name: MetricSpec(STEP_S, "sum") for name in names}}
    store = MetricStore.open(None, table, now_s=START_S, limits=limits)
    for node in range(nodes):
        tags = f"cluster={CLUSTER},hostname=n{node:04d},type"
        lines = [f"{metric},{tags}=node value=1.5 {START_S}" for metric in NODE_METRICS] + [
            f"{metric},{tags}=hwthread,type-id={thread} value=1.5 {START_S}"
            for metric in THREAD_METRICS
            for thread in range(THREADS)
        ]
        assert store.ingest("\n".join(lines).encode(), received_s=START_S).accepted == PER_NODE
    return store, store._table  # noqa: SLF001 samples go in without text, to be quick


def run(case: str, nodes: int, slots: int, archive: Path | None) -> dict[str, float]:
    """Fill a store and see what it takes."""
    series = nodes * PER_NODE
    values = noise(series) if archive is None else of_archive(archive, series)
    values(0)
    lock = threading.RLock()
    before = resident_bytes()
    store, table = opened(nodes)
    sids = np.arange(series)
    frozen_s = 0.0
    for slot in range(slots if case != "table" else 1):
        table.columns.store_samples(sids, values(slot), START_S + STEP_S * slot)
        if case in {"mixed", "cold"} and (slot % 30 == 0 or slot == slots - 1):
            end_slot = START_S // STEP_S + slot + 1
            until = end_slot - HOT_S // STEP_S if case == "mixed" else end_slot
            begin = time.perf_counter()
            for grid in table.columns.grids:
                grid.windows.compress(until + (WINDOW_SLOTS if case == "cold" and slot == slots - 1 else 0), lock)
            frozen_s += time.perf_counter() - begin
    samples = series * (slots if case != "table" else 1)
    return {
        "process_bytes": resident_bytes() - before,
        "sample_bytes": store.counters().sample_bytes,
        "samples": samples,
        "frozen_s": frozen_s,
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", type=int, default=1_000_000)
    parser.add_argument("--hours", type=float, default=12)
    parser.add_argument("--archive", type=Path, help="a job archive with data.json.gz files")
    parser.add_argument("--case", choices=CASES, help="only this one, as JSON")
    options = parser.parse_args()
    nodes = max(options.series // PER_NODE, 1)
    slots = round(options.hours * 3600 / STEP_S)
    if options.case:
        print(json.dumps(run(options.case, nodes, slots, options.archive)))
        return
    print(machine())
    print(f"{nodes} nodes x {PER_NODE} series = {nodes * PER_NODE}, {slots} samples each, one a minute")
    print("| values | case | process bytes a sample | sample bytes of the store | seconds of compressing |")
    print("|---|---|---:|---:|---:|")
    for words, archive in (("noise", None), ("archive", options.archive)):
        if words == "archive" and archive is None:
            continue
        for case in CASES if archive is None else CASES[2:]:
            more = [] if archive is None else ["--archive", str(archive)]
            given = ["--series", str(options.series), "--hours", str(options.hours), "--case", case, *more]
            done = subprocess.run([sys.executable, __file__, *given], check=True, capture_output=True, text=True)
            found = json.loads(done.stdout)
            each = found["process_bytes"] / found["samples"]
            shown = found["sample_bytes"] / found["samples"]
            print(f"| {words} | {case} | {each:.2f} | {shown:.2f} | {found['frozen_s']:.1f} |", flush=True)


if __name__ == "__main__":
    main()
