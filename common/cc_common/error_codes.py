"""The codes that every error response of this project carries as `code`, and how a receiver reads such a response.

Texts are for people and may be reworded or translated at any time; programs use the code. This enumeration is the only
list of the codes: `docs/api.md` has it as a table, and a test compares the two.

To add an error:

1. Raise one of `cc_backend.errors`: `raise Conflict("...", code=ErrorCode.JOB_RUNNING)`. Without `code` it has the
   general one of its class, so that there is no error without a code. Code in front of Flask makes the body with
   `cc_backend.httpserver.problem_json.problem_body`.
2. If no code fits, and a client could react to the error differently than to the general code, add a member here (name,
   statuses, meaning) and the same line to the table in `docs/api.md`.

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

    # the request
    INVALID_INPUT = "invalid_input", (400,), "a value of the request is invalid; the text names it"
    INVALID_FIELD = "invalid_field", (400,), "a field of the JSON body has the wrong type or range; `field` is its path"
    INVALID_JOB = "invalid_job", (400,), "a value of a job event is invalid; the text names the field"
    TIME_IN_FUTURE = (
        "time_in_future",
        (400,),
        "the time of a job event is in the future; compare the clocks, retry later",
    )
    INVALID_PARAMETER = "invalid_parameter", (400,), "a query parameter is unknown or has an invalid value"
    INVALID_BODY = "invalid_body", (400,), "the body has the wrong format, or its compression is damaged"
    INVALID_LINE = "invalid_line", (400,), "a line of a batch is invalid"
    LINES_REJECTED = "lines_rejected", (400,), "lines of a batch were rejected (`errors`), the others are stored"
    INVALID_HOSTLIST = "invalid_hostlist", (400,), "a host list is invalid or too long"
    INVALID_UNIT = "invalid_unit", (400,), "a unit is unknown, or two units do not match"
    NUMBER_OUT_OF_RANGE = "number_out_of_range", (400,), "a number or string that the database cannot store"
    UNKNOWN_CLUSTER = "unknown_cluster", (400, 404), "no cluster of this name is configured"
    UNKNOWN_SUBCLUSTER = "unknown_subcluster", (400, 404), "the cluster has no subcluster of this name"
    UNKNOWN_HOST = "unknown_host", (400,), "no subcluster of the cluster has this host"
    # authentication
    NOT_AUTHENTICATED = "not_authenticated", (401,), "the request has no valid credentials"
    LOGIN_NEEDED = "login_needed", (401,), "the route needs a login, or the session has ended"
    LOGIN_FAILED = "login_failed", (401,), "user name or password is wrong"
    TOKEN_MISSING = "token_missing", (401,), "the route needs a token"
    TOKEN_INVALID = "token_invalid", (401,), "the token is damaged, or was not signed with the key of this server"
    TOKEN_EXPIRED = "token_expired", (401,), "the token has expired"
    TOKEN_NOT_YET_VALID = "token_not_yet_valid", (401,), "the token is not valid yet; compare the clocks"
    TOKEN_REVOKED = "token_revoked", (401,), "the token was revoked"
    TOKEN_UNKNOWN = "token_unknown", (401,), "the token was issued by another server, or its record was removed"
    TOKENS_DISABLED = "tokens_disabled", (401, 503), "this server has no key to verify or issue tokens"
    ACCOUNT_UNKNOWN = "account_unknown", (401,), "the account of the token no longer exists"
    ACCOUNT_DISABLED = "account_disabled", (401,), "the account of the token is disabled"
    ADDRESS_REFUSED = "address_refused", (401,), "tokens are not accepted from this address (`main.api-allowed-ips`)"
    WRONG_CALLER = "wrong_caller", (401,), "callers of this kind or role have no access to these routes"
    # permission
    NOT_ALLOWED = "not_allowed", (403,), "the caller is authenticated, but not permitted to do this"
    SCOPE_MISSING = "scope_missing", (403,), "the token lacks a scope; the text names it"
    ROLE_MISSING = "role_missing", (403,), "the account lacks a role for this"
    CLUSTER_NOT_ALLOWED = "cluster_not_allowed", (403,), "the token is restricted to other clusters"
    FOREIGN_ORIGIN = "foreign_origin", (403,), "the request comes from a page of another site"
    FORM_EXPIRED = "form_expired", (403,), "the form has expired; reload the page"
    # the resource
    NOT_FOUND = "not_found", (404, 422), "it does not exist, or the caller may not see it"
    ROUTE_UNKNOWN = "route_unknown", (404,), "no route has this path"
    JOB_UNKNOWN = "job_unknown", (404, 422), "the job does not exist, or the caller may not see it"
    METHOD_NOT_ALLOWED = "method_not_allowed", (405,), "the path does not accept this method; `Allow` has those it does"
    REQUEST_TIMEOUT = "request_timeout", (408,), "the request was not complete in time"
    TOO_LARGE = "too_large", (413,), "over a limit that the text names; send or request less"
    BODY_TOO_LARGE = "body_too_large", (413,), "the body is over its limit; send it in smaller parts"
    ANSWER_TOO_LARGE = "answer_too_large", (413,), "the response would be over its limit; request it in smaller parts"
    UNSUPPORTED_MEDIA_TYPE = (
        "unsupported_media_type",
        (415,),
        "the content type or encoding of the body is not supported",
    )
    CONFLICT = "conflict", (422,), "it exists already, or is not in the required state"
    JOB_KNOWN = "job_known", (422,), "this run of the job (cluster, job id, start time) is known already"
    JOB_RUNNING = "job_running", (422,), "another run of the job has not ended; stop it first"
    RUN_OVERLAPS = "run_overlaps", (422,), "the start is within another, ended run of the job"
    JOB_NOT_RUNNING = "job_not_running", (422,), "the job to be stopped or changed has ended already"
    IDEMPOTENCY_KEY_REUSED = (
        "idempotency_key_reused",
        (422,),
        "the caller has used the `Idempotency-Key` for another request; take a new key for each",
    )
    NOT_INSTALLED = "not_installed", (501,), "the server lacks an optional package for this; the text names it"
    # availability
    TOO_MANY_TRIES = "too_many_tries", (429,), "too many tries; retry after `Retry-After` seconds"
    UNAVAILABLE = (
        "unavailable",
        (503,),
        "a part of the server is unavailable or full; retry after `Retry-After` seconds",
    )
    DATABASE_UNAVAILABLE = "database_unavailable", (503,), "the database is unavailable"
    STORE_FULL = "store_full", (503,), "the metric store is full: nothing of the batch was stored, send it again"
    STORE_UNAVAILABLE = "store_unavailable", (503,), "a metric store is unavailable, or is still loading older samples"
    LOG_UNWRITABLE = "log_unwritable", (503,), "the write-ahead log cannot be written: send the batch again"
    UNHEALTHY = "unhealthy", (503,), "the health check found faults, listed in `faults`"
    # the server
    INTERNAL_ERROR = "internal_error", (500,), "an unexpected error; the log has it under `requestId`, if there is one"
    ARCHIVE_DAMAGED = "archive_damaged", (500,), "a file of the job archive is missing or damaged"
    HTTP_ERROR = "http_error", (), "any other error of the HTTP layer; the status says which"

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
