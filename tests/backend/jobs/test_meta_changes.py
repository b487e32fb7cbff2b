from collections.abc import Callable

import pytest

from cc_backend.db.database import Database
from cc_backend.jobs.meta_changes import finish_meta_change, queue_meta_changes, queued_meta_changes
from cc_backend.jobs.tables import JobRow
from cc_backend.model import Job


@pytest.fixture
def finished(stopped: Callable[..., Job]) -> list[int]:
    """The ids of three finished jobs."""
    return [stopped(number).id for number in (1, 2, 3)]


def queue(database: Database, *ids: int) -> None:
    with database.write():
        queue_meta_changes(database, JobRow.id.in_(ids))


def test_the_queue_comes_in_batches(database: Database, finished: list[int]) -> None:
    queue(database, *finished)
    first = queued_meta_changes(database, limit=2)
    assert [id_ for id_, _ in first] == finished[:2]
    assert queued_meta_changes(database, after=first[-1][0], limit=2) == [(finished[2], 1)]


def test_what_is_done_leaves_the_queue(database: Database, finished: list[int]) -> None:
    queue(database, *finished[:2])
    finish_meta_change(database, finished[0], 1)
    assert queued_meta_changes(database) == [(finished[1], 1)]


def test_a_change_that_was_made_meanwhile_stays(database: Database, finished: list[int]) -> None:
    queue(database, finished[0])
    queue(database, finished[0])
    finish_meta_change(database, finished[0], 1)
    assert queued_meta_changes(database) == [(finished[0], 2)]


def test_a_change_that_is_rolled_back_does_not_wait(database: Database, finished: list[int]) -> None:
    def change_and_fail() -> None:
        with database.write():
            queue_meta_changes(database, JobRow.id == finished[0])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        change_and_fail()
    assert queued_meta_changes(database) == []


def test_a_removed_job_leaves_the_queue(database: Database, finished: list[int]) -> None:
    queue(database, *finished)
    with database.write():
        JobRow.delete().where(JobRow.id == finished[1]).execute(database)
    assert [id_ for id_, _ in queued_meta_changes(database)] == [finished[0], finished[2]]
