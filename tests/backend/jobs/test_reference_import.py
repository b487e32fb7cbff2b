"""Taking over a job database of ClusterCockpit 1.5."""

import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from cc_backend.auth.caller import Caller, Role
from cc_backend.auth.users import Users
from cc_backend.db.database import Database
from cc_backend.errors import InvalidInput
from cc_backend.jobs.filters import FootprintRange, JobFilter
from cc_backend.jobs.job_queries import ALL_ON_ONE_PAGE, JobQueries
from cc_backend.jobs.job_rows import insert_job
from cc_backend.jobs.reference_database import open_reference_database
from cc_backend.jobs.reference_import import MAX_NAMED_FAULTS, NOT_ARCHIVED, DatabaseImportReport, ReferenceImport
from cc_backend.jobs.stored_statistics import StoredStatistics
from cc_backend.jobs.tables import JobRow, JobTagRow, TagRow
from cc_backend.jobs.tags import attach_tags, visible_tags
from cc_backend.model import Job, JobKey, JobState, MetricStatistic, MetricUnit, Resource, RowRule, Tag

NOW_S = 1_760_100_000
ALL = RowRule(all_jobs=True)
HASH = bcrypt.hashpw(b"open sesame", bcrypt.gensalt(4)).decode()

Take = Callable[..., DatabaseImportReport]


@pytest.fixture
def old(reference_files: Any, tmp_path: Path) -> Any:
    return reference_files.ReferenceFile(tmp_path / "old.db")


@pytest.fixture
def take(database: Database, old: Any) -> Take:
    """Imports the old file; keywords are options of ReferenceImport, `path` is another file."""

    def take(path: Path | None = None, **options: Any) -> DatabaseImportReport:
        defaults: dict[str, Any] = {
            "clusters": ["tern"],
            "is_archived": lambda _: False,
            "now_s": NOW_S,
            "samples_from_s": NOW_S - 172_800,
            "states_from_s": 0,
        }
        with open_reference_database(path or old.path) as reference:
            return ReferenceImport(database, reference, **{**defaults, **options}).run(lambda *_: None)

    return take


def all_jobs(database: Database) -> list[Job]:
    found = JobQueries(database).find(JobFilter(), ALL, now_s=NOW_S, items_per_page=ALL_ON_ONE_PAGE, order="id")
    return found.jobs[::-1]


def content(database: Database) -> list[list[Any]]:
    """All rows of all tables that an import writes."""
    tables = ("user", "tag", "job", "job_host", "job_footprint", "job_tag", "node", "node_state")
    return [sorted(map(str, database.execute_sql(f'SELECT * FROM "{table}"'))) for table in tables]  # noqa: S608


def test_a_job_comes_with_everything_that_belongs_to_it(take: Take, old: Any, database: Database) -> None:
    id_ = old.add_job(7, job_state="out-of-memory")
    tag = old.add("tag", tag_type="app", tag_name="relax", tag_scope="global")
    old.add("jobtag", job_id=id_, tag_id=tag)
    report = take()
    (job,) = all_jobs(database)
    assert report.counts == {"tags": {"new": 1}, "jobs": {"new": 1}}
    assert (job.job_id, job.state, job.duration, job.submit_time) == (
        7,
        JobState.OUT_OF_MEMORY,
        3600,
        job.start_time - 60,
    )
    assert (job.footprint, job.energy) == ({"load_one_avg": 1, "mem_used_avg": 12.5}, 1.25)
    assert (job.energy_footprint, job.monitoring_status) == ({"cpu_power": 1.25}, 3)
    assert job.meta_data == {"jobName": "relax", "jobScript": "#!/bin/sh\n"}
    assert [(one.type, one.name, one.scope) for one in job.tags] == [("app", "relax", "global")]
    by_host = JobFilter(hosts=("tn01",), footprint=(FootprintRange("mem_used_avg", 12, 13),), name="relax")
    assert JobQueries(database).count(by_host, ALL, now_s=NOW_S) == 1


def test_statistics_of_new_archived_jobs_come_from_the_archive(take: Take, old: Any, database: Database) -> None:
    for number, status in ((1, 3), (2, 3), (3, 2), (4, 3)):
        old.add_job(number, monitoring_status=status)
    insert_job(database, Job(4, "tern", "ada", "p", old_start(old, 4), (Resource("tn01"),), 1))
    unit = MetricUnit("B", "G")
    asked = []

    def statistics_of(key: JobKey) -> dict[str, MetricStatistic] | None:
        asked.append(key.job_id)
        return {"mem_used": MetricStatistic(unit, avg=1.0, min=0.5, max=key.job_id)} if key.job_id == 1 else None

    take(statistics_of=statistics_of)
    ids = {job.job_id: job.id for job in all_jobs(database)}
    stored = StoredStatistics(database).read(list(ids.values()))
    assert stored == {ids[1]: {"mem_used": MetricStatistic(unit, avg=1.0, min=0.5, max=1.0)}}
    assert asked == [1, 2]
    take(statistics_of=lambda _: pytest.fail("a known job is asked for"))


def old_start(old: Any, job_id: int) -> int:
    with sqlite3.connect(old.path) as connection:
        return int(connection.execute("SELECT start_time FROM job WHERE job_id = ?", (job_id,)).fetchone()[0])


def test_a_second_import_changes_nothing(take: Take, old: Any, database: Database) -> None:
    for number in range(1, 4):
        id_ = old.add_job(number)
        tag = old.add("tag", tag_type="app", tag_name=f"t{number}", tag_scope="admin")
        old.add("jobtag", job_id=id_, tag_id=tag)
    old.add("hpc_user", username="ada", roles=["user"], password=HASH)
    node = old.add("node", hostname="tn01", cluster="tern", subcluster="std")
    old.add("node_state", time_stamp=NOW_S, node_state="idle", health_state="full", node_id=node)
    take()
    before = content(database)
    assert take().counts == {
        "accounts": {"known already": 1},
        "tags": {"known already": 3},
        "jobs": {"known already": 3},
        "nodes": {"known already": 1},
        "node states": {"new": 0},
    }
    assert content(database) == before


@pytest.mark.parametrize(
    "case",
    [
        ({"tag_type": "app"}, {}, True),
        ({"tag_type": "app"}, {"meta_data": {"jobName": "x"}}, False),
        ({"tag_type": "app"}, {"meta_data": None}, False),
        ({"tag_type": "app", "tag_scope": "admin"}, {}, False),
        ({"tag_type": "app", "tag_scope": "ada"}, {}, False),
        ({"tag_type": "jobClass"}, {}, True),
        ({"tag_type": "jobClass"}, {"monitoring_status": 2}, False),
        ({"tag_type": "note"}, {}, False),
    ],
)
def test_tags_that_the_taggers_of_the_reference_can_have_made_count_as_detected(
    take: Take, old: Any, database: Database, case: tuple[dict[str, Any], dict[str, Any], bool]
) -> None:
    tag, job, is_detected = case
    linked = old.add("tag", **{"tag_name": "relax", "tag_scope": "global", **tag})
    old.add("jobtag", job_id=old.add_job(7, **job), tag_id=linked)
    take()
    assert [bool(found) for (found,) in database.raw_rows(JobTagRow.select(JobTagRow.detected))] == [is_detected]


def test_a_tag_that_somebody_attached_here_stays_theirs(take: Take, old: Any, database: Database) -> None:
    id_ = old.add_job(7)
    take()
    (job,) = all_jobs(database)
    attach_tags(database, job.id, [Tag("app", "relax")], Caller("root", frozenset({Role.ADMIN})))
    old.add("jobtag", job_id=id_, tag_id=old.add("tag", tag_type="app", tag_name="relax", tag_scope="global"))
    take()
    assert [bool(found) for (found,) in database.raw_rows(JobTagRow.select(JobTagRow.detected))] == [False]


def test_private_tags_stay_private(take: Take, old: Any, database: Database) -> None:
    id_ = old.add_job()
    for name, scope in (("for all", "global"), ("for staff", "admin"), ("for ada", "ada")):
        old.add("jobtag", job_id=id_, tag_id=old.add("tag", tag_type="t", tag_name=name, tag_scope=scope))
    take()
    (job,) = all_jobs(database)
    seen = {
        name: [tag.name for tag in visible_tags(job.tags, Caller(name, frozenset(roles)))]
        for name, roles in (("ada", ["user"]), ("bob", ["user"]), ("root", ["admin"]))
    }
    assert seen == {"ada": ["for ada", "for all"], "bob": ["for all"], "root": ["for all", "for staff"]}


def test_tags_of_the_same_name_and_another_scope_are_others(take: Take, old: Any, database: Database) -> None:
    with database.write():
        TagRow.insert(type="t", name="x", scope="global").execute(database)
    id_ = old.add_job()
    old.add("jobtag", job_id=id_, tag_id=old.add("tag", tag_type="t", tag_name="x", tag_scope="ada"))
    take()
    (job,) = all_jobs(database)
    assert [tag.scope for tag in job.tags] == ["ada"]


def test_jobs_that_are_only_cached_come_too_and_have_no_tags_of_others(
    take: Take, old: Any, database: Database
) -> None:
    first = old.add_job(1)
    old.add("jobtag", job_id=first, tag_id=old.add("tag", tag_type="t", tag_name="x", tag_scope="global"))
    running = {"job_state": "running", "monitoring_status": 1, "duration": 60, "start_time": NOW_S - 60}
    assert old.add_job(2, table="job_cache", **running) == first  # ids of the two tables have nothing in common
    old.add_job(1, table="job_cache")  # a job that is in both
    take()
    one, two = all_jobs(database)
    assert (one.job_id, len(one.tags)) == (1, 1)
    assert (two.job_id, two.tags, two.state, two.duration) == (2, (), JobState.RUNNING, 60)


def test_what_is_known_here_is_completed_and_never_made_poorer(take: Take, old: Any, database: Database) -> None:
    start_s = old.add_job(1) and 1_760_000_000
    old.add_job(2, meta_data=None, footprint=None, energy=0, energy_footprint=None, job_state="failed")
    running = Job(1, "tern", "ada", "p1", start_s, (Resource("tn01"),), 1, sub_cluster="std")
    richer = Job(
        2,
        "tern",
        "ada",
        "p1",
        start_s,
        (Resource("tn01"),),
        1,
        sub_cluster="std",
        state=JobState.COMPLETED,
        duration=10,
        monitoring_status=3,
        meta_data={"jobName": "ours"},
        footprint={"a_avg": 1.0},
        energy=7.0,
    )
    with database.write():
        insert_job(database, running)
        insert_job(database, richer)
    assert take().counts["jobs"] == {"completed": 2}  # the second lacked its submit time only
    one, two = all_jobs(database)
    assert (one.state, one.duration, one.monitoring_status, one.energy) == (JobState.COMPLETED, 3600, 3, 1.25)
    assert (one.name, one.footprint) == ("relax", {"mem_used_avg": 12.5, "load_one_avg": 1})
    assert (two.state, two.duration, two.name, two.energy, two.footprint) == (
        JobState.COMPLETED,
        10,
        "ours",
        7.0,
        {"a_avg": 1.0},
    )
    assert two.submit_time == start_s - 60
    assert take().counts["jobs"] == {"known already": 2}


def test_a_job_id_of_another_cluster_or_run_is_another_job(take: Take, old: Any, database: Database) -> None:
    old.add_job(1)
    old.add_job(1, cluster="skua")
    old.add_job(1, start_time=1_760_009_999)
    report = take()
    assert len(all_jobs(database)) == 3
    assert ["skua" in note for note in report.notes] == [True]


def test_the_archiver_gets_only_jobs_whose_samples_can_still_be_there(take: Take, old: Any, database: Database) -> None:
    begin = {"recent": NOW_S - 7200, "old": NOW_S - 400_000, "archived": NOW_S - 500_000, "disabled": NOW_S - 600_000}
    for number, (name, start_s) in enumerate(begin.items(), start=1):
        old.add_job(number, start_time=start_s, monitoring_status=0 if name == "disabled" else 1)
    take(is_archived=lambda key: key == JobKey("tern", 3, begin["archived"]))
    assert [job.monitoring_status for job in all_jobs(database)] == [1, 2, 3, 0]
    errors = [row.archive_error for row in JobRow.select().order_by(JobRow.id).execute(database)]
    assert errors == ["", NOT_ARCHIVED, "", ""]


def test_a_bad_row_costs_no_other_and_is_named_with_what_to_do(take: Take, old: Any, database: Database) -> None:
    old.add_job(1)
    old.add_job(2, resources="{")
    old.add_job(3, meta_data="{")
    old.add_job(4)
    report = take()
    assert [job.job_id for job in all_jobs(database)] == [1, 3, 4]
    assert report.counts["jobs"] == {"refused": 1, "with an unreadable column": 1, "new": 3}
    refused, poorer = report.faults
    assert refused == (
        "job 2 of 'tern' (row 2 of job): resources cannot be read; correct the row in a copy of the old database, "
        "then run this again"
    )
    assert poorer == "job 3 of 'tern' (row 3 of job): taken over without meta_data, which cannot be read"
    assert report.refused == 1


def test_many_faults_are_counted_and_the_first_named(take: Take, old: Any, reference_files: Any) -> None:
    rows = [reference_files.job_columns(number, resources="[]") for number in range(1, MAX_NAMED_FAULTS + 50)]
    old.add_all("job", rows)
    report = take()
    assert (report.refused, len(report.faults)) == (MAX_NAMED_FAULTS + 49, MAX_NAMED_FAULTS)


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"tag_type": "", "tag_name": "x"}, "type is empty"),
        ({"tag_type": "t", "tag_name": "x\n"}, "name is longer"),
        ({"tag_type": "t", "tag_name": "x" * 300}, "name is longer"),
        ({"tag_type": b"t", "tag_name": "x"}, "type is empty or no text"),
    ],
)
def test_a_bad_tag_is_left_out_and_its_jobs_are_not(
    take: Take, old: Any, database: Database, columns: dict[str, Any], said: str
) -> None:
    id_ = old.add_job()
    old.add("jobtag", job_id=id_, tag_id=old.add("tag", tag_scope="global", **columns))
    report = take()
    assert (report.refused, said in report.faults[0], all_jobs(database)[0].tags) == (1, True, ())


# Accounts


def test_accounts_come_with_roles_projects_and_source(take: Take, old: Any, database: Database) -> None:
    old.add("hpc_user", username="ada", password=HASH, name="Ada L", roles=["user", "api"], email="a@x.org")
    old.add("hpc_user", username="max", ldap=1, roles=["manager"], projects=["p2", "p1"])
    old.add("hpc_user", username="tok", ldap=2, roles=["user"], projects=["p9"])
    old.add("hpc_user", username="oid", ldap=3, roles=["user"])
    report = take()
    users = {user.name: user for user in Users(database).list()}
    assert report.counts["accounts"] == {"new": 4}
    assert (users["ada"].roles, users["ada"].full_name, users["ada"].email) == ({"user", "api"}, "Ada L", "a@x.org")
    assert (users["max"].projects, users["tok"].projects) == (("p1", "p2"), ())  # only managers have projects
    assert {name: user.source for name, user in users.items()} == {
        "ada": "local",
        "max": "ldap",
        "tok": "token",
        "oid": "oidc",
    }
    assert ["3 of the new accounts have no password" in note for note in report.notes] == [True]


def test_an_account_here_stays_as_it_is(take: Take, old: Any, database: Database) -> None:
    Users(database).add("ada", ["user"], password="correct horse")
    old.add("hpc_user", username="ada", password=HASH, roles=["admin"])
    take()
    assert Users(database).get("ada").roles == {"user"}
    assert Users(database).verify_password("ada", "correct horse", NOW_S).name == "ada"


def test_an_account_that_was_removed_here_does_not_come_back(take: Take, old: Any, database: Database) -> None:
    users = Users(database)
    users.add("eve", ["admin"], password="correct horse")
    users.add("root", ["admin"], password="correct horse")
    users.remove("eve", now_s=NOW_S)
    old.add("hpc_user", username="eve", password=HASH, roles=["admin"])
    assert take().counts["accounts"] == {"removed here, left out": 1}
    assert users.find("eve") is None


@pytest.mark.parametrize(
    "columns",
    [
        {"username": "admin"},
        {"username": "a/b"},
        {"username": "global", "roles": ["user"]},
        {"username": "ada", "roles": ["root"]},
        {"username": "ada", "roles": "{"},
        {"username": "ada", "roles": '"admin"'},
        {"username": "ada", "roles": '{"admin": 1}'},
        {"username": b"ada"},
        {"username": "max", "roles": ["manager"], "projects": [1]},
    ],
)
def test_an_account_that_cannot_be_is_refused_and_named(
    take: Take, old: Any, database: Database, columns: dict[str, Any]
) -> None:
    old.add("hpc_user", **columns)
    report = take()
    assert (report.refused, "cc-backend user add" in report.faults[0]) == (1, True)
    assert Users(database).list() == []


@pytest.mark.parametrize(
    "stored", ["", "secret", "$2a$31$" + "a" * 53, "$2a$10$short", "$argon2id$v=19$m=8,t=1,p=1$a$b"]
)
def test_a_hash_that_cannot_be_checked_is_no_password(take: Take, old: Any, database: Database, stored: str) -> None:
    old.add("hpc_user", username="ada", password=stored, roles=["user"])
    assert "1 of the new accounts have no password" in take().notes[0]
    rows = list(database.execute_sql('SELECT password FROM "user"'))
    assert rows == [(None,)]


def test_settings_of_pages_are_counted(take: Take, old: Any) -> None:
    old.add("configuration", username="ada", confkey="plotConfiguration_plotsPerRow", value="3")
    assert take().notes == ["1 settings of pages were left out: there are no such settings here"]


# Interrupted and damaged


def test_an_import_that_breaks_off_is_continued(
    take: Take, old: Any, database: Database, reference_files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cc_backend.jobs.reference_database.BATCH_ROWS", 10)
    old.add_all("job", [reference_files.job_columns(number) for number in range(1, 96)])
    old.add("tag", tag_type="t", tag_name="x", tag_scope="global")
    old.add_all("jobtag", [{"job_id": number, "tag_id": 1} for number in range(1, 96)])
    batches = 0
    real = ReferenceImport._store_jobs

    def breaks_off(self: ReferenceImport, *arguments: Any) -> Any:
        nonlocal batches
        batches += 1
        if batches == 4:
            raise KeyboardInterrupt
        return real(self, *arguments)

    monkeypatch.setattr(ReferenceImport, "_store_jobs", breaks_off)
    with pytest.raises(KeyboardInterrupt):
        take()
    assert len(all_jobs(database)) == 30
    assert take().counts["jobs"] == {"known already": 30, "new": 65}
    assert [(job.job_id, len(job.tags)) for job in all_jobs(database)] == [(number, 1) for number in range(1, 96)]


def test_a_damaged_file_gives_what_comes_before_the_damage(
    take: Take, old: Any, database: Database, reference_files: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cc_backend.jobs.reference_database.BATCH_ROWS", 10)
    old.add_all("job", [reference_files.job_columns(number) for number in range(1, 400)])
    path = old.close()
    with path.open("r+b") as raw:
        raw.seek(path.stat().st_size - 12 * 4096)
        raw.write(b"\xff" * 6 * 4096)
    with pytest.raises(InvalidInput, match="what was read so far is kept"):
        take()
    assert 0 < len(all_jobs(database)) < 399


# A real one


def test_the_totals_of_a_real_database_are_what_its_people_count(
    take: Take, database: Database, shared_fixtures: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "real.db"
    shutil.copy(shared_fixtures / "jobdb" / "job-schema10.db", copy)
    report = take(copy, clusters=["alex", "fritz"])
    assert (report.refused, report.counts["jobs"], report.counts["tags"]) == (0, {"new": 544}, {"new": 4})
    jobs = all_jobs(database)

    def totals(name: str) -> tuple[int, int, int, int, int]:
        mine = [job for job in jobs if name in ("", job.cluster)]
        hours = [sum(job.duration * getattr(job, key) for job in mine) // 3600 for key in _COUNTS]
        return len(mine), *hours, sum(job.duration < 300 for job in mine)

    assert totals("") == (544, 2751, 88384, 3980, 138)
    assert totals("alex") == (303, 2408, 63680, 3980, 87)
    assert totals("fritz") == (241, 343, 24704, 0, 51)
    assert (len({job.user for job in jobs}), sum(job.duration for job in jobs) // 3600) == (42, 2751)
    bins = [sum(job.duration // 3600 == hour for job in jobs) for hour in range(5)]
    assert bins == [299, 50, 42, 12, 9]
    assert not [job.damaged_columns for job in jobs if job.damaged_columns]
    assert {tag for job in jobs for tag in map(_scope, job.tags)} == {"global", "demo"}
    assert take(copy).counts["jobs"] == {"known already": 544}


_COUNTS = ("num_nodes", "num_hwthreads", "num_acc")


def _scope(tag: Tag) -> str:
    return tag.scope
