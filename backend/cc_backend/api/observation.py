"""The backend about itself: its counters as metric families."""

import platform

from cc_backend.api.exposition import Family, Sample, single
from cc_backend.jobs.filters import JobFilter
from cc_backend.metricstore import StoreCounters
from cc_backend.model import JobState, RowRule
from cc_backend.services import Services
from cc_common import __version__


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
    ]


def job_families(services: Services) -> list[Family]:
    """How many jobs run on each cluster, and how many wait to be archived."""
    everything = RowRule(everything=True)
    running = JobFilter(states=(JobState.RUNNING,))
    counts = services.search.count_by_cluster(running, everything, now_s=services.now_s())
    samples = [
        Sample(counts.get(cluster, {}).get(JobState.RUNNING, 0), {"cluster": cluster}) for cluster in services.clusters
    ]
    return [
        Family("cc_backend_jobs_running", "gauge", "Running jobs.", samples),
        single(
            "cc_backend_archive_queue_jobs",
            "gauge",
            "Finished jobs that wait to be archived.",
            services.search.count_unarchived(),
        ),
    ]
