"""Snapshots: what they write and spare, and that no moment of a pass is a bad one to crash or to fail."""

import errno
import logging
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_backend.metricstore import MetricSpec, MetricStore, Query
from cc_backend.metricstore.blocks.hot_block import CHUNK_ROWS, WINDOW_SLOTS
from cc_backend.metricstore.disk.snapshot.snapshot_folder import SnapshotFolder
from cc_backend.metricstore.disk.snapshot.window_file import open_reader, read_window_entries

METRICS = {"demo": {"load": MetricSpec(60, "avg"), "power": MetricSpec(10, "sum")}}
WINDOW_S = 60 * WINDOW_SLOTS
T0 = 1_790_000_040 // WINDOW_S * WINDOW_S
SERIES = 1104  # in two chunks: eight cores on each host
SLOTS = (0, 1, WINDOW_SLOTS, WINDOW_SLOTS + 1, 2 * WINDOW_SLOTS)
NOW = T0 + 2 * WINDOW_S


def opened(folder: Path, now_s: int = NOW, **more: object) -> MetricStore:
    return MetricStore.open(folder, METRICS, now_s=now_s, **more)  # type: ignore[arg-type]  # settings of the test


def batch(slot: int, series: range = range(SERIES), change: int = 0) -> bytes:
    return "\n".join(
        f"load,cluster=demo,hostname=n{s // 8},type=core,type-id={s % 8} value={s + slot + change} {T0 + 60 * slot}"
        for s in series
    ).encode()


def write(store: MetricStore, *slots: int, **more: Any) -> None:
    for slot in slots:
        assert store.ingest(batch(slot, **more), received_s=NOW).durable


def values(store: MetricStore, series: int) -> dict[int, float]:
    """Slot -> value of a series."""
    query = Query("load", f"n{series // 8}", type="core", type_ids=(str(series % 8),))
    return present(store, query)


def present(store: MetricStore, query: Query) -> dict[int, float]:
    """Slot -> value of what a query finds."""
    rows = store.query("demo", [query], from_s=T0, to_s=T0 + 5 * WINDOW_S)[0]
    return {slot: value for row in rows for slot, value in enumerate(row.data.tolist()) if not math.isnan(value)}


def expected(series: int, *slots: int) -> dict[int, float]:
    return {slot: series + slot for slot in slots or SLOTS}


def files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "windows").glob("*"))}


def log_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.wal"))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MetricStore]:
    with opened(tmp_path) as store:
        write(store, *SLOTS)
        yield store


# What a pass writes


def test_a_pass_writes_one_file_per_window_and_empties_the_log(store: MetricStore, tmp_path: Path) -> None:
    assert store.snapshot(NOW)
    assert sorted(files(tmp_path)) == [f"60-{T0 + number * WINDOW_S}.win1" for number in range(3)]
    assert log_files(tmp_path) == []
    state = store.counters().snapshots
    assert (state.files, state.fault, state.last_s) == (3, "", NOW)
    assert state.size_bytes == sum(map(len, files(tmp_path).values()))


def test_a_pass_without_changes_writes_nothing(store: MetricStore, tmp_path: Path) -> None:
    store.snapshot(NOW)
    before = {path: path.stat().st_ino for path in (tmp_path / "windows").iterdir()}
    assert store.snapshot(NOW)
    assert {path: path.stat().st_ino for path in (tmp_path / "windows").iterdir()} == before


def test_a_late_sample_costs_its_chunk_and_the_others_are_copied(
    store: MetricStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.snapshot(NOW)
    before = files(tmp_path)
    write(store, 5, series=range(CHUNK_ROWS + 50, CHUNK_ROWS + 51))
    with caplog.at_level(logging.INFO):
        store.snapshot(NOW)
    assert "snapshot files=1 chunks=1 copied_chunks=1" in caplog.text
    after = files(tmp_path)
    changed = [name for name in before if before[name] != after[name]]
    assert changed == [f"60-{T0}.win1"]
    store.close()
    with opened(tmp_path) as again:
        assert values(again, CHUNK_ROWS + 50) == expected(CHUNK_ROWS + 50, *SLOTS, 5)
        assert values(again, 7) == expected(7)


def test_samples_that_come_during_a_pass_are_for_the_next_one(
    store: MetricStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = SnapshotFolder.publish
    numbers = iter(range(100))

    def with_a_sample(self: SnapshotFolder, *arguments: Any) -> None:
        number = next(numbers)
        for slot in SLOTS:
            line = b"load,cluster=demo,hostname=during%d value=%d %d" % (number, slot, T0 + 60 * slot)
            assert store.ingest(line + b"\n" + batch(slot, range(3), change=number), received_s=NOW).durable
        real(self, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(SnapshotFolder, "publish", with_a_sample)
        assert store.snapshot(NOW)
    assert next(numbers) == 3
    assert len(log_files(tmp_path)) == 1, "the segment begun with the pass stays"
    for restart in ("log", "snapshot"):
        with opened(Path(shutil.copytree(tmp_path, tmp_path.with_name(restart), ignore=shutil.ignore_patterns("lock")))
                    ) as again:  # fmt: skip
            for number in range(3):
                assert present(again, Query("load", f"during{number}")) == {slot: slot for slot in SLOTS}
            assert values(again, 1) == {slot: 1 + slot + 2 for slot in SLOTS}
        store.snapshot(NOW)
        assert log_files(tmp_path) == []


def test_a_chunk_that_was_damaged_on_disk_is_written_anew_from_memory(store: MetricStore, tmp_path: Path) -> None:
    store.snapshot(NOW)
    path = tmp_path / "windows" / f"60-{T0}.win1"
    data = bytearray(path.read_bytes())
    data[48 + 72 + 20] ^= 1  # in the keys of the first chunk
    path.write_bytes(data)
    write(store, 5, series=range(CHUNK_ROWS + 50, CHUNK_ROWS + 51))
    assert store.snapshot(NOW)
    assert store.snapshot(NOW)
    store.close()
    with opened(tmp_path) as again:
        assert values(again, 7) == expected(7)
        assert again.counters().restore.damaged_files == 0


def test_a_file_that_somebody_removed_is_written_anew_when_its_window_changes(
    store: MetricStore, tmp_path: Path
) -> None:
    store.snapshot(NOW)
    (tmp_path / "windows" / f"60-{T0}.win1").unlink()
    write(store, 5, series=range(1))
    assert store.snapshot(NOW)
    store.close()
    with opened(tmp_path) as again:
        assert values(again, 7) == expected(7)
        assert values(again, 0) == expected(0, *SLOTS, 5)


def test_a_file_that_cannot_be_read_any_more_does_not_keep_others_from_being_written(
    store: MetricStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.snapshot(NOW)
    real = os.pread

    def faulty(descriptor: int, length: int, offset: int) -> bytes:
        if Path(f"/proc/self/fd/{descriptor}").readlink().name == f"60-{T0}.win1":
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, length, offset)

    write(store, 5, series=range(1))
    write(store, WINDOW_SLOTS + 5)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", faulty)
        assert store.snapshot(NOW)
    store.close()
    with opened(tmp_path) as again:
        assert values(again, 0) == expected(0, *SLOTS, 5, WINDOW_SLOTS + 5)
        assert values(again, SERIES - 1) == expected(SERIES - 1, *SLOTS, WINDOW_SLOTS + 5)


class LongReads:
    """Samples cannot be read from disk any more as long as they fail; where they lie can."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fail = False
        self.most_bytes = 500
        real = os.pread

        def faulty(descriptor: int, length: int, offset: int) -> bytes:
            if self.fail and length > self.most_bytes:
                raise OSError(errno.EIO, "Input/output error")
            return real(descriptor, length, offset)

        monkeypatch.setattr(os, "pread", faulty)


@pytest.fixture
def long_reads(monkeypatch: pytest.MonkeyPatch) -> LongReads:
    return LongReads(monkeypatch)


def test_an_old_chunk_that_cannot_be_copied_is_written_from_memory_the_next_time(
    store: MetricStore, tmp_path: Path, long_reads: LongReads
) -> None:
    store.snapshot(NOW)
    write(store, 5, series=range(1))
    before = files(tmp_path)
    long_reads.fail = True
    assert not store.snapshot(NOW)
    assert files(tmp_path) == before
    assert log_files(tmp_path) != []
    assert store.snapshot(NOW)
    assert log_files(tmp_path) == []
    long_reads.fail = False
    store.close()
    with opened(tmp_path) as again:
        assert values(again, 0) == expected(0, *SLOTS, 5)
        assert values(again, SERIES - 1) == expected(SERIES - 1)


def test_an_old_chunk_that_only_the_disk_has_is_not_lost_because_the_disk_does_not_give_it_once(
    store: MetricStore, tmp_path: Path, long_reads: LongReads
) -> None:
    store.snapshot(NOW)
    store.close()
    with opened(tmp_path, cap_bytes=2) as again:  # all but the newest window stays on disk only
        write(again, 5, series=range(1))
        before = files(tmp_path)
        long_reads.fail = True
        for _ in range(3):
            assert not again.snapshot(NOW)
        assert files(tmp_path) == before
        assert log_files(tmp_path) != []
        long_reads.fail = False
        assert again.snapshot(NOW)
        assert log_files(tmp_path) == []
    with opened(tmp_path) as again:
        assert values(again, 0) == expected(0, *SLOTS, 5)
        assert values(again, SERIES - 1) == expected(SERIES - 1)


def test_the_other_chunks_of_a_file_come_back_though_one_cannot_be_read(
    store: MetricStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.snapshot(NOW)
    store.close()
    windows = SnapshotFolder(tmp_path / "windows")
    first = set()
    for name in windows.windows():
        with open_reader(windows.path(name)) as (read, size_bytes):
            first.add((str(windows.path(name)), read_window_entries(read, size_bytes, name)[0][0].payload_offset))
    real = os.pread

    def faulty(descriptor: int, length: int, offset: int) -> bytes:
        if (str(Path(f"/proc/self/fd/{descriptor}").readlink()), offset) in first:
            raise OSError(errno.EIO, "Input/output error")
        return real(descriptor, length, offset)

    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", faulty)
        again = opened(tmp_path)
    with again:
        assert values(again, 0) == {}
        assert values(again, SERIES - 1) == expected(SERIES - 1)
        write(again, 5, series=range(1))
        assert again.snapshot(NOW)
        assert values(again, 0) == expected(0, *SLOTS, 5)


def test_what_only_the_old_file_has_is_not_lost_because_the_disk_does_not_give_it_once(
    store: MetricStore, tmp_path: Path, long_reads: LongReads
) -> None:
    store.snapshot(NOW)
    store.close()
    only_power = {"demo": {"power": METRICS["demo"]["power"], "other": METRICS["demo"]["load"]}}
    with MetricStore.open(tmp_path, only_power, now_s=NOW) as again:  # nothing of `load` comes back into memory
        line = f"other,cluster=demo,hostname=n1 value=1 {T0}".encode()
        assert again.ingest(line, received_s=NOW).durable
        long_reads.fail, long_reads.most_bytes = True, 0
        for _ in range(3):
            assert not again.snapshot(NOW)
        long_reads.fail = False
        assert again.snapshot(NOW)
    with opened(tmp_path) as again:
        assert values(again, SERIES - 1) == expected(SERIES - 1)


def test_what_is_too_old_stays_on_disk_as_long_as_it_cannot_be_parted_from_what_is_needed(
    store: MetricStore, tmp_path: Path, long_reads: LongReads
) -> None:
    store.snapshot(NOW)
    before = files(tmp_path)
    long_reads.fail = True
    store.free(before_s=NOW, holds={"demo": {"n0": T0}})
    assert files(tmp_path) == before
    long_reads.fail = False
    store.free(before_s=NOW, holds={"demo": {"n0": T0}})
    assert sum(map(len, files(tmp_path).values())) < sum(map(len, before.values()))
    store.close()
    with opened(tmp_path) as again:
        assert values(again, 0) == expected(0)


def test_a_pass_that_takes_too_long_is_given_up_and_loses_nothing(store: MetricStore, tmp_path: Path) -> None:
    assert not store.snapshot(NOW, budget_s=0)
    assert files(tmp_path) == {}
    assert len(log_files(tmp_path)) == 1
    assert store.snapshot(NOW, budget_s=600)
    assert len(files(tmp_path)) == 3


def test_a_store_without_a_folder_takes_no_snapshots() -> None:
    with MetricStore.open(None, METRICS, now_s=NOW) as store:
        assert not store.snapshot(NOW)
        assert store.upkeep(NOW, {}) == 0


# Faults


def copied(folder: Path, images: Path, number: int) -> None:
    shutil.copytree(folder, images / str(number), ignore=shutil.ignore_patterns("lock"))


class Disk:
    """Does something before each call that changes the disk, with the disk as it is meanwhile."""

    CALLS = (
        *((os, name) for name in ("open", "pwrite", "fsync", "fdatasync")),
        *((Path, name) for name in ("replace", "unlink", "mkdir")),
    )

    def __init__(self, before: Callable[[int], None]) -> None:
        self.calls = 0
        self._before = before
        self._patch = pytest.MonkeyPatch()

    def __enter__(self) -> Self:
        for owner, name in self.CALLS:
            self._patch.setattr(owner, name, self._standing_before(getattr(owner, name)))
        return self

    def __exit__(self, *_: object) -> None:
        self._patch.undo()

    def _standing_before(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            self.calls += 1
            self._patch.undo()
            try:
                self._before(self.calls)
            finally:
                self.__enter__()
            return real(*arguments, **more)

        return call


def fail_at(going_wrong: int, code: int, number: int) -> None:
    if number == going_wrong:
        raise OSError(code, os.strerror(code))


def changes(store: MetricStore) -> None:
    """A snapshot, then new and changed samples of each kind in several segments."""
    store.snapshot(NOW)
    write(store, 1, series=range(10), change=1000)
    write(store, 3)
    store.snapshot(NOW, budget_s=0)  # only begins a new segment
    write(store, 1, series=range(5), change=2000)
    write(store, 4, 2 * WINDOW_SLOTS + 1)


def assert_changed(store: MetricStore) -> None:
    slots = (*SLOTS, 3, 4, 2 * WINDOW_SLOTS + 1)
    for series in (0, 4, 5, 9, 10, 11, CHUNK_ROWS - 1, CHUNK_ROWS, SERIES - 1):
        wanted = expected(series, *slots)
        wanted[1] += 2000 if series < 5 else 1000 if series < 10 else 0
        assert values(store, series) == wanted
    store.validate()


def test_no_moment_of_a_pass_is_a_bad_one_to_crash(
    store: MetricStore, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    images = tmp_path_factory.mktemp("images")
    changes(store)
    with Disk(lambda number: copied(tmp_path, images, number)) as disk:
        assert store.snapshot(NOW)
    assert disk.calls > 20
    assert log_files(tmp_path) == []
    for number in range(1, disk.calls + 1):
        with opened(images / str(number)) as again:
            assert_changed(again)
            assert again.snapshot(NOW)
            assert log_files(images / str(number)) == []
        with opened(images / str(number)) as again:
            assert_changed(again)


def test_no_moment_of_retention_is_a_bad_one_to_crash(
    store: MetricStore, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    images = tmp_path_factory.mktemp("images")
    changes(store)
    with Disk(lambda number: copied(tmp_path, images, number)) as disk:
        store.free(before_s=T0 + 2 * WINDOW_S, holds={"demo": {"n1": T0 + WINDOW_S}})
    assert disk.calls >= 5
    for number in range(1, disk.calls + 1):
        with opened(images / str(number)) as again:
            for series in (0, 500, CHUNK_ROWS, SERIES - 1):
                assert values(again, series).items() >= expected(series, 2 * WINDOW_SLOTS, 2 * WINDOW_SLOTS + 1).items()
            wanted = expected(11, WINDOW_SLOTS, WINDOW_SLOTS + 1, 2 * WINDOW_SLOTS, 2 * WINDOW_SLOTS + 1)
            assert values(again, 11).items() >= wanted.items()
            again.validate()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO])
def test_a_fault_at_any_moment_of_a_pass_leaves_all_as_safe_as_before(
    store: MetricStore, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, code: int
) -> None:
    changes(store)
    images = tmp_path_factory.mktemp("images")
    failed = 0
    for going_wrong in range(1, 1000):
        with Disk(partial(fail_at, going_wrong, code)) as disk:
            is_saved = store.snapshot(NOW)
        if disk.calls < going_wrong:
            break
        failed += not is_saved
        assert (os.strerror(code) in store.counters().snapshots.fault) == (not is_saved)
        if is_saved:  # it could do without that call: give the next pass the same to do
            write(store, 3, 4, 2 * WINDOW_SLOTS + 1)
        copied(tmp_path, images, going_wrong)
        with opened(images / str(going_wrong)) as again:
            assert_changed(again)
    assert failed > 5
    assert store.counters().snapshots.fault == ""
    assert log_files(tmp_path) == []
    assert_changed(store)
    store.close()
    with opened(tmp_path) as again:
        assert_changed(again)


def test_a_full_disk_is_told_once_and_its_end_too(
    store: MetricStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.pwrite", full)
        assert not store.snapshot(NOW)
        assert not store.snapshot(NOW)
    assert caplog.text.count("cannot be written (No space left on device): make room") == 1
    assert store.snapshot(NOW)
    assert caplog.text.count("can be written again") == 1


# Damage


def chunk_places(folder: Path) -> dict[str, int]:
    """Offsets of bytes of each kind in the first file: the file's header, and the first chunk's parts."""
    folder_of = SnapshotFolder(folder / "windows")
    name = min(folder_of.windows(), key=lambda one: one.start_s)
    with open_reader(folder_of.path(name)) as (read, size_bytes):
        first, second = read_window_entries(read, size_bytes, name)[0]
        assert second.offset == first.end
    return {
        "header of the file": 9,
        "checksum of the file": 41,
        "marker": first.offset + 1,
        "number": first.offset + 4,
        "digest": first.offset + 30,
        "length": first.offset + 41,
        "checksum": first.offset + 60,
        "keys": first.keys_offset + first.keys_bytes // 2,
        "times": first.times_offset + 3,
        "header of the samples": first.payload_offset + 5,
        "samples": first.payload_offset + first.payload_bytes // 2,
    }


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    with opened(folder) as store:
        write(store, *SLOTS)
        store.snapshot(NOW)
    return folder


KINDS = (
    "header of the file", "checksum of the file", "marker", "number", "digest", "length", "checksum", "keys", "times",
    "header of the samples", "samples",
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_damage_costs_at_most_the_chunk_it_hits_and_the_start_goes_on(
    saved: Path, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = Path(shutil.copytree(saved, tmp_path / "store", ignore=shutil.ignore_patterns("lock")))
    path = folder / "windows" / f"60-{T0}.win1"
    data = bytearray(path.read_bytes())
    data[chunk_places(folder)[kind]] ^= 0x10
    path.write_bytes(data)
    with opened(folder) as store:
        # Keys are the same in all windows: they are known from another file.
        lost = set() if "of the file" in kind or kind == "keys" else {0, 1}
        assert values(store, CHUNK_ROWS + 3) == expected(CHUNK_ROWS + 3)
        assert values(store, 3) == {slot: 3 + slot for slot in SLOTS if slot not in lost}
        assert store.counters().restore.damaged_files == (kind != "keys")
        assert (f"file={path} is damaged" in caplog.text) == (kind != "keys")
        store.validate()
        write(store, *SLOTS)
        assert store.snapshot(NOW)
    with opened(folder) as store:
        assert values(store, 3) == expected(3)
        assert store.counters().restore.damaged_files == 0


def test_keys_that_are_damaged_in_all_files_cost_their_chunk_in_each(saved: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved, tmp_path / "store", ignore=shutil.ignore_patterns("lock")))
    at = chunk_places(folder)["keys"]
    for path in (folder / "windows").iterdir():
        data = bytearray(path.read_bytes())
        data[at] ^= 0x10
        path.write_bytes(data)
    with opened(folder) as store:
        assert values(store, CHUNK_ROWS + 3) == expected(CHUNK_ROWS + 3)
        assert values(store, 3) == {}
        restored = store.counters().restore
        assert (restored.damaged_files, restored.damaged_chunks) == (3, 3)
        store.validate()


@pytest.mark.parametrize("length", [0, 1, 47, 48, 100, 120, 4000, -1])
def test_a_truncated_file_costs_what_was_cut_off(saved: Path, tmp_path: Path, length: int) -> None:
    folder = Path(shutil.copytree(saved, tmp_path / "store", ignore=shutil.ignore_patterns("lock")))
    path = folder / "windows" / f"60-{T0 + WINDOW_S}.win1"
    path.write_bytes(path.read_bytes()[:length])
    with opened(folder) as store:
        for series in (3, CHUNK_ROWS + 3):
            found = values(store, series)
            assert found.items() >= expected(series, 0, 1, 2 * WINDOW_SLOTS).items()
            assert found.items() <= expected(series).items()
        if length == -1:
            assert values(store, 3) == expected(3)
        store.validate()


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_no_damage_makes_a_wrong_sample_or_costs_another_window(saved: Path, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as other:
        folder = Path(shutil.copytree(saved, Path(other) / "store", ignore=shutil.ignore_patterns("lock")))
        path = folder / "windows" / f"60-{T0}.win1"
        content = bytearray(path.read_bytes())
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(content) - 1))
            content[at] ^= data.draw(st.integers(1, 255))
        del content[data.draw(st.integers(len(content) // 2, len(content))) :]
        path.write_bytes(content)
        with opened(folder) as store:
            for series in (0, 3, 777, CHUNK_ROWS - 1, CHUNK_ROWS, SERIES - 1):
                found = values(store, series)
                assert found.items() <= expected(series).items()
                assert found.items() >= expected(series, *SLOTS[2:]).items()
            store.validate()


def test_files_that_are_no_snapshots_are_left_alone(saved: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(saved, tmp_path / "store", ignore=shutil.ignore_patterns("lock")))
    others = ["60-7.win1", "readme", f"60-{T0}.win2", "x-1.win1", "0-0.win1"]
    for name in others:
        (folder / "windows" / name).write_bytes(b"something else")
    (folder / "windows" / "60-0.tmp").write_bytes(b"left over")
    with opened(folder) as store:
        assert values(store, 3) == expected(3)
        store.free(before_s=NOW + 10 * WINDOW_S, holds={})
    assert sorted(files(folder)) == sorted(others)


# Retention


def test_files_go_when_their_window_is_out_of_date(store: MetricStore, tmp_path: Path) -> None:
    store.snapshot(NOW)
    store.free(before_s=T0 + WINDOW_S - 1, holds={})
    assert len(files(tmp_path)) == 3
    store.free(before_s=T0 + WINDOW_S, holds={})
    assert sorted(files(tmp_path)) == [f"60-{T0 + number * WINDOW_S}.win1" for number in (1, 2)]


def test_a_long_job_keeps_only_the_chunks_of_its_hosts(store: MetricStore, tmp_path: Path) -> None:
    store.snapshot(NOW)
    before = files(tmp_path)
    protected = {"demo": {f"n{SERIES // 8 - 1}": T0}}
    store.free(before_s=NOW + 5 * WINDOW_S, holds=protected)
    freed = files(tmp_path)
    assert sorted(freed) == sorted(before)
    assert all(len(freed[name]) < len(before[name]) / 2 for name in before)
    assert store.snapshot(NOW)
    after = files(tmp_path)
    assert all(len(after[name]) < len(freed[name]) for name in before), "of a chunk only the rows of the host"
    store.free(before_s=NOW + 5 * WINDOW_S, holds=protected)
    assert files(tmp_path) == after, "nothing is rewritten twice"
    store.close()
    with opened(tmp_path) as again:
        assert values(again, SERIES - 1) == expected(SERIES - 1)
        again.free(before_s=NOW + 5 * WINDOW_S, holds={"demo": {f"n{SERIES // 8 - 1}": T0 + WINDOW_S}})
        assert len(files(tmp_path)) == 2
        again.free(before_s=NOW + 5 * WINDOW_S, holds={})
        assert files(tmp_path) == {}


def test_a_fault_while_freeing_is_told_and_tried_again(
    store: MetricStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store.snapshot(NOW)

    def read_only(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", read_only)
        store.free(before_s=T0 + WINDOW_S, holds={})
    assert len(files(tmp_path)) == 3
    assert "cannot be removed although it is too old: Read-only file system" in caplog.text
    store.free(before_s=T0 + WINDOW_S, holds={})
    assert len(files(tmp_path)) == 2


# Compressed and left on disk


def test_upkeep_compresses_what_is_not_hot_and_frees_what_is_too_old(tmp_path: Path) -> None:
    with opened(tmp_path, retention_s=10 * WINDOW_S, hot_s=WINDOW_S) as store:
        write(store, *SLOTS)
        before_bytes = store.counters().sample_bytes
        assert store.upkeep(NOW, {}) > before_bytes / 4
        assert store.counters().sample_bytes < 0.8 * before_bytes
        assert values(store, 3) == expected(3)
        assert store.snapshot(NOW)
        assert store.upkeep(NOW + 10 * WINDOW_S, {}) > 0
        assert len(files(tmp_path)) == 1
        store.validate()


def test_blocks_that_are_on_disk_only_are_read_from_where_their_file_is(tmp_path: Path) -> None:
    with opened(tmp_path, hot_s=0) as store:
        write(store, *SLOTS)
        store.upkeep(NOW + 3 * WINDOW_S, {})
        assert store.snapshot(NOW)
        for grid in store._table.columns.grids:
            for window in grid.windows.numbers():
                assert grid.windows.evict(window) > 0
        assert values(store, 3) == expected(3)
        for change in range(3):  # each pass replaces the file
            write(store, 5, series=range(CHUNK_ROWS + 50, CHUNK_ROWS + 51), change=change)
            assert store.snapshot(NOW)
            assert values(store, 3) == expected(3)
        descriptors = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
        assert not [path for path in descriptors if str(tmp_path) in str(path) and "win1 (deleted" in path.name]
        assert values(store, CHUNK_ROWS + 50)[5] == CHUNK_ROWS + 57
