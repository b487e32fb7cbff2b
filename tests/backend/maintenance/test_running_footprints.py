"""Running jobs can be judged and sorted before they end; keeping that up to date stays out of the way of requests."""

from collections.abc import Callable, Collection
from typing import Any

import pytest

from cc_backend.errors import NotFound
from cc_backend.jobs.filters import JobFilter
from cc_backend.jobs.tables import JobRow
from cc_backend.maintenance.running_footprints import (
    MAX_INTERVAL_S,
    MIN_INTERVAL_S,
    STEP_BUDGET_S,
    FootprintRefresher,
    RefreshResult,
    refresh_interval_s,
)
from cc_backend.maintenance.tasks import make_archiver
from cc_backend.model import RowRule

START_S = 1_760_000_400
EVERYTHING = RowRule(all_jobs=True)
PLENTY_S = 1e9


class Meter:
    """A processor clock on which each look at it takes `look_s`."""

    def __init__(self, look_s: float = 0.0) -> None:
        self.now_s, self.look_s = 0.0, look_s

    def __call__(self) -> float:
        self.now_s += self.look_s
        return self.now_s


def refresher_of(site: Any, cpu_s: Callable[[], float] | None = None) -> FootprintRefresher:
    services = site.services
    return FootprintRefresher(
        services.running_jobs, services.metric_data, services.clusters, services.judge, cpu_s=cpu_s or Meter()
    )


def update(site: Any, **more: Any) -> RefreshResult:
    return refresher_of(site).step(now_s=site.services.now_s(), budget_s=PLENTY_S, **more)


def footprint_of(site: Any, id_: int) -> Any:
    return site.services.job_queries.get(id_, EVERYTHING, now_s=site.services.now_s()).footprint


def start_jobs(site: Any, count: int) -> list[int]:
    ids = [site.start_job(jobId=job_id) for job_id in range(1, count + 1)]
    site.write_node("tn01", from_s=START_S, minutes=3)
    site.clock.advance(120)
    return ids


def examined_after_s(site: Any, seconds: int, *, sampled: Collection[int], host: str = "tn01") -> list[int]:
    """In which seconds from now a job is refreshed, if a host sends a sample in some of them."""
    refresher, begin_s, found = refresher_of(site), site.services.now_s(), []
    for at in range(seconds):
        if at in sampled:
            site.write_node(host, from_s=begin_s + at, minutes=1)
        if refresher.step(now_s=begin_s + at, budget_s=PLENTY_S).examined:
            found.append(at)
        site.clock.advance(1)
    return found


class TestWhatIsWritten:
    def test_a_running_job_gets_the_footprint_of_its_samples_so_far(self, site: Any) -> None:
        (id_,) = start_jobs(site, 1)
        assert update(site).updated == [id_]
        assert footprint_of(site, id_) == pytest.approx(
            {"load_one_avg": 5.0, "mem_used_max": 12.0, "flops_any_avg": 29.0, "mem_bw_avg": 41.0}
        )

    def test_lists_can_be_sorted_by_it(self, site: Any) -> None:
        for job_id, host in ((1, "tn01"), (2, "tn02")):
            site.start_job(jobId=job_id, resources=[{"hostname": host}])
        site.write_node("tn01", from_s=START_S, minutes=2)
        site.write_node("tn02", from_s=START_S, minutes=5)
        site.clock.advance(240)
        assert len(update(site).updated) == 2
        page = site.services.job_queries.find(
            JobFilter(), EVERYTHING, now_s=site.services.now_s(), order="mem_used_max"
        )
        assert [job.job_id for job in page.jobs] == [2, 1]

    def test_a_job_without_samples_and_a_finished_job_are_left_alone(self, site: Any) -> None:
        site.start_job()
        assert update(site) == RefreshResult(examined=1)
        site.write_node("tn01", from_s=START_S, minutes=3)
        site.clock.advance(120)
        site.stop_job()
        assert update(site) == RefreshResult()

    def test_what_the_archiver_wrote_of_a_job_that_ended_meanwhile_stays(self, site: Any) -> None:
        (id_,) = start_jobs(site, 1)
        site.stop_job(job_id=1)
        make_archiver(site.services).run_once(now_s=int(site.clock.advance(700)))
        final = footprint_of(site, id_)
        site.services.running_jobs.update_footprints({id_: {"load_one_avg": 99.0}})
        assert final["load_one_avg"] == pytest.approx(5.0)
        assert footprint_of(site, id_) == final


class TestFaults:
    def test_a_job_of_a_subcluster_that_is_no_longer_configured_keeps_what_it_started_with(
        self, site_of: Any, tern: dict[str, Any]
    ) -> None:
        first = site_of()
        first.start_job()
        second_job = first.start_job(jobId=2, resources=[{"hostname": "tn02"}])
        first.write_node("tn02", from_s=START_S, minutes=3)
        first.clock.advance(120)
        first.services.close()
        tern["subClusters"][0]["name"] = "renamed"
        first.services.archive.store_cluster(tern)
        assert update(site_of()) == RefreshResult(examined=2, updated=[second_job])

    def test_a_job_of_a_subcluster_that_nobody_ever_configured_does_not_stop_the_others(self, site: Any) -> None:
        _, second = start_jobs(site, 2)
        with site.services.database.write():
            JobRow.update(sub_cluster="never").where(JobRow.id != second).execute(site.services.database)
        assert update(site) == RefreshResult(examined=2, updated=[second])

    @pytest.mark.parametrize("error", [NotFound("gone"), ZeroDivisionError("a defect")])
    def test_a_job_that_cannot_be_read_does_not_stop_the_others(
        self, site: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, error: Exception
    ) -> None:
        _, second = start_jobs(site, 2)
        stored_data = site.services.metric_data.read_from_store

        def failing(job: Any, *arguments: Any, **more: Any) -> Any:
            if job.job_id == 1:
                raise error
            return stored_data(job, *arguments, **more)

        monkeypatch.setattr(site.services.metric_data, "read_from_store", failing)
        assert update(site).updated == [second]
        assert "job=1 cluster=tern" in caplog.text


class TestStepsWithinABudget:
    def test_a_step_ends_with_its_budget_and_the_next_one_goes_on(self, site: Any) -> None:
        ids = start_jobs(site, 5)
        refresher = refresher_of(site, Meter(look_s=0.01))
        now_s = site.services.now_s()
        done: list[int] = []
        for _ in range(20):
            result = refresher.step(now_s=now_s, budget_s=0.05)
            assert len(result.updated) < 5
            done += result.updated
        assert done == ids, "each job once, in turn"

    def test_what_one_large_job_takes_over_the_budget_is_taken_off_the_next_steps(self, site: Any) -> None:
        start_jobs(site, 2)
        meter = Meter(look_s=0.04)
        refresher = refresher_of(site, meter)
        now_s = site.services.now_s()
        assert refresher.step(now_s=now_s, budget_s=0.05).examined == 1
        meter.look_s = 0.0
        meter.now_s += 1.0  # what was taken between steps is not its own
        examined = [refresher.step(now_s=now_s, budget_s=0.05).examined for _ in range(4)]
        assert examined[0] == 0
        assert sum(examined) == 1

    def test_however_many_jobs_run_the_share_of_a_core_stays(self, site: Any) -> None:
        start_jobs(site, 40)
        meter = Meter(look_s=0.013)
        refresher = refresher_of(site, meter)
        for now_s in range(site.services.now_s(), site.services.now_s() + 200):
            refresher.step(now_s=now_s, budget_s=STEP_BUDGET_S)
        # one look past the end of each step is the meter's own
        assert meter.now_s <= 200 * (STEP_BUDGET_S + meter.look_s) + 0.2

    def test_it_stops_between_two_jobs_when_asked_to(self, site: Any) -> None:
        start_jobs(site, 1)
        assert update(site, stopping=lambda: True).examined == 0


class TestWhenAJobIsDue:
    def test_again_after_a_minute_and_not_before(self, site: Any) -> None:
        start_jobs(site, 1)
        assert examined_after_s(site, 200, sampled=(30, 90, 150)) == [0, 60, 120, 180]

    def test_as_long_as_its_hosts_are_silent_each_wait_is_four_times_as_long(self, site: Any) -> None:
        start_jobs(site, 1)
        assert examined_after_s(site, 700, sampled=()) == [0, 60, 300]

    def test_at_its_next_turn_once_one_of_its_hosts_sends_again(self, site: Any) -> None:
        site.start_job(resources=[{"hostname": "tn01"}, {"hostname": "tn02"}], numNodes=2)
        assert examined_after_s(site, 700, sampled=[650], host="tn02") == [0, 60, 300, 660]

    @pytest.mark.parametrize(
        ("duration_s", "interval_s"),
        [(0, 60), (1200, 60), (1220, 61), (36_000, 1800), (36_020, MAX_INTERVAL_S), (10**9, MAX_INTERVAL_S)],
    )
    def test_the_longer_it_has_run_the_more_seldom(self, duration_s: int, interval_s: int) -> None:
        assert refresh_interval_s(duration_s) == interval_s

    def test_a_job_that_starts_later_is_seen_within_a_minute(self, site: Any) -> None:
        start_jobs(site, 1)
        refresher = refresher_of(site)
        refresher.step(now_s=site.services.now_s(), budget_s=PLENTY_S)
        late = site.start_job(jobId=9)
        site.write_node("tn01", from_s=int(site.clock()), minutes=1)
        now_s = int(site.clock.advance(MIN_INTERVAL_S))
        assert late in refresher.step(now_s=now_s, budget_s=PLENTY_S).updated

    @pytest.mark.parametrize("jump_s", [-30 * 86_400, -3600, 30 * 86_400])
    def test_a_clock_that_jumps_keeps_no_job_waiting(self, site: Any, jump_s: int) -> None:
        start_jobs(site, 3)
        refresher = refresher_of(site)
        now_s = site.services.now_s()
        refresher.step(now_s=now_s, budget_s=PLENTY_S)
        assert refresher.step(now_s=now_s + jump_s, budget_s=PLENTY_S).examined == 3
        assert refresher.step(now_s=now_s + jump_s + 1, budget_s=PLENTY_S).examined == 0
