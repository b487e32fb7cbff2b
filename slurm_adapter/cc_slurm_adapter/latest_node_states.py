"""The newest state of all nodes, from whoever looks to whoever sends: only the latest is worth sending."""

from __future__ import annotations

import logging
import threading
from typing import Callable, Optional

from cc_common.delivery import DeliveryOutcome
from cc_common.node_states import NodeStateReport
from cc_slurm_adapter.response_decision import DeliveryDecision, decision_of

logger = logging.getLogger(__name__)


class LatestNodeStates:
    """Holds one report until it was tried; may be filled in one thread and sent in another."""

    def __init__(self, send: Callable[[NodeStateReport], DeliveryOutcome]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._report: Optional[NodeStateReport] = None
        self.problem = ""
        self.sent = 0

    def put(self, report: NodeStateReport) -> None:
        """Takes the place of a report that waits."""
        with self._lock:
            self._report = report

    @property
    def waiting(self) -> bool:
        """Whether there is a report that nobody has tried to send."""
        return self._report is not None

    def send_latest(self) -> None:
        """Sends the report once, if there is one: the next look brings a newer one anyway."""
        with self._lock:
            report, self._report = self._report, None
        if report is None:
            return
        outcome = self._send(report)
        taken = decision_of(outcome) is DeliveryDecision.ACCEPTED
        self.sent = len(report.nodes) if taken else 0
        before, self.problem = self.problem, "" if taken else outcome.message
        if self.problem and self.problem != before:
            logger.warning("cannot send node states reason=%r", self.problem)
        elif taken and before:
            logger.info("node states are taken again")
