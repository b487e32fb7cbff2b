"""The latest node state report, passed from the polling to the delivery thread; older ones are dropped."""

from __future__ import annotations

import logging
import threading
from typing import Callable, Optional

from cc_common.delivery import DeliveryOutcome
from cc_common.node_states import NodeStateReport
from cc_slurm_adapter.response_decision import DeliveryDecision, decision_of

logger = logging.getLogger(__name__)


class LatestNodeStates:
    """Holds one report until it was sent once; thread-safe. `problem` is empty after a success."""

    def __init__(self, send: Callable[[NodeStateReport], DeliveryOutcome]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._report: Optional[NodeStateReport] = None
        self.problem = ""
        self.sent = 0

    def put(self, report: NodeStateReport) -> None:
        """Replace the waiting report."""
        with self._lock:
            self._report = report

    @property
    def waiting(self) -> bool:
        """Whether there is a report that was not sent yet."""
        return self._report is not None

    def send_latest(self) -> None:
        """Send the waiting report, if there is one; it is not retried, the next poll brings a newer one."""
        with self._lock:
            report, self._report = self._report, None
        if report is None:
            return
        outcome = self._send(report)
        accepted = decision_of(outcome) is DeliveryDecision.ACCEPTED
        self.sent = len(report.nodes) if accepted else 0
        before, self.problem = self.problem, "" if accepted else outcome.message
        if self.problem and self.problem != before:
            logger.warning("cannot send node states reason=%r", self.problem)
        elif accepted and before:
            logger.info("node states are accepted again")
