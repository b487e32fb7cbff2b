"""What may be forgotten: samples older than the retention floor that no unfinished job needs."""

import logging

from cc_backend.jobs.search import JobSearch
from cc_backend.metricstore import MetricStore

logger = logging.getLogger(__name__)


def free_old_samples(search: JobSearch, store: MetricStore, *, retention_s: float, now_s: int) -> int:
    """Frees what is older than the floor and returns the bytes; jobs that run or await archiving keep theirs."""
    freed = store.free(before_s=int(now_s - retention_s), protected=search.needed_since())
    if freed:
        logger.info("freed old samples bytes=%d", freed)
    return freed
