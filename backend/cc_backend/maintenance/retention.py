"""What the store may forget: samples older than the retention that no unfinished job needs."""

import logging

from cc_backend.jobs.job_queries import JobQueries
from cc_backend.metricstore import MetricStore

logger = logging.getLogger(__name__)


def run_store_upkeep(search: JobQueries, store: MetricStore, *, now_s: int, trusted_s: int | None = None) -> int:
    """Lets the store free and compress what its settings say, and returns the bytes that this freed.

    Jobs that run or await archiving keep their samples. `trusted_s` is noted as the last sign of life, by default
    `unix_now_s`.
    """
    freed = store.upkeep(now_s, search.retention_holds(), trusted_s=trusted_s)
    if freed:
        logger.info("store upkeep freed bytes=%d", freed)
    return freed
