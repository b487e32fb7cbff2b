"""Memory that goes back to the system the moment it is no longer used.

Blocks come and go by the hundred thousand, of a size at which `malloc` leaves holes between them: with real
data a compressed sample cost 2.1 bytes of the process instead of 1.5.
"""

import mmap
from typing import Any

import numpy as np

from cc_backend.model import Samples

_MIN_MAPPED_BYTES = 16384  # less is not worth whole pages

Buffer = bytes | bytearray | mmap.mmap


def allocate(size_bytes: int) -> bytearray | mmap.mmap:
    """So much writable memory, all zero."""
    if size_bytes < _MIN_MAPPED_BYTES:
        return bytearray(size_bytes)
    try:
        return mmap.mmap(-1, size_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    except OSError:  # a process may have some 65 000 maps, though neighbours count as one
        return bytearray(size_bytes)


def copy_to_pages(data: bytes) -> Buffer:
    """A copy of the bytes in memory of `allocate`; short ones are returned as they are."""
    if len(data) < _MIN_MAPPED_BYTES:
        return data
    copy = allocate(len(data))
    copy[:] = data
    return copy


def allocate_nan(rows: int, columns: int) -> Samples:
    """A matrix of NaN, in memory of that kind."""
    buffer: Any = allocate(4 * rows * columns)
    samples: Samples = np.frombuffer(buffer, np.float32).reshape(rows, columns)
    samples.fill(np.nan)
    return samples
