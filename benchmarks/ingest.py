"""How many lines of line protocol one process takes: reading alone, and stored with and without the write-ahead log.

    python benchmarks/ingest.py [--directory FOLDER] [--seconds 2] [--kernel c|python]

Batches of nodes with 72 hardware threads and 14 metrics, about 90 bytes a line, one time for each metric, as the agent
sends them; numbers with 8 digits, and with the 17 of full precision. Both kernels, one after the other; with either, C
puts samples in their places if it is there: for the figures of a machine without a compiler build with CC_NO_EXT=1.
Promise, on one core with the log on and 10,000 lines a batch: 10 million lines a second with C, 1 million without;
0.2 million in the mean where every line is of a new series.

Each figure is from the fastest of many rounds over all batches: other programs of the machine only ever make it slower.
The last column is the mean.
"""

import argparse
import random
import tempfile
import threading
import time
from collections.abc import Callable
from itertools import cycle
from pathlib import Path
from statistics import fmean

from _bench import machine

from cc_backend.metricstore import Limits, MetricSpec, MetricStore
from cc_backend.metricstore.index.series_table import SeriesTable
from cc_backend.metricstore.ingest.batch import Rejections
from cc_backend.metricstore.ingest.decode import decode
from cc_backend.metricstore.ingest.native_reader import HAS_NATIVE, KernelName

CLUSTER = "bench"
METRICS = [f"flops_any_{number:02d}" for number in range(14)]
TABLE = {CLUSTER: {name: MetricSpec(60, "sum") for name in METRICS}}
THREADS = 72
START_S = 1_790_000_040
ROUNDS = 6

Batches = list[list[bytes]]
Take = Callable[[bytes, int], int]
"""What takes a batch at a time, and says how many lines it had."""


def batches(lines: int, hosts: int, *, digits: int = 8, odd: bool = False) -> Batches:
    """Rounds of batches: per round one sample of every series, cut into batches of `lines` lines."""
    chance = random.Random(1)
    keys = [
        f"{metric},cluster={CLUSTER},hostname=n{host:04d},type=hwthread,type-id={thread}"
        for host in range(hosts)
        for metric in METRICS
        for thread in range(THREADS)
    ]
    rounds = []
    for number in range(ROUNDS):
        text = [f"{key} value={chance.random() * 1e4:.{digits}g} {START_S + 60 * number}" for key in keys]
        if odd:
            for at in range(0, len(text), 20):
                text[at] = text[at].replace("flops", "events", 1)
        whole = range(0, len(text) - lines + 1, lines)
        rounds.append([("\n".join(text[at : at + lines]) + "\n").encode() for at in whole])
    return rounds


def reading(kernel: KernelName) -> Take:
    """Reads batches and does nothing with the samples."""
    cache = SeriesTable(TABLE, Limits(), threading.RLock(), kernel=kernel).keys.cache_for("")

    def take(batch: bytes, now_s: int) -> int:
        faults = Rejections()
        return len(decode(batch, cache, received_s=now_s, rejections=faults).sids) + sum(faults.counts.values())

    return take


def storing(store: MetricStore) -> Take:
    """Stores batches."""

    def take(batch: bytes, now_s: int) -> int:
        result = store.ingest(batch, received_s=now_s)
        assert result.durable
        return result.accepted + sum(result.rejected.values())

    return take


def measure(take: Take, rounds: Batches, seconds: float) -> tuple[float, float]:
    """Lines a second in the best round and on average; before them, one round registers the series."""
    for batch in rounds[0]:
        take(batch, START_S)
    best_s, total_s, total = float("inf"), 0.0, 0
    for number, round_ in cycle(enumerate(rounds)):
        begin = time.perf_counter()
        lines = sum([take(batch, START_S + 60 * number) for batch in round_])
        taken_s = time.perf_counter() - begin
        best_s, total_s, total = min(best_s, taken_s / lines), total_s + taken_s, total + lines
        if total_s > seconds:
            break
    return 1 / best_s, total / total_s


def row(name: str, best: float, mean: float, log_bytes: float = 0.0) -> None:
    """Print a line of the table."""
    size = f"{log_bytes:.2f}" if log_bytes else ""
    print(f"| {name:<52} | {best / 1e6:9.2f} | {1e9 / best:7.0f} | {size:>10} | {mean / 1e6:9.2f} |", flush=True)


def stored(name: str, folder: Path | None, kernel: KernelName, rounds: Batches, seconds: float) -> None:
    """Measure with a fresh store."""
    with (
        tempfile.TemporaryDirectory(dir=folder) as path,
        MetricStore.open(Path(path) if folder else None, TABLE, now_s=START_S, kernel=kernel) as store,
    ):
        best, mean = measure(storing(store), rounds, seconds)
        counters = store.counters()
    row(name, best, mean, counters.log.size_bytes / counters.accepted if folder else 0.0)


def new_series(kernel: KernelName, folder: Path) -> None:
    """The first batch of each node after a start without any data, with a log: every line brings a series."""
    lines = len(METRICS) * THREADS
    firsts = batches(lines, 100)[0]
    with (
        tempfile.TemporaryDirectory(dir=folder) as path,
        MetricStore.open(Path(path), TABLE, now_s=START_S, kernel=kernel) as store,
    ):
        seconds = []
        for batch in firsts:
            begin_s = time.thread_time()
            assert storing(store)(batch, START_S) == lines
            seconds.append(time.thread_time() - begin_s)
    row(f"{kernel}: first batch of a node, {lines} new series, log", lines / min(seconds), lines / fmean(seconds))


def safe_on_disk(folder: Path, kernel: KernelName, seconds: float, threads: int) -> None:
    """Several threads with a log that waits for the disk: they share its calls."""
    rounds = batches(1000, 10)
    means = [0.0] * threads
    with (
        tempfile.TemporaryDirectory(dir=folder) as path,
        MetricStore.open(Path(path), TABLE, now_s=START_S, fsync="always", kernel=kernel) as store,
    ):

        def work(number: int) -> None:
            means[number] = measure(storing(store), rounds, seconds)[1]

        running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()
    row(f"{kernel}: 1000 lines, fsync always, {threads} threads", sum(means), sum(means))


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--directory", type=Path, default=Path.cwd(), help="where the log is written; a real disk")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--kernel", choices=("c", "python"), help="only this one")
    options = parser.parse_args()
    folder, seconds = options.directory, options.seconds
    kernels: list[KernelName] = ["c", "python"] if HAS_NATIVE else ["python"]
    print(machine())
    print(f"| {'what':<52} | {'M lines/s':>9} | {'ns/line':>7} | {'log B/line':>10} | {'mean':>9} |")
    print(f"|{'-' * 54}|{'-' * 10}:|{'-' * 8}:|{'-' * 11}:|{'-' * 10}:|")
    for kernel in [options.kernel] if options.kernel else kernels:
        for lines, hosts in ((100, 2), (1000, 10), (10_000, 10)):
            for digits in (8, 17):
                rounds, name = batches(lines, hosts, digits=digits), f"{kernel}: {lines} lines, {digits} digits"
                row(f"{name}, read only", *measure(reading(kernel), rounds, seconds))
                stored(f"{name}, stored, no log", None, kernel, rounds, seconds)
                stored(f"{name}, stored, log", folder, kernel, rounds, seconds)
            odd = batches(lines, hosts, odd=True)
            stored(f"{kernel}: {lines} lines, log, 5 % unknown metrics", folder, kernel, odd, seconds)
        new_series(kernel, folder)
        for threads in (1, 8):
            safe_on_disk(folder, kernel, seconds, threads)


if __name__ == "__main__":
    main()
