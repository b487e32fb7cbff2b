import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_backend.metricstore.blocks.grid import Grid, group_positions
from cc_backend.metricstore.blocks.hot_block import CHUNK_ROWS, WINDOW_SLOTS, summarise


def rows_of(*rows: int) -> np.ndarray:
    return np.array(rows, np.int64)


def values_of(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def filled(rows: int, owner: int = 0) -> Grid:
    grid = Grid(60)
    for _ in range(rows):
        grid.allocate(owner)
    return grid


def test_the_slot_is_the_time_divided_by_the_timestep_rounded_down() -> None:
    grid = Grid(60)
    assert [grid.slots_of(time_s) for time_s in (0, 59, 60, 1_790_000_040)] == [0, 0, 1, 29_833_334]


def test_the_rows_of_one_owner_lie_together() -> None:
    grid = Grid(60)
    rows: dict[int, list[int]] = {1: [], 2: []}
    for _ in range(100):
        for owner in (1, 2):
            rows[owner].append(grid.allocate(owner))
    assert sorted(rows[1][:8]) == list(range(8))
    extents = np.count_nonzero(np.diff(rows[1]) != 1) + 1
    assert extents <= 14
    assert grid.rows <= 200 * 9 / 8 + 16


def test_released_rows_are_blank_and_handed_out_again() -> None:
    grid = filled(8, owner=1)
    grid.scatter(np.arange(8), 5, np.ones(8, np.float32))
    grid.release(1, np.arange(8))
    grid.validate()
    assert grid.allocate(2) == 0
    assert np.isnan(grid.read(rows_of(0), 5, 1)).all()
    assert grid.rows == 8


def test_a_read_gives_the_full_range_with_nan_where_nothing_is() -> None:
    grid = filled(2)
    grid.scatter(rows_of(0, 1), 10, values_of(1, 2))
    grid.scatter(rows_of(1), 12, values_of(3))
    nan = np.nan
    expected = [[nan, 1, nan, nan, nan], [nan, 2, nan, 3, nan]]
    np.testing.assert_array_equal(grid.read(rows_of(0, 1), 9, 5), np.array(expected, np.float32))


def test_rows_are_read_in_the_order_asked_for_even_twice() -> None:
    grid = filled(3)
    grid.scatter(rows_of(0, 1, 2), 0, values_of(10, 11, 12))
    assert grid.read(rows_of(2, 0, 2), 0, 1)[:, 0].tolist() == [12, 10, 12]


def test_of_several_samples_for_one_slot_the_last_one_counts() -> None:
    grid = filled(1)
    grid.scatter(rows_of(0, 0), np.array([7, 7]), values_of(1, 2))
    assert grid.read(rows_of(0), 7, 1)[0, 0] == 2


def test_blocks_are_only_as_high_as_needed_and_grow() -> None:
    grid = filled(10)
    grid.scatter(rows_of(0), 0, values_of(1))
    assert grid.windows.sample_bytes == 64 * WINDOW_SLOTS * 4
    rows = [grid.allocate(9) for _ in range(200)]
    assert np.isnan(grid.read(np.array([0, rows[-1]]), 0, 1)[1, 0])
    grid.scatter(np.array(rows), 1, np.arange(200, dtype=np.float32))
    assert grid.read(np.array([0, rows[-1]]), 0, 2).ravel()[[0, 3]].tolist() == [1, 199]
    grid.validate()


def test_many_series_over_many_windows_come_back_as_written() -> None:
    grid = filled(2 * CHUNK_ROWS + 100)
    random = np.random.default_rng(1)
    rows = random.permutation(2 * CHUNK_ROWS + 100)
    matrix = random.random((len(rows), 150), np.float32)
    for slot in range(150):
        grid.scatter(rows, 1000 + slot, matrix[:, slot])
    np.testing.assert_array_equal(grid.read(rows, 1000, 150), matrix)
    everything = np.repeat(rows, 150), np.tile(np.arange(1000, 1150), len(rows))
    again = filled(2 * CHUNK_ROWS + 100)
    again.scatter(everything[0], everything[1], matrix.ravel())
    np.testing.assert_array_equal(again.read(rows, 1000, 150), matrix)


def test_an_enormous_range_of_statistics_costs_nothing() -> None:
    grid = filled(1)
    grid.scatter(rows_of(0), 100, values_of(5))
    assert grid.start_summary(rows_of(0), 0, 2**60).complete().samples.tolist() == [1]


samples = st.lists(
    st.tuples(st.integers(0, 1500), st.integers(-70, 200), st.floats(-100, 100, width=32)), min_size=1, max_size=60
)


@settings(max_examples=60, deadline=None)
@given(samples, st.integers(-80, 210), st.integers(0, 200))
def test_reads_and_summaries_agree_with_a_plain_table(
    written: list[tuple[int, int, float]], first: int, count: int
) -> None:
    grid = filled(1501)
    plain = np.full((1501, 300), np.nan, np.float32)
    grid.scatter(*(np.array(column) for column in zip(*written, strict=True)))
    for row, slot, value in written:
        plain[row, slot + 80] = value
    rows = np.array([*sorted({row for row, _, _ in written}), 1500])
    wanted = np.full((len(rows), count), np.nan, np.float32)
    end = min(first + count, 220)
    wanted[:, : max(end - first, 0)] = plain[rows, first + 80 : max(end, first) + 80]
    np.testing.assert_array_equal(grid.read(rows, first, count), wanted)
    summary, right = grid.start_summary(rows, first, count).complete(), summarise(wanted)
    np.testing.assert_array_equal(summary.min, right.min)
    np.testing.assert_array_equal(summary.max, right.max)
    np.testing.assert_allclose(summary.sum, right.sum)
    np.testing.assert_array_equal(summary.samples, right.samples)
    grid.validate()


def test_a_summary_follows_late_samples() -> None:
    grid = filled(1)
    for slot in range(WINDOW_SLOTS):
        grid.scatter(rows_of(0), slot, values_of(slot))
    assert grid.start_summary(rows_of(0), 0, WINDOW_SLOTS).complete().max[0] == WINDOW_SLOTS - 1
    grid.scatter(rows_of(0), 3, values_of(500))
    assert grid.start_summary(rows_of(0), 0, WINDOW_SLOTS).complete().max[0] == 500
    grid.validate()


WINDOW_S = WINDOW_SLOTS * 60


def test_free_drops_windows_that_end_before_and_no_others() -> None:
    grid = filled(1)
    for window in range(3):
        grid.scatter(rows_of(0), window * WINDOW_SLOTS, values_of(window))
    assert grid.windows.free(2 * WINDOW_S - 1, rows_of(), rows_of()) == 64 * WINDOW_SLOTS * 4
    there = grid.read(rows_of(0), 0, 3 * WINDOW_SLOTS)[0]
    assert there[~np.isnan(there)].tolist() == [1, 2]
    grid.validate()


def test_free_keeps_blocks_of_protected_rows_from_their_time_on() -> None:
    grid = filled(2 * CHUNK_ROWS)
    for window in range(4):
        grid.scatter(rows_of(0, CHUNK_ROWS), window * WINDOW_SLOTS, values_of(1, 1))
    grid.windows.free(3 * WINDOW_S, rows_of(CHUNK_ROWS), rows_of(WINDOW_S + 5))
    left = ~np.isnan(grid.read(rows_of(0, CHUNK_ROWS), 0, 4 * WINDOW_SLOTS))
    assert (np.flatnonzero(left[0]) // WINDOW_SLOTS).tolist() == [3]
    assert (np.flatnonzero(left[1]) // WINDOW_SLOTS).tolist() == [1, 2, 3]
    grid.validate()


@pytest.mark.parametrize("keys", [[3], [3, 3, 3], [1, 1, 2, 5], [5, 1, 5, 2], [2, 1, 2]])
def test_groups_name_each_key_once_with_its_places_in_order(keys: list[int]) -> None:
    array = np.array(keys)
    found = {key: np.arange(len(keys))[where].tolist() for key, where in group_positions(array)}
    assert found == {key: np.flatnonzero(array == key).tolist() for key in sorted(set(keys))}
