"""A small invented cluster in the form of cluster.json."""

import copy
from typing import Any

import pytest

TERN: dict[str, Any] = {
    "name": "tern",
    "metricConfig": [
        {
            "name": "cpu_load",
            "unit": {"base": ""},
            "scope": "node",
            "timestep": 60,
            "aggregation": "avg",
            "peak": 8,
            "normal": 8,
            "caution": 4,
            "alert": 2,
            "footprint": "avg",
        },
        {
            "name": "mem_used",
            "unit": {"base": "B", "prefix": "G"},
            "scope": "node",
            "timestep": 60,
            "aggregation": "sum",
            "peak": 64,
            "normal": 32,
            "caution": 48,
            "alert": 60,
            "footprint": "max",
            "lowerIsBetter": True,
            "subClusters": [
                {
                    "name": "fat",
                    "peak": 512,
                    "normal": 256,
                    "caution": 400,
                    "alert": 500.5,
                    "footprint": "max",
                    "lowerIsBetter": True,
                }
            ],
        },
        {
            "name": "cpu_power",
            "unit": {"base": "W"},
            "scope": "socket",
            "timestep": 30,
            "aggregation": "sum",
            "peak": 300,
            "normal": 200,
            "caution": 100,
            "alert": 50,
            "energy": "power",
            "restrict": True,
            "subClusters": [{"name": "fat", "remove": True}],
        },
    ],
    "subClusters": [
        {
            "name": "std",
            "nodes": "tn[01-04]",
            "processorType": "Model A",
            "socketsPerNode": 2,
            "coresPerSocket": 2,
            "threadsPerCore": 2,
            "flopRateScalar": {"unit": {"base": "F/s", "prefix": "G"}, "value": 10},
            "flopRateSimd": {"unit": {"base": "F/s", "prefix": "G"}, "value": 80},
            "memoryBandwidth": {"unit": {"base": "B/s", "prefix": "G"}, "value": 40.5},
            "topology": {
                "node": [0, 4, 1, 5, 2, 6, 3, 7],
                "socket": [[0, 4, 1, 5], [2, 6, 3, 7]],
                "memoryDomain": [[0, 4, 1, 5], [2, 6, 3, 7]],
                "core": [[0, 4], [1, 5], [2, 6], [3, 7]],
                "accelerators": [{"id": "0000:01:00.0", "type": "Nvidia GPU", "model": "X"}],
            },
        },
        {
            "name": "fat",
            "nodes": "tf1",
            "processorType": "Model B",
            "socketsPerNode": 1,
            "coresPerSocket": 4,
            "threadsPerCore": 1,
            "flopRateScalar": {"unit": {"base": "F/s", "prefix": "G"}, "value": 10},
            "flopRateSimd": {"unit": {"base": "F/s", "prefix": "G"}, "value": 80},
            "memoryBandwidth": {"unit": {"base": "B/s", "prefix": "G"}, "value": 40},
            "topology": {
                "node": [0, 1, 2, 3],
                "socket": [[0, 1, 2, 3]],
                "memoryDomain": [[0, 1, 2, 3]],
                "core": [[0], [1], [2], [3]],
            },
        },
    ],
}


@pytest.fixture
def tern() -> dict[str, Any]:
    """A cluster of two subclusters that has nothing odd about it."""
    return copy.deepcopy(TERN)
