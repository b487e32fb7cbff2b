"""The performance monitoring units that the kernel lists in /sys/bus/event_source/devices.

Layout: Documentation/ABI/testing/sysfs-bus-event_source-devices-{events,format} of the kernel.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Dict, List, Mapping, NamedTuple, Optional, Tuple

from cc_agent.collectors.perf.syscall import EventCode
from cc_agent.errors import CpuTopologyError, NotPresentError
from cc_agent.topology import parse_cpu_list

DEVICES_FOLDER = "sys/bus/event_source/devices"
_MAX_TEXT_BYTES = 4096
_FIELD = re.compile(r"(config[1-3]?):(\d+(?:-\d+)?(?:,\d+(?:-\d+)?)*)")
_FIELDS = ("config", "config1", "config2", "config3")
_BITS, _TYPE_BITS = 64, 32


class EventAlias(NamedTuple):
    """An event that the kernel names: its terms, and what one count is, as `6.1e-5` `MiB`."""

    terms: str
    scale: float
    unit: str


class Pmu(NamedTuple):
    """A performance monitoring unit; `cpus` are the hardware threads to open its events on, empty for all."""

    name: str
    type: int
    folder: Path
    cpus: Tuple[int, ...]

    def event(self, name: str) -> Optional[EventAlias]:
        """The event with this name; None if the kernel has none."""
        terms = _read_text(self.folder / "events" / name)
        if not terms:
            return None
        try:
            scale = float(_read_text(self.folder / "events" / f"{name}.scale") or 1.0)
        except ValueError:
            return None
        if not 0.0 < scale < float("inf"):
            return None
        return EventAlias(terms, scale, _read_text(self.folder / "events" / f"{name}.unit"))

    def encode(self, terms: str) -> EventCode:
        """The event of terms such as `event=0x04,umask=0x03`. Raises ValueError if a term is unknown or too large."""
        words: Dict[str, int] = dict.fromkeys(_FIELDS, 0)
        for name, value in parse_terms(terms).items():
            if name in words:
                words[name] |= value
                continue
            layout = _read_text(self.folder / "format" / name)
            if not layout:
                raise ValueError(f"PMU {self.name} has no term {name!r}")
            field, bits = parse_format(layout)
            words[field] |= scatter_bits(value, bits, name)
        return EventCode(self.type, words["config"], words["config1"], words["config2"], words["config3"])


def read_pmus(root: Path = Path("/")) -> List[Pmu]:
    """All units, ordered by name with numbers in their order. Raises NotPresentError if the kernel lists none."""
    folder = root / DEVICES_FOLDER
    try:
        names = sorted((entry.name for entry in folder.iterdir()), key=_name_order)
    except OSError as error:
        raise NotPresentError(
            f"{folder} cannot be read: {error.strerror}", "mount /sys, and use a kernel with CONFIG_PERF_EVENTS"
        ) from error
    return [pmu for pmu in (_read_pmu(folder / name) for name in names) if pmu is not None]


def _read_pmu(folder: Path) -> Optional[Pmu]:
    """A unit; None if its files cannot be understood."""
    try:
        number = int(_read_text(folder / "type"))
        if not 0 <= number < 1 << _TYPE_BITS:
            return None
        cpus = parse_cpu_list(_read_text(folder / "cpumask") or _read_text(folder / "cpus"))
    except (ValueError, CpuTopologyError):
        return None
    return Pmu(folder.name, number, folder, cpus)


def parse_terms(text: str) -> Dict[str, int]:
    """The terms of an event such as `event=0x04,umask=3,edge`; a bare term means 1. Raises ValueError."""
    terms: Dict[str, int] = {}
    for part in text.strip().split(","):
        name, equals, value = part.strip().partition("=")
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise ValueError(f"{text[:80]!r} is not an event")
        # Also a parameter that the caller is to choose, such as `core=?`, is not a number.
        terms[name] = int(value, 0) if equals else 1
        if not 0 <= terms[name] < 1 << _BITS:
            raise ValueError(f"term {name} of {text[:80]!r} does not fit 64 bits")
    return terms


def parse_format(text: str) -> Tuple[str, List[Tuple[int, int]]]:
    """Word and bit ranges of a format such as `config:0-7,32-35`, lowest bits of the term first. Raises ValueError."""
    found = _FIELD.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text[:80]!r} is not a format")
    ranges = []
    for part in found.group(2).split(","):
        low, _, high = part.partition("-")
        first, last = int(low), int(high or low)
        if not first <= last < _BITS:
            raise ValueError(f"{text[:80]!r} is not a format")
        ranges.append((first, last))
    return found.group(1), ranges


def scatter_bits(value: int, ranges: List[Tuple[int, int]], name: str = "term") -> int:
    """The value with its bits spread over the ranges, low to high. Raises ValueError if it has more bits."""
    word, rest = 0, value
    for first, last in ranges:
        width = last - first + 1
        word |= (rest & (1 << width) - 1) << first
        rest >>= width
    if rest:
        raise ValueError(f"{value:#x} is too large for {name}")
    return word


def _name_order(name: str) -> Tuple[str, int, str]:
    found = re.fullmatch(r"(.*?)(\d{1,9})", name)
    return (found.group(1), int(found.group(2)), name) if found else (name, -1, name)


def _read_text(path: Path) -> str:
    """The text of a file; empty if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_TEXT_BYTES).decode("ascii", "replace").strip()
    except OSError:
        return ""


def named(pmus: List[Pmu], pattern: str) -> List[Pmu]:
    """The units whose whole name matches a regular expression."""
    return [pmu for pmu in pmus if re.fullmatch(pattern, pmu.name)]


def socket_of_cpu(sockets: Tuple[Tuple[int, ...], ...]) -> Mapping[int, int]:
    """The id of the socket of each hardware thread."""
    return {cpu: socket for socket, cpus in enumerate(sockets) for cpu in cpus}
