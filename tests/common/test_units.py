"""Units: reading both notations, converting, writing short."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_common.errors import UnitError
from cc_common.units import (
    PREFIX_FACTORS,
    Unit,
    convert,
    parse_unit,
    prefix_factor,
    unit_from_object,
)


@pytest.mark.parametrize(
    ("text", "short"),
    [
        ("B", "B"),
        ("bytes", "B"),
        ("MBytes/s", "MB/s"),
        ("kB", "KB"),
        ("KiB", "KiB"),
        ("gib", "GiB"),
        ("mBytes", "MB"),
        ("mflop/s", "MFlops/s"),
        ("mcycles", "Mcyc"),
        ("mevents", "Mevents"),
        ("mW", "mW"),
        ("ms", "ms"),
        ("F/s", "Flops/s"),
        ("GFlops/s", "GFlops/s"),
        ("%", "%"),
        ("Percent", "%"),
        ("K%", "%"),
        ("packets/s", "packets/s"),
        ("Ppackets", "Ppackets"),
        ("events", "events"),
        ("evnts", "events"),
        ("EB", "EB"),
        ("degC", "degC"),
        ("\u00b0C", "degC"),
        ("rpm", "RPM"),
        ("MHz", "MHz"),
        ("seconds", "s"),
        ("Watts", "W"),
        ("kJ", "KJ"),
        ("requests/s", "requests/s"),
        (" GB / s ", "GB/s"),
    ],
)
def test_unit_texts_are_read_and_written_short(text: str, short: Any) -> None:
    assert str(parse_unit(text)) == short


@pytest.mark.parametrize("text", ["", "us", "ns", "1/s", "load", "B/", "/s", "B/s/s", "sock", "x" * 100, "XB", "iB"])
def test_an_unknown_unit_is_rejected(text: str) -> None:
    with pytest.raises(UnitError):
        parse_unit(text)


@pytest.mark.parametrize(
    ("base", "prefix", "unit"),
    [
        ("B/s", "G", Unit("G", "B", "s")),
        ("F/s", "g", Unit("G", "Flops", "s")),
        ("", "", Unit()),
        ("load", "", Unit("", "load")),
        ("IPC", "", Unit("", "IPC")),
        ("packets/s", "", Unit("", "packets", "s")),
    ],
)
def test_unit_objects_are_read_whatever_their_base(base: Any, prefix: bytes, unit: Any) -> None:
    assert unit_from_object(base, prefix) == unit


def test_a_unit_has_the_base_and_prefix_of_its_object() -> None:
    unit = parse_unit("MBytes/s")
    assert (unit.base, unit.prefix, unit.factor) == ("B/s", "M", 1e6)


@pytest.mark.parametrize(
    ("prefix", "factor"), [("", 1), ("k", 1e3), ("g", 1e9), ("Ki", 1024), ("ti", 1024**4), ("m", 1e-3), ("u", 1e-6)]
)
def test_prefixes_have_their_factors(prefix: bytes, factor: Any) -> None:
    assert prefix_factor(prefix) == factor


@pytest.mark.parametrize("prefix", ["x", "mi ", "KK", "da"])
def test_an_unknown_prefix_is_rejected(prefix: bytes) -> None:
    with pytest.raises(UnitError):
        prefix_factor(prefix)


@pytest.mark.parametrize(
    ("value", "source", "target", "expected"),
    [
        (5, "kB", "GB", 5e-6),
        (1, "GiB", "B", 1024**3),
        (1500, "MFlops/s", "GFlops/s", 1.5),
        (7, "B", "kB", 0.007),
        (100, "degC", "degF", 212),
        (212, "degF", "degC", 100),
        (20, "%", "%", 20),
    ],
)
def test_values_are_converted_without_being_cut(value: Any, source: Any, target: Any, expected: Any) -> None:
    assert convert(value, parse_unit(source), parse_unit(target)) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("source", "target"), [("B", "B/s"), ("B", "Flops"), ("W", "J"), ("degC", "%")])
def test_units_that_measure_different_things_are_not_converted(source: Any, target: Any) -> None:
    with pytest.raises(UnitError, match="cannot be converted"):
        convert(1.0, parse_unit(source), parse_unit(target))


MEASURES = ["B", "Flops", "Hz", "s", "cyc", "W", "J", "requests", "packets", "events", "RPM", "degC"]


@given(
    st.sampled_from([p for p in PREFIX_FACTORS if p not in ("m", "u", "n")]),
    st.sampled_from(MEASURES),
    st.sampled_from(["", "s"]),
)
def test_the_short_form_is_read_back(prefix: bytes, measure: Any, per: Any) -> None:
    unit = Unit(prefix, measure, per)
    assert parse_unit(str(unit)) == unit


@given(st.floats(1e-6, 1e6), st.sampled_from(list(PREFIX_FACTORS)), st.sampled_from(list(PREFIX_FACTORS)))
def test_a_conversion_can_be_undone(value: Any, source: Any, target: Any) -> None:
    there, back = Unit(source, "B"), Unit(target, "B")
    assert convert(convert(value, there, back), back, there) == pytest.approx(value, rel=1e-9)
