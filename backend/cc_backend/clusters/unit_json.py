"""Units in JSON documents: an object with base and prefix, or one string in old files."""

from collections.abc import Mapping
from typing import Any

from cc_backend.model import MetricUnit

_PREFIXES = "KkMGTPE"
# Old files write a unit as one word, whose first letter is a prefix only before one of these bases.
_PREFIXED_BASES = frozenset(
    {"B", "B/s", "Byte", "Byte/s", "Bytes", "Bytes/s", "F", "F/s", "Flop/s", "Flops", "Flops/s", "Hz", "J", "W"}
)


def unit_from_json(value: Any) -> MetricUnit | None:
    """The unit of a JSON value, None if it is not a unit.

    Any string is accepted as base, as sites use more than the schema lists.
    """
    if isinstance(value, str):
        return parse_unit(value)
    if not isinstance(value, Mapping):
        return None
    base, prefix = value.get("base"), value.get("prefix")
    if not isinstance(base, str) or not (prefix is None or isinstance(prefix, str)):
        return None
    return MetricUnit(base, prefix or "")


def parse_unit(text: str) -> MetricUnit:
    """The unit of one word: `GB/s` is base B/s with prefix G, `load` is base load."""
    text = text.strip()
    if text[:1] in _PREFIXES and text[1:] in _PREFIXED_BASES:
        return MetricUnit(text[1:], text[0].replace("k", "K"))
    return MetricUnit(text)


def unit_to_json(unit: MetricUnit) -> dict[str, str]:
    """The JSON object of a unit; an empty prefix is omitted."""
    return {"base": unit.base, "prefix": unit.prefix} if unit.prefix else {"base": unit.base}
