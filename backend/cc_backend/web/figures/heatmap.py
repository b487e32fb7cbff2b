"""The heat map: a row for each host, time from left to right, the value as a shade."""

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from markupsafe import Markup, escape

from cc_backend.insight.curve_maths import Values, downsample, nan_mean
from cc_backend.model import Level
from cc_backend.web.figures.svg import (
    BOTTOM,
    WIDTH,
    XLabel,
    coord,
    figure_box,
    level_glyph,
    stretch,
    x_ticks,
)

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
    outlier_levels: Mapping[str, Level] | None = None,
) -> Markup:
    """Host by time in nine steps of one hue; hatch where nothing was measured.

    `outlier_levels` are the levels of rows that differ from the others in this metric: their names are bold, and a
    group of neighbours has one glyph of its level where the first of them begins to differ.
    """
    outlier_levels = outlier_levels or {}
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
    body += [stretch("".join(inner), height), *_outlier_glyphs(cells, names, outlier_levels, row_h)]
    body.append(x_ticks(x_labels, height - BOTTOM))
    side = f'<svg width="64" height="{height}" aria-hidden="true">{_heat_names(names, outlier_levels, row_h)}</svg>'
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


def _outlier_glyphs(cells: Values, names: Sequence[str], outlier_levels: Mapping[str, Level], row_h: int) -> list[str]:
    """One glyph for each group of outlying neighbours: in its first row, where it begins to differ from the others."""
    bad = [y for y, name in enumerate(names) if name in outlier_levels]
    healthy = np.delete(cells, bad, axis=0)
    size = min(14, max(9, row_h))
    out = []
    for y in bad:
        if y - 1 in bad and outlier_levels[names[y - 1]] is outlier_levels[names[y]]:
            continue
        start = _first_outlying_column(cells[y], healthy)
        level = outlier_levels[names[y]].value
        out.append(
            level_glyph(level, 100 * start / cells.shape[1], y * row_h + (row_h - size) / 2, size, title=names[y])
        )
    return out


def _first_outlying_column(row: Values, healthy: Values) -> int:
    """The first column from which a row differs from the mean of the others to the end; 0 without one."""
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


def _heat_names(names: Sequence[str], outlier_levels: Mapping[str, Level], row_h: int) -> str:
    """Names beside the rows: all where there is room, else every few; those of outlying rows in bold, at any rate.

    Neighbours of a bold name keep theirs as long as the two do not touch.
    """
    out = []
    every = max(1, math.ceil(13 / row_h))
    bold = {y for y, name in enumerate(names) if name in outlier_levels}
    shown_bold = {y for y in bold if row_h >= 10 or y - 1 not in bold}  # noqa: PLR2004 - readable; one for a group
    for y, name in enumerate(names):
        text_y = coord(y * row_h + row_h / 2 + 3.5)
        shown = name if len(name) <= 10 else f"…{name[-9:]}"  # noqa: PLR2004 - what fits
        if y in shown_bold:
            out.append(f'<text class="lb" x="58" y="{text_y}" text-anchor="end">{escape(shown)}</text>')
        elif y not in bold and y % every == 0 and all(abs(y - other) * row_h >= 10 for other in shown_bold):  # noqa: PLR2004
            out.append(f'<text x="58" y="{text_y}" text-anchor="end">{escape(shown)}</text>')
    return "".join(out)
