import dataclasses
from pathlib import Path
from typing import Any, Dict, List

import pytest

from cc_slurm_adapter.slurm_model import NodeAllocation, SlurmJob
from cc_slurm_adapter.sources.commands import CommandResult
from cc_slurm_adapter.sources.job_parsers import (
    JobParserV38,
    JobParserV41,
    JobParserV44,
    parse_accounting_run,
    parser_for_version,
)
from cc_slurm_adapter.sources.slurm import SlurmClient

VERSIONS = ("22.05", "24.11", "26.05")


class Recorded:
    """Answers of a real Slurm."""

    def __init__(self, folder: Path, **files: str) -> None:
        self._folder = folder
        self._files = files

    def run(self, words: Any) -> CommandResult:
        key = "_".join(word for word in words[:3] if not word.startswith("-"))
        return CommandResult(" ".join(words), 0, (self._folder / self._files[key]).read_bytes(), "")


def recorded(
    fixtures: Path, version: str, queue: str = "squeue-running.json", runs: str = "sacct-running.json"
) -> SlurmClient:
    folder = fixtures / f"slurm-{version}"
    if not (folder / queue).exists():
        queue = queue.replace(".json", "-all.json")
    return SlurmClient(
        Recorded(
            folder,
            squeue=queue,
            sacct=runs,
            scontrol_show_job="scontrol-running.txt",
            scontrol_show_nodes="scontrol-nodes.txt",
        )
    )


def normal(job: SlurmJob, *, first_s: int) -> SlurmJob:
    """Without what differs by chance from one recording to the next: moments, and which cores were free."""
    return dataclasses.replace(
        job,
        submit_time=0,
        start_time=int(bool(job.start_time)),
        end_time=int(bool(job.end_time)),
        shared=None,
        restart_count=None,
        allocations=tuple(dataclasses.replace(place, cores=None) for place in job.allocations),
    )


def by_id(jobs: List[SlurmJob]) -> Dict[Any, SlurmJob]:
    first_s = min(job.submit_time for job in jobs)
    return {(job.job_id, job.restart_count): normal(job, first_s=first_s) for job in jobs}


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_all_versions_show_the_same_queue(shared_fixtures: Path, version: str) -> None:
    assert by_id(recorded(shared_fixtures, version).queue()) == by_id(recorded(shared_fixtures, VERSIONS[0]).queue())


@pytest.mark.parametrize("version", VERSIONS[1:])
def test_all_versions_show_the_same_endings(shared_fixtures: Path, version: str) -> None:
    def endings(of: str) -> Dict[int, SlurmJob]:
        runs = recorded(shared_fixtures, of, runs="sacct-endings.json").accounting(0, 1)
        return {run.job_id: dataclasses.replace(normal(run, first_s=0), flags=frozenset()) for run in runs}

    assert endings(version) == endings(VERSIONS[0])


@pytest.mark.parametrize("version", VERSIONS)
def test_the_text_and_json_name_the_same_cores(shared_fixtures: Path, version: str) -> None:
    slurm = recorded(shared_fixtures, version)
    details = slurm.job_details()
    running = [job for job in slurm.queue() if job.state == "RUNNING"]
    assert len(running) == 12
    for job in running:
        assert len(details[job.job_id].allocations) == len(job.allocations)
        for place, shown in enumerate(job.allocations):
            by_text = details[job.job_id].allocations[place]
            assert by_text.cores is None
            assert shown.cores is not None
            numbers = {socket * 4 + core for socket, core in shown.cores}
            assert {number // 2 for number in by_text.cpu_ids or ()} == numbers
            assert (by_text.host, by_text.gres) == (shown.host, shown.gres)


@pytest.mark.parametrize("version", VERSIONS)
def test_sharing_is_the_same_by_text_and_json_where_json_tells_it(shared_fixtures: Path, version: str) -> None:
    slurm = recorded(shared_fixtures, version)
    details = slurm.job_details()
    by_text = {job.job_id: job.shared or details[job.job_id].shared for job in slurm.queue() if job.state == "RUNNING"}
    assert {job: shared for job, shared in by_text.items() if shared != "multi_user"} == {2: "none", 7: "single_user"}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_requeued_job_has_a_record_for_each_run(shared_fixtures: Path, version: str) -> None:
    runs = recorded(shared_fixtures, version, runs="sacct-requeued-duplicates.json").accounting_of_jobs([26], 0)
    assert {run.job_id for run in runs} == {26}
    ended = [run for run in runs if run.end_time]
    assert [(run.state, "REQUEUED" in run.flags) for run in ended] == [("PENDING", True)]
    assert len({run.submit_time for run in runs}) == 2


@pytest.mark.parametrize("version", VERSIONS)
def test_nodes_are_read_from_every_version(shared_fixtures: Path, version: str) -> None:
    node = next(node for node in recorded(shared_fixtures, version).nodes() if node.name == "tbg01")
    assert (node.states, node.sockets, node.cores_per_socket, node.threads_per_core) == (("mixed",), 2, 4, 2)
    assert (node.cpus_allocated, node.memory_allocated_mb, node.gpus_allocated) == (12, 6000, 4)


@pytest.mark.parametrize(
    ("number", "layout"),
    [
        (37, JobParserV38),
        (38, JobParserV38),
        (40, JobParserV38),
        (41, JobParserV41),
        (43, JobParserV41),
        (44, JobParserV44),
        (99, JobParserV44),
    ],
)
def test_an_unknown_version_is_read_like_the_nearest(number: int, layout: type) -> None:
    assert type(parser_for_version(number)) is layout


@pytest.mark.parametrize("layout", [JobParserV38(), JobParserV41(), JobParserV44()])
@pytest.mark.parametrize(
    "record",
    [
        {"job_id": 1},
        {"job_id": 1, "job_state": None, "job_resources": None, "gres_detail": None, "nodes": None},
        {"job_id": 1, "job_resources": {"allocated_nodes": [None, {"nodename": "a", "sockets": []}]}},
        {"job_id": 1, "job_resources": {"nodes": {"allocation": [None, 7, {"name": "a", "sockets": [None]}]}}},
        {"job_id": 1, "job_resources": {"nodes": "a,b"}},
        {"job_id": 1, "tres_alloc_str": 7, "time_limit": "UNLIMITED", "shared": {"a": 1}},
    ],
)
def test_a_missing_or_strange_field_is_not_known_rather_than_an_error(
    layout: JobParserV38, record: Dict[str, Any]
) -> None:
    job = layout.parse_queue_job(record)
    assert job is not None
    assert job.job_id == 1
    assert job.nodes == ""


@pytest.mark.parametrize("record", [{}, {"job_id": None}, {"job_id": 0}, {"job_id": "7"}])
def test_a_record_without_a_job_id_is_none(record: Dict[str, Any]) -> None:
    assert JobParserV41().parse_queue_job(record) is None
    assert parse_accounting_run(record) is None


def test_a_job_that_never_started_has_no_nodes_in_the_accounting() -> None:
    run = parse_accounting_run(
        {"job_id": 4, "nodes": "None assigned", "time": {"start": 4294967294, "end": 1_790_000_000}}
    )
    assert run is not None
    assert (run.nodes, run.start_time, run.end_time) == ("", 0, 1_790_000_000)


def test_gres_are_given_to_nodes_only_if_there_is_one_text_for_each() -> None:
    record = {
        "job_id": 1,
        "job_resources": {"nodes": {"allocation": [{"name": "a"}, {"name": "b"}]}},
        "gres_detail": ["gpu:1(IDX:0)"],
    }
    job = JobParserV41().parse_queue_job(record)
    assert job is not None
    assert job.allocations == (NodeAllocation("a", cores=()), NodeAllocation("b", cores=()))
