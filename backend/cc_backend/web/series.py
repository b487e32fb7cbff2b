"""From the samples of a job to what one plot shows: lines or bands, gaps, outliers, range. Pure numbers, no drawing.

The same `SeriesFigure` is drawn twice: by `figures.curves` as SVG, and by `plots.js` on a canvas from its document.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cc_backend.model import JobMetric, Scope
from cc_backend.web.verdict import Level, Scale

Values = npt.NDArray[np.float64]

MOST_LINES = 8
"""More series than the palette has colours become a median with bands."""
MOST_OUTLIERS = 6
OUTLIER_LEAST = 0.02
"""Of the peak of a metric: nodes closer together than this do the same."""
_OUTLIER_SPREADS = 4.0
_OUTLIER_SHARE = 0.2
_MIN_GAP_SLOTS = 2


@dataclass(frozen=True, slots=True)
class Line:
    """One curve; `colour` 0 is the neutral trace, 1 to 8 the palette."""

    label: str
    values: Values
    colour: int = 0


@dataclass(frozen=True, slots=True)
class Band:
    """The area between two curves; `inner` is the middle half of the series."""

    low: Values
    high: Values
    inner: bool = False


@dataclass(frozen=True, slots=True)
class SeriesFigure:
    """One metric over time, ready to be drawn, in the unit it is shown in."""

    metric: str
    unit: str
    timestep_s: float
    lines: tuple[Line, ...]
    bands: tuple[Band, ...]
    gaps: tuple[tuple[int, int], ...]
    top: float
    lowest: float
    median: float
    highest: float
    scale: Scale | None = None
    level: Level | None = None
    outliers: tuple[str, ...] = ()
    series_count: int = 1

    @property
    def length(self) -> int:
        """How many slots the time axis has."""
        return max((len(line.values) for line in self.lines), default=0)

    @property
    def measured(self) -> bool:
        """Whether there is any value at all."""
        return bool(np.isfinite(self.highest))


def matrix(metric: JobMetric) -> Values:
    """All series of a metric as rows of one grid; shorter ones are filled up with gaps."""
    length = max((len(series.data) for series in metric.series), default=0)
    rows = np.full((len(metric.series), length), np.nan)
    for row, series in zip(rows, metric.series, strict=True):
        row[: len(series.data)] = series.data
    rows[~np.isfinite(rows)] = np.nan
    return rows


def shrink(rows: Values, most: int) -> tuple[Values, int]:
    """The rows with at most `most` columns, each the mean of as many old ones; gaps stay out of the mean."""
    length = rows.shape[-1]
    every = max(1, -(-length // most))
    if every == 1:
        return rows, 1
    width = -(-length // every) * every
    padded = np.full((*rows.shape[:-1], width), np.nan)
    padded[..., :length] = rows
    # the few columns of a mean as rows of a stack: sums along a short last axis take three times as long
    return nan_mean(np.stack([padded[..., i::every] for i in range(every)]), 0), every


def nan_mean(rows: Values, axis: int) -> Values:
    """The mean along an axis, of what is there; NaN where nothing is."""
    known = np.isfinite(rows)
    count = known.sum(axis=axis)
    total = np.where(known, rows, 0.0).sum(axis=axis)
    out: Values = np.full(np.shape(total), np.nan)
    np.divide(total, count, out=out, where=count > 0)
    return out


def known_columns(rows: Values) -> npt.NDArray[np.bool_]:
    """Which columns have a value in any row."""
    counts: npt.NDArray[np.intp] = np.count_nonzero(np.isfinite(rows), axis=0)
    return counts > 0


def gaps_of(rows: Values) -> tuple[tuple[int, int], ...]:
    """First and one past the last slot of each stretch in which no series has a value.

    Stretches at the very end are left out (late data is no gap), and so are single missing slots.
    """
    if not rows.size:
        return ()
    empty = ~known_columns(rows)
    filled = np.flatnonzero(~empty)
    if not len(filled):
        return ()
    empty[filled[-1] :] = False
    edges = np.flatnonzero(np.diff(np.concatenate(([False], empty, [False])).astype(np.int8)))
    pairs = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return tuple((a, b) for a, b in pairs if b - a >= _MIN_GAP_SLOTS)


def outliers_of(rows: Values, *, least: float = 0.0) -> list[int]:
    """Rows whose mean lies far from all others: over four robust spreads and a fifth of the usual value.

    `least` is a distance below which nothing is far, so that a metric close to zero everywhere has no outliers.
    Spread is the median absolute deviation, scaled to a standard deviation (factor 1.4826). More than a third of
    the rows cannot be outliers: then the job simply has two kinds of nodes.
    """
    means = nan_mean(rows, 1)
    known = means[np.isfinite(means)]
    if len(known) < 4:  # noqa: PLR2004 - three series have no usual value
        return []
    middle = float(np.median(known))
    spread = 1.4826 * float(np.median(np.abs(known - middle)))
    limit = max(_OUTLIER_SPREADS * spread, _OUTLIER_SHARE * abs(middle), least)
    if limit <= 0:
        return []
    distance = np.abs(means - middle)
    far = [int(i) for i in np.flatnonzero(distance > limit)]
    return far if len(far) <= len(rows) / 3 else []


def labels_of(metric: JobMetric, scope: Scope) -> list[str]:
    """What each series is called: its host, and its part of the host below node scope."""
    single = len({series.hostname for series in metric.series}) == 1
    if scope is Scope.NODE:
        return [series.hostname for series in metric.series]
    word = {Scope.MEMORY_DOMAIN: "domain", Scope.HWTHREAD: "thread", Scope.ACCELERATOR: "GPU"}.get(scope, scope.value)
    parts = [f"{word} {series.id}" if series.id is not None else series.hostname for series in metric.series]
    if single:
        return parts
    return [
        part if part == series.hostname else f"{series.hostname} {part}"
        for part, series in zip(parts, metric.series, strict=True)
    ]


def series_figure(
    name: str,
    metric: JobMetric,
    scope: Scope,
    *,
    unit: str,
    factor: float = 1.0,
    scale: Scale | None = None,
    level: Level | None = None,
    most_points: int = 1000,
) -> SeriesFigure:
    """What the plot of one metric shows.

    `factor` turns values into `unit`; `scale` is in that unit already. Up to eight series become lines, more a
    median with bands, outside of which the outliers keep their own lines.
    """
    full = matrix(metric) * factor
    gaps = gaps_of(full)
    rows, every = shrink(full, most_points)
    labels = labels_of(metric, scope)
    known = full[np.isfinite(full)]
    visible = 0.05 * float(known.max()) if known.size else 0.0  # of the height of the plot
    outliers = outliers_of(full, least=visible) if len(full) > MOST_LINES else []
    if len(full) <= MOST_LINES:
        colours = [0] if len(full) == 1 else list(range(1, len(full) + 1))
        lines = tuple(Line(*item) for item in zip(labels, rows, colours, strict=True))
        bands: tuple[Band, ...] = ()
    else:
        lines, bands = _bands(rows, labels, outliers)
    lowest, median, highest = (float(f(known)) if known.size else np.nan for f in (np.min, np.median, np.max))
    return SeriesFigure(
        metric=name,
        unit=unit,
        timestep_s=metric.timestep_s * every,
        lines=lines,
        bands=bands,
        gaps=tuple((a // every, -(-b // every)) for a, b in gaps),
        top=top_of(highest, scale),
        lowest=lowest,
        median=median,
        highest=highest,
        scale=scale,
        level=level,
        outliers=tuple(labels[i] for i in outliers),
        series_count=len(full),
    )


def _bands(rows: Values, labels: Sequence[str], outliers: Sequence[int]) -> tuple[tuple[Line, ...], tuple[Band, ...]]:
    inside = np.delete(rows, outliers, axis=0) if outliers else rows
    low, q1, mid, q3, high = quantiles(inside, (0, 0.25, 0.5, 0.75, 1))
    lines = [Line(labels[i], rows[i], 2) for i in outliers[:MOST_OUTLIERS]]
    lines.append(Line("median", mid, 0))
    return tuple(lines), (Band(low, high), Band(q1, q3, inner=True))


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


def top_of(highest: float, scale: Scale | None) -> float:
    """Where the y axis ends: 5 % above the highest value, with the nearest threshold still in sight."""
    top = highest * 1.05 if np.isfinite(highest) and highest > 0 else 1.0
    if scale is None or not np.isfinite(highest):
        return float(top)
    if scale.lower_is_better:
        return float(max(top, scale.caution * 1.08) if 0 < scale.caution < highest * 2.4 else top)
    return float(max(top, scale.normal * 1.06) if 0 < scale.normal < highest * 2.2 else top)
