from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.clusters.unit_json import unit_from_document, unit_from_text, unit_to_document
from cc_backend.model import Unit


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("GB/s", Unit("B/s", "G")),
        ("GB", Unit("B", "G")),
        ("kB", Unit("B", "K")),
        ("GF/s", Unit("F/s", "G")),
        ("MHz", Unit("Hz", "M")),
        ("MBytes/s", Unit("Bytes/s", "M")),
        ("W", Unit("W")),
        ("load", Unit("load")),
        ("IPC", Unit("IPC")),
        ("packets/s", Unit("packets/s")),
        ("Meters", Unit("Meters")),
        ("%", Unit("%")),
        ("", Unit("")),
        (" GB ", Unit("B", "G")),
        ("G", Unit("G")),
    ],
)
def test_an_old_unit_word_is_split_where_its_rest_is_a_known_base(text: str, unit: Unit) -> None:
    assert unit_from_text(text) == unit


@pytest.mark.parametrize("value", [None, 3, [], {}, {"prefix": "G"}, {"base": 1}, {"base": "B", "prefix": 2}])
def test_what_is_no_unit_reads_as_none(value: Any) -> None:
    assert unit_from_document(value) is None


def test_a_null_prefix_is_an_empty_one() -> None:
    assert unit_from_document({"base": "B", "prefix": None}) == Unit("B")


def test_an_empty_prefix_is_not_written() -> None:
    assert unit_to_document(Unit("W")) == {"base": "W"}


@given(st.builds(Unit, st.text(), st.text()))
def test_a_unit_survives_writing_and_reading(unit: Unit) -> None:
    assert unit_from_document(unit_to_document(unit)) == unit
