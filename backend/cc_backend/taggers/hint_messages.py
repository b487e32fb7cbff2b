"""Hints of job classes in the meta data of a job: joined to what people wrote there, and taken back again. Pure.

`message` is what pages show. `jobClassHints` remembers which of its lines are hints, so that no other line is touched.
"""

from collections.abc import Mapping, Sequence

MESSAGE = "message"
HINTS = "jobClassHints"
_MAX_HINTS_CHARS = 10_000


def with_hints(meta_data: Mapping[str, str] | None, hints: Sequence[str]) -> dict[str, str] | None:
    """The meta data with these hints, one a line or more, in place of the former ones; None if nothing is left."""
    known = dict(meta_data or {})
    lines = known.pop(MESSAGE, "").split("\n")
    for line in known.pop(HINTS, "").split("\n"):
        if line and line in lines:
            lines.remove(line)
    own = "\n".join(lines).strip("\n")
    new = [line for hint in hints for line in hint.split("\n") if line.strip()]
    added = "\n".join(line for line in dict.fromkeys(new) if line not in lines)[:_MAX_HINTS_CHARS]
    if message := "\n".join(filter(None, (own, added))):
        known[MESSAGE] = message
    if added:
        known[HINTS] = added
    return known or None
