"""The parts of collectors: protocol, tick, series, kernel files and rates."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Protocol, Sequence, Tuple, runtime_checkable

from cc_agent.errors import NotAvailableError
from cc_common.settings import option

MAX_RATE_INTERVALS = 2.5
"""Maximum length of a rate in intervals; after a longer pause no rate is sent."""

_CHUNK_BYTES = 65536
_ATTRIBUTE_BYTES = 4096
_FILE_LIMIT_BYTES = 16 * 1024 * 1024


class Tick(NamedTuple):
    """One firing of the sampling timer.

    `time_s` is the time of all samples of the tick, `monotonic_s` the moment when a collector starts to read: rates use
    differences of the latter, so that a step of the wall clock does not affect them.
    """

    time_s: int
    monotonic_s: float
    interval_s: float


class MetricDescription(NamedTuple):
    """A metric that a collector provides at one scope; `kind` is gauge, rate or counter.

    A name that only the machine knows is described by a pattern, such as `temp_*`.
    """

    name: str
    unit: str
    scope: str
    meaning: str
    kind: str


class RawSeries:
    """A time series before the router's rules; compared by identity, created once by its collector."""

    __slots__ = ("meta", "metric", "tags")

    def __init__(self, metric: str, tags: Mapping[str, str], meta: Mapping[str, str]) -> None:
        self.metric = metric
        self.tags = tags
        self.meta = meta

    def __repr__(self) -> str:
        return f"Series({self.metric!r}, {dict(self.tags)!r})"


Reading = Tuple[RawSeries, float]


class Collector(Protocol):
    """A source of samples.

    `open` raises NotAvailableError if the machine lacks the source; `read` may raise OSError or ValueError, after which
    the collector is closed and reopened later. `metrics` is complete before `open`, but for patterns, which `open`
    replaces by the names that it found. `open` raises NotPresentError if the machine has no such source.
    """

    name: str
    metrics: Tuple[MetricDescription, ...]

    def open(self) -> None:
        """Open the files. Raises NotAvailableError with advice if they are missing."""

    def read(self, tick: Tick, /) -> List[Reading]:
        """The readings of this tick; rates from the second call on."""

    def close(self) -> None:
        """Close the files; may be called at any time and more than once."""


@runtime_checkable
class PausableCollector(Protocol):
    """A collector that gives up what others on the node may want, such as hardware counters, and takes it again."""

    def pause(self, seconds: float, job: str = "", /) -> None:
        """Release everything at once, and take it again by itself after this time; called between two ticks.

        With the id of a job it is taken again as soon as the job has ended, if that is earlier.
        """

    def resume(self) -> None:
        """Take it again at the next tick."""


@dataclass(frozen=True)
class MetricFilter:
    """Options of all collectors: which metrics to send."""

    include_metrics: Tuple[str, ...] = option(
        (), "send only these metrics; empty means all that are not excluded", key="include_metrics"
    )
    exclude_metrics: Tuple[str, ...] = option((), "never send these metrics", key="exclude_metrics")
    interval_s: float = option(
        0.0,
        "time between readings of this collector, rounded up to a multiple of main.interval; 0 reads at every tick",
        key="interval",
        kind="duration",
        minimum=0.0,
    )

    def allows(self, metric: str) -> bool:
        """Whether this metric is to be sent."""
        if metric in self.exclude_metrics:
            return False
        return not self.include_metrics or metric in self.include_metrics


def select_metrics(descriptions: Iterable[MetricDescription], choice: MetricFilter) -> Tuple[MetricDescription, ...]:
    """The descriptions of the metrics to be sent, in their order."""
    return tuple(description for description in descriptions if choice.allows(description.name))


class SeriesPool:
    """The series of one collector, each created once."""

    def __init__(self, descriptions: Sequence[MetricDescription], *, source: str, group: str) -> None:
        self._source = source
        self._group = group
        self._meta: Dict[Tuple[str, str], Dict[str, str]] = {}
        for description in descriptions:
            self.declare(description)
        self._series: Dict[Tuple[str, str, str, str, str], RawSeries] = {}

    def declare(self, description: MetricDescription) -> None:
        """Add a metric whose name was found on the machine."""
        meta = {"source": self._source, "group": self._group, "unit": description.unit, "kind": description.kind}
        self._meta[description.name, description.scope] = meta

    def declared(self, metric: str, scope: str) -> bool:
        """Whether the collector sends this metric at this scope."""
        return (metric, scope) in self._meta

    def get(
        self, metric: str, scope: str = "node", type_id: str = "", stype: str = "", stype_id: str = ""
    ) -> RawSeries:
        """The series with these tags; `type_id` must be empty for the scope node."""
        key = (metric, scope, type_id, stype, stype_id)
        series = self._series.get(key)
        if series is None:
            tags = {"type": scope, "type-id": type_id, "stype": stype, "stype-id": stype_id}
            series = RawSeries(
                metric, {name: value for name, value in tags.items() if value}, self._meta[metric, scope]
            )
            self._series[key] = series
        return series

    def forget(self, stype_id: str = "", *, type_id: str = "") -> None:
        """Remove the series of a device, or of a job or accelerator, that no longer exists."""
        self._series = {
            key: series
            for key, series in self._series.items()
            if not ((stype_id and key[4] == stype_id) or (type_id and key[2] == type_id))
        }


class KernelFile:
    """A small kernel file that is read whole, through a descriptor that stays open between ticks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = -1

    def read(self) -> bytes:
        """The content; reopens the file once if the descriptor is stale. Raises OSError."""
        if self._descriptor >= 0:
            try:
                return self._read_all()
            except OSError:
                # ENODEV, ESTALE: the device or the mount behind the descriptor was replaced.
                self.close()
        self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        return self._read_all()

    def read_attribute(self) -> bytes:
        """The content of a file in /sys, a page at most; in one call, so that the kernel computes it once. OSError."""
        if self._descriptor < 0:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        return os.pread(self._descriptor, _ATTRIBUTE_BYTES, 0)

    def _read_all(self) -> bytes:
        content = os.pread(self._descriptor, _CHUNK_BYTES, 0)
        # Kernel sequence files return about a page per call, so only an empty read means the end.
        while content:
            more = os.pread(self._descriptor, _CHUNK_BYTES, len(content))
            if not more:
                break
            content += more
            if len(content) > _FILE_LIMIT_BYTES:
                raise OSError(f"{self.path} is larger than {_FILE_LIMIT_BYTES} bytes")
        return content

    def close(self) -> None:
        """Close the descriptor; the next read reopens the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def read_required(file: KernelFile, advice: str) -> bytes:
    """The content of a file that a collector needs. Raises NotAvailableError if it is unreadable or empty."""
    try:
        content = file.read()
    except OSError as error:
        raise NotAvailableError(f"{file.path} cannot be read: {error.strerror or error}", advice) from error
    if not content.strip():
        raise NotAvailableError(f"{file.path} is empty", advice)
    return content


def read_integer(file: KernelFile) -> Optional[int]:
    """The integer in a file in /sys; None if it has none, or cannot be read now."""
    try:
        return int(file.read_attribute())
    except (OSError, ValueError):
        file.close()
        return None


class RateClock:
    """Measures the time between readings for rates."""

    def __init__(self) -> None:
        self._last_s: Optional[float] = None

    def elapsed_s(self, tick: Tick) -> Optional[float]:
        """Monotonic seconds since the previous call; None for the first call and after more than 2.5 intervals."""
        previous_s, self._last_s = self._last_s, tick.monotonic_s
        if previous_s is None:
            return None
        elapsed_s = tick.monotonic_s - previous_s
        return elapsed_s if 0.0 < elapsed_s <= MAX_RATE_INTERVALS * tick.interval_s else None

    def reset(self) -> None:
        """Start over: the next call of `elapsed_s` returns None."""
        self._last_s = None


def counter_deltas(now: Sequence[int], before: Sequence[int]) -> Optional[List[int]]:
    """The increase of each counter; None if one decreased, which means that the source was reset."""
    steps = [new - old for new, old in zip(now, before)]
    return steps if min(steps) >= 0 else None
