"""The folder of the store is removed, replaced, moved or locked while the store is in use."""

import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cc_backend.metricstore import MetricSpec, MetricStore, Query
from cc_backend.metricstore.blocks.hot_block import WINDOW_SLOTS
from cc_backend.metricstore.disk.snapshot.snapshot_folder import SnapshotFolder
from cc_backend.metricstore.disk.wal.write_ahead_log import WriteAheadLog

METRICS = {"demo": {"load": MetricSpec(60, "avg")}}
WINDOW_S = 60 * WINDOW_SLOTS
T0 = 1_790_000_040 // WINDOW_S * WINDOW_S
NOW = T0 + 2 * WINDOW_S


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> Iterator[MetricStore]:
    with MetricStore.open(folder, METRICS, now_s=T0) as opened:
        yield opened


def send(store: MetricStore, value: int, time_s: int) -> bool:
    """Whether a sample was acknowledged."""
    return store.ingest(f"load,cluster=demo,hostname=n1 value={value} {time_s}".encode(), received_s=time_s).durable


def after_a_kill(folder: Path, tmp_path: Path) -> list[float]:
    """The values that another store finds in what is on disk now."""
    copy = tmp_path / "after a kill"
    shutil.copytree(folder, copy)
    with MetricStore.open(copy, METRICS, now_s=NOW) as opened:
        rows = opened.query("demo", [Query("load", "n1")], from_s=T0, to_s=NOW + WINDOW_S)[0]
    return [value for row in rows for value in row.data.tolist() if value == value]  # noqa: PLR0124 not NaN


def mended(store: MetricStore) -> None:
    """What periodic work does within a second."""
    store.check_disk()
    if store.needs_snapshot:
        assert store.snapshot(NOW)
    assert store.faults() == []


def test_nothing_is_acknowledged_after_the_folder_was_removed(store: MetricStore, folder: Path) -> None:
    assert send(store, 1, T0)
    shutil.rmtree(folder)
    assert not send(store, 2, T0 + 60)
    (fault,) = store.faults()
    assert "the write-ahead log of the metric store cannot be written" in fault
    assert "put the folder back" in fault
    assert str(folder) not in fault


def test_it_is_noticed_without_any_batch(store: MetricStore, folder: Path) -> None:
    assert send(store, 1, T0)
    folder.rename(folder.with_name("away"))
    assert store.faults() == []
    store.check_disk()
    assert len(store.faults()) == 1
    assert not send(store, 2, T0 + 60)


def test_a_folder_that_comes_back_is_used_as_before(
    store: MetricStore, folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert send(store, 1, T0)
    folder.rename(folder.with_name("away"))
    for _ in range(5):
        assert not send(store, 2, T0 + 60)
        store.check_disk()
    folder.with_name("away").rename(folder)
    mended(store)
    assert send(store, 3, T0 + 120)
    told = [record.levelname for record in caplog.records if record.levelno >= logging.WARNING]
    assert told == ["ERROR", "WARNING"]
    assert [value for value in after_a_kill(folder, tmp_path) if value != 2] == [1, 3]


def test_an_empty_folder_in_its_place_gets_all_that_memory_has(
    store: MetricStore, folder: Path, tmp_path: Path
) -> None:
    assert send(store, 1, T0)
    assert store.snapshot(T0)
    assert send(store, 2, T0 + 60)
    shutil.rmtree(folder)
    assert not send(store, 3, T0 + 120)
    folder.mkdir()
    mended(store)
    assert send(store, 4, T0 + 180)
    assert after_a_kill(folder, tmp_path) == [1, 2, 3, 4]


def test_the_fault_lasts_until_that_is_written(store: MetricStore, folder: Path) -> None:
    assert send(store, 1, T0)
    shutil.rmtree(folder)
    folder.mkdir()
    store.check_disk()
    assert store.faults() == ["files of the metric store are gone: their samples are written again from memory"]
    assert send(store, 2, T0 + 60), "new batches are safe in the new folder"


def test_what_was_left_on_disk_only_is_written_anew_too(store: MetricStore, folder: Path, tmp_path: Path) -> None:
    assert send(store, 1, T0)
    assert store.snapshot(NOW)
    store._upkeep.compress(NOW)
    assert store.snapshot(NOW)
    assert sum(store._upkeep.evict(use) for use in store._upkeep.windows_in_memory()) > 0
    shutil.rmtree(folder)
    folder.mkdir()
    mended(store)
    assert after_a_kill(folder, tmp_path) == [1]


def test_a_copy_in_its_place_is_used(store: MetricStore, folder: Path, tmp_path: Path) -> None:
    assert send(store, 1, T0)
    assert store.snapshot(T0)
    assert send(store, 2, T0 + 60)
    folder.rename(folder.with_name("away"))
    shutil.copytree(folder.with_name("away"), folder)
    mended(store)
    assert send(store, 3, T0 + 120)
    assert after_a_kill(folder, tmp_path) == [1, 2, 3]


def test_a_file_in_its_place_is_a_fault_until_it_is_a_folder_again(store: MetricStore, folder: Path) -> None:
    assert send(store, 1, T0)
    shutil.rmtree(folder)
    folder.write_text("")
    store.check_disk()
    assert not send(store, 2, T0 + 60)
    assert len(store.faults()) == 1
    folder.unlink()
    folder.mkdir()
    mended(store)
    assert send(store, 3, T0 + 120)


def test_a_folder_that_another_server_took_is_left_to_it(store: MetricStore, folder: Path) -> None:
    assert send(store, 1, T0)
    folder.rename(folder.with_name("away"))
    with MetricStore.open(folder, METRICS, now_s=T0) as other:
        store.check_disk()
        assert not send(store, 2, T0 + 60)
        assert "another process uses the folder" in store.faults()[0]
        assert send(other, 3, T0 + 60)


def test_a_segment_that_somebody_removed_is_written_anew(store: MetricStore, folder: Path, tmp_path: Path) -> None:
    assert send(store, 1, T0)
    (segment,) = folder.glob("*.wal")
    segment.unlink()
    assert send(store, 2, T0 + 60), "the next segment takes it"
    mended(store)
    assert after_a_kill(folder, tmp_path) == [1, 2]


@pytest.mark.parametrize("idle", [True, False])
def test_so_is_one_that_is_closed(store: MetricStore, folder: Path, tmp_path: Path, idle: bool) -> None:  # noqa: FBT001
    assert send(store, 1, T0)
    (segment,) = folder.glob("*.wal")
    store._disk.log.rotate()  # type: ignore[union-attr]
    if not idle:
        assert send(store, 2, T0 + 60)
    segment.unlink()
    mended(store)
    assert after_a_kill(folder, tmp_path) == ([1] if idle else [1, 2])


@pytest.mark.parametrize("how", ["one file", "the folder", "another folder"])
def test_snapshots_that_somebody_removed_are_written_anew(
    store: MetricStore, folder: Path, tmp_path: Path, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    for time_s in (T0, T0 + WINDOW_S):
        assert send(store, 1, time_s)
    assert store.snapshot(NOW)
    assert list(folder.glob("*.wal")) == []
    windows = folder / "windows"
    if how == "one file":
        next(windows.glob("*.win1")).unlink()
    else:
        shutil.rmtree(windows)
        if how == "another folder":
            windows.mkdir()
    store.check_disk()
    store.check_disk()
    assert len(store.faults()) == 1
    assert len([record for record in caplog.records if record.levelno == logging.ERROR]) == 1
    mended(store)
    assert after_a_kill(folder, tmp_path) == [1, 1]


def test_the_fault_lasts_until_the_last_of_them_is_written(
    store: MetricStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for time_s in (T0, T0 + WINDOW_S):
        assert send(store, 1, time_s)
    assert store.snapshot(NOW)
    shutil.rmtree(folder / "windows")
    store.check_disk()
    seen: list[int] = []
    real = SnapshotFolder.publish

    def put_in_place(*arguments: Any) -> None:
        real(*arguments)
        seen.append(len(store.faults()))

    monkeypatch.setattr(SnapshotFolder, "publish", put_in_place)
    mended(store)
    assert seen == [1, 1]


def test_a_pass_that_fails_leaves_the_loss_to_the_next(
    store: MetricStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert send(store, 1, T0)
    assert store.snapshot(NOW)
    shutil.rmtree(folder / "windows")
    store.check_disk()
    with monkeypatch.context() as full:
        full.setattr(os, "replace", refuse)
        full.setattr(Path, "replace", refuse)
        assert not store.snapshot(NOW)
    assert store.needs_snapshot
    mended(store)


def refuse(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_permissions_taken_away_are_a_fault_while_they_last(
    store: MetricStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked of the kernel: root may all the same, and then nothing is wrong."""
    assert send(store, 1, T0)
    assert store.snapshot(NOW)
    for place, part in ((folder, "write-ahead log"), (folder / "windows", "snapshots")):
        with monkeypatch.context() as forbidden:
            forbidden.setattr(os, "access", lambda path, _, place=place: path != place)
            store.check_disk()
        assert [part in fault for fault in store.faults()] == [True]
        mended(store)


def test_a_fault_without_batches_is_over_when_something_can_be_written(
    store: MetricStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert send(store, 1, T0)
    with monkeypatch.context() as full:
        full.setattr(os, "pwrite", refuse)
        assert not send(store, 2, T0 + 60)
    with monkeypatch.context() as full:
        full.setattr(Path, "write_bytes", refuse)
        store.check_disk()
    assert len(store.faults()) == 1
    mended(store)
    assert not list(folder.glob("*.tmp"))


def test_a_store_that_refuses_samples_says_so(folder: Path) -> None:
    with MetricStore.open(folder, METRICS, now_s=T0) as full:
        full._upkeep.refusing = True
        assert full.faults() == ["the metric store is full: raise metric-store.memory-cap"]


def test_a_batch_costs_one_more_look_at_the_file(store: MetricStore, monkeypatch: pytest.MonkeyPatch) -> None:
    assert send(store, 1, T0)
    looks: list[object] = []
    real = os.stat
    monkeypatch.setattr(os, "stat", lambda path, **more: (looks.append(path), real(path, **more))[1])
    assert send(store, 2, T0 + 60)
    assert len(looks) == 1


def test_the_log_of_a_closed_store_is_not_looked_at(folder: Path) -> None:
    log = WriteAheadLog(folder)
    log.close()
    shutil.rmtree(folder)
    log.check()
    assert log.fault == ""
