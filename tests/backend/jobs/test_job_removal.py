from collections.abc import Callable

import pytest

from cc_backend.auth.caller import SERVICE_CALLER
from cc_backend.db.database import Database
from cc_backend.errors import NotFound
from cc_backend.jobs import tables
from cc_backend.jobs.filters import JobFilter
from cc_backend.jobs.job_queries import JobQueries
from cc_backend.jobs.job_removal import KeptTags, RemovedJobs, remove_job, remove_jobs_before
from cc_backend.jobs.job_rows import insert_jobs
from cc_backend.jobs.tags import attach_tags
from cc_backend.model import Job, MonitoringStatus, Resource, RowRule, Tag

NOW_S = 1_760_000_000
ALL = RowRule(all_jobs=True)


def job_ids(job_queries: JobQueries) -> list[int]:
    return sorted(job.job_id for job in job_queries.find(JobFilter(), ALL, now_s=NOW_S, items_per_page=-1).jobs)


def archive_all(database: Database) -> None:
    with database.write():
        tables.JobRow.update(monitoring_status=MonitoringStatus.ARCHIVED).where(tables.UNARCHIVED).execute(database)


def removed(database: Database, before_s: int, rule: RowRule = ALL, kept: KeptTags = KeptTags.NONE) -> int:
    """How many jobs go when all finished ones are archived."""
    archive_all(database)
    found = remove_jobs_before(database, before_s, rule, kept=kept)
    assert not found.unarchived
    return found.removed


def test_a_job_goes_with_everything_that_belongs_to_it(database: Database, stopped: Callable[..., Job]) -> None:
    gone, kept = (stopped(number, footprint={"mem_used_max": 1.0}).id for number in (1, 2))
    for id_ in (gone, kept):
        attach_tags(database, id_, [Tag("a", "b")], SERVICE_CALLER)
    remove_job(database, gone)
    for table in (tables.JobHostRow, tables.FootprintRow, tables.JobTagRow, tables.MetaChangeRow):
        assert [id_ for (id_,) in table.select(table.job).tuples().execute(database)] == [kept]
    assert tables.TagRow.select().count(database) == 1


def test_no_job_gets_the_id_of_a_removed_one(database: Database, started: Callable[..., Job]) -> None:
    first, second, third = (started(number).id for number in (1, 2, 3))
    remove_job(database, second)
    remove_job(database, third)
    fourth = started(4).id
    assert fourth > third
    remove_job(database, fourth)
    remove_job(database, first)
    with database.write():
        (fifth,) = insert_jobs(database, [Job(5, "tern", "ada", "demo", NOW_S, (Resource("tn0001"),), 1)])
    assert fifth > fourth


def test_jobs_that_all_go_at_once_leave_their_ids_behind(database: Database, started: Callable[..., Job]) -> None:
    ids = [started(number).id for number in range(1, 6)]
    with database.write():
        tables.JobRow.delete().where(tables.JobRow.id > ids[0]).execute(database)
    assert started(9).id > ids[-1]


def test_an_unknown_job_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound):
        remove_job(database, 1)


class TestRemovalByAge:
    @pytest.fixture(autouse=True)
    def batches_of_two(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("cc_backend.jobs.job_removal._BATCH", 2)

    def test_finished_jobs_that_started_before_go_and_running_ones_stay(
        self, database: Database, job_queries: JobQueries, started: Callable[..., Job], stopped: Callable[..., Job]
    ) -> None:
        before_s = NOW_S - 10_000
        started(1, start_time=before_s - 100)
        for number in range(2, 8):
            stopped(number, start_time=before_s - number)
        stopped(8, start_time=before_s)
        assert removed(database, before_s) == 6
        assert job_ids(job_queries) == [1, 8]
        assert removed(database, before_s) == 0

    def test_jobs_that_never_got_to_a_final_state_stay(
        self, database: Database, job_queries: JobQueries, started: Callable[..., Job]
    ) -> None:
        started(1)
        with database.write():
            tables.JobRow.update(state="suspended").execute(database)
        assert removed(database, NOW_S) == 0
        assert job_ids(job_queries) == [1]

    @pytest.mark.parametrize(
        ("kept", "left"),
        [(KeptTags.NONE, []), (KeptTags.ALL, [1, 2, 3, 4]), (KeptTags.USER, [3, 4])],
    )
    def test_tags_keep_jobs(
        self,
        database: Database,
        job_queries: JobQueries,
        stopped: Callable[..., Job],
        kept: KeptTags,
        left: list[int],
    ) -> None:
        tags = {1: ["app"], 2: ["jobClass"], 3: ["note"], 4: ["app", "note"], 5: []}
        for number, types in tags.items():
            id_ = stopped(number).id
            attach_tags(database, id_, [Tag(type_, "x", "admin") for type_ in types], SERVICE_CALLER)
        assert removed(database, NOW_S, kept=kept) == 5 - len(left)
        assert job_ids(job_queries) == left

    def test_jobs_that_start_at_the_same_second_all_go(
        self, database: Database, job_queries: JobQueries, stopped: Callable[..., Job]
    ) -> None:
        for number in range(1, 8):
            stopped(number, start_time=NOW_S - 9000)
        assert removed(database, NOW_S, kept=KeptTags.USER) == 7
        assert job_ids(job_queries) == []

    def test_a_row_rule_limits_what_goes(
        self, database: Database, job_queries: JobQueries, stopped: Callable[..., Job]
    ) -> None:
        stopped(1)
        stopped(2, "anything", cluster="skua")
        rule = RowRule(all_jobs=True, allowed_clusters=("skua",))
        assert removed(database, NOW_S, rule) == 1
        assert job_ids(job_queries) == [1]

    def test_jobs_that_wait_to_be_archived_stay(
        self, database: Database, job_queries: JobQueries, started: Callable[..., Job], stopped: Callable[..., Job]
    ) -> None:
        for number in (1, 2, 3):
            stopped(number)
        archive_all(database)
        for number in (4, 5):
            stopped(number)
        stopped(6, start_time=NOW_S - 9)
        started(7)
        before_s = NOW_S - 9
        assert remove_jobs_before(database, before_s, ALL, kept=KeptTags.NONE) == RemovedJobs(3, 2)
        assert job_ids(job_queries) == [4, 5, 6, 7]

    @pytest.mark.parametrize("status", [MonitoringStatus.DISABLED, MonitoringStatus.ARCHIVING_FAILED])
    def test_jobs_that_nobody_will_archive_go(
        self, database: Database, stopped: Callable[..., Job], status: MonitoringStatus
    ) -> None:
        stopped(1)
        with database.write():
            tables.JobRow.update(monitoring_status=status).execute(database)
        assert remove_jobs_before(database, NOW_S, ALL, kept=KeptTags.NONE) == RemovedJobs(1, 0)

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)  # PostgreSQL has whole numbers only
    def test_a_damaged_start_is_no_reason_to_remove_a_job(
        self, database: Database, job_queries: JobQueries, stopped: Callable[..., Job]
    ) -> None:
        stopped(1)
        with database.write():
            database.execute_sql("UPDATE job SET start_time = 'long ago'")
        assert removed(database, 2**62) == 0
        assert job_queries.count(JobFilter(), ALL, now_s=NOW_S) == 1
