"""The series of a job as Parquet, in the columns of the long form. Needs pyarrow, which is loaded when it is used."""

import importlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np

from cc_backend.errors import NotInstalled
from cc_backend.exports.job_document import record_json
from cc_backend.exports.job_series import JobExport, MetricSeries
from cc_backend.exports.long_form import LONG_COLUMNS
from cc_backend.model import SampleSeries
from cc_backend.wording.format import format_unit

RECORD_KEY = b"clustercockpit.job"
"""Key of the file's metadata: the record of the job, in the form of meta.json."""
_ROWS_AT_ONCE = 1 << 20


def parquet_parts(export: JobExport) -> Iterator[bytes]:
    """The file as parts to join.

    `time` is in milliseconds and UTC, `value` 32-bit, `type-id` null for whole nodes, the others are dictionaries of
    texts. Texts are as they are: nothing runs a cell of a Parquet file.

    Raises:
        NotInstalled: there is no pyarrow.
    """
    arrow, parquet = _load("pyarrow"), _load("pyarrow.parquet")
    return _parts(export, arrow, parquet)


def _load(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError:
        text = "this server has no pyarrow, which Parquet needs: pip install 'clustercockpit[parquet]'; or take csv"
        raise NotInstalled(text) from None


def _parts(export: JobExport, arrow: Any, parquet: Any) -> Iterator[bytes]:
    text = arrow.dictionary(arrow.int32(), arrow.string())
    types = (arrow.timestamp("ms", tz="UTC"), text, text, text, text, text, arrow.float32())
    schema = arrow.schema(list(zip(LONG_COLUMNS, types, strict=True)))
    sink = _Sink()
    with parquet.ParquetWriter(sink, schema, compression="zstd") as writer:
        for series in export.series:
            for rows in _batches(series):
                writer.write_table(_table(series, rows, arrow, schema))
                yield sink.take()
        writer.add_key_value_metadata({RECORD_KEY: record_json(export)})
    yield sink.take()


def _batches(series: MetricSeries) -> Iterator[list[tuple[int, SampleSeries]]]:
    """Groups of series, or pieces of long ones with their first slot, of at most a million rows each."""
    batch: list[tuple[int, SampleSeries]] = []
    rows = 0
    for row in series.metric.series:
        for begin in range(0, len(row.data), _ROWS_AT_ONCE):
            piece = SampleSeries(row.hostname, row.data[begin : begin + _ROWS_AT_ONCE], row.id)
            if batch and rows + len(piece.data) > _ROWS_AT_ONCE:
                yield batch
                batch, rows = [], 0
            batch.append((begin, piece))
            rows += len(piece.data)
    if batch:
        yield batch


def _table(series: MetricSeries, batch: list[tuple[int, SampleSeries]], arrow: Any, schema: Any) -> Any:
    values = np.concatenate([np.asarray(row.data, np.float32) for _, row in batch])
    slots = np.concatenate([np.arange(begin, begin + len(row.data), dtype=np.int64) for begin, row in batch])
    known = np.isfinite(values)
    owners = np.repeat(np.arange(len(batch), dtype=np.int32), [len(row.data) for _, row in batch])[known]
    times_ms = (series.first_s + slots[known] * series.metric.timestep_s) * 1000

    def same(value: str) -> Any:
        return arrow.DictionaryArray.from_arrays(np.zeros(len(owners), np.int32), [_valid(value)])

    def of_owner(texts: list[str | None]) -> Any:
        distinct = list(dict.fromkeys(text for text in texts if text is not None))
        place = {text: number for number, text in enumerate(distinct)}
        codes = np.array([-1 if text is None else place[text] for text in texts], np.int32)[owners]
        return arrow.DictionaryArray.from_arrays(arrow.array(codes, mask=codes < 0), distinct or [""])

    columns = [
        arrow.array(times_ms, schema.field("time").type),
        same(series.name),
        same(format_unit(series.metric.unit)),
        same(series.scope.value),
        of_owner([_valid(row.hostname) for _, row in batch]),
        of_owner([None if row.id is None else _valid(row.id) for _, row in batch]),
        arrow.array(values[known]),
    ]
    return arrow.Table.from_arrays(columns, schema=schema)


def _valid(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


class _Sink(io.RawIOBase):
    """A file that is written and taken away in parts."""

    def __init__(self) -> None:
        super().__init__()
        self._parts: list[bytes] = []
        self._written = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._written

    def write(self, part: Any) -> int:
        content = bytes(part)
        self._parts.append(content)
        self._written += len(content)
        return len(content)

    def take(self) -> bytes:
        """What was written since the last call."""
        taken, self._parts = b"".join(self._parts), []
        return taken
