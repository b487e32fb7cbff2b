"""What holds the log, snapshots and retention together: who waits for whom, and what is left alone."""

import errno
import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cc_backend.metricstore import MetricSpec, MetricStore, Query
from cc_backend.metricstore.blocks.hot_block import CHUNK_ROWS, WINDOW_SLOTS
from cc_backend.metricstore.disk.restore_snapshots import SnapshotRestorer
from cc_backend.metricstore.disk.snapshot.snapshot_folder import SnapshotFolder
from cc_backend.metricstore.disk.snapshot.snapshot_writer import SnapshotWriter
from cc_backend.metricstore.disk.snapshot.window_file import open_reader, read_window_entries
from cc_backend.metricstore.disk.wal.write_ahead_log import WriteAheadLog
from cc_backend.metricstore.index.columns import Columns
from cc_backend.metricstore.index.series_table import SeriesTable

METRICS = {"demo": {"load": MetricSpec(60, "avg")}}
WINDOW_S = 60 * WINDOW_SLOTS
T0 = 1_790_000_040 // WINDOW_S * WINDOW_S
NOW = T0 + 2 * WINDOW_S


def opened(folder: Path, **more: Any) -> MetricStore:
    return MetricStore.open(folder, METRICS, now_s=NOW, **more)


def send(store: MetricStore, host: str, value: int, time_s: int) -> None:
    line = f"load,cluster=demo,hostname={host} value={value} {time_s}"
    assert store.ingest(line.encode(), received_s=time_s).durable


def values(store: MetricStore, host: str) -> list[float]:
    rows = store.query("demo", [Query("load", host)], from_s=T0, to_s=NOW + WINDOW_S)[0]
    return [value for row in rows for value in row.data.tolist() if value == value]  # noqa: PLR0124 not NaN


def is_free(lock: "threading.RLock") -> bool:
    """Whether another thread could take a lock now."""
    taken: list[bool] = []

    def take() -> None:
        taken.append(lock.acquire(blocking=False))
        if taken[0]:
            lock.release()

    other = threading.Thread(target=take)
    other.start()
    other.join()
    return taken[0]


def watched(monkeypatch: pytest.MonkeyPatch, owner: type, name: str, look: Callable[[], object]) -> None:
    """Have something looked at whenever a method is called."""
    real = getattr(owner, name)

    def call(*arguments: Any, **more: Any) -> Any:
        look()
        return real(*arguments, **more)

    monkeypatch.setattr(owner, name, call)


def test_no_batch_is_between_log_and_memory_when_a_pass_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its segment would go, though the pass may have copied the memory before the batch came there."""
    with opened(tmp_path) as store:
        send(store, "n1", 1, T0)
        free: list[bool] = []
        watched(monkeypatch, WriteAheadLog, "rotate", lambda: free.append(is_free(store._ingest)))
        watched(monkeypatch, Columns, "store_samples", lambda: free.append(is_free(store._ingest)))
        assert store.snapshot(NOW)
        send(store, "n1", 2, T0 + 60)
        assert free == [False, False]


def test_no_series_goes_during_a_pass_and_no_pass_runs_while_series_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as store:
        send(store, "n1", 1, T0)
        free: list[bool] = []
        watched(monkeypatch, SnapshotWriter, "run", lambda: free.append(is_free(store._upkeep._exclusive)))
        watched(monkeypatch, SeriesTable, "remove", lambda: free.append(is_free(store._upkeep._exclusive)))
        assert store.snapshot(NOW)
        store.free(before_s=NOW, holds={})
        assert free == [False, False]


def test_a_series_that_takes_the_number_and_row_of_another_is_itself_after_a_restart(tmp_path: Path) -> None:
    later_s = T0 + 120  # within the hour, and so in the same segment
    for in_log in (True, False):
        folder = tmp_path / str(in_log)
        with opened(folder) as store:
            send(store, "old", 1, T0)
            if not in_log:
                send(store, "stays", 1, later_s)
                assert store.snapshot(later_s)
            before = store._table.host("demo", "old")
            assert before is not None
            (number,) = before.sids().tolist()
            store.free(before_s=T0 + 60, holds={})
            assert store.hosts("demo") == ([] if in_log else ["stays"])
            send(store, "new", 2, later_s)
            after = store._table.host("demo", "new")
            assert after is not None
            assert after.sids().tolist() == [number]
            if not in_log:
                assert store.snapshot(later_s)
        with opened(folder) as store:
            assert values(store, "new") == [2]
            assert values(store, "old") == ([1] if in_log else []), "the segment in use stays"


def test_a_segment_that_could_not_be_read_at_the_start_outlives_snapshots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def faulty(_: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error")

    with opened(tmp_path) as store:
        send(store, "n1", 1, T0)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", faulty)
        store = opened(tmp_path)
    assert "cannot be restored: [Errno 5] Input/output error" in caplog.text
    with store:
        send(store, "n1", 2, T0 + 60)
        for _ in range(2):
            assert store.snapshot(NOW)
    with opened(tmp_path) as store:
        assert values(store, "n1") == [1, 2]
        assert store.snapshot(NOW)
        assert not list(tmp_path.glob("*.wal"))


def test_a_file_that_could_not_be_read_at_the_start_is_read_before_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = os.open

    def too_many(path: str | Path, *arguments: Any, **more: Any) -> int:
        if Path(path).name == f"60-{T0}.win1":
            raise OSError(errno.EMFILE, "Too many open files")
        return real(path, *arguments, **more)

    with opened(tmp_path) as store:
        send(store, "n1", 1, T0)
        assert store.snapshot(NOW)
        before = (tmp_path / "windows" / f"60-{T0}.win1").read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", too_many)
        store = opened(tmp_path)
        assert values(store, "n1") == []
        for time_s in (T0 + 60, T0 + WINDOW_S):
            send(store, "n1", 2, time_s)
        assert not store.snapshot(NOW)
        assert "is not replaced" in store.counters().snapshots.fault
        assert (tmp_path / "windows" / f"60-{T0}.win1").read_bytes() == before
        assert (tmp_path / "windows" / f"60-{T0 + WINDOW_S}.win1").exists(), "others are written"
    with store:
        store.free(before_s=T0 + WINDOW_S, holds={"demo": {"n1": T0}})
        assert store.snapshot(NOW)
        assert store.counters().snapshots.fault == ""
        assert values(store, "n1") == [1, 2, 2]
        store.validate()
    assert not list(tmp_path.glob("*.wal"))
    with opened(tmp_path) as store:
        assert values(store, "n1") == [1, 2, 2]


def test_a_file_that_could_not_be_read_and_was_removed_keeps_nothing_from_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as store:
        send(store, "n1", 1, T0)
        assert store.snapshot(NOW)
    with monkeypatch.context() as patch:
        patch.setattr(SnapshotRestorer, "restore", lambda *_: None)
        store = opened(tmp_path)
    with store:
        (tmp_path / "windows" / f"60-{T0}.win1").unlink()
        send(store, "n1", 2, T0 + 60)
        assert store.snapshot(NOW)
    with opened(tmp_path) as store:
        assert values(store, "n1") == [2]


def test_after_a_restore_that_met_a_defect_no_snapshot_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What is not in memory then may be what a long job needs."""

    def defect(*_: object) -> None:
        raise ZeroDivisionError

    with opened(tmp_path) as store:
        send(store, "n1", 1, T0)
        assert store.snapshot(NOW)
    with monkeypatch.context() as patch, caplog.at_level(logging.CRITICAL):
        patch.setattr(SnapshotRestorer, "restore", defect)
        with opened(tmp_path, background=True) as store:
            assert store.wait_restored(60)
            send(store, "n1", 2, NOW)
            assert not store.snapshot(NOW)
            store.free(before_s=NOW, holds={"demo": {"n1": T0}})
    with opened(tmp_path) as store:
        assert values(store, "n1") == [1, 2]


def test_files_that_were_rewritten_for_a_long_job_give_their_room_on_the_disk_free(tmp_path: Path) -> None:
    """Samples that are on disk only are read from the new file, or the old one would live on unseen."""
    with opened(tmp_path, hot_s=0) as store:
        for number in range(2 * CHUNK_ROWS // 8):
            lines = (f"load,cluster=demo,hostname=n{number},type=core,type-id={c} value=1 {T0}" for c in range(8))
            assert store.ingest("\n".join(lines).encode(), received_s=T0).durable
        store.upkeep(NOW, {})
        assert store.snapshot(NOW)
        (grid,) = store._table.columns.grids
        assert sum(map(grid.windows.evict, grid.windows.numbers())) > 0
        store.free(before_s=NOW, holds={"demo": {"n0": T0}})
        assert values(store, "n0") == [1]
        open_files = [os.readlink(path) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]  # noqa: PTH115
        assert not [path for path in open_files if str(tmp_path) in path and path.endswith(".win1 (deleted)")]


def test_a_chunk_that_the_disk_did_not_give_at_the_start_is_read_before_it_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.pread

    def faulty(descriptor: int, length: int, offset: int) -> bytes:
        if offset == place:
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, length, offset)

    with opened(tmp_path) as store:
        send(store, "n1", 1, T0)
        assert store.snapshot(NOW)
    files = SnapshotFolder(tmp_path / "windows")
    (name,) = files.windows()
    with open_reader(files.path(name)) as (read, size_bytes):
        place = read_window_entries(read, size_bytes, name)[0][0].payload_offset
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", faulty)
        store = opened(tmp_path)
    assert values(store, "n1") == []
    with store:
        send(store, "n1", 2, T0 + 60)
        assert store.snapshot(NOW)
        assert values(store, "n1") == [1, 2]
    with opened(tmp_path) as store:
        assert values(store, "n1") == [1, 2]
