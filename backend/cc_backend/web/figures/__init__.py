"""Figures as inline SVG that stretch with their box while text and strokes keep their size.

Rule used throughout: x positions are per cent of the box, y positions are pixels. Lines live in a nested
`<svg viewBox="0 0 1000 H" preserveAspectRatio="none">` and carry `vector-effect: non-scaling-stroke`.
No style attributes: all looks come from classes, so light, dark and print need no second drawing and the
content policy of the pages can forbid inline styles. Everything here is pure: numbers in, text out.
"""

__all__ = (
    "gauges",
    "heatmap",
    "line_plot",
    "roofline",
    "svg",
)
