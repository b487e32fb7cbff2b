"""Tags and meta data that change after a job was archived reach its meta.json, whatever happens in between."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from cc_backend.errors import ArchiveUnavailable
from cc_backend.jobs.job_removal import remove_job
from cc_backend.jobs.meta_changes import queued_meta_changes
from cc_backend.jobs.meta_data import set_meta_data
from cc_backend.jobs.tags import attach_tags, detach_tags, remove_tags
from cc_backend.maintenance.meta_updater import RETRY_S, MetaUpdater
from cc_backend.model import Tag

START_S = 1_760_000_400
SCOPES = ("global", "admin", "root")


@pytest.fixture
def updater(site: Any) -> MetaUpdater:
    return updater_of(site)


def updater_of(site: Any) -> MetaUpdater:
    return MetaUpdater(site.services.database, site.services.archive_queue, site.services.archive)


def meta_path(tmp_path: Path) -> Path:
    return tmp_path / f"job-archive/tern/88/412/{START_S}/meta.json"


def archived_meta(tmp_path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(meta_path(tmp_path).read_text("utf-8"))
    return document


def archived_tags(tmp_path: Path) -> list[tuple[str, str, str]]:
    return [(tag["type"], tag["name"], tag["scope"]) for tag in archived_meta(tmp_path).get("tags", [])]


@pytest.fixture
def root() -> Any:
    from cc_backend.auth.caller import Caller  # noqa: PLC0415 - the one place that needs it

    return Caller("root", frozenset({"admin", "api"}))


def test_added_and_removed_tags_of_all_scopes_reach_the_archive(
    site: Any, updater: MetaUpdater, tmp_path: Path, root: Any
) -> None:
    id_ = site.archived_job()
    attach_tags(site.services.database, id_, [Tag("a", "b", scope) for scope in SCOPES], root)
    assert updater.run_once(now_s=0) == 1
    assert archived_tags(tmp_path) == [("a", "b", scope) for scope in SCOPES]
    detach_tags(site.services.database, id_, [Tag("a", "b", "admin")], root)
    updater.run_once(now_s=0)
    assert archived_tags(tmp_path) == [("a", "b", "global"), ("a", "b", "root")]
    remove_tags(site.services.database, [Tag("a", "b"), Tag("a", "b", "root")], root)
    updater.run_once(now_s=0)
    assert "tags" not in archived_meta(tmp_path)
    assert queued_meta_changes(site.services.database) == []


def test_meta_data_reaches_the_archive_and_nothing_else_changes(
    site: Any, updater: MetaUpdater, tmp_path: Path
) -> None:
    id_ = site.archived_job()
    path = meta_path(tmp_path)
    before = {**archived_meta(tmp_path), "siteKey": {"a": 1.25}}
    path.write_text(json.dumps(before))
    set_meta_data(site.services.database, id_, {"message": "line 1\nline 2"})
    updater.run_once(now_s=0)
    assert archived_meta(tmp_path) == {**before, "metaData": {**before["metaData"], "message": "line 1\nline 2"}}


def test_a_restart_between_change_and_archive_loses_nothing(site: Any, site_of: Any, tmp_path: Path, root: Any) -> None:
    attach_tags(site.services.database, site.archived_job(), [Tag("a", "b")], root)
    site.services.close()
    updater_of(site_of()).run_once(now_s=0)
    assert archived_tags(tmp_path) == [("a", "b", "global")]


def test_a_job_that_waits_to_be_archived_keeps_its_place_until_it_is(
    site: Any, updater: MetaUpdater, tmp_path: Path, root: Any
) -> None:
    id_ = site.start_job()
    site.clock.advance(600)
    site.stop_job()
    attach_tags(site.services.database, id_, [Tag("a", "b")], root)
    assert updater.run_once(now_s=0) == 0
    assert site.archive() == [id_]
    assert archived_tags(tmp_path) == [("a", "b", "global")]
    assert updater.run_once(now_s=0) == 1


def test_a_change_while_the_file_is_written_is_not_lost(
    site: Any, updater: MetaUpdater, tmp_path: Path, root: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    database, archive, id_ = site.services.database, site.services.archive, site.archived_job()
    attach_tags(database, id_, [Tag("a", "1")], root)
    update = archive.update_meta

    def slowly(job: Any) -> bool:
        attach_tags(database, id_, [Tag("a", "2")], root)
        return bool(update(job))

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(archive, "update_meta", slowly)
        updater.run_once(now_s=0)
    assert len(archived_tags(tmp_path)) == 1
    updater.run_once(now_s=0)
    assert len(archived_tags(tmp_path)) == 2


@pytest.mark.parametrize("status", [0, 2])
def test_a_job_that_is_in_no_archive_does_not_wait_for_ever(
    site: Any, updater: MetaUpdater, root: Any, status: int
) -> None:
    id_ = site.start_job(monitoringStatus=0)
    site.clock.advance(60)
    site.stop_job()
    with site.services.database.write():
        site.services.database.execute_sql("UPDATE job SET monitoring_status = ?", (status,))
    attach_tags(site.services.database, id_, [Tag("a", "b")], root)
    assert updater.run_once(now_s=0) == 1


def test_a_damaged_meta_json_holds_up_no_other_and_is_tried_again_later(
    site: Any, updater: MetaUpdater, tmp_path: Path, root: Any
) -> None:
    damaged, whole = site.archived_job(), site.archived_job(jobId=2)
    path = meta_path(tmp_path)
    content = path.read_bytes()
    path.write_bytes(b"{")
    for id_ in (damaged, whole):
        attach_tags(site.services.database, id_, [Tag("a", "b")], root)
    now_s = int(site.clock())
    assert updater.run_once(now_s=now_s) == 1
    path.write_bytes(content)
    assert updater.run_once(now_s=now_s + 1) == 0
    assert updater.run_once(now_s=now_s + RETRY_S) == 1
    assert archived_tags(tmp_path) == [("a", "b", "global")]


def test_a_clock_that_was_set_back_does_not_delay_the_retry(
    site: Any, updater: MetaUpdater, tmp_path: Path, root: Any
) -> None:
    attach_tags(site.services.database, site.archived_job(), [Tag("a", "b")], root)
    path = meta_path(tmp_path)
    content = path.read_bytes()
    path.write_bytes(b"{")
    now_s = int(site.clock())
    assert updater.run_once(now_s=now_s) == 0
    path.write_bytes(content)
    assert updater.run_once(now_s=now_s - 86_400) == 1


def test_an_archive_that_was_moved_away_keeps_the_queue(
    site: Any, updater: MetaUpdater, tmp_path: Path, root: Any
) -> None:
    attach_tags(site.services.database, site.archived_job(), [Tag("a", "b")], root)
    shutil.move(tmp_path / "job-archive", tmp_path / "elsewhere")
    with pytest.raises(ArchiveUnavailable):
        updater.run_once(now_s=0)
    shutil.move(tmp_path / "elsewhere", tmp_path / "job-archive")
    assert updater.run_once(now_s=0) == 1
    assert archived_tags(tmp_path) == [("a", "b", "global")]


def test_a_job_without_its_file_in_the_archive_does_not_wait_for_ever(
    site: Any, updater: MetaUpdater, tmp_path: Path, root: Any
) -> None:
    attach_tags(site.services.database, site.archived_job(), [Tag("a", "b")], root)
    meta_path(tmp_path).unlink()
    assert updater.run_once(now_s=0) == 1


def test_a_job_that_is_removed_from_the_database_stays_in_the_archive_as_it_is(
    site: Any, updater: MetaUpdater, tmp_path: Path, root: Any
) -> None:
    id_ = site.archived_job()
    before = meta_path(tmp_path).read_bytes()
    attach_tags(site.services.database, id_, [Tag("a", "b")], root)
    remove_job(site.services.database, id_)
    assert updater.run_once(now_s=0) == 0
    assert meta_path(tmp_path).read_bytes() == before


def test_meta_data_that_the_database_cannot_read_is_kept_in_the_archive(
    site: Any, updater: MetaUpdater, tmp_path: Path, root: Any
) -> None:
    id_ = site.archived_job()
    before = archived_meta(tmp_path)["metaData"]
    with site.services.database.write():
        site.services.database.execute_sql("UPDATE job SET meta_data = '{'")
    attach_tags(site.services.database, id_, [Tag("a", "b")], root)
    updater.run_once(now_s=0)
    assert archived_tags(tmp_path) == [("a", "b", "global")]
    assert archived_meta(tmp_path)["metaData"] == before


def test_it_stops_between_two_jobs_when_asked_to(site: Any, updater: MetaUpdater, root: Any) -> None:
    attach_tags(site.services.database, site.archived_job(), [Tag("a", "b")], root)
    assert updater.run_once(now_s=0, stopping=lambda: True) == 0


def test_a_long_queue_is_worked_off_in_batches(
    site: Any, updater: MetaUpdater, root: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cc_backend.maintenance.meta_updater.CHANGES_BATCH", 2)
    monkeypatch.setattr(queued_meta_changes, "__kwdefaults__", {"after": 0, "limit": 2})
    waiting = []
    for number in range(1, 6):
        waiting.append(site.start_job(jobId=number))
        site.clock.advance(10)
        site.stop_job(job_id=number)
    for id_ in waiting:
        attach_tags(site.services.database, id_, [Tag("a", "b")], root)
    assert [updater.run_once(now_s=0) for _ in range(3)] == [0, 0, 0]
    site.clock.advance(10_000)
    assert sorted(site.archive()) == waiting
    assert sum(updater.run_once(now_s=0) for _ in range(4)) == 5
