import numpy as np
import pytest

from cc_backend.metricstore.blocks.codec import choose_codec
from cc_backend.metricstore.blocks.hot_block import WINDOW_SLOTS, HotBlock
from cc_backend.metricstore.blocks.matrix import MatrixTarget


def filled() -> HotBlock:
    block = HotBlock(64)
    block.store(np.array([1, 1, 2]), np.array([0, 5, 5]), np.array([10, 11, 12], np.float32))
    return block


def test_a_new_block_is_empty_and_needs_no_saving() -> None:
    block = HotBlock(64)
    assert np.isnan(block.samples).all()
    assert (block.rows, block.size_bytes) == (64, 64 * WINDOW_SLOTS * 4)
    assert block.version == block.saved_version


def test_each_change_is_a_new_version() -> None:
    block = filled()
    versions = [block.version]
    block.store(np.array([1]), 7, np.array([1], np.float32))
    versions.append(block.version)
    block.clear_rows(np.array([2]))
    versions.append(block.version)
    block.mark_changed()
    versions.append(block.version)
    assert sorted(set(versions)) == versions
    assert block.saved_version == 0


def test_to_grow_or_to_forget_nothing_is_no_change() -> None:
    block = filled()
    before = block.version
    block.grow(128)
    block.clear_rows(np.array([50, 200]))
    assert block.version == before
    assert (block.rows, block.size_bytes) == (128, 128 * WINDOW_SLOTS * 4)
    assert block.samples[1, 5] == 11
    assert np.count_nonzero(~np.isnan(block.samples)) == 3


def test_samples_fill_only_slots_that_are_empty() -> None:
    block = filled()
    version = block.version
    assert block.fill_empty(np.array([1, 2]), np.array([5, 5]), np.array([1, 2], np.float32)) == 0
    assert block.version == version, "nothing has changed"
    assert block.fill_empty(np.array([3, 3, 2]), np.array([4, 4, 0]), np.array([20, 21, 22], np.float32)) == 3
    assert block.version > version
    version = block.version
    assert block.fill_empty(np.array([1, 1, 2, 1]), np.array([0, 6, 5, 6]), np.array([1, 30, 2, 31], np.float32)) == 2
    assert block.version > version
    expected = {(1, 0): 10, (1, 5): 11, (2, 5): 12, (3, 4): 21, (2, 0): 22, (1, 6): 31}
    assert {(r, c): block.samples[r, c] for r, c in np.argwhere(~np.isnan(block.samples)).tolist()} == expected


@pytest.mark.parametrize("rows", [[1, 2, 3], [3, 1], [7, 0, 2]], ids=["neighbours", "others", "far"])
def test_a_matrix_fills_only_what_is_empty(rows: list[int]) -> None:
    block = filled()
    expected = block.samples.copy()
    given = np.full((len(rows), WINDOW_SLOTS), np.nan, np.float32)
    given[:, 4:7] = [[100 + row, np.nan, 200 + row] for row in rows]
    given[:, 0] = 300
    for row, samples in zip(rows, given, strict=True):
        expected[row] = np.where(np.isnan(expected[row]), samples, expected[row])
    before = block.version, int(np.count_nonzero(np.isnan(block.samples)))
    filled_in = block.fill_from_matrix(np.array(rows), given)
    np.testing.assert_array_equal(block.samples, expected)
    assert filled_in == before[1] - np.count_nonzero(np.isnan(expected))
    assert block.version > before[0]
    version = block.version
    assert block.fill_from_matrix(np.array(rows), given) == 0
    assert block.version == version, "nothing has changed"


def test_blanked_rows_hold_nothing() -> None:
    block = filled()
    block.clear_rows(np.array([1, 900]))
    assert np.flatnonzero(~np.isnan(block.samples).all(axis=1)).tolist() == [2]


@pytest.mark.parametrize("native", [False, True])
def test_some_rows_and_columns_are_read(*, native: bool) -> None:
    try:
        codec = choose_codec(native=native)
    except RuntimeError as error:
        pytest.skip(str(error))
    block = HotBlock(64, codec)
    block.store(np.arange(4), 3, np.array([1, 2, 3, 4], np.float32))
    assert block.read(np.array([3, 1]), slice(3, 4)).tolist() == [[4], [2]]
    out = np.zeros((2, 4), np.float32)
    block.read_into(np.array([2, 0]), slice(3, 4), MatrixTarget(out, np.array([1, 0]), 2))
    assert out.tolist() == [[0, 0, 1, 0], [0, 0, 3, 0]]
    summary = block.summarise(np.array([2, 9]), slice(0, 10))
    assert summary.max[0] == 3
    assert summary.samples.tolist() == [1, 0]
