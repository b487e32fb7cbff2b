"""Tables as CSV: readers get back what was written, and no spreadsheet finds a formula."""

import csv
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.exports.csv_text import csv_fields, csv_parts, text_cell, time_cell

FORMULA_SIGNS = "=+-@\uff1d\uff0b\uff0d\uff20"


def written(*rows: list[object]) -> str:
    return b"".join(csv_parts(["a", "b"], rows)).decode()  # type: ignore[arg-type]


def read(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline=""), strict=True))


def test_lines_end_with_crlf_and_fields_are_quoted_as_rfc_4180_says() -> None:
    text = written(["plain", 1], ['say "hi", twice', None], ["two\nlines", -0.5])
    assert text == 'a,b\r\nplain,1\r\n"say ""hi"", twice",\r\n"two\nlines",-0.5\r\n'


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("relax", "relax"),
        ("=1+1", "'=1+1"),
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+49", "'+49"),
        ("-1.5", "'-1.5"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t'=1"),
        ("\r=1", "'\r'=1"),
        ("  =1", "'  =1"),
        ("\x00=1", "'=1"),
        ("\ufeff=1", "'\ufeff=1"),
        ("\uff1d1+1", "'\uff1d1+1"),
        ("two\n-lines", "two\n'-lines"),
        ("x;=1+1", "x;'=1+1"),
        ('x";"=1', 'x";\'"=1'),
        ("a|-b", "a|'-b"),
        ("n[01-02],n05", "n[01-02],n05"),
        ("a-b=c", "a-b=c"),
        ("", ""),
    ],
)
def test_a_text_that_begins_like_a_formula_is_marked_as_text(text: str, cell: str) -> None:
    assert text_cell(text) == cell


def test_numbers_are_not_marked() -> None:
    assert read(written([-1, -2.5]))[1] == ["-1", "-2.5"]


def test_a_header_is_protected_too() -> None:
    assert b"".join(csv_parts(["=x"], [])) == b"'=x\r\n"


@given(st.lists(st.text(), min_size=2, max_size=2))
def test_readers_get_the_protected_texts_back(texts: list[str]) -> None:
    [_, row] = read(written(list(texts)))
    assert row == [text_cell(text).encode("utf-8", "replace").decode() for text in texts]


@given(st.text(st.sampled_from(',;|\t\r\n "=+-@\0ab\uff1d\ufeff'), max_size=12))
def test_no_column_of_any_separator_begins_with_a_formula(text: str) -> None:
    for separator in ",;\t|":
        for column in csv.reader(io.StringIO(csv_fields("x", text).decode(), newline=""), delimiter=separator):
            for cell in column:
                assert not re.match(f'[\\s"]*[{re.escape(FORMULA_SIGNS)}]', cell), (separator, cell)


def test_long_tables_come_in_parts() -> None:
    parts = list(csv_parts(["n"], ([number] for number in range(1200))))
    assert len(parts) == 3
    assert b"".join(parts).split() == [b"n", *(str(number).encode() for number in range(1200))]


def test_half_a_surrogate_pair_is_a_question_mark() -> None:
    assert csv_fields("a\ud800") == b"a?"


def test_times_are_iso_8601_in_utc_and_no_time_is_empty() -> None:
    assert (time_cell(1_760_000_400), time_cell(0)) == ("2025-10-09T09:00:00Z", "")
