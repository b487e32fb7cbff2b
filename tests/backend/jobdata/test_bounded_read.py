"""Whatever the times of a job say, reading it costs what its store holds and what was asked for, and no more."""

import sqlite3
import time
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from cc_backend.jobdata.bounded_read import FULL_LIMITS, VIEW_LIMITS, SampleLimits, coarsen, slots_per_point
from cc_backend.maintenance.tasks import make_archiver
from cc_backend.model import Job, JobMetric, JobState, MetricUnit, RowRule, SampleSeries, Scope

START_S = 1_760_000_400
EVERYTHING = RowRule(all_jobs=True)
YEAR_S = 365 * 86_400


def running_since(site: Any, tmp_path: Path, start_s: int, *, minutes: int = 30) -> Any:
    """A running job with samples of the last half hour, whose row says that it began at some time."""
    id_ = site.start_job()
    site.write_node("tn01", from_s=START_S, minutes=10)
    site.clock.advance(600)
    for begin in range(10, minutes, 10):
        site.write_node("tn01", from_s=START_S + begin * 60, minutes=10)
        site.clock.advance(600)
    with sqlite3.connect(tmp_path / "job.db") as connection:
        connection.execute("UPDATE job SET start_time = ?", (start_s,))
    connection.close()
    return site.services.job_queries.get(id_, EVERYTHING, now_s=site.services.now_s())


def measured(run: Any) -> tuple[Any, float, float]:
    """What a call gives, its seconds of processor time, and MB at its height."""
    tracemalloc.start()
    begin = time.thread_time()
    try:
        found = run()
        return found, time.thread_time() - begin, tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


GHOSTS = {"1970": 1, "2001": 10**9, "a year": START_S - YEAR_S, "three months": START_S - YEAR_S // 4}


@pytest.mark.parametrize("start_s", GHOSTS.values(), ids=GHOSTS)
class TestAGhost:
    def test_its_samples_are_bounded_and_stand_where_they_belong(self, site: Any, tmp_path: Path, start_s: int) -> None:
        job = running_since(site, tmp_path, start_s)
        services = site.services
        data, seconds, megabytes = measured(
            lambda: services.metric_data.read_samples(job, now_s=services.now_s(), limits=VIEW_LIMITS).data
        )
        metric = data["load_one"][Scope.NODE]
        (series,) = metric.series
        assert len(series.data) <= VIEW_LIMITS.max_points
        assert (metric.first_slot_s, metric.timestep_s % 60) == (start_s // 60 * 60, 0)
        there = np.flatnonzero(np.isfinite(series.data))
        begins_s = metric.first_slot_s + there * metric.timestep_s
        assert begins_s[0] + metric.timestep_s > START_S
        assert begins_s[-1] <= services.now_s()
        assert 4 <= np.nanmin(series.data) <= np.nanmax(series.data) <= 6
        assert seconds < 5
        assert megabytes < 50

    def test_page_preview_and_api_answer(self, site: Any, tmp_path: Path, start_s: int) -> None:
        running_since(site, tmp_path, start_s)
        site.user("root1", "admin", password="correct horse battery")
        site.client.post("/login", data={"username": "root1", "password": "correct horse battery"})
        paths = ("/", "/monitoring/jobs/", "/monitoring/job/1", "/monitoring/job/1/data", "/api/jobs/metrics/1")
        for path in paths:
            begin = time.thread_time()
            answer = site.client.get(path, headers=site.headers() if path.startswith("/api") else {})
            assert answer.status_code == 200, (path, answer.text[:300])
            assert time.thread_time() - begin < 10, path
        found = orjson.loads(site.client.get("/api/jobs/metrics/1", headers=site.headers()).data)
        lengths = [len(one["data"]) for entry in found["data"]["jobMetrics"] for one in entry["metric"]["series"]]
        assert 0 < max(lengths) <= FULL_LIMITS.max_points

    def test_it_is_archived_with_what_there_is(self, site: Any, tmp_path: Path, start_s: int) -> None:
        running_since(site, tmp_path, start_s)
        site.stop_job()
        archiver = make_archiver(site.services)
        begin = time.thread_time()
        assert archiver.run_once(now_s=int(site.clock.advance(700))).archived == [1]
        assert time.thread_time() - begin < 20


class TestCoarserPoints:
    def test_points_are_the_means_of_their_slots(self, site: Any) -> None:
        site.start_job()
        site.write_node("tn01", from_s=START_S, minutes=11, skip=(4,))
        site.clock.advance(600)
        services = site.services
        (job,) = services.running_jobs.list_all(now_s=services.now_s())
        limits = SampleLimits(max_points=4, max_samples=10_000)
        fine = services.metric_data.read_samples(job, ["mem_used"], now_s=services.now_s()).data["mem_used"][Scope.NODE]
        coarse = services.metric_data.read_samples(job, ["mem_used"], now_s=services.now_s(), limits=limits).data
        metric = coarse["mem_used"][Scope.NODE]
        assert fine.series[0].data.tolist()[:4] == [10, 11, 12, 13]
        assert (metric.timestep_s, metric.first_slot_s) == (180, START_S)
        assert metric.series[0].data.tolist() == [11, 14, 17, 19.5]

    def test_samples_of_edge_slots_that_are_not_the_jobs_are_in_no_mean(self, site: Any) -> None:
        site.clock.advance(5)
        site.start_job()
        site.clock.advance(305)
        site.stop_job()
        site.clock.advance(600)
        for time_s in (0, 60, 120, 180, 240, 300, 360):
            site.write(f"load_one,cluster=tern,hostname=tn01,type=node value={time_s} {START_S + time_s}")
        job = site.services.job_queries.get(1, EVERYTHING, now_s=site.services.now_s())
        limits = SampleLimits(max_points=3, max_samples=10_000)
        data = site.services.metric_data.read_samples(
            job, ["load_one"], now_s=site.services.now_s(), limits=limits
        ).data
        assert data["load_one"][Scope.NODE].series[0].data.tolist() == [60, 150, 270]

    def test_many_series_share_the_samples(self) -> None:
        limits = SampleLimits(max_points=1000, max_samples=10_000)
        assert slots_per_point(1000, 10, limits) == 1
        assert slots_per_point(1000, 11, limits) == 2
        assert slots_per_point(1000, 10_000, limits) == 1000
        assert slots_per_point(1000, 10**9, limits) == 1000
        assert slots_per_point(0, 0, limits) == 1

    def test_what_the_archive_has_more_of_becomes_coarser_too(self, site: Any) -> None:
        site.archived_job(minutes=10)
        job = site.services.job_queries.get(1, EVERYTHING, now_s=site.services.now_s())
        limits = SampleLimits(max_points=4, max_samples=10_000)
        data = site.services.metric_data.read_samples(
            job, ["mem_used"], now_s=site.services.now_s(), limits=limits
        ).data
        metric = data["mem_used"][Scope.NODE]
        assert metric.series[0].data.tolist() == [11, 14, 17, 19.5]
        assert (metric.timestep_s, metric.first_slot_s) == (180, START_S)
        assert metric.series[0].statistics.max == 20, "statistics are of all samples"

    def test_gaps_stay_gaps(self) -> None:
        series = [SampleSeries("tn01", np.array([1, np.nan, np.nan, np.nan, 3], np.float32))]
        metric = JobMetric(MetricUnit(""), 60, series, first_slot_s=START_S)
        job = Job(1, "tern", "u", "p", START_S, (), 1, duration=240, state=JobState.COMPLETED)
        found = coarsen(job, {"m": {Scope.NODE: metric}}, SampleLimits(3, 100))["m"][Scope.NODE]
        assert found.series[0].data.tolist()[::2] == [1, 3]
        assert np.isnan(found.series[0].data[1])
