"""The errors of the backend, each translated once, at the edge, to one HTTP answer.

BackendError (500)
├── InvalidInput (400)       the request says something that cannot be
├── NotAuthenticated (401)   nobody known is asking
├── NotAllowed (403)         somebody known is asking for something that is not theirs
├── NotFound (404)           there is no such thing
├── Conflict (422)           the thing is there already, or no longer in the needed state
├── TooLarge (413)           a body, a batch or an answer is over its limit
├── TooMany (429)            too many tries; `retry_after_s` says when to come back
├── Unavailable (503)        a part is away or full; `retry_after_s` says when to come back
└── ArchiveError (500)       a file of the job archive is missing or damaged
    └── ArchiveAway (503)    the whole archive, or a folder of it, is: it is Unavailable too

Each carries a code for programs: the general one of its class, or a closer one (`code=`, see cc_common.error_codes).
"""

from typing import ClassVar

from cc_common.error_codes import ErrorCode
from cc_common.errors import CockpitError


class BackendError(CockpitError):
    """Root of the backend's errors; `shown` is the text for whoever asked, `code` is for programs."""

    status: ClassVar[int] = 500
    default_code: ClassVar[ErrorCode] = ErrorCode.INTERNAL_ERROR

    def __init__(self, message: str, *, code: ErrorCode | None = None, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.retry_after_s = retry_after_s

    @property
    def public_message(self) -> str:
        """The text for whoever asked: it names nothing of the server's inside, such as a path."""
        return str(self)


class InvalidInput(BackendError):
    """The request says something that cannot be; the text names the field."""

    status = 400
    default_code = ErrorCode.INVALID_INPUT


class NotAuthenticated(BackendError):
    """Nobody known is asking, or their role does not fit this class of routes."""

    status = 401
    default_code = ErrorCode.NOT_AUTHENTICATED


class NotAllowed(BackendError):
    """The caller is known and may not do this."""

    status = 403
    default_code = ErrorCode.NOT_ALLOWED


class NotFound(BackendError):
    """There is no such thing, or the caller may not know of it."""

    status = 404
    default_code = ErrorCode.NOT_FOUND


class TooLarge(BackendError):
    """A body, a batch or an answer is over its limit; the text names the limit."""

    status = 413
    default_code = ErrorCode.TOO_LARGE


class Conflict(BackendError):
    """The thing is there already, or no longer in the state the request needs."""

    status = 422
    default_code = ErrorCode.CONFLICT


class TooManyRequests(BackendError):
    """Too many tries; `retry_after_s` says when to come back."""

    status = 429
    default_code = ErrorCode.TOO_MANY_TRIES


class Unavailable(BackendError):
    """A part is away or full; what was sent must be sent again."""

    status = 503
    default_code = ErrorCode.UNAVAILABLE


class ArchiveError(BackendError):
    """A file of the job archive is missing or damaged; the text names it, for the log.

    `subject` is what `shown` names instead, such as a job.
    """

    default_code = ErrorCode.ARCHIVE_DAMAGED
    subject = "a part of the job archive"

    @property
    def public_message(self) -> str:
        """What is missing or damaged, without its path."""
        return f"{self.subject} is missing or damaged; the server's log names the file"


class ArchiveUnavailable(Unavailable, ArchiveError):
    """The job archive, or a folder of it in which there are jobs, was moved away or unmounted."""

    @property
    def public_message(self) -> str:
        """The whole text: it names no path."""
        return str(self)
