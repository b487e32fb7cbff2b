"""A grid whose blocks are hot, cold, on disk, saved and taken over; `test_grid.py` has rows, slots and reading."""

import errno
import threading
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cc_backend.metricstore.blocks.codec import choose_codec
from cc_backend.metricstore.blocks.cold_block import ColdBlock, compress
from cc_backend.metricstore.blocks.file_slice import FileSlice, SliceFile, UnreadableError
from cc_backend.metricstore.blocks.grid import Grid
from cc_backend.metricstore.blocks.hot_block import CHUNK_ROWS, WINDOW_SLOTS
from cc_backend.metricstore.blocks.matrix import summarise
from cc_backend.metricstore.model import Int64Array

LOCK = threading.RLock()
SLOTS = 3 * WINDOW_SLOTS
NONE = np.empty(0, np.int64)
random = np.random.default_rng(2)


def filled(rows: int = 100, slots: int = SLOTS, *, native: bool | None = None) -> tuple[Grid, np.ndarray]:
    grid = Grid(60, choose_codec(native=native))
    numbers = grid.allocate_many(0, rows)
    matrix = random.normal(100, 10, (rows, slots)).astype(np.float32)
    for slot in range(slots):
        grid.scatter(numbers, slot, matrix[:, slot])
    return grid, matrix


def everything(grid: Grid, rows: int = 100) -> np.ndarray:
    return grid.read(np.arange(rows), 0, SLOTS)


def save(grid: Grid, folder: Path, window: int) -> None:
    """Write a window as a snapshot does: all payloads in one file, which takes the place of the one before."""
    contents = {chunk: grid.windows.block_content(window, chunk) for chunk in grid.windows.chunks(window)}
    payloads: dict[int, bytes] = {}
    for chunk, content in contents.items():
        assert content is not None
        if content.samples is not None:
            payloads[chunk] = compress(content.samples)
        elif isinstance(content.payload, FileSlice):
            payloads[chunk] = content.payload.try_read() or b""
        else:
            payloads[chunk] = content.payload or b""
    path = folder / f"{window}"
    path.with_suffix(".tmp").write_bytes(b"".join(payloads.values()))
    path.with_suffix(".tmp").replace(path)
    file, offset = SliceFile(path), 0
    for chunk, payload in payloads.items():
        content = contents[chunk]
        assert content is not None
        grid.windows.mark_saved(window, chunk, content.version, FileSlice(file, offset, len(payload)))
        offset += len(payload)


# Freezing


@pytest.mark.parametrize("native", [False, True])
def test_frozen_windows_read_as_before_and_take_less(*, native: bool) -> None:
    try:
        grid, matrix = filled(native=native)
    except RuntimeError as error:
        pytest.skip(str(error))
    before_bytes = grid.windows.sample_bytes
    saved = grid.windows.compress(2 * WINDOW_SLOTS + 5, LOCK)
    assert saved == before_bytes - grid.windows.sample_bytes
    assert [(state.hot_bytes > 0, state.cold_bytes > 0) for state in grid.windows.window_states()] == [
        (False, True), (False, True), (True, False),
    ]  # fmt: skip
    np.testing.assert_array_equal(everything(grid), matrix)
    found, right = grid.start_summary(np.arange(100), 20, 300).complete(), summarise(matrix[:, 20:320])
    for one, other in zip(found, right, strict=True):
        np.testing.assert_allclose(one, other)
    grid.validate()


@pytest.mark.parametrize(
    ("before_slot", "frozen"), [(0, 0), (WINDOW_SLOTS - 1, 0), (WINDOW_SLOTS, 1), (10 * WINDOW_SLOTS, 3)]
)
def test_only_windows_that_have_ended_freeze(before_slot: int, frozen: int) -> None:
    grid, _ = filled()
    grid.windows.compress(before_slot, LOCK)
    assert sum(state.hot_bytes == 0 for state in grid.windows.window_states()) == frozen


def test_what_is_frozen_stays_when_frozen_again() -> None:
    grid, matrix = filled()
    grid.windows.compress(SLOTS, LOCK)
    assert grid.windows.compress(SLOTS, LOCK) == 0
    np.testing.assert_array_equal(everything(grid), matrix)


def test_rounding_is_within_its_bound() -> None:
    grid, matrix = filled()
    grid.windows.compress(SLOTS, LOCK, mantissa_bits=10)
    assert (np.abs(everything(grid) - matrix) <= np.abs(matrix) * 2.0**-11).all()
    assert not np.array_equal(everything(grid), matrix)


def test_a_late_sample_thaws_its_block_only() -> None:
    grid, matrix = filled(2 * CHUNK_ROWS)
    grid.windows.compress(SLOTS, LOCK)
    grid.scatter(np.array([CHUNK_ROWS + 3]), 5, np.array([-1], np.float32))
    matrix[CHUNK_ROWS + 3, 5] = -1
    np.testing.assert_array_equal(everything(grid, 2 * CHUNK_ROWS), matrix)
    assert [state.hot_bytes for state in grid.windows.window_states()] == [CHUNK_ROWS * WINDOW_SLOTS * 4, 0, 0]
    grid.validate()
    grid.windows.compress(SLOTS, LOCK)
    np.testing.assert_array_equal(everything(grid, 2 * CHUNK_ROWS), matrix)
    assert [state.hot_bytes for state in grid.windows.window_states()] == [0, 0, 0]


def test_a_new_series_finds_room_in_a_cold_block() -> None:
    grid, matrix = filled(60)
    grid.windows.compress(SLOTS, LOCK)
    new = grid.allocate_many(1, 500)
    assert np.isnan(grid.read(new, 0, SLOTS)).all()
    grid.scatter(new[-1:], 3, np.array([7], np.float32))
    assert grid.read(new[-1:], 3, 1)[0, 0] == 7
    np.testing.assert_array_equal(everything(grid, 60), matrix)
    grid.validate()


class Meanwhile:
    """A lock that does something the moment it is given up for the n-th time: what another thread might do."""

    def __init__(self, number: int, action: Any) -> None:
        self.left, self.action = number, action

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.left -= 1
        if self.left == 0:
            self.action()


@pytest.mark.parametrize("action", ["write", "grow", "only grow", "release", "free", "adopt"])
def test_what_happens_while_a_block_is_compressed_is_not_lost(action: str) -> None:
    grid, matrix = filled(40, WINDOW_SLOTS)

    def meanwhile() -> None:
        if action == "write":
            grid.scatter(np.array([2]), 5, np.array([-5], np.float32))
            matrix[2, 5] = -5
        elif action == "grow":
            new = grid.allocate_many(1, 100)
            grid.scatter(new[-1:], 5, np.array([-5], np.float32))
        elif action == "only grow":
            grid.allocate_many(1, 100)
            grid.fill_empty(np.array([2]), 5, np.array([-5], np.float32))
        elif action == "release":
            grid.release(0, np.arange(10))
            matrix[:10] = np.nan
        else:
            grid.windows.free(WINDOW_SLOTS * 60, NONE, NONE)
            matrix[:] = np.nan
            if action == "adopt":
                assert grid.windows.adopt(0, 0, ColdBlock(compress(np.full((64, WINDOW_SLOTS), 3, np.float32))))
                matrix[:] = 3

    grid.windows.compress(WINDOW_SLOTS, Meanwhile(2, meanwhile))
    np.testing.assert_array_equal(grid.read(np.arange(40), 0, WINDOW_SLOTS), matrix)
    grid.validate()
    assert (
        grid.windows.window_states()[0].hot_bytes
        if action in {"write", "grow", "only grow", "release"}
        else not grid.windows.sample_bytes // 30_000
    )


def test_readers_and_writers_run_beside_freezing() -> None:
    grid, matrix = filled(300, SLOTS)
    lock, stop, faults = threading.RLock(), threading.Event(), []
    late = np.arange(0, 300, 7)

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            with lock:
                grid.scatter(late, 10, np.full(len(late), number, np.float32))
                if not (grid.read(late, 10, 1) == number).all():
                    faults.append(number)

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(30):
            grid.windows.compress(SLOTS, lock)
    finally:
        stop.set()
        thread.join()
    assert not faults
    matrix[late, 10] = grid.read(late, 10, 1)[:, 0]
    np.testing.assert_array_equal(everything(grid, 300), matrix)
    grid.validate()


# Rows


def test_released_rows_are_blank_in_cold_blocks_too_and_cost_no_thaw_where_nothing_was() -> None:
    grid, matrix = filled(100)
    new = grid.allocate_many(1, 8)
    grid.scatter(new, 2 * WINDOW_SLOTS, np.ones(8, np.float32))
    grid.windows.compress(SLOTS, LOCK)
    for window in grid.windows.numbers():
        for chunk in grid.windows.chunks(window):
            grid.windows.mark_saved(window, chunk, grid.windows.block_content(window, chunk).version)  # type: ignore[union-attr]
    grid.release(1, new)
    assert np.isnan(grid.read(new, 0, SLOTS)).all()
    assert [grid.windows.unsaved_chunks(window) for window in grid.windows.numbers()] == [[], [], [0]]
    assert [state.hot_bytes > 0 for state in grid.windows.window_states()] == [False, False, True]
    np.testing.assert_array_equal(everything(grid), matrix)
    grid.validate()


# Saving


def test_what_changed_since_it_was_saved_is_unsaved() -> None:
    grid, _ = filled(2 * CHUNK_ROWS)
    assert [grid.windows.unsaved_chunks(window) for window in grid.windows.numbers()] == [[0, 1]] * 3
    content = grid.windows.block_content(1, 0)
    assert content is not None
    grid.scatter(np.array([5]), WINDOW_SLOTS + 1, np.array([1], np.float32))
    grid.windows.mark_saved(1, 0, content.version)
    assert grid.windows.unsaved_chunks(1) == [0, 1]
    content = grid.windows.block_content(1, 0)
    assert content is not None
    grid.windows.mark_saved(1, 0, content.version)
    assert grid.windows.unsaved_chunks(1) == [1]
    grid.windows.compress(SLOTS, LOCK)
    assert grid.windows.unsaved_chunks(1) == [1]


def test_the_content_of_a_hot_block_is_a_copy() -> None:
    grid, matrix = filled()
    content = grid.windows.block_content(0, 0)
    assert content is not None
    assert content.samples is not None
    grid.scatter(np.array([0]), 0, np.array([-1], np.float32))
    np.testing.assert_array_equal(content.samples[:100], matrix[:, :WINDOW_SLOTS])
    assert grid.windows.block_content(0, 1) is None
    assert grid.windows.block_content(9, 0) is None


def test_the_content_of_a_cold_block_is_what_a_new_one_is_made_of() -> None:
    grid, matrix = filled()
    grid.windows.compress(SLOTS, LOCK)
    other = Grid(60)
    rows = np.arange(100)
    assert other.claim_many(rows, np.zeros(100, np.int64)).all()
    for window in grid.windows.numbers():
        content = grid.windows.block_content(window, 0)
        assert content is not None
        assert isinstance(content.payload, bytes)
        assert other.windows.adopt(window, 0, ColdBlock(content.payload))
        assert not other.windows.adopt(window, 0, ColdBlock(content.payload))
    np.testing.assert_array_equal(everything(other), matrix)
    assert [other.windows.unsaved_chunks(window) for window in other.windows.numbers()] == [[], [], []]
    other.validate()


def test_samples_from_disk_fill_only_what_is_empty() -> None:
    grid = Grid(60)
    rows = grid.allocate_many(0, 4)
    grid.scatter(rows[:2], 1, np.array([1, 2], np.float32))
    given = np.full((3, WINDOW_SLOTS), np.nan, np.float32)
    given[:, 1:3] = [[10, 11], [12, np.nan], [14, 15]]
    assert grid.fill_from_matrix(0, np.array([1, 3, 0]), given) == 3
    expected = [[np.nan, 1, 15], [np.nan, 2, 11], [np.nan] * 3, [np.nan, 12, np.nan]]
    np.testing.assert_array_equal(grid.read(rows, 0, 3), np.array(expected, np.float32))
    assert grid.fill_empty(np.array([3, 3, 0]), np.array([0, 0, 1]), np.array([5, 6, 7], np.float32)) == 2
    assert grid.read(rows, 0, 2)[[3, 0], [0, 1]].tolist() == [6, 1]
    assert grid.fill_empty(np.array([2, 3]), 1, np.array([5, 6], np.float32)) == 1
    assert grid.read(rows, 1, 1)[[2, 3], 0].tolist() == [5, 12]
    version = grid.windows.block_content(0, 0).version  # type: ignore[union-attr]
    assert grid.fill_from_matrix(0, np.array([1, 3, 0]), given) == 0
    assert grid.windows.block_content(0, 0).version == version  # type: ignore[union-attr]
    assert grid.fill_from_matrix(7, np.empty(0, np.int64), given[:0]) == 0
    assert grid.windows.numbers() == [0]


# On disk only


def test_saved_windows_are_read_from_disk(tmp_path: Path) -> None:
    grid, matrix = filled(2 * CHUNK_ROWS)
    grid.windows.compress(SLOTS, LOCK)
    for window in (0, 1):
        save(grid, tmp_path, window)
    assert grid.windows.evict(2) == 0
    cold_bytes = grid.windows.window_states()[0].cold_bytes
    assert grid.windows.evict(0) == cold_bytes
    grid.validate()
    assert [state.cold_bytes > 0 for state in grid.windows.window_states()] == [False, True, True]
    np.testing.assert_array_equal(everything(grid, 2 * CHUNK_ROWS), matrix)
    old = grid.windows.block_content(0, 0)
    save(grid, tmp_path, 0)  # a newer file takes the place of the old one
    new = grid.windows.block_content(0, 0)
    assert old is not None
    assert new is not None
    assert isinstance(old.payload, FileSlice)
    assert isinstance(new.payload, FileSlice)
    assert new.payload.file is not old.payload.file
    np.testing.assert_array_equal(everything(grid, 2 * CHUNK_ROWS), matrix)
    grid.scatter(np.array([3]), 5, np.array([-1], np.float32))
    matrix[3, 5] = -1
    np.testing.assert_array_equal(everything(grid, 2 * CHUNK_ROWS), matrix)
    assert grid.windows.unsaved_chunks(0) == [0]
    assert grid.windows.window_states()[0].hot_bytes == CHUNK_ROWS * WINDOW_SLOTS * 4
    grid.validate()


def test_freeing_takes_hot_cold_and_what_is_on_disk(tmp_path: Path) -> None:
    grid, matrix = filled(2 * CHUNK_ROWS)
    grid.windows.compress(2 * WINDOW_SLOTS, LOCK)
    save(grid, tmp_path, 0)
    grid.windows.evict(0)
    held = grid.windows.sample_bytes
    kept = np.array([CHUNK_ROWS])
    assert grid.windows.free(2 * WINDOW_SLOTS * 60, kept, np.array([0])) == held - grid.windows.sample_bytes
    assert [grid.windows.chunks(window) for window in grid.windows.numbers()] == [[1], [1], [0, 1]]
    np.testing.assert_array_equal(everything(grid, 2 * CHUNK_ROWS)[CHUNK_ROWS:], matrix[CHUNK_ROWS:])
    grid.windows.free(SLOTS * 60, NONE, NONE)
    assert grid.windows.sample_bytes == 0
    grid.validate()


# All together


# What the disk does not give


class Disk:
    """Gives nothing, or something else than was written, as long as it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails = True
        self.damages = False
        read = SliceFile.read

        def answer(file: SliceFile, offset: int, length: int) -> bytes:
            if self.fails:
                raise OSError(errno.EIO, "Input/output error")
            return bytes(length) if self.damages else read(file, offset, length)

        monkeypatch.setattr(SliceFile, "read", answer)


@pytest.fixture
def on_disk(tmp_path: Path) -> tuple[Grid, np.ndarray]:
    """A grid whose first window is on disk only."""
    grid, matrix = filled()
    grid.windows.compress(SLOTS, LOCK)
    save(grid, tmp_path, 0)
    assert grid.windows.evict(0) > 0
    return grid, matrix


@pytest.fixture
def disk(on_disk: tuple[Grid, np.ndarray], monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def write_late(grid: Grid, matrix: np.ndarray) -> None:
    grid.scatter(np.array([3]), 5, np.array([-1], np.float32))
    matrix[3, 5] = -1


def test_what_the_disk_did_not_give_comes_back_beneath_a_late_sample(
    on_disk: tuple[Grid, np.ndarray], disk: Disk
) -> None:
    grid, matrix = on_disk
    write_late(grid, matrix)
    np.testing.assert_array_equal(grid.read(np.array([3]), 4, 3), [[np.nan, -1, np.nan]])
    with pytest.raises(UnreadableError):
        grid.windows.merge_pending(0, 0, LOCK)
    disk.fails = False
    grid.windows.merge_pending(0, 0, LOCK)
    np.testing.assert_array_equal(everything(grid), matrix)
    assert grid.windows.unsaved_chunks(0) == [0]
    grid.validate()


def test_a_block_is_not_compressed_while_the_disk_has_something_of_it(
    on_disk: tuple[Grid, np.ndarray], disk: Disk
) -> None:
    grid, matrix = on_disk
    write_late(grid, matrix)
    assert grid.windows.compress(SLOTS, LOCK) == 0
    disk.fails = False
    assert grid.windows.compress(SLOTS, LOCK) == 0  # now it is whole
    np.testing.assert_array_equal(everything(grid), matrix)
    assert grid.windows.compress(SLOTS, LOCK) > 0
    np.testing.assert_array_equal(everything(grid), matrix)
    grid.validate()


def test_series_that_are_forgotten_do_not_come_back_with_what_the_disk_has(
    on_disk: tuple[Grid, np.ndarray], disk: Disk
) -> None:
    grid, matrix = on_disk
    grid.release(0, np.array([7, 8]))
    assert grid.windows.unsaved_chunks(0) == [0]
    write_late(grid, matrix)
    grid.release(0, np.array([11]))
    disk.fails = False
    grid.windows.merge_pending(0, 0, LOCK)
    matrix[[7, 8, 11]] = np.nan
    np.testing.assert_array_equal(everything(grid), matrix)


def test_a_block_that_grew_meanwhile_is_completed_where_it_was(on_disk: tuple[Grid, np.ndarray], disk: Disk) -> None:
    grid, matrix = on_disk
    write_late(grid, matrix)
    new = grid.allocate_many(1, 500)
    grid.scatter(new[-1:], 3, np.array([7], np.float32))
    disk.fails = False
    grid.windows.merge_pending(0, 0, LOCK)
    np.testing.assert_array_equal(everything(grid), matrix)
    assert grid.read(new[-1:], 3, 1)[0, 0] == 7


@pytest.mark.parametrize("given_up", [True, False])
def test_what_is_damaged_or_given_up_is_told_and_the_rest_stays(
    on_disk: tuple[Grid, np.ndarray], disk: Disk, caplog: pytest.LogCaptureFixture, *, given_up: bool
) -> None:
    grid, matrix = on_disk
    write_late(grid, matrix)
    disk.fails, disk.damages = given_up, not given_up
    grid.windows.merge_pending(0, 0, LOCK, give_up=given_up)
    assert "samples that only it has are lost" in caplog.text
    disk.fails = disk.damages = False
    grid.windows.merge_pending(0, 0, LOCK)
    assert np.count_nonzero(~np.isnan(grid.read(np.arange(100), 0, WINDOW_SLOTS))) == 1
    np.testing.assert_array_equal(everything(grid)[:, WINDOW_SLOTS:], matrix[:, WINDOW_SLOTS:])


def test_what_is_written_while_the_disk_is_asked_counts(on_disk: tuple[Grid, np.ndarray], disk: Disk) -> None:
    grid, matrix = on_disk
    write_late(grid, matrix)
    disk.fails = False

    def meanwhile() -> None:
        grid.scatter(np.array([4]), 6, np.array([-2], np.float32))
        grid.release(0, np.array([9]))

    grid.windows.merge_pending(0, 0, Meanwhile(1, meanwhile))
    matrix[4, 6] = -2
    matrix[9] = np.nan
    np.testing.assert_array_equal(everything(grid), matrix)


class Life(RuleBasedStateMachine):
    """Whatever happens to blocks, samples are those of a plain table."""

    def __init__(self) -> None:
        super().__init__()
        self.grid = Grid(60)
        self.rows: Int64Array = self.grid.allocate_many(0, 70)
        self.plain = np.full((70, SLOTS), np.nan, np.float32)
        self.payloads: dict[int, bytes] = {}

    @rule(samples=st.lists(st.tuples(st.integers(0, 69), st.integers(0, SLOTS - 1), st.integers(-9, 9)), min_size=1))
    def write(self, samples: list[tuple[int, int, int]]) -> None:
        rows, slots, values = (np.array(column) for column in zip(*samples, strict=True))
        self.grid.scatter(rows, slots, (values / 3).astype(np.float32))
        for row, slot, value in samples:
            self.plain[row, slot] = value / 3

    @rule(samples=st.lists(st.tuples(st.integers(0, 69), st.integers(0, SLOTS - 1), st.integers(-9, 9)), min_size=1))
    def fill(self, samples: list[tuple[int, int, int]]) -> None:
        samples = list({(row, slot): (row, slot, value) for row, slot, value in samples}.values())
        rows, slots, values = (np.array(column) for column in zip(*samples, strict=True))
        self.grid.fill_empty(rows, slots, (values / 3).astype(np.float32))
        for row, slot, value in samples:
            if np.isnan(self.plain[row, slot]):
                self.plain[row, slot] = value / 3

    @rule(windows=st.integers(0, 3))
    def freeze(self, windows: int) -> None:
        self.grid.windows.compress(windows * WINDOW_SLOTS, LOCK)

    @rule(first=st.integers(0, 60), count=st.integers(1, 9))
    def release(self, first: int, count: int) -> None:
        rows = np.arange(first, first + count)
        self.grid.release(0, rows)
        self.plain[rows] = np.nan
        self.grid.claim_many(rows, np.zeros(count, np.int64))

    @rule(window=st.integers(0, 2))
    def free(self, window: int) -> None:
        self.grid.windows.free(self.grid.windows.end_s(window), NONE, NONE)
        self.plain[:, : (window + 1) * WINDOW_SLOTS] = np.nan

    @invariant()
    def samples_agree(self) -> None:
        np.testing.assert_array_equal(self.grid.read(self.rows, 0, SLOTS), self.plain)
        self.grid.validate()


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
