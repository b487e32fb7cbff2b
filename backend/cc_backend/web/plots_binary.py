"""The plots of a page with their curves as one block of numbers; docs/formats.md has the layout."""

import struct
from typing import Any

import numpy as np
import orjson

from cc_backend.insight.curve_maths import Values

MEDIA_TYPE = "application/vnd.clustercockpit.plots"
MAGIC = b"CCPLOTS\0"
VERSION = 1

_HEADER = struct.Struct("<8sIII")
_ALIGNMENT = 4
_SPARE_BITS = 6  # 18 significant bits stay, over five digits; trailing zeros compress well


class CurveBlock:
    """Collects the curves of one document into one block of numbers."""

    def __init__(self) -> None:
        self._curves: list[Values] = []
        self._length = 0

    def add_curve(self, values: Values) -> list[int]:
        """Add a curve; returns the index of its first number in the block, and its length."""
        first = self._length
        self._curves.append(values)
        self._length += len(values)
        return [first, len(values)]

    def encode(self, document: dict[str, Any]) -> bytes:
        """The document, in which each curve is such a pair, followed by the block."""
        head = orjson.dumps(document)
        head += b" " * (-(_HEADER.size + len(head)) % _ALIGNMENT)
        return _HEADER.pack(MAGIC, VERSION, len(head), self._length) + head + self._encode_numbers()

    def _encode_numbers(self) -> bytes:
        if not self._curves:
            return b""
        with np.errstate(over="ignore"):
            numbers = np.concatenate(self._curves).astype("<f4")
        known = np.isfinite(numbers)
        bits = numbers.view("<u4")
        bits += np.uint32(1 << (_SPARE_BITS - 1))
        bits &= np.uint32(~((1 << _SPARE_BITS) - 1) & 0xFFFF_FFFF)
        numbers[~(known & np.isfinite(numbers))] = np.nan
        return numbers.tobytes()
