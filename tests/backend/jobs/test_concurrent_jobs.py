from collections.abc import Callable
from typing import Any

import pytest

from cc_backend.db.database import Database
from cc_backend.jobs import concurrent_jobs
from cc_backend.jobs.concurrent_jobs import ConcurrencyRule, ConcurrentJobs, find_concurrent_jobs
from cc_backend.jobs.job_queries import JobQueries
from cc_backend.model import Job, RowRule

NOW_S = 1_760_000_000
ALL = RowRule(all_jobs=True)
RULE = ConcurrencyRule(min_duration_s=600, margin_s=200)
START_S = NOW_S - 36_000


def found(database: Database, job: Job, row_rule: RowRule = ALL, rule: ConcurrencyRule = RULE) -> list[int]:
    concurrent = find_concurrent_jobs(database, job, row_rule, rule)
    assert concurrent.count == len(concurrent.items)
    return [other.job_id for other in concurrent.items]


@pytest.fixture
def job(stopped: Callable[..., Job]) -> Job:
    """A job on two nodes that ran for two hours."""
    return stopped(1, "tn0001", "tn0002", shared="multi_user", start_time=START_S, ran_s=7200)


def test_jobs_on_any_of_its_hosts_are_found_by_their_start_without_itself(
    database: Database, job: Job, stopped: Callable[..., Job], started: Callable[..., Job]
) -> None:
    stopped(2, "tn0002", start_time=START_S + 1000, ran_s=500)
    stopped(3, "tn0001", "tn0002", "tn0003", start_time=START_S - 1000, ran_s=30_000)
    started(4, "tn0001", start_time=START_S + 500)
    stopped(5, "tn0003", start_time=START_S, ran_s=7200)
    assert found(database, job) == [3, 4, 2]


@pytest.mark.parametrize(("from_start_s", "ran_s"), [(-1000, 1201), (6999, 600), (300, 60), (-1000, 30_000)])
def test_a_job_that_overlaps_beyond_the_margins_is_found(
    database: Database, job: Job, stopped: Callable[..., Job], from_start_s: int, ran_s: int
) -> None:
    stopped(2, "tn0001", start_time=START_S + from_start_s, ran_s=ran_s)
    assert found(database, job) == [2]


@pytest.mark.parametrize(("from_start_s", "ran_s"), [(-1000, 1200), (-1000, 900), (7000, 600), (8000, 600)])
def test_an_overlap_within_the_margins_is_none(
    database: Database, job: Job, stopped: Callable[..., Job], from_start_s: int, ran_s: int
) -> None:
    stopped(2, "tn0001", start_time=START_S + from_start_s, ran_s=ran_s)
    assert found(database, job) == []


def test_hosts_of_other_clusters_with_the_same_name_are_others(
    database: Database, job: Job, started: Callable[..., Job]
) -> None:
    started(2, "tn0001", cluster="skua", start_time=START_S)
    assert found(database, job) == []


@pytest.mark.parametrize("changes", [{"shared": "none"}, {"ran_s": 600}, {"ran_s": 601, "margin_s": 301}])
def test_a_job_alone_on_its_nodes_or_a_short_one_has_none(
    database: Database, stopped: Callable[..., Job], started: Callable[..., Job], changes: dict[str, Any]
) -> None:
    fields = {"shared": "multi_user", "ran_s": 601, **changes}
    rule = ConcurrencyRule(600, fields.pop("margin_s", 200))
    started(2, "tn0001", start_time=START_S)
    one = stopped(1, "tn0001", start_time=START_S, **fields)
    assert found(database, one, rule=rule) == []


def test_a_running_job_has_them_until_now(
    database: Database, started: Callable[..., Job], job_queries: JobQueries
) -> None:
    one = started(1, "tn0001", shared="multi_user", start_time=NOW_S - 3600)
    started(2, "tn0001", start_time=NOW_S - 300)
    started(3, "tn0001", start_time=NOW_S - 100)
    assert found(database, job_queries.get(one.id, ALL, now_s=NOW_S)) == [2]


def test_others_are_seen_by_the_row_rule(database: Database, job: Job, started: Callable[..., Job]) -> None:
    started(2, "tn0001", start_time=START_S, user="ada")
    started(3, "tn0001", start_time=START_S, user="eve")
    assert found(database, job, RowRule(user="ada")) == [2]
    assert found(database, job, RowRule(all_jobs=True, allowed_clusters=("skua",))) == []


def test_of_many_the_first_are_listed_and_all_are_counted(
    database: Database, job: Job, started: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concurrent_jobs, "MAX_LISTED", 2)
    monkeypatch.setattr(concurrent_jobs, "MAX_COUNTED", 4)
    for job_id in range(2, 5):
        started(job_id, "tn0001", start_time=START_S + job_id)
    concurrent = find_concurrent_jobs(database, job, ALL, RULE)
    assert (concurrent.count, [other.job_id for other in concurrent.items]) == (3, [2, 3])
    for job_id in range(5, 9):
        started(job_id, "tn0001", start_time=START_S + job_id)
    assert find_concurrent_jobs(database, job, ALL, RULE).count == 4


def test_jobs_of_more_hosts_than_a_statement_takes_are_found(
    database: Database, stopped: Callable[..., Job], started: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(concurrent_jobs, "_HOSTS_AT_ONCE", 1)
    one = stopped(1, "tn0001", "tn0002", "tn0003", shared="multi_user", start_time=START_S, ran_s=7200)
    started(2, "tn0003", "tn0001", start_time=START_S)
    assert found(database, one) == [2]
    assert find_concurrent_jobs(database, one, RowRule(), RULE) == ConcurrentJobs()
