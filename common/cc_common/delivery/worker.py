"""The thread that sends the batches of an outbox: oldest first, with back-off while the peer is unavailable."""

from __future__ import annotations

import logging
import random
import threading
import time
from typing import Callable, Optional, Set

from cc_common.delivery.backoff import Backoff
from cc_common.delivery.batch_split import SendReport, send_splitting
from cc_common.delivery.outbox import Lease, Outbox
from cc_common.delivery.outcome import BatchSender, OutcomeKind

logger = logging.getLogger(__name__)

_LOG_PERIOD_S = 300.0
_JOIN_S = 1.0
_SHOWN = 120
_MAX_UNWANTED_KINDS = 100


class DeliveryWorker:
    """Sends the batches of an outbox to a peer, in a thread of its own after `start`.

    `put` never waits for the network. A batch that fails goes to disk at once and is retried after a back-off; while
    the peer is unavailable new batches go to disk too. `on_rejected_line` is called with each line that was dropped,
    and the reason. `clock` is a monotonic clock in seconds.
    """

    def __init__(
        self,
        outbox: Outbox,
        sender: BatchSender,
        *,
        backoff: Optional[Backoff] = None,
        replay_pause_s: float = 0.0,
        on_rejected_line: Optional[Callable[[bytes, str], None]] = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._outbox = outbox
        self._sender = sender
        self._backoff = Backoff(random.SystemRandom()) if backoff is None else backoff
        self._replay_pause_s = replay_pause_s
        self._on_rejected_line = on_rejected_line
        self._clock = clock
        self._changed = threading.Condition()
        self._stopping = False
        self._woken = False  # something was put since the last step; guarded by _changed
        self._thread: Optional[threading.Thread] = None
        self._sent = self._failed_tries = 0
        self._last_error = ""
        self._logged_s: Optional[float] = None
        self._unwanted: Set[str] = set()  # what was logged already, without its numbers

    def start(self) -> None:
        """Start the thread; it ends with `stop`, and is a daemon thread."""
        self._thread = threading.Thread(target=self._run, name=f"delivery {self._sender.peer}", daemon=True)
        self._thread.start()

    def put(self, batch: bytes) -> bool:
        """Queue a batch; whether it is stored as the outbox promises.

        Restarts the thread if an unexpected error ended it, so that one batch cannot stop all that follow.
        """
        safe = self._outbox.put(batch)
        self._wake()
        if self._thread is not None and not self._thread.is_alive() and not self._stopping:
            logger.error("delivery thread died peer=%s: restarting it", self._sender.peer)
            self._outbox.spill()
            self.start()
        return safe

    def step(self) -> Optional[float]:
        """Send one batch if it is due; the seconds until the next one is due, None if the outbox is empty."""
        wait_s = self._backoff.wait_s(self._clock())
        if wait_s > 0:
            self._outbox.spill()
            return wait_s
        ticket = self._outbox.lease()
        if ticket is None:
            return None
        report = send_splitting(ticket.batch, self._sender.send, should_continue=lambda: not self._stopping)
        self._record_report(report)
        if not report.rest:
            self._outbox.confirm(ticket)
            self._record_success(report)
            return self._replay_pause_s
        return self._requeue(ticket, report)

    def flush(self, deadline_s: float) -> bool:
        """Send without back-off until the outbox is empty, a try fails or `deadline_s` seconds have passed.

        True if everything was sent. The thread must have been started.
        """
        end_s = self._clock() + deadline_s
        failed_before = self._failed_tries
        self._backoff.retry_now()
        self._wake()
        with self._changed:
            while len(self._outbox) and self._failed_tries == failed_before and self._is_running():
                left_s = end_s - self._clock()
                if left_s <= 0:
                    break
                self._changed.wait(left_s)
        return not len(self._outbox)

    def stop(self, deadline_s: float = 5.0) -> bool:
        """Send for `deadline_s` seconds at most, put the rest on disk and end; whether everything was sent."""
        empty = self.flush(deadline_s) if self._is_running() else not len(self._outbox)
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join(_JOIN_S)
        if not self._is_running():
            self._sender.close()
        self._outbox.close()
        return empty

    def _is_running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _wake(self) -> None:
        with self._changed:
            self._woken = True
            self._changed.notify_all()

    def _run(self) -> None:
        while not self._stopping:
            wait_s = self.step()
            with self._changed:
                self._changed.notify_all()  # flush() waits for an empty outbox
                if wait_s != 0.0 and not self._woken and not self._stopping:
                    self._changed.wait(wait_s)
                self._woken = False

    def _requeue(self, ticket: Lease, report: SendReport) -> float:
        self._outbox.requeue(ticket, report.rest)
        self._outbox.spill()
        outcome, now_s = report.outcome, self._clock()
        pause_s = self._backoff.record_failure(now_s, retry_after_s=outcome.retry_after_s)
        news = not self._last_error or (outcome.needs_operator and outcome.message != self._last_error)
        self._last_error = outcome.message
        self._failed_tries += 1
        if news or self._logged_s is None or now_s - self._logged_s >= _LOG_PERIOD_S:
            self._logged_s = now_s
            logger.log(
                logging.ERROR if outcome.needs_operator else logging.WARNING,
                "cannot deliver peer=%s reason=%r waiting=%d next_try_s=%.0f",
                self._sender.peer,
                outcome.message,
                len(self._outbox),
                pause_s,
            )
        return pause_s

    def _record_success(self, report: SendReport) -> None:
        self._backoff.record_success()
        if not self._sent:
            logger.info("first batch delivered peer=%s", self._sender.peer)
        self._sent += 1
        if self._last_error and report.outcome.kind is OutcomeKind.DELIVERED:
            logger.info("delivering again peer=%s waiting=%d", self._sender.peer, len(self._outbox))
        self._last_error = ""

    def _record_report(self, report: SendReport) -> None:
        if report.rejected:
            first = report.errors[0] if report.errors else "not named"
            logger.warning("lines rejected peer=%s count=%d first=%r", self._sender.peer, report.rejected, first)
        for text in report.unwanted:
            kind = text.partition(" ")[2]
            if kind not in self._unwanted and len(self._unwanted) < _MAX_UNWANTED_KINDS:
                self._unwanted.add(kind)
                logger.warning("lines not wanted peer=%s what=%r", self._sender.peer, text)
        for line, reason in report.rejected_parts:
            shown = line[:_SHOWN].decode(errors="replace")
            logger.warning("line dropped peer=%s reason=%r line=%r", self._sender.peer, reason, shown)
            if self._on_rejected_line is not None:
                self._on_rejected_line(line, reason)
