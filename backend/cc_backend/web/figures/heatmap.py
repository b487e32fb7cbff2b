"""Figures over two measures: hosts over time as a heat map, and flop rate over arithmetic intensity as a roofline."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from markupsafe import Markup, escape

from cc_backend.insight.curve_maths import Values, downsample, nan_mean
from cc_backend.model import Level
from cc_backend.web.figures.svg import (
    BOTTOM,
    TOP,
    WIDTH,
    XLabel,
    coord,
    figure_box,
    level_glyph,
    stretch,
    x_ticks,
)
from cc_backend.wording.format import format_exact_number, format_number

_LEVELS = 9
_POINTS = 120
MAX_ROWS = 64
"""More hosts than this are a wall of colour; the plots with bands say it better."""


def draw_heatmap(
    rows: Values,
    names: Sequence[str],
    top: float,
    x_labels: Sequence[XLabel],
    label: str,
    *,
    faulty: Mapping[str, Level] | None = None,
) -> Markup:
    """Host by time in nine steps of one hue; hatch where nothing was measured.

    `faulty` are the levels of rows that part from the others in this metric: they are named in bold, and a group of
    neighbours has one glyph of its level where the first of them parts.
    """
    faulty = faulty or {}
    cells = downsample(rows, _POINTS)[0]
    row_h = max(5, min(34, round(220 / max(len(names), 1))))
    seam = 1 if row_h > 5 else 0  # noqa: PLR2004 - in thinner rows a seam is all there is to see
    height = row_h * len(names) + BOTTOM
    painted, holes = _shade_runs(cells, top)
    count = cells.shape[1]
    inner = []
    for level, runs in sorted(painted.items()):
        d = "".join(
            f"M{coord(WIDTH * a / count)} {y * row_h}H{coord(WIDTH * b / count)}v{row_h - seam}"
            f"H{coord(WIDTH * a / count)}z"
            for a, b, y in runs
        )
        inner.append(f'<path class="ht" fill-opacity="{(level / (_LEVELS - 1)) ** 1.15:.2f}" d="{d}"/>')
    body = [f'<rect class="f-well" width="100%" height="{row_h * len(names)}"/>']
    body += [
        f'<rect class="gap" x="{coord(100 * a / count)}%" width="{coord(100 * (b - a) / count)}%" '
        f'y="{y * row_h}" height="{row_h - seam}"/>'
        for a, b, y in holes
    ]
    body += [stretch("".join(inner), height), *_outlier_glyphs(cells, names, faulty, row_h)]
    body.append(x_ticks(x_labels, height - BOTTOM))
    side = f'<svg width="64" height="{height}" aria-hidden="true">{_heat_names(names, faulty, row_h)}</svg>'
    return Markup(figure_box(side, "".join(body), height, label))  # noqa: S704 - numbers and escaped names only


Run = tuple[int, int, int]


def _shade_runs(cells: Values, top: float) -> tuple[dict[int, list[Run]], list[Run]]:
    """Stretches of equal shade as (first, one past last, row), by shade; and those without data but the last."""
    shades = np.where(np.isfinite(cells), np.clip(np.nan_to_num(cells) * _LEVELS / top, 0, _LEVELS - 1), -1).astype(int)
    painted: dict[int, list[Run]] = {}
    holes: list[Run] = []
    seen = np.flatnonzero((shades >= 0).any(axis=0))
    late = int(seen[-1]) + 1 if seen.size else 0
    for y, row in enumerate(shades):
        edges = [0, *(np.flatnonzero(np.diff(row)) + 1).tolist(), len(row)]
        for a, b in pairwise(edges):
            shade = int(row[a])
            if shade < 0:
                if a < late:  # what no row has yet at the end is late, and no gap
                    holes.append((a, min(b, late), y))
            elif shade > 0:
                painted.setdefault(shade, []).append((a, b, y))
    return painted, holes


def _outlier_glyphs(cells: Values, names: Sequence[str], faulty: Mapping[str, Level], row_h: int) -> list[str]:
    """One glyph for each group of faulty neighbours, in its first row, where that row parts from the healthy ones."""
    bad = [y for y, name in enumerate(names) if name in faulty]
    healthy = np.delete(cells, bad, axis=0)
    size = min(14, max(9, row_h))
    out = []
    for y in bad:
        if y - 1 in bad and faulty[names[y - 1]] is faulty[names[y]]:
            continue
        start = _first_outlying_column(cells[y], healthy)
        level = faulty[names[y]].value
        out.append(
            level_glyph(level, 100 * start / cells.shape[1], y * row_h + (row_h - size) / 2, size, title=names[y])
        )
    return out


def _first_outlying_column(row: Values, healthy: Values) -> int:
    """The first column from which on a row stays apart from the mean of the healthy ones; 0 where none does."""
    usual = nan_mean(healthy, 0)
    high = float(np.fmax.reduce(usual, initial=0.0))
    known = np.flatnonzero(np.isfinite(row) & np.isfinite(usual))
    near = known[np.abs(row[known] - usual[known]) <= 0.3 * max(high, 1e-9)]
    if not near.size:
        return int(known[0]) if known.size else 0
    later = known[known > near[-1]]
    if later.size >= 0.5 * np.count_nonzero(known > near[0]):
        return int(later[0]) if later.size else 0
    apart = known[np.abs(row[known] - usual[known]) > 0.3 * max(high, 1e-9)]
    return int(apart[0]) if apart.size else 0


def _heat_names(names: Sequence[str], faulty: Mapping[str, Level], row_h: int) -> str:
    """Names beside the rows: all where there is room, else every few; those of faulty rows in bold, at any rate.

    Neighbours of a bold name keep theirs as long as the two do not touch.
    """
    out = []
    every = max(1, math.ceil(13 / row_h))
    bold = {y for y, name in enumerate(names) if name in faulty}
    shown_bold = {y for y in bold if row_h >= 10 or y - 1 not in bold}  # noqa: PLR2004 - readable; one for a group
    for y, name in enumerate(names):
        text_y = coord(y * row_h + row_h / 2 + 3.5)
        shown = name if len(name) <= 10 else f"…{name[-9:]}"  # noqa: PLR2004 - what fits
        if y in shown_bold:
            out.append(f'<text class="lb" x="58" y="{text_y}" text-anchor="end">{escape(shown)}</text>')
        elif y not in bold and y % every == 0 and all(abs(y - other) * row_h >= 10 for other in shown_bold):  # noqa: PLR2004
            out.append(f'<text x="58" y="{text_y}" text-anchor="end">{escape(shown)}</text>')
    return "".join(out)


@dataclass(frozen=True, slots=True)
class Roof:
    """The limits of one node, in GFlop/s and GB/s."""

    scalar: float
    simd: float
    bandwidth: float

    @property
    def known(self) -> bool:
        """Whether the limits can be drawn."""
        return self.scalar > 0 and self.simd > 0 and self.bandwidth > 0


@dataclass(frozen=True, slots=True)
class Dot:
    """One node at one time: Flop/byte and GFlop/s, in the second half of the run or not, of a faulty node or not."""

    x: float
    y: float
    late: bool = False
    faulty: bool = False


def draw_roofline(dots: Sequence[Dot], roof: Roof, label: str, *, height: int = 240) -> Markup:
    """All dots below the roof of one node, both axes log10; the axes reach as far as the dots, faulty ones on top."""
    x_low = min(0.01, _decade_below([dot.x for dot in dots], 0.01))
    x_high = 100.0
    y_low = min(1.0, _decade_below([dot.y for dot in dots], 1.0))
    y_high = 10.0 ** math.ceil(math.log10(max(roof.simd, *(dot.y for dot in dots), 1.0)) + 0.05)
    area = height - TOP - BOTTOM

    def lx(value: float) -> float:
        return 100 * math.log10(max(value, x_low) / x_low) / math.log10(x_high / x_low)

    def ly(value: float) -> float:
        return TOP + area * (1 - math.log10(max(value, y_low) / y_low) / math.log10(y_high / y_low))

    decades = [10.0**e for e in range(round(math.log10(y_low)), round(math.log10(y_high)) + 1)]
    columns = [10.0**e for e in range(round(math.log10(x_low)), round(math.log10(x_high)) + 1)]
    out = [
        f'<line class="{"al" if t == y_low else "gl"}" x2="100%" y1="{coord(ly(t))}" y2="{coord(ly(t))}"/>'
        for t in decades
    ]
    out += [
        f'<line class="gl" x1="{coord(lx(x))}%" x2="{coord(lx(x))}%" y1="{TOP}" y2="{height - BOTTOM}"/>'
        for x in columns[1:-1]
    ]
    out += [
        f'<circle class="dot{" late" if dot.late else ""}{" warn" if dot.faulty else ""}" '
        f'cx="{lx(min(dot.x, x_high)):.1f}%" cy="{coord(ly(dot.y))}" r="2.2"/>'
        for dot in sorted(dots, key=lambda dot: dot.faulty)
    ]

    def segment(x1: float, y1: float, x2: float, y2: float, cls: str) -> str:
        ends = f'x1="{coord(lx(x1))}%" y1="{coord(ly(y1))}" x2="{coord(lx(x2))}%" y2="{coord(ly(y2))}"'
        return f'<line class="{cls}" {ends}/>'

    knee, start = roof.simd / roof.bandwidth, max(x_low, y_low / roof.bandwidth)
    out.append(segment(start, start * roof.bandwidth, knee, roof.simd, "roof"))
    out.append(segment(knee, roof.simd, x_high, roof.simd, "roof"))
    out.append(segment(roof.scalar / roof.bandwidth, roof.scalar, x_high, roof.scalar, "roof thin"))
    out.append(_roof_names(roof, lx, ly))
    out.append(x_ticks([(lx(x), f"{x:g}") for x in columns], height - BOTTOM))
    side = "".join(
        f'<text x="37" y="{coord(ly(t) + 3.5)}" text-anchor="end">{escape(_decade(t))}</text>' for t in decades
    )
    axis = f'<svg width="46" height="{height}" aria-hidden="true">{side}</svg>'
    return Markup(figure_box(axis, "".join(out), height, label))  # noqa: S704 - numbers and an escaped label only


def _decade_below(values: Sequence[float], usual: float) -> float:
    """A decade below the lowest value above zero, not below a millionth of the usual end of the axis."""
    lowest = min((value for value in values if value > 0), default=usual)
    return max(10.0 ** (math.floor(math.log10(lowest) + 1e-9) - 1), usual * 1e-6) if lowest < usual else usual


def _decade(value: float) -> str:
    return format_number(value, 0) if value >= 1 else f"{value:g}"


def _roof_names(roof: Roof, lx: Callable[[float], float], ly: Callable[[float], float]) -> str:
    """The names of the limits; that of the memory stands above its slope, where no dot can be, if there is room."""
    knee = roof.simd / roof.bandwidth
    at = min(1.6, knee)
    left = lx(at) >= 50  # noqa: PLR2004 - per cent, what the name takes on a phone
    at, place = (at, 'dx="-4" text-anchor="end"') if left else (min(0.16, knee), 'dx="8"')
    y = ly(at * roof.bandwidth) + (-5 if left else 14)
    return (
        f'<text class="halo" x="100%" dx="-3" y="{coord(ly(roof.simd) - 5)}" text-anchor="end">'
        f"vector peak {escape(format_exact_number(roof.simd))}</text>"
        f'<text class="halo" x="100%" dx="-3" y="{coord(ly(roof.scalar) - 5)}" text-anchor="end">'
        f"scalar peak {escape(format_exact_number(roof.scalar))}</text>"
        f'<text class="halo" x="{coord(lx(at))}%" y="{coord(y)}" {place}>'
        f"memory {escape(format_exact_number(roof.bandwidth))} GB/s</text>"
    )
