"""Suggests a known name for an unknown one, which most often is a typing error."""

from __future__ import annotations

import difflib
from typing import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """End of a sentence about an unknown name: `; did you mean 'x'?`, or empty if no known name is similar."""
    similar = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"; did you mean {similar[0]!r}?" if similar else ""
