"""Reporting the node to the backend: its hardware, the version of the agent, and which collectors work.

It is sent by a thread of its own, at the start and when it has changed, with the address and token of each HTTP sink.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence, Tuple
from urllib.parse import urlsplit, urlunsplit

from cc_agent.control.status import collector_documents
from cc_agent.sampler import CollectorStatus
from cc_agent.sinks.http import WRITE_PATH, HttpSettings, write_url
from cc_common import __version__
from cc_common.errors import CockpitError

if TYPE_CHECKING:
    from cc_common.delivery import DeliveryOutcome
    from cc_common.delivery.http_response import HttpResponse

logger = logging.getLogger(__name__)

REPORT_PATH = "/api/nodes/report/"
SETTLE_S = 20.0
"""Seconds without a change of states before these are reported: a driver that comes and goes is one change."""
RETRY_S = 300.0
REPEAT_S = 86_400.0
"""An unchanged report is repeated once a day, so that the server knows that the node still exists."""


def report_url(url: str) -> Optional[str]:
    """Where the server of a sink takes reports; None for a server that is not known to be a backend."""
    parts = urlsplit(write_url(url))
    if parts.path.rstrip("/") != WRITE_PATH:
        return None
    return urlunsplit((parts.scheme, parts.netloc, REPORT_PATH, "", ""))


def make_report(
    cluster: str, hostname: str, statuses: Sequence[CollectorStatus], description: Optional[Dict[str, Any]]
) -> Dict[str, Any]:
    """The report as a JSON document; what changes all the time, such as ages and costs, is not in it."""
    return {
        "cluster": cluster,
        "hostname": hostname,
        "agentVersion": __version__,
        "collectors": [
            {
                "name": collector["name"],
                "state": collector["state"],
                "problem": _shortened(collector["problem"]),
                "advice": _shortened(collector["advice"]),
            }
            for collector in collector_documents(statuses)
        ],
        "description": description,
    }


def _shortened(text: str) -> str:
    return "".join(character for character in " ".join(text.split()) if character.isprintable())[:1000]


class ReportTimes:
    """When a report is due: soon after a change, again after a failure, and once a day."""

    def __init__(self) -> None:
        self._states: Tuple[Tuple[str, bool, bool], ...] = ()
        self._since_s = 0.0
        self._sent_states: Optional[Tuple[Tuple[str, bool, bool], ...]] = None
        self._next_s = 0.0

    def is_due(self, statuses: Sequence[CollectorStatus], now_s: float) -> bool:
        """Whether to report now, given the present states of the collectors."""
        states = tuple((status.name, bool(status.problem), status.absent) for status in statuses)
        if states != self._states:
            self._states, self._since_s = states, now_s
        if now_s < self._since_s + SETTLE_S:
            return False
        return now_s >= self._next_s or (self._sent_states is not None and states != self._sent_states)

    def record(self, now_s: float, *, answered: bool) -> None:
        """Note whether the servers have answered; one that takes no reports is asked again once a day."""
        if answered:
            self._sent_states = self._states
            self._next_s = now_s + REPEAT_S
        else:
            self._sent_states = None
            self._next_s = now_s + RETRY_S


class NodeReporter:
    """Reports the node to the backends among the sinks; `describe` reads the hardware, which takes a moment."""

    def __init__(
        self,
        sinks: Sequence[Tuple[str, HttpSettings]],
        *,
        cluster: str,
        hostname: str,
        describe: Callable[[], Optional[Dict[str, Any]]],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sinks = [(name, settings) for name, settings in sinks if report_url(settings.url) is not None]
        self._cluster = cluster
        self._hostname = hostname
        self._describe = describe
        self._monotonic = monotonic
        self._times = ReportTimes()
        self._thread: Optional[threading.Thread] = None

    def consider(self, statuses: List[CollectorStatus]) -> None:
        """Report in the background if that is due; called between two ticks."""
        if not self._sinks or (self._thread is not None and self._thread.is_alive()):
            return
        if self._times.is_due(statuses, self._monotonic()):
            self._thread = threading.Thread(target=self._report, args=(statuses,), name="node report", daemon=True)
            self._thread.start()

    def _report(self, statuses: List[CollectorStatus]) -> None:
        answered = False
        try:
            document = make_report(self._cluster, self._hostname, statuses, self._description())
            body = json.dumps(document).encode()
            answers = [self._send(name, settings, body) for name, settings in self._sinks]
            answered = all(answers)
        finally:  # whatever happens, the next try waits
            self._times.record(self._monotonic(), answered=answered)

    def _description(self) -> Optional[Dict[str, Any]]:
        try:
            return self._describe()
        except Exception as error:  # noqa: BLE001 a report without the hardware is better than none
            logger.info("hardware not described reason=%s", error)
            return None

    def _send(self, name: str, settings: HttpSettings, body: bytes) -> bool:
        """Post the report; whether the server has answered for good, be it that it takes none."""
        from cc_common.delivery import HttpSender, OutcomeKind, Timeouts  # noqa: PLC0415 only where something is sent

        try:
            sender = HttpSender(
                report_url(settings.url) or "",
                token=settings.jwt,
                ca_file=settings.ca_file or None,
                timeouts=Timeouts(total_s=settings.timeout_s),
                content_type="application/json",
                interpret=interpret_answer,
            )
        except CockpitError as error:
            logger.info("node not reported sink=%s reason=%s", name, error)
            return True
        try:
            outcome = sender.send(body)
        finally:
            sender.close()
        if outcome.kind is OutcomeKind.DELIVERED:
            logger.debug("node reported sink=%s", name)
        else:
            logger.info("node not reported sink=%s reason=%s", name, outcome.message)
        return outcome.kind is not OutcomeKind.RETRY


def interpret_answer(response: HttpResponse, *, now_s: float) -> DeliveryOutcome:
    """What the answer to a report means: a server that takes none, such as a store, answers with a status of 4xx."""
    from cc_common.delivery import DeliveryOutcome, OutcomeKind  # noqa: PLC0415 same

    del now_s
    if response.status == HTTPStatus.OK:
        return DeliveryOutcome(OutcomeKind.DELIVERED)
    if response.status in (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS) or response.status >= 500:  # noqa: PLR2004 server errors
        return DeliveryOutcome(OutcomeKind.RETRY, f"status {response.status}")
    return DeliveryOutcome(OutcomeKind.BAD_BATCH, f"status {response.status}")
