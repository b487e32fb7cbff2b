"""Parses the text of the search field to a filter, a number, or a text to search for. Pure.

| typed | means |
|---|---|
| `4711823` | the job with this number; else jobs and arrays whose number begins so |
| `user:mlindq`, `project:`, `job:`, `array:`, `jobName:`, `script:`, `node:`, `tag:` | that filter |
| `name:Lindqvist` | jobs of people whose real name contains it |
| `bn[01-04]` | jobs on these nodes |
| anything else | part of a job's name or script, of a person, a real name or a project; a whole node name |
"""

from dataclasses import dataclass

from cc_backend.jobs.filter_parameters import Parameter

KEYWORDS = {
    "job": "jobId",
    "jobid": "jobId",
    "array": "arrayJobId",
    "arrayjobid": "arrayJobId",
    "jobname": "jobName",
    "script": "script",
    "jobscript": "script",
    "user": "user",
    "username": "user",
    "person": "user",
    "project": "project",
    "projectid": "project",
    "node": "node",
    "host": "node",
    "tag": "tag",
}
REAL_NAME = "name"
_MAX_DIGITS = 18  # fit the database


@dataclass(frozen=True, slots=True)
class ParsedSearch:
    """Exactly one of these is set: a filter, a real name, a job number, or a text to search for."""

    filter: Parameter | None = None
    real_name: str = ""
    job_number: int | None = None
    text: str = ""


def parse_search(text: str) -> ParsedSearch:
    """The meaning of a text in the search field."""
    keyword, colon, rest = text.partition(":")
    keyword, rest = keyword.strip().casefold(), rest.strip()
    if colon and rest and keyword == REAL_NAME:
        return ParsedSearch(real_name=rest)
    if colon and rest and keyword in KEYWORDS and (KEYWORDS[keyword] not in _NUMBERS or _is_number(rest)):
        return ParsedSearch(filter=(KEYWORDS[keyword], rest))
    if _is_number(text):
        return ParsedSearch(job_number=int(text), text=text)
    if text.endswith("]") and "[" in text and " " not in text:
        return ParsedSearch(filter=("node", text))
    return ParsedSearch(text=text)


_NUMBERS = frozenset({"jobId", "arrayJobId"})


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
