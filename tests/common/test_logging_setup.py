from __future__ import annotations

import logging
import sys
from typing import Dict, Iterator

import pytest

from cc_common.logging_setup import JournalFormatter, set_up_logging

LIBRARIES = ("httpx", "httpcore", "werkzeug")


@pytest.mark.parametrize(
    ("level", "prefix"),
    [
        (logging.DEBUG, "<7>"),
        (logging.INFO, "<6>"),
        (25, "<6>"),
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
def own_logging() -> Iterator[None]:
    """Restores handlers and levels after the test."""
    root = logging.getLogger()
    handlers, root_level = root.handlers[:], root.level
    root.handlers = []
    levels = {name: logging.getLogger(name).level for name in LIBRARIES}
    yield
    root.handlers = handlers
    root.setLevel(root_level)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.usefixtures("own_logging")
@pytest.mark.parametrize(
    ("environment", "with_names", "line"),
    [
        ({"JOURNAL_STREAM": "8:1"}, False, "<6>sampled n=1"),
        ({"JOURNAL_STREAM": "8:1"}, True, "<6>cc_agent.x: sampled n=1"),
        ({}, False, " INFO sampled n=1"),
        ({}, True, " INFO cc_agent.x: sampled n=1"),
    ],
)
def test_lines_have_the_priority_under_systemd_and_else_the_time(
    capsys: pytest.CaptureFixture[str], environment: Dict[str, str], line: str, *, with_names: bool
) -> None:
    set_up_logging("info", environment, with_names=with_names)
    logging.getLogger("cc_agent.x").info("sampled n=%d", 1)
    logging.getLogger("cc_agent.x").debug("not shown")
    printed = capsys.readouterr().err
    assert printed.endswith(line + "\n")
    assert printed.startswith("<") is bool(environment)


@pytest.mark.usefixtures("own_logging")
def test_libraries_do_not_log_each_request() -> None:
    set_up_logging("debug", {})
    assert logging.getLogger("cc_backend.x").isEnabledFor(logging.DEBUG)
    assert not any(logging.getLogger(name).isEnabledFor(logging.INFO) for name in LIBRARIES)
