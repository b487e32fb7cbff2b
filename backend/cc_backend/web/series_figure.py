"""What the plot of one metric shows: lines or bands, gaps, outliers, range. Pure numbers, no drawing.

A `SeriesFigure` is drawn twice: by `figures.line_plot` as SVG, and by `plots.js` on a canvas from its document.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cc_backend.insight.curve_maths import Values, downsample, quantiles
from cc_backend.insight.job_curves import MetricCurves
from cc_backend.insight.rating import Thresholds
from cc_backend.model import JobMetric, Level, Scope

MAX_LINES = 8
"""Maximum lines, the colours of the palette: more series always become a median with bands."""
MIN_BAND_SERIES = 4
"""Minimum series for a median with bands, unless separate lines were chosen."""
MAX_OUTLIERS = 6
_MIN_VISIBLE_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Line:
    """One curve; `colour` 0 is the neutral trace, 1 to 8 the palette; `level` is that of a finding about its node."""

    label: str
    values: Values
    colour: int = 0
    level: Level | None = None


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
    minimum: float
    median: float
    maximum: float
    thresholds: Thresholds | None = None
    level: Level | None = None
    outliers: tuple[str, ...] = ()
    series_count: int = 1

    @property
    def length(self) -> int:
        """The number of slots of the time axis."""
        return max((len(line.values) for line in self.lines), default=0)

    @property
    def span_s(self) -> float:
        """Seconds from the first slot to the last."""
        return max(0, self.length - 1) * self.timestep_s

    @property
    def key(self) -> tuple[tuple[str, str], ...]:
        """Style and name of each line, where there are several and no bands; the style is a colour or a level."""
        if self.bands or self.series_count < 2:  # noqa: PLR2004 - several
            return ()
        lines = sorted(self.lines, key=lambda line: (line.colour, line.label))
        return tuple((line.level.value if line.level else f"k{line.colour}", line.label) for line in lines)

    @property
    def quiet(self) -> bool:
        """Whether nothing happened: all values are zero."""
        return self.maximum == 0 and self.minimum == 0

    @property
    def measured(self) -> bool:
        """Whether there is any value at all."""
        return bool(np.isfinite(self.maximum))


def series_labels(metric: JobMetric, scope: Scope) -> list[str]:
    """The label of each series: its host, and below node scope its part of the host."""
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


def build_series_figure(
    name: str,
    curves: MetricCurves,
    scope: Scope,
    *,
    unit: str,
    factor: float = 1.0,
    thresholds: Thresholds | None = None,
    level: Level | None = None,
    max_points: int = 1000,
    separate_lines: bool = False,
    outlier_levels: Mapping[str, Level] | None = None,
) -> SeriesFigure:
    """What the plot of one metric shows.

    `factor` converts values to `unit`; `thresholds` are in that unit. Up to 3 series, or 8 with `separate_lines`,
    become lines, more of them a median with bands and lines for outliers. `outlier_levels` are the hosts that differ
    from the others by a finding, with its level: they are outliers however many series there are.
    """
    thinned, every = downsample(curves.rows, max_points)
    rows = thinned * factor
    labels = series_labels(curves.metric, scope)
    levels = (
        {row: outlier_levels[host] for row, host in enumerate(curves.hosts) if host in outlier_levels}
        if outlier_levels
        else {}
    )
    banded = curves.count > (MAX_LINES if separate_lines else MIN_BAND_SERIES - 1)
    # outliers must be visibly apart, by a share of the height of the plot
    min_distance = _MIN_VISIBLE_SHARE * (curves.maximum or 0.0)
    outliers = list(levels) or (curves.find_outliers(min_distance) if banded else [])
    if banded:
        lines, bands = _bands(rows, labels, outliers, levels)
    else:
        lines, bands = _lines(rows, labels, levels), ()
    minimum, median, maximum = (
        np.nan if value is None else value * factor for value in (curves.minimum, curves.median, curves.maximum)
    )
    return SeriesFigure(
        metric=name,
        unit=unit,
        timestep_s=curves.step_s * every,
        lines=lines,
        bands=bands,
        gaps=tuple((a // every, -(-b // every)) for a, b in curves.gaps),
        top=axis_top(maximum, thresholds),
        minimum=minimum,
        median=median,
        maximum=maximum,
        thresholds=thresholds,
        level=level,
        outliers=tuple(labels[i] for i in outliers),
        series_count=curves.count,
    )


def _lines(rows: Values, labels: Sequence[str], levels: Mapping[int, Level]) -> tuple[Line, ...]:
    """One line each, those of outliers last, so that nothing covers them."""
    colours = [0] if len(rows) == 1 else list(range(1, len(rows) + 1))
    order = sorted(range(len(rows)), key=lambda row: row in levels)
    return tuple(Line(labels[row], rows[row], colours[row], levels.get(row)) for row in order)


def _bands(
    rows: Values, labels: Sequence[str], outliers: Sequence[int], levels: Mapping[int, Level]
) -> tuple[tuple[Line, ...], tuple[Band, ...]]:
    inside = np.delete(rows, outliers, axis=0) if 0 < len(outliers) < len(rows) else rows
    low, q1, mid, q3, high = quantiles(inside, (0, 0.25, 0.5, 0.75, 1))
    lines = [Line(labels[i], rows[i], 2, levels.get(i)) for i in outliers[:MAX_OUTLIERS]]
    lines.append(Line("median", mid, 0))
    return tuple(lines), (Band(low, high), Band(q1, q3, inner=True))


def axis_top(maximum: float, thresholds: Thresholds | None) -> float:
    """The end of the y axis: 5 % above the maximum, or above the nearest threshold if that is close."""
    top = maximum * 1.05 if np.isfinite(maximum) and maximum > 0 else 1.0
    if thresholds is None or not np.isfinite(maximum):
        return float(top)
    if thresholds.lower_is_better:
        return float(max(top, thresholds.caution * 1.08) if 0 < thresholds.caution < maximum * 2.4 else top)
    return float(max(top, thresholds.normal * 1.06) if 0 < thresholds.normal < maximum * 2.2 else top)
