"""Retention of samples: removes those that are too old and that no unfinished job needs."""

import logging

from cc_backend.jobs.job_queries import JobQueries
from cc_backend.metricstore import MetricStore

logger = logging.getLogger(__name__)


def run_store_upkeep(search: JobQueries, store: MetricStore, *, now_s: int, trusted_s: int | None = None) -> int:
    """Let the store free and compress samples by its settings; returns the freed bytes.

    Samples of jobs that are running or wait to be archived are kept. `trusted_s` is recorded as heartbeat, by default
    `now_s`.
    """
    freed = store.upkeep(now_s, search.retention_holds(), trusted_s=trusted_s)
    if freed:
        logger.info("store upkeep freed bytes=%d", freed)
    return freed
