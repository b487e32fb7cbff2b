"""`cc-agent doctor`: checks of everything the agent needs, with advice."""

from __future__ import annotations

import os
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Iterator, List, Mapping

from cc_agent.preview import NodeSnapshot, sample_once
from cc_agent.sampler import CollectorStatus
from cc_agent.settings import AgentConfiguration
from cc_agent.sinks.http import HttpSettings, make_sender, write_url
from cc_agent.sinks.registry import SinkDescription, network_parts
from cc_common.check_report import FAILS, NOTE, CheckResult
from cc_common.delivery import OutcomeKind
from cc_common.error_codes import ErrorCode
from cc_common.errors import DeliveryError

CLOCK_TOLERANCE_S = 2.0


def run_checks(
    configuration: AgentConfiguration, environment: Mapping[str, str], *, processor: str = ""
) -> List[CheckResult]:
    """The results of all checks, in the order in which an operator would look."""
    named = "" if configuration.cluster_is_given else " (the name of this node; give --cluster if it is another)"
    findings = [
        CheckResult("node", f"{configuration.hostname} of cluster {configuration.cluster}{named}"),
        CheckResult("configuration", f"{configuration.source}, every {configuration.interval_s} s"),
    ]
    findings += [CheckResult("configuration", warning, NOTE) for warning in configuration.warnings]
    if processor:
        findings.append(CheckResult("processor", processor))
    snapshot = sample_once(configuration)
    findings += check_collectors(snapshot.statuses, built_in=configuration.collectors_are_built_in)
    for sink in configuration.sinks:
        findings += _check_sink(sink, configuration, snapshot)
    if not configuration.sinks:
        findings.append(CheckResult("server", "none; do: give --url or add a sink to the configuration", FAILS))
    findings.append(_check_spool(configuration, environment))
    return findings


def check_collectors(statuses: List[CollectorStatus], *, built_in: bool) -> Iterator[CheckResult]:
    """A line for all that work, one for each that has a problem, and one for what this machine does not have.

    If somebody chose the collectors, also why one has nothing to read.
    """
    working = [status for status in statuses if not status.problem]
    if working:
        samples = ", ".join(f"{status.name} {status.samples}" for status in working)
        yield CheckResult("collectors", f"{sum(status.samples for status in working)} samples: {samples}")
    for status in statuses:
        if status.problem and not status.absent:
            advice = f"; do: {status.advice}" if status.advice else ""
            yield CheckResult(f"collector {status.name}", f"not available: {status.problem}{advice}", NOTE)
    absent = [status for status in statuses if status.absent]
    if absent and built_in:
        yield CheckResult("collectors", f"not on this machine: {', '.join(status.name for status in absent)}")
    elif absent:
        for status in absent:
            yield CheckResult(f"collector {status.name}", f"nothing to read here: {status.problem}", NOTE)
    if not working:
        yield CheckResult("collectors", "none works; do: run this on Linux with /proc and /sys mounted", FAILS)


def _check_sink(
    sink: SinkDescription, configuration: AgentConfiguration, snapshot: NodeSnapshot
) -> Iterator[CheckResult]:
    """Send one set of samples as `run` would: only a real batch shows which lines the server rejects."""
    subject = f"sink {sink.name}"
    if not isinstance(sink.settings, HttpSettings):
        yield _check_other_sink(sink, configuration, snapshot)
        return
    headers: List[Mapping[str, str]] = []
    try:
        sender = make_sender(sink.settings, on_headers=headers.append)
    except DeliveryError as error:
        yield CheckResult(subject, f"{error}", FAILS)
        return
    try:
        outcome = sender.send(configuration.make_router(sink).encode(snapshot.readings, snapshot.time_s).lines)
    finally:
        sender.close()
    if not headers:
        advice = "" if outcome.needs_operator else "; do: check address and network"
        yield CheckResult(subject, f"{sender.peer} cannot be reached: {outcome.message}{advice}", FAILS)
        return
    if outcome.kind in (OutcomeKind.DELIVERED, OutcomeKind.DELIVERED_PARTLY):
        yield CheckResult(subject, f"{sender.peer} can be reached, {_token_text(sink.settings)}")
        yield from (CheckResult(subject, f"line rejected: {error}", FAILS) for error in outcome.errors)
        yield from (CheckResult(subject, f"{text}; do: {_unwanted_advice(text)}", FAILS) for text in outcome.unwanted)
    elif outcome.kind is OutcomeKind.UNAUTHORISED:
        advice = _token_advice(sink.settings, outcome.code, configuration.cluster)
        yield CheckResult(subject, f"{sender.peer} can be reached, token rejected ({outcome.message}); {advice}", FAILS)
    else:
        yield CheckResult(
            subject, f"{write_url(sink.settings.url)} responds {outcome.message}; do: check the address", FAILS
        )
    yield _check_clock(headers[-1].get("date", ""), time.time())


def _check_other_sink(sink: SinkDescription, configuration: AgentConfiguration, snapshot: NodeSnapshot) -> CheckResult:
    """Whether a sink that is not of type http accepts a set of samples, if it sends over a network."""
    subject, kind = f"sink {sink.name}", sink.settings.type
    parts = network_parts(sink.settings)
    if parts is None or "metric" not in sink.settings.message_classes:
        return CheckResult(subject, f"type {kind}")
    try:
        sender = parts.make_sender()
    except DeliveryError as error:
        return CheckResult(subject, f"{error}", FAILS)
    lines = configuration.make_router(sink).encode(snapshot.readings, snapshot.time_s).lines
    try:
        outcome = sender.send(lines if parts.convert is None else parts.convert(lines))
    finally:
        sender.close()
    if outcome.kind is OutcomeKind.DELIVERED:
        return CheckResult(subject, f"type {kind}: {sender.peer} accepts samples")
    return CheckResult(subject, f"type {kind}: {sender.peer}: {outcome.message or outcome.kind.value}", FAILS)


def _unwanted_advice(text: str) -> str:
    """What to do about lines that the server does not want; `text` is its sentence about them."""
    if "unknown metric" in text:
        return "add the metric to the server's cluster.json, or leave it out (include_metrics, exclude_metrics)"
    return "name cluster and host as the server's cluster.json does"


def _token_advice(settings: HttpSettings, code: str, cluster: str) -> str:
    if not settings.jwt:
        return "do: give a token with --token-file"
    if code == ErrorCode.CLUSTER_NOT_ALLOWED:
        return f"do: give --cluster as the token has it, or ask for a token for {cluster!r}"
    if code == ErrorCode.SCOPE_MISSING:
        return "do: ask for a token that may send samples (`cc-backend token create NAME --scope write`)"
    return "do: ask for a new token"


def _token_text(settings: HttpSettings) -> str:
    return "token accepted" if settings.jwt else "and asks for no token"


def _check_clock(date: str, now_s: float) -> CheckResult:
    try:
        offset_s = now_s - parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, IndexError):
        return CheckResult("clock", "not compared: the server sends no time", NOTE)
    # The header has whole seconds, so up to one second of difference means nothing.
    if -CLOCK_TOLERANCE_S <= offset_s <= 1.0 + CLOCK_TOLERANCE_S:
        return CheckResult("clock", "agrees with the server")
    direction = "ahead of" if offset_s > 0 else "behind"
    return CheckResult("clock", f"{abs(offset_s):.0f} s {direction} the server; do: run chrony or ntpd on both", FAILS)


def _check_spool(configuration: AgentConfiguration, environment: Mapping[str, str]) -> CheckResult:
    folder = configuration.spool_folder
    if folder is None:
        hint = "" if environment.get("STATE_DIRECTORY") else "; do: give --spool-dir to survive a restart"
        return CheckResult("spool", f"none: unsent batches wait in memory only{hint}", NOTE)
    target = folder if folder.exists() else next((parent for parent in folder.parents if parent.exists()), Path("/"))
    if not target.is_dir() or not os.access(target, os.W_OK | os.X_OK):
        return CheckResult("spool", f"{folder} cannot be written; do: chown it to the user of the agent", FAILS)
    return CheckResult("spool", f"{folder} can be written")
