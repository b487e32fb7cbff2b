"""The parts of the metric store program that its routes and periodic tasks use."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import cast

from flask import current_app

from cc_backend.metricstore import MetricStore
from cc_backend.runtime.health import HealthMonitor
from cc_backend.runtime.trusted_clock import TrustedClock
from cc_backend.storeservice.retention_holds import RetentionHoldsClient
from cc_backend.storeservice.settings import StoreServiceSettings
from cc_backend.storeservice.token_gate import TokenGate

EXTENSION = "cockpit-metric-store"
"""Key in `app.extensions` of the StoreServices of an application."""


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
    """The default clusters that batches named since the start."""

    def now_s(self) -> int:
        """The current time, Unix seconds."""
        return int(self.clock())

    def retention_now_s(self) -> int:
        """The time for retention, Unix seconds: a wall clock that jumped forward removes no samples."""
        return self.trusted_clock.retention_now_s()

    def trusted_now_s(self) -> int:
        """The trusted time, Unix seconds: the wall clock without its jumps."""
        return int(self.trusted_clock.now_s())

    def close(self) -> None:
        """Stop the health checks and sync the store to disk."""
        self.health.stop()
        self.store.close()


def current_services() -> StoreServices:
    """The services of the application that handles the current request."""
    return cast("StoreServices", current_app.extensions[EXTENSION])
