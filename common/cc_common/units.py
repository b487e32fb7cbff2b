"""Units of metrics: parsing, prefixes, conversion of values.

Two notations are in use: the unit text of collected metrics (`MBytes/s`) and the unit object with base and prefix of
job and cluster files (`{"base": "B/s", "prefix": "M"}`). Both become a `Unit` here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Dict, Optional, Tuple

from cc_common.errors import UnitError

PREFIX_FACTORS: Dict[str, float] = {
    "": 1.0,
    "n": 1e-9,
    "u": 1e-6,
    "m": 1e-3,
    "K": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "P": 1e15,
    "E": 1e18,
    "Z": 1e21,
    "Y": 1e24,
    "Ki": 1024.0,
    "Mi": 1024.0**2,
    "Gi": 1024.0**3,
    "Ti": 1024.0**4,
    "Pi": 1024.0**5,
    "Ei": 1024.0**6,
    "Zi": 1024.0**7,
    "Yi": 1024.0**8,
}

# The short form of each measure, and the pattern of the lower-case words that mean it.
_MEASURES: Tuple[Tuple[str, str], ...] = (
    ("B", r"b|by|bytes?"),
    ("Flops", r"f|flops?"),
    ("%", r"%|percent"),
    ("degC", r"degc|\u00b0c"),
    ("degF", r"degf|\u00b0f"),
    ("RPM", r"rpm"),
    ("Hz", r"hz|hertz"),
    ("s", r"s|secs?|seconds?"),
    ("cyc", r"cyc|cycs|cycles?"),
    ("W", r"w|watts?"),
    ("J", r"j|joules?"),
    ("requests", r"req|reqs|requests?"),
    ("packets", r"packets?|packs?|pkts?|pck|pcks"),
    ("events", r"events?|evts?|evnts?|ents?"),
)
_WORDS = tuple((short, re.compile(words)) for short, words in _MEASURES)
_MEGA_AFTER_M = frozenset(("B", "Flops", "packets", "events", "cyc", "requests"))
_READ_PREFIX = re.compile(r"([KkMmGgTtPpEeZzYy])(i?)")
_MAX_TEXT = 64


@dataclass(frozen=True)
class Unit:
    """A measure with prefix and optional denominator; `str()` is the short form, such as `MB/s`."""

    prefix: str = ""
    measure: str = ""
    per: str = ""

    @property
    def base(self) -> str:
        """The unit without prefix, as the unit object of job and cluster files has it: `B/s`."""
        return f"{self.measure}/{self.per}" if self.per else self.measure

    @property
    def factor(self) -> float:
        """The factor that converts a value to the unit without prefix."""
        return PREFIX_FACTORS[self.prefix]

    def __str__(self) -> str:
        return self.prefix + self.base


def prefix_factor(prefix: str) -> float:
    """The factor of a prefix such as "M" or "Ki"; k, g, t and so on are read as K, G, T. UnitError if unknown."""
    return PREFIX_FACTORS[_prefix(prefix)]


def parse_unit(text: str) -> Unit:
    """The unit in a text such as `MBytes/s`, `kB`, `GFlops/s`, `%` or `degC`.

    An `m` before bytes, flops, packets, events, cycles and requests is read as mega, as existing collectors mean it;
    per cent has no prefix. Raises UnitError for an unknown unit, such as `load` or `1/s`.
    """
    if len(text) > _MAX_TEXT:
        raise UnitError(f"unit {text[:_MAX_TEXT]!r}... is too long")
    numerator, slash, denominator = text.strip().partition("/")
    found = _prefixed_measure(numerator.strip())
    per = _measure(denominator.strip()) if slash else ""
    if found is None or per is None:
        raise UnitError(f"unit {text!r} is not known")
    prefix, measure = found
    if measure == "%":
        prefix = ""
    return Unit(prefix, measure, per)


def unit_from_object(base: str, prefix: str = "") -> Unit:
    """The unit of a unit object; an unknown base is kept as it is, so that every file can be read."""
    read_prefix = _prefix(prefix)
    measure, slash, per = base.partition("/")
    short_measure, short_per = _measure(measure), _measure(per) if slash else ""
    if short_measure is None or short_per is None:
        return Unit(read_prefix, base, "")
    return Unit(read_prefix, short_measure, short_per)


def convert(value: float, source: Unit, target: Unit) -> float:
    """A value converted from one unit to another of the same measure, without rounding.

    Raises UnitError if the units measure different things.
    """
    if source.per == target.per and (source.measure, target.measure) in _TEMPERATURE_CONVERSIONS:
        scale, offset = _TEMPERATURE_CONVERSIONS[source.measure, target.measure]
        return (value * source.factor * scale + offset) / target.factor
    if (source.measure, source.per) != (target.measure, target.per):
        raise UnitError(f"{source} cannot be converted to {target}")
    return value * source.factor / target.factor


_TEMPERATURE_CONVERSIONS = {("degC", "degF"): (1.8, 32.0), ("degF", "degC"): (1 / 1.8, -32.0 / 1.8)}


def _prefix(text: str) -> str:
    if text in PREFIX_FACTORS:
        return text
    upper = text[:1].upper() + text[1:]
    if text[:1] != "m" and upper in PREFIX_FACTORS:
        return upper
    raise UnitError(f"prefix {text!r} is not known")


def _prefixed_measure(text: str) -> Optional[Tuple[str, str]]:
    """Prefix and measure of a word; one that is a measure by itself has no prefix (packets, percent, events, ...)."""
    measure = _measure(text)
    if measure is not None:
        return "", measure
    match = _READ_PREFIX.match(text)
    if match is None:
        return None
    letter, binary = match.groups()
    measure = _measure(text[match.end() :])
    if measure is None:
        return None
    if letter == "m" and not binary:
        return ("M" if measure in _MEGA_AFTER_M else "m"), measure
    return letter.upper() + binary, measure


def _measure(text: str) -> Optional[str]:
    lower = text.lower()
    return next((short for short, words in _WORDS if words.fullmatch(lower)), None)
