"""The periodic work of the metric store's own program: retention, compression, snapshots."""

import logging
import threading
from functools import partial

from cc_backend.runtime.periodic import PeriodicRunner, PeriodicTask, snapshot_tasks, stop_and_close
from cc_backend.storeservice.services import StoreServices

UPKEEP_EVERY_S = 60.0

logger = logging.getLogger(__name__)


class Background:
    """The running periodic work of one metric store."""

    def __init__(self, services: StoreServices) -> None:
        self._services = services
        self._runner = PeriodicRunner(periodic_tasks(services), threading.Event())
        self._runner.start()
        services.health.start()

    def stop(self) -> None:
        """Let running work end, then close what must be closed."""
        stop_and_close(self._runner, self._services)


def periodic_tasks(services: StoreServices) -> tuple[PeriodicTask, ...]:
    """All that a metric store does by itself."""
    return (
        PeriodicTask("upkeep", partial(upkeep, services), UPKEEP_EVERY_S),
        *snapshot_tasks(services, services.settings.metric_store.snapshot_interval_s),
    )


def upkeep(services: StoreServices) -> int:
    """Bring the store into the order that the settings ask for; returns the bytes that this freed.

    Samples of hosts with running jobs stay; while the backend that knows these jobs has never answered, those of all.
    """
    services.trusted_clock.resolve_doubt()
    now_s, store = services.retention_now_s(), services.store
    before_s = int(now_s - services.settings.metric_store.retention_in_memory_s)
    protected = {} if services.holds_client is None else services.holds_client.fetch_or_last(before_s)
    if protected is None:
        protected = {cluster: dict.fromkeys(store.hosts(cluster), 0) for cluster in store.clusters()}
    freed = store.upkeep(now_s, protected, trusted_s=services.trusted_now_s())
    if freed:
        logger.info("store upkeep freed bytes=%d", freed)
    return freed
