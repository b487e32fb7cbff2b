"""Interpretation of the HTTP response to a batch of samples; pure functions.

The receiver may be this project's backend or an older one. Both respond 400 to a batch with a bad line, but with
different effect: ours has stored the good lines and reports that (`accepted`, `errors`), the older one has dropped
the bad line and all after it.
"""

from __future__ import annotations

import email.utils
import json
from dataclasses import dataclass
from typing import Any, Mapping, Optional, Tuple

from cc_common.delivery.outcome import DeliveryOutcome, OutcomeKind
from cc_common.error_codes import read_problem

MAX_RETRY_AFTER_S = 3600.0

_MAX_ERRORS_NAMED = 20
_SHOWN = 200
_SAID = 600


@dataclass(frozen=True)
class HttpResponse:
    """An HTTP response; header names in lower case, the body possibly truncated."""

    status: int
    headers: Mapping[str, str]
    body: bytes = b""


def interpret_response(response: HttpResponse, *, now_s: float) -> DeliveryOutcome:
    """The outcome for the batch that got this response; every status has one, and none loses a batch silently."""
    status = response.status
    if 200 <= status < 300:  # noqa: PLR2004 the class of successes
        return _success_outcome(response)
    if status == 400:  # noqa: PLR2004 named by RFC 9110
        return _bad_request_outcome(response)
    if status == 413:  # noqa: PLR2004 named by RFC 9110
        return DeliveryOutcome(OutcomeKind.TOO_LARGE, f"HTTP 413{_excerpt(response.body)}")
    return _retry_outcome(response, parse_retry_after(response.headers.get("retry-after"), now_s=now_s))


def _retry_outcome(response: HttpResponse, retry_after_s: Optional[float]) -> DeliveryOutcome:
    status = response.status
    description = f"HTTP {status}{_excerpt(response.body)}"
    if status in (401, 403, 407):
        return DeliveryOutcome(
            OutcomeKind.UNAUTHORISED,
            f"{description}: the token is not accepted",
            retry_after_s=retry_after_s,
            needs_operator=True,
            code=read_problem(response.body).code,
        )
    if status in (408, 425, 429) or status >= 500:  # noqa: PLR2004 the class of server errors
        return DeliveryOutcome(OutcomeKind.RETRY, description, retry_after_s=retry_after_s)
    if 300 <= status < 400:  # noqa: PLR2004 the class of redirects
        target = response.headers.get("location", "elsewhere")[:_SHOWN]
        problem = f"the address redirects to {target}; correct it"
    elif status in (404, 405, 410):
        problem = "nothing accepts such requests at this address; correct it"
    else:
        problem = "an unexpected response"
    return DeliveryOutcome(
        OutcomeKind.RETRY, f"{description}: {problem}", retry_after_s=retry_after_s, needs_operator=True
    )


def parse_retry_after(value: Optional[str], *, now_s: float) -> Optional[float]:
    """The seconds that a Retry-After header asks for, 3600 at most; None if it is absent or invalid."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdigit():
        seconds = float(text[:12])
    else:
        try:
            seconds = email.utils.parsedate_to_datetime(text).timestamp() - now_s
        except (TypeError, ValueError, IndexError, OverflowError):
            return None
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_S)


def _success_outcome(response: HttpResponse) -> DeliveryOutcome:
    if response.headers.get("content-type", "").lower().startswith("text/html"):
        return DeliveryOutcome(
            OutcomeKind.RETRY,
            f"HTTP {response.status} with a web page: nothing accepts such requests at this address",
            needs_operator=True,
        )
    return DeliveryOutcome(
        OutcomeKind.DELIVERED, f"HTTP {response.status}", unwanted=unwanted_lines(_json_object(response.body))
    )


def _bad_request_outcome(response: HttpResponse) -> DeliveryOutcome:
    document = _json_object(response.body)
    accepted, errors = document.get("accepted"), document.get("errors")
    if not isinstance(accepted, int) or isinstance(accepted, bool) or not isinstance(errors, list):
        return DeliveryOutcome(OutcomeKind.BAD_BATCH, f"HTTP 400{_excerpt(response.body)}")
    named = tuple(_error_text(error) for error in errors[:_MAX_ERRORS_NAMED])
    rejected = _rejected_count(document.get("rejected"), len(errors))
    message = f"HTTP 400: {accepted} lines accepted, {rejected} rejected"
    return DeliveryOutcome(
        OutcomeKind.DELIVERED_PARTLY, message, rejected=rejected, errors=named, unwanted=unwanted_lines(document)
    )


def unwanted_lines(document: Mapping[str, Any]) -> Tuple[str, ...]:
    """Sentences about lines whose names the backend does not know; none for a receiver that is not this project's."""
    description = []
    for part, consequence in (("dropped", "are discarded"), ("unlisted", "are kept, but no page shows them")):
        reasons = document.get(part)
        for reason, entry in list(reasons.items())[:_MAX_ERRORS_NAMED] if isinstance(reasons, dict) else ():
            if isinstance(entry, dict):
                description.append(_unwanted_text(str(reason), entry, consequence))
    return tuple(description)


def _unwanted_text(reason: str, entry: Mapping[str, Any], consequence: str) -> str:
    lines, names = entry.get("lines"), entry.get("names")
    known = [name for name in names if isinstance(name, dict)] if isinstance(names, list) else []
    words = ", ".join(_name_text(name) for name in known[:_MAX_ERRORS_NAMED])
    return _one_line(f"{lines} lines {consequence}: {reason.replace('_', ' ')}{f' {words}' if words else ''}", _SAID)


def _name_text(name: Mapping[str, Any]) -> str:
    nearest = name.get("nearest")
    return f"{str(name.get('name'))!r}" + (f" (did you mean {str(nearest)!r}?)" if nearest else "")


def _rejected_count(value: Any, named: int) -> int:
    """The number of rejected lines: `value` is one number, or one for each reason."""
    counts: Tuple[Any, ...] = tuple(value.values()) if isinstance(value, dict) else (value,)
    total = sum(count for count in counts if isinstance(count, int) and not isinstance(count, bool) and count > 0)
    return max(total, named)


def _error_text(error: Any) -> str:
    if isinstance(error, dict):
        number = error.get("line_number", error.get("line"))
        return f"line {number}: {error.get('reason', error.get('error', ''))}"[:_SHOWN]
    return str(error)[:_SHOWN]


def _json_object(body: bytes) -> Mapping[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _excerpt(body: bytes) -> str:
    """The body on one line, in parentheses: the `error` field of a JSON response, else the text; "" for a web page."""
    error = _json_object(body).get("error")
    if not isinstance(error, str) and body.lstrip()[:1] == b"<":  # a web page says nothing on one line
        return ""
    text = error if isinstance(error, str) else body[: 4 * _SHOWN].decode(errors="replace")
    words = _one_line(text, _SHOWN)
    return f" ({words})" if words else ""


def _one_line(text: str, limit: int) -> str:
    return " ".join("".join(char if char.isprintable() else " " for char in text[:limit]).split())
