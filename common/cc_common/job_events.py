"""Job start and job stop events as the Slurm adapter sends and the backend reads them, with their JSON keys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, Mapping, Optional, Tuple

from cc_common.job_document import job_document
from cc_common.json_reader import INT32, ObjectReader, ParsedPayload
from cc_common.json_values import as_number, as_string

SHARED = ("none", "single_user", "multi_user")
_SHARED_OF_EXCLUSIVE = ("multi_user", "none", "single_user")

MONITORING_DISABLED, MONITORING_RUNNING, MONITORING_FAILED, MONITORING_ARCHIVED = range(4)

# Keys that clients send because their job type has them; the receiver computes these itself.
_START_KEYS_NOT_READ = ("id", "jobState", "statistics", "energyFootprint", "concurrentJobs", "exclusive")


_START_KEYS = frozenset(
    (
        *("cluster", "subCluster", "partition", "project", "user", "shared", "resources", "numNodes", "numHwthreads"),
        *("numAcc", "smt", "walltime", "requestedMemory", "submitTime", "jobId", "arrayJobId", "startTime"),
        *("monitoringStatus", "metaData", "tags", "footprint", "energy", "duration", *_START_KEYS_NOT_READ),
    )
)


_RESOURCE_KEYS = frozenset(("hostname", "hwthreads", "accelerators", "configuration"))
_TAG_KEYS = frozenset(("id", "type", "name", "scope"))


@dataclass(frozen=True)
class Resource:
    """What a job has allocated on one node: operating system numbers of hardware threads, ids of accelerators."""

    hostname: str
    hwthreads: Tuple[int, ...] = ()
    accelerators: Tuple[str, ...] = ()
    configuration: str = ""


@dataclass(frozen=True)
class TagEvent:
    """A tag to attach at the start; an empty scope means global."""

    type: str
    name: str
    scope: str = ""


@dataclass(frozen=True)
class JobStart:
    """A job that has started; times in seconds since the epoch, `walltime` and `duration` in seconds.

    `requested_memory` is in megabytes, `energy` in kilowatt hours; 0 and "" mean unknown.
    """

    cluster: str
    user: str
    job_id: int
    start_time: int
    num_nodes: int
    resources: Tuple[Resource, ...]
    sub_cluster: str = ""
    partition: str = ""
    project: str = ""
    shared: str = "none"
    num_hwthreads: int = 0
    num_acc: int = 0
    smt: int = 0
    walltime: int = 0
    requested_memory: int = 0
    submit_time: int = 0
    array_job_id: int = 0
    monitoring_status: int = MONITORING_RUNNING
    meta_data: Optional[Mapping[str, str]] = None
    tags: Tuple[TagEvent, ...] = ()
    footprint: Optional[Mapping[str, float]] = None
    energy: float = 0.0
    duration: int = 0

    def to_document(self) -> Dict[str, Any]:
        """The JSON object as existing adapters send it; `monitoringStatus` only if it is not the receiver's default."""
        own: Dict[str, Any] = {
            "jobState": "",
            "tags": [{"type": tag.type, "name": tag.name, "scope": tag.scope} for tag in self.tags],
            "footprint": None if self.footprint is None else dict(self.footprint),
            "metaData": None if self.meta_data is None else dict(self.meta_data),
        }
        if self.monitoring_status != MONITORING_RUNNING:
            own["monitoringStatus"] = self.monitoring_status
        return job_document(self, own)


@dataclass(frozen=True)
class JobStop:
    """A job that has ended; `start_time` None means the newest run of that job, `cluster` None means any."""

    job_id: int
    stop_time: int
    state: str = "completed"
    cluster: Optional[str] = None
    start_time: Optional[int] = None

    def to_document(self) -> Dict[str, Any]:
        """The JSON object as existing adapters send it, with the start time where it is known."""
        document: Dict[str, Any] = {"jobId": self.job_id}
        if self.cluster is not None:
            document["cluster"] = self.cluster
        if self.start_time is not None:
            document["startTime"] = self.start_time
        document["jobState"] = self.state
        document["stopTime"] = self.stop_time
        return document


@dataclass(frozen=True)
class JobChange:
    """What has changed about a running job; None means unchanged. The job is named as in `JobStop`."""

    job_id: int
    cluster: Optional[str] = None
    start_time: Optional[int] = None
    walltime: Optional[int] = None
    job_name: Optional[str] = None
    partition: Optional[str] = None
    project: Optional[str] = None
    shared: Optional[str] = None


def parse_job_start(document: Any) -> ParsedPayload[JobStart]:
    """The job start in a JSON object, with the ignored keys.

    Checks types and ranges only; the receiver checks whether the cluster exists and the numbers are consistent.
    The older key `exclusive` (0, 1, 2) is read as `shared`. Raises PayloadError with the path of the invalid field.
    """
    reader = ObjectReader(document, known_keys=_START_KEYS)
    start = JobStart(
        cluster=reader.name("cluster"),
        sub_cluster=reader.name("subCluster"),
        partition=reader.name("partition"),
        project=reader.name("project"),
        user=reader.name("user"),
        shared=_read_shared(reader),
        resources=tuple([_read_resource(resource) for resource in reader.objects_of("resources", _RESOURCE_KEYS)]),
        num_nodes=reader.integer("numNodes", INT32),
        num_hwthreads=reader.integer("numHwthreads", INT32),
        num_acc=reader.integer("numAcc", INT32),
        smt=reader.integer("smt", INT32),
        walltime=reader.integer("walltime"),
        requested_memory=reader.integer("requestedMemory"),
        submit_time=reader.integer("submitTime"),
        job_id=reader.integer("jobId"),
        array_job_id=reader.integer("arrayJobId"),
        start_time=reader.integer("startTime"),
        monitoring_status=reader.integer(
            "monitoringStatus", (MONITORING_DISABLED, MONITORING_ARCHIVED), default=MONITORING_RUNNING
        ),
        meta_data=reader.mapping("metaData", as_string, ""),
        tags=tuple([_read_tag(tag) for tag in reader.objects_of("tags", _TAG_KEYS)]),
        footprint=reader.mapping("footprint", as_number, 0.0),
        energy=reader.number("energy"),
        duration=reader.integer("duration", INT32),
    )
    return ParsedPayload(start, reader.finish(*_START_KEYS_NOT_READ))


def parse_job_stop(document: Any) -> ParsedPayload[JobStop]:
    """A job stop from its JSON object, with the keys that were ignored.

    The state stands under `jobState` or `state`; empty means completed. Raises PayloadError with the path of the field.
    """
    reader = ObjectReader(document)
    if not reader.has("jobId"):
        reader.fault("jobId", "is required")
    stop = JobStop(
        job_id=reader.integer("jobId"),
        stop_time=reader.integer("stopTime"),
        state=reader.name("jobState" if reader.has("jobState") else "state") or "completed",
        cluster=reader.name("cluster") or None,
        start_time=reader.integer("startTime") or None,
    )
    return ParsedPayload(stop, reader.finish("state"))


def parse_job_change(document: Any) -> ParsedPayload[JobChange]:
    """A change of a running job from its JSON object, with the keys that were ignored.

    An absent key or null is unchanged. Raises PayloadError with the path of the field.
    """
    reader = ObjectReader(document)
    if not reader.has("jobId"):
        reader.fault("jobId", "is required")
    change = JobChange(
        job_id=reader.integer("jobId"),
        cluster=reader.name("cluster") or None,
        start_time=reader.integer("startTime") or None,
        walltime=reader.integer("walltime") if reader.has("walltime") else None,
        job_name=reader.string("jobName") if reader.has("jobName") else None,
        partition=reader.name("partition") if reader.has("partition") else None,
        project=reader.name("project") if reader.has("project") else None,
        shared=reader.choice("shared", SHARED) or None,
    )
    return ParsedPayload(change, reader.finish())


def _read_shared(reader: ObjectReader) -> str:
    shared = reader.choice("shared", SHARED)
    if shared:
        return shared
    if reader.has("exclusive"):
        return _SHARED_OF_EXCLUSIVE[reader.integer("exclusive", (0, len(_SHARED_OF_EXCLUSIVE) - 1))]
    return "none"


def _read_resource(reader: ObjectReader) -> Resource:
    resource = Resource(
        hostname=reader.name("hostname"),
        hwthreads=reader.integers("hwthreads", INT32),
        accelerators=reader.strings("accelerators"),
        configuration=reader.string("configuration"),
    )
    reader.finish()
    return resource


def _read_tag(reader: ObjectReader) -> TagEvent:
    tag = TagEvent(reader.name("type"), reader.name("name"), reader.name("scope"))
    reader.finish("id")
    return tag
