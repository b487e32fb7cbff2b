from collections.abc import Callable
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cc_backend.errors import InvalidInput, NotFound
from cc_backend.jobs.filters import SORTABLE, FootprintRange, JobFilter
from cc_backend.jobs.job_queries import ALL_ON_ONE_PAGE, JobQueries
from cc_backend.model import Job, JobState, RowRule
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


def found(job_queries: JobQueries, wanted: JobFilter, rows: RowRule = ALL) -> list[int]:
    return sorted(job.job_id for job in job_queries.find(wanted, rows, now_s=NOW_S).jobs)


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
    job_queries: JobQueries, stopped: Start, started: Start, wanted: JobFilter, expected: list[int]
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
        assert found(job_queries, wanted) == expected
    except InvalidInput:  # numbers that no row can hold
        assert expected == []


def test_a_running_job_is_as_long_as_it_runs_by_now(job_queries: JobQueries, started: Start) -> None:
    job = started(start_time=NOW_S - 100)
    assert job_queries.get(job.id, ALL, now_s=NOW_S + 50).duration == 150
    assert job_queries.find(JobFilter(duration_from_s=150), ALL, now_s=NOW_S + 50).total == 1
    assert job_queries.find(JobFilter(duration_from_s=151), ALL, now_s=NOW_S + 50).total == 0


def test_a_job_that_starts_in_the_future_has_no_negative_duration(job_queries: JobQueries, started: Start) -> None:
    job = started(start_time=NOW_S + 100)
    assert job_queries.get(job.id, ALL, now_s=NOW_S).duration == 0


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
    job_queries: JobQueries, started: Start, rows: RowRule, expected: list[int]
) -> None:
    started(1)
    started(2, "tn0002", user="kmeyer", project="chem07")
    started(3, "tn0003", user="kmeyer", project="")
    assert found(job_queries, JobFilter(), rows) == expected
    assert job_queries.count(JobFilter(), rows, now_s=NOW_S) == len(expected)
    assert sum(job_queries.count_by_state(JobFilter(), rows, now_s=NOW_S).values()) == len(expected)
    by_cluster = job_queries.count_by_cluster(JobFilter(), rows, now_s=NOW_S)
    assert sum(sum(states.values()) for states in by_cluster.values()) == len(expected)
    users = {job.user for job in job_queries.find(JobFilter(), ALL, now_s=NOW_S).jobs if rows.allows(job)}
    assert set(job_queries.facets(rows).users) == users


def test_a_foreign_job_is_not_there_for_a_user(job_queries: JobQueries, started: Start) -> None:
    job = started()
    with pytest.raises(NotFound) as foreign:
        job_queries.get(job.id, RowRule(user="kmeyer"), now_s=NOW_S)
    with pytest.raises(NotFound) as missing:
        job_queries.get(job.id + 1, RowRule(user="kmeyer"), now_s=NOW_S)
    assert str(foreign.value).replace(str(job.id), "N") == str(missing.value).replace(str(job.id + 1), "N")


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("field", ["clusters", "sub_clusters", "partitions", "users", "projects", "shared"])
def test_sql_in_a_list_is_only_text(job_queries: JobQueries, started: Start, field: str, attack: str) -> None:
    started()
    assert found(job_queries, JobFilter(**{field: (attack,)})) == []
    assert found(job_queries, JobFilter(**{field: (attack, "more")}), RowRule(user="kmeyer")) == []


@pytest.mark.parametrize("attack", ATTACKS)
def test_sql_and_wildcards_in_texts_are_only_text(job_queries: JobQueries, started: Start, attack: str) -> None:
    started(meta_data={"jobName": "plain"})
    assert found(job_queries, JobFilter(text=attack)) == []
    assert found(job_queries, JobFilter(hosts=(attack,))) == []
    for field in ("host_contains", "user_contains", "project_contains", "name"):
        assert found(job_queries, JobFilter(**{field: attack})) == []
    assert found(job_queries, JobFilter(footprint=(FootprintRange(attack, 0, 1),))) == []


def test_wildcards_are_found_where_they_stand(job_queries: JobQueries, started: Start) -> None:
    started(1, meta_data={"jobName": "scale_up 100%"})
    started(2, "tn0002", meta_data={"jobName": "scaleXup 1000"})
    assert found(job_queries, JobFilter(text="e_u")) == [1]
    assert found(job_queries, JobFilter(text="100%")) == [1]


@pytest.mark.parametrize("attack", [*ATTACKS, "", "start_time", "password", "id; --", "meta_data", "a_avg;", "x" * 200])
def test_an_order_that_is_not_listed_is_refused(job_queries: JobQueries, attack: str) -> None:
    with pytest.raises(InvalidInput, match="cannot be ordered"):
        job_queries.find(JobFilter(), ALL, order=attack, now_s=NOW_S)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50, deadline=None)
@given(text=st.text(max_size=30), user=st.text(max_size=30), node=st.text(max_size=30))
def test_no_text_widens_what_may_be_seen(
    job_queries: JobQueries, started: Start, text: str, user: str, node: str
) -> None:
    if not job_queries.count(JobFilter(), ALL, now_s=NOW_S):
        started()
    for wanted in (JobFilter(text=text), JobFilter(users=(user,)), JobFilter(hosts=(node,))):
        with suppress(InvalidInput):  # half a surrogate pair
            assert found(job_queries, wanted, RowRule(user="kmeyer")) == []


@pytest.mark.parametrize("order", SORTABLE)
@pytest.mark.parametrize("descending", [True, False])
def test_equal_values_are_ordered_by_id(
    job_queries: JobQueries, started: Start, order: str, *, descending: bool
) -> None:
    ids = [
        started(5, f"tn{number:04}", cluster="tern" if number else "skua", start_time=NOW_S - 60).id
        for number in range(2)
    ]
    page = job_queries.find(JobFilter(), ALL, order=order, descending=descending, now_s=NOW_S)
    if order == "verdict":  # of the same verdict the newest comes first, whichever way the verdicts run
        assert [job.id for job in page.jobs] == sorted(ids, reverse=True)
    elif order not in {"id", "cluster", "subCluster"}:
        assert [job.id for job in page.jobs] == sorted(ids, reverse=descending)
    assert page.total == 2


def test_jobs_can_be_ordered_by_a_footprint_and_those_without_come_last(
    job_queries: JobQueries, started: Start
) -> None:
    started(1, footprint={"mem_used_max": 2.0})
    started(2, "tn0002", footprint={"mem_used_max": 9.0})
    started(3, "tn0003")
    for descending, expected in ((True, [2, 1, 3]), (False, [1, 2, 3])):
        page = job_queries.find(JobFilter(), ALL, order="mem_used_max", descending=descending, now_s=NOW_S)
        assert [job.job_id for job in page.jobs] == expected


def test_the_longest_job_may_be_one_that_still_runs(job_queries: JobQueries, started: Start, stopped: Start) -> None:
    stopped(1, ran_s=600, start_time=NOW_S - 3600)
    started(2, "tn0002", start_time=NOW_S - 700)
    page = job_queries.find(JobFilter(), ALL, order="duration", now_s=NOW_S)
    assert [job.job_id for job in page.jobs] == [2, 1]


def test_pages_cut_the_list_and_count_all_of_it(job_queries: JobQueries, started: Start) -> None:
    for number in range(1, 8):
        started(number, f"tn{number:04}")
    pages = [job_queries.find(JobFilter(), ALL, page=page, items_per_page=3, now_s=NOW_S) for page in (1, 2, 3, 4)]
    assert [[job.job_id for job in page.jobs] for page in pages] == [[7, 6, 5], [4, 3, 2], [1], []]
    assert {page.total for page in pages} == {7}


@pytest.mark.parametrize("items_per_page", [9_999_999, ALL_ON_ONE_PAGE])
def test_a_page_may_be_huge(job_queries: JobQueries, started: Start, items_per_page: int) -> None:
    started(1)
    page = job_queries.find(JobFilter(), ALL, items_per_page=items_per_page, now_s=NOW_S)
    assert (len(page.jobs), page.total) == (1, 1)


@pytest.mark.parametrize(("page", "items_per_page"), [(0, 25), (-1, 25), (1, 0), (1, -2), (2**70, 25)])
def test_a_page_that_cannot_be_is_refused(job_queries: JobQueries, page: int, items_per_page: int) -> None:
    with pytest.raises(InvalidInput):
        job_queries.find(JobFilter(), ALL, page=page, items_per_page=items_per_page, now_s=NOW_S)


def test_a_job_with_several_of_the_wanted_tags_is_found_once(job_queries: JobQueries, started: Start) -> None:
    job = started(1, tags=(TagEvent("app", "a"), TagEvent("app", "b")))
    started(2, "tn0002", tags=(TagEvent("app", "c"),))
    page = job_queries.find(JobFilter(tags=tuple(tag.id for tag in job.tags)), ALL, now_s=NOW_S)
    assert [found.id for found in page.jobs] == [job.id]
    assert page.total == 1


def test_without_meta_data_only_the_name_is_loaded(job_queries: JobQueries, started: Start) -> None:
    started(meta_data={"jobName": "relax", "jobScript": "long"})
    job = job_queries.find(JobFilter(), ALL, now_s=NOW_S, with_meta_data=False).jobs[0]
    assert job.name == "relax"
    assert "jobScript" not in (job.meta_data or {})


def test_facets_name_what_occurs(job_queries: JobQueries, started: Start) -> None:
    started(1, partition="day")
    started(2, "n1", cluster="skua", user="kmeyer", project="")
    facets = job_queries.facets(ALL)
    assert facets.clusters == ("skua", "tern")
    assert facets.partitions == ("day",)
    assert facets.users == ("kmeyer", "mlindqv")
    assert facets.projects == ("hydro7",)


def test_a_job_of_thousands_of_nodes_is_one_row_with_all_its_hosts(job_queries: JobQueries, started: Start) -> None:
    hosts = [f"n{number}" for number in range(2500)]
    job = started(1, *hosts, cluster="skua")
    assert len(job_queries.get(job.id, ALL, now_s=NOW_S).resources) == 2500
    assert found(job_queries, JobFilter(hosts=("n2499",))) == [1]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [("47", [47, 470, 4799, 471182347]), ("470", [470]), ("4799", [4799]), ("7", []), ("0", []), ("9" * 18, [])],
)
def test_a_number_finds_the_jobs_whose_number_begins_so(
    job_queries: JobQueries, started: Start, text: str, numbers: list[int]
) -> None:
    for number in (47, 470, 4799, 471182347, 5047):
        started(number, project="", user="x")
    assert found(job_queries, JobFilter(text=text)) == numbers


def test_resources_and_energy_are_ranges(job_queries: JobQueries, started: Start) -> None:
    started(1, num_hwthreads=8, num_acc=0)
    started(2, num_hwthreads=64, num_acc=4)
    assert found(job_queries, JobFilter(threads_from=8, threads_to=63)) == [1]
    assert found(job_queries, JobFilter(accelerators_from=1)) == [2]
    assert found(job_queries, JobFilter(accelerators_to=0)) == [1]
    assert found(job_queries, JobFilter(energy_to=0)) == [1, 2]
    assert found(job_queries, JobFilter(energy_from=0.1)) == []
