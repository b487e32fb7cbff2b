"""Lock files: one process at a time uses a folder or a database; who is turned away learns which process has it."""

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
"""Device and inode: what tells a file from another one of the same name."""


class LockFile:
    """A file that this process has locked, with its process id in it. The lock ends with the process, or by `close`."""

    def __init__(self, path: Path, subject: str) -> None:
        """Lock the file, which is made if it is missing; `subject` says in an error what is in use.

        Raises:
            BackendError: another process has the lock, or the file cannot be made; the text names both.
        """
        self.path = path
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise BackendError(f"{subject} cannot be used: {path}: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = _holder_text(self._descriptor)
            os.close(self._descriptor)
            raise BackendError(
                f"{subject} is in use by another process{holder}; stop that one, or give this one a place of its own"
            ) from None
        self.id = file_id(os.fstat(self._descriptor))
        self.write_note(read_note(path))

    def is_in_place(self) -> bool:
        """Whether the file that is locked is still the one with this name."""
        return is_same_file(self.path, self.id)

    def write_note(self, note: str) -> None:
        """Have this found by `read_note`, from now on and after the end of this process."""
        content = f"{os.getpid()}\n{note}\n".encode()
        with contextlib.suppress(OSError):  # a full disk: the lock holds, only its holder is not named
            os.pwrite(self._descriptor, content, 0)
            os.ftruncate(self._descriptor, len(content))

    def close(self) -> None:
        """Give the lock to whoever comes next. The file stays: removing it could part two that wait for it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def retry_while_locked(acquire: Callable[[], _Acquired]) -> _Acquired:
    """What `take` gives, once it does not raise BackendError: a process that was killed may still be on its way out."""
    for _ in range(_TRIES):
        try:
            return acquire()
        except BackendError:
            time.sleep(_RETRY_DELAY_S)
    return acquire()


def require_free_folder(directory: Path) -> None:
    """Return if no other process uses a folder of samples, or there is none yet; raises BackendError otherwise."""
    if directory.is_dir():
        retry_while_locked(lambda: lock_folder(directory)).close()


def lock_folder(directory: Path) -> LockFile:
    """The lock of a folder of samples; raises BackendError that names the folder and who has it."""
    return LockFile(directory / "lock", f"the folder of the write-ahead log, {directory},")


def file_id(facts: os.stat_result) -> FileId:
    """What tells a file from others."""
    return facts.st_dev, facts.st_ino


def is_same_file(path: Path, expected: FileId) -> bool:
    """Whether a path leads to this file; not if nothing can be seen there."""
    try:
        return file_id(os.stat(path)) == expected  # noqa: PTH116 - called for each batch: Path.stat takes twice as long
    except OSError:
        return False


def read_note(path: Path) -> str:
    """What the last one who had a lock left in its file; empty if that is nothing."""
    try:
        return path.read_text("utf-8", "replace").partition("\n")[2].strip()
    except OSError:
        return ""


def _holder_text(descriptor: int) -> str:
    with contextlib.suppress(OSError, ValueError, IndexError):
        return f" (pid {int(os.pread(descriptor, 20, 0).split()[0])})"
    return ""
