"""Metrics of the program and its metric store, for every program that has a store."""

import platform
from collections.abc import Mapping

from cc_backend.metricstore import (
    HAS_NATIVE,
    CapacityReport,
    HistogramSnapshot,
    MemoryState,
    RestoreState,
    SelfMetricsSnapshot,
    SnapshotState,
    StoreCounters,
)
from cc_backend.telemetry.exposition import MetricFamily, MetricSample, histogram_samples, single_sample_family
from cc_common import __version__

_WORK_HELP = {
    "ingest": "Seconds to take a batch, from its bytes to the log.",
    "log_append": "Seconds to write a batch to the log.",
    "log_fsync": "Seconds until the disk confirmed the log.",
    "query": "Seconds to answer a query for samples.",
    "statistics": "Seconds to answer a query for statistics.",
    "why_no_data": "Seconds to find the gaps in the data of a query.",
    "snapshot": "Seconds to write a snapshot.",
}


def build_info_family() -> MetricFamily:
    """Version and build of the program, as labels of a constant 1."""
    labels = {
        "version": __version__,
        "python": platform.python_version(),
        "native_parts": "yes" if HAS_NATIVE else "no",
    }
    return MetricFamily("cc_backend_build_info", "gauge", "Version of the program.", (MetricSample(1, labels),))


def store_families(counters: StoreCounters, capacity: CapacityReport) -> list[MetricFamily]:
    """Counters and gauges of a metric store: lines by result and reason, series, memory, log, snapshots, restore."""
    log, memory = counters.log, capacity.memory
    lines = [MetricSample(counters.accepted, {"result": "accepted", "reason": ""})]
    lines += [
        MetricSample(number, {"result": "rejected", "reason": str(reason)})
        for reason, number in sorted(counters.rejected.items())
    ]
    return [
        MetricFamily("cc_backend_store_lines_total", "counter", "Lines of line protocol, by result and reason.", lines),
        single_sample_family("cc_backend_store_batches_total", "counter", "Batches of lines.", counters.batches),
        single_sample_family("cc_backend_store_series", "gauge", "Series in memory.", counters.series),
        single_sample_family("cc_backend_store_hosts", "gauge", "Hosts in memory.", counters.hosts),
        single_sample_family(
            "cc_backend_store_unknown_hosts",
            "gauge",
            "Hosts that send samples and that no cluster.json names, up to 10000.",
            counters.unknown_hosts,
        ),
        single_sample_family(
            "cc_backend_store_unknown_host_lines_total",
            "counter",
            "Lines of such hosts, kept or refused.",
            counters.unknown_host_lines,
        ),
        single_sample_family(
            "cc_backend_store_series_spellings", "gauge", "Cached keys of series.", counters.cached_keys
        ),
        single_sample_family("cc_backend_store_samples_bytes", "gauge", "Memory of samples.", counters.sample_bytes),
        single_sample_family(
            "cc_backend_store_log_enabled", "gauge", "1 if samples are logged to disk.", int(log.enabled)
        ),
        single_sample_family(
            "cc_backend_store_log_writable", "gauge", "0 while the log has a fault.", int(not log.fault)
        ),
        single_sample_family("cc_backend_store_log_segments", "gauge", "Files of the log.", log.segments),
        single_sample_family("cc_backend_store_log_bytes", "gauge", "Size of the log.", log.size_bytes),
        single_sample_family(
            "cc_backend_store_log_missed_batches_total",
            "counter",
            "Batches that could not be written to the log.",
            log.unlogged_batches,
        ),
        single_sample_family(
            "cc_backend_store_log_missed_samples_total",
            "counter",
            "Samples that could not be written to the log.",
            log.unlogged_samples,
        ),
        _bytes_family(counters, memory),
        MetricFamily(
            "cc_backend_store_full_bytes",
            "gauge",
            "Memory that will be taken once the whole retention is filled; absent while nothing tells yet.",
            [] if capacity.full_bytes is None else [MetricSample(capacity.full_bytes)],
        ),
        single_sample_family(
            "cc_backend_store_memory_cap_bytes", "gauge", "Cap on the memory, 0 for none.", memory.cap_bytes
        ),
        single_sample_family(
            "cc_backend_store_memory_cap_step",
            "gauge",
            "How far the store goes to stay under its cap: 0 nothing, 1 compress, 2 to disk, 3 and 4 drop samples.",
            memory.cap_step,
        ),
        single_sample_family(
            "cc_backend_store_refusing", "gauge", "1 while full: batches are refused.", int(memory.refusing)
        ),
        *_snapshot_families(counters.snapshots),
        *_restore_families(counters.restore),
        *(histogram_families(counters.self_metrics) if counters.self_metrics else ()),
    ]


def _bytes_family(counters: StoreCounters, memory: MemoryState) -> MetricFamily:
    kinds = {
        "hot": memory.hot_bytes,
        "cold": memory.cold_bytes,
        "tables": memory.table_bytes,
        "log": counters.log.size_bytes,
        "snapshots": counters.snapshots.size_bytes,
    }
    text = "Bytes: samples as they came, compressed ones and tables in memory; log and snapshots on disk."
    return MetricFamily(
        "cc_backend_store_bytes", "gauge", text, [MetricSample(n, {"kind": kind}) for kind, n in kinds.items()]
    )


def _snapshot_families(snapshots: SnapshotState) -> list[MetricFamily]:
    prefix = "cc_backend_store_snapshot"
    return [
        single_sample_family(f"{prefix}_files", "gauge", "Files of snapshots.", snapshots.files),
        single_sample_family(
            f"{prefix}_writable", "gauge", "0 while snapshots have a fault.", int(not snapshots.fault)
        ),
        single_sample_family(
            f"{prefix}_last_time_seconds", "gauge", "When the last one was through, Unix time.", snapshots.last_s
        ),
        single_sample_family(f"{prefix}_last_seconds", "gauge", "How long the last one took.", snapshots.last_seconds),
    ]


def _restore_families(restore: RestoreState) -> list[MetricFamily]:
    prefix = "cc_backend_store_restore"
    progress = restore.restored_bytes / restore.total_bytes if restore.running and restore.total_bytes else 1.0
    return [
        single_sample_family(
            "cc_backend_store_restoring", "gauge", "1 while older samples are read back.", int(restore.running)
        ),
        single_sample_family(
            f"{prefix}_progress_ratio", "gauge", "How much of the files is read back.", min(progress, 1.0)
        ),
        single_sample_family(f"{prefix}_seconds", "gauge", "Seconds that reading back took.", restore.seconds),
        single_sample_family(
            "cc_backend_store_restored_samples", "gauge", "Samples read back from the log.", restore.samples
        ),
        single_sample_family(
            "cc_backend_store_restored_chunks", "gauge", "Blocks read back from snapshots.", restore.chunks
        ),
        single_sample_family(f"{prefix}_damaged_files", "gauge", "Damaged files at the start.", restore.damaged_files),
        single_sample_family(f"{prefix}_damaged_bytes", "gauge", "Damaged bytes at the start.", restore.damaged_bytes),
        single_sample_family(
            f"{prefix}_unread_files", "gauge", "Files that could not be read at the start.", restore.unread_files
        ),
    ]


def histogram_families(measured: SelfMetricsSnapshot) -> list[MetricFamily]:
    """The histograms of a store: age of batches, and duration of each kind of work."""
    lag = _histogram("cc_backend_store_lag_seconds", "Age of the oldest sample of a batch as it comes.", measured.lag_s)
    return [lag, *_work_histograms(measured.seconds)]


def _work_histograms(seconds: Mapping[str, HistogramSnapshot]) -> list[MetricFamily]:
    return [
        _histogram(f"cc_backend_store_{work}_seconds", _WORK_HELP[work], distribution)
        for work, distribution in seconds.items()
    ]


def _histogram(name: str, text: str, found: HistogramSnapshot) -> MetricFamily:
    return MetricFamily(name, "histogram", text, histogram_samples(found.bounds, found.counts, found.sum))
