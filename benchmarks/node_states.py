"""What reports about nodes cost: time of one, time of it inside the write lock, and how fast the database grows.

`python benchmarks/node_states.py [NODES] [REPORTS] [NODES OF A MONTH]`: so many nodes, reported once a minute, of which
one in a hundred has another allocation each time. Job events wait while a report holds the write lock. Then, for 10,000
nodes, 30 days of such changes: how long each node was in each state is to be known in 200 ms.
"""

import random
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
from cc_backend.jobs.node_history import NodeHistory, sum_times
from cc_backend.jobs.node_state_times import STATE_COLUMNS, TIME_COLUMNS, TIMED_STATES, add_time
from cc_backend.jobs.node_states import NodeFilter, NodeStates
from cc_backend.migrations import migrate
from cc_common.node_states import NodeState, NodeStateReport
from cc_demo.cluster_shape import ClusterShape, SubClusterShape

EVERY_S = 60
CHANGING = 100
BEGIN_S = 1_790_000_000
MONTH_S = 30 * 86_400


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


def month_of_changes(database: Database, nodes: int) -> int:
    """Nodes that change at random moments, every 100 minutes on average for 30 days; returns the number of rows."""
    chance, rows = random.Random(7), 0
    columns = ", ".join(("node_id", "time_s", *STATE_COLUMNS, *TIME_COLUMNS))
    width = 2 + len(STATE_COLUMNS) + len(TIME_COLUMNS)
    insert = f"INSERT INTO node_state ({columns}) VALUES ({', '.join('?' * width)})"  # noqa: S608 constants
    for first in range(1, nodes + 1, 100):
        with database.write():
            block = range(first, min(first + 100, nodes + 1))
            names = [(node, "tarn", f"n{node:05d}", "main", 0, BEGIN_S + MONTH_S) for node in block]
            database.execute_many(
                "INSERT INTO node (id, cluster, hostname, sub_cluster, latest_id, seen_s) VALUES (?, ?, ?, ?, ?, ?)",
                names,
            )
            states = []
            for node in block:
                times: tuple[int, ...] = (0,) * len(TIMED_STATES)
                time_s, state = BEGIN_S, "idle"
                while time_s < BEGIN_S + MONTH_S:
                    states.append((node, time_s, state, "[]", "full", "[]", "[]", 0, 0, 0, 0, *times))
                    lasted_s = chance.randint(60, 2 * EVERY_S * CHANGING)
                    times, time_s = add_time(times, state, lasted_s), time_s + lasted_s
                    state = chance.choice(TIMED_STATES)
            database.execute_many(insert, states)
            rows += len(states)
    with database.write():
        database.execute_many(
            "UPDATE node SET latest_id = (SELECT MAX(id) FROM node_state WHERE node_id = node.id) WHERE id >= ?", [(0,)]
        )
    return rows


def shares_of_a_month(nodes: int) -> None:
    """Print how long the times in all states take for the whole month and for a part of it."""
    with tempfile.TemporaryDirectory() as folder:
        database = open_database(Path(folder) / "job.db")
        migrate(database, now_s=BEGIN_S)
        rows = month_of_changes(database, nodes)
        history = NodeHistory(database)
        print(f"{nodes} nodes, 30 days, {rows} changes")
        for what, from_s, to_s in (
            ("times of all nodes, 30 days", BEGIN_S, BEGIN_S + MONTH_S),
            ("times of all nodes, 7 days in between", BEGIN_S + MONTH_S // 3, BEGIN_S + MONTH_S // 3 + 7 * 86_400),
        ):
            taken_s = []
            for _ in range(7):
                begin_s = time.process_time()
                found = history.times(NodeFilter(clusters=("tarn",)), from_s, to_s)
                taken_s.append(time.process_time() - begin_s)
            assert len(found) == nodes
            assert sum(sum_times(found).values()) == nodes * (to_s - from_s)
            print(f"{what:40}{1000 * min(taken_s):8.0f} ms of a processor")
        begin_s = time.process_time()
        spans, _ = history.spans("tarn", "n00001", BEGIN_S, BEGIN_S + MONTH_S, limit=10_000)
        taken_ms = 1000 * (time.process_time() - begin_s)
        print(f"{f'history of a node, {len(spans)} entries':40}{taken_ms:8.0f} ms of a processor")
        database.close_all()


def main() -> None:
    """Print the figures."""
    nodes, reports, month_nodes = (int(text) for text in (*sys.argv[1:], *("1000", "60", "10000")[len(sys.argv) - 1 :]))
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
    shares_of_a_month(month_nodes)


if __name__ == "__main__":
    main()
