"""The search for a part of a job script: what it finds, how it stays current, and what it tells of jobs of others."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from cc_backend.clusters import ClusterRegistry
from cc_backend.db.database import Database, Dialect
from cc_backend.errors import InvalidInput
from cc_backend.jobs import script_search
from cc_backend.jobs.filter_parameters import parse_filters
from cc_backend.jobs.filters import JobFilter
from cc_backend.jobs.job_columns import JobColumns
from cc_backend.jobs.job_queries import JobQueries
from cc_backend.jobs.job_removal import remove_job
from cc_backend.jobs.job_rows import insert_jobs
from cc_backend.jobs.job_scripts import MAX_SEARCHED_CHARACTERS
from cc_backend.jobs.job_statistics import GroupBy, JobStatistics
from cc_backend.jobs.meta_data import set_meta_data
from cc_backend.jobs.script_search import ScriptSearch, create_script_index
from cc_backend.jobs.tables import JobScriptRow, ScriptProgressRow, ScriptRow
from cc_backend.migrations import migrate
from cc_backend.model import Job, Resource, RowRule

NOW_S = 1_760_000_000
ALL = RowRule(all_jobs=True)
Start = Callable[..., Job]


@pytest.fixture
def start(started: Start) -> Start:
    """Starts a job with a script; keywords are fields of JobStart."""

    def start(job_id: int, script: str, **changes: Any) -> Job:
        return started(job_id, meta_data={"jobName": "relax", "jobScript": script}, **changes)

    return start


@pytest.fixture(params=["by the columns", "by the database"])
def queries(request: pytest.FixtureRequest, database: Database, clusters: ClusterRegistry) -> JobQueries:
    return JobQueries(database, clusters, columns=JobColumns(database) if request.param == "by the columns" else None)


def found(queries: JobQueries, part: str, rule: RowRule = ALL, **more: Any) -> list[int]:
    page = queries.find(JobFilter(script=part, **more), rule, now_s=NOW_S, items_per_page=-1)
    assert page.total == len(page.jobs)
    return sorted(job.job_id for job in page.jobs)


def script_texts(database: Database) -> list[str]:
    return sorted(text for (text,) in database.raw_rows(ScriptRow.select(ScriptRow.text)))


# What is found

SCRIPTS = {
    1: "#!/bin/bash\n#SBATCH --nodes=2\nsrun ./Relax input_1\n",
    2: 'echo "100% done" && cp a\\b c',
    3: "module load vasp/6.4\nsrun vasp_std\n",
    4: "Größe=1 # ÄÖÜ\n\0x",
    5: "abcabcabd" * 9,
}
PARTS = {
    "#SBATCH": [1], "relax INPUT": [1], "input_1": [1], "input%1": [], "inputs1": [], "100% d": [2], "100_ d": [],
    '"100': [2], "a\\b": [2], "a\\\\b": [], "vasp": [3], "vasp_std": [3], "load vasp/6.4": [3], "run": [1, 3],
    "Größe": [4], "GRöSSE": [], "# Ä": [4], "# ä": [], "abcabcabd" * 3: [5], "dab": [5], "nothing of it": [],
    "'; DROP TABLE job; --": [], "NEAR(srun)": [], "srun OR echo": [], "abd*": [], "\ud7ff\ue000x": [],
}  # fmt: skip


@pytest.mark.parametrize("indexed_to", ["nothing", "some", "all"])
def test_a_script_is_found_by_each_of_its_parts_and_no_other(
    queries: JobQueries, database: Database, start: Start, indexed_to: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number, script in SCRIPTS.items():
        start(number, script)
    if indexed_to != "nothing":
        monkeypatch.setattr(script_search, "INDEXED_AT_ONCE", 3)
        monkeypatch.setattr(script_search, "BATCHES_PER_RUN", 1 if indexed_to == "some" else 9)
        ScriptSearch(database).maintain()
    assert {part: found(queries, part) for part in PARTS} == PARTS


def test_the_start_of_a_very_long_script_is_searched(queries: JobQueries, start: Start) -> None:
    start(1, "x" * (MAX_SEARCHED_CHARACTERS - 4) + "neardistant")
    assert (found(queries, "near"), found(queries, "distant")) == ([1], [])


def test_a_script_and_other_filters_must_all_hold(queries: JobQueries, start: Start) -> None:
    for number, user in ((1, "ada"), (2, "bob")):
        start(number, "srun ./relax", user=user)
    assert found(queries, "relax", users=("bob",)) == [2]


@pytest.mark.parametrize(("text", "jobs"), [("vasp_s", [3]), ("va", []), ("100", []), ("hydro7", [3, 9])])
def test_the_search_of_the_list_looks_into_scripts_but_not_for_numbers_and_short_texts(
    queries: JobQueries, start: Start, text: str, jobs: list[int]
) -> None:
    start(9, "echo 100", project="hydro7")
    start(3, SCRIPTS[3], project="hydro7")
    page = queries.find(JobFilter(text=text), ALL, now_s=NOW_S)
    assert (sorted(job.job_id for job in page.jobs), page.total) == (jobs, len(jobs))


@pytest.mark.parametrize("part", ["a", "ab", "%%"])
def test_less_than_three_characters_are_refused(part: str) -> None:
    with pytest.raises(InvalidInput, match="at least 3 characters"):
        parse_filters([("script", part)])
    assert parse_filters([("script", "abc")]).script == "abc"


# How it stays current


def test_the_same_script_is_stored_once(database: Database, start: Start, started: Start) -> None:
    for number in range(1, 5):
        start(number, "srun ./relax")
    start(5, "srun ./other")
    started(6)
    assert script_texts(database) == ["srun ./other", "srun ./relax"]
    assert JobScriptRow.select().count(database) == 5


def test_a_changed_script_is_found_and_the_one_of_before_is_not(
    queries: JobQueries, database: Database, start: Start, started: Start
) -> None:
    id_ = start(1, "srun ./relax").id
    other = started(2).id
    assert found(queries, "relax") == [1]
    set_meta_data(database, id_, {"jobScript": "srun ./melt"})
    set_meta_data(database, other, {"jobScript": "srun ./melt"})
    set_meta_data(database, other, {"note": "x"})
    assert (found(queries, "relax"), found(queries, "melt")) == ([], [1, 2])
    set_meta_data(database, id_, {"jobScript": ""})
    assert found(queries, "melt") == [2]


def test_scripts_of_removed_jobs_go_with_the_last_of_them(
    queries: JobQueries, database: Database, start: Start
) -> None:
    search = ScriptSearch(database)
    ids = [start(number, "srun ./relax").id for number in (1, 2)]
    start(3, "srun ./melt")
    search.maintain()
    new = start(4, "never indexed").id
    for id_ in (ids[0], new):
        remove_job(database, id_)
    search.remove_unused()
    assert script_texts(database) == ["srun ./melt", "srun ./relax"]
    remove_job(database, ids[1])
    search.remove_unused()
    assert script_texts(database) == ["srun ./melt"]
    start(5, "srun ./relax again")
    assert (found(queries, "relax"), found(queries, "melt")) == ([5], [3])
    search.maintain()
    assert found(queries, "relax") == [5]
    if database.dialect is Dialect.SQLITE:
        database.run_sql("INSERT INTO script_search (script_search, rank) VALUES ('integrity-check', 1)")


def test_jobs_that_are_inserted_together_have_their_scripts(queries: JobQueries, database: Database) -> None:
    with database.write():
        jobs = [
            Job(n, "tern", "ada", "p", NOW_S - n, (Resource("tn0001"),), 1, meta_data={"jobScript": f"run {n % 2}"})
            for n in range(1, 6)
        ]
        insert_jobs(database, jobs)
    assert (found(queries, "run 1"), len(script_texts(database))) == ([1, 3, 5], 2)


def test_scripts_of_jobs_from_before_the_upgrade_are_read_in_the_background(
    queries: JobQueries, database: Database, start: Start, started: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(1, 6):
        start(number, f"srun ./relax {number % 2}")
    started(6)
    with database.write():
        database.run_sql("UPDATE job SET meta_data = '[1' WHERE id = 2")
        for table in ("job_script", "script", "script_progress"):
            database.run_sql(f"DROP TABLE {table}")
        if database.dialect is Dialect.SQLITE:
            database.run_sql("DROP TABLE script_search")
        database.run_sql("DELETE FROM schema_version WHERE version > 14")
    migrate(database, now_s=NOW_S)
    start(7, "srun ./relax 1")
    assert found(queries, "relax") == [7]
    monkeypatch.setattr(script_search, "LINKED_AT_ONCE", 2)
    monkeypatch.setattr(script_search, "BATCHES_PER_RUN", 1)
    search = ScriptSearch(database)
    search.maintain()
    assert found(queries, "relax") == [5, 7]
    monkeypatch.setattr(script_search, "BATCHES_PER_RUN", 9)
    search.maintain()
    assert found(queries, "relax") == [1, 3, 4, 5, 7]
    assert ScriptProgressRow.select(ScriptProgressRow.unread_below).scalar(database) == 0


def test_without_an_index_all_scripts_are_read_and_the_log_says_so(
    queries: JobQueries,
    database: Database,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with monkeypatch.context() as patch, database.write():
        if database.dialect is Dialect.SQLITE:
            database.run_sql("DROP TABLE script_search")
            patch.setattr(script_search, "_SQLITE_INDEX", "CREATE VIRTUAL TABLE script_search USING fts99(text)")
        else:
            database.run_sql("DROP INDEX script_text_trigrams")
            patch.setattr(script_search, "_POSTGRES_INDEX", ("CREATE EXTENSION pg_nothing",))
        assert not create_script_index(database)
    assert "each search reads all of them" in caplog.text
    start(1, "srun ./relax")
    ScriptSearch(database).maintain()
    assert (found(queries, "relax"), found(queries, "melt")) == ([1], [])
    with database.write():
        assert create_script_index(database)  # for those who have this database next


# Whose scripts are searched

SECRET = "export TOKEN=s3cr3t-of-bob"
RULES = {
    "a user": RowRule(user="ada"),
    "a manager of another project": RowRule(user="ada", projects=("other",)),
    "a token for another cluster": RowRule(all_jobs=True, allowed_clusters=("skua",)),
    "nobody": RowRule(),
}


@pytest.fixture(params=RULES.values(), ids=RULES)
def rule(request: pytest.FixtureRequest) -> RowRule:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def others(database: Database, start: Start) -> Iterator[None]:
    """Jobs of bob with a secret in their script, and jobs of ada and of another cluster without."""
    start(1, SECRET, user="bob", project="theirs")
    start(2, SECRET, user="bob", project="theirs")
    start(3, "srun ./relax", user="ada", project="mine")
    start(4, "anything", user="ada", project="other", cluster="skua", resources=(Resource("x1"),))
    ScriptSearch(database).maintain()
    return


@pytest.mark.usefixtures("others")
@pytest.mark.parametrize("few", [0, 1000])
def test_nothing_tells_of_scripts_of_jobs_that_a_caller_may_not_see(
    database: Database, clusters: ClusterRegistry, rule: RowRule, few: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cc_backend.jobs.column_filters._MAX_SCRIPTS_READ", few)
    columns = JobColumns(database)
    for by in (columns, None):
        queries = JobQueries(database, clusters, columns=by)
        sums = JobStatistics(database, clusters, queries, columns, short_job_s=300)
        queries.find(JobFilter(script="s3cr3t"), ALL, now_s=NOW_S)  # that somebody else has searched it tells nothing

        def answers(part: str, queries: JobQueries = queries, sums: JobStatistics = sums) -> list[Any]:
            found = []
            for wanted in (JobFilter(script=part), JobFilter(text=part), JobFilter(script=part, text=part)):
                page = queries.find(wanted, rule, now_s=NOW_S)
                found += [
                    (page.jobs, page.total),
                    queries.count(wanted, rule, now_s=NOW_S),
                    queries.count_by_state(wanted, rule, now_s=NOW_S),
                    queries.count_by_cluster(wanted, rule, now_s=NOW_S),
                    sums.totals(wanted, rule, now_s=NOW_S),
                    sums.histograms(wanted, rule, now_s=NOW_S, metrics=("mem_used",)),
                    sums.grouped(wanted, rule, GroupBy.USER, now_s=NOW_S),
                ]
            return found

        assert answers("s3cr3t") == answers("no such text"), by


@pytest.mark.usefixtures("others")
def test_who_may_see_a_job_finds_it_by_its_script(queries: JobQueries) -> None:
    assert found(queries, "s3cr3t", RowRule(user="bob")) == [1, 2]
    assert found(queries, "s3cr3t", RowRule(user="ada", projects=("theirs",))) == [1, 2]
    assert found(queries, "anything", RowRule(all_jobs=True, allowed_clusters=("skua",))) == [4]
    assert found(queries, "relax", RowRule(user="ada")) == [3]


def test_a_search_of_few_scripts_reads_no_other(
    database: Database, start: Start, others: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    del others, start
    columns = JobColumns(database)
    monkeypatch.setattr(columns.script_search, "containing", lambda _: pytest.fail("reads the scripts of others"))
    assert JobQueries(database, columns=columns).count(JobFilter(script="relax"), RowRule(user="ada"), now_s=NOW_S) == 1
