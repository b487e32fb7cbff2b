"""What must hold for any bytes, one function per reader; the fuzzer and the corpus test both call these.

A target raises AssertionError, or whatever the reader lets through, if something is wrong. Readers that check sums get
each input twice, as it is and framed with right sums: a fuzzer does not guess CRC-32.
"""

import functools
import math
import struct
import tempfile
import threading
import zlib
from collections.abc import Callable, Mapping
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import numpy as np

from cc_backend.errors import InvalidInput, TooLarge
from cc_backend.metricstore import MetricStore, Query
from cc_backend.metricstore.blocks import codec_numpy
from cc_backend.metricstore.blocks.hot_block import WINDOW_SLOTS
from cc_backend.metricstore.blocks.matrix import MatrixTarget as Place
from cc_backend.metricstore.blocks.payload_format import CodecError
from cc_backend.metricstore.disk.snapshot import snapshot_format
from cc_backend.metricstore.disk.wal.wal_format import (
    HEADER_BYTES,
    BatchRecord,
    Damage,
    Record,
    UnknownVersionError,
    _encode_record,
    decode_key,
    encode_batch,
    encode_key,
    file_header,
    read_records,
)
from cc_backend.metricstore.index.series_table import SeriesTable
from cc_backend.metricstore.ingest.batch import DecodedBatch, Rejections
from cc_backend.metricstore.ingest.decode import decode, decode_slow_lines, describe_rejections
from cc_backend.metricstore.ingest.native_reader import HAS_NATIVE, KernelName
from cc_backend.metricstore.migrate import checkpoint_format
from cc_backend.metricstore.migrate.checkpoint_import import checkpoint_identity
from cc_backend.metricstore.model import Limits, MetricSpec, RejectReason
from cc_backend.metricstore.query import binary_codec
from cc_backend.metricstore.query.execute import execute
from cc_backend.metricstore.query.json_codec import decode_json, encode_json, encode_request
from cc_backend.metricstore.query.protocol import QueryLimits, QueryResponse, parse_request
from cc_common.errors import PayloadError
from cc_common.line_protocol import decode as decode_line_protocol
from cc_common.line_protocol import encode as encode_line_protocol

RECEIVED_S = 1_790_000_000
METRICS = {"demo": {"load": MetricSpec(60, "avg"), "power": MetricSpec(10, "sum")}, "d": {"l": MetricSpec(60)}}
EXCERPT = 120
SEPARATOR = b"\xff\xff"
_MEMORY = "/dev/shm"

Found = tuple[list[tuple[object, ...]], Mapping[RejectReason, int]]


def line_protocol(data: bytes) -> None:
    """Every line is a point, an error or nothing; a point can be written again and means the same."""
    points, errors = decode_line_protocol(data, received_s=RECEIVED_S)
    assert len(points) + len(errors) <= data.count(b"\n") + 1
    assert all(earlier.line_number < later.line_number for earlier, later in pairwise(errors))
    assert all(len(error.line) <= EXCERPT and error.reason for error in errors)
    for point in points:
        assert math.isfinite(point.value)
        assert -(2**63) < point.time_s < 2**63
        again, none = decode_line_protocol(encode_line_protocol(*point), received_s=0)
        if abs(point.time_s) >= 10**11:  # only of times that say seconds, which is what is sent
            again = [point._replace(time_s=point.time_s) for point in again]
        assert not none
        assert again == [point]


def ingest(data: bytes) -> None:
    """Each kernel finds what the reader of single lines finds, batch after batch, as the keys become known."""
    batches = data.split(SEPARATOR)
    for default_cluster in ("", "demo"):
        by_line = _by_line(default_cluster, batches)
        kernels: tuple[KernelName, ...] = ("c", "python") if HAS_NATIVE else ("python",)
        for kernel in kernels:
            assert _by_kernel(kernel, default_cluster, batches) == by_line, kernel


def _by_kernel(kernel: KernelName, default_cluster: str, batches: list[bytes]) -> list[Found]:
    table = SeriesTable(METRICS, Limits(), threading.RLock(), kernel=kernel)
    cache = table.keys.cache_for(default_cluster)
    found = []
    for batch in batches:
        faults = Rejections()
        decoded = decode(batch, cache, received_s=RECEIVED_S, rejections=faults)
        found.append(_found(decoded, faults, table))
        describe_rejections(batch, faults, cache)
    return found


def _by_line(default_cluster: str, batches: list[bytes]) -> list[Found]:
    table = SeriesTable(METRICS, Limits(), threading.RLock(), kernel="python")
    found = []
    for batch in batches:
        faults = Rejections()
        lines = batch.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n")
        decoded = decode_slow_lines(enumerate(lines), table.keys.cache_for(default_cluster), RECEIVED_S, faults)
        found.append(_found(decoded, faults, table))
    return found


def _found(decoded: DecodedBatch, faults: Rejections, table: SeriesTable) -> Found:
    times = np.broadcast_to(decoded.times_s, decoded.sids.shape).tolist()
    names = [table.identity(sid) for sid in decoded.sids.tolist()]
    values = [value.tobytes() for value in decoded.values]
    return list(zip(names, values, times, decoded.positions.tolist(), strict=True)), faults.counts


def log(data: bytes) -> None:
    """Records that do not fit together are skipped, all bytes are accounted for, and what is read can be rewritten."""
    framed = file_header(0)
    for piece in data.split(SEPARATOR):
        framed += _encode_record(1 + piece[0] % 3, piece[1:]) if piece else b"?"
    for content in (data, framed):
        damage = Damage()
        try:
            records = list(read_records(content, damage))
        except UnknownVersionError:
            continue
        assert 0 <= damage.skipped_bytes <= len(content)
        assert 0 <= damage.first_offset <= len(content)
        _check_log_records(records, len(content))


def _check_log_records(records: list[Record], size: int) -> None:
    read = 0
    for record in records:
        if not isinstance(record, BatchRecord):
            identities = [decode_key(key) for key in record.keys]
            assert all(i is None or decode_key(encode_key(i)) == i for i in identities)
            read += sum(map(len, record.keys))
            continue
        assert len(record.ids) == len(record.values)
        if not isinstance(record.times_s, int):
            assert len(record.times_s) == len(record.ids)
        read += 8 * len(record.ids)
        if len(record.ids):
            written = file_header(0) + encode_batch(record.ids.astype(np.int64), record.values, record.times_s)
            (again,) = read_records(written, Damage())
            assert isinstance(again, BatchRecord)
            assert again.ids.tolist() == record.ids.tolist()
            assert again.values.tobytes() == record.values.tobytes()
            assert np.array_equal(again.times_s, record.times_s)
    assert read <= max(size - HEADER_BYTES, 0) or not read


def checkpoint(data: bytes) -> None:
    """Each of the three files gives what can be read of it, never more than it holds, and names lead to a series."""
    payloads = [piece for piece in data.split(SEPARATOR) if piece]
    framed = b"".join(_checkpoint_record(piece) for piece in payloads)
    for runs in (
        checkpoint_format.read_binary(data).runs,
        checkpoint_format.read_binary(struct.pack("<Iqq", checkpoint_format.SNAPSHOT_MAGIC, 0, 0) + data).runs,
        checkpoint_format.read_json(data).runs,
    ):
        assert sum(len(run.values) for run in runs) <= len(data)
        for run in runs:
            times_s, values = checkpoint_format.samples_of_run(run, 7 % run.timestep_s)
            assert len(times_s) == len(values) <= len(run.values)
            assert np.isfinite(values).all()
            assert (np.diff(times_s) > 0).all()
            checkpoint_identity("demo", "n1", run.path, run.metric, METRICS)
    for content, most in ((data, len(data) // 20), (checkpoint_format.LOG_MAGIC.to_bytes(4, "little") + framed, None)):
        log = checkpoint_format.read_log(content)
        count = sum(len(series.times_s) for series in log.series)
        assert count <= (len(payloads) if most is None else most)
        assert len({(series.path, series.metric) for series in log.series}) == len(log.series)
        for series in log.series:
            assert len(series.times_s) == len(series.values) > 0
            checkpoint_identity("demo", "n1", series.path, series.metric, METRICS)


def _checkpoint_record(payload: bytes) -> bytes:
    head = struct.pack("<II", checkpoint_format.RECORD_MAGIC, len(payload))
    return head + payload + zlib.crc32(payload).to_bytes(4, "little")


@functools.cache
def _store() -> MetricStore:
    store = MetricStore.open(None, METRICS, now_s=RECEIVED_S, limits=Limits(query_samples=20_000))
    lines = [f"load,cluster=demo,hostname=n{host} value={host} {RECEIVED_S}" for host in range(3)]
    lines += [f"power,cluster=demo,hostname=n1,type=core,type-id={core} value=1 {RECEIVED_S}" for core in range(4)]
    store.ingest("\n".join(lines).encode(), received_s=RECEIVED_S)
    return store


def query(data: bytes) -> None:
    """A request is answered with one row per query, or refused as the caller's fault."""
    bounds = QueryLimits(queries=50, samples=5000)
    try:
        request = parse_request(data, bounds)
    except (InvalidInput, TooLarge, PayloadError) as error:
        assert len(str(error)) < 500 + 2 * len(data)  # noqa: PT017 what is said must be short
        return
    again = parse_request(encode_request(request), bounds)
    assert (again.cluster, again.from_s, again.to_s) == (request.cluster, request.from_s, request.to_s)
    assert again.for_all_nodes == request.for_all_nodes
    try:
        found = execute(request, _store(), bounds)
    except (InvalidInput, TooLarge):
        return
    assert len(found.rows) >= len(request.items)
    assert sum(len(one.data) for row in found.rows for one in row if one.data is not None) <= bounds.samples
    assert _comparable(decode_json(encode_json(found))).keys() == _comparable(found).keys()
    assert _comparable(binary_codec.decode(binary_codec.encode(found))) == _comparable(found)


def _comparable(found: QueryResponse) -> Mapping[tuple[int, int, str], str]:
    return {
        (row, at, field.name): repr(value.tolist() if isinstance(value, np.ndarray) else value)
        for row, elements in enumerate(found.rows)
        for at, one in enumerate(elements)
        for field in fields(one)
        for value in [getattr(one, field.name)]
    }


def answer_bytes(data: bytes) -> None:
    """An answer of another store, in either form, is read or refused; what is read can be written."""
    try:
        found = decode_json(data)
    except InvalidInput:
        pass
    else:
        encode_json(found)
    try:
        found = binary_codec.decode(data)
    except InvalidInput:
        return
    assert sum(len(one.data) for row in found.rows for one in row if one.data is not None) <= len(data)
    assert _comparable(binary_codec.decode(binary_codec.encode(found))) == _comparable(found)


def snapshot(data: bytes) -> None:
    """A damaged chunk is an error of that chunk alone, and all bytes are accounted for."""
    pieces = [*data.split(SEPARATOR), b"", b"", b""]
    keys = snapshot_format.PackedKeys(bytes(snapshot_format.DIGEST_BYTES), zlib.compress(pieces[1]))
    whole = snapshot_format.encode_chunk(
        1, rows=pieces[1].count(b"\n") + 1, timestep_s=60, start_s=0, keys=keys,
        times=zlib.compress(pieces[2]), payload=pieces[3],
    )  # fmt: skip
    header = snapshot_format.file_header(60, 0, slots=64, chunk_rows=1024, chunks=1)
    for content in (data, header + pieces[0] + whole + pieces[0]):

        def read(offset: int, length: int, content: bytes = content) -> bytes:
            return content[offset : offset + length]

        damage = Damage()
        try:
            entries = list(snapshot_format.scan_entries(read, len(content), damage))
        except UnknownVersionError:
            continue
        chunk_bytes = sum(entry.end - entry.offset for entry in entries)
        assert damage.skipped_bytes + chunk_bytes <= len(content)
        for entry in entries:
            for part in (
                snapshot_format.read_keys,
                snapshot_format.read_times,
                snapshot_format.read_payload,
                snapshot_format.read_record,
            ):
                try:
                    found = part(read, entry)
                except snapshot_format.DamagedChunkError:
                    continue
                assert len(found) == entry.rows or part not in {snapshot_format.read_keys, snapshot_format.read_times}
        if content is not data and snapshot_format.MARKER not in pieces[0]:  # a cut chunk takes the next one along
            assert whole in [read(entry.offset, entry.end - entry.offset) for entry in entries]


def restore(data: bytes) -> None:
    """A store opens on any folder: what cannot be used is left out, and what is there does not contradict itself."""
    segment, keys, times, content, *_ = [*data.split(SEPARATOR, 3), b"", b"", b""]
    samples = np.frombuffer(content[: len(content) // 4 * 4], "<f4")
    rows = keys.count(b"\n") + 1
    matrix = np.full((min(rows, 1024), WINDOW_SLOTS), np.nan, np.float32)
    matrix.reshape(-1)[: len(samples)] = samples[: matrix.size]
    start_s = RECEIVED_S // (60 * WINDOW_SLOTS) * (60 * WINDOW_SLOTS)
    chunk = snapshot_format.encode_chunk(
        len(times) % 3,
        rows=rows,
        timestep_s=60,
        start_s=start_s,
        keys=snapshot_format.PackedKeys(bytes(snapshot_format.DIGEST_BYTES), zlib.compress(keys)),
        times=zlib.compress((times + bytes(4 * rows))[: 4 * rows]),
        payload=codec_numpy.encode(matrix) if content[:1] != b"C" else content,
    )
    header = snapshot_format.file_header(60, start_s, slots=WINDOW_SLOTS, chunk_rows=1024, chunks=1)
    with tempfile.TemporaryDirectory(dir=_MEMORY if Path(_MEMORY).is_dir() else None) as folder:
        Path(folder, "000000000001.wal").write_bytes(_framed(segment))
        Path(folder, "windows").mkdir()
        Path(folder, "windows", f"60-{start_s}.win1").write_bytes(header + chunk)
        with MetricStore.open(Path(folder), METRICS, now_s=RECEIVED_S, fsync="never") as store:
            store.validate()
            asked = [Query(metric, host) for host in store.hosts("demo") for metric in METRICS["demo"]]
            store.query("demo", asked, from_s=start_s, to_s=start_s + 3600)


def _framed(data: bytes) -> bytes:
    """A segment of the log with a record for each piece."""
    pieces = [piece for piece in data.split(b"\xfe\xfe") if piece]
    return file_header(0) + b"".join(_encode_record(1 + piece[0] % 3, piece[1:]) for piece in pieces)


def payload(data: bytes) -> None:
    """Compressed samples are read or refused; samples compressed again come back as they are."""
    try:
        header, starts = codec_numpy.read_header(data)
    except CodecError:
        samples = _with_one_nan(np.frombuffer(data[: len(data) // 64 * 64], "<f4").reshape(-1, 16)[:1024])
        assert _unpacked(codec_numpy.encode(samples)).tobytes() == samples.tobytes()
        return
    assert len(starts) == header.rows + 1
    try:
        samples = _unpacked(data)
    except CodecError:
        return
    assert _unpacked(codec_numpy.encode(samples)).tobytes() == _with_one_nan(samples).tobytes()


def _unpacked(data: bytes) -> np.ndarray:
    header, _ = codec_numpy.read_header(data)
    samples = np.empty((header.rows, header.slots), np.float32)
    rows = np.arange(header.rows)
    codec_numpy.decode(data, rows, slice(0, header.slots), Place(samples, rows))
    return samples


def _with_one_nan(samples: np.ndarray) -> np.ndarray:
    return np.where(np.isnan(samples), np.float32(np.nan), samples)


Target = Callable[[bytes], None]
TARGETS: Mapping[str, Target] = {
    "line_protocol": line_protocol,
    "ingest": ingest,
    "log": log,
    "checkpoint": checkpoint,
    "query": query,
    "answer": answer_bytes,
    "snapshot": snapshot,
    "restore": restore,
    "payload": payload,
}
