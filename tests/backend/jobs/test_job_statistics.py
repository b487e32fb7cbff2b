from collections.abc import Callable
from dataclasses import replace

import pytest

from cc_backend.clusters import ClusterRegistry
from cc_backend.db.database import Database
from cc_backend.jobs import job_statistics
from cc_backend.jobs.filters import JobFilter
from cc_backend.jobs.job_columns import JobColumns
from cc_backend.jobs.job_queries import JobQueries
from cc_backend.jobs.job_statistics import GroupBy, JobStatistics, Totals
from cc_backend.model import Job, MetricUnit, RowRule
from cc_common.job_events import TagEvent

NOW_S = 1_760_000_000
ALL = RowRule(all_jobs=True)
Start = Callable[..., Job]


def statistics(database: Database, clusters: ClusterRegistry) -> JobStatistics:
    columns = JobColumns(database)
    return JobStatistics(database, clusters, JobQueries(database, clusters, columns=columns), columns, short_job_s=300)


@pytest.fixture
def sums(database: Database, clusters: ClusterRegistry) -> JobStatistics:
    return statistics(database, clusters)


def with_footprint(clusters: ClusterRegistry, peak: float) -> ClusterRegistry:
    """The clusters, with a footprint of `cpu_load` in tern."""
    tern = clusters["tern"]
    config = replace(tern.metrics["cpu_load"], footprint="avg", peak=peak, unit=MetricUnit("B/s", "G"))
    return ClusterRegistry(
        {"tern": replace(tern, metrics={**tern.metrics, "cpu_load": config}), "skua": clusters["skua"]}
    )


def test_no_jobs_sum_up_to_nothing(sums: JobStatistics) -> None:
    assert sums.totals(JobFilter(), ALL, now_s=NOW_S) == Totals()
    for group_by in GroupBy:
        assert sums.grouped(JobFilter(), ALL, group_by, now_s=NOW_S).groups == []
    histograms = sums.histograms(JobFilter(), ALL, now_s=NOW_S, metrics=["cpu_load"])
    assert histograms.duration.counts == [0] * 48
    assert histograms.nodes.counts == []


def test_hours_are_exact_and_running_jobs_count_until_now(sums: JobStatistics, started: Start, stopped: Start) -> None:
    stopped(1, "tn0001", "tn0002", ran_s=100, num_hwthreads=8, num_acc=2)
    started(2, "tn0003", start_time=NOW_S - 1000, user="kmeyer", num_hwthreads=4)
    assert sums.totals(JobFilter(), ALL, now_s=NOW_S) == Totals(
        jobs=2, users=2, running_jobs=1, short_jobs=1, nodes=3, cores=12, accelerators=2,
        wall_s=1100, node_s=1200, core_s=4800, accelerator_s=200,
    )  # fmt: skip


def test_sums_do_not_overflow(database: Database, sums: JobStatistics, stopped: Start) -> None:
    threads, ran_s = 2**31 - 1, 10**10
    for number in range(1, 4):
        stopped(number, f"tn{number:04}", num_hwthreads=threads)
    database.run_sql("UPDATE job SET duration = ?", ran_s)
    totals = sums.totals(JobFilter(), ALL, now_s=NOW_S)
    assert (totals.cores, totals.core_s) == (3 * threads, 3 * threads * ran_s)
    (group,) = sums.grouped(JobFilter(), ALL, GroupBy.USER, now_s=NOW_S).groups
    assert (group.cores, group.core_s) == (totals.cores, totals.core_s)


def test_a_page_of_groups_is_cut_after_sorting(sums: JobStatistics, started: Start) -> None:
    for number in range(1, 7):
        for job in range(number):
            started(10 * number + job, f"tn{number:04}", user=f"u{number}")
    pages = [
        sums.grouped(JobFilter(), ALL, GroupBy.USER, now_s=NOW_S, page=page, items_per_page=4) for page in (1, 2, 3)
    ]
    assert [[group.group for group in page.groups] for page in pages] == [["u6", "u5", "u4", "u3"], ["u2", "u1"], []]
    assert {page.total for page in pages} == {6}


def test_the_upper_end_of_a_metric_is_in_its_last_bin(
    database: Database, clusters: ClusterRegistry, started: Start
) -> None:
    for number, value in enumerate((0.0, 0.5, 1.0, 3.9, 4.0, 4.1), 1):
        started(number, f"tn{number:04}", footprint={"cpu_load_avg": value})
    started(9, "tn0009", footprint={"cpu_load_max": 1.0})
    sums = statistics(database, with_footprint(clusters, 4.0))
    (found,) = sums.histograms(JobFilter(), ALL, now_s=NOW_S, metrics=["cpu_load"], metric_bins=4).metrics
    assert (found.bins.counts, found.bins.beyond, found.missing) == ([2, 1, 0, 2], 1, 1)
    assert (found.statistic, found.unit, found.peak, found.bins.width) == ("avg", "GB/s", 4.0, 1.0)


@pytest.mark.parametrize("peak", [0.0, -1.0])
def test_without_a_peak_all_jobs_are_missing(
    database: Database, clusters: ClusterRegistry, started: Start, peak: float
) -> None:
    started(1, footprint={"cpu_load_avg": 0.0})
    sums = statistics(database, with_footprint(clusters, peak))
    (found,) = sums.histograms(JobFilter(), ALL, now_s=NOW_S, metrics=["cpu_load"]).metrics
    assert (found.bins.counts, found.missing) == ([], 1)


@pytest.mark.parametrize("metric", ["nothing", "mem_used", "x' OR 1=1 --", ""])
def test_a_metric_that_is_in_no_footprint_has_no_bins(sums: JobStatistics, started: Start, metric: str) -> None:
    started(1)
    (found,) = sums.histograms(JobFilter(clusters=("tern",)), ALL, now_s=NOW_S, metrics=[metric]).metrics
    assert (found.bins.counts, found.missing) == ([], 1)


def test_numbers_behind_the_last_that_is_told_apart_are_counted_together(
    sums: JobStatistics, started: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_statistics, "MAX_DISTINCT", 2)
    for number in range(1, 6):
        started(number, f"tn{number:04}", num_hwthreads=number)
    found = sums.histograms(JobFilter(), ALL, now_s=NOW_S).cores
    assert (found.counts, found.beyond) == ([(1, 1), (2, 1)], 3)


def test_a_job_with_two_of_the_tags_counts_once(database: Database, sums: JobStatistics, started: Start) -> None:

    job = started(1, tags=(TagEvent("a", "b"), TagEvent("c", "d")))
    wanted = JobFilter(tags=tuple(tag.id for tag in job.tags))
    assert sums.totals(wanted, ALL, now_s=NOW_S).jobs == 1
