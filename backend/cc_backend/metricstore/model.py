"""The nouns of the metric store: what goes in, what comes out, and its limits."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from cc_backend.metricstore.self_metrics import SelfMetricsSnapshot
from cc_backend.model import Samples
from cc_common.line_protocol import LineError

Int64Array = npt.NDArray[np.int64]
"""Series numbers, rows, times: integers in arrays."""

BoolArray = npt.NDArray[np.bool_]

Float64Array = npt.NDArray[np.float64]


class RejectReason(StrEnum):
    """Why a line was left out. The order is fixed: rejected series keys are remembered by position."""

    UNKNOWN_METRIC = "unknown_metric"
    UNKNOWN_CLUSTER = "unknown_cluster"
    SERIES_LIMIT = "series_limit"
    HOST_LIMIT = "host_limit"
    NO_HOST = "no_host"
    NO_CLUSTER = "no_cluster"
    BAD_NAME = "bad_name"
    SYNTAX = "syntax"
    VALUE_RANGE = "value_range"
    FUTURE = "future"
    TOO_OLD = "too_old"
    UNKNOWN_HOST = "unknown_host"


QUIET_REASONS = frozenset(
    {
        RejectReason.UNKNOWN_METRIC,
        RejectReason.UNKNOWN_CLUSTER,
        RejectReason.UNKNOWN_HOST,
        RejectReason.SERIES_LIMIT,
        RejectReason.HOST_LIMIT,
    }
)
"""Counted, but no fault of the line: senders send more than the store is set up to keep."""


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """How a metric is kept: seconds per slot, and how parts of a host combine (`sum`, `avg` or empty)."""

    timestep_s: int
    aggregation: str = ""


MetricTable = Mapping[str, Mapping[str, MetricSpec]]
"""Cluster -> metric -> specification. What is not in it is not kept."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Caps against what a wrong or hostile sender can make the store allocate."""

    hosts: int = 100_000
    unknown_hosts: int = 10_000  # of these, those that the configuration does not have
    strict_hosts: bool = False  # take no samples of hosts that the configuration does not have
    series: int = 5_000_000
    host_series: int = 100_000  # of these, those of one host
    job_series: int = 500_000  # those of type `job` come and go with the jobs
    rejected_keys: int = 100_000
    query_samples: int = 250_000_000


class HostPart(NamedTuple):
    """Where in a host a series is measured; all empty for the host itself."""

    type: str = ""
    type_id: str = ""
    subtype: str = ""
    subtype_id: str = ""


JOB_TYPE = "job"
"""The type of parts that are jobs: their series come and go, unlike those of the hardware."""


class Identity(NamedTuple):
    """What makes a series one series, however its key is spelt on the wire."""

    cluster: str
    host: str
    metric: str
    part: HostPart = HostPart()


@dataclass(frozen=True, slots=True)
class UnknownName:
    """A cluster, metric or host that the configuration does not have; `nearest` is one that it has, if any is alike.

    `configured_elsewhere` metrics are only not those of the host's subcluster. A cluster's own name has no `cluster`.
    """

    name: str
    cluster: str = ""
    nearest: str = ""
    configured_elsewhere: bool = False


@dataclass(frozen=True, slots=True)
class IngestResult:
    """What became of one batch.

    `rejected` counts by `RejectReason`; `errors` names the first faulty lines, quiet reasons excepted. `durable` is
    False if the write-ahead log could not take the batch: its samples are in memory, and the sender must keep its copy.
    With `full` nothing of the batch was kept, for want of memory. `unknown_names` has the first names that the
    configuration lacks among the rejected lines; `unknown_hosts` are such hosts too, but their lines, counted by
    `unknown_host_lines`, were accepted.
    """

    accepted: int
    rejected: Mapping[str, int]
    errors: tuple[LineError, ...]
    durable: bool
    full: bool = False
    unknown_names: Mapping[RejectReason, tuple[UnknownName, ...]] = field(default_factory=dict)
    unknown_hosts: tuple[UnknownName, ...] = ()
    unknown_host_lines: int = 0

    @property
    def is_complete(self) -> bool:
        """Whether every line was wanted and is kept."""
        return self.durable and not (self.full or self.rejected or self.unknown_host_lines)

    @property
    def faulty_lines(self) -> int:
        """Lines left out for a fault of their own."""
        return sum(count for reason, count in self.rejected.items() if RejectReason(reason) not in QUIET_REASONS)


@dataclass(frozen=True, slots=True)
class Query:
    """One metric of one host, or of parts of it.

    `type` None (or `node`) asks for the host as a whole. `type_ids` None asks for all parts of the type. `aggregate`
    combines what was selected into one series. `scale_by` multiplies; None and 0 leave the values alone.
    """

    metric: str
    host: str
    type: str | None = None
    type_ids: tuple[str, ...] | None = None
    aggregate: bool = False
    scale_by: float | None = None
    subtype: str | None = None
    subtype_ids: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class StoredSeries:
    """Samples on the full grid that was asked for, NaN where there is none; or an error text instead.

    `data[i]` belongs to `from_s + i * timestep_s`. For a combination, `coverage[i]` says how many of the
    `members` had a sample in that slot, and `id` is None: the caller knows what it asked to be combined. `offset_s`
    is how far into its slot a sample of the series lies, by the newest ones; None where that is not known.
    """

    id: str | None
    from_s: int
    timestep_s: int
    data: Samples
    error: str | None = None
    subtype_id: str | None = None
    coverage: npt.NDArray[np.int32] | None = None
    members: int = 1
    offset_s: int | None = None


@dataclass(frozen=True, slots=True)
class StoredStatistic:
    """Minimum, mean and maximum of a series in a range; None without any sample."""

    id: str | None
    min: float | None
    avg: float | None
    max: float | None
    count: int = 0
    error: str | None = None
    subtype_id: str | None = None
    timestep_s: int = 0
    members: int = 1


@dataclass(frozen=True, slots=True)
class MetricFault:
    """What is wrong with a metric of a host: the newest sample, None if there never was one, and the parts it is of.

    No parts means the metric as a whole.
    """

    last_s: int | None
    parts: tuple[HostPart, ...] = ()


@dataclass(frozen=True, slots=True)
class HostHealth:
    """Which of the expected metrics of a host arrive, arrive in part, or do not arrive.

    `faults` says more about each that is missing or degraded; `unexpected` are those that neither this host nor most
    of its kind ever sent.
    """

    missing: tuple[str, ...]
    degraded: tuple[str, ...]
    healthy: tuple[str, ...]
    known: bool = True
    faults: Mapping[str, MetricFault] = field(default_factory=dict, compare=False)
    unexpected: tuple[str, ...] = field(default=(), compare=False)

    @property
    def state(self) -> str:
        """`full`, `partial` or `failed`, as the wire says it."""
        if not self.known:
            return "failed"
        if not self.missing and not self.degraded:
            return "full"
        return "partial" if self.healthy else "failed"


@dataclass(frozen=True, slots=True)
class WalState:
    """How the write-ahead log is doing; `fault` is the text of the fault that lasts, else empty."""

    enabled: bool = False
    segments: int = 0
    size_bytes: int = 0
    fault: str = ""
    unlogged_batches: int = 0
    unlogged_samples: int = 0


@dataclass(slots=True)
class RestoreState:
    """What was read back at the start, and how far that is.

    `files` and `samples` are of the write-ahead log, `windows` and `chunks` of snapshots; `chunks_adopted` went
    into memory without being unpacked. `restored_bytes` of `total_bytes` are read while `running`.
    """

    files: int = 0
    samples: int = 0
    skipped_samples: int = 0  # of series that are no longer configured, or whose definition was damaged
    damaged_files: int = 0
    damaged_bytes: int = 0
    unread_files: int = 0  # those that could not be read at all, and are left alone
    windows: int = 0
    chunks: int = 0
    chunks_adopted: int = 0
    damaged_chunks: int = 0
    running: bool = False
    total_bytes: int = 0
    restored_bytes: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class SnapshotState:
    """How snapshots are doing; `last_s` is when the last pass that was through ended, 0 before the first."""

    enabled: bool = False
    files: int = 0
    size_bytes: int = 0
    fault: str = ""
    last_s: int = 0
    last_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class MemoryState:
    """What the store takes of the machine's memory, and what its cap asks for.

    `hot_bytes` are samples as they came, `cold_bytes` compressed ones, `table_bytes` everything that tells which series
    there are. A cap of 0 is none; `cap_step` is the step that the last check had to go to, 0 where all was well.
    """

    hot_bytes: int = 0
    cold_bytes: int = 0
    table_bytes: int = 0
    cap_bytes: int = 0
    cap_step: int = 0
    refusing: bool = False


@dataclass(frozen=True, slots=True)
class StoreCounters:
    """The store about itself; counts are since the start."""

    batches: int
    lines: int
    accepted: int
    rejected: Mapping[str, int]
    series: int
    hosts: int
    cached_keys: int
    sample_bytes: int
    log: WalState
    restore: RestoreState = field(default_factory=RestoreState)
    snapshots: SnapshotState = field(default_factory=SnapshotState)
    self_metrics: SelfMetricsSnapshot | None = None
    unknown_hosts: int = 0  # that the configuration does not have; counted up to 10,000
    unknown_host_lines: int = 0  # of these hosts, kept or rejected
