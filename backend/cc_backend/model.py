"""The nouns of the backend: plain data that all packages share. Imports no other package of the backend.

Field names are ours; the camelCase keys of JSON documents are written and read in one place each:
`archive.meta_json` for meta.json, `archive.data_json` for data.json, `jobs.job_json` for the REST API.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt

from cc_common.job_events import Resource as Resource  # noqa: PLC0414 part of the model, and of start events

Samples = npt.NDArray[np.float32]

RetentionHolds = Mapping[str, Mapping[str, int]]
"""Cluster -> host -> Unix seconds from which on its samples are kept, because unfinished jobs need them."""


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
    """Job states, as the REST API and the archive write them."""

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
    """Rating of a value or a job, worst first."""

    ALERT = "alert"
    CAUTION = "caution"
    HIGH = "high"
    ARTEFACT = "artefact"
    OK = "ok"

    @property
    def word(self) -> str:
        """Capitalised name for people, shown beside the glyph."""
        return "OK" if self is Level.OK else self.value.capitalize()

    @property
    def order(self) -> int:
        """Position when sorted worst first, from 0."""
        return _LEVEL_RANK[self]


_LEVEL_RANK = {level: place for place, level in enumerate(Level)}

# A stop must carry one of the others.
NON_TERMINAL_STATES = frozenset({JobState.PENDING, JobState.RUNNING, JobState.SUSPENDED})


class MonitoringStatus:
    """Progress of monitoring and archiving of a job, as the numbers that the REST API uses."""

    DISABLED = 0
    RUNNING_OR_ARCHIVING = 1
    ARCHIVING_FAILED = 2
    ARCHIVED = 3


@dataclass(frozen=True, slots=True)
class MetricUnit:
    """A unit as JSON documents write it: `base` such as B/s, `prefix` such as G or empty."""

    base: str
    prefix: str = ""

    def __str__(self) -> str:
        return f"{self.prefix}{self.base}"


@dataclass(frozen=True, slots=True)
class Tag:
    """A label on a job; `scope` is `global`, `admin` or a user name."""

    type: str
    name: str
    scope: str = "global"
    id: int = 0


@dataclass(frozen=True, slots=True)
class Statistic:
    """Minimum, mean and maximum over time."""

    min: float
    avg: float
    max: float


@dataclass(frozen=True, slots=True)
class MetricStatistic:
    """Statistic of a metric over the whole job: mean per node, minimum and maximum over all nodes."""

    unit: MetricUnit
    min: float
    avg: float
    max: float


class GapReason(StrEnum):
    """Why samples are missing; the values are those of the JSON documents."""

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
        """Whether the host is the cause, so that all its metrics are missing."""
        return self in (GapReason.HOST_NEVER_SEEN, GapReason.HOST_SILENT)

    @property
    def is_store_wide(self) -> bool:
        """Whether the store is the cause, so that all hosts and metrics are missing."""
        return self in (
            GapReason.STORE_UNREACHABLE,
            GapReason.OLDER_THAN_RETENTION,
            GapReason.STORE_RESTORING,
            GapReason.STORE_DOWN,
        )


@dataclass(frozen=True, slots=True)
class DataGap:
    """A time range [from_s, to_s) without samples, and the reason; without hosts it holds for all hosts.

    `last_sample_s` is the newest sample before the gap, if known and if the gap starts with the queried range;
    `is_ongoing` says that nothing has arrived since.
    """

    reason: GapReason
    hosts: tuple[str, ...] = ()
    from_s: int = 0
    to_s: int = 0
    last_sample_s: int | None = None
    is_ongoing: bool = False


MIN_START_S = 946_684_800
"""2000-01-01 UTC: an earlier start means that a clock or a field was not set."""

OVERDUE_GRACE_S = 3600
"""Schedulers may end a job somewhat after its time limit (kill wait, over-time limit, epilog)."""

MAX_UNLIMITED_RUN_S = 366 * 86_400
"""After a year without a time limit, the end of a job was probably never reported."""

_REQUIRED_COLUMNS = frozenset({"job_id", "cluster", "sub_cluster", "start_time", "duration", "state", "resources"})


@dataclass(frozen=True, slots=True)
class Finding:
    """One noteworthy observation about a job, as facts; `insight.sentences` phrases them.

    `code` names the rule that made it. `hosts` are the affected nodes, only the first few of many, `node_count` their
    total number. `since_s` is the start (Unix seconds), `core_hours` and `gpu_hours` the cost; `facts` are the rule's
    values, ready for JSON.
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
    """The latest judgement of how a job ran.

    `level` is the verdict, None if nothing could be judged; `finding` is the first finding, `more` the number of the
    others. `judged_s` is the time of the judgement (Unix seconds), `rules_version` the version of its rules.
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
    """Generation of the cluster configuration at its start; 0 if unknown."""
    id: int = 0
    damaged_columns: tuple[str, ...] = ()
    """Columns of its database row that could not be read; here they have their zero value."""

    @property
    def is_unusable(self) -> bool:
        """Whether damaged columns leave unclear which job this is or which samples belong to it."""
        return not _REQUIRED_COLUMNS.isdisjoint(self.damaged_columns)

    @property
    def is_overdue(self) -> bool:
        """Whether it runs longer than its time limit plus a grace period allows, or over a year without a limit."""
        if self.state is not JobState.RUNNING or "start_time" in self.damaged_columns:
            return False
        longest_s = self.walltime + OVERDUE_GRACE_S if self.walltime else MAX_UNLIMITED_RUN_S
        return self.duration > longest_s or self.start_time < MIN_START_S

    @property
    def stop_time(self) -> int:
        """Start plus duration; the duration of a running job is from when it was read."""
        return self.start_time + self.duration

    @property
    def name(self) -> str:
        """The scheduler's job name, or an empty string."""
        return (self.meta_data or {}).get("jobName", "")


@dataclass(frozen=True, slots=True)
class JobKey:
    """Identity of a job in the whole installation and its archive."""

    cluster: str
    job_id: int
    start_time: int


@dataclass(slots=True)
class SampleSeries:
    """Samples of one host or of one part of it, one per timestep from the job's start; NaN is a gap."""

    hostname: str
    data: Samples
    id: str | None = None
    statistics: Statistic | None = None


@dataclass(slots=True)
class StatisticsSeries:
    """Minimum, mean, median and maximum over all series of a metric, one per timestep; NaN is a gap."""

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
    """Start of the slot of the first sample (Unix seconds); None in archived data, see `jobdata.job_slots`."""


JobData = dict[str, dict[Scope, JobMetric]]
"""Metric name -> scope -> samples."""


@dataclass(frozen=True, slots=True)
class RowRule:
    """Which jobs a caller may see: all, or those of a user and of projects. Made by `auth.row_rules` only.

    `allowed_clusters` limits that to the clusters of the caller's token; empty allows all. With `hides_restricted` jobs
    come without the values of metrics that are for staff only.
    """

    all_jobs: bool = False
    user: str = ""
    projects: tuple[str, ...] = ()
    allowed_clusters: tuple[str, ...] = ()
    hides_restricted: bool = False

    def allows(self, job: Job) -> bool:
        """Whether the caller may see this job."""
        if not self.allows_cluster(job.cluster):
            return False
        return self.all_jobs or job.user == self.user or job.project in self.projects

    def allows_cluster(self, cluster: str) -> bool:
        """Whether the caller's token is valid for this cluster."""
        return not self.allowed_clusters or cluster in self.allowed_clusters
