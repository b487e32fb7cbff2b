"""Figures over two measures: hosts over time as a heat map, and flop rate over arithmetic intensity as a roofline."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from markupsafe import Markup, escape

from cc_backend.insight.curves import Values, shrink
from cc_backend.web.figures.draw import BOTTOM, TOP, WIDTH, XLabel, box, mark, short, stretched
from cc_backend.wording.format import number, plain

_LEVELS = 9
_POINTS = 120
MOST_ROWS = 64
"""More hosts than this are a wall of colour; the plots with bands say it better."""


def heat(
    rows: Values,
    names: Sequence[str],
    top: float,
    x_labels: Sequence[XLabel],
    label: str,
    *,
    faulty: Sequence[str] = (),
) -> Markup:
    """Host by time in nine steps of one hue; hatch where nothing was measured, faulty rows named in bold."""
    cells = shrink(rows, _POINTS)[0]
    row_h = max(5, min(20, round(220 / max(len(names), 1))))
    height = row_h * len(names) + BOTTOM
    painted, holes = _runs(cells, top)
    count = cells.shape[1]
    inner = []
    for level, runs in sorted(painted.items()):
        d = "".join(
            f"M{short(WIDTH * a / count)} {y * row_h}H{short(WIDTH * b / count)}v{row_h - 1}"
            f"H{short(WIDTH * a / count)}z"
            for a, b, y in runs
        )
        inner.append(f'<path class="ht" fill-opacity="{(level / (_LEVELS - 1)) ** 1.15:.2f}" d="{d}"/>')
    body = [f'<rect class="f-well" width="100%" height="{row_h * len(names)}"/>']
    body += [
        f'<rect class="gap" x="{short(100 * a / count)}%" width="{short(100 * (b - a) / count)}%" '
        f'y="{y * row_h}" height="{row_h - 1}"/>'
        for a, b, y in holes
    ]
    body += [stretched("".join(inner), height), *_fault_marks(cells, names, faulty, row_h)]
    body.append(_heat_x(x_labels, height))
    side = f'<svg width="64" height="{height}" aria-hidden="true">{_heat_names(names, faulty, row_h)}</svg>'
    return Markup(box(side, "".join(body), height, label))  # noqa: S704 - numbers and escaped names only


Run = tuple[int, int, int]


def _runs(cells: Values, top: float) -> tuple[dict[int, list[Run]], list[Run]]:
    """Stretches of equal shade as (first, one past last, row), by shade; and the stretches without data."""
    shades = np.where(np.isfinite(cells), np.clip(np.nan_to_num(cells) * _LEVELS / top, 0, _LEVELS - 1), -1).astype(int)
    painted: dict[int, list[Run]] = {}
    holes: list[Run] = []
    for y, row in enumerate(shades):
        edges = [0, *(np.flatnonzero(np.diff(row)) + 1).tolist(), len(row)]
        for a, b in pairwise(edges):
            shade = int(row[a])
            if shade < 0:
                holes.append((a, b, y))
            elif shade > 0:
                painted.setdefault(shade, []).append((a, b, y))
    return painted, holes


def _fault_marks(cells: Values, names: Sequence[str], faulty: Sequence[str], row_h: int) -> list[str]:
    """One glyph where the faulty rows, taken together, part from the others."""
    rows = [y for y, name in enumerate(names) if name in faulty]
    if not rows:
        return []
    group = np.nan_to_num(cells[rows].mean(axis=0))
    others = np.nan_to_num(np.delete(cells, rows, axis=0).mean(axis=0)) if len(rows) < len(names) else group
    apart = np.flatnonzero(np.abs(group - others) > 0.3 * max(float(np.max(others)), 1e-9))
    start = int(apart[0]) if len(apart) else 0
    middle = rows[len(rows) // 2]
    size = min(14, max(9, row_h))
    return [mark("alert", 100 * start / cells.shape[1], middle * row_h + (row_h - size) / 2, size)]


def _heat_names(names: Sequence[str], faulty: Sequence[str], row_h: int) -> str:
    out = []
    every = max(1, math.ceil(13 / row_h), len(names) // 12)
    bold = {y for y, name in enumerate(names) if name in faulty}
    for y, name in enumerate(names):
        text_y = short(y * row_h + row_h / 2 + 3.5)
        shown = name if len(name) <= 10 else f"…{name[-9:]}"  # noqa: PLR2004 - what fits
        if y in bold and row_h >= 10:  # noqa: PLR2004 - readable
            out.append(f'<text class="lb" x="58" y="{text_y}" text-anchor="end">{escape(shown)}</text>')
        elif y % every == 0 and not {y - 1, y + 1} & bold:
            out.append(f'<text x="58" y="{text_y}" text-anchor="end">{escape(shown)}</text>')
    return "".join(out)


def _heat_x(labels: Sequence[XLabel], height: int) -> str:
    y = height - BOTTOM
    out = []
    for per_cent, text in labels:
        anchor = "start" if per_cent < 2 else "end" if per_cent > 97 else "middle"  # noqa: PLR2004 - the edges
        x = short(per_cent)
        out.append(f'<line class="al" x1="{x}%" x2="{x}%" y1="{y}" y2="{y + 4}"/>')
        out.append(f'<text x="{x}%" y="{y + 15}" text-anchor="{anchor}">{escape(text)}</text>')
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


def roofline(points: Sequence[tuple[float, float, bool]], roof: Roof, label: str, *, height: int = 240) -> Markup:
    """Points of (Flop/byte, GFlop/s, in the second half of the run); both axes log10; the roof is that of one node."""
    x_low, x_high = 0.01, 100.0
    y_low, y_high = 1.0, 10.0 ** math.ceil(math.log10(roof.simd) + 0.05)
    area = height - TOP - BOTTOM

    def lx(value: float) -> float:
        return 100 * math.log10(max(value, x_low) / x_low) / math.log10(x_high / x_low)

    def ly(value: float) -> float:
        return TOP + area * (1 - math.log10(max(value, y_low) / y_low) / math.log10(y_high / y_low))

    decades = [10.0**e for e in range(round(math.log10(y_low)), round(math.log10(y_high)) + 1)]
    columns = [10.0**e for e in range(round(math.log10(x_low)), round(math.log10(x_high)) + 1)]
    out = [
        f'<line class="{"al" if t == y_low else "gl"}" x2="100%" y1="{short(ly(t))}" y2="{short(ly(t))}"/>'
        for t in decades
    ]
    out += [
        f'<line class="gl" x1="{short(lx(x))}%" x2="{short(lx(x))}%" y1="{TOP}" y2="{height - BOTTOM}"/>'
        for x in columns[1:-1]
    ]
    out += [
        f'<circle class="dot{" late" if late else ""}" cx="{lx(min(x, x_high)):.1f}%" cy="{short(ly(y))}" r="2.2"/>'
        for x, y, late in points
    ]

    def segment(x1: float, y1: float, x2: float, y2: float, cls: str) -> str:
        ends = f'x1="{short(lx(x1))}%" y1="{short(ly(y1))}" x2="{short(lx(x2))}%" y2="{short(ly(y2))}"'
        return f'<line class="{cls}" {ends}/>'

    knee, start = roof.simd / roof.bandwidth, max(x_low, y_low / roof.bandwidth)
    out.append(segment(start, start * roof.bandwidth, knee, roof.simd, "roof"))
    out.append(segment(knee, roof.simd, x_high, roof.simd, "roof"))
    out.append(segment(roof.scalar / roof.bandwidth, roof.scalar, x_high, roof.scalar, "roof thin"))
    out.append(_roof_names(roof, lx, ly))
    out.append(_heat_x([(lx(x), f"{x:g}") for x in columns], height))
    side = "".join(
        f'<text x="37" y="{short(ly(t) + 3.5)}" text-anchor="end">{escape(number(t, 0))}</text>' for t in decades
    )
    axis = f'<svg width="46" height="{height}" aria-hidden="true">{side}</svg>'
    return Markup(box(axis, "".join(out), height, label))  # noqa: S704 - numbers and an escaped label only


def _roof_names(roof: Roof, lx: Callable[[float], float], ly: Callable[[float], float]) -> str:
    at = 0.16
    return (
        f'<text class="halo" x="100%" dx="-3" y="{short(ly(roof.simd) - 5)}" text-anchor="end">'
        f"vector peak {escape(plain(roof.simd))}</text>"
        f'<text class="halo" x="100%" dx="-3" y="{short(ly(roof.scalar) - 5)}" text-anchor="end">'
        f"scalar peak {escape(plain(roof.scalar))}</text>"
        f'<text class="halo" x="{short(lx(at))}%" y="{short(ly(at * roof.bandwidth) - 8)}" text-anchor="end">'
        f"memory {escape(plain(roof.bandwidth))} GB/s</text>"
    )
