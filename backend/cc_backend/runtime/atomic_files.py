"""Files that are there whole or not at all, whenever the machine stops."""

import os
import secrets
from contextlib import suppress
from pathlib import Path

from cc_backend.errors import ArchiveError

_TEMPORARY_SUFFIX = ".tmp"


def write_atomically(path: Path, content: bytes) -> None:
    """Write the file beside its place, force it to disk, and only then give it its name.

    Raises ArchiveError that names the file and the reason, such as a full disk; the old file is then untouched.
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
    """Remove a file, if it is there; raises ArchiveError that names it if that cannot be done."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise ArchiveError(f"{path}: cannot be removed: {error.strerror}") from error


def remove_leftovers(directory: Path) -> None:
    """Remove what a killed process left half written in a directory."""
    for path in directory.glob(f".*{_TEMPORARY_SUFFIX}"):
        with suppress(FileNotFoundError):
            path.unlink()


def make_directories(path: Path) -> None:
    """Make a directory with those above it, each forced to disk with its parent; that is no error if it is there."""
    if path.is_dir():
        return
    make_directories(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Force the names in a directory to disk."""
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
