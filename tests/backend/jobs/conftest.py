"""A database of each engine, two small invented clusters, and short ways to make events."""

from collections.abc import Callable
from typing import Any

import pytest

from cc_backend.clusters import ClusterRegistry, parse_cluster
from cc_backend.db.database import Database
from cc_backend.jobs.archive_queue import ArchiveQueue
from cc_backend.jobs.job_queries import JobQueries
from cc_backend.jobs.lifecycle import JobLifecycle
from cc_backend.jobs.running_jobs import RunningJobs
from cc_backend.model import Job
from cc_common.job_events import JobStart, JobStop, Resource

NOW_S = 1_760_000_000

MakeStart = Callable[..., JobStart]


def topology() -> dict[str, Any]:
    return {
        "node": [0, 1, 2, 3],
        "socket": [[0, 1, 2, 3]],
        "memoryDomain": [[0, 1, 2, 3]],
        "core": [[0], [1], [2], [3]],
    }


def sub_cluster(name: str, nodes: str) -> dict[str, Any]:
    value = {"unit": {"base": "F/s", "prefix": "G"}, "value": 10}
    return {
        "name": name,
        "nodes": nodes,
        "processorType": "Invented 4",
        "socketsPerNode": 1,
        "coresPerSocket": 4,
        "threadsPerCore": 1,
        "flopRateScalar": value,
        "flopRateSimd": value,
        "memoryBandwidth": {"unit": {"base": "B/s", "prefix": "G"}, "value": 20},
        "topology": topology(),
    }


def cluster(name: str, *sub_clusters: dict[str, Any]) -> dict[str, Any]:
    metrics = [
        {
            "name": metric,
            "unit": {"base": ""},
            "scope": "node",
            "aggregation": "avg",
            "timestep": 60,
            "peak": 4,
            "normal": 2,
            "caution": 1,
            "alert": 0.5,
        }
        for metric in ("cpu_load", "mem_used")
    ]
    return {"name": name, "metricConfig": metrics, "subClusters": list(sub_clusters)}


@pytest.fixture(scope="session")
def clusters() -> ClusterRegistry:
    documents = [
        cluster("tern", sub_cluster("std", "tn[0001-0064]"), sub_cluster("fat", "tf[01-04]")),
        cluster("skua", sub_cluster("all", "*")),
    ]
    return ClusterRegistry({entry["name"]: parse_cluster(entry, source="test")[0] for entry in documents})


@pytest.fixture
def lifecycle(database: Database, clusters: ClusterRegistry) -> JobLifecycle:
    return JobLifecycle(database, clusters)


@pytest.fixture
def job_queries(database: Database) -> JobQueries:
    return JobQueries(database)


@pytest.fixture
def running_jobs(database: Database) -> RunningJobs:
    return RunningJobs(database)


@pytest.fixture
def archive_queue(database: Database) -> ArchiveQueue:
    return ArchiveQueue(database)


def start_event(job_id: int = 1, *hosts: str, **changes: Any) -> JobStart:
    names = hosts or ("tn0001",)
    fields: dict[str, Any] = {
        "cluster": "tern",
        "user": "mlindqv",
        "project": "hydro7",
        "job_id": job_id,
        "start_time": NOW_S - 3600,
        "num_nodes": len(names),
        "resources": tuple(Resource(name) for name in names),
    }
    return JobStart(**(fields | changes))


@pytest.fixture
def started(lifecycle: JobLifecycle) -> Callable[..., Job]:
    """Starts a job; keywords are fields of JobStart."""

    def start(job_id: int = 1, *hosts: str, **changes: Any) -> Job:
        return lifecycle.start(start_event(job_id, *hosts, **changes), now_s=NOW_S)

    return start


@pytest.fixture
def stopped(started: Callable[..., Job], lifecycle: JobLifecycle) -> Callable[..., Job]:
    """Starts a job and stops it after `ran_s`, with a final state."""

    def stop(job_id: int = 1, *hosts: str, state: str = "completed", ran_s: int = 600, **changes: Any) -> Job:
        job = started(job_id, *hosts, **changes)
        event = JobStop(job.job_id, job.start_time + ran_s, state, job.cluster, job.start_time)
        return lifecycle.stop(event, now_s=NOW_S)

    return stop
