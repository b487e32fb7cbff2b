"""The roofline: flop rate over arithmetic intensity below the limits of a node, both axes log10."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from cc_backend.web.figures.svg import BOTTOM, TOP, coord, figure_box, x_ticks
from cc_backend.wording.format import format_exact_number, format_number


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
class RooflinePoint:
    """One node at one time: Flop/byte and GFlop/s, in the second half of the run or not, of an outlying node or not."""

    x: float
    y: float
    late: bool = False
    is_outlier: bool = False


def draw_roofline(dots: Sequence[RooflinePoint], roof: Roof, label: str, *, height: int = 240) -> Markup:
    """All dots below the roof of one node, both axes log10; the axes reach as far as the dots, outliers on top."""
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
        f'<circle class="dot{" late" if dot.late else ""}{" warn" if dot.is_outlier else ""}" '
        f'cx="{lx(min(dot.x, x_high)):.1f}%" cy="{coord(ly(dot.y))}" r="2.2"/>'
        for dot in sorted(dots, key=lambda dot: dot.is_outlier)
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
