"""meta.json of an archived job, to and from a Job.

Written as all readers of version 3 expect it; read leniently, as older and other writers differ.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import orjson

from cc_backend.archive import gaps_json
from cc_backend.archive.json_text import parse_json, raise_first_error, replace_surrogates
from cc_backend.clusters.faults import DocumentReader, Faults, is_number, quoted_value
from cc_backend.clusters.unit_json import unit_from_json, unit_to_json
from cc_backend.errors import ArchiveError
from cc_backend.model import Job, JobState, MetricStatistic, MetricUnit, MonitoringStatus, Resource, Tag
from cc_common.job_document import resource_document

# Meaning of the key `exclusive` up to version 2 of the archive.
_EXCLUSIVE = {0: "multi_user", 1: "none", 2: "single_user"}
_SHARED = frozenset(_EXCLUSIVE.values())
# JSON key -> attribute of the numbers that are omitted if zero.
_OPTIONAL_INTEGERS = {
    "arrayJobId": "array_job_id",
    "walltime": "walltime",
    "requestedMemory": "requested_memory",
    "submitTime": "submit_time",
    "smt": "smt",
    "numAcc": "num_acc",
    "numHwthreads": "num_hwthreads",
}


def job_to_meta_json(job: Job) -> dict[str, Any]:
    """The meta.json object of a job; its monitoring status is always that of an archived job."""
    partition = {"partition": job.partition} if job.partition else {}
    numbers = {key: getattr(job, name) for key, name in _OPTIONAL_INTEGERS.items()}
    return {
        "cluster": job.cluster,
        "subCluster": job.sub_cluster,
        **partition,
        "project": job.project,
        "user": job.user,
        "shared": job.shared,
        "jobState": job.state.value,
        **_tags_to_json(job),
        "resources": [resource_document(resource) for resource in job.resources],
        "energyFootprint": _numbers_to_json(job.energy_footprint),
        "footprint": _numbers_to_json(job.footprint),
        "metaData": _meta_data_to_json(job),
        "concurrentJobs": {"items": None, "count": 0},
        "energy": _finite_or_zero(job.energy),
        "jobId": job.job_id,
        "duration": job.duration,
        "monitoringStatus": MonitoringStatus.ARCHIVED,
        **{key: value for key, value in numbers.items() if value},
        "numNodes": job.num_nodes,
        "statistics": {
            name: {
                "unit": unit_to_json(statistic.unit),
                "avg": _finite_or_zero(statistic.avg),
                "min": _finite_or_zero(statistic.min),
                "max": _finite_or_zero(statistic.max),
            }
            for name, statistic in sorted((job.statistics or {}).items())
        },
        "startTime": job.start_time,
        **({gaps_json.GAPS_KEY: gaps_json.gaps_to_json(job.gaps)} if job.gaps else {}),
    }


def encode_meta_json(job: Job) -> bytes:
    """The content of the meta.json file of a job."""
    return _encode(job_to_meta_json(job))


def encode_record(job: Job, statistics: Mapping[str, MetricStatistic] | None = None, **changes: Any) -> bytes:
    """The object of meta.json without an end of line, with other statistics, and with these keys changed or added."""
    whole = job if statistics is None else replace(job, statistics=statistics)
    return _encode({**job_to_meta_json(whole), **changes}).removesuffix(b"\n")


def with_tags_and_meta_data(raw: bytes, job: Job, *, source: str) -> bytes:
    """The content of a meta.json file with tags and meta data of a job, and all else as it was, unknown keys included.

    It is the same object as `raw` if nothing changes. Unreadable meta data of the job changes nothing. Raises
    ArchiveError that names `source` if the file is damaged.
    """
    document = parse_json(raw, source)
    if not isinstance(document, dict):
        raise ArchiveError(f"{source}: must be an object, not {quoted_value(document)}")
    meta_data = {} if "meta_data" in job.damaged_columns else {"metaData": _meta_data_to_json(job)}
    kept = {key: value for key, value in document.items() if key != "tags"}
    changed = {**kept, **_tags_to_json(job), **meta_data}
    return raw if changed == document else _encode(changed)


def _encode(document: dict[str, Any]) -> bytes:
    try:
        return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)
    except orjson.JSONEncodeError:
        # A job script may contain half a surrogate pair, which UTF-8 cannot encode: it becomes a question mark.
        return orjson.dumps(replace_surrogates(document), option=orjson.OPT_APPEND_NEWLINE)


def decode_meta_json(raw: bytes, *, source: str) -> Job:
    """The job of a meta.json file; raises ArchiveError that names `source` and the fault."""
    return job_from_meta_json(parse_json(raw, source), source=source)


def job_from_meta_json(document: object, *, source: str) -> Job:
    """The job of a meta.json object, always with the status of an archived job; unknown keys are ignored.

    Raises ArchiveError that names `source` and the first invalid or missing field.
    """
    if not isinstance(document, Mapping):
        raise ArchiveError(f"{source}: must be an object, not {quoted_value(document)}")
    part = DocumentReader(document, "", Faults())
    start_time = _required_integer(part, "startTime")
    resources = tuple(_read_resource(resource) for resource in part.objects("resources"))
    duration = part.integer("stopTime", default=start_time) - start_time
    optional: dict[str, Any] = {name: part.integer(key, default=0) for key, name in _OPTIONAL_INTEGERS.items()}
    job = Job(
        job_id=_required_integer(part, "jobId"),
        cluster=part.string("cluster", required=True),
        user=part.string("user"),
        project=part.string("project"),
        start_time=start_time,
        resources=resources,
        num_nodes=part.integer("numNodes", default=len(resources)),
        sub_cluster=part.string("subCluster"),
        partition=part.string("partition"),
        shared=_read_shared(part),
        duration=part.integer("duration", default=max(duration, 0)),
        state=_read_state(part),
        monitoring_status=MonitoringStatus.ARCHIVED,
        meta_data=_read_meta_data(part),
        tags=tuple(_read_tag(tag) for tag in part.objects("tags")),
        footprint=_read_numbers(part, "footprint"),
        energy=part.number("energy"),
        energy_footprint=_read_numbers(part, "energyFootprint"),
        statistics=_read_job_statistics(part),
        gaps=gaps_json.gaps_from_json(document.get(gaps_json.GAPS_KEY)),
        judgement=None,
        **optional,
    )
    raise_first_error(part.faults, source)
    return job


def _tags_to_json(job: Job) -> dict[str, Any]:
    return {"tags": [tag_to_json(tag) for tag in job.tags]} if job.tags else {}


def _meta_data_to_json(job: Job) -> dict[str, str] | None:
    return None if job.meta_data is None else dict(sorted(job.meta_data.items()))


def _finite_or_zero(value: float) -> float:
    return value if np.isfinite(value) else 0.0


def _numbers_to_json(numbers: Mapping[str, float] | None) -> dict[str, float] | None:
    if numbers is None:
        return None
    return {key: value for key, value in sorted(numbers.items()) if np.isfinite(value)}


def tag_to_json(tag: Tag) -> dict[str, Any]:
    """The JSON object of a tag, in meta.json and in the REST API."""
    return {"type": tag.type, "name": tag.name, "scope": tag.scope, "id": tag.id}


def _required_integer(part: DocumentReader, key: str) -> int:
    if not part.has(key):
        part.faults.error(part.path_of(key), "is missing")
    return part.integer(key, (0, None), 0)


def _read_shared(part: DocumentReader) -> str:
    shared = part.string("shared")
    if not shared:
        return _EXCLUSIVE.get(part.integer("exclusive", default=1), "none")
    if shared not in _SHARED:
        part.faults.error("shared", f"must be one of {', '.join(sorted(_SHARED))}, not {quoted_value(shared)}")
    return shared


def _read_state(part: DocumentReader) -> JobState:
    text = part.string("jobState") or "completed"
    try:
        # Some old files write out-of-memory.
        return JobState(text.replace("-", "_"))
    except ValueError:
        part.faults.error("jobState", f"is unknown: {quoted_value(text)}")
        return JobState.COMPLETED


def _read_resource(part: DocumentReader) -> Resource:
    accelerators = part.raw("accelerators")
    if accelerators is not None and not isinstance(accelerators, list):
        part.faults.error(part.path_of("accelerators"), f"must be a list, not {quoted_value(accelerators)}")
        accelerators = None
    return Resource(
        hostname=part.string("hostname", required=True),
        hwthreads=part.thread_ids("hwthreads"),
        accelerators=tuple(str(accelerator) for accelerator in accelerators or ()),
        configuration=part.string("configuration"),
    )


def _read_tag(part: DocumentReader) -> Tag:
    return Tag(
        type=part.string("type", required=True),
        name=part.string("name", required=True),
        scope=part.string("scope") or "global",
        id=part.integer("id", default=0),
    )


def _read_meta_data(part: DocumentReader) -> dict[str, str] | None:
    values = _read_object(part, "metaData")
    return None if values is None else {key: str(value) for key, value in values.items() if value is not None}


def _read_numbers(part: DocumentReader, key: str) -> dict[str, float] | None:
    values = _read_object(part, key)
    return None if values is None else {name: float(value) for name, value in values.items() if is_number(value)}


def _read_object(part: DocumentReader, key: str) -> Mapping[str, Any] | None:
    value = part.raw(key)
    if value is not None and not isinstance(value, Mapping):
        part.faults.error(part.path_of(key), f"must be an object, not {quoted_value(value)}")
        return None
    return value


def _read_job_statistics(part: DocumentReader) -> dict[str, MetricStatistic]:
    statistics = {}
    for name, value in (_read_object(part, "statistics") or {}).items():
        # The schema also allows an array of file systems here, which nobody writes.
        if isinstance(value, Mapping):
            inner = DocumentReader(value, f"statistics.{name}", part.faults)
            unit = unit_from_json(value.get("unit")) or MetricUnit("")
            statistics[name] = MetricStatistic(unit, inner.number("min"), inner.number("avg"), inner.number("max"))
    return statistics
