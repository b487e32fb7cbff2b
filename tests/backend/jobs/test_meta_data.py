from collections.abc import Callable

import pytest

from cc_backend.db.database import Database
from cc_backend.errors import InvalidInput, NotFound, TooLarge
from cc_backend.jobs.filters import JobFilter
from cc_backend.jobs.job_queries import JobQueries
from cc_backend.jobs.meta_changes import queued_meta_changes
from cc_backend.jobs.meta_data import set_meta_data
from cc_backend.model import Job, RowRule

NOW_S = 1_760_000_000
ALL = RowRule(all_jobs=True)


def read(job_queries: JobQueries, id_: int) -> Job:
    return job_queries.get(id_, ALL, now_s=NOW_S)


def test_a_key_is_added_and_replaced_and_the_others_stay(
    database: Database, job_queries: JobQueries, started: Callable[..., Job]
) -> None:
    id_ = started(meta_data={"jobName": "relax", "note": "old"}).id
    set_meta_data(database, id_, {"note": "new", "message": "line 1\nline 2 €\t\x01"})
    assert read(job_queries, id_).meta_data == {
        "jobName": "relax", "note": "new", "message": "line 1\nline 2 €\t\x01"
    }  # fmt: skip


def test_a_job_without_meta_data_gets_some(
    database: Database, job_queries: JobQueries, started: Callable[..., Job]
) -> None:
    id_ = started().id
    set_meta_data(database, id_, {"note": ""})
    assert read(job_queries, id_).meta_data == {"note": ""}


def test_a_new_job_name_is_found_by_the_filter(
    database: Database, job_queries: JobQueries, started: Callable[..., Job]
) -> None:
    id_ = started(meta_data={"jobName": "relax"}).id
    set_meta_data(database, id_, {"jobName": "two\nlines"})
    found = [job_queries.count(JobFilter(name=name), ALL, now_s=NOW_S) for name in ("relax", "two lines")]
    assert found == [0, 1]


def test_the_archive_follows_for_a_finished_job_if_something_changed(
    database: Database, started: Callable[..., Job], stopped: Callable[..., Job]
) -> None:
    running, finished = started(1).id, stopped(2).id
    for _ in range(2):
        set_meta_data(database, running, {"note": "x"})
        set_meta_data(database, finished, {"note": "x"})
    assert queued_meta_changes(database) == [(finished, 1)]


@pytest.mark.parametrize("key", ["", "k" * 257, "a\nb", "\x00", "\ud800"])
def test_a_key_that_cannot_be_shown_is_refused(database: Database, started: Callable[..., Job], key: str) -> None:
    with pytest.raises(InvalidInput, match="key: "):
        set_meta_data(database, started().id, {key: "x"})


def test_the_number_of_keys_and_the_size_of_all_are_limited(
    database: Database, job_queries: JobQueries, started: Callable[..., Job], monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = started().id
    set_meta_data(database, id_, {str(number): "x" for number in range(1000)})
    with pytest.raises(TooLarge, match="1000 keys"):
        set_meta_data(database, id_, {"another": "x"})
    monkeypatch.setattr("cc_backend.jobs.meta_data.MAX_META_DATA_BYTES", 1 << 20)
    with pytest.raises(TooLarge, match="1 MiB"):
        set_meta_data(database, id_, {"1": "ä" * (1 << 19)})
    assert (read(job_queries, id_).meta_data or {})["1"] == "x"


def test_an_unknown_job_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound):
        set_meta_data(database, 1, {"note": "x"})


def test_unreadable_meta_data_is_replaced(
    database: Database, job_queries: JobQueries, started: Callable[..., Job]
) -> None:
    id_ = started(meta_data={"jobName": "relax"}).id
    with database.write():
        database.execute_sql("UPDATE job SET meta_data = '{'")
    set_meta_data(database, id_, {"note": "x"})
    assert read(job_queries, id_).meta_data == {"jobName": "relax", "note": "x"}
