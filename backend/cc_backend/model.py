"""The nouns of the backend: plain data that every part speaks in. Imports no other part.

Field names are the project's; the keys of the wire and of the archive (camelCase) are written and read
in one place each: `archive.document` for meta.json, `archive.samples` for data.json, `jobs.payloads` for REST and NATS.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]


class Scope(StrEnum):
    """Where a metric is measured, coarse to fine."""

    NODE = "node"
    SOCKET = "socket"
    MEMORY_DOMAIN = "memoryDomain"
    CORE = "core"
    HWTHREAD = "hwthread"
    ACCELERATOR = "accelerator"

    @property
    def rank(self) -> int:
        """Coarseness: node 10, socket 5, memoryDomain 4, core 3, hwthread 2, accelerator 1."""
        return _RANKS[self]


_RANKS = {
    Scope.NODE: 10,
    Scope.SOCKET: 5,
    Scope.MEMORY_DOMAIN: 4,
    Scope.CORE: 3,
    Scope.HWTHREAD: 2,
    Scope.ACCELERATOR: 1,
}


class JobState(StrEnum):
    """The states the wire knows."""

    BOOT_FAIL = "boot_fail"
    CANCELLED = "cancelled"
    COMPLETED = "completed"
    DEADLINE = "deadline"
    FAILED = "failed"
    NODE_FAIL = "node_fail"
    OUT_OF_MEMORY = "out_of_memory"
    PENDING = "pending"
    PREEMPTED = "preempted"
    RUNNING = "running"
    SUSPENDED = "suspended"
    TIMEOUT = "timeout"


class Level(StrEnum):
    """What a value or a job says, worst first."""

    ALERT = "alert"
    CAUTION = "caution"
    HIGH = "high"
    ARTEFACT = "artefact"
    OK = "ok"

    @property
    def word(self) -> str:
        """The word that stands beside the glyph."""
        return "OK" if self is Level.OK else self.value.capitalize()

    @property
    def order(self) -> int:
        """Place in the order worst first, from 0."""
        return _LEVEL_RANK[self]


_LEVEL_RANK = {level: place for place, level in enumerate(Level)}

# A stop must carry one of the others.
NON_TERMINAL_STATES = frozenset({JobState.PENDING, JobState.RUNNING, JobState.SUSPENDED})


class MonitoringStatus:
    """How far monitoring and archiving of a job got; numbers are the wire's."""

    DISABLED = 0
    RUNNING_OR_ARCHIVING = 1
    ARCHIVING_FAILED = 2
    ARCHIVED = 3


@dataclass(frozen=True, slots=True)
class MetricUnit:
    """A unit as the wire writes it: `base` such as B/s, `prefix` such as G or empty."""

    base: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"{self.prefix}{self.base}"


@dataclass(frozen=True, slots=True)
class Resource:
    """What a job has of one host; no hwthreads means the whole node."""

    hostname: str
    hwthreads: tuple[int, ...] = ()
    accelerators: tuple[str, ...] = ()
    configuration: str = ""


@dataclass(frozen=True, slots=True)
class Tag:
    """A label on a job; `scope` is `global`, `admin` or a user name."""

    type: str
    name: str
    scope: str = "global"
    id: int = 0


@dataclass(frozen=True, slots=True)
class Statistic:
    """Least, mean and highest value over time."""

    min: float
    avg: float
    max: float


@dataclass(frozen=True, slots=True)
class MetricStatistic:
    """The job-level statistic of a metric: mean per node, least and highest over nodes."""

    unit: MetricUnit
    min: float
    avg: float
    max: float


class GapReason(StrEnum):
    """Why there are no samples; the values are the wire's."""

    STORE_UNREACHABLE = "store_unreachable"
    METRIC_NOT_CONFIGURED = "metric_not_configured"
    METRIC_NOT_ON_SUBCLUSTER = "metric_not_on_subcluster"
    JOB_HAS_NO_SUCH_HARDWARE = "job_has_no_such_hardware"
    JOB_SHORTER_THAN_TIMESTEP = "job_shorter_than_timestep"
    FIRST_SAMPLES_PENDING = "first_samples_on_their_way"
    OLDER_THAN_RETENTION = "older_than_kept"
    STORE_RESTORING = "store_restoring"
    STORE_DOWN = "store_did_not_run"
    HOST_NEVER_SEEN = "host_never_seen"
    HOST_SILENT = "host_silent"
    METRIC_NEVER_SEEN = "metric_never_seen"
    METRIC_NEVER_SEEN_ON_HOST = "metric_never_seen_on_host"
    METRIC_SILENT_ON_HOST = "metric_silent_on_host"
    UNKNOWN = "unknown"

    @property
    def is_host_wide(self) -> bool:
        """Whether the host as a whole is the cause: then it is so for all its metrics."""
        return self in (GapReason.HOST_NEVER_SEEN, GapReason.HOST_SILENT)

    @property
    def is_store_wide(self) -> bool:
        """Whether the cause lies with the store: then it is so for all hosts and metrics."""
        return self in (
            GapReason.STORE_UNREACHABLE,
            GapReason.OLDER_THAN_RETENTION,
            GapReason.STORE_RESTORING,
            GapReason.STORE_DOWN,
        )


@dataclass(frozen=True, slots=True)
class DataGap:
    """One stretch of time [from_s, to_s) without samples, and why; no hosts means that it is so for all.

    `last_sample_s` is the newest sample from before the stretch, where that is known and the stretch begins with what
    was looked at; `ongoing` says that nothing has come since.
    """

    reason: GapReason
    hosts: tuple[str, ...] = ()
    from_s: int = 0
    to_s: int = 0
    last_sample_s: int | None = None
    is_ongoing: bool = False


MIN_START_S = 946_684_800
"""2000-01-01 UTC: no job of today began before; a start of 0 or 1 is a clock or a field that was not set."""

OVERDUE_GRACE_S = 3600
"""Schedulers let a job end for a while after its time limit (kill wait, over-time limit, epilog)."""

MAX_UNLIMITED_RUN_S = 366 * 86_400
"""A job without a time limit that runs for over a year is more likely one whose end nobody reported."""

_REQUIRED_COLUMNS = frozenset({"job_id", "cluster", "sub_cluster", "start_time", "duration", "state", "resources"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that stands out about a job, as facts; `insight.sentences` makes words of them.

    `code` names the rule that found it. `hosts` are the names of the nodes it is about, of many only the first, and
    `nodes` how many these are. `since_s` is when it began (Unix seconds), `core_hours` and `gpu_hours` what it cost;
    `facts` are the numbers and words of the rule, ready for JSON.
    """

    code: str
    level: Level
    metric: str = ""
    hosts: tuple[str, ...] = ()
    node_count: int = 0
    since_s: int | None = None
    core_hours: float = 0.0
    gpu_hours: float = 0.0
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judgement:
    """How a job ran, as it was judged last.

    `level` is the verdict, None where nothing could be judged; `finding` the first finding and `more` how many others
    there are. `judged_s` is when that was (Unix seconds), `rules` the version of the rules it was judged by.
    """

    level: Level | None
    finding: Finding | None = None
    more: int = 0
    judged_s: int = 0
    rules_version: int = 0


@dataclass(slots=True)
class Job:
    """One job, running or finished. Times are Unix seconds, memory is MB, energy is kWh."""

    job_id: int
    cluster: str
    user: str
    project: str
    start_time: int
    resources: tuple[Resource, ...]
    num_nodes: int
    sub_cluster: str = ""
    partition: str = ""
    array_job_id: int = 0
    num_hwthreads: int = 0
    num_acc: int = 0
    shared: str = "none"
    smt: int = 0
    walltime: int = 0
    requested_memory: int = 0
    submit_time: int = 0
    duration: int = 0
    state: JobState = JobState.RUNNING
    monitoring_status: int = MonitoringStatus.RUNNING_OR_ARCHIVING
    meta_data: Mapping[str, str] | None = None
    tags: tuple[Tag, ...] = ()
    footprint: Mapping[str, float] | None = None
    energy: float = 0.0
    energy_footprint: Mapping[str, float] | None = None
    statistics: Mapping[str, MetricStatistic] | None = None
    gaps: Mapping[str, tuple[DataGap, ...]] | None = None
    judgement: Judgement | None = None
    cluster_config: int = 0
    """Number of the cluster configuration with which it started; 0 is unknown."""
    id: int = 0
    damaged_columns: tuple[str, ...] = ()
    """Columns of its row in the database that could not be read; they have their zero value here."""

    @property
    def is_unusable(self) -> bool:
        """Whether the damage leaves open which job this is, or which samples are its own."""
        return not _REQUIRED_COLUMNS.isdisjoint(self.damaged_columns)

    @property
    def is_overdue(self) -> bool:
        """Whether it runs longer than it can: its time limit and a grace, or for over a year without a limit."""
        if self.state is not JobState.RUNNING or "start_time" in self.damaged_columns:
            return False
        longest_s = self.walltime + OVERDUE_GRACE_S if self.walltime else MAX_UNLIMITED_RUN_S
        return self.duration > longest_s or self.start_time < MIN_START_S

    @property
    def stop_time(self) -> int:
        """Start plus duration; for a running job the duration is as of when it was read."""
        return self.start_time + self.duration

    @property
    def name(self) -> str:
        """The scheduler's job name, or an empty string."""
        return (self.meta_data or {}).get("jobName", "")


@dataclass(frozen=True, slots=True)
class JobKey:
    """What makes a job unique everywhere."""

    cluster: str
    job_id: int
    start_time: int


@dataclass(slots=True)
class SampleSeries:
    """Samples of one host or one part of it, one a timestep from the job's start; NaN is a gap."""

    hostname: str
    data: Samples
    id: str | None = None
    statistics: Statistic | None = None


@dataclass(slots=True)
class StatisticsSeries:
    """Least, mean, median and highest over all series of a metric, one a timestep; NaN is a gap."""

    min: npt.NDArray[np.float64]
    mean: npt.NDArray[np.float64] | None
    median: npt.NDArray[np.float64] | None
    max: npt.NDArray[np.float64]


@dataclass(slots=True)
class JobMetric:
    """One metric of a job at one scope."""

    unit: MetricUnit
    timestep_s: int
    series: list[SampleSeries] = field(default_factory=list)
    statistics_series: StatisticsSeries | None = None
    first_slot_s: int | None = None
    """Begin of the slot of the first sample; None from an archive, see `jobspan.first_sample_s`."""


JobData = dict[str, dict[Scope, JobMetric]]
"""Metric name -> scope -> samples."""


@dataclass(frozen=True, slots=True)
class RowRule:
    """Which jobs a caller may see: all, or those of a user or of projects. Made by `auth.rows` only.

    `clusters` narrows that to the clusters a token is bound to; empty is no binding. With `hides_restricted` the jobs
    come without values of metrics that are for staff only.
    """

    all_jobs: bool = False
    user: str = ""
    projects: tuple[str, ...] = ()
    allowed_clusters: tuple[str, ...] = ()
    hides_restricted: bool = False

    def allows(self, job: Job) -> bool:
        """Whether this one job may be seen."""
        if not self.allows_cluster(job.cluster):
            return False
        return self.all_jobs or job.user == self.user or job.project in self.projects

    def allows_cluster(self, cluster: str) -> bool:
        """Whether the binding of the caller's token has room for this cluster."""
        return not self.allowed_clusters or cluster in self.allowed_clusters
