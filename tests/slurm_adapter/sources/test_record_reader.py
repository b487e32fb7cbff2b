import json
import logging
from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional

import pytest

from cc_slurm_adapter.errors import SlurmError
from cc_slurm_adapter.slurm_model import SlurmJob
from cc_slurm_adapter.sources.commands import CommandResult
from cc_slurm_adapter.sources.job_parsers import JobParserV41, parse_accounting_run, parser_for_version
from cc_slurm_adapter.sources.listing import data_parser_version, list_records, parse_document, parse_listing
from cc_slurm_adapter.sources.record_reader import CachedRecordReader

META = {"plugin": {"data_parser": "data_parser/v0.0.41"}}
RECORDED = [
    f"slurm-{version}/{name}.json"
    for version in ("22.05", "24.11", "26.05")
    for name in ("squeue-running", "squeue-endings", "sacct-running", "sacct-endings", "sacct-requeued-duplicates")
]


def number(value: int) -> Dict[str, Any]:
    return {"set": True, "infinite": False, "number": value}


def record(job_id: int, **more: Any) -> Dict[str, Any]:
    return {
        "job_id": job_id,
        "job_state": ["RUNNING"],
        "nodes": "n1",
        "user_name": "alice",
        "start_time": number(900),
        "submit_time": number(890),
        "tres_alloc_str": "cpu=4,gres/gpu=1",
        **more,
    }


def printed(*jobs: Any, indent: Optional[int] = 2, **more: Any) -> CommandResult:
    text = json.dumps({"jobs": list(jobs), "errors": [], "meta": META, **more}, indent=indent)
    return CommandResult("squeue --json", 0, text.encode(), "")


def queue(answer: CommandResult, reader: Optional[CachedRecordReader] = None) -> List[SlurmJob]:
    return (reader or CachedRecordReader()).read(parse_listing(answer, "jobs").records, JobParserV41().parse_queue_job)


@pytest.mark.parametrize("name", RECORDED)
def test_a_recorded_list_is_cut_into_the_records_that_a_json_reader_finds(shared_fixtures: Path, name: str) -> None:
    answer = CommandResult(name, 0, (shared_fixtures / name).read_bytes(), "")
    document, parts = parse_listing(answer, "jobs")
    cut = list(parts)
    whole = parse_document(answer)
    assert all(isinstance(part, bytes) for part in cut)
    assert [json.loads(part) for part in cut if isinstance(part, bytes)] == whole["jobs"]
    assert document == {**whole, "jobs": []}
    lift = (
        parse_accounting_run if "sacct" in name else parser_for_version(data_parser_version(document)).parse_queue_job
    )
    assert CachedRecordReader().read(cut, lift) == CachedRecordReader().read(list_records(whole, "jobs", ""), lift)


@pytest.mark.parametrize("indent", [None, 1, 2, 4])
@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_a_list_is_read_however_it_is_indented(indent: Optional[int], count: int) -> None:
    jobs = queue(printed(*(record(number) for number in range(1, count + 1)), indent=indent))
    assert [job.job_id for job in jobs] == list(range(1, count + 1))


def test_line_breaks_and_brackets_in_texts_make_no_records() -> None:
    name = 'x"\n    },\n    {\n      "job_id": 7\n    }\n  ]'
    assert [job.job_id for job in queue(printed(record(1, name=name), record(2)))] == [1, 2]


def test_errors_behind_a_long_list_are_seen() -> None:
    with pytest.raises(SlurmError, match="cannot reach"):
        parse_listing(printed(record(1), record(2), errors=[{"error": "cannot reach"}]), "jobs")


def test_a_list_that_breaks_off_is_an_error_as_a_whole() -> None:
    answer = printed(record(1), record(2))
    for length in (len(answer.output) // 3, len(answer.output) - 30):
        with pytest.raises(SlurmError):
            parse_listing(CommandResult("squeue", 0, answer.output[:length], ""), "jobs")


ODD = [0xFFFFFFFE, 0xFFFFFFFF, 2**63, 2**64 - 2, 10**300, -1, 1e300, "N/A", "UNLIMITED", "INVALID", [], {}, None, True]
FIELDS = ["start_time", "end_time", "submit_time", "time_limit", "restart_cnt", "array_job_id", "cpus", "node_count"]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:20])
@pytest.mark.parametrize("field", [*FIELDS, "threads_per_core", "tres_alloc_str", "name", "shared", "job_resources"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_an_invalid_field_affects_only_itself(field: str, odd: Any, *, wrapped: bool) -> None:
    value = {"set": True, "infinite": False, "number": odd} if wrapped else odd
    jobs = queue(printed(record(1), record(2, **{field: value}), record(3)))
    assert [job.job_id for job in jobs] == [1, 2, 3]
    assert all(value is None or not isinstance(value, int) or value < 2**53 for value in vars(jobs[1]).values())
    assert jobs[1].nodes == "n1"


def test_a_number_that_is_no_json_in_one_job_costs_neither_that_job_nor_others() -> None:
    answer = printed(record(1), record(2, billable="HERE"), record(3))
    odd = CommandResult("squeue", 0, answer.output.replace(b'"HERE"', b"-nan"), "")
    assert [job.job_id for job in queue(odd)] == [1, 2, 3]


def test_a_record_that_cannot_be_read_costs_itself_is_logged_once_and_keeps_its_number(
    caplog: pytest.LogCaptureFixture,
) -> None:
    answer = printed(record(1), record(2, name="HERE"), record(3))
    broken = CommandResult("squeue", 0, answer.output.replace(b'"HERE"', b'"HERE'), "")
    reader = CachedRecordReader()
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            jobs = queue(broken, reader)
            assert [(job.job_id, job.nodes) for job in jobs] == [(1, "n1"), (2, ""), (3, "n1")]
    assert [message for message in caplog.messages if "job=2" in message] == [caplog.messages[0]]
    assert len(caplog.messages) == 1


def test_a_reader_that_fails_for_one_job_does_not_fail_for_all() -> None:
    def lift(document: Mapping[str, Any]) -> SlurmJob:
        if document["job_id"] == 2:
            raise ZeroDivisionError
        return SlurmJob(document["job_id"], "RUNNING")

    parts = parse_listing(printed(record(1), record(2), record(3)), "jobs").records
    assert [job.state for job in CachedRecordReader().read(parts, lift)] == ["RUNNING", "", "RUNNING"]


def test_only_records_that_have_changed_are_read_again() -> None:
    seen: List[int] = []

    def lift(document: Mapping[str, Any]) -> Optional[SlurmJob]:
        seen.append(document["job_id"])
        return JobParserV41().parse_queue_job(document)

    reader = CachedRecordReader()
    for changed in (1, 1, 2):
        jobs = reader.read(parse_listing(printed(record(1), record(2, restart_cnt=changed)), "jobs").records, lift, "a")
        assert [job.restart_count for job in jobs] == [None, changed]
    assert seen == [1, 2, 2]
    reader.read(parse_listing(printed(record(1)), "jobs").records, lift, "another layout")
    assert seen == [1, 2, 2, 1]


@pytest.mark.parametrize("nodes", ["", "None assigned", "(null)", "N/A", "None", " none "])
def test_words_for_no_hosts_are_no_hosts(nodes: str) -> None:
    assert [job.nodes for job in queue(printed(record(1, nodes=nodes)))] == [""]
    run = parse_accounting_run({"job_id": 1, "nodes": nodes})
    assert run is not None
    assert run.nodes == ""


def test_half_characters_and_control_characters_of_names_are_left_out() -> None:
    (job,) = queue(printed(record(1, name="a\ud800b\x00c\x1bd")))
    assert job.name == "a?b c d"


def test_gpus_of_the_accounting_are_counted_once_however_they_are_typed() -> None:
    def gpus(*items: Dict[str, Any]) -> int:
        run = parse_accounting_run(
            {"job_id": 1, "tres": {"allocated": [{"type": "cpu", "name": "", "count": 4}, *items]}}
        )
        assert run is not None
        return run.gpus

    assert gpus({"type": "gres", "name": "gpu", "count": 2}, {"type": "gres", "name": "gpu:a100", "count": 2}) == 2
    assert gpus({"type": "gres", "name": "gpu:a100", "count": 2}, {"type": "gres", "name": "gpu:h100", "count": 1}) == 3
    assert gpus({"type": "gres", "name": "gpu:a100", "count": -2}, {"type": "gres", "name": "shard", "count": 9}) == 0
