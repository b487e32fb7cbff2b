import logging
import sys
from collections.abc import Iterator

import pytest

from cc_backend.runtime.log import JournalFormatter, configure_logging


@pytest.mark.parametrize(
    ("level", "prefix"),
    [
        (logging.DEBUG, "<7>"),
        (logging.INFO, "<6>"),
        (logging.WARNING, "<4>"),
        (logging.ERROR, "<3>"),
        (logging.CRITICAL, "<2>"),
    ],
)
def test_a_line_for_the_journal_begins_with_its_priority(level: int, prefix: str) -> None:
    record = logging.LogRecord("cc_backend.x", level, "x.py", 1, "archived job=%d", (7,), None)
    assert JournalFormatter("%(name)s: %(message)s").format(record) == f"{prefix}cc_backend.x: archived job=7"


def test_every_line_of_a_traceback_keeps_the_priority_of_its_event() -> None:
    try:
        int("boom")
    except ValueError:
        record = logging.LogRecord("cc_backend.x", logging.ERROR, "x.py", 1, "failed", (), sys.exc_info())
    lines = JournalFormatter("%(message)s").format(record).splitlines()
    assert len(lines) > 2
    assert all(line.startswith("<3>") for line in lines)


@pytest.fixture
def own_levels() -> Iterator[None]:
    """Puts the levels of libraries back as they were."""
    levels = {name: logging.getLogger(name).level for name in ("httpx", "werkzeug")}
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.usefixtures("own_levels")
def test_a_library_does_not_tell_of_each_request_that_we_make() -> None:
    configure_logging(level="info", journal=True)
    assert logging.getLogger("cc_backend.x").isEnabledFor(logging.INFO)
    assert not logging.getLogger("httpx").isEnabledFor(logging.INFO)
