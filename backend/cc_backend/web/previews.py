"""Small curves for the rows of a job list, kept for archived jobs because those never change."""

import threading
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from cc_backend.clusters.model import SubCluster
from cc_backend.insight.curves import Values, matrix, nan_mean, shrink
from cc_backend.insight.footprint import node_metric, statistic_of
from cc_backend.model import Job, JobData, MonitoringStatus

POINTS = 72
LIST_METRICS = ("cpu_load", "flops_any", "mem_bw", "mem_used")
LIST_METRICS_GPU = ("acc_utilization", "cpu_load", "acc_mem_used", "acc_power")


@dataclass(frozen=True, slots=True)
class Preview:
    """The mean of all nodes over time, in the configured unit, with its mean and highest value."""

    values: Values
    mean: float
    highest: float
    judged: float | None
    """The value that the metric's footprint statistic has."""


def preview_of(data: JobData, metric: str, statistic: str = "avg") -> Preview | None:
    """The preview of one metric, or nothing where it was not measured."""
    found = node_metric(data, metric)
    mean, highest = statistic_of(found, "avg"), statistic_of(found, "max")
    if found is None or mean is None or highest is None:
        return None
    values = shrink(nan_mean(matrix(found), 0), POINTS)[0]
    return Preview(np.asarray(values), mean, highest, statistic_of(found, statistic or "avg"))


def list_metrics(jobs: Sequence[Job], sub_clusters: Iterable[SubCluster | None], *, most: int = 4) -> list[str]:
    """Which metrics a list of these jobs previews: the GPU ones if all jobs have GPUs, filled up from the footprint."""
    known = [sub for sub in sub_clusters if sub is not None]
    configured: dict[str, bool] = {}
    for sub in known:
        for name, config in sub.metrics.items():
            configured[name] = configured.get(name, False) or bool(config.footprint)
    gpu = bool(jobs) and all(job.num_acc for job in jobs) and "acc_utilization" in configured
    wanted = [name for name in (LIST_METRICS_GPU if gpu else LIST_METRICS) if name in configured]
    wanted += [name for name, in_footprint in configured.items() if in_footprint and name not in wanted]
    wanted += [name for name in configured if name not in wanted]
    return wanted[:most] or list(LIST_METRICS)


class PreviewCache:
    """The last previews of archived jobs; safe for several threads."""

    def __init__(self, most: int = 4000) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[int, int, str], Preview | None] = OrderedDict()

    def get(self, job: Job, metrics: Sequence[str]) -> dict[str, Preview | None] | None:
        """The previews of all these metrics, or None if any is not kept."""
        if job.monitoring_status != MonitoringStatus.ARCHIVED:
            return None
        with self._lock:
            keys = [(job.id, job.start_time, metric) for metric in metrics]
            if not all(key in self._kept for key in keys):
                return None
            for key in keys:
                self._kept.move_to_end(key)
            return {key[2]: self._kept[key] for key in keys}

    def put(self, job: Job, previews: dict[str, Preview | None]) -> None:
        """Keeps the previews if the job is archived."""
        if job.monitoring_status != MonitoringStatus.ARCHIVED:
            return
        with self._lock:
            for metric, preview in previews.items():
                self._kept[job.id, job.start_time, metric] = preview
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
