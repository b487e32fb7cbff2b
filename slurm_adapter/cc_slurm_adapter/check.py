"""What works here and what does not, for people who set the adapter up."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Callable, List, Mapping, Sequence

from cc_common.errors import CockpitError
from cc_common.node_states import NodeStateReport
from cc_slurm_adapter.errors import AdapterError, JournalError
from cc_slurm_adapter.event_mapping import topology_gaps
from cc_slurm_adapter.journal import Journal
from cc_slurm_adapter.response_decision import Verdict, verdict_of
from cc_slurm_adapter.service import JOURNAL, make_slurm, make_topology
from cc_slurm_adapter.settings import Configuration
from cc_slurm_adapter.slurm_model import SlurmNode

_WINDOW_S = 3600


@dataclass(frozen=True)
class Finding:
    """One line of the examination."""

    subject: str
    text: str
    bad: bool = False

    def __str__(self) -> str:
        return f"{'FAILS' if self.bad else 'works'}  {self.subject}: {self.text}"


def examine(configuration: Configuration, environment: Mapping[str, str]) -> List[Finding]:
    """A finding for each thing the adapter needs; no event is sent and nothing is changed."""
    slurm = make_slurm(configuration, environment)
    now_s = int(time.time())
    findings = [Finding("settings", warning, bad=False) for warning in configuration.warnings]
    findings.append(_finding("Slurm version", slurm.version))
    name = _finding("Slurm's cluster name", slurm.cluster_name)
    findings.append(name)
    findings.append(_finding("queue", lambda: _several(len(slurm.queue()), "job")))
    nodes: List[SlurmNode] = []

    def count_nodes() -> str:
        nodes.extend(slurm.nodes())
        return _several(len(nodes), "node")

    findings.append(_finding("nodes", count_nodes))
    if configuration.settings.slurm.accounting:
        window = (now_s - _WINDOW_S, now_s)
        ended = _finding(
            "accounting", lambda: f"{_several(len(slurm.accounting(*window)), 'run')} ended in the last hour"
        )
        findings.append(ended)
    cluster = configuration.settings.cluster or ("" if name.bad else name.text)
    findings += _of_cluster(configuration, cluster, nodes, now_s) if cluster else _UNKNOWN_CLUSTER
    findings.append(_finding("journal", lambda: _journal(configuration)))
    return findings


_NOT_TRIED = "not tried, because the name of the cluster is not known: Slurm does not tell it and `cluster` is not set"
_UNKNOWN_CLUSTER = [Finding("backend", _NOT_TRIED, bad=True), Finding("topology", _NOT_TRIED, bad=True)]


def _of_cluster(configuration: Configuration, cluster: str, nodes: Sequence[SlurmNode], now_s: int) -> List[Finding]:
    lazy = make_topology(configuration, cluster)
    topology = lazy.get(now_s)
    kinds = f"{_several(len(topology), 'kind')} of nodes in the description of cluster {cluster!r}"
    findings = [
        _finding("backend", lambda: _backend(configuration, cluster)),
        Finding("topology", lazy.problem or kinds, bad=bool(lazy.problem)),
    ]
    if not lazy.problem:
        ignored = configuration.ignored
        told = [node for node in nodes if ignored is None or not ignored.search(node.name)]
        findings += [Finding("nodes in the topology", text, bad=True) for text in topology_gaps(topology, told)]
    return findings


def _backend(configuration: Configuration, cluster: str) -> str:
    from cc_slurm_adapter.backend_client import make_senders, send_nodes  # noqa: PLC0415 not every command sends

    senders = make_senders(configuration.url, configuration.settings.backend)
    try:
        # states of no nodes: all that events need is looked at, and nothing is changed
        outcome = send_nodes(senders["nodes"], NodeStateReport(cluster, ()))
    finally:
        for sender in senders.values():
            sender.close()
    if verdict_of(outcome) is not Verdict.DONE:
        raise AdapterError(f"{configuration.url} does not take what is sent for cluster {cluster!r}: {outcome.message}")
    return f"{configuration.url} takes what is sent for cluster {cluster!r}"


def _several(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _journal(configuration: Configuration) -> str:
    path = configuration.state_directory / JOURNAL
    if not path.exists():
        return f"{path} will be made"
    journal = Journal(path)
    try:
        counts = journal.counts()
        lines = [f"{_several(counts.waiting, 'event')} waiting, {counts.sent} sent, {counts.parked} parked"]
        lines += [f"parked {kind} of job {key.job_id}: {reason}" for key, kind, reason in journal.parked()]
        return "\n       ".join(lines)
    finally:
        journal.close()


def retry_parked(configuration: Configuration) -> int:
    """Lets all parked events wait again; how many. Raises CockpitError if there is no journal."""
    path = configuration.state_directory / JOURNAL
    if not path.exists():
        raise JournalError(f"journal {path} does not exist; give the folder of the adapter with --state-dir")
    journal = Journal(path)
    try:
        return journal.retry_parked()
    finally:
        journal.close()


def _finding(subject: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, look())
    except CockpitError as error:
        return Finding(subject, str(error), bad=True)
