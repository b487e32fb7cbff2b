import logging
from typing import Any

import pytest

from cc_backend.maintenance.backfill_statistics import StatisticsBackfill


def backfill(site: Any) -> StatisticsBackfill:
    services = site.services
    return StatisticsBackfill(services.stored_statistics, services.job_queries, services.archive, services.now_s)


def listed(site: Any) -> list[Any]:
    return [job["statistics"] for job in site.client.get("/api/jobs/", headers=site.headers()).get_json()["jobs"]]


@pytest.fixture
def before(site: Any) -> Any:
    """A site with two archived jobs whose statistics are in the archive only, and what the list shows of them."""
    for number in (1, 2):
        site.archived_job(jobId=number)
    site.expected = listed(site)
    site.services.database.run_sql("DELETE FROM job_statistics")
    return site


def test_the_list_is_the_same_from_the_database_and_from_the_archive(before: Any) -> None:
    assert before.expected[0]["load_one"]["max"] > 0
    assert listed(before) == before.expected


def test_statistics_are_added_once(before: Any) -> None:
    work = backfill(before)
    assert (work.step(), work.step()) == (2, 0)
    assert len(before.services.stored_statistics.read([1, 2])) == 2
    assert listed(before) == before.expected


def test_it_goes_on_where_it_was_stopped(before: Any) -> None:
    work = backfill(before)
    calls = iter([False, True])
    assert work.step(lambda: next(calls)) == 1
    assert work.step() == 1


def test_a_job_without_a_readable_file_stops_nothing(before: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    newest = max(before.services.archive.root.rglob("meta.json"), key=lambda path: path.parent.parent.name)
    newest.write_text("{")
    work = backfill(before)
    assert work.step() == 1
    assert work.step() == 0
    assert "no statistics of an archived job" in caplog.text


def test_with_statistics_in_the_database_the_list_reads_no_file(site: Any) -> None:
    site.archived_job(jobId=1)
    expected = listed(site)
    for path in site.services.archive.root.rglob("meta.json"):
        path.unlink()
    assert listed(site) == expected
