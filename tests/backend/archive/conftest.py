"""An invented job of two nodes with its samples, and the cluster it ran on."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cc_backend.archive.file_archive import FileArchive
from cc_backend.clusters import SubCluster, parse_cluster
from cc_backend.model import Job, JobData, JobMetric, JobState, MetricUnit, Resource, SampleSeries, Scope

WATT = MetricUnit("W")
GIGABYTE = MetricUnit("B", "G")
LIMITS = {"peak": 100, "normal": 50, "caution": 20, "alert": 10}
TERN: dict[str, Any] = {
    "name": "tern",
    "metricConfig": [
        {"name": "cpu_load", "unit": {"base": ""}, "scope": "node", "timestep": 60, "footprint": "avg", **LIMITS},
        {
            "name": "mem_used", "unit": {"base": "B", "prefix": "G"}, "scope": "node", "timestep": 60,
            "footprint": "max", **LIMITS,
        },
        {"name": "cpu_power", "unit": {"base": "W"}, "scope": "socket", "timestep": 60, "energy": "power", **LIMITS},
        {"name": "sys_power", "unit": {"base": "W", "prefix": "K"}, "scope": "node", "timestep": 60,
         "energy": "power", **LIMITS},
        {"name": "sys_energy", "unit": {"base": "J", "prefix": "M"}, "scope": "node", "timestep": 60,
         "energy": "energy", **LIMITS},
    ],
    "subClusters": [
        {
            "name": "std", "nodes": "tn[01-64]", "processorType": "A",
            "socketsPerNode": 1, "coresPerSocket": 2, "threadsPerCore": 1,
            "flopRateScalar": {"unit": {"base": "F/s", "prefix": "G"}, "value": 1},
            "flopRateSimd": {"unit": {"base": "F/s", "prefix": "G"}, "value": 1},
            "memoryBandwidth": {"unit": {"base": "B/s", "prefix": "G"}, "value": 1},
            "topology": {"node": [0, 1], "socket": [[0, 1]], "memoryDomain": [[0, 1]], "core": [[0], [1]]},
        }
    ],
}  # fmt: skip


def node_metric(unit: MetricUnit, *values: list[float]) -> JobMetric:
    """A metric at node scope with one series for each list of samples."""
    series = [SampleSeries(f"tn{i:02d}", np.array(data, dtype=np.float32)) for i, data in enumerate(values, 1)]
    return JobMetric(unit, 60, series)


@pytest.fixture
def cluster_document() -> dict[str, Any]:
    return TERN


@pytest.fixture
def sub_cluster() -> SubCluster:
    cluster, _ = parse_cluster(TERN, source="cluster.json")
    return cluster.sub_clusters["std"]


@pytest.fixture
def job() -> Job:
    return Job(
        job_id=7300412,
        cluster="tern",
        user="maru",
        project="ocean7",
        start_time=1760000000,
        resources=(Resource("tn01"), Resource("tn02")),
        num_nodes=2,
        sub_cluster="std",
        duration=180,
        state=JobState.COMPLETED,
    )


@pytest.fixture
def data() -> JobData:
    gap = float("nan")
    return {
        "cpu_load": {Scope.NODE: node_metric(MetricUnit(""), [1.0, 1.5, 2.0], [2.0, gap, 4.0])},
        "mem_used": {Scope.NODE: node_metric(GIGABYTE, [3.0, gap, 13.0], [14.0, 17.0, 20.0])},
    }


@pytest.fixture
def archive(tmp_path: Path) -> FileArchive:
    """An empty archive in a folder of its own."""
    return FileArchive.create(tmp_path / "archive")
