"""Carries samples over to another timestep, when the configuration changed it."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cc_backend.metricstore.grid import Grid
from cc_backend.metricstore.hosts import Host
from cc_backend.metricstore.layout import Names
from cc_backend.metricstore.model import Ids


def expected_timesteps(
    hosts: Sequence[Host | None], names: Names, host_of: npt.NDArray[np.int32], metric_of: npt.NDArray[np.int32]
) -> Ids:
    """The timestep that each series has by the configuration, 0 if it is not kept any more."""
    tables: dict[int, int] = {}  # hosts of one subcluster share one object
    rows: list[list[int]] = []
    table_of = np.zeros(len(hosts), np.int64)
    for host in hosts:
        if host is None:
            continue
        table = tables.setdefault(id(host.specs), len(tables))
        if table == len(rows):
            specs = [host.specs.get(names[metric]) for metric in range(len(names))]
            rows.append([0 if spec is None else spec.timestep_s for spec in specs])
        table_of[host.id] = table
    if not rows:
        return np.zeros(len(host_of), np.int64)
    return np.array(rows, np.int64)[table_of[host_of], metric_of]


def move(old: Grid, old_row: int, new: Grid, new_row: int) -> None:
    """Copy the samples of a row; of several old slots in a new one the last one counts."""
    slots, values = old.samples_of(old_row)
    if len(slots):
        new.scatter(np.full(len(slots), new_row), new.slots(slots * old.timestep_s), values)
