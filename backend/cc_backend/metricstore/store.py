"""The metric store: takes batches of line protocol, keeps samples in memory and on disk, answers questions."""

import logging
import threading
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from cc_backend.metricstore.capacity import CapacityReport
from cc_backend.metricstore.disk.store_disk import StoreDisk
from cc_backend.metricstore.disk.uptime_log import Downtime
from cc_backend.metricstore.disk.wal.group_commit import Fsync
from cc_backend.metricstore.disk.wal.write_ahead_log import SEGMENT_BYTES, WriteAheadLog
from cc_backend.metricstore.gaps.analysis import GapAnalysis, GapQuery
from cc_backend.metricstore.gaps.host_health import ExpectedMetrics, check_host_health
from cc_backend.metricstore.gaps.reasons import StoreHistory
from cc_backend.metricstore.index.series_table import SeriesTable
from cc_backend.metricstore.ingest.batch import MAX_NAMED_ERRORS, Accepted, DecodedBatch, Rejections
from cc_backend.metricstore.ingest.decode import decode, describe_rejections, validate
from cc_backend.metricstore.ingest.host_config import HostTable
from cc_backend.metricstore.ingest.key_cache import KeyCache, rejection_reason
from cc_backend.metricstore.ingest.native_reader import KernelName
from cc_backend.metricstore.ingest.new_keys import FIRST_NEW_CODE
from cc_backend.metricstore.ingest.unknown_names import MAX_NAMES_PER_REASON, UnknownNames
from cc_backend.metricstore.model import (
    HostHealth,
    Identity,
    IngestResult,
    Int64Array,
    Limits,
    MetricTable,
    Query,
    RejectReason,
    RestoreState,
    SnapshotState,
    StoreCounters,
    StoredSeries,
    StoredStatistic,
    UnknownName,
    WalState,
)
from cc_backend.metricstore.query.inventory import describe_path
from cc_backend.metricstore.query.series_reader import QueryReader
from cc_backend.metricstore.self_metrics import SelfMetrics
from cc_backend.metricstore.upkeep import Upkeep, UpkeepRules
from cc_backend.model import DataGap, RetentionHolds, Samples

logger = logging.getLogger(__name__)

RETENTION_S = 48 * 3600
HOT_S = 2 * 3600
_ROOM_AT_START = 0.8  # of the cap; the rest is for tables and for what comes in
_STORE_FULL = IngestResult(0, {}, (), durable=False, full=True)


class _UnknownHostLines(NamedTuple):
    """Samples of a batch that were kept though nobody configured their hosts: how many, and the first hosts."""

    lines: int
    hosts: list[tuple[str, str]]


_NO_UNKNOWN_HOSTS = _UnknownHostLines(0, [])


class MetricStore:
    """Safe to use from many threads. No clock inside: what time it is comes with each call.

    Two locks, always taken in this order: `_ingest` makes batches follow each other, and is held while the write-ahead
    log is written; `_memory` guards series and samples, and is held only while arrays are copied.
    """

    def __init__(
        self,
        metrics: MetricTable,
        *,
        log: WriteAheadLog | None,
        now_s: int,
        retention_s: int = RETENTION_S,
        hot_s: int = HOT_S,
        mantissa_bits: int = 0,
        cap_bytes: int = 0,
        limits: Limits | None = None,
        host_table: HostTable | None = None,
        kernel: KernelName | None = None,
    ) -> None:
        self._limits = limits or Limits()
        self._retention_s = retention_s
        self._started_s = now_s
        self._log = log
        self._self_metrics = SelfMetrics()
        self._ingest = threading.RLock()
        self._memory = threading.RLock()
        self._table = SeriesTable(metrics, self._limits, self._memory, host_table, kernel)
        self._disk: StoreDisk | None = None
        if log is not None:
            log.observe_sync(self._self_metrics.seconds["log_fsync"].observe)
            self._disk = StoreDisk(
                log, self._table, ingest=self._ingest, memory=self._memory, now_s=now_s, mantissa_bits=mantissa_bits
            )
        rules = UpkeepRules(retention_s, hot_s, mantissa_bits, cap_bytes)
        self._upkeep = Upkeep(self._table, self._disk, rules, ingest=self._ingest, memory=self._memory)
        self._expectations = ExpectedMetrics()
        self._unknown_names = UnknownNames(metrics, self._table.host_config)
        self._batches = 0
        self._accepted = 0
        self._rejected: dict[str, int] = {}
        self._unknown_host_lines = 0

    @classmethod
    def open(
        cls,
        directory: Path | None,
        metrics: MetricTable,
        *,
        host_table: HostTable | None = None,
        now_s: int,
        retention_s: int = RETENTION_S,
        fsync: Fsync = "interval",
        fsync_interval_s: float = 1.0,
        limits: Limits | None = None,
        segment_bytes: int = SEGMENT_BYTES,
        hot_s: int = HOT_S,
        mantissa_bits: int = 0,
        cap_bytes: int = 0,
        background: bool = False,
        kernel: KernelName | None = None,
    ) -> Self:
        """A store with what its folder holds; without a directory, one that forgets everything at its end.

        `host_table` says which hosts there are, and which metrics those of single subclusters have; without it, every
        host may come, with the metrics of its cluster. In the `background` this returns at once, and samples of before
        the start come back later, the newest first. Nothing is freed here, however old: the next `free` knows which
        hosts have holds. Raises BackendError if the directory cannot be used or another process uses it; damaged files
        are logged and skipped.
        """
        log = None
        if directory is not None:
            log = WriteAheadLog(directory, fsync=fsync, fsync_interval_s=fsync_interval_s, segment_bytes=segment_bytes)
        store = cls(
            metrics,
            log=log,
            now_s=now_s,
            retention_s=retention_s,
            hot_s=hot_s,
            mantissa_bits=mantissa_bits,
            cap_bytes=cap_bytes,
            limits=limits,
            host_table=host_table,
            kernel=kernel,
        )
        if store._disk is not None:
            store._disk.restore(now_s, background=background, memory_budget_bytes=int(_ROOM_AT_START * cap_bytes))
        return store

    # In

    def ingest(
        self,
        batch: bytes,
        *,
        received_s: int,
        default_cluster: str = "",
        allowed_clusters: Collection[str] = (),
        time_range: tuple[int, int] | None = None,
    ) -> IngestResult:
        """Take a batch of line protocol. Good lines are kept, bad ones counted and the first of them named.

        The sender may write to `allowed_clusters`, empty for all. A line that is left out leaves no host and
        no series behind. `time_range` are the earliest and the latest time that it may be now where the clock is in
        doubt: a sample is neither too old nor ahead if it would not be by one of them.

        When this returns with `durable`, the write-ahead log has the batch (and with fsync `always`, the disk). If not,
        the samples are in memory only; sending the batch again changes nothing else. With `full`, nothing was taken.

        Raises:
            NotAllowed: a line is of a cluster that the sender may not write to; nothing was taken.
            TooLarge: the batch takes too long to be read in one piece; nothing was taken.
        """
        if self._upkeep.refusing:
            return _STORE_FULL
        with self._self_metrics.timed("ingest"):
            return self._ingest_batch(
                batch, received_s, default_cluster, allowed_clusters, time_range or (received_s, received_s)
            )

    def _ingest_batch(
        self,
        batch: bytes,
        received_s: int,
        default_cluster: str,
        allowed_clusters: Collection[str],
        time_range: tuple[int, int],
    ) -> IngestResult:
        rejections = Rejections()
        with self._ingest:
            cache = self._table.keys.cache_for(default_cluster, allowed_clusters)
            with self._table.keys.deferring_registration(default_cluster) as new:
                decoded = decode(batch, cache, received_s=received_s, rejections=rejections)
                kept = validate(decoded, time_range=time_range, retention_s=self._retention_s, rejections=rejections)
                if new:
                    kept = self._register_new_series(kept, cache, rejections)
            ticket, unknown = self._log_and_store(kept, received_s)
            errors = describe_rejections(batch, rejections, cache)
        rejected = {str(reason): count for reason, count in rejections.counts.items()}
        self._count_batch(len(kept.sids), rejected)
        durable = self._log is None or (ticket is not None and self._log.wait_durable(ticket))
        result = IngestResult(len(kept.sids), rejected, errors, durable)
        if not rejections.first_quiet and not unknown.lines:
            return result
        return replace(
            result,
            unknown_names=self._unknown_names.find_in_lines(
                batch,
                rejections.first_quiet,
                default_cluster=default_cluster,
                received_s=received_s,
                allowed_clusters=allowed_clusters,
            ),
            unknown_hosts=self._unknown_names.describe_hosts(unknown.hosts, received_s=received_s),
            unknown_host_lines=unknown.lines,
        )

    def _register_new_series(self, kept: Accepted, cache: KeyCache, rejections: Rejections) -> Accepted:
        """The samples with the sids of series that are new, without those that a limit has no room for."""
        fresh = np.flatnonzero(kept.sids >= FIRST_NEW_CODE)
        if not len(fresh):
            return kept
        codes, which = np.unique(kept.sids[fresh], return_inverse=True)
        kept.sids[fresh] = self._table.keys.register_deferred(cache, codes)[which]
        rejected_at = np.flatnonzero(kept.sids < 0)
        if not len(rejected_at):
            return kept
        for code in np.unique(kept.sids[rejected_at]).tolist():
            positions = kept.positions[kept.sids == code]
            rejections.add(rejection_reason(code), positions[:MAX_NAMED_ERRORS].tolist(), len(positions))
        return kept.select(np.flatnonzero(kept.sids >= 0))

    def ingest_samples(
        self,
        identities: Sequence[Identity],
        owners: Int64Array,
        values: Samples,
        times_s: Int64Array,
        *,
        received_s: int,
    ) -> IngestResult:
        """Take samples that did not come as lines, each of the series at its position `owners[i]` in `identities`.

        In one slot the last write wins. Limits, ranges and the log are those of `ingest`; the names in
        `identities` must be such as `identity.identify` gives.
        """
        if self._upkeep.refusing:
            return _STORE_FULL
        rejections = Rejections()
        with self._ingest:
            sids = self._table.register_many(identities)[owners]
            known = np.flatnonzero(sids >= 0)
            for code, count in zip(*np.unique(sids[sids < 0], return_counts=True), strict=True):
                rejections.add(rejection_reason(int(code)), (), int(count))
            decoded = DecodedBatch(sids[known], values[known], times_s[known], known)
            now = received_s, received_s
            kept = validate(decoded, time_range=now, retention_s=self._retention_s, rejections=rejections)
            ticket, _ = self._log_and_store(kept, received_s)
        rejected = {str(reason): count for reason, count in rejections.counts.items()}
        self._count_batch(len(kept.sids), rejected)
        durable = self._log is None or (ticket is not None and self._log.wait_durable(ticket))
        return IngestResult(len(kept.sids), rejected, (), durable)

    def _log_and_store(self, kept: Accepted, received_s: int) -> tuple[int | None, _UnknownHostLines]:
        """The ticket of the write-ahead log, None if it failed; and what is of hosts that nobody configured."""
        if not len(kept.sids):
            return 0, _NO_UNKNOWN_HOSTS
        oldest_s = kept.times_s if isinstance(kept.times_s, int) else int(kept.times_s.min())
        self._self_metrics.observe_lag(received_s=received_s, oldest_s=oldest_s)
        ticket: int | None = 0
        if self._log is not None:
            with self._self_metrics.timed("log_append"):
                ticket = self._log.append(
                    kept.sids, kept.values, kept.times_s, received_s=received_s, encoded_names=self._table.encoded_names
                )
        unknown = _NO_UNKNOWN_HOSTS
        with self._memory:
            self._table.columns.store_samples(kept.sids, kept.values, kept.times_s)
            if self._table.unknown_host_count and (lines := self._table.columns.count_of_unknown_hosts(kept.sids)):
                unknown = _UnknownHostLines(lines, self._table.unknown_hosts_of(kept.sids, MAX_NAMES_PER_REASON))
                self._unknown_host_lines += lines
        return ticket, unknown

    def _count_batch(self, accepted: int, rejected: Mapping[str, int]) -> None:
        with self._memory:
            self._batches += 1
            self._accepted += accepted
            for reason, count in rejected.items():
                self._rejected[reason] = self._rejected.get(reason, 0) + count

    # Out

    def query(self, cluster: str, queries: Sequence[Query], *, from_s: int, to_s: int) -> list[list[StoredSeries]]:
        """Per query a list of series on the full grid of [from_s, to_s); empty if host or metric have no data.

        An unknown metric gives one element with `error`. Raises InvalidInput for a range that ends before it begins,
        and TooLarge for more samples than `Limits.query_samples`.
        """
        reader = self._reader(cluster, from_s, to_s)
        with self._self_metrics.timed("query"):
            return reader.read_series(queries)

    def statistics(
        self, cluster: str, queries: Sequence[Query], *, from_s: int, to_s: int
    ) -> list[list[StoredStatistic]]:
        """Per query the statistics of what `query` would give; raises the same."""
        reader = self._reader(cluster, from_s, to_s)
        with self._self_metrics.timed("statistics"):
            return reader.read_statistics(queries)

    def _reader(self, cluster: str, from_s: int, to_s: int) -> QueryReader:
        limit = self._limits.query_samples
        return QueryReader(self._table, self._memory, cluster, from_s=from_s, to_s=to_s, limit_samples=limit)

    def held_range_s(self, timestep_s: int) -> tuple[int, int]:
        """From when to when there can be samples of a timestep, the end excluded; (0, 0) without any."""
        with self._memory:
            for grid in self._table.columns.grids:
                if grid.timestep_s == timestep_s:
                    held = grid.windows.held_slots()
                    return held.start * timestep_s, held.stop * timestep_s
        return 0, 0

    def last_seen_s(self, cluster: str, host: str) -> int | None:
        """The time of the newest sample of any metric of a host, or None if there is none."""
        with self._memory:
            known = self._table.host(cluster, host)
            return None if known is None else int(self._table.columns.host_last_s[known.id]) or None

    def last_seen_by_host(self, cluster: str) -> dict[str, int]:
        """Host -> time of its newest sample of any metric, of all hosts of a cluster that have series."""
        with self._memory:
            hosts = self._table.clusters.get(cluster, {})
            return {name: int(self._table.columns.host_last_s[host.id]) for name, host in hosts.items()}

    @property
    def restoring(self) -> bool:
        """Whether samples of before the start are still being read back."""
        return self._disk is not None and self._disk.restoring

    def wait_restored(self, timeout_s: float | None = None) -> bool:
        """Wait until samples of before the start are back; whether they are."""
        return self._disk is None or self._disk.wait_restored(timeout_s)

    @property
    def started_s(self) -> int:
        """When this store was opened."""
        return self._started_s

    @property
    def last_heartbeat_s(self) -> int:
        """The newest time that the folder knows from before the start, 0 without any: no clock should be behind it."""
        return 0 if self._disk is None else self._disk.last_heartbeat_s

    def downtimes(self) -> list[Downtime]:
        """From when to when no store ran on this folder, oldest first; as far back as samples are kept."""
        return [] if self._disk is None else self._disk.downtimes()

    def explain_gaps(self, cluster: str, asked: Sequence[GapQuery], *, now_s: int) -> list[list[DataGap]]:
        """Per question the stretches of time without samples of its host, each with the reason, in order."""
        facts = StoreHistory(
            kept_from_s=max(now_s - self._retention_s, self._upkeep.kept_from_s),
            restoring_before_s=self.started_s if self.restoring else 0,
            downtimes=self.downtimes(),
        )
        with self._self_metrics.timed("why_no_data"):
            return GapAnalysis(self._table, self._memory, cluster, facts, now_s=now_s).find_gaps(asked)

    def clusters(self) -> list[str]:
        """The clusters that have series, sorted."""
        with self._memory:
            return sorted(self._table.clusters)

    def inventory(self, path: Sequence[str] = ()) -> dict[str, Any] | None:
        """What the store holds below a path of cluster, host and parts; None if there is nothing of that name."""
        return describe_path(self._table, path, self._memory)

    def hosts(self, cluster: str) -> list[str]:
        """The hosts that have series, sorted."""
        with self._memory:
            return sorted(self._table.clusters.get(cluster, ()))

    def metrics_of_job(self, cluster: str, hosts: Iterable[str], job_id: int) -> frozenset[str]:
        """The metrics of which the hosts have series of one job, with `type=job` and its id."""
        with self._memory:
            found = (self._table.host(cluster, name) for name in hosts)
            return frozenset(metric for host in found if host for metric in host.metrics_of_job(str(job_id)))

    def host_health(self, cluster: str, host: str, metrics: Iterable[str], *, now_s: int) -> HostHealth:
        """Which of the expected metrics of a host arrive."""
        with self._memory:
            found = self._table.host(cluster, host)
            return check_host_health(self._table, cluster, found, metrics, now_s=now_s, expectations=self._expectations)

    # Upkeep

    def free(self, *, before_s: int, holds: RetentionHolds) -> int:
        """Forget samples older than `before_s`, in memory and on disk; returns the bytes freed in memory.

        `holds` says cluster -> host -> from when on its samples stay, for jobs that run longer than the retention.
        Memory goes in blocks of windows, so some samples stay a little longer. Series without samples are forgotten.
        Does nothing while samples of before the start are still being read back.
        """
        return self._upkeep.free(before_s, holds)

    def upkeep(self, now_s: int, holds: RetentionHolds, *, trusted_s: int | None = None) -> int:
        """Bring memory and disk into the order that the settings ask for; returns the bytes freed in memory.

        What is out of the retention goes, what is out of the hot period is compressed, and if that is not enough for
        the cap, more gives way. Does nothing while samples of before the start are still being read back.
        `trusted_s` is recorded as the last heartbeat; it differs from `now_s` while the clock is in doubt.
        """
        return self._upkeep.run(now_s, holds, now_s if trusted_s is None else trusted_s)

    def snapshot(self, now_s: int, *, budget_s: float | None = None) -> bool:
        """Write what has changed in memory to snapshots and remove what they cover from the log; False if it failed.

        `now_s` is recorded as the last heartbeat.
        Ingest goes on meanwhile. Ends early after `budget_s`, with nothing lost. Faults of the disk are
        logged. Does nothing without a folder, or while samples of before the start are still being read back.
        """
        with self._self_metrics.timed("snapshot"):
            return self._upkeep.snapshot(now_s, budget_s=budget_s)

    def check_disk(self) -> None:
        """See whether the folder of the store is still there and can be written; cheap enough for each second.

        Takes note of rejections, and of their end. It may hang where the disk hangs, so no request should wait for it.
        """
        self._upkeep.check_disk()

    def faults(self) -> list[str]:
        """What keeps the store from taking or keeping samples, and what to do: sentences without paths.

        As the last check, batch or snapshot found it; waits for neither locks nor disk.
        """
        return self._upkeep.faults()

    @property
    def needs_snapshot(self) -> bool:
        """Whether a snapshot is needed at once: files are gone of which the memory has what they held."""
        return self._disk is not None and self._disk.needs_snapshot

    def reload(self, metrics: MetricTable, *, host_table: HostTable | None = None) -> None:
        """Take over new metrics and hosts; series whose timestep changed are carried over to the new one."""
        with self._ingest, self._memory:
            moved = self._table.reload(metrics, host_table)
            self._expectations.clear()
            self._unknown_names.reload(metrics, self._table.host_config)
        logger.info("metric table reloaded clusters=%d moved_series=%d", len(metrics), moved)

    def counters(self) -> StoreCounters:
        """The store about itself."""
        log = WalState() if self._log is None else self._log.state()
        with self._memory:
            return StoreCounters(
                batches=self._batches,
                lines=self._accepted + sum(self._rejected.values()),
                accepted=self._accepted,
                rejected=dict(self._rejected),
                series=self._table.series_count + self._table.job_count,
                hosts=self._table.host_count,
                unknown_hosts=self._table.unknown_hosts_seen,
                unknown_host_lines=self._unknown_host_lines + self._rejected.get(RejectReason.UNKNOWN_HOST, 0),
                cached_keys=len(self._table.keys),
                sample_bytes=sum(grid.windows.sample_bytes for grid in self._table.columns.grids),
                log=log,
                restore=RestoreState() if self._disk is None else self._disk.restored,
                snapshots=SnapshotState() if self._disk is None else self._disk.state(),
                self_metrics=self._self_metrics.snapshot(),
            )

    def unknown_names(self) -> list[tuple[RejectReason, UnknownName]]:
        """The first names of clusters, metrics and hosts that came and are not configured, oldest first."""
        return self._unknown_names.observed()

    def capacity(self, now_s: int) -> CapacityReport:
        """What samples and tables take of the memory, and what they will once the retention is full."""
        return self._upkeep.capacity(now_s)

    def validate(self) -> None:
        """Raise AssertionError if the store contradicts itself; for tests."""
        with self._ingest, self._memory:
            self._table.validate()

    def close(self) -> None:
        """Bring the write-ahead log to the disk and let go of its folder; a restore under way is given up."""
        if self._disk is not None:
            self._disk.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
