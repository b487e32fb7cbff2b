import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.metricstore.blocks.scatter import chunks_of, scatter, update_newest_times
from cc_backend.metricstore.ingest.native_reader import HAS_NATIVE

SHIFT = 3
FIRST = 2
COLUMNS = 4

pytestmark = pytest.mark.parametrize(
    "native",
    [False, pytest.param(True, marks=pytest.mark.skipif(not HAS_NATIVE, reason="the C kernel was not built"))],
    ids=["numpy", "c"],
)


def blank(rows: int = 8) -> np.ndarray:
    return np.full((rows, COLUMNS), np.nan, np.float32)


def ids(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def test_samples_go_to_row_and_column_of_their_block(native: bool) -> None:  # noqa: FBT001 a parameter
    blocks = [blank(), None, blank(2)]
    scatter(
        blocks, ids(16, 33, 23), ids(0, 3, 1), np.array([1, 2, 3], np.float32),
        first_chunk=FIRST, shift=SHIFT, native=native,
    )  # fmt: skip
    assert blocks[0] is not None
    assert blocks[2] is not None
    assert (blocks[0][0, 0], blocks[2][1, 3], blocks[0][7, 1]) == (1, 2, 3)
    assert sum(int(np.count_nonzero(~np.isnan(block))) for block in blocks if block is not None) == 3


samples = st.lists(st.tuples(st.integers(0, 23), st.integers(0, COLUMNS - 1), st.integers(0, 9)), min_size=1)


@given(given=samples, one_column=st.booleans())
def test_of_several_samples_for_a_place_the_last_one_counts(
    given: list[tuple[int, int, int]],
    one_column: bool,  # noqa: FBT001 a parameter
    native: bool,  # noqa: FBT001 a parameter
) -> None:
    rows, columns, values = (np.array(column, np.int64) for column in zip(*given, strict=True))
    blocks = [blank() for _ in range(3)]
    where = int(columns[0]) if one_column else columns
    scatter(blocks, rows, where, values.astype(np.float32), first_chunk=0, shift=SHIFT, native=native)
    expected = np.full((24, COLUMNS), np.nan, np.float32)
    for row, column, value in given:
        expected[row, where if isinstance(where, int) else column] = value
    assert np.array_equal(np.concatenate(blocks), expected, equal_nan=True)


@pytest.mark.parametrize(
    ("row", "column"),
    [(-1, 0), (15, 0), (40, 0), (24, 0), (34, 0), (16, -1), (16, COLUMNS), (2**62, 0), (16, 2**62)],
)
@pytest.mark.parametrize("one_column", [True, False])
def test_a_place_outside_of_the_blocks_is_refused(
    row: int,
    column: int,
    one_column: bool,  # noqa: FBT001 a parameter
    native: bool,  # noqa: FBT001 a parameter
) -> None:
    blocks = [blank(), None, blank(2)]
    with pytest.raises(IndexError):
        scatter(
            blocks, ids(row), column if one_column else ids(column), np.ones(1, np.float32),
            first_chunk=FIRST, shift=SHIFT, native=native,
        )  # fmt: skip
    assert all(np.isnan(block).all() for block in blocks if block is not None)


def test_chunks_are_told_once_each_in_order(native: bool) -> None:  # noqa: FBT001 a parameter
    assert chunks_of(ids(40, 3, 41, 8, 9), SHIFT, native=native) == [0, 1, 5]
    assert chunks_of(ids(), SHIFT, native=native) == []
    with pytest.raises(IndexError):
        chunks_of(ids(5, -1), SHIFT, native=native)


@pytest.mark.parametrize("one_time", [True, False])
def test_newest_times_only_rise(one_time: bool, native: bool) -> None:  # noqa: FBT001 parameters
    newest, hosts = ids(10, 70, 30), ids(5, 60)
    times = 50 if one_time else ids(20, 50, 40, 50)
    update_newest_times(ids(0, 1, 0, 2), times, newest, np.array([0, 0, 1], np.int32), hosts, native=native)
    assert newest.tolist() == ([50, 70, 50] if one_time else [40, 70, 50])
    assert hosts.tolist() == [50, 60]


@pytest.mark.parametrize("sid", [-1, 3, 2**62])
def test_a_sid_or_host_that_is_not_there_is_refused(sid: int, native: bool) -> None:  # noqa: FBT001 a parameter
    with pytest.raises(IndexError):
        update_newest_times(ids(sid), 5, ids(0, 0, 0), np.zeros(3, np.int32), ids(0), native=native)
    for host in (-1, 1):
        with pytest.raises(IndexError):
            update_newest_times(ids(0), 5, ids(0, 0, 0), np.full(3, host, np.int32), ids(0), native=native)


@pytest.mark.skipif(not HAS_NATIVE, reason="the C kernel was not built")
def test_arrays_of_the_wrong_kind_are_refused(native: bool) -> None:  # noqa: FBT001 a parameter
    if not native:
        pytest.skip("NumPy converts")
    from cc_backend.metricstore import _kernel  # noqa: PLC0415 not there on every machine

    block, row, value = blank(), ids(0), np.ones(1, np.float32)
    for wrong in (
        ([block], row.astype(np.int32), 0, value),
        ([block], row, ids(0, 1), value),
        ([block], row, 0, np.ones(1)),
        ([block], row, 0, np.ones(2, np.float32)),
        ([block.astype(np.float64)], row, 0, value),
        ([block[0]], row, 0, value),
    ):
        blocks, *rest = wrong
        with pytest.raises(ValueError):  # noqa: PT011 any text
            _kernel.scatter(blocks, 0, SHIFT, *rest)
    block.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        _kernel.scatter([block], 0, SHIFT, row, 0, value)
    with pytest.raises((ValueError, BufferError)):
        _kernel.scatter([blank(16)[::2]], 0, SHIFT, row, 0, value)
    with pytest.raises(TypeError):
        _kernel.scatter([b"text"], 0, SHIFT, row, "x", value)
    for first in (-(2**63), -1, 1, 2**63 - 1):
        with pytest.raises(IndexError):
            _kernel.scatter([block.copy()], first, SHIFT, row, 0, value)


@pytest.mark.skipif(not HAS_NATIVE, reason="the C kernel was not built")
def test_arrays_that_begin_between_two_numbers_are_an_error(native: bool) -> None:  # noqa: FBT001 a parameter
    if not native:
        pytest.skip("NumPy copies them")
    from cc_backend.metricstore import _kernel  # noqa: PLC0415 not there on every machine

    def shifted(numbers: np.ndarray) -> np.ndarray:
        memory = memoryview(bytearray(numbers.nbytes + 1))[1:]
        return np.frombuffer(memory, numbers.dtype).reshape(numbers.shape)

    block, row, value = blank(), ids(0), np.ones(1, np.float32)
    with pytest.raises(ValueError, match="does not begin"):
        _kernel.chunks(shifted(row), SHIFT)
    for blocks, rows, columns, values in (
        ([shifted(block)], row, 0, value),
        ([block], shifted(row), 0, value),
        ([block], row, shifted(row), value),
        ([block], row, 0, shifted(value)),
    ):
        with pytest.raises(ValueError, match="does not begin"):
            _kernel.scatter(blocks, 0, SHIFT, rows, columns, values)
    hosts = np.zeros(1, np.int32)
    for arrays in ((shifted(row), row, hosts, row), (row, shifted(row), hosts, row), (row, row, shifted(hosts), row)):
        sids, newest_s, host_of, host_newest_s = arrays
        with pytest.raises(ValueError, match="does not begin"):
            _kernel.newest(sids, 5, newest_s, host_of, host_newest_s)
