"""The bytes of a compressed block: what both codecs write and read alike. `docs/formats.md` has the table.

A payload is a header of 16 bytes, the length of each row as u16, then the rows one after the other. All numbers are
little endian, bits are filled from the lowest one. A row holds the columns [first, first + count) of the header; one
without samples has length 0. Any other row is a descriptor (u16), a base (u32), a bitmap of the columns that have a
sample if some have none, and one offset per sample, packed with `width` bits each. The value is

- scale 0 to 6: float32((int32(base) + offset * 2^shift) / 10^scale), divided in double precision: short decimals,
- scale 7: the float32 whose bits, put into an order like that of the numbers, are base + offset * 2^shift.

With a dictionary (a byte with its size less one, then its offsets in ascending order, `width` bits each), the samples
are positions in it, with as many bits as the largest position needs.
"""

from cc_backend.errors import BackendError

MAGIC = b"CCPB"
VERSION = 1
HEADER = "<4sBBHHHHH"  # magic, version, 0, rows, slots, first, count, 0
HEADER_BYTES = 16
ROW_HEADER_BYTES = 6
MAX_ROWS = 1024
MAX_SLOTS = 256
FLOAT_SCALE = 7
MAX_DECIMAL = 2**31 - 1

# Bits of the descriptor
WIDTH_MASK = 0x3F
SHIFT_AT = 6
SHIFT_MASK = 0x1F
SCALE_AT = 11
SCALE_MASK = 0x7
BITMAP = 1 << 14
DICTIONARY = 1 << 15
MAX_WIDTH = 32


class CodecError(BackendError, ValueError):
    """A payload that cannot be read."""
