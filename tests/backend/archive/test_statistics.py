import dataclasses
import math
import statistics as reference

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.archive.statistics import (
    all_series_statistics,
    finalize_job,
    series_statistics,
    statistics_series,
    with_statistics,
)
from cc_backend.clusters import SubCluster
from cc_backend.model import (
    Job,
    JobData,
    JobMetric,
    MetricStatistic,
    MetricUnit,
    MonitoringStatus,
    SampleSeries,
    Scope,
    Statistic,
)

GAP = math.nan


def _floats(*values: float) -> npt.NDArray[np.float32]:
    return np.array(values, dtype=np.float32)


def _nodes(*series: list[float], unit: MetricUnit | None = None) -> dict[Scope, JobMetric]:
    data = [SampleSeries(f"tn{i:02d}", _floats(*values)) for i, values in enumerate(series, 1)]
    return {Scope.NODE: JobMetric(unit or MetricUnit(""), 60, data)}


def test_gaps_do_not_count_in_series_statistics() -> None:
    assert series_statistics(_floats(3, GAP, 13)) == Statistic(3, 8, 13)


@pytest.mark.parametrize("values", [[], [GAP], [GAP, math.inf]])
def test_a_series_without_sample_has_zero_statistics(values: list[float]) -> None:
    assert series_statistics(_floats(*values)) == Statistic(0, 0, 0)


def test_series_statistics_are_rounded_to_two_decimals() -> None:
    assert series_statistics(_floats(0.125, 0.125, 0.126)) == Statistic(0.13, 0.13, 0.13)


def test_the_mean_is_not_spoiled_by_the_precision_of_32_bits() -> None:
    assert series_statistics(np.full(1 << 20, 16_777_216.0, dtype=np.float32)).avg == 16_777_216.0


@given(
    st.integers(0, 300),
    st.lists(st.lists(st.one_of(st.floats(width=32), st.integers(0, 10**6)), max_size=6), max_size=12),
)
def test_statistics_of_many_series_are_those_of_each(filler: int, rows: list[list[float]]) -> None:
    equally_long = [_floats(*(row + [0.5] * 6)[:6], *range(filler)) for row in rows]
    for series in (equally_long, [_floats(*row) for row in rows]):
        assert all_series_statistics(series) == [series_statistics(data) for data in series]


def test_statistics_over_time_ignore_gaps() -> None:
    series = statistics_series([_floats(1, GAP), _floats(2, 4), _floats(6, 8), _floats(3, 9)])
    assert series.min.tolist() == [1, 4]
    assert series.max.tolist() == [6, 9]
    assert series.mean is not None
    assert series.mean.tolist() == [3, 7]
    assert series.median is not None
    assert series.median.tolist() == [2.5, 8]


def test_steps_with_fewer_than_three_samples_are_gaps() -> None:
    series = statistics_series([_floats(1, 1, 1), _floats(2, GAP), _floats(3, 3, 3)])
    assert [math.isnan(value) for value in series.min] == [False, True, True]


@pytest.mark.parametrize("arrays", [[], [_floats()], [_floats(1), _floats(2)], [_floats(GAP)] * 4])
def test_statistics_over_time_of_next_to_nothing_are_gaps(arrays: list[npt.NDArray[np.float32]]) -> None:
    series = statistics_series(arrays)
    assert len(series.min) == max((len(array) for array in arrays), default=0)
    assert np.isnan(series.min).all()


@given(st.lists(st.lists(st.floats(-1e6, 1e6, width=32) | st.just(GAP), max_size=5), min_size=3, max_size=9))
def test_statistics_over_time_agree_with_plain_arithmetic(table: list[list[float]]) -> None:
    series = statistics_series([_floats(*row) for row in table])
    assert series.mean is not None
    assert series.median is not None
    for step in range(max(map(len, table))):
        values = [row[step] for row in table if step < len(row) and not math.isnan(row[step])]
        if len(values) < 3:
            assert math.isnan(series.median[step])
            continue
        assert (series.min[step], series.max[step]) == (min(values), max(values))
        assert series.median[step] == pytest.approx(reference.median(values))
        assert series.mean[step] == pytest.approx(reference.fmean(values), abs=1e-6)


@pytest.mark.parametrize(("count", "made"), [(7, False), (8, True)])
def test_data_is_completed_with_statistics_over_time_from_eight_series_on(count: int, made: bool) -> None:  # noqa: FBT001
    data: JobData = {"m": _nodes(*[[float(i)] for i in range(count)])}
    metric = with_statistics(data)["m"][Scope.NODE]
    assert (metric.statistics_series is not None) == made
    assert metric.series[3].statistics == Statistic(3, 3, 3)
    assert data["m"][Scope.NODE].series[3].statistics is None


def test_job_statistics_are_mean_per_node_and_extremes_over_nodes(
    job: Job, data: JobData, sub_cluster: SubCluster
) -> None:
    statistics = finalize_job(job, data, sub_cluster).statistics
    assert statistics == {
        "cpu_load": MetricStatistic(MetricUnit(""), 1, 2.25, 4),
        "mem_used": MetricStatistic(MetricUnit("B", "G"), 3, 12.5, 20),
    }


def test_the_divisor_is_the_number_of_nodes_also_where_one_was_silent(job: Job, sub_cluster: SubCluster) -> None:
    statistics = finalize_job(job, {"cpu_load": _nodes([4.0, 4.0])}, sub_cluster).statistics
    assert statistics == {"cpu_load": MetricStatistic(MetricUnit(""), 4, 2, 4)}


def test_a_node_without_sample_does_not_pull_the_minimum_to_zero(job: Job, sub_cluster: SubCluster) -> None:
    data: JobData = {"cpu_load": _nodes([4.0, 6.0], [GAP, GAP])}
    statistics = finalize_job(job, with_statistics(data), sub_cluster).statistics
    assert statistics == {"cpu_load": MetricStatistic(MetricUnit(""), 4, 2.5, 6)}


def test_metrics_without_sample_or_node_scope_have_no_statistic(job: Job, sub_cluster: SubCluster) -> None:
    data: JobData = {"cpu_load": _nodes([GAP]), "x": {Scope.CORE: _nodes([1.0])[Scope.NODE]}, "y": _nodes()}
    finished = finalize_job(job, data, sub_cluster)
    assert finished.statistics == {}
    assert finished.footprint == {}


def test_a_series_kept_without_samples_counts_by_its_statistics(job: Job, sub_cluster: SubCluster) -> None:
    series = [
        SampleSeries("tn01", _floats(), None, Statistic(1, 2, 3)),
        SampleSeries("tn02", _floats(), None, Statistic(2, 4, 6)),
    ]
    data: JobData = {"cpu_load": {Scope.NODE: JobMetric(MetricUnit(""), 60, series)}}
    assert finalize_job(job, data, sub_cluster).statistics == {"cpu_load": MetricStatistic(MetricUnit(""), 1, 3, 6)}


def test_the_footprint_has_the_statistic_that_the_subcluster_asks_for(
    job: Job, data: JobData, sub_cluster: SubCluster
) -> None:
    assert finalize_job(job, data, sub_cluster).footprint == {"cpu_load_avg": 2.25, "mem_used_max": 20}


def test_power_becomes_energy_over_all_nodes_and_the_duration(job: Job, sub_cluster: SubCluster) -> None:
    long = dataclasses.replace(job, num_nodes=4, duration=5400)
    finished = finalize_job(long, {"cpu_power": _nodes(*[[240.0, GAP, 240.0]] * 4)}, sub_cluster)
    assert finished.energy_footprint == pytest.approx({"cpu_power": 1.44})
    assert finished.energy == pytest.approx(1.44)


def test_the_prefix_of_the_unit_counts(job: Job, sub_cluster: SubCluster) -> None:
    hour = dataclasses.replace(job, duration=3600)
    finished = finalize_job(hour, {"sys_power": _nodes([0.5], [1.5], unit=MetricUnit("W", "K"))}, sub_cluster)
    assert finished.energy == pytest.approx(2.0)


def test_the_energy_of_a_short_job_is_not_rounded_away(job: Job, sub_cluster: SubCluster) -> None:
    finished = finalize_job(dataclasses.replace(job, duration=1), {"cpu_power": _nodes([1.0])}, sub_cluster)
    assert finished.energy == pytest.approx(1 / 3.6e6)


@pytest.mark.parametrize(
    ("counter", "megajoules"),
    [([0.0, 36.0, 72.0], 72), ([5.0, GAP, 77.0], 72), ([60.0, 70.0, 2.0, 62.0], 72), ([7.0], 0)],
)
def test_an_energy_counter_is_integrated_through_gaps_and_restarts(
    job: Job, sub_cluster: SubCluster, counter: list[float], megajoules: float
) -> None:
    finished = finalize_job(job, {"sys_energy": _nodes(counter)}, sub_cluster)
    assert finished.energy == pytest.approx(megajoules / 3.6)


def test_energy_metrics_add_up(job: Job, sub_cluster: SubCluster) -> None:
    data: JobData = {"cpu_power": _nodes([36.0]), "sys_energy": _nodes([0.0, 36.0])}
    finished = finalize_job(dataclasses.replace(job, duration=100), data, sub_cluster)
    assert finished.energy == pytest.approx(0.001 + 10)


def test_a_finished_job_is_archived_and_the_given_one_unchanged(
    job: Job, data: JobData, sub_cluster: SubCluster
) -> None:
    finished = finalize_job(job, data, sub_cluster)
    assert finished.monitoring_status == MonitoringStatus.ARCHIVED
    assert (job.monitoring_status, job.statistics) == (MonitoringStatus.RUNNING_OR_ARCHIVING, None)


def test_a_job_without_any_data_has_empty_results(job: Job, sub_cluster: SubCluster) -> None:
    finished = finalize_job(job, {}, sub_cluster)
    assert (finished.statistics, finished.footprint, finished.energy_footprint) == ({}, {}, {})
    assert finished.energy == 0
