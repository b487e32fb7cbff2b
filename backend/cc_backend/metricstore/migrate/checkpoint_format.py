"""Reads the checkpoint files of cc-metric-store. Pure functions; nothing is written.

Each file is of one host: a snapshot in binary form (`.bin`) or as JSON (`.json`), which are trees of levels (host,
part, part of a part), or a log (`current.wal`). Binary numbers are little endian. Readers never raise: they return what
could be read, and `fault` says why that may not be all.
"""

import struct
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import numpy as np
import orjson

from cc_backend.metricstore.model import Int64Array
from cc_backend.model import Samples

SNAPSHOT_MAGIC: Final = 0xCC5B0001
LOG_MAGIC: Final = 0xCC1DA701
RECORD_MAGIC: Final = 0xCC1DA7A1

MAX_LEVELS: Final = 4
"""Maximum depth of the tree; host, part and part of a part are three levels."""

MAX_TIMESTEP_S: Final = 7 * 86400
MAX_TIME_S: Final = 2**40
MAX_RECORD_BYTES: Final = 1 << 20
"""Limit of the reference on a record of its log."""

_SNAPSHOT_HEADER = struct.Struct("<Iqq")
_COUNT = struct.Struct("<I")
_LENGTH = struct.Struct("<H")
_RUN_HEADER = struct.Struct("<qqI")
_FRAME = struct.Struct("<II")
_RECORD_MARKER = RECORD_MAGIC.to_bytes(4, "little")
_FRAME_BYTES = 12  # marker and length before the payload, checksum after it
# A payload is a time, names and a value.
_SAMPLE = np.dtype([("time", "<i8"), ("value", "<f4")])
_NAMES = slice(8, -4)
_MIN_RECORD_BYTES = 12


class SampleRun(NamedTuple):
    """Samples of one series at equal distances; NaN where there is none.

    `path` has the names of the levels below the host, and is empty for the host itself. With `first_write`, `start_s`
    is the time of a sample and not only where the snapshot was cut.
    """

    path: tuple[str, ...]
    metric: str
    timestep_s: int
    start_s: int
    values: Samples
    first_write: bool


class LoggedSeries(NamedTuple):
    """Samples of one series with their times, in the order in which they were written."""

    path: tuple[str, ...]
    metric: str
    times_s: Int64Array
    values: Samples


@dataclass(slots=True)
class CheckpointSnapshot:
    """The readable part of a snapshot."""

    runs: list[SampleRun] = field(default_factory=list)
    fault: str = ""


@dataclass(slots=True)
class CheckpointLog:
    """The readable part of a log."""

    series: list[LoggedSeries] = field(default_factory=list)
    fault: str = ""


class _Unreadable(Exception):
    """The rest of the file cannot be read; the text says why."""


# The binary snapshot


def read_binary(data: bytes) -> CheckpointSnapshot:
    """A snapshot in binary form. Reading ends at the first fault, because sizes tell where the next part begins."""
    snapshot = CheckpointSnapshot()
    try:
        _read_tree(_ByteReader(data), snapshot.runs)
    except _Unreadable as error:
        snapshot.fault = str(error)
    return snapshot


def _read_tree(reader: "_ByteReader", runs: list[SampleRun]) -> None:
    magic, from_s, _ = reader.unpack(_SNAPSHOT_HEADER, "header")
    if magic != SNAPSHOT_MAGIC:
        raise _Unreadable("it does not begin like a snapshot")
    _read_level(reader, (), from_s, runs)
    if reader.position != len(reader.data):
        raise _Unreadable(f"{len(reader.data) - reader.position} bytes follow its end")


class _ByteReader:
    """Reads bytes one part after the other; raises _Unreadable at the end of the data."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0

    def consume(self, count: int, what: str) -> int:
        """Consume `count` bytes; the position of the first one."""
        begin = self.position
        if count > len(self.data) - begin:
            raise _Unreadable(f"it ends at byte {len(self.data)} in the middle of a {what} at byte {begin}")
        self.position = begin + count
        return begin

    def unpack(self, layout: struct.Struct, what: str) -> tuple[Any, ...]:
        """The next numbers."""
        return layout.unpack_from(self.data, self.consume(layout.size, what))

    def read_name(self) -> str:
        """The next name; its length stands before it."""
        (length,) = self.unpack(_LENGTH, "name")
        begin = self.consume(length, "name")
        try:
            return self.data[begin : begin + length].decode()
        except UnicodeDecodeError:
            raise _Unreadable(f"the name at byte {begin} is not UTF-8") from None


def _read_level(reader: _ByteReader, path: tuple[str, ...], from_s: int, runs: list[SampleRun]) -> None:
    if len(path) >= MAX_LEVELS:
        raise _Unreadable(f"it has more than {MAX_LEVELS} levels at byte {reader.position}")
    (metrics,) = reader.unpack(_COUNT, "level")
    for _ in range(metrics):  # each takes bytes, so a wrong number raises at the end of the file
        metric = reader.read_name()
        timestep_s, start_s, count = reader.unpack(_RUN_HEADER, "series")
        begin = reader.consume(4 * count, "series")
        if fault := _find_run_fault(timestep_s, start_s):
            raise _Unreadable(f"series {metric!r} at byte {begin} {fault}")
        values = np.frombuffer(reader.data, "<f4", count, begin).astype(np.float32, copy=False)
        runs.append(SampleRun(path, metric, timestep_s, start_s, values, start_s > from_s))
    (children,) = reader.unpack(_COUNT, "level")
    for _ in range(children):
        _read_level(reader, (*path, reader.read_name()), from_s, runs)


def _find_run_fault(timestep_s: int, start_s: int) -> str:
    if not 0 < timestep_s <= MAX_TIMESTEP_S:
        return f"has a timestep of {timestep_s} s"
    if abs(start_s) > MAX_TIME_S:
        return f"begins at the time {start_s}"
    return ""


# The JSON snapshot


def read_json(data: bytes) -> CheckpointSnapshot:
    """A snapshot as JSON; invalid series are skipped, and `fault` names the first one."""
    snapshot = CheckpointSnapshot()
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        snapshot.fault = f"it is not JSON: {error}"
        return snapshot
    faults: list[str] = []
    snapshot.runs.extend(_json_runs(document, (), _integer(document, "from"), faults))
    if faults:
        snapshot.fault = faults[0] if len(faults) == 1 else f"{faults[0]}, and {len(faults) - 1} more faults"
    return snapshot


def _json_runs(level: object, path: tuple[str, ...], from_s: int | None, faults: list[str]) -> Iterator[SampleRun]:
    where = "/".join(path) or "the host"
    if not isinstance(level, dict) or len(path) >= MAX_LEVELS:
        faults.append(f"{where} is not a level")
        return
    for metric, run in _entries(level, "metrics", where, faults):
        start_s, timestep_s = _integer(run, "start"), _integer(run, "frequency")
        values = _json_values(run.get("data")) if isinstance(run, dict) else None
        if start_s is None or timestep_s is None or values is None or _find_run_fault(timestep_s, start_s):
            faults.append(f"series {metric!r} of {where} cannot be read")
        else:
            yield SampleRun(path, metric, timestep_s, start_s, values, from_s is not None and start_s > from_s)
    for name, child in _entries(level, "children", where, faults):
        yield from _json_runs(child, (*path, name), from_s, faults)


def _entries(level: dict[str, object], key: str, where: str, faults: list[str]) -> Iterable[tuple[str, object]]:
    entries = level.get(key)
    if isinstance(entries, dict):
        return entries.items()
    if entries is not None:  # Go writes an empty map as null
        faults.append(f"the {key} of {where} are not an object")
    return ()


def _integer(source: object, key: str) -> int | None:
    value = source.get(key) if isinstance(source, dict) else None
    return value if type(value) is int else None


def _json_values(data: object) -> Samples | None:
    if not isinstance(data, list) or not set(map(type, data)) <= {float, int, type(None)}:
        return None
    with np.errstate(over="ignore"):
        return np.array(data, np.float64).astype(np.float32)


# The log


def read_log(data: bytes) -> CheckpointLog:
    """A log. Records with a wrong checksum are skipped; reading continues at the next one with a right checksum."""
    log = CheckpointLog()
    if data and data[:4] != LOG_MAGIC.to_bytes(4, "little"):
        log.fault = "it does not begin like a log"
    found: defaultdict[bytes, list[bytes]] = defaultdict(list)
    position, skipped, first_skipped = 4, 0, 0
    while position < len(data):
        payload = _payload(data, position)
        if payload:
            found[payload[_NAMES]].append(payload[:8] + payload[-4:])
            position += _FRAME_BYTES + len(payload)
            continue
        following = _next_record(data, position + 1)
        first_skipped = first_skipped if skipped else position
        skipped += following - position
        position = following
    unreadable = 0
    for key, rows in found.items():
        names = _log_names(key)
        if names is None:
            unreadable += len(rows)
            continue
        metric, path = names
        columns = np.frombuffer(b"".join(rows), _SAMPLE)
        times_s, values = columns["time"].astype(np.int64), columns["value"].astype(np.float32)
        log.series.append(LoggedSeries(path, metric, times_s, values))
    if skipped:
        log.fault = log.fault or f"{skipped} bytes from byte {first_skipped} on hold no whole record"
    elif unreadable:
        log.fault = log.fault or f"{unreadable} records do not hold a sample"
    return log


def _next_record(data: bytes, position: int) -> int:
    while True:
        position = data.find(_RECORD_MARKER, position)
        if position < 0:
            return len(data)
        if _payload(data, position):
            return position
        position += 1


def _payload(data: bytes, position: int) -> bytes:
    """The payload of the record that begins here; empty if there is no complete record with a right checksum."""
    begin = position + _FRAME.size
    if begin > len(data):
        return b""
    marker, length = _FRAME.unpack_from(data, position)
    end = begin + length
    if marker != RECORD_MAGIC or not _MIN_RECORD_BYTES <= length <= MAX_RECORD_BYTES or end + 4 > len(data):
        return b""
    payload = data[begin:end]
    return payload if (zlib.crc32(payload),) == _COUNT.unpack_from(data, end) else b""


def _log_names(key: bytes) -> tuple[str, tuple[str, ...]] | None:
    """Metric and path from the part of a record between time and value; None if it is something else.

    The reference writes names of over 255 bytes with a wrong length, so a right checksum does not make a valid
    record.
    """
    reader = _ByteReader(key)
    try:
        metric = reader.read_name()
        (count,) = key[reader.consume(1, "record") : reader.position]
        path = []
        for _ in range(count):
            (length,) = key[reader.consume(1, "record") : reader.position]
            begin = reader.consume(length, "name")
            path.append(key[begin : begin + length].decode())
    except (_Unreadable, UnicodeDecodeError):
        return None
    if reader.position != len(key) or len(path) >= MAX_LEVELS:
        return None
    return metric, tuple(path)


# From the reference's slots to samples


def sample_phases(
    snapshots: list[CheckpointSnapshot], log: CheckpointLog, timesteps_s: dict[str, int]
) -> dict[int, int]:
    """Timestep -> seconds after a multiple of it at which the samples of the host were taken, where that is known.

    It is taken from the newest record of the log, else from the newest series that begins within a snapshot (snapshots
    are in order of time). `timesteps_s` has the timestep of each metric of the log.
    """
    phases = {
        run.timestep_s: run.start_s % run.timestep_s for snap in snapshots for run in snap.runs if run.first_write
    }
    newest_s: dict[int, int] = {}
    for series in log.series:
        timestep_s = timesteps_s.get(series.metric)
        if timestep_s and len(series.times_s):
            newest_s[timestep_s] = max(newest_s.get(timestep_s, -MAX_TIME_S), int(series.times_s[-1]))
    return phases | {timestep_s: time_s % timestep_s for timestep_s, time_s in newest_s.items()}


def samples_of_run(run: SampleRun, phase: int | None) -> tuple[Int64Array, Samples]:
    """Times and values of the finite samples of a run.

    The reference has slots around the first sample of a series (from half a timestep before it to half a timestep
    after), and value i of a run is that of the slot in which `start_s + i * timestep_s` lies. If the run begins with a
    first write, this is the time of the sample. Else it is off by up to half a timestep, and the sample was taken at
    the only time of the host's `phase` in the slot; without a phase there is nothing better than the slot's time.
    """
    there = np.flatnonzero(np.isfinite(run.values))
    times = run.start_s + there * run.timestep_s
    if phase is not None and not run.first_write:
        slot = (run.start_s - phase + run.timestep_s // 2) // run.timestep_s
        times = (slot + there) * run.timestep_s + phase
    return times, run.values[there]
