"""One cold block of samples: compressed in memory, or on disk only."""

import logging

import numpy as np

from cc_backend.metricstore.blocks.codec import Codec, choose
from cc_backend.metricstore.blocks.codec_numpy import read_header
from cc_backend.metricstore.blocks.file_slice import DamagedPartError, FilePart, UnreadableError
from cc_backend.metricstore.blocks.hot_block import WINDOW_SLOTS, Beneath, Block
from cc_backend.metricstore.blocks.matrix import Summary, Target
from cc_backend.metricstore.blocks.mmap_arrays import Pages, kept
from cc_backend.metricstore.blocks.payload_format import CodecError
from cc_backend.metricstore.model import Flags, Ids
from cc_backend.model import Samples

logger = logging.getLogger(__name__)


def freeze(samples: Samples, *, mantissa_bits: int = 0, codec: Codec | None = None) -> bytes:
    """The payload of a block: what a cold block holds and a snapshot writes. 0 bits keep samples exactly."""
    return (codec or choose()).encode(samples, mantissa_bits)


class ColdBlock:
    """Like a `Block` that does not change. `payload` is the compressed samples, or where on disk they are.

    It can be read without a lock, also while another thread leaves its samples on disk or tells where they lie now.
    Raises CodecError if the payload's header is damaged or of another width than the windows. A payload on disk is
    read when it is needed, at once only if `rows` does not say how many it has; if that fails later, its samples are
    missing in the answer and the program's log says so. `saved_part` is where on disk a payload in memory also is.
    """

    __slots__ = ("_codec", "_filled", "_held", "rows", "saved_part", "saved_version", "version")

    def __init__(
        self,
        payload: bytes | FilePart,
        *,
        rows: int | None = None,
        version: int = 0,
        saved_version: int = 0,
        saved_part: FilePart | None = None,
        codec: Codec | None = None,
    ) -> None:
        self.payload = payload
        self._filled: bytes | None = None  # a bit a row, noted before the payload leaves: to look there needs no disk
        self.version = version
        self.saved_version = saved_version
        self.saved_part = payload if isinstance(payload, FilePart) else saved_part
        self._codec = codec or choose()
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
    def payload(self) -> bytes | FilePart:
        """A copy of the compressed samples, or where on disk they are."""
        held = self._held
        return held if isinstance(held, FilePart) else bytes(held)

    @payload.setter
    def payload(self, payload: bytes | FilePart) -> None:
        self._held = payload if isinstance(payload, FilePart) else kept(payload)

    @property
    def size_bytes(self) -> int:
        """Bytes of samples in memory."""
        return 0 if isinstance(self._held, FilePart) else len(self._held)

    @property
    def on_disk(self) -> bool:
        """Whether the samples are on disk only."""
        return isinstance(self._held, FilePart)

    @property
    def can_leave(self) -> bool:
        """Whether the samples are in memory and also on disk, where they can be read."""
        return not self.on_disk and self.saved_part is not None and self.version == self.saved_version

    def leave(self) -> int:
        """Keep the samples on disk only, if they can; returns the bytes freed."""
        held = self._held
        if isinstance(held, FilePart) or self.saved_part is None or not self.can_leave:
            return 0
        self._filled = np.packbits(_filled_rows(held)).tobytes()
        self.payload = self.saved_part
        return len(held)

    def read(self, rows: Ids, columns: slice) -> Samples:
        """A matrix with some rows and columns."""
        count = columns.stop - columns.start
        samples: Samples = np.empty((len(rows), count), np.float32)
        self.read_into(rows, columns, Target(samples, np.arange(len(rows))))
        return samples

    def read_into(self, rows: Ids, columns: slice, target: Target) -> None:
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

    def _load(self) -> Pages | None:
        held = self._held  # once: another thread may just leave it on disk
        return held.load() if isinstance(held, FilePart) else held

    def summary(self, rows: Ids, columns: slice) -> Summary:
        """The summary of some rows over some columns."""
        return self._codec.summarise(self.read(rows, columns))

    def holds(self, rows: Ids) -> bool:
        """Whether some of the rows have samples, or may have because that cannot be read."""
        if self._filled is not None:
            return bool(np.unpackbits(np.frombuffer(self._filled, np.uint8))[rows].any())
        data = self._load()
        return data is None or bool(_filled_rows(data)[rows].any())

    def thaw(self, rows: int) -> Block:
        """A hot block with the same samples and at least so many rows; what the disk does not give is beneath it."""
        block = Block(max(rows, self.rows), self._codec)
        block.version, block.saved_version, block.saved_part = self.version, self.saved_version, self.saved_part
        here, held = np.arange(self.rows), self._held
        try:
            data = held.fetch() if isinstance(held, FilePart) else held
            self._codec.decode(data, here, slice(0, WINDOW_SLOTS), Target(block.samples, here))
        except UnreadableError:
            if isinstance(held, FilePart):
                block.beneath = Beneath(held, self.rows)
        except (DamagedPartError, CodecError) as error:
            logger.error("compressed samples are damaged, they are lost: %s", error)  # noqa: TRY400
            block.samples[here] = np.nan
        return block


def _filled_rows(payload: Pages) -> Flags:
    """Which rows of a payload have samples."""
    _, starts = read_header(payload)
    filled: Flags = np.diff(starts) > 0
    return filled
