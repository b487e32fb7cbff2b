"""Nodes that did nothing while others worked, and jobs that computed nothing any more. Pure numbers.

Slots in which all nodes are idle, as at the start and the end of a job, do not count for a single node.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cc_backend.insight.curve_maths import nan_mean
from cc_backend.insight.job_curves import MetricCurves

IDLE_SHARE_OF_PEAK = 0.05
"""A node below this share of its peak is idle..."""
IDLE_SHARE_OF_BUSIEST = 0.1
"""...if it is also below this share of the busiest node of the job."""
MIN_IDLE_SLOTS = 3
MIN_IDLE_S = 300
MIN_IDLE_SHARE = 0.05
"""Minimum share of the job: a shorter rest at its end is the tail of the work."""
MIN_IDLE_SLOT_SHARE = 0.95
"""Minimum share of idle slots in an idle stretch: a node without work still runs housekeeping."""

STALL_SHARE_OF_PEAK = 0.02
STALL_SHARE_OF_BEFORE = 0.05
MIN_STALL_S = 1800
MIN_STALL_SHARE = 0.1
_BUSIEST_SLOTS = 5
_NEAR_SLOTS = 5
_NEAR_STEADY = 0.8


@dataclass(frozen=True, slots=True)
class IdleNode:
    """A row that is idle from column `first` to the end: its mean there, and the usual mean of the other rows."""

    row: int
    first: int
    value: float
    others: float


@dataclass(frozen=True, slots=True)
class Stall:
    """Nothing was computed from column `first` on; the mean per node before and from there."""

    first: int
    before: float
    after: float


def find_idle_nodes(curves: MetricCurves, peak: float) -> list[IdleNode]:
    """The nodes that were idle until the end while another one worked."""
    rows = curves.rows
    if len(rows) < 2 or peak <= 0 or not rows.shape[1]:  # noqa: PLR2004 - one node has no others
        return []
    busiest = np.fmax.reduce(rows, axis=0)
    works = busiest >= IDLE_SHARE_OF_PEAK * peak
    limit = np.minimum(IDLE_SHARE_OF_PEAK * peak, IDLE_SHARE_OF_BUSIEST * busiest)
    min_slots = max(MIN_IDLE_SLOTS, MIN_IDLE_SHARE * rows.shape[1])
    with np.errstate(invalid="ignore"):
        quiet = (rows < limit) & works
    enough = np.flatnonzero(np.count_nonzero(quiet, axis=1) >= MIN_IDLE_SLOT_SHARE * min_slots).tolist()
    found: list[tuple[int, int]] = []
    for number in enough:
        judged = np.flatnonzero(works & np.isfinite(rows[number]))
        first = _final_stretch_start(quiet[number, judged])
        slots = len(judged) - first
        if slots >= min_slots and slots * curves.step_s >= MIN_IDLE_S:
            found.append((number, int(judged[first])))
    if not found:
        return []
    others = nan_mean(np.delete(rows, [row for row, _ in found], axis=0)[:, min(first for _, first in found) :], 1)
    known = others[np.isfinite(others)]
    if not known.size:
        return []
    usual = float(np.median(known))
    return [IdleNode(row, first, float(np.nanmean(rows[row, first:])), usual) for row, first in found]


def find_stall(work: list[tuple[MetricCurves, float]]) -> Stall | None:
    """The stall of a job: no metric (each with its peak) shows any work up to the end; None without one.

    Its numbers are those of the first metric. A job that never computed anything has not stalled.
    """
    step_s = max((curves.step_s for curves, _ in work), default=0)
    stretches = [_stall_column(curves, peak) for curves, peak in work]
    if not work or any(first is None for first in stretches):
        return None
    since_s = max(first * curves.step_s for first, (curves, _) in zip(stretches, work, strict=True) if first)
    curves = work[0][0]
    line = curves.column_means
    first = min(round(since_s / curves.step_s), len(line) - 1)
    length_s = (len(line) - first) * curves.step_s
    whole_s = len(line) * curves.step_s
    if length_s < max(MIN_STALL_S, MIN_STALL_SHARE * whole_s, MIN_IDLE_SLOTS * step_s):
        return None
    before, after = line[:first], line[first:]
    if not np.isfinite(before).any() or not np.isfinite(after).any():
        return None
    return Stall(first, float(np.nanmean(before)), float(np.nanmean(after)))


def _stall_column(curves: MetricCurves, peak: float) -> int | None:
    """The first column of the last stretch in which the mean of the nodes is close to zero and was not before."""
    line = curves.column_means
    known = np.flatnonzero(np.isfinite(line))
    if known.size < 2 * MIN_IDLE_SLOTS or peak <= 0:
        return None
    values = line[known]
    busy = float(np.median(np.sort(values)[-_BUSIEST_SLOTS:]))
    if busy < STALL_SHARE_OF_PEAK * peak:
        return None
    first = _final_stretch_start(values < min(STALL_SHARE_OF_PEAK * peak, STALL_SHARE_OF_BEFORE * busy))
    return int(known[first]) if 0 < first < len(values) else None


def _final_stretch_start(quiet: npt.NDArray[np.bool_]) -> int:
    """The first column of the longest nearly idle stretch up to the end; the row's length if there is none."""
    counted = np.cumsum(quiet[::-1])[::-1]
    left = np.arange(len(quiet), 0, -1)
    near = np.minimum(left, _NEAR_SLOTS)
    soon: npt.NDArray[np.intp] = counted - np.append(
        counted[_NEAR_SLOTS:], np.zeros(min(_NEAR_SLOTS, len(quiet)), counted.dtype)
    )
    begins = np.flatnonzero(quiet & (counted >= MIN_IDLE_SLOT_SHARE * left) & (soon >= _NEAR_STEADY * near))
    return int(begins[0]) if begins.size else len(quiet)
