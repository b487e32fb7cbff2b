"""The errors of the backend, each translated once, at the edge, to one HTTP response.

BackendError (500)
├── InvalidInput (400)       the request has an invalid value
├── NotAuthenticated (401)   the caller is unknown
├── NotAllowed (403)         the caller may not do this
├── NotFound (404)           there is no such thing
├── Conflict (422)           the thing is there already, or no longer in the needed state
├── TooLarge (413)           a body, a batch or a response exceeds its limit
├── TooManyRequests (429)    too many attempts; `retry_after_s` says when to try again
├── NotInstalled (501)       the server lacks an optional package
├── Unavailable (503)        a part is unavailable or full; `retry_after_s` says when to try again
└── ArchiveError (500)       a file of the job archive is missing or damaged
    └── ArchiveUnavailable (503)  the whole archive, or a folder of it, is missing; it is Unavailable as well

Each has a code for programs: the default of its class, or a more specific one (`code=`, see cc_common.error_codes).
"""

from typing import ClassVar

from cc_common.error_codes import ErrorCode
from cc_common.errors import CockpitError


class BackendError(CockpitError):
    """Base class of the backend's errors: `public_message` is the text for the caller, `code` is for programs."""

    status: ClassVar[int] = 500
    default_code: ClassVar[ErrorCode] = ErrorCode.INTERNAL_ERROR
    default_retry_after_s: ClassVar[int | None] = None

    def __init__(self, message: str, *, code: ErrorCode | None = None, retry_after_s: int | None = None) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        self.retry_after_s = self.default_retry_after_s if retry_after_s is None else retry_after_s

    @property
    def public_message(self) -> str:
        """Text for the caller, without internals of the server such as paths."""
        return str(self)


class InvalidInput(BackendError):
    """The request has an invalid value; the text names the field."""

    status = 400
    default_code = ErrorCode.INVALID_INPUT


class NotAuthenticated(BackendError):
    """The caller is unknown, or its role has no access to this class of routes."""

    status = 401
    default_code = ErrorCode.NOT_AUTHENTICATED


class NotAllowed(BackendError):
    """The caller is known but lacks the right to do this."""

    status = 403
    default_code = ErrorCode.NOT_ALLOWED


class NotFound(BackendError):
    """It does not exist, or the caller may not know that it does."""

    status = 404
    default_code = ErrorCode.NOT_FOUND


class TooLarge(BackendError):
    """A body, a batch or a response exceeds its limit; the text names the limit."""

    status = 413
    default_code = ErrorCode.TOO_LARGE


class Conflict(BackendError):
    """It exists already, or is no longer in the state that the request needs."""

    status = 422
    default_code = ErrorCode.CONFLICT


class TooManyRequests(BackendError):
    """Too many attempts; `retry_after_s` says when to try again."""

    status = 429
    default_code = ErrorCode.TOO_MANY_TRIES


class NotInstalled(BackendError):
    """The server lacks an optional package; the text names it."""

    status = 501
    default_code = ErrorCode.NOT_INSTALLED


class Unavailable(BackendError):
    """A part of the server is unavailable or full; the request must be sent again."""

    status = 503
    default_code = ErrorCode.UNAVAILABLE
    default_retry_after_s = 30


class ArchiveError(BackendError):
    """A file of the job archive is missing or damaged; the text names it, for the log.

    `subject` is what `public_message` names instead, such as a job.
    """

    default_code = ErrorCode.ARCHIVE_DAMAGED
    subject = "a part of the job archive"

    @property
    def public_message(self) -> str:
        """Text that names what is missing or damaged, without its path."""
        return f"{self.subject} is missing or damaged; the server's log names the file"


class ArchiveUnavailable(Unavailable, ArchiveError):
    """The job archive, or a folder of it that holds jobs, was moved away or unmounted."""

    @property
    def public_message(self) -> str:
        """The full text, which names no path."""
        return str(self)
