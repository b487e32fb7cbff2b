"""Curves as rows of a grid: means, gaps, outliers, quantiles. Pure numbers, no drawing."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cc_backend.model import JobMetric

Values = npt.NDArray[np.float64]

_OUTLIER_SPREADS = 4.0
_OUTLIER_SHARE = 0.2
_MIN_GAP_SLOTS = 2


def matrix(metric: JobMetric) -> Values:
    """All series of a metric as rows of one grid (float64); shorter ones are padded with NaN."""
    length = max((len(series.data) for series in metric.series), default=0)
    rows = np.full((len(metric.series), length), np.nan)
    for row, series in zip(rows, metric.series, strict=True):
        row[: len(series.data)] = series.data
    rows[~np.isfinite(rows)] = np.nan
    return rows


def downsample(rows: Values, max_columns: int) -> tuple[Values, int]:
    """The rows with at most `max_columns` columns, and how many old columns each is the mean of; gaps are left out."""
    length = rows.shape[-1]
    every = max(1, -(-length // max_columns))
    if every == 1:
        return rows, 1
    width = -(-length // every) * every
    padded = np.full((*rows.shape[:-1], width), np.nan)
    padded[..., :length] = rows
    # the few columns of a mean as rows of a stack: sums along a short last axis take three times as long
    return nan_mean(np.stack([padded[..., i::every] for i in range(every)]), 0), every


def nan_mean(rows: Values, axis: int) -> Values:
    """The mean along an axis without NaN; NaN where there is nothing else."""
    known = np.isfinite(rows)
    count = known.sum(axis=axis)
    total = np.where(known, rows, 0.0).sum(axis=axis)
    out: Values = np.full(np.shape(total), np.nan)
    np.divide(total, count, out=out, where=count > 0)
    return out


def columns_with_data(rows: Values) -> npt.NDArray[np.bool_]:
    """Which columns have a value in any row, as flags."""
    counts: npt.NDArray[np.intp] = np.count_nonzero(np.isfinite(rows), axis=0)
    return counts > 0


def find_gaps(rows: Values) -> tuple[tuple[int, int], ...]:
    """First and one past the last slot of each stretch in which no series has a value.

    Stretches at the very end are left out (late data is not a gap), and so are single missing slots.
    """
    if not rows.size:
        return ()
    empty = ~columns_with_data(rows)
    filled = np.flatnonzero(~empty)
    if not len(filled):
        return ()
    empty[filled[-1] :] = False
    edges = np.flatnonzero(np.diff(np.concatenate(([False], empty, [False])).astype(np.int8)))
    pairs = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return tuple((a, b) for a, b in pairs if b - a >= _MIN_GAP_SLOTS)


def find_outliers(means: Values, *, min_distance: float = 0.0) -> list[int]:
    """The indices of means far from the median: by more than 4 robust deviations and a fifth of the median.

    `min_distance` is a distance below which nothing is far, so that a metric close to zero everywhere has no outliers.
    A robust deviation is the median absolute deviation, scaled to a standard deviation (factor 1.4826). More than a
    third of them cannot be outliers: then the job simply has two kinds of nodes.
    """
    known = means[np.isfinite(means)]
    if len(known) < 4:  # noqa: PLR2004 - three series have no usual value
        return []
    middle = float(np.median(known))
    spread = 1.4826 * float(np.median(np.abs(known - middle)))
    limit = max(_OUTLIER_SPREADS * spread, _OUTLIER_SHARE * abs(middle), min_distance)
    if limit <= 0:
        return []
    distance = np.abs(means - middle)
    far = [int(i) for i in np.flatnonzero(distance > limit)]
    return far if len(far) <= len(means) / 3 else []


def quantiles(rows: Values, shares: Sequence[float]) -> Values:
    """Quantiles over the rows, one line each, interpolated between neighbours; NaN where no row has a value.

    One sort for all shares; `numpy.nanquantile` works column by column and takes thirty times as long.
    """
    ordered = np.sort(rows, axis=0)  # NaN goes last
    counts = np.count_nonzero(np.isfinite(rows), axis=0)
    columns = np.arange(rows.shape[1])
    out: Values = np.empty((len(shares), rows.shape[1]))
    for line, share in zip(out, shares, strict=True):
        place = share * np.maximum(counts - 1, 0)
        low = np.floor(place).astype(np.intp)
        high = np.ceil(place).astype(np.intp)
        part = place - low
        line[:] = ordered[low, columns] * (1 - part) + ordered[high, columns] * part
    return out
