"""The report of a command that checks what a program needs: one line for each check, and an exit status."""

from __future__ import annotations

import sys
from typing import Iterable, NamedTuple

WORKS, NOTE, FAILS = "works", "note", "FAILS"


class CheckResult(NamedTuple):
    """One line of the report; `status` is WORKS, NOTE (for the operator to know) or FAILS."""

    subject: str
    text: str
    status: str = WORKS

    @property
    def failed(self) -> bool:
        """Whether the exit status of the report is 1."""
        return self.status == FAILS

    def __str__(self) -> str:
        return f"{self.status:<6} {self.subject}: {self.text}"


def print_report(results: Iterable[CheckResult]) -> int:
    """Print a line for each result; the exit status: 1 if a check failed, else 0."""
    failed = False
    for result in results:
        sys.stdout.write(f"{result}\n")
        failed = failed or result.failed
    return int(failed)
