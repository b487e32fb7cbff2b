"""Parts of files that are read when they are asked for, so that what is on disk need not be in memory."""

import logging
import os
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path

logger = logging.getLogger(__name__)


class UnreadableError(OSError):
    """The disk does not give what it has. That may pass, so nothing may take the place of what it has."""


class DamagedSliceError(Exception):
    """A part is not what was written there; what it was is gone."""


class SliceFile:
    """A file open for reading as long as a part of it is in use; it may be replaced or removed meanwhile.

    Read with pread, not mapped: a disk that fails gives an error, not a signal. Raises OSError if it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._logged = threading.Event()

    def read(self, offset: int, length: int) -> bytes:
        """The bytes of a part; fewer at the end of the file. Raises OSError."""
        pieces = []
        while length > 0:
            piece = os.pread(self._descriptor, length, offset)
            if not piece:
                break
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def log_fault(self, fault: str) -> None:
        """Say in the log, once, that something of this file cannot be read."""
        if not self._logged.is_set():
            self._logged.set()
            logger.error("file=%s cannot be read: %s; its samples are missing in answers", self.path, fault)

    def __del__(self) -> None:
        descriptor = getattr(self, "_descriptor", None)
        if descriptor is not None:
            os.close(descriptor)


@dataclass(frozen=True, slots=True)
class FileSlice:
    """Where a payload lies on disk. `crc32` is that of its bytes (as of zlib), or None if it is not known."""

    file: SliceFile
    offset: int
    length: int
    crc32: int | None = None

    def try_read(self) -> bytes | None:
        """The bytes, or None if they cannot be read or are damaged, which is logged once per file."""
        try:
            return self.read()
        except (UnreadableError, DamagedSliceError):
            return None

    def read(self) -> bytes:
        """The bytes. Raises UnreadableError and DamagedSliceError, which is logged once per file."""
        try:
            data = self.file.read(self.offset, self.length)
        except OSError as error:
            reason = error.strerror or str(error)
            self.file.log_fault(reason)
            raise UnreadableError(error.errno, reason) from error
        if len(data) != self.length:
            fault = "it is too short"
        elif self.crc32 is not None and zlib.crc32(data) != self.crc32:
            fault = "a checksum is wrong"
        else:
            return data
        self.file.log_fault(fault)
        raise DamagedSliceError(fault)
