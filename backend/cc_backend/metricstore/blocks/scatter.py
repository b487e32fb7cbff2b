"""Samples of a batch to their places, in C where the extension was built, else by NumPy. Both do the same."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from cc_backend.metricstore.ingest.native_reader import HAS_NATIVE
from cc_backend.metricstore.model import Int64Array
from cc_backend.model import Samples

if HAS_NATIVE:
    from cc_backend.metricstore import _kernel

HostNumbers = npt.NDArray[np.int32]
"""Number of the host by sid."""


def chunks_of(rows: Int64Array, shift: int, *, native: bool = HAS_NATIVE) -> list[int]:
    """The different `rows >> shift`, ascending. Raises IndexError for a row below 0."""
    if native:
        return _kernel.chunks(rows, shift)
    chunks: list[int] = np.unique(rows >> shift).tolist()
    if chunks and chunks[0] < 0:
        raise IndexError("an index is out of bounds")
    return chunks


def scatter(
    blocks: Sequence[Samples | None],
    rows: Int64Array,
    columns: int | Int64Array,
    values: Samples,
    *,
    first_chunk: int,
    shift: int,
    native: bool = HAS_NATIVE,
) -> None:
    """Write `values[i]` to row `rows[i]`, column `columns[i]`; for one place the last write wins.

    Row r is row `r % 2**shift` of `blocks[(r >> shift) - first_chunk]`. Raises IndexError for a place outside of the
    blocks; what came before it may be written.
    """
    if native:
        _kernel.scatter(list(blocks), first_chunk, shift, rows, columns, values)
        return
    for chunk in chunks_of(rows, shift, native=False):
        where = np.flatnonzero(rows >> shift == chunk)
        local = rows[where] & ((1 << shift) - 1)
        within = columns if isinstance(columns, int) else columns[where]
        block = blocks[chunk - first_chunk] if 0 <= chunk - first_chunk < len(blocks) else None
        if block is None or int(np.min(within)) < 0:
            raise IndexError("an index is out of bounds")
        block[local, within] = values[where]


def update_newest_times(
    sids: Int64Array,
    times_s: int | Int64Array,
    newest_s: Int64Array,
    host_of: HostNumbers,
    host_newest_s: Int64Array,
    *,
    native: bool = HAS_NATIVE,
) -> None:
    """Raise the newest times of series, and of their hosts, to those of new samples.

    Raises IndexError for a sid or host outside of the columns.
    """
    if native:
        _kernel.newest(sids, times_s, newest_s, host_of, host_newest_s)
        return
    hosts = host_of[sids]
    if len(sids) and min(int(sids.min()), int(hosts.min())) < 0:
        raise IndexError("an index is out of bounds")
    if isinstance(times_s, int):
        # With one time for all, several writes to one place write the same.
        newest_s[sids] = np.maximum(newest_s[sids], times_s)
        host_newest_s[hosts] = np.maximum(host_newest_s[hosts], times_s)
    else:
        np.maximum.at(newest_s, sids, times_s)
        np.maximum.at(host_newest_s, hosts, times_s)
