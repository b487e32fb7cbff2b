"""What the backend's answer to an event means; pure, without any connection."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Callable

from cc_common.delivery import Kind, Outcome
from cc_common.delivery.answers import Answer, outcome_of

_BUSY = b"running already"
_CONTRADICTS = b"cannot start between"
_WRONG_ADDRESS = ": nothing takes samples at this address; correct it"


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
        return EventOutcome(
            general.kind,
            _message(general.message, verdict),
            retry_after_s=general.retry_after_s,
            alarm=general.alarm and verdict is Verdict.AWAY,
            verdict=verdict,
        )

    return meaning


def _verdict_on_conflict(kind: str, body: bytes) -> Verdict:
    """Not every conflict means that the run is known: another run of the job may be open, or contradict its times."""
    if kind != "start":
        return Verdict.KNOWN
    if _BUSY in body:
        return Verdict.BUSY
    return Verdict.REFUSED if _CONTRADICTS in body else Verdict.KNOWN


def _message(message: str, verdict: Verdict) -> str:
    """What the general message says of samples, said of events."""
    if verdict is Verdict.MISSING:
        return message.replace(_WRONG_ADDRESS, "")
    return message.replace("takes samples", "takes events").replace("a batch of samples", "an event")


def _verdict(kind: str, answer: Answer, general: Outcome) -> Verdict:
    status = answer.status
    if general.kind is Kind.DELIVERED:
        return Verdict.DONE
    is_json = "json" in answer.headers.get("content-type", "").lower()
    if status == 422 and is_json:  # noqa: PLR2004 named by RFC 9110
        return _verdict_on_conflict(kind, answer.body)
    if status == 404 and kind == "stop" and is_json:  # noqa: PLR2004 same
        return Verdict.MISSING
    if status in (400, 413, 415) and is_json:
        return Verdict.REFUSED
    return Verdict.LATER if status == 500 else Verdict.AWAY  # noqa: PLR2004 same
