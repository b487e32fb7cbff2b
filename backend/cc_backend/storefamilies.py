"""The program and its metric store about themselves, as metric families; for every program that has a store."""

import platform
from collections.abc import Mapping

from cc_backend.exposition import Family, Sample, histogram_samples, single
from cc_backend.metricstore import StoreCounters
from cc_backend.metricstore.selfmetrics import Distribution, SelfReport
from cc_common import __version__

_WORK_HELP = {
    "ingest": "Seconds to take a batch, from its bytes to the log.",
    "log_append": "Seconds to write a batch to the log.",
    "log_fsync": "Seconds until the disk confirmed the log.",
    "query": "Seconds to answer a question for samples.",
    "statistics": "Seconds to answer a question for statistics.",
    "why_no_data": "Seconds to find out why samples are missing.",
    "snapshot": "Seconds to write a snapshot.",
}


def build_family() -> Family:
    """Which program this is, as labels of a constant 1."""
    labels = {"version": __version__, "python": platform.python_version()}
    return Family("cc_backend_build_info", "gauge", "Version of the program.", (Sample(1, labels),))


def store_families(counters: StoreCounters) -> list[Family]:
    """What came into the metric store, what was left out and why, and what it holds."""
    log, restore = counters.log, counters.restore
    lines = [Sample(counters.accepted, {"result": "accepted", "reason": ""})]
    lines += [
        Sample(number, {"result": "rejected", "reason": str(reason)})
        for reason, number in sorted(counters.rejected.items())
    ]
    return [
        Family("cc_backend_store_lines_total", "counter", "Lines of line protocol, by what became of them.", lines),
        single("cc_backend_store_batches_total", "counter", "Batches of lines.", counters.batches),
        single("cc_backend_store_series", "gauge", "Series in memory.", counters.series),
        single("cc_backend_store_hosts", "gauge", "Hosts in memory.", counters.hosts),
        single(
            "cc_backend_store_unknown_hosts",
            "gauge",
            "Hosts that send samples and that no cluster.json names, up to 10000.",
            counters.unknown_hosts,
        ),
        single(
            "cc_backend_store_unknown_host_lines_total",
            "counter",
            "Lines of such hosts, kept or refused.",
            counters.unknown_host_lines,
        ),
        single("cc_backend_store_series_spellings", "gauge", "Spellings of series keys.", counters.spellings),
        single("cc_backend_store_samples_bytes", "gauge", "Memory of samples.", counters.sample_bytes),
        single("cc_backend_store_log_enabled", "gauge", "1 if samples are logged to disk.", int(log.enabled)),
        single("cc_backend_store_log_writable", "gauge", "0 while the log has a fault.", int(not log.fault)),
        single("cc_backend_store_log_segments", "gauge", "Files of the log.", log.segments),
        single("cc_backend_store_log_bytes", "gauge", "Size of the log.", log.size_bytes),
        single(
            "cc_backend_store_log_missed_batches_total",
            "counter",
            "Batches that the log could not take.",
            log.unlogged_batches,
        ),
        single(
            "cc_backend_store_log_missed_samples_total",
            "counter",
            "Samples that the log could not take.",
            log.unlogged_samples,
        ),
        single("cc_backend_store_restored_samples", "gauge", "Samples read back at the start.", restore.samples),
        single(
            "cc_backend_store_restore_damaged_files", "gauge", "Damaged log files at the start.", restore.damaged_files
        ),
        single("cc_backend_store_restore_damaged_bytes", "gauge", "Damaged bytes at the start.", restore.damaged_bytes),
        *(measured_families(counters.measured) if counters.measured else ()),
    ]


def measured_families(measured: SelfReport) -> list[Family]:
    """The histograms of a store: how late batches come, and how long each kind of its work takes."""
    lag = _histogram("cc_backend_store_lag_seconds", "Age of the oldest sample of a batch as it comes.", measured.lag_s)
    return [lag, *_work_families(measured.seconds)]


def _work_families(seconds: Mapping[str, Distribution]) -> list[Family]:
    return [
        _histogram(f"cc_backend_store_{work}_seconds", _WORK_HELP[work], distribution)
        for work, distribution in seconds.items()
    ]


def _histogram(name: str, text: str, found: Distribution) -> Family:
    return Family(name, "histogram", text, histogram_samples(found.bounds, found.counts, found.total))
