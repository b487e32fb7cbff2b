"""Response bodies that lie in an unnamed file instead of in memory, complete before the response begins."""

import mmap
import tempfile
from collections.abc import Iterable, Iterator

_BLOCK_BYTES = 64 * 1024


class BodyFileError(Exception):
    """The temporary file of a body cannot be made or written, for example because its disk is full."""


class BodyTooLongError(Exception):
    """A body is longer than its limit."""


class FileBody:
    """A complete body, mapped from a file that ends with the last view of it.

    It is a WSGI iterable; this server sends `view` instead, so that a body is never in memory as a whole.
    """

    def __init__(self, view: memoryview) -> None:
        self.view = view

    @classmethod
    def from_parts(cls, parts: Iterable[bytes], *, limit_bytes: int) -> "FileBody":
        """The body of these parts, written to the folder for temporary files (`TMPDIR`).

        Raises:
            BodyFileError: the file cannot be made or written.
            BodyTooLongError: the parts are longer than `limit_bytes`; nothing of them is kept.
        """
        pieces = iter(parts)
        size = 0
        try:
            with tempfile.TemporaryFile(prefix="cc-backend-") as file:
                for part in _errors_apart(pieces):
                    size += len(part)
                    if size > limit_bytes:
                        raise BodyTooLongError
                    file.write(part)
                file.flush()
                return cls(memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""))
        except OSError as error:
            raise BodyFileError(error.strerror or str(error)) from error
        except _PartsError as error:
            raise error.cause from None

    def __iter__(self) -> Iterator[bytes]:
        for begin in range(0, len(self.view), _BLOCK_BYTES):
            yield bytes(self.view[begin : begin + _BLOCK_BYTES])


class _PartsError(Exception):
    """An error of who makes the parts, which must not count as one of the file."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(str(cause))
        self.cause = cause


def _errors_apart(parts: Iterator[bytes]) -> Iterator[bytes]:
    try:
        yield from parts
    except Exception as error:
        raise _PartsError(error) from error
