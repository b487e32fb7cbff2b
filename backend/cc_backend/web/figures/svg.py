"""The strokes that all figures share: numbers as attributes, paths, ribbons, axes and the box around them."""

import math
from collections.abc import Callable, Sequence

from markupsafe import escape

TOP, BOTTOM = 8, 20  # room above the plot area and for the time axis
WIDTH = 1000  # of the stretched coordinate system
_OVER = 1.02  # a curve may leave the area by this much

_FIT_ANYWHERE = 5
"""So many labels have room on a phone..."""
_SHORT_TEXT = 4
_CROWDED = 3
"""...but for the one before the last where that ends at the edge, and the steps are no longer than a third."""

Numbers = Sequence[float]
XLabel = tuple[float, str]
"""A place on the x axis in per cent, and its text."""


def coord(value: float) -> str:
    """A coordinate with at most one digit after the point."""
    text = f"{value:.1f}"
    return text.removesuffix(".0")


def axis_steps(top: float, max_steps: float = 5.5) -> list[float]:
    """Round axis steps from 0 up to `top`, at most `max_steps` of them; the axis itself may end above the last one."""
    if not (top > 0 and math.isfinite(top)):
        return [0.0]
    magnitude = 10.0 ** math.floor(math.log10(top / max_steps))
    step = next(k * magnitude for k in (1, 2, 2.5, 5, 10, 20) if top / (k * magnitude) <= max_steps)
    return [i * step for i in range(int(top / step + 1e-9) + 1)]


def digits_for(ticks: Numbers) -> int:
    """How many digits after the point tell the ticks apart."""
    for digits in range(4):
        if all(abs(round(t, digits) - t) < 1e-9 * max(1.0, abs(t)) for t in ticks):
            return digits
    return 4


class Area:
    """The plot area of a figure: turns values into pixels from the top; curves take the share `width` of its width."""

    def __init__(
        self, top_value: float, height: int, *, top: int = TOP, bottom: int = BOTTOM, width: float = 1.0
    ) -> None:
        self.top_value, self.height, self.top, self.bottom = top_value, height, top, bottom
        self.width = WIDTH * width
        self.area = height - top - bottom

    def y(self, value: float) -> float:
        """Pixels from the top for a value; values beyond the axis stay just outside it."""
        return self.top + self.area * (1 - min(value, self.top_value * _OVER) / self.top_value)

    def path(self, values: Numbers) -> str:
        """A polyline with breaks at NaN; a lone value is left to `points`."""
        last = max(len(values) - 1, 1)
        out: list[str] = []
        pen = False
        for i, value in enumerate(values):
            if value != value:  # noqa: PLR0124 - NaN, without a call per point
                pen = False
                continue
            point = f"{coord(self.width * i / last)} {coord(self.y(value))}"
            out.append(("L" if pen else "M") + point)
            pen = True
        return "".join(out)

    def points(self, values: Numbers) -> str:
        """Strokes without length where a value has no neighbours; round caps make them dots."""
        last = max(len(values) - 1, 1)
        edged = [math.nan, *values, math.nan]
        return "".join(
            f"M{coord(self.width * i / last)} {coord(self.y(value))}h0"
            for i, value in enumerate(values)
            if not math.isnan(value) and math.isnan(edged[i]) and math.isnan(edged[i + 2])
        )

    def ribbon(self, low: Numbers, high: Numbers) -> str:
        """The closed area between two curves, broken where either is NaN."""
        last = max(len(low) - 1, 1)
        parts: list[str] = []
        run: list[int] = []
        for i in range(len(low) + 1):
            if i < len(low) and not (math.isnan(low[i]) or math.isnan(high[i])):
                run.append(i)
                continue
            if len(run) > 1:
                upper = "L".join(f"{coord(self.width * k / last)} {coord(self.y(high[k]))}" for k in run)
                lower = "L".join(f"{coord(self.width * k / last)} {coord(self.y(low[k]))}" for k in reversed(run))
                parts.append(f"M{upper}L{lower}Z")
            run = []
        return "".join(parts)

    def grid(self, ticks: Numbers) -> str:
        """Horizontal lines at the ticks, the one at zero stronger."""
        out = []
        for tick in ticks:
            y = coord(self.y(tick))
            out.append(f'<line class="{"al" if tick == 0 else "gl"}" x2="100%" y1="{y}" y2="{y}"/>')
        return "".join(out)

    def y_axis(self, ticks: Numbers, write: Callable[[float], str], width: int = 40) -> str:
        """The column of numbers left of the area."""
        out = [
            f'<text x="{width - 9}" y="{coord(self.y(t) + 3.5)}" text-anchor="end">{escape(write(t))}</text>'
            for t in ticks
        ]
        return f'<svg width="{width}" height="{self.height}" aria-hidden="true">{"".join(out)}</svg>'

    def x_axis(self, labels: Sequence[XLabel]) -> str:
        """Ticks and texts below the area."""
        return x_ticks(labels, self.height - self.bottom)


def x_ticks(labels: Sequence[XLabel], y: float) -> str:
    """Ticks and texts of a time axis; the first and the last are kept inside, narrow figures leave some out."""
    last = len(labels) - 1
    inside = bool(labels) and labels[-1][0] > 97  # noqa: PLR2004 - the last text ends at the edge
    many = len(labels) > _FIT_ANYWHERE
    near = last - (2 if many else 1) if inside and last >= _CROWDED else -1
    wide = " long" if any(len(text) > _SHORT_TEXT for _, text in labels) else ""
    out = []
    for k, (per_cent, text) in enumerate(labels):
        anchor = "start" if per_cent < 2 else "end" if per_cent > 97 else "middle"  # noqa: PLR2004 - the edges
        alternate = many and (last - k if inside else k) % 2
        cls = f' class="alt{wide}"' if alternate else ' class="near"' if k == near else ""
        x = coord(per_cent)
        out.append(
            f'<line class="al" x1="{x}%" x2="{x}%" y1="{coord(y)}" y2="{coord(y + 4)}"/>'
            f'<text{cls} x="{x}%" y="{coord(y + 15)}" text-anchor="{anchor}">{escape(text)}</text>'
        )
    return "".join(out)


def stretch(body: str, height: int) -> str:
    """A drawing of width 1000 that stretches to the width of the box."""
    return f'<svg width="100%" height="{height}" viewBox="0 0 {WIDTH} {height}" preserveAspectRatio="none">{body}</svg>'


def figure_box(side: str, body: str, height: int, label: str, *, cls: str = "", data: str = "") -> str:
    """The figure: its axis column and its drawing, with one sentence for those who cannot see it."""
    attribute = f' data-plot="{escape(data)}"' if data else ""
    return (
        f'<div class="fig{cls}" role="img" aria-label="{escape(label)}"{attribute}>{side}'
        f'<svg width="100%" height="{height}" aria-hidden="true">{body}</svg></div>'
    )


def level_glyph(level: str, x_per_cent: float, y: float, size: int, *, title: str = "") -> str:
    """A verdict glyph inside a figure."""
    words = f"<title>{escape(title)}</title>" if title else ""
    return (
        f'<svg class="tm" data-v="{level}" x="{coord(x_per_cent)}%" y="{coord(y)}">{words}'
        f'<use href="#v-{level}" x="4" width="{size}" height="{size}"/></svg>'
    )
