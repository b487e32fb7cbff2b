"""Validation of job events before anything is written: pure functions whose errors name the JSON field."""

from collections.abc import Iterable, Mapping
from typing import Any

from cc_backend.clusters import ClusterRegistry
from cc_backend.errors import InvalidInput
from cc_backend.jobs.limits import (
    CLOCK_TOLERANCE_S,
    MAX_CONFIGURATION,
    MAX_COUNT,
    MAX_ENERGY_KWH,
    MAX_FOOTPRINT,
    MAX_FOOTPRINT_VALUES,
    MAX_NAME,
    MAX_RESOURCES,
    MAX_START_S,
    MAX_TAGS,
    MAX_WALLTIME_S,
)
from cc_backend.model import MIN_START_S, NON_TERMINAL_STATES, JobState
from cc_common.error_codes import ErrorCode
from cc_common.job_events import SHARED, JobChange, JobStart, JobStop, Resource
from cc_common.nearest_name import did_you_mean

_MONITORING_STATUS = range(4)
_COUNTS = (
    ("numAcc", "num_acc", MAX_COUNT),
    ("numHwthreads", "num_hwthreads", MAX_COUNT),
    ("smt", "smt", MAX_COUNT),
    ("walltime", "walltime", MAX_WALLTIME_S),
    ("requestedMemory", "requested_memory", MAX_COUNT),
    ("submitTime", "submit_time", MAX_COUNT),
    ("arrayJobId", "array_job_id", MAX_COUNT),
)


def validate_start(event: JobStart, clusters: ClusterRegistry, *, now_s: int) -> str:
    """The name of the subcluster of a valid start event.

    Raises:
        InvalidInput: the first fault, in the order in which ClusterCockpit 1.5 checks.
    """
    if event.cluster not in clusters:
        hint = did_you_mean(event.cluster, clusters.names())
        text = f"cluster: there is no cluster {_quoted(event.cluster)}{hint}"
        raise InvalidInput(text, code=ErrorCode.UNKNOWN_CLUSTER)
    host = event.resources[0].hostname if event.resources else ""
    if not host and not event.sub_cluster:
        raise InvalidInput("resources: a job needs at least one", code=ErrorCode.INVALID_JOB)
    sub_cluster = clusters.sub_cluster_for(event.cluster, host, event.sub_cluster).name
    _check_resources(event)
    _check_names(_names(event))
    _check_numbers(event)
    _check_meta_data(event.meta_data or {})
    if event.shared not in SHARED:
        raise InvalidInput(f"shared: must be one of {', '.join(SHARED)}", code=ErrorCode.INVALID_JOB)
    if event.monitoring_status not in _MONITORING_STATUS:
        raise InvalidInput("monitoringStatus: must be 0 (no archiving) or 1", code=ErrorCode.INVALID_JOB)
    _check_job_id(event.job_id)
    _check_time("startTime", event.start_time, now_s)
    if event.submit_time:
        _check_time("submitTime", event.submit_time, now_s)
    return sub_cluster


def validate_stop(event: JobStop, *, now_s: int) -> JobState:
    """The final state that a valid stop event names.

    Raises:
        InvalidInput: the state is unknown or not final, or a number is out of range.
    """
    _check_job_id(event.job_id)
    _check_time("stopTime", event.stop_time, now_s)
    final = [state.value for state in JobState if state not in NON_TERMINAL_STATES]
    if event.state not in final:
        raise InvalidInput(
            f"jobState: {_quoted(event.state)} is not a final state; final states are {', '.join(final)}",
            code=ErrorCode.INVALID_JOB,
        )
    return JobState(event.state)


def validate_change(event: JobChange) -> dict[str, Any]:
    """The fields of a job that a valid change event sets, with their new values, without those of its meta data.

    Raises:
        InvalidInput: a value is invalid, or nothing is to change.
    """
    _check_job_id(event.job_id)
    fields = {
        "walltime": event.walltime,
        "partition": event.partition,
        "project": event.project,
        "shared": event.shared,
    }
    changed = {name: value for name, value in fields.items() if value is not None}
    if not changed and event.job_name is None:
        text = "one of walltime, jobName, partition, project and shared is needed: nothing would change"
        raise InvalidInput(text, code=ErrorCode.INVALID_JOB)
    _check_counts([("walltime", event.walltime or 0, MAX_WALLTIME_S)])
    _check_names([("partition", event.partition or ""), ("project", event.project or "")])
    _check_meta_data({"jobName": event.job_name or ""})
    return changed


def _check_job_id(job_id: int) -> None:
    if job_id <= 0:
        raise InvalidInput("jobId: is required and must be positive", code=ErrorCode.INVALID_JOB)


def _check_time(key: str, time_s: int, now_s: int) -> None:
    if time_s <= 0:
        raise InvalidInput(f"{key}: is required and must be a time in seconds", code=ErrorCode.INVALID_JOB)
    if time_s < MIN_START_S:
        raise InvalidInput(
            f"{key}: {time_s} lies before the year 2000; it must be the time in seconds since 1970",
            code=ErrorCode.INVALID_JOB,
        )
    if time_s > MAX_START_S:
        raise InvalidInput(
            f"{key}: {time_s} lies after the year 3000; it must be seconds since 1970, not milliseconds",
            code=ErrorCode.INVALID_JOB,
        )
    if time_s > now_s + CLOCK_TOLERANCE_S:
        raise InvalidInput(
            f"{key}: {time_s} lies {time_s - now_s} seconds in the future, which is more than the "
            f"{CLOCK_TOLERANCE_S} that clocks may differ; compare the clocks",
            code=ErrorCode.TIME_IN_FUTURE,
        )


def _check_numbers(event: JobStart) -> None:
    _check_counts((key, getattr(event, attribute), maximum) for key, attribute, maximum in _COUNTS)
    if not 0 <= event.energy <= MAX_ENERGY_KWH:
        raise InvalidInput(
            f"energy: must be between 0 and {MAX_ENERGY_KWH:.0e} kWh, not {event.energy:g}", code=ErrorCode.INVALID_JOB
        )
    values = event.footprint or {}
    if len(values) > MAX_FOOTPRINT_VALUES:
        raise InvalidInput(f"footprint: has more than {MAX_FOOTPRINT_VALUES} values", code=ErrorCode.INVALID_JOB)
    for name, number in values.items():
        if not abs(number) <= MAX_FOOTPRINT:
            raise InvalidInput(
                f"footprint.{name[:80]}: {number:g} is beyond what samples can have, {MAX_FOOTPRINT:g}",
                code=ErrorCode.INVALID_JOB,
            )


def _check_counts(counts: Iterable[tuple[str, int, int]]) -> None:
    for key, value, maximum in counts:
        if value < 0:
            raise InvalidInput(f"{key}: must not be negative", code=ErrorCode.INVALID_JOB)
        if value > maximum:
            advice = "; leave it out if there is no limit" if key == "walltime" else ""
            raise InvalidInput(f"{key}: {value} is more than {maximum}{advice}", code=ErrorCode.INVALID_JOB)


def _check_resources(event: JobStart) -> None:
    if not event.resources:
        raise InvalidInput("resources: a job needs at least one", code=ErrorCode.INVALID_JOB)
    if len(event.tags) > MAX_TAGS:
        raise InvalidInput(f"tags: there are more than {MAX_TAGS}", code=ErrorCode.INVALID_JOB)
    if not event.user:
        raise InvalidInput("user: is required", code=ErrorCode.INVALID_JOB)
    if event.num_nodes < 1:
        raise InvalidInput("numNodes: must be 1 or more", code=ErrorCode.INVALID_JOB)
    if len(event.resources) > MAX_RESOURCES:
        raise InvalidInput(
            f"resources: there are {len(event.resources)}; a job has at most {MAX_RESOURCES}",
            code=ErrorCode.INVALID_JOB,
        )
    if len(event.resources) != event.num_nodes:
        raise InvalidInput(
            f"resources: there are {len(event.resources)}, but numNodes is {event.num_nodes}",
            code=ErrorCode.INVALID_JOB,
        )
    for index, resource in enumerate(event.resources):
        _check_resource(f"resources[{index}]", resource)


def _check_resource(path: str, resource: Resource) -> None:
    if not resource.hostname:
        raise InvalidInput(f"{path}.hostname: is required", code=ErrorCode.INVALID_JOB)
    if len(resource.configuration) > MAX_CONFIGURATION:
        text = f"{path}.configuration: is longer than {MAX_CONFIGURATION} characters"
        raise InvalidInput(text, code=ErrorCode.INVALID_JOB)
    if min(resource.hwthreads, default=0) < 0:
        raise InvalidInput(f"{path}.hwthreads: must not be negative", code=ErrorCode.INVALID_JOB)


def _check_meta_data(meta_data: Mapping[str, str]) -> None:
    try:
        for key, text in meta_data.items():
            key.encode()
            text.encode()
    except UnicodeEncodeError:
        raise InvalidInput("metaData: holds half a surrogate pair", code=ErrorCode.INVALID_JOB) from None


def _names(event: JobStart) -> Iterable[tuple[str, str]]:
    yield "user", event.user
    yield "project", event.project
    yield "partition", event.partition
    for index, resource in enumerate(event.resources):
        yield f"resources[{index}].hostname", resource.hostname
        for at, accelerator in enumerate(resource.accelerators):
            yield f"resources[{index}].accelerators[{at}]", accelerator
    for index, tag in enumerate(event.tags):
        yield f"tags[{index}].type", tag.type
        yield f"tags[{index}].name", tag.name
        yield f"tags[{index}].scope", tag.scope
    for name in event.footprint or ():
        yield "footprint", name


def _check_names(names: Iterable[tuple[str, str]]) -> None:
    for key, text in names:
        if len(text) > MAX_NAME:
            raise InvalidInput(f"{key}: is longer than {MAX_NAME} characters", code=ErrorCode.INVALID_JOB)
        if not text.isprintable():
            raise InvalidInput(f"{key}: holds characters that cannot be shown", code=ErrorCode.INVALID_JOB)


def _quoted(text: str) -> str:
    return repr(text[:80])
