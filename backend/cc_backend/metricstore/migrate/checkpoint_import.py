"""Imports the samples in a checkpoint folder of cc-metric-store: `DIRECTORY/CLUSTER/HOST/`.

The folder is only read. Snapshots of a host are read from the oldest to the newest and the log last, so that the newest
file wins a slot.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from cc_backend.errors import InvalidInput
from cc_backend.metricstore.ingest.decode import FUTURE_S
from cc_backend.metricstore.ingest.identity import Rejection, identify
from cc_backend.metricstore.migrate.checkpoint_format import (
    CheckpointLog,
    CheckpointSnapshot,
    read_binary,
    read_json,
    read_log,
    sample_phases,
    samples_of_run,
)
from cc_backend.metricstore.model import BoolArray, Identity, Int64Array, MetricTable, Query, RejectReason
from cc_backend.metricstore.store import MetricStore
from cc_backend.model import Samples

MAX_SNAPSHOT_BYTES: Final = 1 << 28
"""A host with 800 series at 10 s writes 14 MB in 12 hours."""

MAX_LOG_BYTES: Final = 1 << 31
MAX_NAMED_FAULTS: Final = 50

_LOG = "current.wal"
_SNAPSHOT = re.compile(r"(\d{1,12})\.(bin|json)")
# The reference joins type and id without a separator. Ids of accelerators and names of disks may begin with a letter,
# so these types are listed; other names are split at their first digit.
_PART_TYPES = ("accelerator", "memoryDomain", "hwthread", "socket", "core", "die", "llc")
_SUBTYPES = ("filesystem", "network", "nvlink", "device", "disk", "mig")
_PART_LEVELS = 2


class HostSamples(NamedTuple):
    """Samples of one host; `owners` are indexes into `identities`. The last write of a slot wins."""

    identities: list[Identity]
    owners: Int64Array
    values: Samples
    times_s: Int64Array


@dataclass(slots=True)
class ImportReport:
    """What was imported and what was not: `skipped` counts samples by reason, `faults` names damaged files."""

    hosts: int = 0
    files: int = 0
    damaged_files: int = 0
    samples: int = 0
    already_stored: int = 0  # samples whose slot had a sample already
    skipped: dict[str, int] = field(default_factory=dict)
    metrics: set[str] = field(default_factory=set)  # names of metrics that are not configured
    faults: list[str] = field(default_factory=list)
    durable: bool = True

    def text_lines(self) -> Iterator[str]:
        """The report as lines of text."""
        yield f"took over {self.samples} samples of {self.hosts} hosts from {self.files} files"
        if self.already_stored:
            yield f"left out {self.already_stored} samples: the store has one for their slot already"
        for reason, count in sorted(self.skipped.items()):
            named = f" ({', '.join(sorted(self.metrics))})" if reason == RejectReason.UNKNOWN_METRIC else ""
            yield f"left out {count} samples: {reason}{named}"
        if self.damaged_files:
            yield f"of {self.damaged_files} files not everything could be read:"
            yield from (f"  {fault}" for fault in self.faults)

    def count_skipped(self, reason: str, count: int) -> None:
        """Count samples that are not imported."""
        if count:
            self.skipped[reason] = self.skipped.get(reason, 0) + count

    def record_damaged(self, path: Path, fault: str) -> None:
        """Record a file that could not be read completely."""
        self.damaged_files += 1
        if len(self.faults) < MAX_NAMED_FAULTS:
            self.faults.append(f"{path}: {fault}")


def import_checkpoints(
    store: MetricStore, directory: Path, metrics: MetricTable, *, now_s: int, retention_s: int
) -> Iterator[ImportReport]:
    """Import the samples of a checkpoint folder into a store, host by host; slots with a sample keep it.

    Yields the same growing report at the start and after each host, so that the caller can show the progress and run
    the upkeep of the store. Raises InvalidInput if the folder cannot be read.
    """
    report = ImportReport()
    reader = CheckpointReader(metrics, oldest_s=now_s - retention_s, newest_s=now_s + FUTURE_S, report=report)
    yield report
    for host in reader.read_hosts(directory):
        fresh = _only_missing(store, host)
        report.already_stored += len(host.owners) - len(fresh.owners)
        result = store.ingest_samples(fresh.identities, fresh.owners, fresh.values, fresh.times_s, received_s=now_s)
        report.samples += result.accepted
        for reason, count in result.rejected.items():
            report.count_skipped(reason, count)
        report.durable = report.durable and result.durable
        yield report


def _only_missing(store: MetricStore, host: HostSamples) -> HostSamples:
    """The samples whose slots are empty in the store."""
    if not len(host.owners) or host.identities[0].host not in store.hosts(host.identities[0].cluster):
        return host
    missing = np.ones(len(host.owners), np.bool_)
    order = np.argsort(host.owners, kind="stable")
    bounds = np.searchsorted(host.owners[order], np.arange(len(host.identities) + 1)).tolist()
    for (cluster, name, metric, part), (begin, end) in zip(host.identities, pairwise(bounds), strict=True):
        mine = order[begin:end]
        times_s = host.times_s[mine]
        query = Query(
            metric,
            name,
            type=part.type or None,
            type_ids=(part.type_id,) if part.type else None,
            subtype=part.subtype or None,
            subtype_ids=(part.subtype_id,) if part.subtype else None,
        )
        (found,) = store.query(cluster, [query], from_s=int(times_s.min()), to_s=int(times_s.max()) + 1)
        for series in found:
            if series.error is None and series.coverage is None:  # a series combined from parts is not this one
                slots = times_s // series.timestep_s - series.from_s // series.timestep_s
                missing[mine] = np.isnan(series.data[slots])
    return host._replace(owners=host.owners[missing], values=host.values[missing], times_s=host.times_s[missing])


class CheckpointReader:
    """Reads checkpoint folders; skipped samples and damaged files are recorded in `report`."""

    def __init__(self, metrics: MetricTable, *, oldest_s: int, newest_s: int, report: ImportReport) -> None:
        self._metrics = metrics
        self._oldest_s = oldest_s
        self._newest_s = newest_s
        self._report = report

    def read_hosts(self, directory: Path) -> Iterator[HostSamples]:
        """The samples of each host; raises InvalidInput if the folder cannot be read."""
        try:
            clusters = sorted(path for path in directory.iterdir() if path.is_dir())
        except OSError as error:
            raise InvalidInput(f"the checkpoint folder {directory} cannot be read: {error.strerror}") from error
        for cluster in clusters:
            for host in (cluster / name for name in self._list_folder(cluster)):
                if host.is_dir():
                    self._report.hosts += 1
                    yield self._read_host(cluster.name, host)

    def _list_folder(self, directory: Path) -> list[str]:
        try:
            return sorted(path.name for path in directory.iterdir())
        except OSError as error:
            self._report.record_damaged(directory, f"it cannot be read: {error.strerror}")
            return []

    def _read_host(self, cluster: str, directory: Path) -> HostSamples:
        snapshots, log = self._read_files(directory)
        # The slots of the reference have its own timestep, which may differ from the one configured here.
        timesteps_s = {metric: spec.timestep_s for metric, spec in self._metrics.get(cluster, {}).items()}
        timesteps_s |= {run.metric: run.timestep_s for snapshot in snapshots for run in snapshot.runs}
        phases = sample_phases(snapshots, log, timesteps_s)
        owners: dict[Identity, int] = {}
        numbers, times, values = [], [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        for path, metric, times_of_file, values_of_file in _sample_blocks(snapshots, log, phases):
            found = checkpoint_identity(cluster, directory.name, path, metric, self._metrics)
            kept = self._accepted(metric, found, times_of_file)
            if isinstance(found, Rejection) or not kept.any():
                continue
            times.append(times_of_file[kept])
            values.append(values_of_file[kept])
            numbers.append((owners.setdefault(found, len(owners)), len(times[-1])))
        of, lengths = np.array(numbers, np.int64).reshape(-1, 2).T
        return HostSamples(list(owners), np.repeat(of, lengths), np.concatenate(values), np.concatenate(times))

    def _read_files(self, directory: Path) -> tuple[list[CheckpointSnapshot], CheckpointLog]:
        """The snapshots of a host, oldest first, and its log."""
        names = self._list_folder(directory)
        matches = [match for match in map(_SNAPSHOT.fullmatch, names) if match]
        snapshots: list[CheckpointSnapshot] = []
        for match in sorted(matches, key=lambda match: (int(match[1]), match[2] == "bin")):
            data = self._read_file(directory / match[0], MAX_SNAPSHOT_BYTES)
            if data is not None:
                snapshot = read_binary(data) if match[2] == "bin" else read_json(data)
                self._record_fault(directory / match[0], snapshot.fault)
                snapshots.append(snapshot)
        data = self._read_file(directory / _LOG, MAX_LOG_BYTES) if _LOG in names else None
        log = CheckpointLog() if data is None else read_log(data)
        self._record_fault(directory / _LOG, log.fault)
        return snapshots, log

    def _read_file(self, path: Path, max_bytes: int) -> bytes | None:
        try:
            size = path.stat().st_size
            if size <= max_bytes:
                data = path.read_bytes()
                self._report.files += 1
                return data
            self._report.record_damaged(path, f"it has {size} bytes, more than the {max_bytes} that are read")
        except OSError as error:
            self._report.record_damaged(path, f"it cannot be read: {error.strerror}")
        return None

    def _record_fault(self, path: Path, fault: str) -> None:
        if fault:
            self._report.record_damaged(path, fault)

    def _accepted(self, metric: str, found: Identity | Rejection, times_s: Int64Array) -> BoolArray:
        """One flag per sample, whether it is to be imported; the others are counted."""
        if isinstance(found, Rejection):
            self._report.count_skipped(found.reason, len(times_s))
            if found.reason is RejectReason.UNKNOWN_METRIC and len(self._report.metrics) < MAX_NAMED_FAULTS:
                self._report.metrics.add(metric)
            return np.zeros(len(times_s), np.bool_)
        old, ahead = times_s < self._oldest_s, times_s > self._newest_s
        self._report.count_skipped(RejectReason.TOO_OLD, int(np.count_nonzero(old)))
        self._report.count_skipped(RejectReason.FUTURE, int(np.count_nonzero(ahead)))
        return np.asarray(~(old | ahead))


def _sample_blocks(
    snapshots: Iterable[CheckpointSnapshot], log: CheckpointLog, phases: dict[int, int]
) -> Iterator[tuple[tuple[str, ...], str, Int64Array, Samples]]:
    """Path, metric, times and values of each series in each file, oldest file first."""
    for snapshot in snapshots:
        for run in snapshot.runs:
            yield run.path, run.metric, *samples_of_run(run, phases.get(run.timestep_s))
    for series in log.series:
        there = np.isfinite(series.values)
        yield series.path, series.metric, series.times_s[there], series.values[there]


def checkpoint_identity(
    cluster: str, host: str, path: tuple[str, ...], metric: str, metrics: MetricTable
) -> Identity | Rejection:
    """The identity of a series in a checkpoint: the one that its lines would have in this store."""
    if len(path) > _PART_LEVELS:
        return Rejection(RejectReason.BAD_NAME, f"{'/'.join(path)} has more levels than a series can have")
    kind, number = _split_part_name(path[0], _PART_TYPES) if path else ("", "")
    subtype, sub_number = _split_part_name(path[1], _SUBTYPES) if path[1:] else ("", "")
    tags = {"hostname": host, "type": kind, "type-id": number, "stype": subtype, "stype-id": sub_number}
    return identify(metric, tags, default_cluster=cluster, metrics=metrics)


def _split_part_name(name: str, known: tuple[str, ...]) -> tuple[str, str]:
    """Type and id; the level `0`, which the reference makes of `type=node,type-id=0`, has no type."""
    for kind in known:
        if name.startswith(kind):
            return kind, name.removeprefix(kind)
    digit = next((at for at, letter in enumerate(name) if letter.isdigit()), len(name))
    return name[:digit], name[digit:]
