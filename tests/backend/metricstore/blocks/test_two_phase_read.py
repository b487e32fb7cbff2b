"""Readings in two steps: what happens to blocks between them does not show. `test_grid.py` has plain reads."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from cc_backend.metricstore.blocks.cold_block import ColdBlock, compress
from cc_backend.metricstore.blocks.file_slice import FileSlice, SliceFile
from cc_backend.metricstore.blocks.grid import Grid
from cc_backend.metricstore.blocks.hot_block import CHUNK_ROWS, WINDOW_SLOTS
from cc_backend.metricstore.blocks.matrix import summarise
from cc_backend.metricstore.blocks.two_phase_read import TimeExtent

LOCK = threading.RLock()
WINDOWS = 3
SLOTS = WINDOWS * WINDOW_SLOTS
ROWS = np.array([*range(20), *range(22, 42)])  # of the owners 0 and 1
NONE = np.empty(0, np.int64)


def save(grid: Grid, folder: Path, window: int) -> None:
    """Put the block of a window into a file that takes the place of the one before."""
    content = grid.windows.block_content(window, 0)
    assert content is not None
    payload = content.payload.try_read() if isinstance(content.payload, FileSlice) else content.payload
    if content.samples is not None:
        payload = compress(content.samples)
    assert payload is not None
    path = folder / str(window)
    path.with_suffix(".tmp").write_bytes(payload)
    path.with_suffix(".tmp").replace(path)
    grid.windows.mark_saved(window, 0, content.version, FileSlice(SliceFile(path), 0, len(payload)))


@pytest.fixture
def matrix() -> np.ndarray:
    samples = np.random.default_rng(3).normal(100, 10, (len(ROWS), SLOTS)).astype(np.float32)
    samples[:, 5:20] = np.nan
    samples[30:, 2 * WINDOW_SLOTS :] = np.nan
    return samples


@pytest.fixture
def grid(matrix: np.ndarray, tmp_path: Path) -> Grid:
    """One window on disk only, one compressed, one as it came."""
    grid = Grid(60)
    assert [*grid.allocate_many(0, 20), *grid.allocate_many(1, 20)] == ROWS.tolist()
    for window in range(WINDOWS):
        grid.fill_from_matrix(window, ROWS, matrix[:, window * WINDOW_SLOTS : (window + 1) * WINDOW_SLOTS])
    grid.windows.compress(2 * WINDOW_SLOTS, LOCK)
    for window in range(WINDOWS):
        save(grid, tmp_path, window)
    grid.windows.evict(0)
    return grid


def write(grid: Grid, _: Path) -> None:
    for slot in range(0, SLOTS, 10):
        grid.scatter(ROWS, slot, np.full(len(ROWS), -1, np.float32))


def free(grid: Grid, folder: Path) -> None:
    grid.windows.free(SLOTS * 60, NONE, NONE)
    for path in folder.iterdir():
        path.unlink()


def free_and_adopt(grid: Grid, folder: Path) -> None:
    free(grid, folder)
    for window in range(WINDOWS):
        assert grid.windows.adopt(window, 0, ColdBlock(compress(np.full((64, WINDOW_SLOTS), 3, np.float32))))


def hand_rows_on(grid: Grid, _: Path) -> None:
    grid.release(1, ROWS[20:])
    assert set(grid.allocate_many(7, 20)) <= set(range(20, 50))
    for slot in range(SLOTS):
        grid.scatter(ROWS[20:], slot, np.full(20, -7, np.float32))


def grow(grid: Grid, _: Path) -> None:
    new = grid.allocate_many(2, 3 * CHUNK_ROWS)
    for slot in range(0, SLOTS, 10):
        grid.scatter(new, slot, np.full(len(new), -1, np.float32))


def compress_and_leave(grid: Grid, folder: Path) -> None:
    grid.windows.compress(SLOTS, LOCK)
    for window in range(WINDOWS):
        save(grid, folder, window)
        grid.windows.evict(window)


def write_and_save(grid: Grid, folder: Path) -> None:
    write(grid, folder)
    compress_and_leave(grid, folder)


def move(grid: Grid, folder: Path) -> None:
    for path in [folder / str(window) for window in range(WINDOWS)]:
        (folder / "elsewhere").write_bytes(b"before" + path.read_bytes())
        size_bytes = path.stat().st_size
        path.unlink()
        grid.windows.mark_moved(int(path.name), 0, FileSlice(SliceFile(folder / "elsewhere"), 6, size_bytes))
        (folder / "elsewhere").unlink()


@pytest.mark.parametrize(
    "action", [write, free, free_and_adopt, hand_rows_on, grow, compress_and_leave, write_and_save, move]
)
def test_a_reading_gives_what_was_there_when_it_was_begun(
    action: Callable[[Grid, Path], None], grid: Grid, matrix: np.ndarray, tmp_path: Path
) -> None:
    first, count = 3, SLOTS - 7
    order = np.array([39, *range(10, 35), 0])
    asked = ROWS[order]
    begun = [
        grid.start_read(asked, first, count),
        grid.start_summary(asked, first, count),
        grid.start_presence(asked, first, count),
    ]
    few, reach = grid.start_presence(asked[:2], first, count), grid.start_extent(int(ROWS[30]))
    action(grid, tmp_path)
    samples, summary, presence = (reading.complete() for reading in begun)
    wanted = matrix[order, first : first + count]
    np.testing.assert_array_equal(samples, wanted)
    for one, other in zip(summary, summarise(wanted), strict=True):
        np.testing.assert_allclose(one, other)
    np.testing.assert_array_equal(presence, ~np.isnan(wanted).all(axis=0))
    np.testing.assert_array_equal(few.complete(), ~np.isnan(wanted[:2]).all(axis=0))
    assert reach.complete() == TimeExtent(0, 2 * WINDOW_SLOTS, 2 * WINDOW_SLOTS - 15)
    grid.validate()


def test_only_the_second_step_reads_from_disk(grid: Grid, monkeypatch: pytest.MonkeyPatch) -> None:
    def read(*_: object) -> bytes:
        raise OSError("the disk was asked")

    whole = grid.read(ROWS, 0, SLOTS)
    monkeypatch.setattr(SliceFile, "read", read)
    begun = grid.start_read(ROWS, 0, SLOTS)
    grid.start_summary(ROWS, 0, SLOTS), grid.start_presence(ROWS, 0, SLOTS), grid.start_extent(3)
    monkeypatch.undo()
    np.testing.assert_array_equal(begun.complete(), whole)


def test_one_payload_at_a_time_is_in_memory(grid: Grid, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compress_and_leave(grid, tmp_path)
    held: list[int] = []

    class Payload(bytearray):
        def __del__(self) -> None:
            held.remove(id(self))

    def load(part: FileSlice) -> Payload:
        assert not held
        data = Payload(part.file.read(part.offset, part.length))
        held.append(id(data))
        return data

    monkeypatch.setattr(FileSlice, "try_read", load)
    assert not np.isnan(grid.read(ROWS, 0, SLOTS)).all()
    assert not held


@pytest.mark.parametrize("cold", [False, True])
@pytest.mark.parametrize("rows", [3, CHUNK_ROWS + 3])
def test_a_slot_is_present_where_any_row_of_any_block_has_a_sample(rows: int, *, cold: bool) -> None:
    grid = Grid(60)
    numbers = grid.allocate_many(0, rows)
    for at, slot in ((0, 3), (0, 4), (rows - 1, 4), (rows - 1, 200), (1, 205)):
        grid.scatter(numbers[at : at + 1], slot, np.ones(1, np.float32))
    if cold:
        grid.windows.compress(SLOTS, LOCK)
    assert np.flatnonzero(grid.start_presence(numbers, 0, SLOTS).complete()).tolist() == [3, 4, 200, 205]
    assert np.flatnonzero(grid.start_presence(numbers, 4, 200).complete()).tolist() == [0, 196]
    assert not grid.start_presence(numbers[2:-1], 0, SLOTS).complete().any()


def test_the_reach_of_a_row_is_told_from_its_first_to_its_last_sample(grid: Grid) -> None:
    assert grid.start_extent(0).complete() == TimeExtent(0, SLOTS, SLOTS - 15)
    empty = int(grid.allocate(5))
    assert grid.start_extent(empty).complete() is None
    grid.scatter(np.array([empty]), 10**9, np.ones(1, np.float32))
    grid.scatter(np.array([empty]), 7, np.ones(1, np.float32))
    assert grid.start_extent(empty).complete() == TimeExtent(7, 10**9 + 1, 2)
    assert Grid(60).start_extent(0).complete() is None
