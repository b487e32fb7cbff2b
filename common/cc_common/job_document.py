"""Writing a job and its resources as JSON: the keys of every job document, in the order of the reference.

Start events, the REST interface and the job archive write the same job; each passes to `job_document` the keys that it
writes differently.
"""

from __future__ import annotations

from typing import Any, Dict, Mapping

_ABSENT: Any = object()

# Key -> attribute of the job, "" where each writer has its own value.
_JOB_KEYS = {
    "cluster": "cluster",
    "subCluster": "sub_cluster",
    "partition": "partition",
    "project": "project",
    "user": "user",
    "shared": "shared",
    "jobState": "",
    "tags": "",
    "resources": "",
    "energyFootprint": "",
    "footprint": "",
    "metaData": "",
    "concurrentJobs": "",
    "energy": "energy",
    "arrayJobId": "array_job_id",
    "walltime": "walltime",
    "requestedMemory": "requested_memory",
    "submitTime": "submit_time",
    "jobId": "job_id",
    "duration": "duration",
    "smt": "smt",
    "monitoringStatus": "",
    "numAcc": "num_acc",
    "numHwthreads": "num_hwthreads",
    "numNodes": "num_nodes",
    "statistics": "",
    "id": "",
    "startTime": "start_time",
}
_OMITTED_IF_EMPTY = frozenset(
    (
        *("partition", "tags", "arrayJobId", "walltime", "requestedMemory", "submitTime"),
        *("smt", "numAcc", "numHwthreads"),
    )
)


def job_document(job: Any, own: Mapping[str, Any]) -> Dict[str, Any]:
    """The JSON object of a job; `own` has the keys that the writer adds, or writes differently.

    `job` has the attributes of a `JobStart`. Partition, tags and counts are left out if they are empty or 0;
    `energyFootprint`, `footprint`, `metaData` and `statistics` are null unless `own` has them, and `concurrentJobs` is
    empty. Keys of `own` that no job of the reference has come last.
    """
    constant = {
        "resources": _ABSENT if "resources" in own else [resource_document(resource) for resource in job.resources],
        "energyFootprint": None,
        "footprint": None,
        "metaData": None,
        "concurrentJobs": {"items": None, "count": 0},
        "statistics": None,
    }
    document = {
        key: getattr(job, attribute) if attribute else constant.get(key, _ABSENT)
        for key, attribute in _JOB_KEYS.items()
    }
    document.update(own)
    return {
        key: value
        for key, value in document.items()
        if value is not _ABSENT and (value or key not in _OMITTED_IF_EMPTY)
    }


def resource_document(resource: Any) -> Dict[str, Any]:
    """The JSON object of what a job has on one node; empty parts are left out.

    `resource` has the attributes `hostname`, `hwthreads`, `accelerators` and `configuration`.
    """
    document: Dict[str, Any] = {"hostname": resource.hostname}
    if resource.hwthreads:
        document["hwthreads"] = list(resource.hwthreads)
    if resource.accelerators:
        document["accelerators"] = list(resource.accelerators)
    if resource.configuration:
        document["configuration"] = resource.configuration
    return document
