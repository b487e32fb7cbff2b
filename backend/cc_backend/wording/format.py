"""Formats numbers, durations and moments for people. Pure: the time zone is an argument."""

import math
import re
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo

from cc_backend.model import MetricUnit

THIN_SPACE = "\u202f"  # thin no-break space, between thousands
NO_BREAK_SPACE = "\u00a0"
NO_VALUE = "\N{EN DASH}"
MINUTE_S, HOUR_S, DAY_S = 60, 3600, 86400
_THOUSANDS = ("", "k", "M", "G", "T", "P", "E")
_BASES = {
    "F/s": "Flop/s",
    "Flops/s": "Flop/s",
    "F": "Flop",
    "percent": "%",
    "degC": "°C",
    "load": "",
    "IPC": "",
    "None": "",
}
_SCALED_BASES = ("B", "B/s", "F/s", "Flop/s", "Flops/s", "F", "W", "Wh", "J", "Hz", "packets/s", "IO/s")
_BESIDE_NUMBERS = re.compile(
    r"(?<=\d) (?=(?:%|°C|[kMGTPEµ]?(?:B|bit|Flop|W|Wh|J|Hz|packets|IO)(?:/s|/byte)?|s|min|h|d"
    r"|(?:core|GPU) hours?|nodes?|cores?|GPUs?|jobs?|samples?|checks?|hours?|days?|tries)(?![\w/]))"
)
_WITHIN_SPANS = re.compile(r"(\d\u00a0(?:d|h|min)) (?=\d+\u00a0(?:h|min|s)\b)")
_KEEP_BELOW, _SHIFT = 10_000, 1000
_KEEP_DIGITS_BELOW = 1e15  # more digits than a double has are noise


def format_number(value: float | None, digits: int | None = None) -> str:
    """A measured number with three significant digits and thin spaces between thousands; a dash for None or NaN.

    Measured means three significant digits, also where the last ones are zeros: 96.0 among 95.3 and 94.8.
    """
    if value is None or not math.isfinite(value):
        return NO_VALUE
    if abs(value) >= _KEEP_DIGITS_BELOW:
        return f"{value:.2e}"
    if digits is None:
        size = abs(value)
        whole = isinstance(value, int) or value == 0 or size >= 100  # noqa: PLR2004 - three digits
        digits = 0 if whole else 1 if size >= 10 else 2  # noqa: PLR2004 - three digits
    text = f"{value:,.{digits}f}".replace(",", THIN_SPACE)
    return text[1:] if text.startswith("-") and not text.strip("-0.") else text


def keep_units_together(text: str) -> str:
    """The text with no-break spaces between numbers and units, and within durations."""
    return _WITHIN_SPANS.sub(rf"\1{NO_BREAK_SPACE}", _BESIDE_NUMBERS.sub(NO_BREAK_SPACE, text))


def format_exact_number(value: float) -> str:
    """A number from a configuration, such as a threshold: at most 2 digits after the point, without trailing zeros."""
    return format_number(value, next((digits for digits in range(3) if round(value, digits) == value), 2))


def count_noun(amount: int, singular: str, plural: str = "") -> str:
    """The number with its noun: `1 job`, `3 jobs`."""
    return f"{format_number(amount)} {singular if amount == 1 else plural or singular + 's'}"


def format_duration(seconds: float) -> str:
    """A duration, rounded down: `45 s`, `22 min`, `6 h 41 min`, `3 d 4 h`."""
    whole = max(0, int(seconds))
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min"
    if whole < 3 * DAY_S:
        return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S:02d} min"
    return f"{whole // DAY_S} d {whole % DAY_S // HOUR_S} h"


def format_exact_duration(seconds: float) -> str:
    """A duration without rounding, such as a timestep: `45 s`, `1 min 30 s`, `2 h`."""
    rest = round(seconds, 3)
    parts = []
    for size, name in ((DAY_S, "d"), (HOUR_S, "h"), (MINUTE_S, "min")):
        whole, rest = divmod(rest, size)
        if whole:
            parts.append(f"{int(whole)} {name}")
    if rest or not parts:
        parts.append(f"{rest:g} s")
    return " ".join(parts)


def format_time_limit(seconds: float) -> str:
    """A duration from a configuration, such as a time limit: whole hours without minutes."""
    if seconds and seconds % HOUR_S == 0 and seconds <= 3 * DAY_S:
        return f"{int(seconds // HOUR_S)} h"
    return format_duration(seconds)


def format_axis_duration(seconds: float) -> str:
    """A duration for an axis: `30 min`, `1 h`, `1 h 15`, `1 d 12`."""
    if seconds < HOUR_S:
        return "0" if seconds == 0 else f"{seconds:g} s" if seconds < MINUTE_S else f"{seconds / MINUTE_S:g} min"
    if seconds < DAY_S:
        hours, rest = divmod(int(seconds), HOUR_S)
        return f"{hours} h" + (f" {rest // MINUTE_S:02d}" if rest else "")
    days, rest = divmod(int(seconds), DAY_S)
    return f"{days} d" + (f" {rest // HOUR_S:02d}" if rest else "")


def local_time(time_s: float, zone: tzinfo | None) -> datetime:
    """The moment in the zone, None for the zone of this server."""
    return datetime.fromtimestamp(time_s, UTC).astimezone(zone)


def format_moment(time_s: float, zone: tzinfo | None, *, now_s: float) -> str:
    """A moment, as short as today allows: `14:02`, `Thu 09:12`, `12 March, 09:12`, `12 March 2024, 09:12`."""
    then, now = local_time(time_s, zone), local_time(now_s, zone)
    if then.date() == now.date():
        return f"today {then:%H:%M}"
    if 0 <= (now.date() - then.date()).days < 6:  # noqa: PLR2004 - a weekday names a day of the last week only
        return f"{then:%a %H:%M}"
    year = f" {then.year}" if then.year != now.year else ""
    return f"{then.day} {then:%b}{year}, {then:%H:%M}"


def format_moment_in_sentence(time_s: float, zone: tzinfo | None, *, now_s: float) -> str:
    """A moment inside a sentence: `14:02`, and with its day where that is not today: `Thu 09:12`, `12 Mar, 09:12`."""
    return format_moment(time_s, zone, now_s=now_s).removeprefix("today ")


def format_full_moment(time_s: float, zone: tzinfo | None) -> str:
    """A moment with its day, year and zone: `Thu 12 March 2026, 09:12 CET`."""
    then = local_time(time_s, zone)
    return f"{then:%a} {then.day} {then:%B %Y, %H:%M} {then.tzname()}"


def format_iso_utc(time_s: float) -> str:
    """The moment for a `datetime` attribute, in UTC."""
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%dT%H:%M:%SZ}"


def zone_name(zone: tzinfo | None, now_s: float) -> str:
    """The abbreviation of the zone, such as `CET`."""
    return local_time(now_s, zone).tzname() or "UTC"


def format_unit(unit: MetricUnit) -> str:
    """The unit as text: `GFlop/s`, `%`, empty for a bare count."""
    base = _BASES.get(unit.base, unit.base)
    prefix = "" if unit.prefix in ("None", "NAN") else unit.prefix.replace("K", "k").replace("u", "µ")
    return f"{prefix}{base}" if base else ""


def readable_unit(unit: MetricUnit, largest: float) -> tuple[float, str]:
    """The factor for values, and their unit then, that keep the largest value below ten thousand."""
    prefix = "k" if unit.prefix == "K" else unit.prefix
    if unit.base not in _SCALED_BASES or prefix not in _THOUSANDS or not math.isfinite(largest):
        return 1.0, format_unit(unit)
    place, factor = _THOUSANDS.index(prefix), 1.0
    while largest * factor >= _KEEP_BELOW and place + 1 < len(_THOUSANDS):
        factor, place = factor / _SHIFT, place + 1
    while 0 < largest * factor < 0.1 and place > 0:  # noqa: PLR2004 - 0.1 GB/s still reads well, 0.01 does not
        factor, place = factor * _SHIFT, place - 1
    return factor, format_unit(MetricUnit(unit.base, _THOUSANDS[place]))


def format_memory(size_mb: float) -> str:
    """An amount of memory given in MB: `512 MB`, `380 GB`."""
    factor, text = readable_unit(MetricUnit("B", "M"), size_mb)
    return f"{format_number(size_mb * factor)} {text}"


def join_with_and(words: Sequence[str]) -> str:
    """The words as a list in a sentence: `A`, `A and B`, `A, B and C`; empty for none."""
    return " and ".join(filter(None, [", ".join(words[:-1]), *words[-1:]]))


def abbreviate_names(names: Sequence[str], *, max_names: int = 3) -> str:
    """Host names for a sentence: up to `max_names`, or `tn0257 to tn0260`, or the first and how many more."""
    if len(names) <= max_names:
        return ", ".join(names)
    if are_consecutive(names):
        return f"{names[0]} to {names[-1]}"
    return f"{', '.join(names[: max_names - 1])} and {len(names) - max_names + 1} more"


def are_consecutive(names: Sequence[str]) -> bool:
    """Whether the names count up by one, with one stem and one width."""
    stems = {name.rstrip("0123456789") for name in names}
    numbers = [name[len(name.rstrip("0123456789")) :] for name in names]
    if len(stems) != 1 or not all(numbers) or len({len(n) for n in numbers}) != 1:
        return False
    first = int(numbers[0])
    return [int(n) for n in numbers] == list(range(first, first + len(numbers)))
