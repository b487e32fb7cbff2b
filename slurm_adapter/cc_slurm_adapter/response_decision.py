"""What the backend's answer to an event means; pure, without any connection.

This project's backend says with a code what is the matter (cc_common.error_codes); of the reference's, which has none,
the status decides. What their texts say is for people only.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Callable, Mapping, Tuple

from cc_common.delivery import Kind, Outcome
from cc_common.delivery.http_response import Answer, outcome_of
from cc_common.error_codes import ErrorCode, read_problem

_SHOWN = 200


class Verdict(enum.Enum):
    """What to do with an event after a try."""

    DONE = "done"
    """The backend has it."""
    KNOWN = "known"
    """The backend had it already, or holds that it is settled: nothing to do."""
    REFUSED = "refused"
    """The backend will never take it: park it, with the reason."""
    BUSY = "busy"
    """The backend holds that another run of this job is not over: its stop has to come first."""
    MISSING = "missing"
    """The backend does not know the job that is to be stopped: send its start first."""
    EARLY = "early"
    """The time of the event has not come by the backend's clock: try this event again, nothing is wrong with others."""
    LATER = "later"
    """This event failed; others may well be taken."""
    AWAY = "away"
    """The backend takes nothing now: stop for this time."""


@dataclass(frozen=True)
class EventOutcome(Outcome):
    """The answer to one event."""

    verdict: Verdict = Verdict.AWAY


def verdict_of(outcome: Outcome) -> Verdict:
    """The verdict of an outcome; where there was no answer at all, the backend is away."""
    return outcome.verdict if isinstance(outcome, EventOutcome) else Verdict.AWAY


def meaning_of(kind: str) -> Callable[..., EventOutcome]:
    """How answers to events of this kind ("start", "stop", "nodes") are to be read, as HttpSender wants it."""

    def meaning(answer: Answer, *, now_s: float) -> EventOutcome:
        general = outcome_of(answer, now_s=now_s)
        verdict = _verdict(kind, answer, general)
        message = general.message if verdict is Verdict.AWAY else _message(answer)
        return EventOutcome(
            general.kind,
            message,
            retry_after_s=general.retry_after_s,
            alarm=general.alarm and verdict is Verdict.AWAY,
            verdict=verdict,
        )

    return meaning


_OF_CODE: Mapping[Tuple[str, str], Verdict] = {
    ("start", ErrorCode.JOB_KNOWN): Verdict.KNOWN,
    ("start", ErrorCode.JOB_RUNNING): Verdict.BUSY,
    ("start", ErrorCode.TIME_IN_FUTURE): Verdict.EARLY,
    ("stop", ErrorCode.TIME_IN_FUTURE): Verdict.EARLY,
    ("stop", ErrorCode.JOB_NOT_RUNNING): Verdict.KNOWN,
    ("stop", ErrorCode.JOB_UNKNOWN): Verdict.MISSING,
}
_OF_STATUS: Mapping[Tuple[str, int], Verdict] = {
    ("start", 422): Verdict.KNOWN,
    ("stop", 422): Verdict.KNOWN,
    ("nodes", 422): Verdict.KNOWN,
    ("stop", 404): Verdict.MISSING,
}


def _verdict(kind: str, answer: Answer, general: Outcome) -> Verdict:
    status = answer.status
    if general.kind is Kind.DELIVERED:
        return Verdict.DONE
    if status == 500:  # noqa: PLR2004 named by RFC 9110
        return Verdict.LATER
    if "json" not in answer.headers.get("content-type", "").lower():
        return Verdict.AWAY  # somebody in between answers
    code = read_problem(answer.body).code
    verdict = _OF_CODE.get((kind, code)) if code else _OF_STATUS.get((kind, status))
    if verdict is not None:
        return verdict
    return Verdict.REFUSED if status in (400, 413, 415, 422) else Verdict.AWAY


def _message(answer: Answer) -> str:
    said = " ".join(read_problem(answer.body).text.split())[:_SHOWN]
    return f"HTTP {answer.status}{f' ({said})' if said else ''}"
