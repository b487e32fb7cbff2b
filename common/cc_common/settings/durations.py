"""Durations in configuration files: Go's notation, such as "1h30m" or "250ms"."""

from __future__ import annotations

import re

_UNITS_S = {
    "ns": 1e-9,
    "us": 1e-6,
    "\u00b5s": 1e-6,  # micro sign
    "\u03bcs": 1e-6,  # Greek small letter mu
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "h": 3600.0,
}
_TERM = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|\u00b5s|\u03bcs|ms|s|m|h)")


def parse_duration(text: str) -> float:
    """Seconds of a string in Go's notation: a sum of numbers with unit, with an optional sign; "0" needs no unit.

    Raises ValueError whose text says what is expected.
    """
    sign = text[:1] if text[:1] in ("+", "-") else ""
    rest = text[len(sign) :]
    if rest == "0":
        return 0.0
    seconds = 0.0
    position = 0
    while position < len(rest):
        term = _TERM.match(rest, position)
        if term is None:
            break
        seconds += float(term.group(1)) * _UNITS_S[term.group(2)]
        position = term.end()
    if position != len(rest) or not rest or len(rest) > 64:  # noqa: PLR2004 no duration needs more
        raise ValueError(f'must be a duration such as "90s", "250ms" or "1h30m", not {text[:64]!r}')
    return -seconds if sign == "-" else seconds


def format_duration(seconds: float) -> str:
    """A duration in Go's notation with hours, minutes, seconds or milliseconds: "1h30m", "2.5s", "250ms"."""
    if seconds < 0:
        return "-" + format_duration(-seconds)
    if seconds == 0:
        return "0s"
    if seconds < 1:
        return f"{seconds * 1000:.10g}ms"
    hours, rest = divmod(seconds, 3600)
    minutes, rest = divmod(rest, 60)
    parts = [f"{hours:.0f}h" if hours else "", f"{minutes:.0f}m" if minutes else "", f"{rest:.10g}s" if rest else ""]
    return "".join(parts)
