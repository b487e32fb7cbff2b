from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cc_backend.db.database import Database
from cc_backend.errors import InvalidInput, NotFound
from cc_backend.jobs.filters import SORTABLE, FootprintRange, JobFilter
from cc_backend.jobs.job_queries import ALL_ON_ONE_PAGE, JobQueries
from cc_backend.model import Job, JobState, MonitoringStatus, RowRule
from cc_common.job_events import TagEvent

NOW_S = 1_760_000_000
ALL = RowRule(all_jobs=True)
Start = Callable[..., Job]

# What people type who want to see more than they may.
ATTACKS = [
    "x' OR '1'='1",
    'x" OR "1"="1',
    "x'; DROP TABLE job; --",
    "') UNION SELECT password FROM user --",
    "1) OR (1=1",
    "%",
    "_",
    "*",
    "\\",
    "x\0y",
]


def found(search: JobQueries, wanted: JobFilter, rows: RowRule = ALL) -> list[int]:
    return sorted(job.job_id for job in search.find(wanted, rows, now_s=NOW_S).jobs)


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (JobFilter(), [1, 2, 3]),
        (JobFilter(states=(JobState.RUNNING,)), [3]),
        (JobFilter(states=(JobState.COMPLETED, JobState.FAILED)), [1, 2]),
        (JobFilter(clusters=("skua",)), [3]),
        (JobFilter(sub_clusters=("fat",)), [2]),
        (JobFilter(partitions=("day",)), [1]),
        (JobFilter(users=("kmeyer", "nobody")), [2]),
        (JobFilter(projects=("hydro7",)), [1, 3]),
        (JobFilter(shared=("multi_user",)), [2]),
        (JobFilter(started_from_s=NOW_S - 2000), [2, 3]),
        (JobFilter(started_to_s=NOW_S - 2000), [1, 2]),
        (JobFilter(started_from_s=NOW_S - 2000, started_to_s=NOW_S - 2000), [2]),
        (JobFilter(duration_from_s=1000), [3]),
        (JobFilter(duration_to_s=600), [1]),
        (JobFilter(duration_from_s=0, duration_to_s=0), []),
        (JobFilter(nodes_from=2), [1]),
        (JobFilter(nodes_to=1), [2, 3]),
        (JobFilter(hosts=("tn0002", "nowhere")), [1]),
        (JobFilter(hosts=("tn000",)), []),
        (JobFilter(host_contains="n000"), [1]),
        (JobFilter(host_contains="%"), []),
        (JobFilter(user_contains="meye"), [2]),
        (JobFilter(project_contains="hydr"), [1, 3]),
        (JobFilter(name="elax"), [1]),
        (JobFilter(name="hydro"), []),
        (JobFilter(job_ids=(1, 3, 9)), [1, 3]),
        (JobFilter(ids=(1,)), [1]),
        (JobFilter(interactive=True), []),
        (JobFilter(interactive=False), [1, 2, 3]),
        (JobFilter(tags=None), []),
        (JobFilter(ran_at_s=NOW_S - 3600), [1]),
        (JobFilter(ran_at_s=NOW_S - 3600 - 1), []),
        (JobFilter(ran_at_s=NOW_S), [3]),
        (JobFilter(job_id=2), [2]),
        (JobFilter(job_id=2**63), []),
        (JobFilter(array_job_id=77), [3]),
        (JobFilter(text="relax"), [1]),
        (JobFilter(text="RELAX"), [1]),
        (JobFilter(text="meye"), [2]),
        (JobFilter(text="hydro"), [1, 3]),
        (JobFilter(text="77"), [3]),
        (JobFilter(text="tn0002"), [1]),
        (JobFilter(text="tn000"), []),
        (JobFilter(text="Lindqvist", text_users=("kmeyer",)), [2]),
        (JobFilter(text="9" * 40), []),
        (JobFilter(footprint=(FootprintRange("mem_used_max", 5, 6),)), [2]),
        (JobFilter(footprint=(FootprintRange("mem_used_max", None, 5), FootprintRange("cpu_load_avg", 1))), [1]),
        (JobFilter(users=("kmeyer",), projects=("hydro7",)), []),
    ],
)
def test_a_filter_finds_what_fits(
    search: JobQueries, stopped: Start, started: Start, wanted: JobFilter, expected: list[int]
) -> None:
    stopped(
        1,
        "tn0001",
        "tn0002",
        partition="day",
        start_time=NOW_S - 3600,
        meta_data={"jobName": "relax 100%"},
        footprint={"mem_used_max": 2.5, "cpu_load_avg": 1.5},
    )
    stopped(
        2,
        "tf01",
        state="failed",
        ran_s=900,
        user="kmeyer",
        project="chem07",
        shared="multi_user",
        start_time=NOW_S - 2000,
        footprint={"mem_used_max": 5.5},
    )
    started(3, "n1", cluster="skua", start_time=NOW_S - 1800, array_job_id=77)
    try:
        assert found(search, wanted) == expected
    except InvalidInput:  # numbers that no row can hold
        assert expected == []


def test_a_running_job_is_as_long_as_it_runs_by_now(search: JobQueries, started: Start) -> None:
    job = started(start_time=NOW_S - 100)
    assert search.get(job.id, ALL, now_s=NOW_S + 50).duration == 150
    assert search.find(JobFilter(duration_from_s=150), ALL, now_s=NOW_S + 50).total == 1
    assert search.find(JobFilter(duration_from_s=151), ALL, now_s=NOW_S + 50).total == 0


def test_a_job_that_starts_in_the_future_has_no_negative_duration(search: JobQueries, started: Start) -> None:
    job = started(start_time=NOW_S + 100)
    assert search.get(job.id, ALL, now_s=NOW_S).duration == 0


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (RowRule(all_jobs=True), [1, 2, 3]),
        (RowRule(user="mlindqv"), [1]),
        (RowRule(user="mlindqv", projects=("chem07",)), [1, 2]),
        (RowRule(user="nobody", projects=("chem07",)), [2]),
        (RowRule(user="nobody"), []),
        (RowRule(), []),
        (RowRule(user="", projects=()), []),
    ],
)
def test_a_row_rule_bounds_every_question(
    search: JobQueries, started: Start, rows: RowRule, expected: list[int]
) -> None:
    started(1)
    started(2, "tn0002", user="kmeyer", project="chem07")
    started(3, "tn0003", user="kmeyer", project="")
    assert found(search, JobFilter(), rows) == expected
    assert search.count(JobFilter(), rows, now_s=NOW_S) == len(expected)
    assert sum(search.count_by_state(JobFilter(), rows, now_s=NOW_S).values()) == len(expected)
    by_cluster = search.count_by_cluster(JobFilter(), rows, now_s=NOW_S)
    assert sum(sum(states.values()) for states in by_cluster.values()) == len(expected)
    users = {job.user for job in search.running_jobs() if rows.allows(job)}
    assert set(search.facets(rows).users) == users


def test_a_foreign_job_is_not_there_for_a_user(search: JobQueries, started: Start) -> None:
    job = started()
    with pytest.raises(NotFound) as foreign:
        search.get(job.id, RowRule(user="kmeyer"), now_s=NOW_S)
    with pytest.raises(NotFound) as missing:
        search.get(job.id + 1, RowRule(user="kmeyer"), now_s=NOW_S)
    assert str(foreign.value).replace(str(job.id), "N") == str(missing.value).replace(str(job.id + 1), "N")


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("field", ["clusters", "sub_clusters", "partitions", "users", "projects", "shared"])
def test_sql_in_a_list_is_only_text(search: JobQueries, started: Start, field: str, attack: str) -> None:
    started()
    assert found(search, JobFilter(**{field: (attack,)})) == []
    assert found(search, JobFilter(**{field: (attack, "more")}), RowRule(user="kmeyer")) == []


@pytest.mark.parametrize("attack", ATTACKS)
def test_sql_and_wildcards_in_texts_are_only_text(search: JobQueries, started: Start, attack: str) -> None:
    started(meta_data={"jobName": "plain"})
    assert found(search, JobFilter(text=attack)) == []
    assert found(search, JobFilter(hosts=(attack,))) == []
    for field in ("host_contains", "user_contains", "project_contains", "name"):
        assert found(search, JobFilter(**{field: attack})) == []
    assert found(search, JobFilter(footprint=(FootprintRange(attack, 0, 1),))) == []


def test_wildcards_are_found_where_they_stand(search: JobQueries, started: Start) -> None:
    started(1, meta_data={"jobName": "scale_up 100%"})
    started(2, "tn0002", meta_data={"jobName": "scaleXup 1000"})
    assert found(search, JobFilter(text="e_u")) == [1]
    assert found(search, JobFilter(text="100%")) == [1]


@pytest.mark.parametrize("attack", [*ATTACKS, "", "start_time", "password", "id; --", "meta_data", "a_avg;", "x" * 200])
def test_an_order_that_is_not_listed_is_refused(search: JobQueries, attack: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be ordered"):
        search.find(JobFilter(), ALL, order=attack, now_s=NOW_S)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(text=st.text(max_size=30), user=st.text(max_size=30), node=st.text(max_size=30))
def test_no_text_widens_what_may_be_seen(search: JobQueries, started: Start, text: str, user: str, node: str) -> None:
    if not search.running_jobs():
        started()
    for wanted in (JobFilter(text=text), JobFilter(users=(user,)), JobFilter(hosts=(node,))):
        with suppress(InvalidInput):  # half a surrogate pair
            assert found(search, wanted, RowRule(user="kmeyer")) == []


@pytest.mark.parametrize("order", SORTABLE)
@pytest.mark.parametrize("descending", [True, False])
def test_equal_values_are_ordered_by_id(search: JobQueries, started: Start, order: str, *, descending: bool) -> None:
    ids = [
        started(5, f"tn{number:04}", cluster="tern" if number else "skua", start_time=NOW_S - 60).id
        for number in range(2)
    ]
    page = search.find(JobFilter(), ALL, order=order, descending=descending, now_s=NOW_S)
    if order == "verdict":  # of the same verdict the newest comes first, whichever way the verdicts run
        assert [job.id for job in page.jobs] == sorted(ids, reverse=True)
    elif order not in {"id", "cluster", "subCluster"}:
        assert [job.id for job in page.jobs] == sorted(ids, reverse=descending)
    assert page.total == 2


def test_jobs_can_be_ordered_by_a_footprint_and_those_without_come_last(search: JobQueries, started: Start) -> None:
    started(1, footprint={"mem_used_max": 2.0})
    started(2, "tn0002", footprint={"mem_used_max": 9.0})
    started(3, "tn0003")
    for descending, expected in ((True, [2, 1, 3]), (False, [1, 2, 3])):
        page = search.find(JobFilter(), ALL, order="mem_used_max", descending=descending, now_s=NOW_S)
        assert [job.job_id for job in page.jobs] == expected


def test_the_longest_job_may_be_one_that_still_runs(search: JobQueries, started: Start, stopped: Start) -> None:
    stopped(1, ran_s=600, start_time=NOW_S - 3600)
    started(2, "tn0002", start_time=NOW_S - 700)
    page = search.find(JobFilter(), ALL, order="duration", now_s=NOW_S)
    assert [job.job_id for job in page.jobs] == [2, 1]


def test_pages_cut_the_list_and_count_all_of_it(search: JobQueries, started: Start) -> None:
    for number in range(1, 8):
        started(number, f"tn{number:04}")
    pages = [search.find(JobFilter(), ALL, page=page, items_per_page=3, now_s=NOW_S) for page in (1, 2, 3, 4)]
    assert [[job.job_id for job in page.jobs] for page in pages] == [[7, 6, 5], [4, 3, 2], [1], []]
    assert {page.total for page in pages} == {7}


@pytest.mark.parametrize("items_per_page", [9_999_999, ALL_ON_ONE_PAGE])
def test_a_page_may_be_huge(search: JobQueries, started: Start, items_per_page: int) -> None:
    started(1)
    page = search.find(JobFilter(), ALL, items_per_page=items_per_page, now_s=NOW_S)
    assert (len(page.jobs), page.total) == (1, 1)


@pytest.mark.parametrize(("page", "items_per_page"), [(0, 25), (-1, 25), (1, 0), (1, -2), (2**70, 25)])
def test_a_page_that_cannot_be_is_refused(search: JobQueries, page: int, items_per_page: int) -> None:
    with pytest.raises(InvalidInput):
        search.find(JobFilter(), ALL, page=page, items_per_page=items_per_page, now_s=NOW_S)


def test_a_job_with_several_of_the_wanted_tags_is_found_once(search: JobQueries, started: Start) -> None:
    job = started(1, tags=(TagEvent("app", "a"), TagEvent("app", "b")))
    started(2, "tn0002", tags=(TagEvent("app", "c"),))
    page = search.find(JobFilter(tags=tuple(tag.id for tag in job.tags)), ALL, now_s=NOW_S)
    assert [found.id for found in page.jobs] == [job.id]
    assert page.total == 1


def test_without_meta_data_only_the_name_is_loaded(search: JobQueries, started: Start) -> None:
    started(meta_data={"jobName": "relax", "jobScript": "long"})
    job = search.find(JobFilter(), ALL, now_s=NOW_S, with_meta_data=False).jobs[0]
    assert job.name == "relax"
    assert "jobScript" not in (job.meta_data or {})


def test_facets_name_what_occurs(search: JobQueries, started: Start) -> None:
    started(1, partition="day")
    started(2, "n1", cluster="skua", user="kmeyer", project="")
    facets = search.facets(ALL)
    assert facets.clusters == ("skua", "tern")
    assert facets.partitions == ("day",)
    assert facets.users == ("kmeyer", "mlindqv")
    assert facets.projects == ("hydro7",)


def test_used_nodes_are_those_of_running_jobs_that_started_before(
    search: JobQueries, started: Start, stopped: Start
) -> None:
    started(1, "tn0002", "tn0001", start_time=NOW_S - 100)
    started(2, "tn0003", start_time=NOW_S - 50)
    stopped(3, "tn0004")
    assert search.hosts_of_running_jobs(NOW_S - 50, ALL) == {"tern": ["tn0001", "tn0002"]}


def test_samples_are_needed_since_the_start_of_jobs_that_run_or_wait_for_the_archiver(
    search: JobQueries, started: Start, stopped: Start
) -> None:
    waiting = stopped(1, "tn0001", start_time=NOW_S - 5000)
    started(2, "tn0001", "tn0002", start_time=NOW_S - 100)
    stopped(3, "tn0003", monitoring_status=0)
    assert search.retention_holds() == {"tern": {"tn0001": NOW_S - 5000, "tn0002": NOW_S - 100}}
    search.finish_archiving(waiting)
    assert search.retention_holds() == {"tern": {"tn0001": NOW_S - 100, "tn0002": NOW_S - 100}}


def test_an_archived_job_has_its_final_values(search: JobQueries, stopped: Start) -> None:
    job = stopped(footprint={"old_avg": 1.0})
    job.footprint = {"mem_used_max": 3.25}
    job.energy = 1.75
    job.energy_footprint = {"cpu_power": 1.75}
    search.finish_archiving(job)
    stored = search.get(job.id, ALL, now_s=NOW_S)
    assert stored.monitoring_status == MonitoringStatus.ARCHIVED
    assert (stored.footprint, stored.energy, stored.energy_footprint) == (
        {"mem_used_max": 3.25},
        1.75,
        {"cpu_power": 1.75},
    )
    assert search.queued_jobs() == []


def test_a_running_job_cannot_be_archived(search: JobQueries, started: Start) -> None:
    with pytest.raises(NotFound):
        search.finish_archiving(started())


def test_a_job_that_cannot_be_archived_leaves_the_queue_with_a_reason_until_it_is_tried_again(
    search: JobQueries, stopped: Start
) -> None:
    job = stopped()
    search.mark_archiving_failed(job.id, "the disk is full")
    assert search.queued_jobs() == []
    assert search.get(job.id, ALL, now_s=NOW_S).monitoring_status == MonitoringStatus.ARCHIVING_FAILED
    assert search.archiving_failure(job.id) == "the disk is full"
    assert search.retry_failed_archiving() == 1
    assert [waiting.id for waiting in search.queued_jobs()] == [job.id]
    assert search.count_unarchived(ALL) == 1
    assert search.archiving_failure(job.id) == ""


def test_the_archiver_s_queue_is_read_in_pieces_oldest_first_and_without_job_scripts(
    search: JobQueries, stopped: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [
        stopped(number, start_time=NOW_S - 9000 + 7 * number % 5, meta_data={"jobScript": "x"})
        for number in range(1, 8)
    ]
    oldest_first = [job.id for job in sorted(jobs, key=lambda job: (job.start_time, job.id))]
    asked: list[str] = []
    execute = Database._execute_cursor
    monkeypatch.setattr(
        Database, "_execute_cursor", lambda self, sql, *more: (asked.append(sql), execute(self, sql, *more))[1]
    )
    first = search.queued_jobs(limit=3)
    second = search.queued_jobs(after=first[-1].id, limit=3)
    third = search.queued_jobs(after=second[-1].id, limit=3)
    assert [job.id for job in (*first, *second, *third)] == oldest_first
    assert search.queued_jobs(after=third[-1].id, limit=3) == []
    assert "meta_data" not in "".join(asked)
    assert all(job.resources and job.duration for job in first)
    whole = search.find_finished(first[0].id)
    assert whole is not None
    assert whole.meta_data == {"jobScript": "x"}


def test_the_queue_is_read_by_its_index(database: Database, search: JobQueries, stopped: Start) -> None:
    job = stopped()
    plans: list[tuple[str, ...]] = []
    rows = database.raw_rows

    def explained(query: Any) -> Any:
        sql, parameters = database.get_sql_context().sql(query).query()
        plans.extend(database._execute_cursor(f"EXPLAIN QUERY PLAN {sql}", parameters))
        return rows(query)

    database.raw_rows = explained  # type: ignore[method-assign]  # watched, not replaced
    search.queued_jobs()
    search.queued_jobs(after=job.id)
    said = " ".join(plan[3] for plan in plans)
    assert "SCAN t1 USING INDEX job_unarchived" in said
    assert "SEARCH t1 USING INDEX job_unarchived" in said
    assert "TEMP B-TREE" not in said


def test_the_footprint_of_a_running_job_is_replaced(search: JobQueries, started: Start) -> None:
    job = started(footprint={"a_avg": 1.0, "b_avg": 2.0})
    search.update_footprints({job.id: {"a_avg": 3.0}})
    assert search.get(job.id, ALL, now_s=NOW_S).footprint == {"a_avg": 3.0}


def test_a_job_of_thousands_of_nodes_is_one_row_with_all_its_hosts(search: JobQueries, started: Start) -> None:
    hosts = [f"n{number}" for number in range(2500)]
    job = started(1, *hosts, cluster="skua")
    assert len(search.get(job.id, ALL, now_s=NOW_S).resources) == 2500
    assert found(search, JobFilter(hosts=("n2499",))) == [1]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("47", [47, 470, 4799, 471182347]), ("470", [470]), ("4799", [4799]), ("7", []), ("0", []), ("9" * 18, [])],
)
def test_a_number_finds_the_jobs_whose_number_begins_so(
    search: JobQueries, started: Start, text: str, numbers: list[int]
) -> None:
    for number in (47, 470, 4799, 471182347, 5047):
        started(number, project="", user="x")
    assert found(search, JobFilter(text=text)) == numbers


def test_resources_and_energy_are_ranges(search: JobQueries, started: Start) -> None:
    started(1, num_hwthreads=8, num_acc=0)
    started(2, num_hwthreads=64, num_acc=4)
    assert found(search, JobFilter(threads_from=8, threads_to=63)) == [1]
    assert found(search, JobFilter(accelerators_from=1)) == [2]
    assert found(search, JobFilter(accelerators_to=0)) == [1]
    assert found(search, JobFilter(energy_to=0)) == [1, 2]
    assert found(search, JobFilter(energy_from=0.1)) == []
