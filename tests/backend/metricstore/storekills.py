"""Kills a store again and again at moments drawn by chance, and checks each acknowledged sample by value.

usage: storekills.py FOLDER ROUNDS [SEED]

A round forks a process that opens the store in the background, takes batches at once, and meanwhile takes snapshots,
compresses and forgets. It is killed with SIGKILL: while it opens, while it restores, in the midst of its work. Another
process then opens the folder and compares every sample. Prints one line with what was counted.
"""

import itertools
import logging
import os
import random
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cc_backend.metricstore import Limits, MetricSpec, MetricStore, Query

logger = logging.getLogger(__name__)

METRICS = {"demo": {"load": MetricSpec(1, "sum")}}
HOSTS = 16
CORES = 72  # more series than one chunk has rows
START_S = 1_790_000_000
RETENTION_S = 500
KEPT_HOST = 3  # a job runs on it all the time
LATE_SHARE = 0.3
MOST_ACKNOWLEDGED = 60
OPENING_S = 0.06


class Batch(NamedTuple):
    """The samples of one second: of all hosts, or late ones of a single host."""

    number: int
    time_s: int
    host: int | None
    now_s: int

    def hosts(self) -> range:
        return range(HOSTS) if self.host is None else range(self.host, self.host + 1)

    def text(self) -> bytes:
        return "\n".join(
            f"load,cluster=demo,hostname=n{host},type=core,type-id={core} value={value(self.number, host, core)} "
            f"{self.time_s}"
            for host in self.hosts()
            for core in range(CORES)
        ).encode()


def value(number: int, host: int, core: int) -> int:
    """What batch `number` says of a core; single precision holds it exactly."""
    return (number * 7919 + host * 131 + core) % 2**24


def batches(number: int, now_s: int, seed: int) -> Iterator[Batch]:
    """The endless stream of batches of one round, the same each time it is asked for."""
    chance = random.Random(seed)  # noqa: S311 not for secrets
    for at in itertools.count(number):
        if chance.random() < LATE_SHARE and now_s > START_S + 1:
            late_s = chance.randrange(max(START_S, now_s - RETENTION_S + 100), now_s)
            yield Batch(at, late_s, chance.randrange(HOSTS), now_s)
        else:
            now_s += 1
            yield Batch(at, now_s, None, now_s)


@dataclass
class Known:
    """What must be in the store: per second and host the last acknowledged batch, and those that may be there."""

    acknowledged: dict[tuple[int, int], int] = field(default_factory=dict)
    in_flight: dict[tuple[int, int], set[int]] = field(default_factory=dict)
    number: int = 0
    now_s: int = START_S
    batches: int = 0

    def take(self, batch: Batch) -> None:
        for host in batch.hosts():
            self.acknowledged[batch.time_s, host] = batch.number
            self.in_flight.pop((batch.time_s, host), None)
        self.number, self.now_s = batch.number + 1, batch.now_s
        self.batches += 1

    def take_perhaps(self, batch: Batch) -> None:
        for host in batch.hosts():
            self.in_flight.setdefault((batch.time_s, host), set()).add(batch.number)
        self.number, self.now_s = batch.number + 1, batch.now_s

    def oldest_s(self, host: int) -> int:
        """From when on samples of a host are looked at."""
        return START_S if host == KEPT_HOST else max(START_S, self.now_s - RETENTION_S - 10)

    def wrong(self, host: int, samples: npt.NDArray[np.float32]) -> list[str]:
        """What is wrong with the samples of a host: a row per core, a column per second since `oldest_s`."""
        faults = []
        times_s = range(self.oldest_s(host), self.oldest_s(host) + samples.shape[1])
        numbers = np.array([self.acknowledged.get((time_s, host), -1) for time_s in times_s])
        likely = (numbers * 7919 + host * 131 + np.arange(CORES)[:, np.newaxis]) % 2**24
        for column in np.flatnonzero((samples != likely).any(axis=0) | (numbers < 0)).tolist():
            time_s, found = times_s[column], samples[:, column]
            last = self.acknowledged.get((time_s, host))
            allowed = {last, *self.in_flight.get((time_s, host), ())} - {None}
            is_old = host != KEPT_HOST and time_s < self.now_s - RETENTION_S + 1
            if last is None or is_old:
                allowed.add(None)
            # of a host whose rows are in two chunks, one may be gone and the other stay with the host that is kept
            looked_at = ~np.isnan(found) if is_old else np.ones(CORES, np.bool_)
            if not any(np.array_equal(found[looked_at], row(n, host)[looked_at], equal_nan=True) for n in allowed):
                faults.append(f"host={host} time={time_s} acknowledged={last} allowed={allowed} found={found[:3]}")
        return faults


def row(number: int | None, host: int) -> npt.NDArray[np.float32]:
    """What a batch says of all cores of a host."""
    if number is None:
        return np.full(CORES, np.nan, np.float32)
    return np.array([value(number, host, core) for core in range(CORES)], np.float32)


def opened(folder: Path, *, now_s: int, background: bool) -> MetricStore:
    """The store as each process of this program opens it."""
    return MetricStore.open(
        folder, METRICS, now_s=now_s, retention_s=RETENTION_S, hot_s=100, segment_bytes=200_000,
        fsync_interval_s=0.005, limits=Limits(), background=background,
    )  # fmt: skip


def keep_in_order(store: MetricStore, now_s: Callable[[], int], seed: int) -> None:
    """Snapshots and upkeep without a pause, as long as the process lives."""
    chance = random.Random(seed)  # noqa: S311 not for secrets
    protected = {"demo": {f"n{KEPT_HOST}": START_S}}
    try:
        while True:
            if chance.random() < 0.5:
                store.snapshot(now_s())
            else:
                store.upkeep(now_s(), protected)
            time.sleep(chance.uniform(0, 0.005))
    except BaseException:
        logger.exception("upkeep")
        os._exit(3)


def work(folder: Path, known: Known, seed: int, acknowledge: int) -> None:
    """What a process does until it is killed."""
    now_s = known.now_s
    store = opened(folder, now_s=now_s, background=True)
    threading.Thread(target=keep_in_order, args=(store, lambda: now_s, seed), daemon=True).start()
    for batch in batches(known.number, known.now_s, seed):
        now_s = batch.now_s
        if not store.ingest(batch.text(), received_s=now_s).durable:
            raise RuntimeError("a batch was not taken")
        os.write(acknowledge, b"%d\n" % batch.number)


def forked(job: Callable[[], object]) -> int:
    """The process that does a job; it ends with 0, or with 3 if that failed."""
    process = os.fork()
    if process:
        return process
    try:
        job()
    except BaseException:
        logger.exception("forked process")
        os._exit(3)
    os._exit(0)


def killed_at_some_moment(folder: Path, known: Known, seed: int, chance: random.Random) -> list[int]:
    """Let a process work, kill it; the batches that it acknowledged."""
    out, into = os.pipe()
    process = forked(lambda: work(folder, known, seed, into))
    os.close(into)
    text = b""
    if chance.random() < 0.4:  # opening and restoring take a good part of a short life
        select.select([out], [], [], chance.uniform(0, OPENING_S))
    else:
        wanted = chance.randrange(1, MOST_ACKNOWLEDGED)
        while text.count(b"\n") < wanted and (piece := os.read(out, 4096)):
            text += piece
        time.sleep(chance.uniform(0, 0.002))
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    while piece := os.read(out, 4096):
        text += piece
    os.close(out)
    if not os.WIFSIGNALED(status):
        raise SystemExit(f"a process ended by itself: {status}")
    return [int(line) for line in text.split(b"\n")[:-1]]


def check(folder: Path, known: Known) -> None:
    """Open the folder and compare; SystemExit says what is wrong."""
    with opened(folder, now_s=known.now_s, background=False) as store:
        store.validate()
        state = store.counters()
        faults = [] if not state.restore.damaged_chunks else ["damaged chunks"]
        if state.series > HOSTS * CORES:
            faults.append(f"series={state.series}")
        for host in range(HOSTS):
            (rows,) = store.query(
                "demo", [Query("load", f"n{host}", "core", tuple(map(str, range(CORES))))],
                from_s=known.oldest_s(host), to_s=known.now_s + 2,
            )  # fmt: skip
            if rows:
                faults += known.wrong(host, np.array([one.data for one in rows]))
            elif known.acknowledged:
                faults.append(f"host={host} has no series")
    if faults:
        raise SystemExit("\n".join([*faults[:10], f"wrong: {len(faults)}"]))


def main(folder: Path, rounds: int, seed: int) -> None:
    """Kill and check, so many times."""
    chance = random.Random(seed)  # noqa: S311 not for secrets
    known = Known()
    began_s = time.monotonic()
    for number in range(rounds):
        stream = batches(known.number, known.now_s, number)
        for acknowledged in killed_at_some_moment(folder, known, number, chance):
            batch = next(stream)
            if batch.number != acknowledged:
                raise SystemExit(f"batch {acknowledged} was acknowledged before {batch.number}")
            known.take(batch)
        known.take_perhaps(next(stream))
        process = forked(lambda: check(folder, known))
        _, status = os.waitpid(process, 0)
        if status:
            raise SystemExit(f"round {number} of seed {seed} went wrong")
    samples = sum(CORES for _ in known.acknowledged)
    seconds = time.monotonic() - began_s
    sys.stdout.write(
        f"counted kills={rounds} batches={known.batches} samples={samples} lost=0 wrong=0 seconds={seconds:.0f}\n"
    )


if __name__ == "__main__":
    logging.basicConfig(level=logging.ERROR)
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 1)
