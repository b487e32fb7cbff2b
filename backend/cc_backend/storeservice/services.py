"""The parts of the metric store program that its routes and periodic tasks use."""

from dataclasses import dataclass, field
from typing import cast

from flask import current_app

from cc_backend.errors import Unavailable
from cc_backend.model import RetentionHolds
from cc_backend.services import EXTENSION, StoreProgram
from cc_backend.storeservice.retention_holds import RetentionHoldsClient
from cc_backend.storeservice.settings import StoreServiceSettings
from cc_backend.storeservice.token_gate import TokenGate

_RETRY_S = 5


@dataclass(slots=True, kw_only=True)
class StoreServices(StoreProgram):
    """The parts of one running metric store."""

    settings: StoreServiceSettings
    gate: TokenGate
    holds_client: RetentionHoldsClient | None
    known_default_clusters: set[str] = field(default_factory=set)
    """The default clusters that batches named since the start."""

    def retention_holds(self) -> RetentionHolds:
        """Hosts of running jobs, whose samples are not freed.

        Raises:
            Unavailable: the backend that knows them does not answer.
        """
        holds = {} if self.holds_client is None else self.holds_client.fetch_fresh(self.now_s())
        if holds is None:
            raise Unavailable("the backend that knows the running jobs does not answer", retry_after_s=_RETRY_S)
        return holds


def current_services() -> StoreServices:
    """The services of the application that handles the current request."""
    return cast("StoreServices", current_app.extensions[EXTENSION])
