"""Curves over time as SVG: the plot of a metric, the preview of a list row, the paper strip of the sign-in page."""

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup, escape

from cc_backend.insight.curve_maths import Values, downsample
from cc_backend.insight.rating import BAD_LEVELS, Thresholds
from cc_backend.model import Level
from cc_backend.web.figures.svg import (
    TOP,
    Area,
    XLabel,
    axis_steps,
    coord,
    digits_for,
    figure_box,
    level_glyph,
    stretch,
)
from cc_backend.web.series_figure import SeriesFigure
from cc_backend.wording.format import are_consecutive, format_exact_number, format_number

HEIGHT = 172
_POINTS = 240  # of a drawn curve; a plot is about 400 pixels wide
_SPARK_POINTS = 72


def y_ticks(figure: SeriesFigure, height: int = HEIGHT) -> list[float]:
    """The steps of the y axis."""
    return axis_steps(figure.top, 5.5 if height > 140 else 3.5)  # noqa: PLR2004 - rows that fit


def draw_line_plot(
    figure: SeriesFigure, x_labels: Sequence[XLabel], label: str, *, length_s: float = 0.0, height: int = HEIGHT
) -> Markup:
    """The plot of one metric; the same figure that `plots.js` draws on a canvas of the same size.

    The time axis is `length_s` long, where curves may end before, or 0 for as long as the curves are.
    """
    width = min(1.0, figure.span_s / length_s) if length_s > 0 and figure.span_s > 0 else 1.0
    area, ticks = Area(figure.top, height, width=width), y_ticks(figure, height)
    digits = digits_for(ticks)
    last = max(figure.length - 1, 1)
    body = [_fault_zone(figure, area), area.grid(ticks)]
    for start, end in figure.gaps:
        x = 100 * width * max(start - 1, 0) / last
        size = 100 * width * min(end, last) / last - x
        body.append(f'<rect class="gap" x="{coord(x)}%" width="{coord(size)}%" y="{TOP}" height="{coord(area.area)}"/>')
    if not figure.measured:
        body.append(f'<rect class="gap" width="100%" y="{TOP}" height="{coord(area.area)}"/>')
    body += [stretch(_strokes(figure, area), height), _thresholds(figure, area), _outlier_names(figure, area)]
    body += [_strip(figure, area), area.x_axis(x_labels)]
    marked = " marks" if figure.thresholds is not None else ""
    side = area.y_axis(ticks, lambda value: format_number(value, digits))
    drawing = figure_box(side, "".join(body), height, label, cls=marked, data=figure.metric)
    return Markup(drawing)  # noqa: S704 - numbers and escaped names only


def _strokes(figure: SeriesFigure, area: Area) -> str:
    out = []
    for band in figure.bands:
        low, high = downsample(band.low, _POINTS)[0], downsample(band.high, _POINTS)[0]
        out.append(f'<path class="bd{" bd2" if band.inner else ""}" d="{area.ribbon(low.tolist(), high.tolist())}"/>')
    for line in figure.lines:
        colour = f" {line.level}" if line.level else f" k{line.colour}" if line.colour else ""
        values = downsample(line.values, _POINTS)[0].tolist()
        out.append(f'<path class="ln{colour}" d="{area.path(values)}"/>')
        lone = area.points(values)
        if lone:
            out.append(f'<path class="ln pt{colour}" d="{lone}"/>')
    return "".join(out)


def _fault_zone(figure: SeriesFigure, area: Area) -> str:
    if figure.thresholds is None or figure.level not in BAD_LEVELS:
        return ""
    for low, high, level in figure.thresholds.zones:
        if level is figure.level and low < figure.top:
            y = area.y(min(high, figure.top))
            height = area.y(low) - y
            return f'<rect class="zn f-{level}" width="100%" y="{coord(y)}" height="{coord(height)}"/>'
    return ""


def threshold_lines(figure: SeriesFigure) -> list[tuple[str, float, str]]:
    """Level, value and words of each threshold that lies within the axis."""
    thresholds = figure.thresholds
    if thresholds is None:
        return []
    lines = [] if thresholds.lower_is_better else [("high", thresholds.normal, "normal ends")]
    if thresholds.can_judge:
        lines += [("caution", thresholds.caution, "caution begins"), ("alert", thresholds.alert, "alert begins")]
    return [
        (level, value, f"{words} at {format_exact_number(value)} {figure.unit}".rstrip())
        for level, value, words in lines
        if 0 < value <= figure.top
    ]


def _thresholds(figure: SeriesFigure, area: Area) -> str:
    out = []
    for level, value, words in threshold_lines(figure):
        y = area.y(value)
        out.append(f'<line class="thr {level}" x2="100%" y1="{coord(y)}" y2="{coord(y)}"/>')
        out.append(level_glyph(level, 100, y - 5, 10, title=words))
    return "".join(out)


def outlier_label(figure: SeriesFigure) -> tuple[float, str] | None:
    """Height and text of the one label that names the outliers, where one label is enough."""
    lines = [line for line in figure.lines if line.label in figure.outliers]
    if not lines:
        return None
    names = figure.outliers
    text = names[0] if len(names) == 1 else f"{names[0]} and {len(names) - 1} more"
    if len(names) > 1 and len({line.label.split(" ")[0] for line in lines}) == len(lines):
        text = f"{names[0]} to {names[-1]}" if are_consecutive(names) else text
    tails = [line.values[np.isfinite(line.values)][-1:] for line in lines]
    ends = [float(tail[0]) for tail in tails if len(tail)]
    if not ends or max(ends) - min(ends) > 0.3 * figure.top:
        return None
    return max(ends) + 0.04 * figure.top, text


def outlier_level(figure: SeriesFigure) -> Level | None:
    """The worst level of a finding about the outliers; None where none is about them."""
    return min((line.level for line in figure.lines if line.level), key=lambda level: level.order, default=None)


def _outlier_names(figure: SeriesFigure, area: Area) -> str:
    label = outlier_label(figure)
    if label is None:
        return ""
    y = area.y(min(label[0], figure.top))
    level = outlier_level(figure)
    glyph = level_glyph(level, 60, y - 10, 11) if level else ""
    dx = ' dx="18"' if level else ""
    return f'{glyph}<text class="halo" x="60%"{dx} y="{coord(y)}">{escape(label[1])}</text>'


def _strip(figure: SeriesFigure, area: Area) -> str:
    """The gauge's zones again, upright beside the axis."""
    out = []
    for low, high, level in figure.thresholds.zones if figure.thresholds else []:
        if low < figure.top:
            y = area.y(min(high, figure.top))
            height = max(1.0, area.y(low) - y)
            out.append(f'<rect class="f-{level}" x="-4" width="3" y="{coord(y)}" height="{coord(height)}"/>')
    return "".join(out)


def draw_sparkline(
    values: Values | None, *, level: Level | None = None, thresholds: Thresholds | None = None, height: int = 44
) -> Markup:
    """A preview without axes: zero line, curve, and the fault zone only when the metric is in it; hatch for no data."""
    if values is None or not np.isfinite(values).any():
        empty = f'<rect class="gap" width="100%" height="{height}"/>'
        return Markup(f'<svg class="spk" width="100%" height="{height}" aria-hidden="true">{empty}</svg>')  # noqa: S704
    points = downsample(values, _SPARK_POINTS)[0]
    top = float(np.nanmax(points)) * 1.04 or 1.0
    zone = ""
    if thresholds is not None and thresholds.can_judge and level in BAD_LEVELS:
        edge = thresholds.alert if level is Level.ALERT else thresholds.caution
        top = max(top, edge * (1.1 if thresholds.lower_is_better else 1.25))
        y = 2 + (height - 4) * (1 - edge / top)
        start, size = (0.0, y) if thresholds.lower_is_better else (y, height - 1 - y)
        zone = (
            f'<rect class="zn f-{level}" width="100%" y="{coord(start)}" height="{coord(size)}"/>'
            f'<line class="thr {level}" x2="100%" y1="{coord(y)}" y2="{coord(y)}"/>'
        )
    area = Area(top, height, top=2, bottom=2)
    line, lone = area.path(points.tolist()), area.points(points.tolist())
    pieces = line.split("M")[1:]
    under = "".join(f"M{piece}V{height}H{piece.split(' ')[0]}z" for piece in pieces)
    ground = f'<line class="gl" x2="100%" y1="{height - 0.5}" y2="{height - 0.5}"/>'
    dots = f'<path class="sl pt" d="{lone}"/>' if lone else ""
    drawn = stretch(f'<path class="ar" d="{under}"/><path class="sl" d="{line}"/>{dots}', height)
    return Markup(  # noqa: S704 - numbers only
        f'<svg class="spk" width="100%" height="{height}" aria-hidden="true">{zone}{ground}{drawn}</svg>'
    )


def draw_paper_strip(*, height: int = 220, points: int = 240) -> Markup:
    """The paper of a chart recorder with one trace, for the sign-in page."""
    rules = "".join(f'<line class="gl" x2="100%" y1="{y}" y2="{y}"/>' for y in range(0, height + 1, 22))
    rules += "".join(f'<line class="gl" x1="{x}%" x2="{x}%" y2="{height}"/>' for x in range(0, 101, 5))
    trace = [
        60 + 28 * math.sin(i / 17) * math.sin(i / 71) + 4 * math.sin(i * 1.9) * math.sin(i / 5.3) for i in range(points)
    ]
    line = f'<path class="sl" d="{Area(110, height).path(trace)}"/>'
    return Markup(  # noqa: S704 - numbers only
        f'<svg class="strip" width="100%" height="{height}" aria-hidden="true">{rules}{stretch(line, height)}</svg>'
    )
