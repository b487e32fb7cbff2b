"""How much memory the store may take, what gives way when it is too much, and how much a cluster will need.

The cap counts what the store really holds: samples, compressed samples, and the tables that say which series there
are. A cap of 0 is none. Running jobs give way last, and what is still being filled never: then samples are refused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple, Protocol

from cc_backend.metricstore.blocks.hot_block import WINDOW_SLOTS
from cc_backend.metricstore.model import MemoryState

_TARGET = 0.95  # once over the cap, make this share of it do, so that the next samples do not bring it back at once

# Figures of benchmarks/memory.py, rounded up.
HOT_SLOT_BYTES = 4.2
COLD_SAMPLE_BYTES = 3.1
COLD_DECIMAL_BYTES = 1.6
SERIES_BYTES = 180
LOG_SAMPLE_BYTES = 8.1


class Step(IntEnum):
    """How far the store went to stay under its cap."""

    NOTHING = 0
    COMPRESS = 1
    TO_DISK = 2
    DROP = 3
    DROP_PROTECTED = 4
    REFUSE = 5


class WindowRef(NamedTuple):
    """A window of one of the store's grids, and when its last slot ends."""

    grid: int
    window: int
    end_s: int


class CappedStore(Protocol):
    """What is asked of a store to keep it under its cap. Each call that frees gives the bytes that it freed."""

    def used_bytes(self) -> int:
        """What it holds in memory now."""

    def compress(self) -> int:
        """Compress every window that has ended."""

    def windows(self) -> Sequence[WindowRef]:
        """All windows with samples."""

    def evict(self, use: WindowRef) -> int:
        """Keep what is compressed and saved of a window on disk only."""

    def drop(self, use: WindowRef, *, protected: bool) -> int:
        """Forget a window; of protected hosts only with `protected`."""


def enforce(store: CappedStore, *, cap_bytes: int, now_s: int) -> Step:
    """Bring a store under its cap with as little loss as possible; says how far that went.

    Windows that have ended are compressed, then left on disk only, then forgotten, the oldest first and those of
    protected hosts last. `Step.REFUSE` says that all this was not enough: new samples should be refused until it is.
    """
    if not cap_bytes or store.used_bytes() <= cap_bytes:
        return Step.NOTHING
    target_bytes = int(cap_bytes * _TARGET)
    store.compress()
    if store.used_bytes() <= target_bytes:
        return Step.COMPRESS
    for step in (Step.TO_DISK, Step.DROP, Step.DROP_PROTECTED):
        ended = sorted((use for use in store.windows() if use.end_s <= now_s), key=lambda use: use.end_s)
        for use in ended:
            if step == Step.TO_DISK:
                store.evict(use)
            else:
                store.drop(use, protected=step == Step.DROP_PROTECTED)
            if store.used_bytes() <= target_bytes:
                return step
        if store.used_bytes() <= cap_bytes:  # no more is dropped only to put off the next pass
            return step
    return Step.REFUSE


# Sizing


@dataclass(frozen=True, slots=True)
class NodeKind:
    """Nodes of one kind: how many, and how many series each has, one sample per `timestep_s`."""

    count: int
    node_series: int
    timestep_s: int = 60

    @property
    def series(self) -> int:
        """How many series they have together."""
        return self.count * self.node_series


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a store needs at most once it holds its whole retention.

    `memory_bytes` is for values in full precision, `memory_decimal_bytes` for values with two or three decimals, as
    most collectors send them. `disk_bytes` is for the snapshots, `log_bytes` for the log of one interval of them.
    """

    series: int
    samples_per_s: float
    samples: int
    memory_bytes: int
    memory_decimal_bytes: int
    disk_bytes: int
    log_bytes: int


def forecast(kinds: Sequence[NodeKind], *, retention_s: int, hot_s: int, snapshot_interval_s: int = 1800) -> Forecast:
    """What a store of these nodes needs.

    With windows of W seconds (`WINDOW_SLOTS` timesteps), a series has ceil(hot / W) + 1 windows as they came and
    ceil(retention / W) + 1 less these compressed. A slot as it came costs `HOT_SLOT_BYTES` whether it is filled or not,
    a compressed sample `COLD_SAMPLE_BYTES` (`COLD_DECIMAL_BYTES` for short decimals), a series `SERIES_BYTES` beside
    its samples. On disk the retention lies compressed, with one window more, and the log costs `LOG_SAMPLE_BYTES` a
    sample until two snapshots later.
    """
    memory = short = disk = rate = 0.0
    samples = 0
    for kind in kinds:
        window_s = WINDOW_SLOTS * kind.timestep_s
        windows = -(-retention_s // window_s) + 1
        hot = min(-(-hot_s // window_s) + 1, windows)
        cold_slots = (windows - hot) * WINDOW_SLOTS
        fixed = SERIES_BYTES + hot * WINDOW_SLOTS * HOT_SLOT_BYTES
        memory += kind.series * (fixed + cold_slots * COLD_SAMPLE_BYTES)
        short += kind.series * (fixed + cold_slots * COLD_DECIMAL_BYTES)
        disk += kind.series * windows * WINDOW_SLOTS * COLD_SAMPLE_BYTES
        rate += kind.series / kind.timestep_s
        samples += kind.series * (retention_s // kind.timestep_s)
    return Forecast(
        series=sum(kind.series for kind in kinds),
        samples_per_s=rate,
        samples=samples,
        memory_bytes=int(memory),
        memory_decimal_bytes=int(short),
        disk_bytes=int(disk),
        log_bytes=int(2 * snapshot_interval_s * rate * LOG_SAMPLE_BYTES),
    )


def format_forecast(found: Forecast) -> str:
    """A forecast for people, a line per figure."""
    return "\n".join(
        (
            f"series            {found.series}",
            f"samples a second  {found.samples_per_s:.0f}",
            f"samples kept      {found.samples}",
            f"memory at most    {format_size(found.memory_bytes)}",
            f"with two decimals {format_size(found.memory_decimal_bytes)}",
            f"snapshots at most {format_size(found.disk_bytes)}",
            f"log at most       {format_size(found.log_bytes)}",
        )
    )


# Report


@dataclass(frozen=True, slots=True)
class CapacityReport:
    """What a store holds, and where that leads.

    `full_bytes` is what it will take once the whole retention is filled at this rate, compressed as well as what is
    compressed now; None while there are no figures yet.
    """

    series: int
    samples_per_s: float
    memory: MemoryState
    full_bytes: int | None

    @property
    def used_bytes(self) -> int:
        """Bytes in memory."""
        return self.memory.hot_bytes + self.memory.cold_bytes + self.memory.table_bytes

    @property
    def fits(self) -> bool:
        """Whether the whole retention will fit under the cap."""
        return not self.memory.cap_bytes or max(self.full_bytes or 0, self.used_bytes) <= self.memory.cap_bytes


def capacity_report(
    memory: MemoryState, *, series: int, samples_per_s: float, retention_s: int, hot_s: int, kept_s: int
) -> CapacityReport:
    """What a store holds and will hold. `kept_s` is for how long it has been filled, at this rate."""
    full: int | None = None
    cold_s = max(min(kept_s, retention_s) - hot_s, 0)
    if samples_per_s and cold_s:
        each = memory.cold_bytes / (samples_per_s * cold_s)
        full = int(memory.hot_bytes + memory.table_bytes + each * samples_per_s * max(retention_s - hot_s, 0))
    return CapacityReport(series, samples_per_s, memory, full)


def format_report(found: CapacityReport) -> str:
    """A report for the program's log."""
    memory = found.memory
    sizes = {"hot": memory.hot_bytes, "cold": memory.cold_bytes, "tables": memory.table_bytes}
    if found.full_bytes is not None:
        sizes["when_full"] = found.full_bytes
    if memory.cap_bytes:
        sizes["cap"] = memory.cap_bytes
    text = " ".join(f"{name}={format_size(size).replace(' ', '')}" for name, size in sizes.items())
    advice = "" if found.fits else ": raise memory-cap, or older samples are on disk only"
    return f"series={found.series} samples_per_s={found.samples_per_s:.0f} {text}{advice}"


def format_size(size_bytes: float) -> str:
    """A size in decimal units, as the memory cap is given."""
    for unit, size in (("TB", 1e12), ("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= size:
            return f"{size_bytes / size:.1f} {unit}"
    return f"{size_bytes:.0f} B"
