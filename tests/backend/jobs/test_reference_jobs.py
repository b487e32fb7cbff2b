"""Jobs from rows of ClusterCockpit 1.5, good and bad."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.jobs.reference_database import JOB_COLUMNS
from cc_backend.jobs.reference_jobs import ReferenceJob, reference_job
from cc_backend.model import JobState, Resource


@pytest.fixture
def read(reference_files: Any) -> Any:
    def read(**changes: Any) -> ReferenceJob:
        columns = {"id": 17, **reference_files.job_columns(5), **changes}
        values = [columns[name] for name in JOB_COLUMNS]
        return reference_job([json.dumps(v) if isinstance(v, dict | list) else v for v in values])

    return read


def test_every_column_has_its_place(read: Any, reference_files: Any) -> None:
    found = read()
    job = found.job
    assert (found.row_id, found.refused, found.unreadable) == (17, "", ())
    assert (job.job_id, job.cluster, job.sub_cluster, job.partition) == (5, "tern", "std", "day")
    assert (job.user, job.project, job.shared, job.smt, job.array_job_id) == ("ada", "p1", "none", 1, 0)
    assert (job.start_time, job.submit_time) == (reference_files.START_S, reference_files.START_S - 60)
    assert (job.duration, job.walltime, job.state, job.monitoring_status) == (3600, 7200, JobState.COMPLETED, 3)
    assert (job.num_nodes, job.num_hwthreads, job.num_acc) == (1, 2, 1)
    assert job.resources == (Resource("tn01", (0, 1), ("00000000:17:00.0",)),)
    assert job.meta_data == {"jobName": "relax", "jobScript": "#!/bin/sh\n"}
    assert (job.energy, job.energy_footprint) == (1.25, {"cpu_power": 1.25})
    assert job.footprint == {"mem_used_avg": 12.5, "load_one_avg": 1}


def test_the_old_word_for_out_of_memory_is_read(read: Any) -> None:
    assert read(job_state="out-of-memory").job.state is JobState.OUT_OF_MEMORY


@pytest.mark.parametrize("nothing", [None, "null", b"null", ""])
def test_json_that_says_nothing_is_nothing(read: Any, nothing: Any) -> None:
    found = read(meta_data=nothing, energy_footprint=nothing, footprint=nothing)
    assert (found.refused, found.unreadable) == ("", ())
    assert (found.job.meta_data, found.job.energy_footprint, found.job.footprint) == (None, None, None)


def test_json_in_blobs_is_read(read: Any) -> None:
    found = read(resources=b'[{"hostname":"tn01"}]', meta_data=b'{"jobName":"x"}', footprint=b'{"a_avg":1}')
    assert (found.job.resources, found.job.name, found.job.footprint) == ((Resource("tn01"),), "x", {"a_avg": 1})


def test_null_counts_are_zero(read: Any) -> None:
    found = read(cluster_partition=None, array_job_id=None, num_hwthreads=None, num_acc=None)
    assert (found.refused, found.unreadable, found.job.num_acc) == ("", (), 0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"resources": "{"}, "resources cannot be read"),
        ({"resources": []}, "resources has 0 hosts"),
        ({"resources": None}, "resources"),
        ({"resources": [{"hostname": ""}]}, "resources"),
        ({"resources": [{"hostname": "a\nb"}]}, "resources"),
        ({"resources": [{"hostname": "x"}] * 16_385}, "16385 hosts"),
        ({"job_id": 0}, "job_id 0"),
        ({"job_id": "seven"}, "job_id cannot be read"),
        ({"start_time": 0}, "start_time 0"),
        ({"start_time": 2**62}, "start_time cannot be read"),
        ({"duration": -1}, "duration cannot be read"),
        ({"job_state": "done"}, "state cannot be read"),
        ({"cluster": ""}, "cluster is empty"),
        ({"hpc_user": ""}, "user is empty"),
        ({"hpc_user": None}, "user is empty"),
        ({"hpc_user": "x" * 257}, "user is longer than 256"),
        ({"project": "a\x00b"}, "project"),
    ],
)
def test_a_row_that_is_no_job_is_refused_with_the_reason(read: Any, changes: dict[str, Any], said: str) -> None:
    assert said in read(**changes).refused


@pytest.mark.parametrize(
    ("changes", "lost"),
    [
        ({"meta_data": "{"}, "meta_data"),
        ({"meta_data": {"jobName": 5}}, "meta_data"),
        ({"footprint": '{"a_avg": "x"}'}, "footprint"),
        ({"footprint": "[1]"}, "footprint"),
        ({"energy_footprint": "[1]"}, "energy_footprint"),
        ({"energy": float("inf")}, "energy"),
        ({"shared": "sometimes"}, "shared"),
        ({"walltime": -5}, "walltime"),
        ({"monitoring_status": 9}, "monitoring_status"),
    ],
)
def test_a_job_with_one_bad_column_is_taken_without_it(read: Any, changes: dict[str, Any], lost: str) -> None:
    found = read(**changes)
    assert (found.refused, found.unreadable) == ("", (lost,))


ANYTHING = st.none() | st.integers() | st.floats() | st.text() | st.binary()


@given(st.lists(ANYTHING, min_size=len(JOB_COLUMNS), max_size=len(JOB_COLUMNS)))
def test_no_row_whatever_makes_the_reader_stumble(row: list[Any]) -> None:
    assert reference_job(row).refused
