"""The gauge and the polar plot: one stepwise-linear scale, so that values compare down a column and around a ring."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from cc_backend.insight.rating import Thresholds
from cc_backend.model import Level
from cc_backend.web.figures.svg import coord
from cc_backend.wording.format import format_exact_number

# Where each zone begins, in per cent, so that the same edge stands at the same place in every gauge.
_STARTS = {Level.ALERT: 0, Level.CAUTION: 20, Level.OK: 40, Level.HIGH: 75}
_STARTS_LOWER = {Level.OK: 0, Level.CAUTION: 60, Level.ALERT: 80}


@dataclass(frozen=True, slots=True)
class Zone:
    """One zone of a gauge: values from `low` to `high`, drawn from `start` to `end` per cent."""

    low: float
    high: float
    level: Level
    start: float
    end: float


def gauge_zones(thresholds: Thresholds) -> list[Zone]:
    """The zones of a thresholds at their fixed places; a zone that the thresholds leave out goes to its neighbour."""
    zones = thresholds.zones
    places = _STARTS_LOWER if thresholds.lower_is_better else _STARTS
    starts = [0.0 if k == 0 else float(places[level]) for k, (_, _, level) in enumerate(zones)]
    ends = [*starts[1:], 100.0][: len(starts)]
    return [
        Zone(low, high, level, start, end) for (low, high, level), start, end in zip(zones, starts, ends, strict=True)
    ]


def gauge_position(thresholds: Thresholds, value: float) -> float:
    """Where a value stands on the gauge, in per cent; proportional to the peak where the thresholds do not judge."""
    zones = gauge_zones(thresholds)
    if not zones:
        return 100 * max(0.0, min(1.0, value / thresholds.peak)) if thresholds.peak > 0 else 0.0
    for zone in zones:
        if value <= zone.high or zone is zones[-1]:
            share = max(0.0, min(1.0, (value - zone.low) / (zone.high - zone.low)))
            return zone.start + (zone.end - zone.start) * share
    return 100.0


def draw_gauge(
    thresholds: Thresholds, value: float | None, *, height: int = 13, edges: bool = False, judges: bool = True
) -> Markup:
    """A row of zones with a pointer; no pointer where nothing was measured. `edges` prints the real values under it.

    The zone that the value is in stands out, unless the metric does not judge the job.
    """
    zones, here = gauge_zones(thresholds), thresholds.zone_level(value) if judges else None
    out = []
    for zone in zones:
        on = zone.level == here
        thick, y = (4, height - 4) if on else (3, height - 3)
        out.append(
            f'<rect class="f-{zone.level}{"" if on else " rest"}" x="{coord(zone.start)}%" '
            f'width="{coord(zone.end - zone.start)}%" y="{y}" height="{thick}"/>'
        )
    if not zones:
        out.append(f'<rect class="f-rule" width="100%" y="{height - 3}" height="3"/>')
    out += [
        f'<line class="cutl" x1="{coord(z.start)}%" x2="{coord(z.start)}%" y1="{height - 5}" y2="{height}"/>'
        for z in zones[1:]
    ]
    if value is not None and math.isfinite(value):
        x = coord(gauge_position(thresholds, value))
        out.append(f'<svg x="{x}%"><path class="needle" d="M-5 {height - 11.5}h10L0 {height - 2.5}z"/></svg>')
    if edges:
        out.append(_edge_values(thresholds, zones, height + 12))
    total = height + (16 if edges else 0)
    return Markup(f'<svg width="100%" height="{total}" aria-hidden="true">{"".join(out)}</svg>')  # noqa: S704 - numbers only


def _edge_values(thresholds: Thresholds, zones: Sequence[Zone], y: int) -> str:
    inner = [
        f'<text x="{coord(z.start)}%" y="{y}" text-anchor="middle">{format_exact_number(z.low)}</text>'
        for z in zones[1:]
    ]
    peak = format_exact_number(thresholds.peak)
    return f'<text y="{y}">0</text>{"".join(inner)}<text x="100%" y="{y}" text-anchor="end">{peak}</text>'


@dataclass(frozen=True, slots=True)
class Spoke:
    """One axis of the polar plot."""

    name: str
    thresholds: Thresholds
    mean: float
    maximum: float


def draw_polar(spokes: Sequence[Spoke], label: str, *, size: int = 236) -> Markup:
    """Mean and maximum of at least three metrics; rings are zone edges, and outward is always better."""
    cx, cy, radius = size / 2 + 18, size / 2 - 4, size / 2 - 34
    count = len(spokes)

    def at(i: int, share: float) -> tuple[float, float]:
        angle = -math.pi / 2 + 2 * math.pi * i / count
        return cx + radius * share * math.cos(angle), cy + radius * share * math.sin(angle)

    def ring(shares: Sequence[float]) -> str:
        return " ".join(f"{coord(x)},{coord(y)}" for x, y in (at(i, s) for i, s in enumerate(shares)))

    def share(spoke: Spoke, value: float) -> float:
        place = gauge_position(spoke.thresholds, value)
        return (100 - place if spoke.thresholds.lower_is_better else place) / 100

    out = [
        f'<polygon class="{cls}" points="{ring([edge] * count)}"/>'
        for edge, cls in ((1, "ring"), (0.75, "ring"), (0.4, "ring f-caution"), (0.2, "ring f-alert"))
    ]
    for i in range(count):
        x, y = at(i, 1)
        out.append(f'<line class="gl2" x1="{coord(cx)}" y1="{coord(cy)}" x2="{coord(x)}" y2="{coord(y)}"/>')
    means = [share(spoke, spoke.mean) for spoke in spokes]
    out.append(f'<polygon class="pmax" points="{ring([share(spoke, spoke.maximum) for spoke in spokes])}"/>')
    out.append(f'<polygon class="pavg" points="{ring(means)}"/>')
    for i, mean in enumerate(means):
        x, y = at(i, mean)
        out.append(f'<circle class="pdot" cx="{coord(x)}" cy="{coord(y)}" r="2.5"/>')
    for i, spoke in enumerate(spokes):
        out.append(_spoke_name(spoke.name, *at(i, 1.12), cx, cy))
    return Markup(  # noqa: S704 - numbers and escaped names only
        f'<svg class="pol" width="100%" height="{size + 12}" viewBox="0 0 {size + 36} {size}" role="img" '
        f'aria-label="{escape(label)}">{"".join(out)}</svg>'
    )


def _spoke_name(name: str, x: float, y: float, cx: float, cy: float) -> str:
    """The name at the end of a spoke, in two lines where it is long, growing away from the centre."""
    anchor = "middle" if abs(x - cx) < 6 else "start" if x > cx else "end"  # noqa: PLR2004 - straight up or down
    words = _two_lines(name) if len(name) > 9 else [name]  # noqa: PLR2004 - room beside the ring
    dy = -2 if y < cy - 40 else 8 if y > cy + 40 else 3
    if len(words) == 2 and y < cy:  # noqa: PLR2004 - two lines
        dy -= 6
    return "".join(
        f'<text x="{coord(x)}" y="{coord(y + dy + 12 * k)}" text-anchor="{anchor}">{escape(word)}</text>'
        for k, word in enumerate(words)
    )


def _two_lines(text: str) -> list[str]:
    """The text broken at the blank nearest to its middle; whole where it has none."""
    blanks = [place for place, letter in enumerate(text) if letter == " "]
    if not blanks:
        return [text]
    middle = min(blanks, key=lambda place: abs(place - len(text) / 2))
    return [text[:middle], text[middle + 1 :]]
