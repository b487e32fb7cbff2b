from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.metricstore.query import lttb
from cc_backend.metricstore.query.lttb import bucket_edges, pick_samples, pick_samples_native, pick_samples_numpy

NEEDS_NATIVE = pytest.mark.skipif(not lttb.NATIVE, reason="the C part was not built")


@NEEDS_NATIVE
@given(st.data())
def test_both_parts_pick_the_same_samples(data: st.DataObject) -> None:
    length = data.draw(st.integers(6, 80))
    edges = bucket_edges(length, data.draw(st.integers(3, length // 2)))
    sample = st.one_of(st.floats(width=32), st.integers(-3, 3), st.just(float("nan")))
    row = st.lists(sample, min_size=length, max_size=length)
    rows = np.array(data.draw(st.lists(row, min_size=1, max_size=3)), np.float32)
    assert pick_samples_native(rows, edges).tobytes() == pick_samples_numpy(rows, edges).tobytes()


@NEEDS_NATIVE
@pytest.mark.parametrize("gaps", [0.0, 0.2, 0.95])
def test_both_parts_pick_the_same_samples_of_long_rows(gaps: float) -> None:
    random = np.random.default_rng(1)
    rows = random.lognormal(4, 2, (20, 5000)).astype(np.float32)
    rows[random.random(rows.shape) < gaps] = np.nan
    for number in (3, 700, 2499):
        edges = bucket_edges(5000, number)
        np.testing.assert_array_equal(pick_samples_native(rows, edges), pick_samples_numpy(rows, edges))


def test_every_layout_of_rows_is_taken() -> None:
    rows = np.arange(48, dtype=np.float32).reshape(4, 12) % 7
    edges = bucket_edges(12, 5)
    expected = pick_samples(rows, edges)
    for same in (rows.copy(order="F"), np.repeat(rows, 2, axis=1)[:, ::2], rows.astype(np.float64)):
        np.testing.assert_array_equal(pick_samples(same, edges), expected)
    assert pick_samples(rows[:0], edges).shape == (0, 5)


def test_without_the_c_part_numpy_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lttb, "NATIVE", False)
    monkeypatch.setattr(lttb, "_resample", None)
    assert pick_samples(np.arange(12, dtype=np.float32)[None], bucket_edges(12, 5)).shape == (1, 5)


@NEEDS_NATIVE
class TestWhatTheNativePartRefuses:
    """The wrapper never hands it such arrays; it must not read or write beyond them all the same."""

    @pytest.mark.parametrize(
        ("rows", "edges", "written"),
        [
            (1, [1, 5], 2),  # fewer than three
            (1, [1, 5, 12], 3),  # beyond the samples
            (1, [1, -1, 5], 3),
            (1, [1, 6, 5], 3),
            (1, [1, 5, 9], 4),
            (2, [1, 2, 3], 3),
            (5, [1, 2, 3], 15),  # twelve samples are no five rows
            (0, [1, 2, 3], 0),
            (-1, [1, 2, 3], 3),
            (1, [1] * 13, 13),  # more than there are samples
        ],
    )
    def test_what_does_not_fit(self, rows: int, edges: list[int], written: int) -> None:
        part: Any = lttb._resample
        with pytest.raises(IndexError, match="do not fit"):
            part.lttb(np.zeros(12, np.float32), rows, np.array(edges, np.int64), np.zeros(written, np.float32))

    def test_other_types_and_places(self) -> None:
        part: Any = lttb._resample
        samples, edges, out = np.zeros(12, np.float32), np.array([1, 5, 9], np.int64), np.zeros(3, np.float32)
        for wrong in (samples.astype(np.float64), np.frombuffer(bytes(49), np.uint8)[1:].view(np.float32)):
            with pytest.raises(ValueError, match="an array"):
                part.lttb(wrong, 1, edges, out)
        with pytest.raises(ValueError, match="an array"):
            part.lttb(samples, 1, edges.astype(np.int32), out)
        with pytest.raises((BufferError, ValueError)):
            part.lttb(samples, 1, edges, np.frombuffer(bytes(12), np.float32))
