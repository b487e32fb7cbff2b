"""The periodic tasks of the metric store program: retention, compression, snapshots."""

import threading

from cc_backend.maintenance.store_tasks import store_tasks
from cc_backend.model import RetentionHolds
from cc_backend.runtime.periodic import PeriodicTask
from cc_backend.storeservice.services import StoreServices


def periodic_tasks(services: StoreServices, stopping: threading.Event) -> tuple[PeriodicTask, ...]:
    """All periodic tasks of a metric store program; none of them needs `stopping` to end early."""
    del stopping

    def holds() -> RetentionHolds:
        """Samples of hosts with running jobs; of all hosts before the first response of the backend."""
        if services.holds_client is None:
            return {}
        before_s = int(services.retention_now_s() - services.settings.metric_store.retention_in_memory_s)
        found, store = services.holds_client.fetch_or_last(before_s), services.store
        return found if found is not None else {name: dict.fromkeys(store.hosts(name), 0) for name in store.clusters()}

    return store_tasks(services, holds, snapshot_interval_s=services.settings.metric_store.snapshot_interval_s)
