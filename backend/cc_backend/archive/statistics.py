"""Statistics, footprint and energy of a job, computed from its samples. Pure functions.

Gaps (NaN) are ignored: they are not zero, not part of a median, and a series without samples has no minimum.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from cc_backend.archive.rounding import round2, round2_array
from cc_backend.clusters.model import MetricConfig, SubCluster
from cc_backend.model import (
    Job,
    JobData,
    JobMetric,
    MetricStatistic,
    MonitoringStatus,
    Samples,
    Scope,
    Statistic,
    StatisticsSeries,
)
from cc_backend.runtime.float32 import shortest_float32
from cc_common.errors import UnitError
from cc_common.units import prefix_factor

MIN_SERIES_FOR_STATISTICS = 8
"""Minimum number of series for which minimum, mean, median and maximum over time are archived as well."""

_MIN_VALID_SERIES = 3
_JOULES_PER_KWH = 3.6e6


def series_statistics(data: Samples) -> Statistic:
    """Minimum, mean and maximum of the samples, rounded to two decimals; 0/0/0 without samples."""
    exact = _exact_statistics(data)
    return Statistic(round2(exact.min), round2(exact.avg), round2(exact.max)) if exact else Statistic(0.0, 0.0, 0.0)


def all_series_statistics(series: Sequence[Samples]) -> list[Statistic]:
    """The `series_statistics` of each series; of those without a gap all at once, if they are equally long."""
    if len({len(data) for data in series}) != 1 or series[0].size == 0:
        return [series_statistics(data) for data in series]
    table = np.array(series, np.float64)
    whole = np.isfinite(table).all(axis=1)
    if not whole.all():
        table = table[whole]
    exact = np.column_stack((table.min(axis=1), table.mean(axis=1), table.max(axis=1)))
    at_once = iter(round2_array(exact).tolist())
    return [
        Statistic(*next(at_once)) if has_no_gap else series_statistics(data)
        for data, has_no_gap in zip(series, np.atleast_1d(whole).tolist(), strict=True)
    ]


def statistics_series(series: Sequence[Samples]) -> StatisticsSeries:
    """Minimum, mean, median and maximum over all series at each timestep, as long as the longest series.

    A timestep at which fewer than three series have a sample is NaN.
    """
    length = max((len(data) for data in series), default=0)
    table = np.full((len(series), length), np.nan)
    for row, data in zip(table, series, strict=True):
        row[: len(data)] = data
    table[~np.isfinite(table)] = np.nan
    usable = np.count_nonzero(~np.isnan(table), axis=0) >= _MIN_VALID_SERIES
    ordered = np.sort(table[:, usable].T, axis=1)  # NaN comes last
    if ordered.size == 0:
        return StatisticsSeries(*(np.full(length, np.nan) for _ in range(4)))
    steps = np.arange(len(ordered))
    valid = np.count_nonzero(~np.isnan(ordered), axis=1)

    def spread(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        full = np.full(length, np.nan)
        full[usable] = values
        return full

    return StatisticsSeries(
        min=spread(ordered[:, 0]),
        mean=spread(np.nansum(ordered, axis=1) / valid),
        median=spread((ordered[steps, (valid - 1) // 2] + ordered[steps, valid // 2]) / 2),
        max=spread(ordered[steps, valid - 1]),
    )


def with_statistics(data: JobData) -> JobData:
    """The data with the statistics of each series, and, from eight series on, over all series at each timestep."""
    return {
        metric: {scope: _completed(job_metric) for scope, job_metric in by_scope.items()}
        for metric, by_scope in data.items()
    }


def finalize_job(job: Job, data: JobData, sub_cluster: SubCluster) -> Job:
    """The job with statistics, footprint and energy (kWh) from its node series, and the status archived."""
    energy_footprint = compute_energy(job, data, sub_cluster)
    statistics = compute_job_statistics(job, data, sub_cluster)
    return replace(
        job,
        statistics=statistics,
        footprint=compute_footprint(statistics, sub_cluster),
        energy=shortest_float32(sum(energy_footprint.values())),
        energy_footprint=energy_footprint,
        monitoring_status=MonitoringStatus.ARCHIVED,
    )


def compute_job_statistics(job: Job, data: JobData, sub_cluster: SubCluster) -> dict[str, MetricStatistic]:
    """For each metric with node series: mean per node, minimum and maximum over nodes, rounded to two decimals.

    The mean is the sum of the nodes' means divided by the number of nodes of the job, even if some sent no samples.
    A metric without samples has no statistic.
    """
    result = {}
    for name, by_scope in data.items():
        metric = by_scope.get(Scope.NODE)
        exact = [] if metric is None else _exact_node_statistics(metric)
        if metric is None or not exact:
            continue
        config = sub_cluster.all_metrics.get(name)
        result[name] = MetricStatistic(
            unit=config.unit if config else metric.unit,
            min=round2(min(statistic.min for statistic in exact)),
            avg=round2(sum(statistic.avg for statistic in exact) / max(job.num_nodes, 1)),
            max=round2(max(statistic.max for statistic in exact)),
        )
    return result


def compute_footprint(statistics: Mapping[str, MetricStatistic], sub_cluster: SubCluster) -> dict[str, float]:
    """`<metric>_<statistic>` -> value, for the footprint metrics of the subcluster that have a statistic."""
    return {
        f"{name}_{metric.footprint}": _chosen(statistics[name], metric.footprint)
        for name, metric in sub_cluster.all_metrics.items()
        if metric.footprint and name in statistics
    }


def compute_energy(job: Job, data: JobData, sub_cluster: SubCluster) -> dict[str, float]:
    """Energy metric -> kWh, for the energy metrics of the subcluster with node series; in float32 precision.

    Power: the sum of the nodes' means times the duration. Energy: the increase of each node's counter from its first
    to its last sample; a counter that decreases was reset to zero.
    """
    result = {}
    for name, config in sub_cluster.metrics.items():
        metric = data.get(name, {}).get(Scope.NODE)
        if not config.energy or metric is None:
            continue
        statistics = _exact_node_statistics(metric)
        if not statistics:
            continue
        if config.energy == "power":
            joules = sum(statistic.avg for statistic in statistics) * max(job.duration, 0)
        else:
            joules = sum(_counter_gain(series.data) for series in metric.series)
        result[name] = shortest_float32(joules * _prefix_factor(config, metric) / _JOULES_PER_KWH)
    return result


def _completed(metric: JobMetric) -> JobMetric:
    lacking = [series.data for series in metric.series if series.statistics is None]
    found = iter(all_series_statistics(lacking))
    completed = [replace(series, statistics=series.statistics or next(found)) for series in metric.series]
    over_time = metric.statistics_series
    if over_time is None and len(completed) >= MIN_SERIES_FOR_STATISTICS:
        over_time = statistics_series([series.data for series in completed])
    return replace(metric, series=completed, statistics_series=over_time)


def _exact_statistics(data: Samples) -> Statistic | None:
    valid = data[np.isfinite(data)].astype(np.float64)
    if valid.size == 0:
        return None
    return Statistic(float(valid.min()), float(valid.mean()), float(valid.max()))


def _exact_node_statistics(metric: JobMetric) -> list[Statistic]:
    """The statistics of the series that have samples; the stored statistics of a series whose samples were not kept."""
    found = (_exact_statistics(series.data) if series.data.size else series.statistics for series in metric.series)
    return [statistic for statistic in found if statistic is not None]


def _counter_gain(data: Samples) -> float:
    valid = data[np.isfinite(data)].astype(np.float64)
    steps = np.diff(valid)
    return float(np.where(steps >= 0, steps, valid[1:]).sum())


def _prefix_factor(config: MetricConfig, metric: JobMetric) -> float:
    """The factor to W or J; an unknown prefix counts as none."""
    unit = config.unit if config.unit.base else metric.unit
    try:
        return prefix_factor(unit.prefix)
    except UnitError:
        return 1.0


def _chosen(statistic: MetricStatistic, which: str) -> float:
    return {"min": statistic.min, "max": statistic.max}.get(which, statistic.avg)
