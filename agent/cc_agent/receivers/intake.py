"""The way from receivers to sinks: messages are read, run through the rules, and queued with their own times."""

from __future__ import annotations

import logging
import threading
import time
from typing import Any, Callable, Dict, FrozenSet, List, NamedTuple, Sequence

from cc_agent.collectors.base import RawSeries
from cc_agent.router import Batch, ReceivedSample, Router
from cc_agent.sinks.base import Sink
from cc_common.errors import LineProtocolError
from cc_common.line_protocol import (
    Message,
    message_class,
    message_lines,
    parse_fields,
    parse_series,
    parse_time,
    parse_value,
    split_line,
)

logger = logging.getLogger(__name__)

_MAX_KNOWN_SERIES = 262_144
_MAX_ERRORS = 20
_MAX_BATCH_MESSAGES = 20_000
"""Messages that are passed on together: a body of the shortest lines would take thirty times its size in memory."""
_LOG_PERIOD_S = 300.0


class IntakeOutput(NamedTuple):
    """A sink, the classes it wants, and the router with the rules of the receiver, the agent and the sink."""

    router: Router
    sink: Sink
    classes: FrozenSet[str]


class IntakeReport(NamedTuple):
    """How many messages of a batch were accepted, how many not, and the reason of some of the latter."""

    accepted: int
    rejected: int
    errors: List[Dict[str, Any]]


class Intake:
    """Takes what one receiver got and passes it to the sinks; thread-safe, and never waits for the network.

    Metrics, events, logs and control messages go into batches of their own.
    """

    def __init__(self, name: str, outputs: Sequence[IntakeOutput], *, clock: Callable[[], float] = time.time) -> None:
        self.name = name
        self._outputs = outputs
        self._clock = clock
        self._lock = threading.Lock()
        self._known: Dict[bytes, RawSeries] = {}
        self._meta = {"source": name}
        self._logged_s = float("-inf")
        self.accepted = self.rejected = 0

    def accept_lines(self, batch: bytes) -> IntakeReport:
        """Read a batch of line protocol; a bad line does not affect the others."""
        received_s = int(self._clock())
        samples: List[ReceivedSample] = []
        messages: Dict[str, List[Message]] = {}
        errors: List[Dict[str, Any]] = []
        rejected = accepted = 0
        with self._lock:
            for number, line in message_lines(batch):
                try:
                    self._read_line(line, received_s, samples, messages)
                except LineProtocolError as error:
                    rejected += 1
                    if len(errors) < _MAX_ERRORS:
                        errors.append({"line": number, "reason": str(error)})
                    continue
                accepted += 1
                if accepted % _MAX_BATCH_MESSAGES == 0:
                    self._pass_on(samples, messages)
                    samples, messages = [], {}
            self._pass_on(samples, messages)
            self._count(accepted, rejected, errors)
        return IntakeReport(accepted, rejected, errors)

    def accept_samples(self, samples: Sequence[ReceivedSample]) -> None:
        """Pass on samples that were read already; their series are to be the same objects each time."""
        with self._lock:
            for first in range(0, len(samples), _MAX_BATCH_MESSAGES):
                self._pass_on(samples[first : first + _MAX_BATCH_MESSAGES], {})
            self._count(len(samples), 0, [])

    def _read_line(
        self, line: bytes, received_s: int, samples: List[ReceivedSample], messages: Dict[str, List[Message]]
    ) -> None:
        key, fields, time_text = split_line(line)
        series = self._known.get(key)
        if series is None:
            name, tags = parse_series(key)
            if len(self._known) >= _MAX_KNOWN_SERIES:  # senders came and went
                self._known = {}
            series = self._known[key] = RawSeries(name, tags, self._meta)
        time_s = parse_time(time_text, received_s=received_s)
        if fields.startswith(b"value=") and b"," not in fields and b'"' not in fields:
            samples.append((series, parse_value(fields), time_s))
            return
        found = parse_fields(fields)
        kind = message_class(found)
        if kind == "metric" and len(found) == 1:
            samples.append((series, float(found["value"]), time_s))
        elif kind in ("event", "log", "control"):
            messages.setdefault(kind, []).append(Message(series.metric, dict(series.tags), found, time_s))
        elif kind == "metric":
            raise LineProtocolError("a sample has one field, 'value'")
        else:
            raise LineProtocolError("there is no field 'value' with a number, and no 'event', 'log' or 'control'")

    def _pass_on(self, samples: Sequence[ReceivedSample], messages: Dict[str, List[Message]]) -> None:
        batches: Dict[int, Batch] = {}
        for router, sink, classes in self._outputs:
            if samples and "metric" in classes:
                if id(router) not in batches:
                    batches[id(router)] = router.encode_received(samples)
                self._put(sink, batches[id(router)])
            for kind, of_class in messages.items():
                if kind in classes:
                    lines = [router.encode_message(message, kind, self._meta) for message in of_class]
                    self._put(sink, Batch(b"".join(lines), sum(map(bool, lines))))

    def _put(self, sink: Sink, batch: Batch) -> None:
        if not batch.samples:
            return
        try:
            sink.put(batch)
        except OSError as error:
            logger.warning("messages lost sink=%s count=%d reason=%s", sink.name, batch.samples, error.strerror)

    def _count(self, accepted: int, rejected: int, errors: List[Dict[str, Any]]) -> None:
        self.accepted += accepted
        self.rejected += rejected
        now_s = self._clock()
        if rejected and now_s - self._logged_s >= _LOG_PERIOD_S:
            self._logged_s = now_s
            logger.warning("lines rejected receiver=%s count=%d first=%r", self.name, rejected, errors[0]["reason"])
