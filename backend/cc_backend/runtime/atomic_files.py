"""Atomic file operations: after a crash a file is complete or absent."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from cc_backend.errors import ArchiveError

_TEMPORARY_SUFFIX = ".tmp"


def write_atomically(path: Path, content: bytes) -> None:
    """Write a temporary file beside the target, sync it to disk, and rename it.

    Raises ArchiveError that names the file and the reason, such as a full disk; the old file is then unchanged.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_TEMPORARY_SUFFIX}")
    try:
        _write_through(temporary, content)
        temporary.replace(path)
        sync_directory(path.parent)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise ArchiveError(f"{path}: cannot be written: {error.strerror or error}") from error


def remove_file(path: Path) -> None:
    """Remove a file if it exists; raises ArchiveError that names it if it cannot be removed."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be removed: {error.strerror}") from error


def remove_leftovers(directory: Path) -> None:
    """Remove the temporary files that a killed process left in a directory."""
    for path in directory.glob(f".*{_TEMPORARY_SUFFIX}"):
        with suppress(FileNotFoundError):
            path.unlink()


def make_directories(path: Path) -> None:
    """Create a directory and its parents, each synced to disk; no error if it exists."""
    if path.is_dir():
        return
    make_directories(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Sync the entries of a directory to disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_through(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
