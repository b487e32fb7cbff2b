import json
from pathlib import Path
from typing import Any, Dict

import pytest

from cc_slurm_adapter.errors import SlurmError
from cc_slurm_adapter.sources.commands import CommandResult
from cc_slurm_adapter.sources.listing import data_parser_version, list_records, parse_document


def answer(output: str, status: int = 0) -> CommandResult:
    return CommandResult("squeue --json", status, output.encode(), "no controller")


def test_a_valid_output_is_a_document() -> None:
    assert parse_document(answer('{"jobs": [], "errors": []}')) == {"jobs": [], "errors": []}


def test_text_before_the_document_is_left_out() -> None:
    assert parse_document(answer('CLUSTER: alpha\n{"jobs": []}')) == {"jobs": []}


def test_an_exit_status_is_a_failure_whatever_was_printed() -> None:
    with pytest.raises(SlurmError, match="exit status 1: no controller"):
        parse_document(answer('{"jobs": []}', 1))


@pytest.mark.parametrize("output", ["", "slurm_load_jobs error", "[1]", '{"jobs": [', "{" * 50_000])
def test_what_is_no_object_is_a_failure(output: str) -> None:
    with pytest.raises(SlurmError, match="squeue --json"):
        parse_document(answer(output))


@pytest.mark.parametrize("errors", [[{"error": "x", "error_number": -1}], ["x"], {"error": "x"}, [{}]])
def test_an_error_in_the_document_is_a_failure(errors: Any) -> None:
    with pytest.raises(SlurmError):
        parse_document(answer(json.dumps({"jobs": [], "errors": errors})))


def test_nothing_found_is_no_failure() -> None:
    assert parse_document(answer('{"jobs": [], "errors": [{"error_number": 9003}]}'))["jobs"] == []


@pytest.mark.parametrize(
    ("plugin", "layout"),
    [
        ({"type": "openapi/v0.0.38"}, 38),
        ({"type": "openapi/dbv0.0.38"}, 38),
        ({"type": "", "data_parser": "data_parser/v0.0.42"}, 42),
        ({"data_parser": "data_parser/v0.0.45+prefer_refs"}, 45),
        ({}, 0),
        (None, 0),
    ],
)
def test_the_layout_is_named_in_one_of_two_places(plugin: Any, layout: int) -> None:
    document: Dict[str, Any] = {"meta": {"plugin": plugin}}
    assert data_parser_version(document) == layout


def test_an_output_without_its_list_is_a_failure() -> None:
    with pytest.raises(SlurmError, match="no list 'jobs'"):
        list_records({"jobs": None}, "jobs", "squeue")


def test_the_recorded_output_of_an_absent_controller_is_a_failure(shared_fixtures: Path) -> None:
    recorded = (shared_fixtures / "slurm-22.05" / "outage-slurmctld-squeue.json").read_bytes()
    with pytest.raises(SlurmError, match="Failed while looking for jobs"):
        parse_document(CommandResult("squeue --json", 0, recorded, ""))
