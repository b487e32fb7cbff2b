"""Small curves for the rows of a job list, cached for archived jobs, which never change."""

import threading
from collections import Counter, OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cc_backend.clusters.model import MetricConfig, SubCluster
from cc_backend.insight.curve_maths import Values, downsample
from cc_backend.insight.job_curves import JobCurveSet
from cc_backend.model import Job, JobKey, MonitoringStatus

MAX_POINTS = 72
MAX_PREVIEWS = 4
LIST_METRICS = ("cpu_load", "flops_any", "mem_bw", "mem_used")
LIST_METRICS_GPU = ("acc_utilization", "cpu_load", "acc_mem_used", "acc_power")


@dataclass(frozen=True, slots=True)
class Preview:
    """The mean of all nodes over time in the configured unit, with the mean and the maximum of all samples."""

    values: Values
    mean: float
    maximum: float
    footprint_value: float | None
    """The value of the metric's footprint statistic."""
    has_enough_samples: bool = True
    """Whether there are enough samples for a judgement."""


def make_preview(curves: JobCurveSet, metric: str, statistic: str = "avg") -> Preview | None:
    """The preview of one metric; None if it was not measured."""
    found = curves.get(metric)
    if found is None or found.mean is None or found.maximum is None:
        return None
    values = downsample(found.column_means, MAX_POINTS)[0]
    return Preview(
        np.asarray(values), found.mean, found.maximum, found.statistic(statistic or "avg"), found.has_enough_samples
    )


def choose_row_metrics(
    job: Job, sub_cluster: SubCluster | None, visible: Collection[str], *, most: int = MAX_PREVIEWS
) -> tuple[str, ...]:
    """The metrics that the row of a job previews, of those that its nodes have: at most `most`, the most telling first.

    Jobs with GPUs are shown by their GPUs. `visible` are the metrics that the reader may see.
    """
    if sub_cluster is None:
        return LIST_METRICS[:most]
    metrics = {name: config for name, config in sub_cluster.metrics.items() if name in visible}
    wanted = [name for name in (LIST_METRICS_GPU if job.num_acc else LIST_METRICS) if name in metrics]
    wanted += [name for name, config in metrics.items() if config.footprint and name not in wanted]
    wanted += [name for name in metrics if name not in wanted]
    return tuple(wanted[:most])


def most_common_metrics(rows: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """The metrics that most rows show: the heads of the columns."""
    counts = Counter(rows)
    return max(counts, key=lambda metrics: counts[metrics], default=LIST_METRICS)


class PreviewCache:
    """Cache of previews of archived jobs, and of the metrics of archived jobs whose configuration is unknown.

    Safe for several threads.
    """

    def __init__(self, most: int = 4000) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[JobKey, str], Preview | None] = OrderedDict()
        self._kinds: OrderedDict[JobKey, Mapping[str, MetricConfig]] = OrderedDict()

    def get_metrics(self, job: Job) -> Mapping[str, MetricConfig] | None:
        """The metrics measured for a job; None if not cached."""
        with self._lock:
            return self._kinds.get(_key(job))

    def put_metrics(self, job: Job, metrics: Mapping[str, MetricConfig]) -> None:
        """Cache the metrics measured for an archived job."""
        with self._lock:
            self._kinds[_key(job)] = metrics
            while len(self._kinds) > self._most // MAX_PREVIEWS:
                self._kinds.popitem(last=False)

    def get(self, job: Job, metrics: Sequence[str]) -> dict[str, Preview | None] | None:
        """The previews of all these metrics; None if any is not cached."""
        if job.monitoring_status != MonitoringStatus.ARCHIVED:
            return None
        with self._lock:
            keys = [(_key(job), metric) for metric in metrics]
            if not all(key in self._kept for key in keys):
                return None
            for key in keys:
                self._kept.move_to_end(key)
            return {key[1]: self._kept[key] for key in keys}

    def put(self, job: Job, previews: dict[str, Preview | None]) -> None:
        """Cache the previews, if the job is archived."""
        if job.monitoring_status != MonitoringStatus.ARCHIVED:
            return
        with self._lock:
            for metric, preview in previews.items():
                self._kept[_key(job), metric] = preview
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)


def _key(job: Job) -> JobKey:
    """The key of a job in the cache; not its row id, which a restored database may give to another."""
    return JobKey(job.cluster, job.job_id, job.start_time)
