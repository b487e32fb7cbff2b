"""The scheduled work of the metric store."""

import logging
import threading
from datetime import UTC, datetime, timedelta

from apscheduler.schedulers.background import BackgroundScheduler

from cc_backend.errors import BackendError
from cc_backend.storeservice.app import StoreServices

UPKEEP_EVERY_S = 300
FIRST_S = 2

logger = logging.getLogger(__name__)


class Background:
    """The running background work of one metric store."""

    def __init__(self, scheduler: BackgroundScheduler, services: StoreServices) -> None:
        self._scheduler = scheduler
        self._services = services
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let running work end, then close what must be closed; a second time does nothing."""
        if self._stopped.is_set():
            return
        self._stopped.set()
        self._scheduler.shutdown(wait=True)
        self._services.close()


def start_background(services: StoreServices) -> Background:
    """Start retention, in its own rhythm and never twice at a time."""
    scheduler = BackgroundScheduler(
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None}, timezone="UTC"
    )

    def run() -> None:
        try:
            upkeep(services)
        except BackendError as error:
            logger.error("upkeep failed reason=%s", error)  # noqa: TRY400 - expected

    first = datetime.now(UTC) + timedelta(seconds=FIRST_S)
    scheduler.add_job(run, "interval", seconds=UPKEEP_EVERY_S, next_run_time=first)
    scheduler.start()
    return Background(scheduler, services)


def upkeep(services: StoreServices) -> int:
    """Forget what is out of retention, but for hosts with running jobs; returns the bytes that were freed.

    While the backend that knows these jobs has never answered, nothing is forgotten.
    """
    now_s = services.now_s()
    before_s = int(now_s - services.settings.metric_store.retention_in_memory_s)
    protected = {} if services.used_nodes is None else services.used_nodes.fetch(before_s)
    if protected is None:
        return 0
    freed = services.store.free(before_s=before_s, protected=protected)
    if freed:
        logger.info("freed old samples bytes=%d", freed)
    return freed
