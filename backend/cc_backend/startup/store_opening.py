"""Opens a metric store as the settings want it; for the backend and for the store that runs on its own."""

import logging
from pathlib import Path
from typing import cast

from cc_backend.metricstore import HAS_NATIVE, Fsync, HostTable, Limits, MetricStore, MetricTable
from cc_backend.settings import MetricStoreSettings

logger = logging.getLogger(__name__)

_GB = 10**9


def open_store(
    settings: MetricStoreSettings,
    metrics: MetricTable,
    now_s: int,
    *,
    nodes: HostTable | None = None,
    background: bool = False,
) -> MetricStore:
    """The metric store with what its folder holds; raises BackendError if the folder cannot be used.

    In the `background` it is ready at once, and what the folder holds comes back bit by bit.
    """
    if not HAS_NATIVE:
        logger.warning(
            "the metric store runs without its parts in C: they were not built, for want of a compiler or of Python's "
            "headers at the installation; results are the same, taking and compressing samples is several times slower"
        )
    return MetricStore.open(
        Path(settings.wal.directory),
        metrics,
        host_table=nodes,
        now_s=now_s,
        retention_s=int(settings.retention_in_memory_s),
        fsync=cast("Fsync", settings.wal.fsync),  # the settings have checked the choices
        fsync_interval_s=settings.wal.fsync_interval_s,
        hot_s=int(settings.hot_s),
        mantissa_bits=settings.round_bits,
        cap_bytes=settings.memory_cap_gb * _GB,
        background=background,
        limits=Limits(
            hosts=settings.max_hosts,
            series=settings.max_series,
            job_series=settings.max_job_series,
            strict_hosts=settings.strict_hosts,
        ),
    )
