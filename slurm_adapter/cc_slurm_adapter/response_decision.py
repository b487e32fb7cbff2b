"""What the backend's answer to an event means; pure, without any connection.

This project's backend says with a code what is the matter (cc_common.error_codes); of the reference's, which has none,
the status decides. What their texts say is for people only.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Callable, Mapping, Tuple

from cc_common.delivery import DeliveryOutcome, OutcomeKind
from cc_common.delivery.http_response import HttpResponse, interpret_response
from cc_common.error_codes import ErrorCode, read_problem

_SHOWN = 200


class DeliveryDecision(enum.Enum):
    """What to do with an event after a try."""

    ACCEPTED = "done"
    """The backend has it."""
    ALREADY_KNOWN = "known"
    """The backend had it already, or holds that it is settled: nothing to do."""
    REJECTED = "refused"
    """The backend will never take it: park it, with the reason."""
    OTHER_RUN_OPEN = "busy"
    """The backend holds that another run of this job is not over: its stop has to come first."""
    JOB_UNKNOWN = "missing"
    """The backend does not know the job that is to be stopped: send its start first."""
    TOO_EARLY = "early"
    """The time of the event has not come by the backend's clock: try this event again, nothing is wrong with others."""
    RETRY_LATER = "later"
    """This event failed; others may well be taken."""
    UNAVAILABLE = "away"
    """The backend takes nothing now: stop for this time."""


@dataclass(frozen=True)
class EventOutcome(DeliveryOutcome):
    """The answer to one event."""

    decision: DeliveryDecision = DeliveryDecision.UNAVAILABLE


def decision_of(outcome: DeliveryOutcome) -> DeliveryDecision:
    """The verdict of an outcome; where there was no answer at all, the backend is away."""
    return outcome.decision if isinstance(outcome, EventOutcome) else DeliveryDecision.UNAVAILABLE


def make_interpreter(kind: str) -> Callable[..., EventOutcome]:
    """How answers to events of this kind ("start", "stop", "nodes") are to be read, as HttpSender wants it."""

    def meaning(answer: HttpResponse, *, now_s: float) -> EventOutcome:
        general = interpret_response(answer, now_s=now_s)
        verdict = _decide(kind, answer, general)
        message = general.message if verdict is DeliveryDecision.UNAVAILABLE else _message(answer)
        return EventOutcome(
            general.kind,
            message,
            retry_after_s=general.retry_after_s,
            needs_operator=general.needs_operator and verdict is DeliveryDecision.UNAVAILABLE,
            decision=verdict,
        )

    return meaning


_DECISION_BY_CODE: Mapping[Tuple[str, str], DeliveryDecision] = {
    ("start", ErrorCode.JOB_KNOWN): DeliveryDecision.ALREADY_KNOWN,
    ("start", ErrorCode.JOB_RUNNING): DeliveryDecision.OTHER_RUN_OPEN,
    ("start", ErrorCode.TIME_IN_FUTURE): DeliveryDecision.TOO_EARLY,
    ("stop", ErrorCode.TIME_IN_FUTURE): DeliveryDecision.TOO_EARLY,
    ("stop", ErrorCode.JOB_NOT_RUNNING): DeliveryDecision.ALREADY_KNOWN,
    ("stop", ErrorCode.JOB_UNKNOWN): DeliveryDecision.JOB_UNKNOWN,
}
_DECISION_BY_STATUS: Mapping[Tuple[str, int], DeliveryDecision] = {
    ("start", 422): DeliveryDecision.ALREADY_KNOWN,
    ("stop", 422): DeliveryDecision.ALREADY_KNOWN,
    ("nodes", 422): DeliveryDecision.ALREADY_KNOWN,
    ("stop", 404): DeliveryDecision.JOB_UNKNOWN,
}


def _decide(kind: str, answer: HttpResponse, general: DeliveryOutcome) -> DeliveryDecision:
    status = answer.status
    if general.kind is OutcomeKind.DELIVERED:
        return DeliveryDecision.ACCEPTED
    if status == 500:  # noqa: PLR2004 named by RFC 9110
        return DeliveryDecision.RETRY_LATER
    if "json" not in answer.headers.get("content-type", "").lower():
        return DeliveryDecision.UNAVAILABLE  # somebody in between answers
    code = read_problem(answer.body).code
    verdict = _DECISION_BY_CODE.get((kind, code)) if code else _DECISION_BY_STATUS.get((kind, status))
    if verdict is not None:
        return verdict
    return DeliveryDecision.REJECTED if status in (400, 413, 415, 422) else DeliveryDecision.UNAVAILABLE


def _message(answer: HttpResponse) -> str:
    said = " ".join(read_problem(answer.body).text.split())[:_SHOWN]
    return f"HTTP {answer.status}{f' ({said})' if said else ''}"
