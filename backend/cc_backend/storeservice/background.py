"""What the metric store does by itself: retention, compression, snapshots. One thread, by a clock that is never set."""

import logging
import threading
import time

from cc_backend.errors import BackendError
from cc_backend.metricstore.disk.rhythm import Rhythm
from cc_backend.storeservice.services import StoreServices

UPKEEP_EVERY_S = 60.0
LOOK_EVERY_S = 5.0
SNAPSHOT_AT_STOP_S = 20.0

logger = logging.getLogger(__name__)


class Background:
    """The running background work of one metric store."""

    def __init__(self, services: StoreServices) -> None:
        self._services = services
        self._stopping = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="upkeep", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        rhythm = Rhythm(self._services.settings.metric_store.snapshot_interval_s, time.monotonic())
        next_upkeep_s = time.monotonic() + LOOK_EVERY_S
        while not self._stopping.wait(LOOK_EVERY_S):
            now_s = time.monotonic()
            try:
                if now_s >= next_upkeep_s:
                    next_upkeep_s = now_s + UPKEEP_EVERY_S
                    upkeep(self._services)
                if rhythm.is_due(now_s):
                    rhythm.done(time.monotonic(), well=self._services.store.snapshot(self._services.now_s()))
            except BackendError as error:
                logger.error("scheduled work failed reason=%s", error)  # noqa: TRY400 - expected
            except Exception:  # a defect must not end the thread that keeps the disk in order
                logger.exception("scheduled work met a defect")

    def stop(self) -> None:
        """Let running work end, take a last snapshot, close what must be closed; a second time does nothing."""
        if self._stopped:
            return
        self._stopped = True
        self._stopping.set()
        self._thread.join()
        self._services.store.snapshot(self._services.now_s(), budget_s=SNAPSHOT_AT_STOP_S)
        self._services.close()


def upkeep(services: StoreServices) -> int:
    """Bring the store into the order that the settings ask for; returns the bytes that this freed.

    Samples of hosts with running jobs stay; while the backend that knows these jobs has never answered, those of all.
    """
    now_s, store = services.now_s(), services.store
    before_s = int(now_s - services.settings.metric_store.retention_in_memory_s)
    protected = {} if services.used_nodes is None else services.used_nodes.fetch(before_s)
    if protected is None:
        protected = {cluster: dict.fromkeys(store.hosts(cluster), 0) for cluster in store.clusters()}
    freed = store.upkeep(now_s, protected)
    if freed:
        logger.info("store upkeep freed bytes=%d", freed)
    return freed
