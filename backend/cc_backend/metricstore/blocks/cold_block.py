"""One cold block of samples: compressed in memory, or on disk only."""

import logging

import numpy as np

from cc_backend.metricstore.blocks.codec import Codec, choose_codec
from cc_backend.metricstore.blocks.codec_numpy import read_header
from cc_backend.metricstore.blocks.file_slice import DamagedSliceError, FileSlice, UnreadableError
from cc_backend.metricstore.blocks.hot_block import WINDOW_SLOTS, HotBlock, PendingDiskPart
from cc_backend.metricstore.blocks.matrix import MatrixTarget, RowSummary
from cc_backend.metricstore.blocks.mmap_arrays import Buffer, copy_to_pages
from cc_backend.metricstore.blocks.payload_format import CodecError
from cc_backend.metricstore.model import BoolArray, Int64Array
from cc_backend.model import Samples

logger = logging.getLogger(__name__)


def compress(samples: Samples, *, mantissa_bits: int = 0, codec: Codec | None = None) -> bytes:
    """The payload of a block: what a cold block holds and a snapshot writes. 0 bits keep samples exactly."""
    return (codec or choose_codec()).encode(samples, mantissa_bits)


class ColdBlock:
    """Like a `HotBlock` that does not change. `payload` is the compressed samples, or where on disk they are.

    It can be read without a lock, also while another thread leaves its samples on disk or records where they lie now.
    Raises CodecError if the payload's header is damaged or of another width than the windows. A payload on disk is
    read when it is needed, at once only if `rows` does not say how many it has; if that fails later, its samples are
    missing in the answer and the program's log says so. `saved_slice` is where on disk a payload in memory also is.
    """

    __slots__ = ("_codec", "_filled", "_held", "rows", "saved_slice", "saved_version", "version")

    def __init__(
        self,
        payload: bytes | FileSlice,
        *,
        rows: int | None = None,
        version: int = 0,
        saved_version: int = 0,
        saved_part: FileSlice | None = None,
        codec: Codec | None = None,
    ) -> None:
        self.payload = payload
        self._filled: bytes | None = (
            None  # a bit a row, recorded before the payload is evicted: to look there needs no disk
        )
        self.version = version
        self.saved_version = saved_version
        self.saved_slice = payload if isinstance(payload, FileSlice) else saved_part
        self._codec = codec or choose_codec()
        if rows is not None:
            self.rows = rows
            return
        data = self._load()
        if data is None:
            raise CodecError("a payload on disk cannot be read")
        header, _ = read_header(data)
        if header.slots != WINDOW_SLOTS:
            raise CodecError(f"a payload has {header.slots} slots, a window has {WINDOW_SLOTS}")
        self.rows = header.rows

    @property
    def payload(self) -> bytes | FileSlice:
        """A copy of the compressed samples, or where on disk they are."""
        held = self._held
        return held if isinstance(held, FileSlice) else bytes(held)

    @payload.setter
    def payload(self, payload: bytes | FileSlice) -> None:
        self._held = payload if isinstance(payload, FileSlice) else copy_to_pages(payload)

    @property
    def size_bytes(self) -> int:
        """Bytes of samples in memory."""
        return 0 if isinstance(self._held, FileSlice) else len(self._held)

    @property
    def on_disk(self) -> bool:
        """Whether the samples are on disk only."""
        return isinstance(self._held, FileSlice)

    @property
    def is_evictable(self) -> bool:
        """Whether the samples are in memory and also on disk, where they can be read."""
        return not self.on_disk and self.saved_slice is not None and self.version == self.saved_version

    def evict(self) -> int:
        """Keep the samples on disk only, if they can; returns the bytes freed."""
        held = self._held
        if isinstance(held, FileSlice) or self.saved_slice is None or not self.is_evictable:
            return 0
        self._filled = np.packbits(_filled_rows(held)).tobytes()
        self.payload = self.saved_slice
        return len(held)

    def read(self, rows: Int64Array, columns: slice) -> Samples:
        """A matrix with some rows and columns."""
        count = columns.stop - columns.start
        samples: Samples = np.empty((len(rows), count), np.float32)
        self.read_into(rows, columns, MatrixTarget(samples, np.arange(len(rows))))
        return samples

    def read_into(self, rows: Int64Array, columns: slice, target: MatrixTarget) -> None:
        """Copy some rows and columns to a place in a matrix."""
        data = self._load()
        if data is not None:
            try:
                self._codec.decode(data, rows, columns, target)
            except CodecError as error:
                logger.error("compressed samples are damaged, answers lack them: %s", error)  # noqa: TRY400
            else:
                return
        target.matrix[target.rows, target.column : target.column + columns.stop - columns.start] = np.nan

    def _load(self) -> Buffer | None:
        held = self._held  # once: another thread may just leave it on disk
        return held.try_read() if isinstance(held, FileSlice) else held

    def summarise(self, rows: Int64Array, columns: slice) -> RowSummary:
        """The summary of some rows over some columns."""
        return self._codec.summarise(self.read(rows, columns))

    def has_samples(self, rows: Int64Array) -> bool:
        """Whether some of the rows have samples, or may have because that cannot be read."""
        if self._filled is not None:
            return bool(np.unpackbits(np.frombuffer(self._filled, np.uint8))[rows].any())
        data = self._load()
        return data is None or bool(_filled_rows(data)[rows].any())

    def decompress(self, rows: int) -> HotBlock:
        """A hot block with the same samples and at least `rows` rows; what the disk cannot give is pending in it."""
        block = HotBlock(max(rows, self.rows), self._codec)
        block.version, block.saved_version, block.saved_slice = self.version, self.saved_version, self.saved_slice
        here, held = np.arange(self.rows), self._held
        try:
            data = held.read() if isinstance(held, FileSlice) else held
            self._codec.decode(data, here, slice(0, WINDOW_SLOTS), MatrixTarget(block.samples, here))
        except UnreadableError:
            if isinstance(held, FileSlice):
                block.pending = PendingDiskPart(held, self.rows)
        except (DamagedSliceError, CodecError) as error:
            logger.error("compressed samples are damaged, they are lost: %s", error)  # noqa: TRY400
            block.samples[here] = np.nan
        return block


def _filled_rows(payload: Buffer) -> BoolArray:
    """Which rows of a payload have samples."""
    _, starts = read_header(payload)
    filled: BoolArray = np.diff(starts) > 0
    return filled
