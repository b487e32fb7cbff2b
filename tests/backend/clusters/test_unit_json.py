from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.clusters.unit_json import parse_unit, unit_from_json, unit_to_json
from cc_backend.model import MetricUnit


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("GB/s", MetricUnit("B/s", "G")),
        ("GB", MetricUnit("B", "G")),
        ("kB", MetricUnit("B", "K")),
        ("GF/s", MetricUnit("F/s", "G")),
        ("MHz", MetricUnit("Hz", "M")),
        ("MBytes/s", MetricUnit("Bytes/s", "M")),
        ("W", MetricUnit("W")),
        ("load", MetricUnit("load")),
        ("IPC", MetricUnit("IPC")),
        ("packets/s", MetricUnit("packets/s")),
        ("Meters", MetricUnit("Meters")),
        ("%", MetricUnit("%")),
        ("", MetricUnit("")),
        (" GB ", MetricUnit("B", "G")),
        ("G", MetricUnit("G")),
    ],
)
def test_an_old_unit_word_is_split_where_its_rest_is_a_known_base(text: str, unit: MetricUnit) -> None:
    assert parse_unit(text) == unit


@pytest.mark.parametrize("value", [None, 3, [], {}, {"prefix": "G"}, {"base": 1}, {"base": "B", "prefix": 2}])
def test_what_is_no_unit_reads_as_none(value: Any) -> None:
    assert unit_from_json(value) is None


def test_a_null_prefix_is_an_empty_one() -> None:
    assert unit_from_json({"base": "B", "prefix": None}) == MetricUnit("B")


def test_an_empty_prefix_is_not_written() -> None:
    assert unit_to_json(MetricUnit("W")) == {"base": "W"}


@given(st.builds(MetricUnit, st.text(), st.text()))
def test_a_unit_survives_writing_and_reading(unit: MetricUnit) -> None:
    assert unit_from_json(unit_to_json(unit)) == unit
