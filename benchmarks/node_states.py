"""What reports about nodes cost: time of one, time of it inside the write lock, and how fast the database grows.

`python benchmarks/node_states.py [NODES] [REPORTS]`: so many nodes, reported once a minute, of which one in a hundred
has another allocation each time. Job events wait while a report holds the write lock.
"""

import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from _bench import machine

from cc_backend.clusters import ClusterRegistry
from cc_backend.clusters.load import parse_cluster
from cc_backend.db.database import Database
from cc_backend.db.opening import open_database
from cc_backend.jobs.node_states import NodeStates
from cc_backend.migrations import migrate
from cc_common.node_states import NodeState, NodeStateReport
from cc_demo.cluster_shape import ClusterShape, SubClusterShape

EVERY_S = 60
CHANGING = 100
BEGIN_S = 1_790_000_000


class AllWell(NamedTuple):
    """Every metric of a node comes in."""

    missing: Sequence[str] = ()
    degraded: Sequence[str] = ()
    healthy: Sequence[str] = ("cpu_load",)


class LockTimer:
    """How long the write lock of a database was held."""

    def __init__(self, database: Database) -> None:
        self.held_s = 0.0
        write = database.write

        @contextmanager
        def timed() -> Iterator[None]:
            begin_s = time.perf_counter()
            with write():
                yield
            self.held_s += time.perf_counter() - begin_s

        database.write = timed  # type: ignore[method-assign]


def all_well(_: str, __: str, ___: Iterable[str]) -> AllWell:
    """The health of a node that is well."""
    return AllWell()


def report(cluster: str, nodes: int, number: int) -> NodeStateReport:
    """The report of one minute."""
    states = []
    for node, host in enumerate(shape_of(nodes).hosts()):
        turn = (number + node) // CHANGING
        states.append(NodeState(host, ("allocated",), cpus_allocated=turn % 64, jobs_running=1 + turn % 3))
    return NodeStateReport(cluster, tuple(states))


def shape_of(nodes: int) -> SubClusterShape:
    """So many equal nodes."""
    return SubClusterShape("main", nodes)


def clusters_of(nodes: int) -> ClusterRegistry:
    """One cluster of so many nodes."""
    cluster, _ = parse_cluster(ClusterShape("tarn", (shape_of(nodes),)).document(), source="benchmark")
    return ClusterRegistry({cluster.name: cluster})


def size_bytes(path: Path) -> int:
    """What the database takes on disk once its log is in it."""
    return path.stat().st_size


def main() -> None:
    """Print the figures."""
    nodes, reports = (int(text) for text in (*sys.argv[1:], "1000", "60")[:2])
    print(machine())
    clusters = clusters_of(nodes)
    cluster = next(iter(clusters))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "job.db"
        database = open_database(path)
        migrate(database, now_s=BEGIN_S)
        states = NodeStates(database, clusters)
        states.store_report(report(cluster, nodes, 0), all_well, BEGIN_S)
        database.first_row("PRAGMA wal_checkpoint(TRUNCATE)")
        before_bytes, rows = size_bytes(path), database.first_row("SELECT COUNT(*) FROM node_state")
        timer, cpu_s = LockTimer(database), time.process_time()
        for number in range(1, reports + 1):
            states.store_report(report(cluster, nodes, number), all_well, BEGIN_S + number * EVERY_S)
        cpu_s = time.process_time() - cpu_s
        database.first_row("PRAGMA wal_checkpoint(TRUNCATE)")
        after = database.first_row("SELECT COUNT(*) FROM node_state")
        database.close_all()
        assert rows is not None
        assert after is not None
        a_day = 86_400 / (reports * EVERY_S)
        print(f"{nodes} nodes, {reports} reports, one node in {CHANGING} changes each time")
        print(f"processor time of a report   {1000 * cpu_s / reports:8.1f} ms")
        print(f"of it with the write lock    {1000 * timer.held_s / reports:8.1f} ms")
        print(f"rows a day                   {(after[0] - rows[0]) * a_day:8.0f}")
        print(f"growth of the database a day {(size_bytes(path) - before_bytes) * a_day / 1e6:8.1f} MB")


if __name__ == "__main__":
    main()
