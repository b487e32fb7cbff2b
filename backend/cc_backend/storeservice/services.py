"""What the routes and the background work of the metric store's own program use."""

from collections.abc import Callable
from dataclasses import dataclass, field

from cc_backend.metricstore import MetricStore
from cc_backend.runtime.health import HealthMonitor
from cc_backend.runtime.trusted_clock import TrustedClock
from cc_backend.storeservice.retention_holds import RetentionHoldsClient
from cc_backend.storeservice.settings import StoreServiceSettings
from cc_backend.storeservice.token_gate import TokenGate

EXTENSION = "cockpit-metric-store"
"""Where the application keeps them: `app.extensions[EXTENSION]`."""


@dataclass(slots=True)
class StoreServices:
    """The parts of one running metric store."""

    settings: StoreServiceSettings
    store: MetricStore
    gate: TokenGate
    holds_client: RetentionHoldsClient | None
    health: HealthMonitor
    clock: Callable[[], float]
    trusted_clock: TrustedClock
    known_default_clusters: set[str] = field(default_factory=set)
    """Those that batches named since the start, whether anything came of it or not."""

    def now_s(self) -> int:
        """The current time in whole Unix seconds."""
        return int(self.clock())

    def retention_now_s(self) -> int:
        """The time by which samples are removed: no wall clock that jumped removes any."""
        return self.trusted_clock.retention_now_s()

    def trusted_now_s(self) -> int:
        """What time it is, as far as is known; a wall clock that jumped does not change it."""
        return int(self.trusted_clock.now_s())

    def close(self) -> None:
        """Bring the samples to disk."""
        self.health.stop()
        self.store.close()
