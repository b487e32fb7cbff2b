"""Tables as CSV (RFC 4180): a header, commas, CRLF, UTF-8.

A spreadsheet runs a cell that begins like a formula, whoever wrote the text. Such texts get an apostrophe in front,
which spreadsheets take for "this is text". Numbers are written as they are, so that -1.5 stays a number.
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import TypeAlias

from cc_backend.wording.format import format_iso_utc

Cell: TypeAlias = str | int | float | None
"""A value of a table; None is an empty cell."""

_ROWS_AT_ONCE = 500
# The full-width forms count as well in some languages; what a spreadsheet skips before them does not protect.
_FORMULA = re.compile('[\\s"\ufeff]*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]')
# Where columns are separated by semicolons, quotes within a line protect nothing: a formula behind one, or behind a
# line break, would begin a cell.
_FORMULA_BEHIND_SEPARATOR = re.compile('([;\t|\r\n])(?=[\\s"\ufeff]*[=+\\-@\uff1d\uff0b\uff0d\uff20])')


def text_cell(text: str) -> str:
    """The text, with an apostrophe wherever a spreadsheet would see the begin of a formula; without NUL."""
    if text.isalnum():  # nearly all
        return text
    text = _FORMULA_BEHIND_SEPARATOR.sub(r"\1'", text.replace("\0", ""))
    return f"'{text}" if _FORMULA.match(text) else text


def time_cell(time_s: int) -> str:
    """A time in Unix seconds as ISO 8601 in UTC; empty for 0, which means none."""
    return format_iso_utc(time_s) if time_s else ""


def csv_parts(header: Sequence[str], rows: Iterable[Sequence[Cell]]) -> Iterator[bytes]:
    """The table as parts to join; texts are protected, numbers are not."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(map(text_cell, header))
    for number, row in enumerate(rows, 1):
        writer.writerow([text_cell(cell) if isinstance(cell, str) else cell for cell in row])
        if number % _ROWS_AT_ONCE == 0:
            yield _encode(text.getvalue())
            text.seek(0)
            text.truncate()
    yield _encode(text.getvalue())


def csv_fields(*texts: str) -> bytes:
    """Protected texts as fields of a row, without an end of line."""
    text = io.StringIO(newline="")
    csv.writer(text).writerow(map(text_cell, texts))
    return _encode(text.getvalue().removesuffix("\r\n"))


def _encode(text: str) -> bytes:
    # half a surrogate pair becomes a question mark
    return text.encode("utf-8", "replace")
