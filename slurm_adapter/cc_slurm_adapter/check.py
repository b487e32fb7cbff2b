"""`cc-slurm-adapter check`: checks of everything the adapter needs, and `retry` for parked events."""

from __future__ import annotations

import time
from typing import Callable, List, Mapping, Sequence

from cc_common.check_report import FAILS, NOTE, WORKS, CheckResult
from cc_common.errors import CockpitError
from cc_common.node_states import NodeStateReport
from cc_slurm_adapter.errors import AdapterError, JournalError
from cc_slurm_adapter.event_mapping import topology_mismatches
from cc_slurm_adapter.journal import Journal
from cc_slurm_adapter.response_decision import DeliveryDecision, decision_of
from cc_slurm_adapter.service import JOURNAL, make_slurm, make_topology
from cc_slurm_adapter.settings import AdapterConfiguration
from cc_slurm_adapter.slurm_model import SlurmNode

_WINDOW_S = 3600


def run_checks(configuration: AdapterConfiguration, environment: Mapping[str, str]) -> List[CheckResult]:
    """The result of each check; no event is sent and nothing is changed."""
    slurm = make_slurm(configuration, environment)
    now_s = int(time.time())
    findings = [CheckResult("settings", warning, NOTE) for warning in configuration.warnings]
    findings.append(_run_check("Slurm version", slurm.version))
    name = _run_check("Slurm's cluster name", slurm.cluster_name)
    findings.append(name)
    findings.append(_run_check("queue", lambda: _counted(len(slurm.queue()), "job")))
    nodes: List[SlurmNode] = []

    def count_nodes() -> str:
        nodes.extend(slurm.nodes())
        return _counted(len(nodes), "node")

    findings.append(_run_check("nodes", count_nodes))
    if configuration.settings.slurm.accounting:
        window = (now_s - _WINDOW_S, now_s)
        ended = _run_check(
            "accounting", lambda: f"{_counted(len(slurm.accounting(*window)), 'run')} ended in the last hour"
        )
        findings.append(ended)
    cluster = configuration.settings.cluster or ("" if name.failed else name.text)
    findings += _check_cluster(configuration, cluster, nodes, now_s) if cluster else _UNKNOWN_CLUSTER
    findings.append(_run_check("journal", lambda: _check_journal(configuration)))
    return findings


_NOT_TRIED = (
    "not checked, because the name of the cluster is unknown: Slurm does not report it and `cluster` is not set"
)
_UNKNOWN_CLUSTER = [CheckResult("backend", _NOT_TRIED, FAILS), CheckResult("topology", _NOT_TRIED, FAILS)]


def _check_cluster(
    configuration: AdapterConfiguration, cluster: str, nodes: Sequence[SlurmNode], now_s: int
) -> List[CheckResult]:
    lazy = make_topology(configuration, cluster)
    topology = lazy.get(now_s)
    kinds = f"{_counted(len(topology), 'kind')} of nodes in the description of cluster {cluster!r}"
    findings = [
        _run_check("backend", lambda: _check_backend(configuration, cluster)),
        CheckResult("topology", lazy.problem or kinds, FAILS if lazy.problem else WORKS),
    ]
    if not lazy.problem:
        ignored = configuration.ignored
        reported = [node for node in nodes if ignored is None or not ignored.search(node.name)]
        findings += [
            CheckResult("nodes in the topology", text, FAILS) for text in topology_mismatches(topology, reported)
        ]
    return findings


def _check_backend(configuration: AdapterConfiguration, cluster: str) -> str:
    from cc_slurm_adapter.backend_client import make_senders, send_node_states  # noqa: PLC0415 not every command sends

    senders = make_senders(configuration.url, configuration.settings.backend)
    try:
        # a report without nodes: checks address, token and cluster, and changes nothing
        outcome = send_node_states(senders["nodes"], NodeStateReport(cluster, ()))
    finally:
        for sender in senders.values():
            sender.close()
    if decision_of(outcome) is not DeliveryDecision.ACCEPTED:
        raise AdapterError(
            f"{configuration.url} does not accept what is sent for cluster {cluster!r}: {outcome.message}"
        )
    return f"{configuration.url} accepts what is sent for cluster {cluster!r}"


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _check_journal(configuration: AdapterConfiguration) -> str:
    path = configuration.state_directory / JOURNAL
    if not path.exists():
        return f"{path} will be created"
    journal = Journal(path)
    try:
        counts = journal.counts()
        lines = [f"{_counted(counts.waiting, 'event')} waiting, {counts.sent} sent, {counts.parked} parked"]
        lines += [f"parked {kind} of job {key.job_id}: {reason}" for key, kind, reason in journal.newest_parked()]
        return "\n       ".join(lines)
    finally:
        journal.close()


def retry_parked(configuration: AdapterConfiguration) -> int:
    """Queue all parked events again; their number. Raises JournalError if there is no journal."""
    path = configuration.state_directory / JOURNAL
    if not path.exists():
        raise JournalError(f"journal {path} does not exist; give the folder of the adapter with --state-dir")
    journal = Journal(path)
    try:
        return journal.retry_parked()
    finally:
        journal.close()


def _run_check(subject: str, check: Callable[[], str]) -> CheckResult:
    try:
        return CheckResult(subject, check())
    except CockpitError as error:
        return CheckResult(subject, str(error), FAILS)
