"""Interpretation of the backend's response to an event; pure functions.

This project's backend sends a code with each error (cc_common.error_codes); for the reference's, which sends none, the
status decides. The texts are for people only.
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
    """What to do with an event after it was sent."""

    ACCEPTED = "done"
    """The backend has it."""
    ALREADY_KNOWN = "known"
    """The backend had it already, or considers it done: nothing to do."""
    REJECTED = "refused"
    """The backend will never accept it: park it, with the reason."""
    OTHER_RUN_OPEN = "busy"
    """For the backend another run of this job has not ended: its stop has to be sent first."""
    JOB_UNKNOWN = "missing"
    """The backend does not know the job to be stopped: send its start first."""
    TOO_EARLY = "early"
    """The time of the event is in the future of the backend's clock: retry it; other events are not affected."""
    RETRY_LATER = "later"
    """This event failed; others may be accepted."""
    UNAVAILABLE = "away"
    """The backend accepts nothing now: end this pass."""


@dataclass(frozen=True)
class EventOutcome(DeliveryOutcome):
    """The outcome of sending one event."""

    decision: DeliveryDecision = DeliveryDecision.UNAVAILABLE


def decision_of(outcome: DeliveryOutcome) -> DeliveryDecision:
    """The decision of an outcome; UNAVAILABLE if there was no response."""
    return outcome.decision if isinstance(outcome, EventOutcome) else DeliveryDecision.UNAVAILABLE


def make_interpreter(kind: str) -> Callable[..., EventOutcome]:
    """The `interpret` function of HttpSender for events of this kind: "start", "stop" or "nodes"."""

    def interpret(response: HttpResponse, *, now_s: float) -> EventOutcome:
        general = interpret_response(response, now_s=now_s)
        decision = _decide(kind, response, general)
        message = general.message if decision is DeliveryDecision.UNAVAILABLE else _message(response)
        return EventOutcome(
            general.kind,
            message,
            retry_after_s=general.retry_after_s,
            needs_operator=general.needs_operator and decision is DeliveryDecision.UNAVAILABLE,
            decision=decision,
        )

    return interpret


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


def _decide(kind: str, response: HttpResponse, general: DeliveryOutcome) -> DeliveryDecision:
    status = response.status
    if general.kind is OutcomeKind.DELIVERED:
        return DeliveryDecision.ACCEPTED
    if status == 500:  # noqa: PLR2004 named by RFC 9110
        return DeliveryDecision.RETRY_LATER
    if "json" not in response.headers.get("content-type", "").lower():
        return DeliveryDecision.UNAVAILABLE  # the response of a proxy
    code = read_problem(response.body).code
    decision = _DECISION_BY_CODE.get((kind, code)) if code else _DECISION_BY_STATUS.get((kind, status))
    if decision is not None:
        return decision
    return DeliveryDecision.REJECTED if status in (400, 413, 415, 422) else DeliveryDecision.UNAVAILABLE


def _message(response: HttpResponse) -> str:
    text = " ".join(read_problem(response.body).text.split())[:_SHOWN]
    return f"HTTP {response.status}{f' ({text})' if text else ''}"
