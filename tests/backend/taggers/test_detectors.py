import json
import logging
import os
from pathlib import Path

import pytest

from cc_backend.model import Job, JobState
from cc_backend.taggers import detectors as detectors_module
from cc_backend.taggers.detectors import Detectors
from cc_backend.taggers.tagger_folder import TaggerFolder


@pytest.fixture
def apps(tmp_path: Path) -> Path:
    folder = tmp_path / "apps"
    folder.mkdir()
    return folder


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "jobclasses"
    folder.mkdir()
    return folder


def make(apps: Path, rules: Path, **more: bool) -> Detectors:
    return Detectors(applications=TaggerFolder(apps), rules=TaggerFolder(rules), **more)


def applications(found: Detectors, script: str) -> tuple[str, ...]:
    return found.applications_of({"jobScript": script})


def job(**changes: object) -> Job:
    made = Job(1, "tern", "u", "p", 1_760_000_000, (), 1, duration=7200, state=JobState.COMPLETED)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def class_tags(found: Detectors, made: Job) -> list[str]:
    return [job_class.tag for job_class in found.classes_of(made, {})]


def test_what_comes_with_the_program_works_without_any_file(tmp_path: Path) -> None:
    found = make(tmp_path / "none", tmp_path / "none")
    assert applications(found, "gmx mdrun") == ("gromacs",)
    assert found.applications_of(None) == ()


def test_patterns_of_the_site_count_beside_the_shipped_list(apps: Path, rules: Path) -> None:
    pytest.importorskip("re2")
    (apps / "mycode.txt").write_text("mycode\n")
    found = make(apps, rules)
    assert applications(found, "srun ./mycode\ngmx mdrun") == ("gromacs", "mycode")
    assert applications(found, "python x.py; srun ./mycode") == ("mycode",)


def test_a_file_of_the_site_takes_the_place_of_a_shipped_application(apps: Path, rules: Path) -> None:
    (apps / "gromacs.txt").write_text("")
    assert applications(make(apps, rules), "gmx mdrun") == ()


def test_the_shipped_list_and_rules_can_be_left_out(apps: Path, rules: Path) -> None:
    found = make(apps, rules, with_shipped_applications=False, with_shipped_rules=False)
    assert applications(found, "gmx mdrun") == ()
    assert class_tags(found, job()) == []


def test_rules_of_the_site_count_and_can_end_a_shipped_class(apps: Path, rules: Path) -> None:
    (rules / "long.json").write_text(json.dumps({"tag": "long", "rule": "job.duration > 3600"}))
    found = make(apps, rules)
    assert class_tags(found, job()) == ["long"]
    assert class_tags(found, job(duration=60)) == []


def test_parameters_of_the_site_count_for_shipped_rules(apps: Path, rules: Path) -> None:
    (rules / "parameters.json").write_text('{"job_min_duration_seconds": 99999, "mine": 5}')
    (rules / "a.json").write_text(
        json.dumps({"tag": "a", "parameters": ["mine", "job_min_duration_seconds"],
                    "rule": "mine + job_min_duration_seconds == 100004"})
    )  # fmt: skip
    assert class_tags(make(apps, rules), job()) == ["a"]


def test_changed_files_are_read_again_and_only_then(apps: Path, rules: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = rules / "long.json"
    path.write_text(json.dumps({"tag": "long", "rule": "true"}))
    os.utime(path, (1, 1))
    found = make(apps, rules)
    assert found.reload()
    assert not found.reload()
    path.write_text("{")
    os.utime(path, (2, 2))
    with caplog.at_level(logging.WARNING):
        assert found.reload()
        assert not found.reload()
    (record,) = caplog.records
    assert record.getMessage().startswith("job classes: long.json: the body is not JSON: line 1, column 2: ")
    assert record.getMessage().endswith("; the rule is left out")
    assert class_tags(found, job()) == []
    path.unlink()
    assert found.reload()


def test_a_defect_costs_the_tags_of_one_job_only(
    apps: Path, rules: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_arguments: object) -> None:
        raise RuntimeError("a defect")

    found = make(apps, rules)
    monkeypatch.setattr(detectors_module, "detect_applications", fail)
    assert applications(found, "gmx mdrun") == ()
    assert "detecting applications met a defect" in caplog.text
