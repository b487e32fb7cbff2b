"""What a job event must fulfil before anything is written: pure checks, each error names the field of the wire."""

from collections.abc import Iterable

from cc_backend.clusters import Clusters
from cc_backend.errors import InvalidInput
from cc_backend.model import NON_TERMINAL_STATES, JobState
from cc_common.errorcodes import ErrorCode
from cc_common.jobevents import SHARED, JobStart, JobStop

CLOCK_TOLERANCE_S = 86400
"""How far in the future an event may lie: clocks and time zones of schedulers are wrong at times."""
LONGEST_NAME = 256
_MONITORING_STATUS = range(4)
_COUNTS = (
    ("numAcc", "num_acc"),
    ("numHwthreads", "num_hwthreads"),
    ("smt", "smt"),
    ("walltime", "walltime"),
    ("requestedMemory", "requested_memory"),
    ("submitTime", "submit_time"),
    ("arrayJobId", "array_job_id"),
)


def check_start(event: JobStart, clusters: Clusters, *, now_s: int) -> str:
    """The name of the subcluster of a job that may start.

    Raises:
        InvalidInput: the first thing that is wrong, in the order in which the reference looks.
    """
    if event.cluster not in clusters:
        raise InvalidInput(f"cluster: there is no cluster {_shown(event.cluster)}", code=ErrorCode.UNKNOWN_CLUSTER)
    host = event.resources[0].hostname if event.resources else ""
    if not host and not event.sub_cluster:
        raise InvalidInput("resources: a job needs at least one", code=ErrorCode.INVALID_JOB)
    sub_cluster = clusters.sub_cluster_for(event.cluster, host, event.sub_cluster).name
    _check_resources(event)
    _check_names(_names(event))
    for key, attribute in _COUNTS:
        if getattr(event, attribute) < 0:
            raise InvalidInput(f"{key}: must not be negative", code=ErrorCode.INVALID_JOB)
    if event.shared not in SHARED:
        raise InvalidInput(f"shared: must be one of {', '.join(SHARED)}", code=ErrorCode.INVALID_JOB)
    if event.monitoring_status not in _MONITORING_STATUS:
        raise InvalidInput("monitoringStatus: must be 0 (no archiving) or 1", code=ErrorCode.INVALID_JOB)
    if event.job_id <= 0:
        raise InvalidInput("jobId: is required and must be positive", code=ErrorCode.INVALID_JOB)
    if event.start_time <= 0:
        raise InvalidInput("startTime: is required and must be a time in seconds", code=ErrorCode.INVALID_JOB)
    if event.start_time > now_s + CLOCK_TOLERANCE_S:
        raise InvalidInput(
            "startTime: lies more than a day in the future; compare the clocks", code=ErrorCode.INVALID_JOB
        )
    return sub_cluster


def check_stop(event: JobStop, *, now_s: int) -> JobState:
    """The final state that a stop names.

    Raises:
        InvalidInput: the state is unknown or not final, or a number cannot be.
    """
    if event.job_id <= 0:
        raise InvalidInput("jobId: is required and must be positive", code=ErrorCode.INVALID_JOB)
    if event.stop_time <= 0:
        raise InvalidInput("stopTime: is required and must be a time in seconds", code=ErrorCode.INVALID_JOB)
    if event.stop_time > now_s + CLOCK_TOLERANCE_S:
        raise InvalidInput(
            "stopTime: lies more than a day in the future; compare the clocks", code=ErrorCode.INVALID_JOB
        )
    final = [state.value for state in JobState if state not in NON_TERMINAL_STATES]
    if event.state not in final:
        raise InvalidInput(
            f"jobState: {_shown(event.state)} is no final state; final states are {', '.join(final)}",
            code=ErrorCode.INVALID_JOB,
        )
    return JobState(event.state)


def _check_resources(event: JobStart) -> None:
    if not event.resources:
        raise InvalidInput("resources: a job needs at least one", code=ErrorCode.INVALID_JOB)
    if not event.user:
        raise InvalidInput("user: is required", code=ErrorCode.INVALID_JOB)
    if event.num_nodes < 1:
        raise InvalidInput("numNodes: must be 1 or more", code=ErrorCode.INVALID_JOB)
    if len(event.resources) != event.num_nodes:
        raise InvalidInput(
            f"resources: there are {len(event.resources)}, but numNodes is {event.num_nodes}",
            code=ErrorCode.INVALID_JOB,
        )
    for index, resource in enumerate(event.resources):
        if not resource.hostname:
            raise InvalidInput(f"resources[{index}].hostname: is required", code=ErrorCode.INVALID_JOB)
        if any(thread < 0 for thread in resource.hwthreads):
            raise InvalidInput(f"resources[{index}].hwthreads: must not be negative", code=ErrorCode.INVALID_JOB)


def _names(event: JobStart) -> Iterable[tuple[str, str]]:
    yield "user", event.user
    yield "project", event.project
    yield "partition", event.partition
    for index, resource in enumerate(event.resources):
        yield f"resources[{index}].hostname", resource.hostname
    for index, tag in enumerate(event.tags):
        yield f"tags[{index}].type", tag.type
        yield f"tags[{index}].name", tag.name
        yield f"tags[{index}].scope", tag.scope


def _check_names(names: Iterable[tuple[str, str]]) -> None:
    for key, text in names:
        if len(text) > LONGEST_NAME:
            raise InvalidInput(f"{key}: is longer than {LONGEST_NAME} characters", code=ErrorCode.INVALID_JOB)
        if not text.isprintable():
            raise InvalidInput(f"{key}: holds characters that cannot be shown", code=ErrorCode.INVALID_JOB)


def _shown(text: str) -> str:
    return repr(text[:80])
