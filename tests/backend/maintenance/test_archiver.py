"""Finished jobs reach the archive: when nothing is on its way any more, whatever goes wrong in between."""

import itertools
import shutil
from pathlib import Path
from typing import Any

import pytest

from cc_backend.archive.data_json import encode_data_json
from cc_backend.errors import ArchiveError
from cc_backend.jobs.archive_queue import ArchiveQueue
from cc_backend.jobs.filters import JobFilter
from cc_backend.jobs.tables import JobRow
from cc_backend.maintenance.archiver import FIRST_RETRY_S, MAX_RETRY_S, Archiver
from cc_backend.maintenance.tasks import make_archiver
from cc_backend.model import Job, JobKey, MonitoringStatus, RowRule, Scope

START_S = 1_760_000_400
RETENTION_S = 48 * 3600


def other_sub_cluster(tern: dict[str, Any]) -> dict[str, Any]:
    return {**tern["subClusters"][0], "name": "other", "nodes": "other1"}


@pytest.fixture
def archiver(services: Any) -> Archiver:
    return make_archiver(services)


def the_job(site: Any) -> Job:
    (job,) = site.services.job_queries.find(JobFilter(), RowRule(all_jobs=True), now_s=site.services.now_s()).jobs
    return job  # type: ignore[no-any-return]  # the fixture is not typed


def finished_job(site: Any, *, heard_until_minute: int, minutes: int = 5, **more: Any) -> None:
    site.start_job(**more)
    site.write_node("tn01", from_s=START_S, minutes=heard_until_minute + 1)
    site.clock.advance(minutes * 60)
    site.stop_job()


def archived_data(site: Any) -> Any:
    return site.services.archive.load_data(JobKey("tern", 88412, START_S))


class TestWhenAJobIsDue:
    def test_it_is_archived_once_every_host_was_heard_from_after_the_stop(self, site: Any, archiver: Archiver) -> None:
        finished_job(site, heard_until_minute=4)
        assert archiver.run_once(now_s=site.services.now_s()).waiting == 1
        site.write_node("tn01", from_s=START_S + 300, minutes=1)
        assert len(archiver.run_once(now_s=site.services.now_s()).archived) == 1
        assert the_job(site).monitoring_status == MonitoringStatus.ARCHIVED

    def test_one_silent_host_of_several_holds_it_back(self, site: Any, archiver: Archiver) -> None:
        finished_job(site, heard_until_minute=5, numNodes=2, resources=[{"hostname": "tn01"}, {"hostname": "tn02"}])
        assert archiver.run_once(now_s=site.services.now_s()).waiting == 1

    def test_it_does_not_wait_forever(self, site: Any, archiver: Archiver) -> None:
        finished_job(site, heard_until_minute=2)
        assert archiver.run_once(now_s=int(site.clock.advance(599))).waiting == 1
        assert len(archiver.run_once(now_s=int(site.clock.advance(1))).archived) == 1

    def test_running_and_unmonitored_jobs_are_left_alone(self, site: Any, archiver: Archiver) -> None:
        site.start_job()
        site.start_job(jobId=2, monitoringStatus=0)
        site.clock.advance(300)
        site.stop_job(job_id=2)
        result = archiver.run_once(now_s=int(site.clock.advance(10_000)))
        assert (result.archived, result.waiting, result.failed) == ([], 0, 0)

    def test_a_restart_forgets_nothing(self, site: Any, services: Any) -> None:
        finished_job(site, heard_until_minute=5)
        assert len(make_archiver(services).run_once(now_s=site.services.now_s()).archived) == 1

    def test_it_stops_between_two_jobs_when_asked_to(self, site: Any, archiver: Archiver) -> None:
        finished_job(site, heard_until_minute=5)
        assert archiver.run_once(now_s=site.services.now_s(), stopping=lambda: True).archived == []


class TestAJobThatIsArchivedAlready:
    """As with a backup of the database, of before it was archived."""

    @pytest.mark.parametrize("lost_s", [0, 10**6])
    def test_it_keeps_what_the_store_has_no_more(self, site: Any, lost_s: int) -> None:
        id_ = site.archived_job(minutes=10)
        key = JobKey("tern", 88412, START_S)
        before, data = site.services.archive.load_meta(key), archived_data(site)
        with site.services.database.write():
            waits = JobRow.update(monitoring_status=MonitoringStatus.RUNNING_OR_ARCHIVING)
            waits.where(JobRow.id == id_).execute(site.services.database)
        site.services.store.free(before_s=START_S + lost_s, holds={})
        site.clock.advance(3600)
        assert site.archive() == [id_]
        assert encode_data_json(archived_data(site)) == encode_data_json(data)
        after = site.services.archive.load_meta(key)
        assert (after.statistics, after.footprint, after.energy) == (before.statistics, before.footprint, before.energy)


class TestManyThatWait:
    def test_each_round_looks_at_some_of_them_and_what_cannot_be_archived_holds_up_no_other(
        self, site: Any, archiver: Archiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("cc_backend.maintenance.archiver.QUEUE_BATCH", 3)
        monkeypatch.setattr(ArchiveQueue.queued_jobs, "__kwdefaults__", {"after": 0, "limit": 3})
        for number in range(1, 9):
            site.start_job(jobId=number)
            site.clock.advance(10)
            site.stop_job(job_id=number)
        store = site.services.archive.store

        def picky(job: Job, data: Any) -> None:
            if job.job_id <= 3:
                raise ArchiveError("not this one")
            store(job, data)

        monkeypatch.setattr(site.services.archive, "store", picky)
        now_s = int(site.clock.advance(700))
        rounds = [archiver.run_once(now_s=now_s) for _ in range(4)]
        assert [(len(one.archived), one.failed) for one in rounds] == [(0, 3), (3, 0), (2, 0), (0, 0)]

    def test_the_archive_has_the_job_script_though_the_queue_is_read_without(self, site: Any) -> None:
        site.archived_job()
        archived = site.services.archive.load_meta(JobKey("tern", 88412, START_S))
        assert archived.meta_data["jobScript"] == "#!/bin/sh\n./relax\n"


class TestWhatIsArchived:
    def test_statistics_footprint_and_energy_are_those_of_the_samples(self, site: Any) -> None:
        site.archived_job(minutes=5)
        job = the_job(site)
        assert job.footprint == pytest.approx(
            {"load_one_avg": 5.0, "mem_used_max": 15.0, "flops_any_avg": 30.5, "mem_bw_avg": 41.0}
        )
        # two sockets of 120.5 W for 5 minutes
        assert job.energy == pytest.approx(241 * 300 / 3.6e6)

    def test_a_small_job_is_kept_per_core_too(self, site: Any) -> None:
        site.archived_job(minutes=5)
        scopes = archived_data(site)["flops_any"]
        assert set(scopes) == {Scope.NODE, Scope.CORE}
        assert [series.id for series in scopes[Scope.CORE].series] == ["0", "1", "2", "3"]

    def test_a_job_without_any_sample_is_archived_as_such(self, site: Any, archiver: Archiver) -> None:
        site.start_job()
        site.clock.advance(300)
        site.stop_job()
        assert len(archiver.run_once(now_s=int(site.clock.advance(600))).archived) == 1
        assert archived_data(site) == {}


class TestLateSamples:
    def test_a_job_is_archived_anew_when_a_silent_host_is_heard_from(self, site: Any, archiver: Archiver) -> None:
        finished_job(site, heard_until_minute=2)
        now_s = int(site.clock.advance(600))
        assert len(archiver.run_once(now_s=now_s).archived) == 1
        assert archiver.run_once(now_s=now_s).archived == [], "nothing new yet"
        site.write_node("tn01", from_s=START_S + 180, minutes=3)
        assert len(archiver.run_once(now_s=now_s).archived) == 1
        values = archived_data(site)["mem_used"][Scope.NODE].series[0].data
        assert values.tolist() == [10, 11, 12, 10, 11, 12]
        assert archiver.run_once(now_s=now_s).archived == [], "once is enough"

    def test_it_is_remembered_over_a_restart(self, site: Any, services: Any) -> None:
        finished_job(site, heard_until_minute=2)
        now_s = int(site.clock.advance(600))
        make_archiver(services).run_once(now_s=now_s)
        site.write_node("tn01", from_s=START_S + 180, minutes=3)
        assert len(make_archiver(services).run_once(now_s=now_s).archived) == 1

    def test_a_host_that_stays_silent_is_given_up_with_the_samples(self, site: Any, archiver: Archiver) -> None:
        finished_job(site, heard_until_minute=2)
        archiver.run_once(now_s=int(site.clock.advance(600)))
        archiver.run_once(now_s=int(site.clock.advance(49 * 3600)))
        assert site.services.archive_queue.incomplete_archives() == []

    def test_it_is_waited_for_as_long_as_the_store_keeps_its_samples(self, site: Any, archiver: Archiver) -> None:
        finished_job(site, heard_until_minute=2)
        stop_s = site.services.now_s()
        archiver.run_once(now_s=stop_s + 600)
        archiver.run_once(now_s=stop_s + RETENTION_S)
        assert len(site.services.archive_queue.incomplete_archives()) == 1, (
            "the samples of the last second are still there"
        )
        archiver.run_once(now_s=stop_s + RETENTION_S + 1)
        assert site.services.archive_queue.incomplete_archives() == []


class TestFailures:
    @pytest.mark.parametrize(
        ("after_s", "status"),
        [(0, MonitoringStatus.RUNNING_OR_ARCHIVING), (1, MonitoringStatus.ARCHIVING_FAILED)],
    )
    def test_a_job_is_given_up_when_the_store_keeps_its_samples_no_longer(
        self, site: Any, archiver: Archiver, monkeypatch: pytest.MonkeyPatch, after_s: int, status: int
    ) -> None:
        finished_job(site, heard_until_minute=5)
        stop_s = site.services.now_s()

        def full(*_: object) -> None:
            raise ArchiveError("the disk is full")

        monkeypatch.setattr(site.services.archive, "store", full)
        assert archiver.run_once(now_s=stop_s + RETENTION_S + after_s).failed == 1
        assert the_job(site).monitoring_status == status

    def test_it_tries_again_later_and_later(
        self, site: Any, archiver: Archiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        finished_job(site, heard_until_minute=5)
        tries: list[int] = []

        def full(*_: object) -> None:
            tries.append(now_s)
            raise ArchiveError("the disk is full")

        monkeypatch.setattr(site.services.archive, "store", full)
        begin_s = site.services.now_s()
        for now_s in range(begin_s, begin_s + 3600, 2):
            archiver.run_once(now_s=now_s)
        waits = [after - before for before, after in itertools.pairwise(tries)]
        assert waits[0] == FIRST_RETRY_S
        assert waits[1] == 2 * FIRST_RETRY_S
        assert max(waits) == MAX_RETRY_S
        assert the_job(site).monitoring_status == MonitoringStatus.RUNNING_OR_ARCHIVING

    def test_when_the_disk_has_room_again_it_succeeds(self, site: Any, archiver: Archiver, tmp_path: Path) -> None:
        finished_job(site, heard_until_minute=5)
        hidden = tmp_path / "hidden"
        cluster_folder = tmp_path / "job-archive" / "tern"
        shutil.move(cluster_folder, hidden)
        cluster_folder.write_text("a file where a folder should be", "utf-8")
        now_s = site.services.now_s()
        assert archiver.run_once(now_s=now_s).failed == 1
        cluster_folder.unlink()
        shutil.move(hidden, cluster_folder)
        assert len(archiver.run_once(now_s=now_s + FIRST_RETRY_S).archived) == 1

    def test_it_gives_up_when_the_samples_are_gone_and_says_why(
        self, site: Any, archiver: Archiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        finished_job(site, heard_until_minute=5)

        def broken(*_: object) -> None:
            raise ArchiveError("the archive is on fire")

        monkeypatch.setattr(site.services.archive, "store", broken)
        archiver.run_once(now_s=int(site.clock.advance(49 * 3600)))
        job = the_job(site)
        assert job.monitoring_status == MonitoringStatus.ARCHIVING_FAILED
        assert "on fire" in site.services.archive_queue.failure_reason(job.id)

    def test_a_job_whose_subcluster_is_no_longer_configured_is_archived_as_the_next(
        self, site_of: Any, tern: dict[str, Any]
    ) -> None:
        first = site_of(clusters=[{**tern, "subClusters": [*tern["subClusters"], other_sub_cluster(tern)]}])
        first.start_job()
        first.start_job(jobId=2, subCluster="other", resources=[{"hostname": "other1"}])
        for job_id in (88412, 2):
            first.clock.advance(60)
            first.stop_job(job_id=job_id)
        first.services.close()
        first.services.archive.store_cluster({**tern, "subClusters": [other_sub_cluster(tern)]})
        second = site_of()
        result = make_archiver(second.services).run_once(now_s=int(second.clock.advance(600)))
        assert (len(result.archived), result.failed) == (2, 0)

    def test_a_job_of_a_subcluster_that_nobody_ever_configured_does_not_block_the_next(self, site: Any) -> None:
        for job_id in (1, 2):
            site.start_job(jobId=job_id)
        site.clock.advance(60)
        for job_id in (1, 2):
            site.stop_job(job_id=job_id)
        with site.services.database.write():
            JobRow.update(sub_cluster="never").where(JobRow.job_id == 1).execute(site.services.database)
        result = make_archiver(site.services).run_once(now_s=int(site.clock.advance(600)))
        assert (len(result.archived), result.failed) == (1, 1)

    @pytest.mark.parametrize("error", [ArchiveError("not this one"), ZeroDivisionError()])
    def test_one_bad_job_does_not_block_the_next(
        self, site: Any, archiver: Archiver, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        for job_id in (1, 2):
            site.start_job(jobId=job_id)
        site.write_node("tn01", from_s=START_S, minutes=6)
        site.clock.advance(300)
        for job_id in (1, 2):
            site.stop_job(job_id=job_id)
        store = site.services.archive.store

        def picky(job: Job, data: Any) -> None:
            if job.job_id == 1:
                raise error
            store(job, data)

        monkeypatch.setattr(site.services.archive, "store", picky)
        result = archiver.run_once(now_s=site.services.now_s())
        assert (len(result.archived), result.failed) == (1, 1)
