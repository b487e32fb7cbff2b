"""What can be asked of a running agent, and what it answers: one line of JSON each."""

from __future__ import annotations

import json
import math
import re
from typing import Any, Dict, Iterable, Mapping, NamedTuple, Union

from cc_agent.errors import ControlError

MAX_REQUEST_BYTES = 8192
MAX_MARKS = 32
"""Marks in one request."""

DEFAULT_PAUSE_S = 3600.0
MAX_PAUSE_S = 7 * 86400.0

_JOB_ID = re.compile(r"[A-Za-z0-9_]{0,32}")
_MARK_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,39}")


class StatusRequest(NamedTuple):
    """Asks for the status of the agent."""


class PauseRequest(NamedTuple):
    """Asks the agent to release the hardware counters for this many seconds, or until a job has ended."""

    seconds: float = DEFAULT_PAUSE_S
    job: str = ""


class ResumeRequest(NamedTuple):
    """Asks the agent to take the hardware counters again."""


class MarkRequest(NamedTuple):
    """Asks the agent to record these numbers for the job of the caller."""

    values: Mapping[str, float]


ControlRequest = Union[StatusRequest, PauseRequest, ResumeRequest, MarkRequest]


def encode_request(request: ControlRequest) -> bytes:
    """The line for a request."""
    document: Dict[str, Any] = {"request": _NAMES[type(request)], **request._asdict()}
    return json.dumps(document, allow_nan=False).encode() + b"\n"


def decode_request(line: bytes) -> ControlRequest:
    """The request in a line. Raises ControlError, which says what is wrong with it."""
    if len(line) > MAX_REQUEST_BYTES:
        raise ControlError("bad_request", f"a request has {MAX_REQUEST_BYTES} bytes at most")
    try:
        document = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ControlError("bad_request", "a request is one line of JSON") from error
    name = document.get("request") if isinstance(document, dict) else None
    if name == "status":
        return StatusRequest()
    if name == "resume":
        return ResumeRequest()
    if name == "pause":
        job = check_job(document.get("job", ""))
        return PauseRequest(check_pause(document.get("seconds", MAX_PAUSE_S if job else DEFAULT_PAUSE_S)), job)
    if name == "mark":
        return MarkRequest(check_marks(document.get("values")))
    raise ControlError("bad_request", "'request' must be one of " + ", ".join(sorted(_NAMES.values())))


def check_pause(seconds: Any) -> float:
    """The length of a pause. Raises ControlError unless it is a number of seconds up to a week."""
    if isinstance(seconds, (int, float)) and not isinstance(seconds, bool) and 0 < seconds <= MAX_PAUSE_S:
        return float(seconds)
    raise ControlError("bad_request", f"a pause takes more than 0 and up to {MAX_PAUSE_S:.0f} seconds")


def check_job(job: Any) -> str:
    """The id of a job, empty for none. Raises ControlError for what cannot be one."""
    if isinstance(job, str) and _JOB_ID.fullmatch(job):
        return job
    raise ControlError("bad_request", "the id of a job has up to 32 letters, digits and _")


def check_marks(values: Any) -> Dict[str, float]:
    """The numbers of marks by name. Raises ControlError for a name or number that cannot be a mark."""
    if not isinstance(values, dict) or not values:
        raise ControlError("bad_request", "give at least one NAME=NUMBER, such as step=120")
    if len(values) > MAX_MARKS:
        raise ControlError("bad_request", f"{MAX_MARKS} marks at once at most, not {len(values)}")
    return {_check_name(name): _check_number(name, number) for name, number in values.items()}


def parse_marks(words: Iterable[str]) -> Dict[str, float]:
    """The numbers of marks by name, from words such as `step=120`. Raises ControlError."""
    values: Dict[str, Any] = {}
    for word in words:
        name, _, number = word.partition("=")
        try:
            values[name] = float(number)
        except ValueError as error:
            text = f"{word[:60]!r} is not NAME=NUMBER, as in step=120"
            raise ControlError("bad_request", text) from error
    return check_marks(values)


def _check_name(name: str) -> str:
    if _MARK_NAME.fullmatch(name):
        return name
    raise ControlError(
        "bad_request", f"{name[:60]!r} cannot be the name of a mark: a letter, then up to 39 letters, digits and _"
    )


def _check_number(name: str, number: Any) -> float:
    if isinstance(number, (int, float)) and not isinstance(number, bool):
        try:
            value = float(number)
        except OverflowError:
            value = math.inf
        if math.isfinite(value):
            return value
    raise ControlError("bad_request", f"{name}: a mark is a finite number")


_NAMES = {StatusRequest: "status", PauseRequest: "pause", ResumeRequest: "resume", MarkRequest: "mark"}
