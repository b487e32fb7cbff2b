"""Metrics of single jobs, such as the memory of one of several on a node: every cluster has them without an entry.

The agent sends them with `type=job` and the id of the job. Each is kept with the
timestep of the cluster's `mem_used`, and archived as a metric of nodes, which other readers of the archive know. An
entry in a cluster.json replaces the built-in one.
"""

from collections.abc import Mapping
from typing import NamedTuple

from cc_backend.clusters.model import FootprintStatistic, MetricConfig
from cc_backend.model import MetricUnit, Scope

DEFAULT_TIMESTEP_S = 60

JOB_MARK_PREFIX = "job_mark_"
"""Begin of the names of numbers that jobs report about themselves, such as their step."""


class _JobMetric(NamedTuple):
    unit: str
    beside: tuple[str, ...] = ()
    footprint: FootprintStatistic = ""


_JOB_METRICS = {
    "job_mem_used": _JobMetric("B", ("mem_used",), "max"),
    "job_mem_rss": _JobMetric("B"),
    "job_mem_current": _JobMetric("B"),
    "job_mem_peak": _JobMetric("B"),
    "job_mem_limit": _JobMetric("B"),
    "job_oom_kills": _JobMetric(""),
    "job_cpu_used": _JobMetric("%", ("cpu_used", "cpu_user"), "avg"),
    "job_cpu_user": _JobMetric("%", ("cpu_user",)),
    "job_cpu_system": _JobMetric("%", ("cpu_system",)),
    "job_cpu_throttled": _JobMetric("%"),
    "job_cpu_pressure": _JobMetric("%"),
    "job_mem_pressure": _JobMetric("%"),
    "job_io_pressure": _JobMetric("%"),
    "job_io_read_bw": _JobMetric("B/s", ("disk_read_bw",)),
    "job_io_write_bw": _JobMetric("B/s", ("disk_write_bw",)),
    "job_io_read_iops": _JobMetric("requests/s", ("disk_read_iops",)),
    "job_io_write_iops": _JobMetric("requests/s", ("disk_write_iops",)),
    "job_processes": _JobMetric(""),
    "job_hwthreads": _JobMetric(""),
    "job_gpus": _JobMetric(""),
    "job_acc_mem_used": _JobMetric("B", ("acc_mem_used",)),
}


def built_in_job_metrics(metrics: Mapping[str, MetricConfig]) -> dict[str, MetricConfig]:
    """The metrics of single jobs that a cluster has beside its own ones."""
    usual = metrics.get("mem_used") or next(iter(metrics.values()), None)
    timestep_s = DEFAULT_TIMESTEP_S if usual is None else usual.timestep_s
    return {
        name: MetricConfig(
            name=name,
            unit=MetricUnit(kind.unit),
            scope=Scope.NODE,
            timestep_s=timestep_s,
            footprint=kind.footprint,
        )
        for name, kind in _JOB_METRICS.items()
        if name not in metrics
    }


def job_metric(name: str, of_jobs: Mapping[str, MetricConfig]) -> MetricConfig | None:
    """A metric of single jobs by its name: one that is built in, or a mark, whose name the job has chosen."""
    found = of_jobs.get(name)
    if found is None and name.startswith(JOB_MARK_PREFIX):
        timestep_s = next((config.timestep_s for config in of_jobs.values()), DEFAULT_TIMESTEP_S)
        found = MetricConfig(name=name, unit=MetricUnit(""), scope=Scope.NODE, timestep_s=timestep_s)
    return found


def is_job_metric(config: MetricConfig) -> bool:
    """Whether the metric is of single jobs; under the same name sites may have shares of hardware threads."""
    is_named_so = config.name in _JOB_METRICS or config.name.startswith(JOB_MARK_PREFIX)
    return is_named_so and config.scope is Scope.NODE


def metrics_beside(metric: str) -> tuple[str, ...]:
    """The metrics of whole nodes that a metric of jobs compares with, the best one first."""
    kind = _JOB_METRICS.get(metric)
    return kind.beside if kind else ()


def with_measured_job_metrics(
    metrics: Mapping[str, MetricConfig], of_jobs: Mapping[str, MetricConfig], measured: Mapping[str, object]
) -> dict[str, MetricConfig]:
    """The metrics with those of jobs that were measured, each behind the one that it compares with."""
    left = {name: config for name, config in of_jobs.items() if measured.get(name) and name not in metrics}
    found: dict[str, MetricConfig] = {}
    for name, config in metrics.items():
        found[name] = config
        close = [other for other in left if name in metrics_beside(other)]
        found |= {other: left.pop(other) for other in close}
    return found | left
