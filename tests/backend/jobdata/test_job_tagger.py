"""Tags of applications and classes, from the event of a job to its archive."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cc_backend.auth.caller import SERVICE_CALLER
from cc_backend.errors import ArchiveError
from cc_backend.jobdata import job_tagger
from cc_backend.jobs.filters import JobFilter
from cc_backend.jobs.job_rows import read_tags
from cc_backend.jobs.meta_data import set_meta_data
from cc_backend.jobs.tags import attach_tags
from cc_backend.model import JobKey, RowRule, Tag

START_S = 1_760_000_400
GROMACS = {"jobName": "run", "jobScript": "#!/bin/bash\nsrun gmx_mpi mdrun\n"}
BUSY = {
    "tag": "busy",
    "metrics": ["load_one"],
    "rule": "load_one.avg > 0.1 * load_one.limits.peak",
    "hint": "Load {{.load_one.avg}} of {{.load_one.limits.peak}}",
}


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    folder = tmp_path / "var/tagger/jobclasses"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def tagged_site(site_of: Callable[..., Any]) -> Any:
    return site_of(settings={"main": {"enable-job-taggers": True}})


def tags(site: Any, id_: int) -> list[str]:
    return [f"{tag.type}:{tag.name}" for tag in read_tags(site.services.database, [id_]).get(id_, ())]


def stored(site: Any, id_: int) -> Any:
    return site.services.job_queries.get(id_, RowRule(all_jobs=True), now_s=int(site.clock()))


def archived(site: Any) -> Any:
    return site.services.archive.load_meta(JobKey("tern", 88412, START_S))


def apply(site: Any, **more: Any) -> tuple[int, int, int]:
    result = site.services.job_tagger.tag_matching(JobFilter(), now_s=int(site.clock()), **more)
    return result.examined, result.changed, result.failed


def test_an_application_is_tagged_soon_after_the_start(tagged_site: Any) -> None:
    id_ = tagged_site.start_job(metaData=GROMACS)
    assert tags(tagged_site, id_) == []
    assert tagged_site.services.job_tagger.tag_queued() == 1
    assert tags(tagged_site, id_) == ["app:gromacs"]
    assert tagged_site.services.job_tagger.tag_queued() == 0


def test_a_script_that_came_late_counts_at_the_stop(tagged_site: Any) -> None:
    id_ = tagged_site.start_job(metaData={"jobName": "run"})
    tagged_site.services.job_tagger.tag_queued()
    set_meta_data(tagged_site.services.database, id_, {"jobScript": "srun lmp -in x"})
    tagged_site.clock.advance(60)
    tagged_site.stop_job()
    tagged_site.services.job_tagger.tag_queued()
    assert tags(tagged_site, id_) == ["app:lammps"]


def test_a_step_ends_between_two_jobs(tagged_site: Any) -> None:
    tagged_site.start_job(metaData=GROMACS)
    assert tagged_site.services.job_tagger.tag_queued(stopping=lambda: True) == 0
    assert tagged_site.services.job_tagger.tag_queued() == 1


def test_the_switch_is_off_unless_it_is_set(site: Any) -> None:
    id_ = site.archived_job(metaData=GROMACS)
    assert site.services.job_tagger.tag_queued() == 0
    assert tags(site, id_) == []


def test_classes_and_hints_are_in_database_and_archive_when_a_job_is_archived(tagged_site: Any, rules: Path) -> None:
    (rules / "busy.json").write_text(json.dumps(BUSY))
    id_ = tagged_site.archived_job(metaData={**GROMACS, "message": "Ask Ann."})
    assert tags(tagged_site, id_) == ["jobClass:busy"]
    message = stored(tagged_site, id_).meta_data["message"]
    assert message == archived(tagged_site).meta_data["message"]
    assert message.startswith("Ask Ann.\nLoad ")
    assert message.endswith(" of 8")
    assert [(tag.type, tag.name) for tag in archived(tagged_site).tags] == [("jobClass", "busy")]


def test_a_defect_of_a_rule_keeps_no_job_from_the_archive(
    tagged_site: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_job: object) -> bool:
        raise RuntimeError("a defect")

    monkeypatch.setattr(type(tagged_site.services.job_tagger), "classify", lambda _self, job: fail(job))
    tagged_site.archived_job()
    assert archived(tagged_site).statistics
    assert "classifying met a defect" in caplog.text


def test_by_command_jobs_of_before_are_tagged_and_a_second_time_nothing_changes(site: Any, rules: Path) -> None:
    id_ = site.archived_job(metaData=GROMACS)
    (rules / "busy.json").write_text(json.dumps(BUSY))
    assert apply(site) == (1, 1, 0)
    assert tags(site, id_) == ["app:gromacs", "jobClass:busy"]
    assert apply(site) == (1, 0, 0)


def test_by_command_what_does_not_fit_any_more_is_taken_back_and_nothing_else(site: Any, rules: Path) -> None:
    id_ = site.archived_job(metaData={**GROMACS, "message": "Ask Ann."})
    (rules / "busy.json").write_text(json.dumps(BUSY))
    apply(site)
    attach_tags(site.services.database, id_, [Tag("jobClass", "odd"), Tag("app", "mine")], SERVICE_CALLER)
    set_meta_data(site.services.database, id_, {"jobScript": "srun lmp -in x"})
    (rules / "busy.json").write_text(json.dumps({**BUSY, "rule": "false"}))
    site.services.job_tagger.reload()
    assert apply(site) == (1, 1, 0)
    assert tags(site, id_) == ["app:lammps", "app:mine", "jobClass:odd"]
    assert stored(site, id_).meta_data["message"] == "Ask Ann."
    assert "jobClassHints" not in stored(site, id_).meta_data


def test_by_command_one_type_can_be_chosen(site: Any, rules: Path) -> None:
    id_ = site.archived_job(metaData=GROMACS)
    (rules / "busy.json").write_text(json.dumps(BUSY))
    apply(site, types=("jobClass",))
    assert tags(site, id_) == ["jobClass:busy"]
    apply(site, types=("app",))
    assert tags(site, id_) == ["app:gromacs", "jobClass:busy"]


def test_by_command_only_matching_jobs_are_tagged_and_progress_is_reported(site: Any) -> None:
    for job_id in (1, 2, 3):
        site.start_job(jobId=job_id, metaData=GROMACS, user="ann" if job_id < 3 else "ben")
    seen: list[tuple[int, int]] = []
    result = site.services.job_tagger.tag_matching(
        JobFilter(users=("ann",)), now_s=int(site.clock()), progress=lambda done, total: seen.append((done, total))
    )
    assert (result.examined, result.changed) == (2, 2)
    assert seen == [(1, 2), (2, 2)]
    assert apply(site, stopping=lambda: True) == (0, 0, 0)


def test_by_command_an_archive_that_cannot_be_read_costs_no_other_job(
    site: Any, monkeypatch: pytest.MonkeyPatch, rules: Path
) -> None:
    first = site.archived_job(metaData=GROMACS)
    site.start_job(jobId=2, startTime=int(site.clock()), metaData=GROMACS)

    def fail(_key: object) -> object:
        raise ArchiveError("meta.json: is damaged")

    monkeypatch.setattr(site.services.archive, "load_meta", fail)
    assert apply(site) == (2, 2, 1)
    assert tags(site, first) == ["app:gromacs"]


def test_of_jobs_whose_archive_cannot_be_read_only_the_first_are_logged(
    site: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, rules: Path
) -> None:
    for number in (1, 2, 3):
        site.archived_job(jobId=number)
    monkeypatch.setattr(job_tagger, "MAX_FAILURES_LOGGED", 2)

    def fail(_key: object) -> object:
        raise ArchiveError("meta.json: is damaged")

    monkeypatch.setattr(site.services.archive, "load_meta", fail)
    assert apply(site) == (3, 0, 3)
    logged = [record.message for record in caplog.records if "job not classified" in record.message]
    assert [message.split()[3] for message in logged] == ["job=1", "job=2"]


def test_a_class_by_a_metric_for_staff_is_seen_by_staff_only(
    site_of: Callable[..., Any], tern: dict[str, Any], rules: Path
) -> None:
    for metric in tern["metricConfig"]:
        metric["restrict"] = metric["name"] == "load_one"
    (rules / "busy.json").write_text(json.dumps(BUSY))
    site = site_of(clusters=[tern], settings={"main": {"enable-job-taggers": True}})
    id_ = site.archived_job()
    found = stored(site, id_)
    assert [(tag.name, tag.scope) for tag in found.tags] == [("busy", "admin")]
    assert "message" not in (found.meta_data or {})


def test_folders_of_the_settings_are_those_that_are_read(site_of: Callable[..., Any], tmp_path: Path) -> None:
    pytest.importorskip("re2")
    for folder in ("my/apps", "my/rules"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "my/apps/own.txt").write_text("own_code\n")
    (tmp_path / "my/rules/any.json").write_text('{"tag": "any", "rule": "true"}')
    folders = {"apps": "my/apps", "job-classes": "my/rules", "shipped-apps": False, "shipped-rules": False}
    site = site_of(settings={"main": {"enable-job-taggers": True, "job-taggers": folders}})
    id_ = site.archived_job(metaData={"jobName": "x", "jobScript": "srun ./own_code; gmx mdrun"})
    site.services.job_tagger.tag_queued()
    assert tags(site, id_) == ["app:own", "jobClass:any"]
