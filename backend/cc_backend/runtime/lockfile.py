"""Lock files: one process at a time uses a folder or a database; errors name the process that has the lock."""

import contextlib
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cc_backend.errors import BackendError

_TRIES = 10
_RETRY_DELAY_S = 0.2
_Acquired = TypeVar("_Acquired")

FileId = tuple[int, int]
"""Device and inode: identifies a file whatever its name."""


class LockFile:
    """A file that this process has locked, with its process id. The lock ends with `close` or with the process."""

    def __init__(self, path: Path, subject: str, *, shared: bool = False) -> None:
        """Lock the file, which is made if it is missing; `subject` names in errors what is in use.

        Processes that ask for a `shared` lock may have it together.

        Raises:
            BackendError: another process has the lock, or the file cannot be made; the text names both.
        """
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BackendError(f"{subject} cannot be used: {path}: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except OSError:
            holder = _holder_text(self._descriptor)
            os.close(self._descriptor)
            raise BackendError(
                f"{subject} is in use by another process{holder}; stop that one, or give this one a place of its own"
            ) from None
        self.id = file_id(os.fstat(self._descriptor))
        self.write_note(read_note(path))

    def is_in_place(self) -> bool:
        """Whether the locked file is still the one at this path."""
        return is_same_file(self.path, self.id)

    def write_note(self, note: str) -> None:
        """Write a text for `read_note`; it stays after the end of this process."""
        content = f"{os.getpid()}\n{note}\n".encode()
        with contextlib.suppress(OSError):  # a full disk: the lock holds, only its holder cannot be named
            os.pwrite(self._descriptor, content, 0)
            os.ftruncate(self._descriptor, len(content))

    def close(self) -> None:
        """Release the lock. The file stays: if it were removed, two waiting processes could lock different files."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def retry_while_locked(acquire: Callable[[], _Acquired]) -> _Acquired:
    """What `acquire` returns, once it does not raise BackendError: a process that was killed may still be exiting."""
    for _ in range(_TRIES):
        try:
            return acquire()
        except BackendError:
            time.sleep(_RETRY_DELAY_S)
    return acquire()


def require_free_folder(directory: Path) -> None:
    """Raise BackendError if another process uses a folder of samples; the folder need not exist."""
    if directory.is_dir():
        retry_while_locked(lambda: lock_folder(directory)).close()


def lock_folder(directory: Path) -> LockFile:
    """The lock of a folder of samples; raises BackendError with the folder and the process that has it."""
    return LockFile(directory / "lock", f"the folder of the write-ahead log, {directory},")


def file_id(facts: os.stat_result) -> FileId:
    """The identity of a file."""
    return facts.st_dev, facts.st_ino


def is_same_file(path: Path, expected: FileId) -> bool:
    """Whether a path leads to this file; False if the path cannot be read."""
    try:
        return file_id(os.stat(path)) == expected  # noqa: PTH116 - called for each batch: Path.stat takes twice as long
    except OSError:
        return False


def read_note(path: Path) -> str:
    """The note of the last holder of a lock; empty if there is none."""
    try:
        return path.read_text("utf-8", "replace").partition("\n")[2].strip()
    except OSError:
        return ""


def _holder_text(descriptor: int) -> str:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return f" (pid {int(os.pread(descriptor, 20, 0).split()[0])})"
    return ""
