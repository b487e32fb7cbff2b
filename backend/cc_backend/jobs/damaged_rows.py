"""Reads rows of the job table that may be damaged by manual edits, another version or a bad disk.

A column that cannot be read gets its zero value and is named; the others are unaffected.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson

from cc_backend.insight.finding_json import finding_from_json
from cc_backend.insight.sentences import SentenceContext, finding_text
from cc_backend.jobs.job_json import resource_from_json
from cc_backend.jobs.limits import MAX_COUNT, MAX_DURATION_S, MAX_START_S
from cc_backend.jobs.tables import NOT_JUDGED
from cc_backend.model import Finding, JobState, MonitoringStatus, Resource
from cc_common.job_events import SHARED

ColumnReader = Callable[[Any], Any]


def read_columns(names: Sequence[str], row: Sequence[Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The columns of a raw row by name, and the names of the damaged ones."""
    values: dict[str, Any] = {}
    damaged: list[str] = []
    for name, stored in zip(names, row, strict=True):
        read, empty = _READERS[name]
        try:
            values[name] = read(stored)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError):
            values[name] = empty
            damaged.append(name)
    if "resources" in damaged:
        values["resources"] = _readable_resources(row[list(names).index("resources")])
    return values, tuple(damaged)


def is_finite_number(value: object) -> bool:
    """Whether a stored value is a number that JSON can represent."""
    return type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]  # it is a number here


def is_start_time(value: object) -> bool:
    """Whether a stored value is a valid start time of a job."""
    return type(value) is int and 0 < value <= MAX_START_S


def _integer_between(minimum: int, maximum: int) -> ColumnReader:
    def read(value: Any) -> int:
        if type(value) is not int or not minimum <= value <= maximum:
            raise ValueError
        return value

    return read


def _string(value: Any) -> str:
    if type(value) is not str:
        raise TypeError
    return value


def _one_of(values: frozenset[str]) -> ColumnReader:
    def read(value: Any) -> str:
        if value not in values:
            raise ValueError
        return str(value)

    return read


def _number(value: Any) -> float:
    if not is_finite_number(value):
        raise ValueError
    return float(value)


def _resource(document: Mapping[str, Any]) -> Resource:
    found = resource_from_json(document)
    strings = (found.hostname, found.configuration, *found.accelerators)
    if not found.hostname or not all(type(text) is str for text in strings):
        raise TypeError
    if not all(type(thread) is int and 0 <= thread <= MAX_COUNT for thread in found.hwthreads):
        raise TypeError
    return found


def _resources(value: Any) -> tuple[Resource, ...]:
    entries = orjson.loads(value)
    if not isinstance(entries, list):
        raise TypeError
    return tuple(_resource(entry) for entry in entries)


def _readable_resources(value: Any) -> tuple[Resource, ...]:
    """The readable entries of a damaged list of resources."""
    found = []
    try:
        entries = orjson.loads(value)
    except (ValueError, TypeError):
        return ()
    for entry in entries if isinstance(entries, list) else ():
        try:
            found.append(_resource(entry))
        except (ValueError, TypeError, KeyError, AttributeError):
            continue
    return tuple(found)


def _meta_data(value: Any) -> dict[str, str] | None:
    if value is None:
        return None
    found = orjson.loads(value)
    if not isinstance(found, dict) or not all(type(text) is str for text in found.values()):
        raise TypeError
    return found


def _numbers_by_name(value: Any) -> dict[str, float] | None:
    if value is None:
        return None
    found = orjson.loads(value)
    if not isinstance(found, dict) or not all(map(is_finite_number, found.values())):
        raise TypeError
    return found


def _finding(value: Any) -> Finding | None:
    """A stored finding, checked to be phrasable; None for a rule that this program does not know."""
    found = None if value is None else finding_from_json(orjson.loads(value))
    if found is not None:
        finding_text(found, SentenceContext(running=False, now_s=0.0))
    return found


_COUNT = (_integer_between(0, MAX_COUNT), 0)
_TEXT = (_string, "")
_READERS: dict[str, tuple[ColumnReader, Any]] = {
    "id": (_integer_between(0, MAX_COUNT), 0),
    "job_id": (_integer_between(0, 2**63 - 1), 0),
    "cluster": _TEXT,
    "sub_cluster": _TEXT,
    "partition": _TEXT,
    "project": _TEXT,
    "user": _TEXT,
    "name": _TEXT,
    "shared": (_one_of(frozenset(SHARED)), "none"),
    # an unknown state must not count as running
    "state": (JobState, JobState.FAILED),
    "array_job_id": (_integer_between(0, 2**63 - 1), 0),
    "start_time": (_integer_between(0, MAX_START_S), 0),
    "submit_time": (_integer_between(0, MAX_START_S), 0),
    "duration": (_integer_between(0, MAX_DURATION_S), 0),
    "walltime": (_integer_between(0, MAX_DURATION_S), 0),
    "requested_memory": _COUNT,
    "num_nodes": _COUNT,
    "num_hwthreads": _COUNT,
    "num_acc": _COUNT,
    "smt": _COUNT,
    "resources": (_resources, ()),
    "meta_data": (_meta_data, None),
    "monitoring_status": (
        _integer_between(MonitoringStatus.DISABLED, MonitoringStatus.ARCHIVED),
        MonitoringStatus.ARCHIVING_FAILED,
    ),
    "energy": (_number, 0.0),
    "energy_footprint": (_numbers_by_name, None),
    "cluster_config": (_integer_between(0, MAX_COUNT), 0),
    "verdict": (_integer_between(0, NOT_JUDGED), NOT_JUDGED),
    "finding": (_finding, None),
    "more_findings": _COUNT,
    "lost_core_hours": (_number, 0.0),
    "lost_gpu_hours": (_number, 0.0),
    "judged_s": _COUNT,
    "rules": _COUNT,
}
