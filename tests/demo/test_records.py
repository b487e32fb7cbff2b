"""Into archive and job table by the straight way: the same as over the wire."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from cc_backend.archive.data_json import decode_data_json, encode_data_json
from cc_backend.archive.file_archive import FileArchive
from cc_backend.archive.meta_json import decode_meta_json, encode_meta_json
from cc_backend.clusters import ClusterRegistry
from cc_backend.db.database import Database
from cc_backend.db.opening import open_database
from cc_backend.jobs.archive_queue import ArchiveQueue
from cc_backend.jobs.job_rows import job_columns, read_jobs
from cc_backend.jobs.lifecycle import JobLifecycle
from cc_backend.jobs.tables import JobRow
from cc_backend.migrations import migrate
from cc_backend.model import Job, JobKey
from cc_common.job_events import parse_job_start, parse_job_stop
from cc_demo.characters import CHARACTERS
from cc_demo.cluster_shape import ClusterShape
from cc_demo.job_stream import GeneratedJob, generate_jobs
from cc_demo.records import load_database, make_archived_job, make_ended_job, write_archive

FIRST_S = 1_760_000_417
JobOf = Callable[..., GeneratedJob]


@pytest.fixture
def new_database(tmp_path: Path) -> Iterator[Callable[[str], Database]]:
    opened: list[Database] = []

    def make(name: str) -> Database:
        opened.append(open_database(tmp_path / name))
        migrate(opened[-1], now_s=FIRST_S)
        return opened[-1]

    yield make
    for database in opened:
        database.close_all()


def stored(database: Database) -> list[Job]:
    return read_jobs(database, JobRow.select(*job_columns()).order_by(JobRow.job_id), now_s=None)


@pytest.mark.parametrize("character", sorted(CHARACTERS))
def test_an_archived_job_can_be_read_again(character: str, job_of: JobOf, clusters: ClusterRegistry) -> None:
    job, data = make_archived_job(job_of(character), clusters)
    assert decode_meta_json(encode_meta_json(job), source="meta.json").resources == job.resources
    assert decode_data_json(encode_data_json(data), source="data.json").keys() == data.keys()


def test_what_was_written_to_an_archive_can_be_read_from_it(
    tmp_path: Path, shape: ClusterShape, clusters: ClusterRegistry
) -> None:
    archive = FileArchive.create(tmp_path / "archive")
    made = list(islice(generate_jobs(shape, 1, first_start_s=FIRST_S, only="tiny"), 5))
    written = list(write_archive(archive, clusters, made))
    assert [job.job_id for job in archive.iterate_jobs("birch")] == [job.job_id for job in made]
    key = JobKey("birch", written[0].job_id, written[0].start_time)
    assert archive.load_meta(key).footprint == pytest.approx(written[0].footprint)
    assert archive.load_data(key).keys() == written[0].statistics.keys()  # type: ignore[union-attr]  # it has some


def test_loaded_jobs_equal_those_that_came_over_the_wire_field_by_field(
    new_database: Callable[[str], Database], shape: ClusterShape, clusters: ClusterRegistry
) -> None:
    made = list(generate_jobs(shape, 3, 120, first_start_s=FIRST_S))
    straight, wire = new_database("straight.db"), new_database("wire.db")
    assert load_database(straight, (make_ended_job(job, clusters) for job in made), at_once=50) == 120
    lifecycle = JobLifecycle(wire, clusters)
    for job in made:
        lifecycle.start(parse_job_start(job.start_event().to_document()).value, now_s=job.start_time)
        lifecycle.stop(parse_job_stop(job.stop_event().to_document()).value, now_s=job.stop_time)
    assert [replace(job, id=0) for job in stored(straight)] == [replace(job, id=0) for job in stored(wire)]


def test_loaded_archived_jobs_have_footprint_and_energy_as_after_archiving(
    new_database: Callable[[str], Database], job_of: JobOf, clusters: ClusterRegistry
) -> None:
    made = job_of("works")
    finished, _ = make_archived_job(made, clusters)
    straight, wire = new_database("straight.db"), new_database("wire.db")
    load_database(straight, [finished])
    lifecycle = JobLifecycle(wire, clusters)
    lifecycle.start(made.start_event(), now_s=made.start_time)
    stopped = lifecycle.stop(made.stop_event(), now_s=made.stop_time)
    ArchiveQueue(wire).finish(replace(finished, id=stopped.id))
    assert stored(straight) == stored(wire)


def test_loading_takes_jobs_as_they_come_and_keeps_none(
    new_database: Callable[[str], Database],
    shape: ClusterShape,
    clusters: ClusterRegistry,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sizes: list[int] = []

    def count(_: Database, batch: list[Any]) -> range:
        sizes.append(len(batch))
        return range(len(batch))

    monkeypatch.setattr("cc_demo.records.insert_jobs", count)
    made = (make_ended_job(job, clusters) for job in generate_jobs(shape, 1, 1050, first_start_s=FIRST_S))
    assert load_database(new_database("a.db"), made) == 1050
    assert sizes == [500, 500, 50]
