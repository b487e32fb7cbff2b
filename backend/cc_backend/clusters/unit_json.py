"""Units as documents write them: an object with base and prefix, or one string in old files."""

from collections.abc import Mapping
from typing import Any

from cc_backend.model import MetricUnit

_PREFIXES = "KkMGTPE"
# Old files write a unit as one word; its first letter is a prefix only in front of one of these.
_PREFIXED_BASES = frozenset(
    {"B", "B/s", "Byte", "Byte/s", "Bytes", "Bytes/s", "F", "F/s", "Flop/s", "Flops", "Flops/s", "Hz", "J", "W"}
)


def unit_from_json(value: Any) -> MetricUnit | None:
    """The unit that a JSON value means, or None if it means none.

    Any string is accepted as base: sites use more than the schema lists.
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
    """The unit of one word, such as GB/s: base B/s, prefix G; load: base load."""
    text = text.strip()
    if text[:1] in _PREFIXES and text[1:] in _PREFIXED_BASES:
        return MetricUnit(text[1:], text[0].replace("k", "K"))
    return MetricUnit(text)


def unit_to_json(unit: MetricUnit) -> dict[str, str]:
    """The unit as the wire writes it; an empty prefix is left out."""
    return {"base": unit.base, "prefix": unit.prefix} if unit.prefix else {"base": unit.base}
