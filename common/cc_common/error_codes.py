"""The codes that every error response of this project carries as `code`, and how a receiver reads such a response.

Texts are for people and may be reworded or translated at any time; programs switch on the code. This enumeration is the
only list of them: `docs/api.md` has it as a table, and a test compares the two.

To add an error:

1. Raise one of `cc_backend.errors`: `raise Conflict("...", code=ErrorCode.JOB_RUNNING)`. Without `code` it carries the
   general one of its class, so that there is no error without a code. A program in front of Flask makes its body with
   `cc_backend.httpserver.problem_json.problem_body`.
2. If no code says what went wrong, and a program could do something about it that it would not do for the general one,
   add a member here (name, statuses that it comes with, meaning) and the same line to the table in `docs/api.md`.

A code is never renamed and never gets another meaning.
"""

from __future__ import annotations

import enum
import json
from dataclasses import dataclass
from typing import Any, Tuple

_MAX_BODY_BYTES = 1 << 20
_MAX_CODE_LENGTH = 64


class ErrorCode(str, enum.Enum):
    """What went wrong, for programs; `statuses` are the HTTP statuses it comes with, `meaning` is for people."""

    statuses: Tuple[int, ...]
    meaning: str

    def __new__(cls, code: str, statuses: Tuple[int, ...], meaning: str) -> ErrorCode:  # noqa: PYI034 Self is of 3.11
        """The member, equal to its code."""
        member = str.__new__(cls, code)
        member._value_ = code
        member.statuses = statuses
        member.meaning = meaning
        return member

    # what the request says
    INVALID_INPUT = "invalid_input", (400,), "something in the request cannot be; the text names it"
    INVALID_FIELD = "invalid_field", (400,), "a field of the JSON body cannot be read; `field` is its path"
    INVALID_JOB = "invalid_job", (400,), "a job event says something that cannot be; the text names the field"
    TIME_IN_FUTURE = "time_in_future", (400,), "the time of a job event has not come; compare the clocks, send it again"
    INVALID_PARAMETER = "invalid_parameter", (400,), "a query parameter is unknown or has a value that cannot be"
    INVALID_BODY = "invalid_body", (400,), "the body is not what the route takes, or its compression is damaged"
    INVALID_LINE = "invalid_line", (400,), "a line of a batch cannot be read"
    LINES_REJECTED = "lines_rejected", (400,), "lines of a batch were left out (`errors`), the others are kept"
    INVALID_HOSTLIST = "invalid_hostlist", (400,), "a host list cannot be read, or is too long"
    INVALID_UNIT = "invalid_unit", (400,), "a unit is unknown, or two do not fit"
    NUMBER_OUT_OF_RANGE = "number_out_of_range", (400,), "a number or text that the database cannot hold"
    UNKNOWN_CLUSTER = "unknown_cluster", (400, 404), "no cluster of this name is configured"
    UNKNOWN_SUBCLUSTER = "unknown_subcluster", (400, 404), "the cluster has no subcluster of this name"
    UNKNOWN_HOST = "unknown_host", (400,), "no subcluster of the cluster has this host"
    # who asks
    NOT_AUTHENTICATED = "not_authenticated", (401,), "nobody known is asking"
    LOGIN_NEEDED = "login_needed", (401,), "the route needs a login, or the login has ended"
    LOGIN_FAILED = "login_failed", (401,), "the name or the password is wrong"
    TOKEN_MISSING = "token_missing", (401,), "the route needs a token"
    TOKEN_INVALID = "token_invalid", (401,), "the token is damaged, or was not signed by the key of this server"
    TOKEN_EXPIRED = "token_expired", (401,), "the token's time is over"
    TOKEN_NOT_YET_VALID = "token_not_yet_valid", (401,), "the token's time has not begun; compare the clocks"
    TOKEN_REVOKED = "token_revoked", (401,), "the token was revoked"
    TOKEN_UNKNOWN = "token_unknown", (401,), "the token was issued elsewhere, or its record is gone"
    TOKENS_DISABLED = "tokens_disabled", (401, 503), "this server has no key to check or issue tokens with"
    ACCOUNT_UNKNOWN = "account_unknown", (401,), "the account of the token does not exist any more"
    ACCOUNT_DISABLED = "account_disabled", (401,), "the account of the token is disabled"
    ADDRESS_REFUSED = "address_refused", (401,), "tokens are not taken from this address (`main.api-allowed-ips`)"
    WRONG_CALLER = "wrong_caller", (401,), "callers of this kind or role have no access to this class of routes"
    # what they may
    NOT_ALLOWED = "not_allowed", (403,), "the caller is known and may not do this"
    SCOPE_MISSING = "scope_missing", (403,), "the token lacks a scope, which the text names"
    ROLE_MISSING = "role_missing", (403,), "the account lacks a role for this"
    CLUSTER_NOT_ALLOWED = "cluster_not_allowed", (403,), "the token is bound to other clusters"
    FOREIGN_ORIGIN = "foreign_origin", (403,), "a page of another site sent the request"
    FORM_EXPIRED = "form_expired", (403,), "the form is out of date; load the page again"
    # what is there
    NOT_FOUND = "not_found", (404, 422), "there is no such thing, or the caller may not know of it"
    ROUTE_UNKNOWN = "route_unknown", (404,), "there is nothing at this path"
    JOB_UNKNOWN = "job_unknown", (404, 422), "there is no such job, or the caller may not know of it"
    METHOD_NOT_ALLOWED = "method_not_allowed", (405,), "the path takes other methods, which `Allow` names"
    REQUEST_TIMEOUT = "request_timeout", (408,), "the request did not arrive whole in time"
    TOO_LARGE = "too_large", (413,), "over a limit, which the text names; send or ask for less"
    BODY_TOO_LARGE = "body_too_large", (413,), "the body is over its limit; send it in smaller parts"
    ANSWER_TOO_LARGE = "answer_too_large", (413,), "the answer would be over its limit; ask in smaller parts"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type", (415,), "the coding or type of the body is not understood"
    CONFLICT = "conflict", (422,), "the thing is there already, or not in the state that this needs"
    JOB_KNOWN = "job_known", (422,), "this run of the job (cluster, job id, start time) is known already"
    JOB_RUNNING = "job_running", (422,), "another run of the job is not over; stop it first"
    RUN_OVERLAPS = "run_overlaps", (422,), "the start lies within another run of the job that is over"
    JOB_NOT_RUNNING = "job_not_running", (422,), "the job to be stopped has ended already"
    # when
    TOO_MANY_TRIES = "too_many_tries", (429,), "too many tries; come back after `Retry-After` seconds"
    UNAVAILABLE = "unavailable", (503,), "a part is away or full; send it again after `Retry-After` seconds"
    DATABASE_UNAVAILABLE = "database_unavailable", (503,), "the database cannot be used now"
    STORE_FULL = "store_full", (503,), "the metric store is full: nothing of the batch was kept, send it again"
    STORE_UNAVAILABLE = "store_unavailable", (503,), "a metric store does not answer, or still reads older samples"
    LOG_UNWRITABLE = "log_unwritable", (503,), "the write-ahead log cannot be written: send the batch again"
    UNHEALTHY = "unhealthy", (503,), "the health check found faults, which `faults` names"
    # us
    INTERNAL_ERROR = "internal_error", (500,), "unexpected; the log has the cause under `requestId`, if there is one"
    ARCHIVE_DAMAGED = "archive_damaged", (500,), "a file of the job archive is missing or damaged"
    HTTP_ERROR = "http_error", (), "any other refusal of the HTTP layer; the status tells which"

    def allows_status(self, status: int) -> bool:
        """Whether a response with this status may carry the code."""
        return not self.statuses or status in self.statuses

    def __str__(self) -> str:
        return str(self.value)


_CODE_BY_STATUS = {
    400: ErrorCode.INVALID_INPUT,
    401: ErrorCode.NOT_AUTHENTICATED,
    403: ErrorCode.NOT_ALLOWED,
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    408: ErrorCode.REQUEST_TIMEOUT,
    413: ErrorCode.BODY_TOO_LARGE,
    415: ErrorCode.UNSUPPORTED_MEDIA_TYPE,
    422: ErrorCode.CONFLICT,
    429: ErrorCode.TOO_MANY_TRIES,
    500: ErrorCode.INTERNAL_ERROR,
    503: ErrorCode.UNAVAILABLE,
}


def code_for_status(status: int) -> ErrorCode:
    """The general code for a status, where nothing more specific is known."""
    return _CODE_BY_STATUS.get(status, ErrorCode.HTTP_ERROR)


@dataclass(frozen=True)
class Problem:
    """The content of an error response: its code, empty for a server that sends none, and its text."""

    code: str = ""
    text: str = ""


def read_problem(body: bytes) -> Problem:
    """The content of the body of an error response, of this project or the reference; empty parts if it is not one."""
    if len(body) > _MAX_BODY_BYTES:
        return Problem()
    try:
        document: Any = json.loads(body)
    except (ValueError, RecursionError):
        return Problem()
    if not isinstance(document, dict):
        return Problem()
    code, text = document.get("code"), document.get("error")
    if not isinstance(text, str):
        text = document.get("message")
    return Problem(
        code if isinstance(code, str) and len(code) <= _MAX_CODE_LENGTH else "",
        text if isinstance(text, str) else "",
    )
