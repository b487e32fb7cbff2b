"""`cc-agent once`: one set of samples of this node, from two readings 0.2 s apart so that there are rates."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Callable, Dict, List, Mapping, NamedTuple

from cc_agent.collectors.base import Reading
from cc_agent.collectors.registry import make_collectors
from cc_agent.errors import AgentError
from cc_agent.options import AgentOptions
from cc_agent.router import Batch
from cc_agent.sampler import CollectorStatus, Sampler
from cc_agent.settings import AgentConfiguration, load_configuration
from cc_agent.sinks.http import HttpSettings, make_sender
from cc_common.line_protocol import decode

RATE_PAUSE_S = 0.2


class NodeSnapshot(NamedTuple):
    """One set of readings, and the status of each collector."""

    readings: List[Reading]
    time_s: int
    statuses: List[CollectorStatus]


def sample_once(
    configuration: AgentConfiguration, *, root: Path = Path("/"), sleep: Callable[[float], None] = time.sleep
) -> NodeSnapshot:
    """The readings of all collectors, with rates over the last 0.2 s."""
    sampler = Sampler(make_collectors(configuration.settings.collectors, root))
    try:
        sampler.sample(int(time.time()), configuration.interval_s)
        sleep(RATE_PAUSE_S)
        time_s = int(time.time())
        readings = sampler.sample(time_s, configuration.interval_s)
        aggregator = configuration.make_aggregator(root)
        if aggregator is not None:
            readings += aggregator.add(readings, time_s)
        return NodeSnapshot(readings, time_s, sampler.statuses)
    finally:
        sampler.close()


def run_once(options: AgentOptions, environment: Mapping[str, str]) -> int:
    """Print one set of samples, or send it if --url is given; the exit status. Raises CockpitError.

    The status is 1 if the server accepted the samples but discards or hides some of them.
    """
    configuration = load_configuration(options, environment)
    for warning in configuration.warnings:
        sys.stderr.write(f"cc-agent: warning: {warning}\n")
    router = configuration.make_router()
    snapshot = sample_once(configuration)
    for status in snapshot.statuses:
        if status.problem and not status.absent:
            sys.stderr.write(f"cc-agent: {status.name} is not available: {status.problem}\n")
    batch = router.encode(snapshot.readings, snapshot.time_s)
    if options.url:
        sent = _send(configuration, batch)
        sys.stdout.write(sent.summary + "\n")
        for text in sent.unwanted:
            sys.stderr.write(f"cc-agent: the server does not want all samples: {text}\n")
        return 1 if sent.unwanted else 0
    sys.stdout.write(_FORMATS[options.format or "line"](batch.lines))
    return 0


def _as_json(lines: bytes) -> str:
    """A JSON object a line: name, tags, value, time_s."""
    documents = (
        {"name": point.metric, "tags": point.tags, "value": point.value, "time_s": point.time_s}
        for point in decode(lines, received_s=0)[0]
    )
    return "".join(json.dumps(document) + "\n" for document in documents)


def _as_table(lines: bytes) -> str:
    """A line for each sample, its columns below each other."""
    rows = []
    for point in decode(lines, received_s=0)[0]:
        part = " ".join(point.tags[key] for key in ("type", "type-id", "stype", "stype-id") if key in point.tags)
        rows.append((point.metric, part, f"{point.value:.6g}"))
    names, parts = (max((len(row[column]) for row in rows), default=0) for column in range(2))
    return "".join(f"{name:<{names}}  {part:<{parts}}  {value:>12}\n" for name, part, value in rows)


_FORMATS: Dict[str, Callable[[bytes], str]] = {"line": bytes.decode, "json": _as_json, "table": _as_table}


class _SendResult(NamedTuple):
    summary: str
    unwanted: List[str]


def _send(configuration: AgentConfiguration, batch: Batch) -> _SendResult:
    from cc_common.delivery.batch_split import send_splitting  # noqa: PLC0415 only who sends needs it

    settings = configuration.sinks[0].settings
    if not isinstance(settings, HttpSettings):
        raise AgentError("`once` can send to sinks of type http only")
    sender = make_sender(settings)
    try:
        report = send_splitting(batch.lines, sender.send)
    finally:
        sender.close()
    refused = report.rejected + report.dropped_lines
    if report.rest:
        raise AgentError(f"not sent to {sender.peer}: {report.outcome.message}")
    if refused:
        reasons = [*report.errors, *(reason for _, reason in report.rejected_parts), "no reason given"]
        raise AgentError(f"{sender.peer} rejected {refused} of {batch.samples} samples: {reasons[0]}")
    return _SendResult(f"sent {batch.samples} samples to {sender.peer}", report.unwanted)
