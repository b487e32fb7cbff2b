"""Numbers in the documents of Redfish: chassis with power, temperatures, fans and sensors, and processors."""

from __future__ import annotations

from typing import Any, Dict, Iterable, Iterator, List, Mapping, NamedTuple, Optional, Tuple

Document = Mapping[str, Any]

_MAX_ENTRIES = 256
_MAX_NAME = 100
_WATTS = (
    ("PowerConsumedWatts", "consumed_watts"),
    ("AverageConsumedWatts", "average_consumed_watts"),
    ("MinConsumedWatts", "min_consumed_watts"),
    ("MaxConsumedWatts", "max_consumed_watts"),
)
_SENSORS = {
    "Temperature": ("temperature", "degC"),
    "Rotational": ("fan_speed", "RPM"),
    "Power": ("power", "watts"),
}
_UNITS = {"Cel": "degC", "RPM": "RPM", "W": "watts", "%": "percent", "Percent": "percent"}


class RedfishReading(NamedTuple):
    """A number of a sensor, whose name is unique within the node for this metric, with tags in addition."""

    metric: str
    sensor: str
    value: float
    unit: str
    tags: Dict[str, str]


def read_chassis(
    chassis: Document, documents: Mapping[str, Document], sensors: Iterable[Document]
) -> Iterator[RedfishReading]:
    """The numbers of a chassis, of its documents Power and Thermal, and of its sensors; only of what is enabled."""
    if not _is_enabled(chassis):
        return
    name = _text(chassis, "Id")
    tags = {"chassis_id": name, "chassis_name": _text(chassis, "Name")}
    for entry in _entries(documents.get("Power", {}), "PowerControl"):
        yield from _power(entry, name, {**tags, **_named(entry, "power_control")})
    thermal = documents.get("Thermal", {})
    for entry in _entries(thermal, "Temperatures"):
        more = {**tags, **_named(entry, "temperature")}
        yield from _reading(("temperature", "degC"), entry, "ReadingCelsius", name, more)
    for entry in _entries(thermal, "Fans"):
        unit = _UNITS.get(_text(entry, "ReadingUnits"), "RPM")
        yield from _reading(("fan_speed", unit), entry, "Reading", name, {**tags, **_named(entry, "fan")})
    for entry in sensors:
        known = _SENSORS.get(_text(entry, "ReadingType"))
        if known and _is_enabled(entry):
            unit = _UNITS.get(_text(entry, "ReadingUnits"), known[1])
            yield from _reading((known[0], unit), entry, "Reading", name, {**tags, **_named(entry, "sensor")})


def read_processor(number: int, processor: Document, metrics: Document) -> Iterator[RedfishReading]:
    """Power and temperature of a processor, as those of the socket with this number."""
    if not _is_enabled(processor):
        return
    tags = {"type": "socket", "type-id": str(number), "stype": "", "stype-id": ""}
    for key, metric, unit in (
        ("ConsumedPowerWatt", "consumed_power", "watts"),
        ("TemperatureCelsius", "temperature", "degC"),
    ):
        value = _number(metrics, key)
        if value is not None:
            yield RedfishReading(metric, "", value, unit, tags)


def _power(entry: Document, chassis: str, tags: Dict[str, str]) -> Iterator[RedfishReading]:
    history = entry.get("PowerMetrics")
    for key, metric in _WATTS:
        value = _number(entry, key)
        if value is None and isinstance(history, Mapping):
            value = _number(history, key)
        if value is not None:
            yield RedfishReading(metric, _sensor(chassis, entry), value, "watts", tags)


def _reading(
    metric: Tuple[str, str], entry: Document, key: str, chassis: str, tags: Dict[str, str]
) -> Iterator[RedfishReading]:
    value = _number(entry, key)
    if value is not None:
        yield RedfishReading(metric[0], _sensor(chassis, entry), value, metric[1], tags)


def _entries(document: Document, key: str) -> List[Document]:
    found = document.get(key)
    entries = found[:_MAX_ENTRIES] if isinstance(found, list) else []
    return [entry for entry in entries if isinstance(entry, Mapping) and _is_enabled(entry)]


def _is_enabled(entry: Document) -> bool:
    status = entry.get("Status")
    return not isinstance(status, Mapping) or status.get("State", "Enabled") in ("Enabled", None)


def _named(entry: Document, prefix: str) -> Dict[str, str]:
    return {f"{prefix}_id": _id(entry), f"{prefix}_name": _text(entry, "Name") or _text(entry, "FanName")}


def _id(entry: Document) -> str:
    return _text(entry, "MemberId") or _text(entry, "Id")


def _sensor(chassis: str, entry: Document) -> str:
    return f"{chassis}:{_text(entry, 'Name') or _text(entry, 'FanName') or _id(entry)}"[:_MAX_NAME]


def _text(entry: Document, key: str) -> str:
    """The text, or a number as text; "" for anything else. It can be a tag: printable, and no backslash at its end."""
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return ""
    text = "".join(char for char in str(value)[:_MAX_NAME] if char.isprintable())
    return text.strip().rstrip("\\")


def _number(entry: Document, key: str) -> Optional[float]:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if abs(value) < 1e15 else None  # noqa: PLR2004 nothing measured is so large; NaN is compared, too
