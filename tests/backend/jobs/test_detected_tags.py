"""Tags of detectors: given and taken back, without touching those of people."""

from collections.abc import Callable

import pytest

from cc_backend.auth.caller import Caller, Role
from cc_backend.db.database import Database
from cc_backend.jobs.detected_tags import set_detected_tags, set_job_classes
from cc_backend.jobs.job_rows import read_tags
from cc_backend.jobs.meta_changes import queued_meta_changes
from cc_backend.jobs.tables import JobRow
from cc_backend.jobs.tags import attach_tags, detach_tags, remove_tags
from cc_backend.model import Job, Tag

ADMIN = Caller("root", frozenset({Role.ADMIN}))


@pytest.fixture
def job(started: Callable[..., Job]) -> int:
    return started(meta_data={"jobName": "x", "message": "Ask Ann."}).id


def tags_of(database: Database, job: int) -> list[tuple[str, str, str]]:
    return [(tag.type, tag.name, tag.scope) for tag in read_tags(database, [job]).get(job, ())]


def apps(*names: str) -> list[Tag]:
    return [Tag("app", name) for name in names]


def test_detected_tags_are_given_and_taken_back(database: Database, job: int) -> None:
    assert set_detected_tags(database, job, "app", apps("gromacs", "python"))
    assert tags_of(database, job) == [("app", "gromacs", "global"), ("app", "python", "global")]
    assert set_detected_tags(database, job, "app", apps("python", "lammps"))
    assert tags_of(database, job) == [("app", "lammps", "global"), ("app", "python", "global")]
    assert set_detected_tags(database, job, "app", [])
    assert tags_of(database, job) == []


def test_again_nothing_changes(database: Database, job: int) -> None:
    set_detected_tags(database, job, "app", apps("gromacs"))
    assert not set_detected_tags(database, job, "app", apps("gromacs", "gromacs"))


def test_tags_of_people_stay_whatever_their_type(database: Database, job: int) -> None:
    attach_tags(database, job, [Tag("app", "mine"), Tag("jobClass", "odd"), Tag("note", "x", "admin")], ADMIN)
    set_detected_tags(database, job, "app", apps("gromacs"))
    set_detected_tags(database, job, "app", [])
    set_job_classes(database, job, "jobClass", [], [])
    assert tags_of(database, job) == [
        ("app", "mine", "global"),
        ("jobClass", "odd", "global"),
        ("note", "x", "admin"),
    ]


def test_a_detected_tag_that_somebody_attaches_is_theirs(database: Database, job: int) -> None:
    set_detected_tags(database, job, "app", apps("gromacs"))
    attach_tags(database, job, apps("gromacs"), ADMIN)
    assert not set_detected_tags(database, job, "app", [])
    assert tags_of(database, job) == [("app", "gromacs", "global")]


@pytest.mark.parametrize("way", ["from the job", "from all jobs"])
def test_a_detected_tag_that_somebody_takes_away_does_not_come_back(
    database: Database, job: int, started: Callable[..., Job], way: str
) -> None:
    set_detected_tags(database, job, "app", apps("gromacs", "python"))
    if way == "from all jobs":
        remove_tags(database, apps("gromacs"), ADMIN)
    else:
        detach_tags(database, job, apps("gromacs"), ADMIN)
    assert not set_detected_tags(database, job, "app", apps("gromacs", "python"))
    assert set_detected_tags(database, job, "app", apps("gromacs"))  # takes back python
    assert tags_of(database, job) == []
    other = started(99).id
    set_detected_tags(database, other, "app", apps("gromacs"))
    assert tags_of(database, other) == [("app", "gromacs", "global")]


def test_a_class_that_somebody_takes_away_does_not_come_back(database: Database, job: int) -> None:
    low = [Tag("jobClass", "low")]
    set_job_classes(database, job, "jobClass", low, [])
    detach_tags(database, job, low, ADMIN)
    stored, changed = set_job_classes(database, job, "jobClass", low, [])
    assert (stored and stored.tags, changed) == ((), False)


def test_a_detected_tag_that_somebody_took_away_may_be_attached_and_is_then_detected_again(
    database: Database, job: int
) -> None:
    set_detected_tags(database, job, "app", apps("gromacs"))
    detach_tags(database, job, apps("gromacs"), ADMIN)
    attach_tags(database, job, apps("gromacs"), ADMIN)
    detach_tags(database, job, apps("gromacs"), ADMIN)  # now their own, so that nothing is to be remembered
    assert set_detected_tags(database, job, "app", apps("gromacs"))
    assert tags_of(database, job) == [("app", "gromacs", "global")]


def test_a_tag_of_somebody_that_is_found_as_well_stays_theirs(database: Database, job: int) -> None:
    attach_tags(database, job, apps("gromacs"), ADMIN)
    assert not set_detected_tags(database, job, "app", apps("gromacs"))
    assert not set_detected_tags(database, job, "app", [])
    assert tags_of(database, job) == [("app", "gromacs", "global")]


def test_detected_tags_of_one_job_are_those_of_no_other(
    database: Database, job: int, started: Callable[..., Job]
) -> None:
    other = started(99).id
    for each in (job, other):
        set_detected_tags(database, each, "app", apps("gromacs"))
    set_detected_tags(database, job, "app", [])
    assert tags_of(database, other) == [("app", "gromacs", "global")]


def test_classes_bring_their_hints_into_the_message_and_take_them_along(database: Database, job: int) -> None:
    stored, changed = set_job_classes(database, job, "jobClass", [Tag("jobClass", "low")], ["Low load."])
    assert stored is not None
    assert changed
    assert (stored.meta_data or {})["message"] == "Ask Ann.\nLow load."
    assert [tag.name for tag in stored.tags] == ["low"]
    assert not set_job_classes(database, job, "jobClass", [Tag("jobClass", "low")], ["Low load."])[1]
    stored, changed = set_job_classes(database, job, "jobClass", [], [])
    assert (stored and stored.meta_data, stored and stored.tags, changed) == (
        {"jobName": "x", "message": "Ask Ann."},
        (),
        True,
    )


def test_damaged_meta_data_are_left_alone(database: Database, job: int) -> None:
    with database.write():
        JobRow.update(meta_data="[1, 2]").where(JobRow.id == job).execute(database)
    stored, _ = set_job_classes(database, job, "jobClass", [], ["A hint."])
    assert stored is not None
    assert JobRow.select(JobRow.meta_data).where(JobRow.id == job).scalar(database) == "[1, 2]"


def test_a_job_that_was_removed_has_no_tag_and_no_class(database: Database) -> None:
    assert not set_detected_tags(database, 4711, "app", apps("gromacs"))
    assert set_job_classes(database, 4711, "jobClass", [Tag("jobClass", "low")], ["x"]) == (None, False)


def test_the_archive_follows_for_finished_jobs(database: Database, job: int, stopped: Callable[..., Job]) -> None:
    set_detected_tags(database, job, "app", apps("gromacs"))
    assert queued_meta_changes(database) == []
    ended = stopped(99).id
    set_detected_tags(database, ended, "app", apps("lammps"))
    assert [id_ for id_, _ in queued_meta_changes(database)] == [ended]
