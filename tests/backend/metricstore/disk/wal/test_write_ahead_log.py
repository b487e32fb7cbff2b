import errno
import logging
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from cc_backend.errors import BackendError
from cc_backend.metricstore.disk.wal import write_ahead_log
from cc_backend.metricstore.disk.wal.wal_format import BatchRecord, Damage, SeriesRecord, encode_key, read_records
from cc_backend.metricstore.disk.wal.write_ahead_log import WriteAheadLog
from cc_backend.metricstore.model import Identity

NOW = 1_790_000_000


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def encoded_names(sids: np.ndarray, separator: bytes) -> list[bytes]:
    return [separator.join((b"demo", b"n%d" % sid, b"load", b"", b"", b"", b"")) for sid in sids.tolist()]


def append(log: WriteAheadLog, *sids: int, received_s: int = NOW, value: float = 1) -> int | None:
    values = np.full(len(sids), value, np.float32)
    return log.append(np.array(sids), values, received_s, received_s=received_s, encoded_names=encoded_names)


def samples(directory: Path) -> list[tuple[str, float]]:
    """Host and value of everything in the log, each segment read by itself."""
    found: list[tuple[str, float]] = []
    for path in sorted(directory.glob("*.wal")):
        names: dict[int, str] = {}
        damage = Damage()
        for record in read_records(path.read_bytes(), damage):
            if isinstance(record, SeriesRecord):
                names.update((record.first_id + at, key.split(b"\0")[1].decode()) for at, key in enumerate(record.keys))
            elif isinstance(record, BatchRecord):
                found.extend((names[i], v) for i, v in zip(record.ids.tolist(), record.values.tolist(), strict=True))
        assert damage.skipped_bytes == 0
    return found


def test_a_batch_is_in_the_file_when_append_returns(tmp_path: Path) -> None:
    log = WriteAheadLog(tmp_path)
    assert append(log, 3, 1) is not None
    assert samples(tmp_path) == [("n3", 1), ("n1", 1)]
    log.close()


def test_the_folder_is_made_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    folder = tmp_path / "var" / "log"
    log = WriteAheadLog(folder)
    append(log, 1)
    log.close()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())


def test_each_segment_defines_the_series_it_uses(tmp_path: Path) -> None:
    log = WriteAheadLog(tmp_path)
    for hour in range(3):
        append(log, 5, received_s=NOW + hour * 3600, value=hour)
        append(log, 5, 7, received_s=NOW + hour * 3600, value=hour)
    log.close()
    assert len(list(tmp_path.glob("*.wal"))) == 3
    assert samples(tmp_path) == [(n, h) for h in range(3) for n in ("n5", "n5", "n7")]


def test_a_segment_ends_at_its_size(tmp_path: Path) -> None:
    log = WriteAheadLog(tmp_path, segment_bytes=500)
    for _ in range(60):
        append(log, 1)
    log.close()
    sizes = [path.stat().st_size for path in tmp_path.glob("*.wal")]
    assert len(sizes) > 2
    assert max(sizes) < 600
    assert len(samples(tmp_path)) == 60


def test_a_number_that_stands_for_another_series_is_defined_anew(tmp_path: Path) -> None:
    log = WriteAheadLog(tmp_path)
    append(log, 1)
    log.forget_series(np.array([1]))
    values = np.ones(1, np.float32)
    other = encode_key(Identity("demo", "other", "load"))
    log.append(np.array([1]), values, NOW, received_s=NOW, encoded_names=lambda _sids, _separator: [other])
    log.close()
    assert [host for host, _ in samples(tmp_path)] == ["n1", "other"]


def test_a_batch_that_met_a_defect_leaves_no_number_without_a_definition(tmp_path: Path) -> None:
    def no_memory(_sids: np.ndarray, _separator: bytes) -> list[bytes]:
        raise MemoryError

    log = WriteAheadLog(tmp_path)
    append(log, 1)
    with pytest.raises(MemoryError):
        log.append(np.array([1, 2]), np.ones(2, np.float32), NOW, received_s=NOW, encoded_names=no_memory)
    for sid in (2, 3, 2):
        append(log, sid, value=sid)
    log.close()
    assert samples(tmp_path) == [("n1", 1), ("n2", 2), ("n3", 3), ("n2", 2)]


def test_an_old_segment_is_never_written_to_again(tmp_path: Path) -> None:
    for run in range(3):
        log = WriteAheadLog(tmp_path)
        assert len(log.closed_segments()) == run
        append(log, 1, value=run)
        log.close()
    assert [value for _, value in samples(tmp_path)] == [0, 1, 2]


def test_steps_of_the_clock_lose_nothing(tmp_path: Path) -> None:
    log = WriteAheadLog(tmp_path)
    for number, step_s in enumerate((0, 7200, -86400, 10**8, 0)):
        append(log, 1, received_s=NOW + step_s, value=number)
    log.close()
    assert [value for _, value in samples(tmp_path)] == [0, 1, 2, 3, 4]


def test_a_folder_has_one_user_at_a_time(tmp_path: Path) -> None:
    log = WriteAheadLog(tmp_path)
    with pytest.raises(BackendError, match=rf"{tmp_path}, is in use by another process \(pid {os.getpid()}\)"):
        WriteAheadLog(tmp_path)
    log.close()
    WriteAheadLog(tmp_path).close()


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendError, match=f"{tmp_path}/file/log"):
        WriteAheadLog(tmp_path / "file" / "log")


def test_closing_twice_is_harmless_and_a_closed_log_takes_nothing(tmp_path: Path) -> None:
    log = WriteAheadLog(tmp_path)
    log.close()
    log.close()
    assert append(log, 1) is None


@pytest.mark.parametrize("mode", ["always", "interval", "never"])
def test_every_mode_of_fsync_writes_the_same(tmp_path: Path, mode: write_ahead_log.Fsync) -> None:
    log = WriteAheadLog(tmp_path, fsync=mode, fsync_interval_s=0.001, segment_bytes=400)
    for number in range(20):
        ticket = append(log, 1, value=number)
        assert ticket is not None
        assert log.wait_durable(ticket)
    log.close()
    assert [value for _, value in samples(tmp_path)] == list(range(20))


class Disk:
    """Lets writes through until it is full."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.room: int | None = None
        self.fault = errno.ENOSPC
        self._pwrite = os.pwrite
        monkeypatch.setattr(os, "pwrite", self.pwrite)

    def pwrite(self, descriptor: int, data: memoryview, offset: int) -> int:
        if self.room is None:
            return self._pwrite(descriptor, data, offset)
        if self.room <= 0:
            raise OSError(self.fault, os.strerror(self.fault))
        written = self._pwrite(descriptor, data[: self.room], offset)
        self.room -= written
        return written


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.mark.parametrize("fault", [errno.ENOSPC, errno.EIO, errno.EROFS, errno.EFBIG])
@pytest.mark.parametrize("room", [0, 10, 40, 90])
def test_a_fault_of_the_disk_costs_only_its_batch(tmp_path: Path, disk: Disk, fault: int, room: int) -> None:
    log = WriteAheadLog(tmp_path)
    append(log, 1, value=1)
    disk.room, disk.fault = room, fault
    assert append(log, 1, 2, value=2) is None
    assert append(log, 2, 3, value=3) is None
    disk.room = None
    assert append(log, 2, 1, value=4) is not None
    state = log.state()
    log.close()
    assert samples(tmp_path) == [("n1", 1), ("n2", 4), ("n1", 4)]
    assert (state.unlogged_batches, state.unlogged_samples, state.fault) == (2, 4, "")


def test_a_fault_is_told_once_then_each_minute_and_once_when_it_is_over(
    tmp_path: Path, disk: Disk, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    log = WriteAheadLog(tmp_path, monotonic=clock)
    disk.room = 0
    for clock.now_s in (0, 1, 30, 59, 61, 62, 130):
        append(log, 1)
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 3
    text = caplog.records[0].getMessage()
    assert str(tmp_path) in text
    assert "No space left" in text
    assert "make room" in text
    assert "No space left" in log.state().fault
    disk.room = None
    append(log, 1)
    append(log, 1)
    log.close()
    (over,) = caplog.records[3:]
    assert "can be written again" in over.getMessage()
    assert "unlogged_batches=7" in over.getMessage()


def test_a_fault_of_one_file_only_is_overcome_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = WriteAheadLog(tmp_path)
    append(log, 1, value=1)
    broken = log._descriptor
    original = os.pwrite

    def pwrite(descriptor: int, data: memoryview, offset: int) -> int:
        if descriptor == broken:
            raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))
        return original(descriptor, data, offset)

    monkeypatch.setattr(os, "pwrite", pwrite)
    assert append(log, 1, value=2) is not None
    log.close()
    assert samples(tmp_path) == [("n1", 1), ("n1", 2)]


def test_a_disk_that_does_not_confirm_makes_always_say_no_and_begins_a_new_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = WriteAheadLog(tmp_path, fsync="always")
    original = os.fdatasync

    def refuse(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", refuse)
    ticket = append(log, 1)
    assert ticket is not None
    assert not log.wait_durable(ticket)
    assert "check the disk" in caplog.text
    monkeypatch.setattr(os, "fdatasync", original)
    ticket = append(log, 1)
    assert ticket is not None
    assert log.wait_durable(ticket)
    log.close()
    assert len(list(tmp_path.glob("*.wal"))) == 2


def test_a_batch_in_a_file_that_the_disk_refused_meanwhile_is_not_confirmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its series are defined by the batch before it, which may be lost."""
    log = WriteAheadLog(tmp_path, fsync="always")
    original = os.fdatasync
    during: list[int | None] = []

    def refuse_once(descriptor: int) -> None:
        if not during:
            during.append(append(log, 1))
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        original(descriptor)

    monkeypatch.setattr(os, "fdatasync", refuse_once)
    first = append(log, 1)
    assert first is not None
    assert not log.wait_durable(first)
    (second,) = during
    assert second is not None
    assert not log.wait_durable(second)
    third = append(log, 1)
    assert third is not None
    assert log.wait_durable(third)
    log.close()
    assert len(list(tmp_path.glob("*.wal"))) == 2


def test_closing_brings_to_the_disk_what_came_during_the_last_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = WriteAheadLog(tmp_path, fsync_interval_s=0)
    original = os.fdatasync
    sizes: list[int] = []
    busy = threading.Event()

    def noted(descriptor: int) -> None:
        sizes.append(os.fstat(descriptor).st_size)
        if len(sizes) == 1:
            append(log, 1)
            log._group_commit._stopping = True  # as `close` does, which is called meanwhile
            busy.set()
        original(descriptor)

    monkeypatch.setattr(os, "fdatasync", noted)
    append(log, 1)
    assert busy.wait(60)
    log.close()
    (segment,) = tmp_path.glob("*.wal")
    assert sizes[0] < sizes[-1] == segment.stat().st_size


@pytest.mark.parametrize("call", ["dup", "close"])
@pytest.mark.parametrize("mode", ["always", "interval"])
def test_no_fault_keeps_later_batches_from_the_disk(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    mode: write_ahead_log.Fsync,
    call: str,
) -> None:
    log = WriteAheadLog(tmp_path, fsync=mode, fsync_interval_s=0)
    original, sync = getattr(os, call), os.fdatasync
    failed, synced = threading.Event(), threading.Event()

    def refuse(descriptor: int) -> int | None:
        if threading.current_thread().name != "metricstore-commit" or failed.is_set():
            return original(descriptor)
        if call == "close":  # the descriptor is gone all the same
            original(descriptor)
        failed.set()
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    def noted(descriptor: int) -> None:
        sync(descriptor)
        if failed.is_set():
            synced.set()

    monkeypatch.setattr(os, call, refuse)
    monkeypatch.setattr(os, "fdatasync", noted)
    ticket = append(log, 1)
    assert ticket is not None
    assert failed.wait(60)
    assert log.wait_durable(ticket) == (mode == "interval")
    ticket = append(log, 1)
    assert ticket is not None
    assert log.wait_durable(ticket)
    assert synced.wait(60)
    log.close()
    assert "check the disk" in caplog.text
    assert len(samples(tmp_path)) == 2


def test_the_name_of_a_new_file_is_on_the_disk_before_its_first_batch_is_confirmed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[int] = []
    original = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_ino)
        original(descriptor)

    monkeypatch.setattr(os, "fsync", noted)
    log = WriteAheadLog(tmp_path, fsync="always")
    for _ in range(2):
        log.rotate()
        synced.clear()
        ticket = append(log, 1)
        assert ticket is not None
        assert log.wait_durable(ticket)
        assert synced == [tmp_path.stat().st_ino]
    log.close()
