"""Batches in a folder: one file each, with a checksum, written atomically."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import re
import zlib
from pathlib import Path
from typing import Dict, Optional

from cc_common.errors import DeliveryError

logger = logging.getLogger(__name__)

BLOCK_BYTES = 4096
"""Minimum size that a file is counted with, so that small batches cannot exhaust the inodes."""

_NAME = re.compile(r"([0-9]{18})\.batch")
_TEMPORARY = re.compile(r"\.[0-9]{18}\.tmp")
_LOCK, _ASIDE = ".lock", "aside"
_HEAD = re.compile(rb"cc-batch 1 ([0-9]+) ([0-9a-f]{8})\n")
_MAX_HEAD_BYTES = 64


class Spool:
    """A folder of numbered batches, locked by one process.

    Raises DeliveryError if the folder cannot be created, read or locked.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._lock_fd = -1
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock_fd = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise DeliveryError(f"spool folder {directory} is in use by another process") from error
        except OSError as error:
            self.close()
            raise DeliveryError(f"spool folder {directory} cannot be used: {error.strerror}") from error

    def close(self) -> None:
        """Release the lock of the folder."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def scan(self) -> Dict[int, int]:
        """Size of each batch on disk by number, oldest first; anything else is deleted or set aside."""
        found: Dict[int, int] = {}
        try:
            with os.scandir(self.directory) as entries:
                for entry in list(entries):
                    self._scan_entry(entry, found)
        except OSError as error:
            raise DeliveryError(f"spool folder {self.directory} cannot be read: {error.strerror}") from error
        return {number: found[number] for number in sorted(found)}

    def _scan_entry(self, entry: os.DirEntry[str], found: Dict[int, int]) -> None:
        if entry.name in (_LOCK, _ASIDE):
            return
        if _TEMPORARY.fullmatch(entry.name):  # never acknowledged: the process ended before the file was whole
            Path(entry.path).unlink()
            return
        match = _NAME.fullmatch(entry.name)
        if match and entry.is_file(follow_symlinks=False):
            found[int(match.group(1))] = entry.stat(follow_symlinks=False).st_size
        else:
            self._set_aside(Path(entry.path), "it is not a batch")

    def write(self, number: int, batch: bytes) -> int:
        """Write a batch to disk, synced when this returns; the size of the file.

        A batch of the same number is replaced. Raises OSError, and then leaves no file behind.
        """
        path, temporary = self._path(number), self.directory / f".{number:018d}.tmp"
        content = b"cc-batch 1 %d %08x\n%b" % (len(batch), zlib.crc32(batch), batch)
        try:
            fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            with os.fdopen(fd, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            self._sync_directory()
        except OSError:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        return len(content)

    def read(self, number: int) -> Optional[bytes]:
        """The batch of a number; None if the file is missing, unreadable or damaged (then it is set aside)."""
        path = self._path(number)
        try:
            content = path.read_bytes()
        except OSError as error:
            logger.warning("spooled batch lost file=%s reason=%r", path, error.strerror)
            return None
        head = _HEAD.match(content[:_MAX_HEAD_BYTES])
        if head:
            batch = content[head.end() :]
            if len(batch) == int(head.group(1)) and zlib.crc32(batch) == int(head.group(2), 16):
                return batch
        self._set_aside(path, "it is damaged")
        return None

    def remove(self, number: int) -> None:
        """Delete a batch; a missing file is not an error."""
        try:
            self._path(number).unlink()
        except FileNotFoundError:
            return
        except OSError as error:
            logger.warning("cannot delete spooled batch file=%s reason=%r", self._path(number), error.strerror)

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:018d}.batch"

    def _sync_directory(self) -> None:
        fd = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def _set_aside(self, path: Path, reason: str) -> None:
        aside = self.directory / _ASIDE
        try:
            aside.mkdir(mode=0o700, exist_ok=True)
            target = aside / path.name
            count = 0
            while target.exists() or target.is_symlink():
                count += 1
                target = aside / f"{path.name}.{count}"
            path.rename(target)
        except OSError as error:
            logger.warning("cannot set aside file=%s reason=%r", path, error.strerror)
        else:
            logger.warning("set aside file=%s to=%s reason=%r", path, target, reason)
