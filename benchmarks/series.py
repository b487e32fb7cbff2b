"""What a series costs beside its samples, and how fast series come, change and go.

    python benchmarks/series.py [--nodes 1290]

A node has 776 series: 10 metrics of 72 hardware threads, 6 of 2 sockets, 44 of its own. Promises: at most 60 bytes a
series beside its key of the wire; a million series are registered within 3 s.
"""

import argparse
import threading
import time
from collections.abc import Callable

import numpy as np
from _bench import machine, resident_bytes

from cc_backend.metricstore.index.series_table import SeriesTable
from cc_backend.metricstore.model import HostPart, Identity, Limits, MetricSpec

CLUSTER = "orion"
AT_ONCE = 1024
METRICS = [f"metric_{number}" for number in range(60)]


def identities(nodes: int) -> list[Identity]:
    """All series of the cluster, node by node."""
    series = [(metric, HostPart("hwthread", str(thread))) for metric in METRICS[:10] for thread in range(72)]
    series += [(metric, HostPart("socket", str(socket))) for metric in METRICS[10:16] for socket in range(2)]
    series += [(metric, HostPart()) for metric in METRICS[16:]]
    return [Identity(CLUSTER, f"node{node:04d}", metric, part) for node in range(nodes) for metric, part in series]


def key_of(identity: Identity) -> bytes:
    """The key of a series as an agent sends it."""
    part = identity.part
    below = f"type={part.type},type-id={part.type_id}" if part.type else "type=node"
    return f"{identity.metric},cluster={identity.cluster},hostname={identity.host},{below}".encode()


def show(what: str, figure: str) -> None:
    """One line of the table."""
    print(f"| {what:<64} | {figure:>14} |", flush=True)


def seconds(run: Callable[[], object]) -> float:
    """How long something takes, once."""
    begin = time.perf_counter()
    run()
    return time.perf_counter() - begin


def table_of(timestep_s: int = 60) -> dict[str, dict[str, MetricSpec]]:
    """All metrics, in one timestep."""
    return {CLUSTER: {metric: MetricSpec(timestep_s, "sum") for metric in METRICS}}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=1290)
    options = parser.parse_args()
    wanted = identities(options.nodes)
    count = len(wanted)
    print(machine())
    show("what", "figure")
    show("series", str(count))
    before = resident_bytes()
    table = SeriesTable(table_of(), Limits(), threading.RLock())

    def register_many() -> None:
        for begin in range(0, count, AT_ONCE):
            table.register_many(wanted[begin : begin + AT_ONCE])

    elapsed = seconds(register_many)
    show(f"registered {AT_ONCE} at a time, thousand a second", f"{count / elapsed / 1e3:.0f}")
    rows_bytes = sum(grid.size_bytes for grid in table.columns.grids)
    show("process memory a series, bytes (rows of the grid included)", f"{(resident_bytes() - before) / count:.1f}")
    show("of these the table says it takes", f"{table.size_bytes / count:.1f}")
    show("and the grid's rows", f"{rows_bytes / count:.1f}")
    by_key(table, wanted)
    elapsed = seconds(lambda: table.reload(table_of()))
    show("reload without a change, ms", f"{elapsed * 1e3:.0f}")
    sids = np.arange(0, count, 10)
    table.columns.store_samples(sids, np.ones(len(sids), np.float32), 1_790_000_040)
    elapsed = seconds(lambda: table.reload(table_of(10)))
    show("reload with another timestep for all, ms", f"{elapsed * 1e3:.0f}")
    show("series without a sample found, ms", f"{seconds(lambda: table.find_silent(1_790_000_000, {})) * 1e3:.0f}")
    elapsed = seconds(lambda: table.remove(np.arange(0, count, 2)))
    show("removed, thousand a second", f"{count / 2 / elapsed / 1e3:.0f}")


def by_key(table: SeriesTable, wanted: list[Identity]) -> None:
    """New and known series by their keys of the wire."""
    fresh = SeriesTable(table_of(), Limits(), threading.RLock())
    keys = [key_of(identity) for identity in wanted]
    before = resident_bytes()
    find = fresh.keys.cache_for("").find
    elapsed = seconds(lambda: [find(key) for key in keys])
    show("registered by keys of the wire, thousand a second", f"{len(keys) / elapsed / 1e3:.0f}")
    show("process memory a series with its key, bytes", f"{(resident_bytes() - before) / len(keys):.1f}")
    show("mean length of a key, bytes", f"{sum(map(len, keys)) / len(keys):.1f}")
    show("known to another table by identity, thousand a second", _known(table, wanted))


def _known(table: SeriesTable, wanted: list[Identity]) -> str:
    elapsed = seconds(lambda: table.register_many(wanted))
    return f"{len(wanted) / elapsed / 1e3:.0f}"


if __name__ == "__main__":
    main()
