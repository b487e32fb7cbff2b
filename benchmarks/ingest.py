"""How many lines of line protocol one process takes, with and without the write-ahead log.

    python benchmarks/ingest.py [--directory FOLDER] [--seconds 2]

Node batches: 14 metrics of 72 hardware threads, about 90 bytes a line, one timestamp, full-precision values, as the
agent sends them. Promise: at least 1 million lines a second on one core without the C extension.
"""

import argparse
import os
import platform
import random
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from cc_backend.metricstore import MetricSpec, MetricStore

CLUSTER = "orion"
METRICS = [f"flops_metric_{number}" for number in range(14)]
TABLE = {CLUSTER: {name: MetricSpec(60, "sum") for name in METRICS}}
THREADS = 72
START_S = 1_790_000_040
ROUNDS = 8


def machine() -> str:
    """One line about where this ran."""
    lines = Path("/proc/cpuinfo").read_text(encoding="ascii").splitlines()
    model = next((line.split(": ")[1] for line in lines if line.startswith("model name")), platform.processor())
    versions = f"Linux {platform.release()}, Python {platform.python_version()}, NumPy {np.__version__}"
    return f"{model}, {os.cpu_count()} cores, {versions}"


def batches(lines: int, hosts: int, seed: int = 1, *, odd: bool = False) -> list[list[bytes]]:
    """Rounds of batches: per round one sample of every series, cut into batches of `lines` lines."""
    chance = random.Random(seed)
    keys = [
        f"{metric},cluster={CLUSTER},hostname=n{host:03d},type=hwthread,type-id={thread}"
        for host in range(hosts)
        for metric in METRICS
        for thread in range(THREADS)
    ]
    rounds = []
    for number in range(ROUNDS):
        text = [f"{key} value={chance.random() * 1e4!r} {START_S + 60 * number}" for key in keys]
        if odd:
            for at in range(0, len(text), 20):
                text[at] = text[at].replace("flops", "events", 1)
        rounds.append([("\n".join(text[at : at + lines]) + "\n").encode() for at in range(0, len(text), lines)])
    return rounds


def measure(store: MetricStore, rounds: list[list[bytes]], seconds: float) -> float:
    """Lines a second; the first round registers the series and does not count."""
    for batch in rounds[0]:
        store.ingest(batch, received_s=START_S)
    lines = 0
    begin = time.perf_counter()
    while time.perf_counter() - begin < seconds:
        for number, batches_of_round in enumerate(rounds):
            for batch in batches_of_round:
                result = store.ingest(batch, received_s=START_S + 60 * number)
                assert result.durable
                lines += result.accepted + sum(result.rejected.values())
    return lines / (time.perf_counter() - begin)


def measure_threads(store: MetricStore, rounds: list[list[bytes]], seconds: float, threads: int) -> float:
    """Lines a second of several threads together."""
    rates = [0.0] * threads

    def work(number: int) -> None:
        rates[number] = measure(store, rounds, seconds)

    running = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()
    return sum(rates)


def row(name: str, folder: Path | None, run: Callable[[MetricStore], float], fsync: str = "interval") -> None:
    """Measure with a fresh store and print a line of the table."""
    with tempfile.TemporaryDirectory(dir=folder) if folder else tempfile.TemporaryDirectory() as name_of_log:
        path = Path(name_of_log) if folder else None
        with MetricStore.open(path, TABLE, now_s=START_S, fsync=fsync) as store:  # type: ignore[arg-type]  # a mode
            rate = run(store)
            counters = store.counters()
        size = counters.log.size_bytes / counters.accepted if path and counters.accepted else 0.0
    print(f"| {name:<44} | {rate / 1e6:12.2f} | {1e9 / rate:8.0f} | {size:16.2f} |")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--directory", type=Path, default=Path.cwd(), help="where the log is written; a real disk")
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    print(machine())
    print(f"| {'what':<44} | {'M lines/s':>12} | {'ns/line':>8} | {'log bytes/sample':>16} |")
    print(f"|{'-' * 46}|{'-' * 13}:|{'-' * 9}:|{'-' * 17}:|")
    folder, seconds = options.directory, options.seconds
    for lines, hosts in ((100, 2), (1000, 10), (10_000, 40)):
        plain, odd = batches(lines, hosts), batches(lines, hosts, odd=True)
        row(f"{lines} lines, no log", None, partial(measure, rounds=plain, seconds=seconds))
        row(f"{lines} lines, log", folder, partial(measure, rounds=plain, seconds=seconds))
        row(f"{lines} lines, log, 5 % unknown metrics", folder, partial(measure, rounds=odd, seconds=seconds))
    plain = batches(1000, 10)
    for threads in (1, 8):
        run = partial(measure_threads, rounds=plain, seconds=seconds, threads=threads)
        row(f"1000 lines, log, fsync always, {threads} threads", folder, run, "always")


if __name__ == "__main__":
    main()
