"""Chooses how blocks are compressed and matrices worked on: in C where that was built, else in NumPy.

Both give the same bytes and the same samples. `payload_format` describes the bytes.
"""

from typing import Protocol

import numpy as np

from cc_backend.metricstore.blocks import codec_numpy, matrix
from cc_backend.metricstore.blocks.matrix import Int32Array, MatrixTarget, RowSummary
from cc_backend.metricstore.blocks.mmap_arrays import Buffer
from cc_backend.metricstore.blocks.payload_format import CodecError
from cc_backend.metricstore.model import Int64Array
from cc_backend.model import Samples

try:
    from cc_backend.metricstore import _codec
except ImportError:  # no compiler when this was installed
    _codec = None  # type: ignore[assignment]


_MANTISSA_BITS = 23


class Codec(Protocol):
    """Compresses blocks, and does what is done most with matrices of samples."""

    native: bool

    def encode(self, samples: Samples, mantissa_bits: int = 0) -> bytes:
        """The payload of a block; with `mantissa_bits` 1 to 22, samples are rounded to so many bits of mantissa.

        Raises CodecError for more than 1024 rows or 256 columns. Another thread may change the samples meanwhile:
        the payload is whole then, but each changed sample is either the old or the new one.
        """

    def decode(self, payload: Buffer, rows: Int64Array, columns: slice, target: MatrixTarget) -> None:
        """Put some rows and columns to a place in a matrix.

        Raises CodecError for a payload that is damaged, IndexError for what is not in payload or matrix.
        """

    def gather(self, samples: Samples, rows: Int64Array, columns: slice, target: MatrixTarget) -> None:
        """Copy rows and columns of a matrix into the target; raises IndexError for what is not in the matrix."""

    def summarise(self, samples: Samples) -> RowSummary:
        """The summary of each row of a matrix, missing samples left out."""

    def combine(self, samples: Samples, *, mean: bool) -> tuple[Samples, Int32Array]:
        """Sum or mean per column over what is there, NaN only where nothing is; and how many there were."""


class NumpyCodec:
    """The codec on NumPy alone."""

    native = False
    encode = staticmethod(codec_numpy.encode)
    decode = staticmethod(codec_numpy.decode)
    gather = staticmethod(matrix.gather)
    summarise = staticmethod(matrix.summarise)
    combine = staticmethod(matrix.combine)


class NativeCodec:
    """The codec in C. It lets other threads run while it works on many samples."""

    native = True

    def encode(self, samples: Samples, mantissa_bits: int = 0) -> bytes:
        """As `Codec.encode`."""
        rows, slots = samples.shape
        if not 0 <= mantissa_bits < _MANTISSA_BITS:
            raise CodecError(f"no payload has samples of {mantissa_bits} bits")
        try:
            return _codec.encode(np.ascontiguousarray(samples, np.float32), rows, slots, mantissa_bits)
        except ValueError as error:
            raise CodecError(str(error)) from error

    def decode(self, payload: Buffer, rows: Int64Array, columns: slice, target: MatrixTarget) -> None:
        """As `Codec.decode`."""
        try:
            _codec.decode(payload, *_decode_arguments(rows, columns, target))
        except ValueError as error:
            raise CodecError(str(error)) from error

    def gather(self, samples: Samples, rows: Int64Array, columns: slice, target: MatrixTarget) -> None:
        """As `Codec.gather`."""
        _codec.gather(samples, samples.shape[1], *_decode_arguments(rows, columns, target))

    def summarise(self, samples: Samples) -> RowSummary:
        """As `Codec.summarise`."""
        rows, columns = samples.shape
        minimum, maximum = np.empty(rows, np.float32), np.empty(rows, np.float32)
        total, number = np.empty(rows), np.empty(rows, np.int32)
        _codec.summarise(np.ascontiguousarray(samples, np.float32), columns, minimum, maximum, total, number)
        return RowSummary(minimum, maximum, total, number)

    def combine(self, samples: Samples, *, mean: bool) -> tuple[Samples, Int32Array]:
        """As `Codec.combine`."""
        columns = samples.shape[1]
        data, number = np.empty(columns, np.float32), np.empty(columns, np.int32)
        _codec.combine(np.ascontiguousarray(samples, np.float32), columns, mean, data, number)
        return data, number


def _decode_arguments(rows: Int64Array, columns: slice, target: MatrixTarget) -> tuple[object, ...]:
    return (
        np.ascontiguousarray(rows, np.int64),
        columns.start,
        columns.stop - columns.start,
        target.matrix,
        target.matrix.shape[1],
        np.ascontiguousarray(target.rows, np.int64),
        target.column,
    )


def choose_codec(*, native: bool | None = None) -> Codec:
    """The codec: in C if it is there; `native` asks for one of the two and raises RuntimeError if it is not there."""
    if native is None:
        native = _codec is not None
    if not native:
        return NumpyCodec()
    if _codec is None:
        raise RuntimeError("the C part cc_backend.metricstore._codec was not built")
    return NativeCodec()


def decode_all(codec: Codec, payload: Buffer) -> Samples:
    """All rows and slots of a payload, as a matrix. Raises CodecError."""
    header, _ = codec_numpy.read_header(payload)
    samples: Samples = np.empty((header.rows, header.slots), np.float32)
    everything = np.arange(header.rows)
    codec.decode(payload, everything, slice(0, header.slots), MatrixTarget(samples, everything))
    return samples


__all__ = ["Codec", "CodecError", "NativeCodec", "NumpyCodec", "choose_codec", "decode_all"]
