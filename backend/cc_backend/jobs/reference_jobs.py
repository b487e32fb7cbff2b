"""Jobs from rows of a job database of ClusterCockpit 1.5."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cc_backend.jobs.damaged_rows import read_columns
from cc_backend.jobs.limits import MAX_NAME, MAX_RESOURCES
from cc_backend.jobs.reference_database import JOB_COLUMNS
from cc_backend.model import Job

_OUR_NAMES = {
    "subcluster": "sub_cluster",
    "cluster_partition": "partition",
    "hpc_user": "user",
    "job_state": "state",
}
# NULL and the JSON text null mean the same as the empty value of these columns
_EMPTY: Mapping[str, Any] = {
    "cluster_partition": "",
    "array_job_id": 0,
    "num_hwthreads": 0,
    "num_acc": 0,
    "energy": 0.0,
}
_OPTIONAL_JSON = frozenset({"meta_data", "energy_footprint", "footprint"})
_STATES = {"out-of-memory": "out_of_memory"}
_REQUIRED_TEXTS = ("cluster", "user")
_NAMES = ("cluster", "sub_cluster", "partition", "project", "user")


@dataclass(frozen=True, slots=True)
class ReferenceJob:
    """A job of a row, its id there, and why it is refused; `unreadable` columns were left empty."""

    row_id: int
    job: Job
    refused: str = ""
    unreadable: tuple[str, ...] = ()


def reference_job(row: Sequence[Any]) -> ReferenceJob:
    """The job of a row of `JOB_COLUMNS`, without tags."""
    stored = {name: _stored(name, value) for name, value in zip(JOB_COLUMNS, row, strict=True)}
    row_id = stored.pop("id")
    footprint = stored.pop("footprint")
    names = [_OUR_NAMES.get(name, name) for name in stored]
    columns, damaged = read_columns(names, list(stored.values()))
    values, broken = read_columns(("energy_footprint",), (footprint,))
    job = Job(**columns, footprint=values["energy_footprint"], damaged_columns=damaged)
    unreadable = (*damaged, *(("footprint",) if broken else ()))
    return ReferenceJob(row_id if type(row_id) is int else 0, job, _refusal(job, damaged), unreadable)


def _stored(name: str, value: Any) -> Any:
    if name in _OPTIONAL_JSON and value in ("null", b"null", "", b""):
        return None
    if value is None and name in _EMPTY:
        return _EMPTY[name]
    if name == "job_state" and isinstance(value, str):
        return _STATES.get(value, value)
    return value


def _refusal(job: Job, damaged: Sequence[str]) -> str:
    """Why a job cannot be taken over; empty if it can."""
    if job.is_unusable:
        return f"{', '.join(damaged)} cannot be read"
    if job.job_id < 1 or job.start_time < 1:
        return f"job_id {job.job_id} and start_time {job.start_time} must be positive"
    for name in _REQUIRED_TEXTS:
        if not getattr(job, name):
            return f"{name} is empty"
    if not 0 < len(job.resources) <= MAX_RESOURCES:
        return f"resources has {len(job.resources)} hosts, not 1 to {MAX_RESOURCES}"
    texts = [
        *((name, getattr(job, name)) for name in _NAMES),
        *(("resources", resource.hostname) for resource in job.resources),
    ]
    for name, text in texts:
        if len(text) > MAX_NAME or not text.isprintable():
            return f"{name} is longer than {MAX_NAME} characters or has characters that cannot be shown"
    return ""
