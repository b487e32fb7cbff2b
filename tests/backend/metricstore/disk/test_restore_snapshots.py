"""Series get the rows back that they had in snapshots, and samples go where none are yet."""

import errno
import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from cc_backend.metricstore.blocks.codec import choose_codec
from cc_backend.metricstore.blocks.hot_block import CHUNK_ROWS, WINDOW_SLOTS
from cc_backend.metricstore.disk import restore_snapshots
from cc_backend.metricstore.disk.restore_snapshots import SnapshotRestorer
from cc_backend.metricstore.disk.snapshot.snapshot_folder import SnapshotFolder
from cc_backend.metricstore.disk.snapshot.snapshot_format import ChunkEntry, ReadAt, pack_keys, pack_times, read_keys
from cc_backend.metricstore.disk.snapshot.window_file import ChangedChunk, WindowName, open_reader, read_window_entries
from cc_backend.metricstore.disk.wal.wal_format import encode_key
from cc_backend.metricstore.index.series_table import SeriesTable
from cc_backend.metricstore.model import HostPart, Identity, Limits, MetricSpec, RestoreState
from cc_backend.model import Samples

METRICS = {"demo": {"load": MetricSpec(60), "temp": MetricSpec(60), "power": MetricSpec(30)}}
WINDOW_S = 60 * WINDOW_SLOTS
OLD, NEW = (WindowName(60, number * WINDOW_S) for number in (100, 101))


def key(name: str) -> bytes:
    """`n7` is the load of the host n7, `n7:3` that of its core 3; an empty name is nobody's."""
    host, _, core = name.partition(":")
    return encode_key(Identity("demo", host, "load", HostPart("core", core) if core else HostPart())) if name else b""


def chunk(
    number: int, keys: Sequence[bytes], samples: Samples | None = None, last_s: Sequence[int] | None = None
) -> ChangedChunk:
    if samples is None:
        samples = np.full((len(keys), WINDOW_SLOTS), np.nan, np.float32)
    times = pack_times(np.array([0] * len(keys) if last_s is None else last_s, np.int64), OLD.start_s)
    return ChangedChunk(number, len(keys), pack_keys(keys), times, choose_codec().encode(samples))


class Restart:
    """A folder of snapshots, and the table that they are read into."""

    def __init__(self, directory: Path) -> None:
        self.folder = SnapshotFolder(directory)
        self.lock = threading.RLock()
        self.table = SeriesTable(METRICS, Limits(), self.lock)
        self.state = RestoreState()

    def write(self, name: WindowName, *chunks: ChangedChunk) -> None:
        self.folder.publish(name, *self.folder.write_temporary(name, chunks))

    def damage_keys(self, name: WindowName, number: int) -> None:
        path = self.folder.path(name)
        with open_reader(path) as (read, size_bytes):
            offset = read_window_entries(read, size_bytes, name)[0][number].keys_offset
        data = bytearray(path.read_bytes())
        data[offset + 5] ^= 0xFF
        path.write_bytes(data)

    def restorer(self) -> SnapshotRestorer:
        restorer = SnapshotRestorer(self.table, self.lock, self.folder, self.state)
        restorer.reserve_rows()
        self.table.validate()
        return restorer

    def row(self, name: str) -> int | None:
        cluster, host, metric, part = key(name).decode().split("\0", 3)
        known = self.table.host(cluster, host)
        sid = -1 if known is None else known.find(metric, HostPart(*part.split("\0")))
        return None if sid < 0 else int(self.table.columns.row_of[sid])

    def samples(self, name: str, start_s: int = OLD.start_s) -> list[float]:
        row = self.row(name)
        assert row is not None
        return self.table.columns.grids[0].read(np.array([row]), start_s // 60, 4)[0].tolist()  # type: ignore[no-any-return]


@pytest.fixture
def restart(tmp_path: Path) -> Restart:
    return Restart(tmp_path)


def test_each_series_gets_its_row_over_many_chunks_and_with_rows_of_nobody(restart: Restart) -> None:
    names = ["" if row % 9 == 4 else f"n{row // 60}:{row % 60}" for row in range(40 * CHUNK_ROWS)]
    names[5 * CHUNK_ROWS : 7 * CHUNK_ROWS] = [""] * 2 * CHUNK_ROWS
    pieces = [names[begin : begin + CHUNK_ROWS] for begin in range(0, len(names), CHUNK_ROWS)]
    pieces[-1] = pieces[-1][:100]
    numbers = np.arange(len(names), dtype=np.float32).reshape(40, CHUNK_ROWS, 1)
    numbers[5:7] = np.nan
    chunks = (
        chunk(number, [key(name) for name in piece], numbers[number, : len(piece)].repeat(WINDOW_SLOTS, axis=1))
        for number, piece in enumerate(pieces)
    )
    restart.write(OLD, *chunks)
    restart.restorer().restore(OLD)
    there = {name: row for row, name in enumerate(names[: 39 * CHUNK_ROWS + 100]) if name}
    assert restart.table.series_count == len(there)
    assert {name: restart.row(name) for name in there} == there
    assert restart.state.chunks_adopted == 40
    assert restart.state.skipped_samples == 0, "what is nobody's was nobody's before"
    assert restart.table.columns.grids[0].windows.unsaved_chunks(OLD.start_s // WINDOW_S) == []
    for name, row in list(there.items())[::500]:
        assert restart.samples(name) == [row] * 4


def test_the_newest_file_says_who_has_a_row(restart: Restart) -> None:
    restart.write(OLD, chunk(0, [key("n0"), key("n2"), key("n3")]), chunk(1, [key("n7")]))
    restart.write(NEW, chunk(0, [key("n1"), b"", key("n3")]))
    restart.restorer()
    assert [restart.row(name) for name in ("n1", "n3", "n7")] == [0, 2, CHUNK_ROWS]
    assert restart.row("n0") is None, "comes when its samples are read"
    assert restart.row("n2") is None


def test_a_chunk_whose_keys_are_damaged_costs_no_other_its_rows(restart: Restart) -> None:
    restart.write(OLD, chunk(0, [key("n0"), key("n1")]), chunk(1, [key("n5"), key("n4")]))
    restart.write(NEW, chunk(0, [key("n1"), key("n0")]), chunk(1, [key("n4"), key("n5")]))
    restart.damage_keys(NEW, 0)
    restart.restorer()
    assert [restart.row(name) for name in ("n0", "n1", "n4", "n5")] == [0, 1, CHUNK_ROWS, CHUNK_ROWS + 1]


def test_a_fault_of_the_disk_in_the_middle_of_a_file_costs_no_row_of_what_was_read(
    restart: Restart, monkeypatch: pytest.MonkeyPatch
) -> None:
    restart.write(OLD, chunk(0, [key("n9")]), chunk(1, [key("n8")]), chunk(2, [b"", key("n7")]))
    restart.write(NEW, chunk(0, [key("n0")]), chunk(1, [key("n1")]), chunk(2, [key("n2")]))

    def faulty(read: ReadAt, entry: ChunkEntry) -> list[bytes]:
        if (entry.chunk, entry.start_s) == (2, NEW.start_s):
            raise OSError(errno.EIO, "faulty")
        return read_keys(read, entry)

    monkeypatch.setattr(restore_snapshots, "read_keys", faulty)
    restart.restorer()
    rows = [restart.row(name) for name in ("n0", "n1", "n7", "n8", "n9")]
    assert rows == [0, CHUNK_ROWS, 2 * CHUNK_ROWS + 1, None, None]


def test_keys_that_cannot_be_read_are_left_out_and_their_samples_counted(restart: Restart) -> None:
    samples = np.arange(5 * WINDOW_SLOTS, dtype=np.float32).reshape(5, WINDOW_SLOTS)
    samples[1] = np.nan
    keys = [key("n0"), b"", b"\xff\0n1\0load\0\0\0\0", encode_key(Identity("demo", "n2", "gone")), key("n4")]
    restart.write(OLD, chunk(0, keys, samples))
    restart.restorer().restore(OLD)
    assert restart.table.series_count == 2
    assert restart.samples("n4") == samples[4, :4].tolist()
    assert restart.state.skipped_samples == 2 * WINDOW_SLOTS
    assert (restart.state.chunks, restart.state.chunks_adopted) == (1, 1)
    restart.table.validate()


@pytest.mark.parametrize("in_place", [True, False])
def test_what_is_in_memory_stays_and_the_rest_is_filled_in(restart: Restart, in_place: bool) -> None:  # noqa: FBT001 a parameter
    samples = np.full((4, WINDOW_SLOTS), np.nan, np.float32)
    samples[:, :3] = [[0, np.nan, 2], [10, 11, 12], [20, 21, 22], [30, 31, np.nan]]
    keys = [key("n0"), encode_key(Identity("demo", "n1", "gone")), key("n2"), key("n3")]
    restart.write(OLD, chunk(0, keys, samples, [OLD.start_s + 125, 0, OLD.start_s + 140, OLD.start_s + 77]))
    if not in_place:
        restart.table.register(Identity("demo", "n9", "load"))  # has the row of another one
    restorer = restart.restorer()
    sid = restart.table.register(Identity("demo", "n2", "load"))
    restart.table.columns.store_samples(np.array([sid]), np.array([100], np.float32), OLD.start_s + 60)
    restorer.restore(OLD)
    nan = float("nan")
    np.testing.assert_array_equal(restart.samples("n0"), [0, nan, 2, nan])
    np.testing.assert_array_equal(restart.samples("n2"), [20, 100, 22, nan])
    np.testing.assert_array_equal(restart.samples("n3"), [30, 31, nan, nan])
    assert (restart.row("n0") == 0) == in_place
    assert restart.state.skipped_samples == 3
    assert (restart.state.chunks, restart.state.chunks_adopted) == (1, 0)
    newest = [restart.table.register(Identity("demo", name, "load")) for name in ("n0", "n2", "n3")]
    assert (restart.table.columns.last_s[newest] - OLD.start_s).tolist() == [125, 140, 77]
    restart.table.validate()
