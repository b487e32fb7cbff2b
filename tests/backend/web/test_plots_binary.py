"""The binary form of plots; what serves it is tested with the pages."""

import math
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.web.job_plots import round_to_five_digits
from cc_backend.web.plots_binary import CurveBlock

NAN = float("nan")
INFINITY = float("inf")

Read = Callable[[bytes], dict[str, Any]]


def encoded(*curves: list[float]) -> bytes:
    """A document whose one plot has these curves as lines."""
    block = CurveBlock()
    lines = [{"label": f"n{i}", "y": block.add_curve(np.array(curve, np.float64))} for i, curve in enumerate(curves)]
    return block.encode({"plots": {"mem_bw": {"lines": lines, "bands": []}}})


def lines_of(document: dict[str, Any]) -> list[list[float | None]]:
    return [line["y"] for line in document["plots"]["mem_bw"]["lines"]]


def test_curves_come_back_in_their_places_with_their_gaps(read_plots: Read) -> None:
    document = read_plots(encoded([1.0, NAN, -2.5], [], [NAN], [40960.0]))
    assert lines_of(document) == [[1.0, None, -2.5], [], [None], [40960.0]]
    assert [line["label"] for line in document["plots"]["mem_bw"]["lines"]] == ["n0", "n1", "n2", "n3"]


def test_the_bytes_are_those_that_are_written_down() -> None:
    body = CurveBlock().encode({"plots": {}})
    assert body == b"CCPLOTS\0" + struct.pack("<III", 1, 12, 0) + b'{"plots":{}}'
    block = CurveBlock()
    assert block.add_curve(np.array([1.0, NAN])) == [0, 2]
    assert block.add_curve(np.array([-0.5])) == [2, 1]
    body = block.encode({"a": 1})
    assert body == b"CCPLOTS\0" + struct.pack("<III", 1, 8, 3) + b'{"a":1} ' + struct.pack("<fff", 1.0, NAN, -0.5)


@pytest.mark.parametrize("name", ["", "a", "ab", "abc", "abcd", "\N{GREEK SMALL LETTER MU}s"])
def test_the_numbers_begin_at_a_multiple_of_four(name: str) -> None:
    block = CurveBlock()
    block.add_curve(np.array([3.0]))
    body = block.encode({name: 0})
    assert len(body) % 4 == 0
    assert body.endswith(struct.pack("<f", 3.0))


def test_what_no_number_of_four_bytes_can_hold_is_a_gap(read_plots: Read) -> None:
    largest = float(np.finfo(np.float32).max)
    document = read_plots(encoded([INFINITY, -INFINITY, 1e39, -1e39, largest, 1.0, 0.0, 1e-60]))
    assert lines_of(document) == [[None, None, None, None, None, 1.0, 0.0, 0.0]]


def test_a_gap_with_odd_bits_is_a_gap(read_plots: Read) -> None:
    odd = np.array([0x7FFF_FFFF, 0xFFFF_FFFF, 0x7F80_0001], "<u4").view("<f4")
    block = CurveBlock()
    document = {"plots": {"ipc": {"lines": [{"y": block.add_curve(odd)}], "bands": []}}}
    assert read_plots(block.encode(document))["plots"]["ipc"]["lines"] == [{"y": [None] * 3}]


def test_numbers_end_in_zero_bits_so_that_they_can_be_compressed() -> None:
    values = np.random.default_rng(1).standard_normal(1000)
    block = CurveBlock()
    block.add_curve(values)
    bits = np.frombuffer(block.encode({})[-4000:], "<u4")
    assert not (bits & 0x3F).any()


@given(
    st.lists(st.one_of(st.just(NAN), st.floats(-1e30, 1e30).filter(lambda v: v == 0 or abs(v) > 1e-30)), max_size=50)
)
def test_numbers_are_nearer_to_the_samples_than_those_of_the_json_form(read_plots: Read, values: list[float]) -> None:
    (found,) = lines_of(read_plots(encoded(values)))
    plain = round_to_five_digits(np.array(values, np.float64))
    assert [value is None for value in found] == [math.isnan(v) for v in plain] == [math.isnan(v) for v in values]
    for value, exact in zip(found, values, strict=True):  # rounded twice: to 24 bits, then to 18
        assert value is None or abs(value - exact) <= abs(exact) * (2.0**-18 + 2.0**-24)
