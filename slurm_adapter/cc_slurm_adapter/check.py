"""What works here and what does not, for people who set the adapter up."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Callable, List, Mapping

from cc_common.errors import CockpitError
from cc_slurm_adapter.errors import JournalError
from cc_slurm_adapter.journal import Journal
from cc_slurm_adapter.service import JOURNAL, make_slurm, make_topology
from cc_slurm_adapter.settings import Configuration

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
    """A finding for each thing the adapter needs; nothing is sent and nothing is changed."""
    slurm = make_slurm(configuration, environment)
    now_s = int(time.time())
    findings = [Finding("settings", warning, bad=False) for warning in configuration.warnings]
    findings.append(_finding("backend address", lambda: configuration.url))
    findings.append(_finding("Slurm version", slurm.version))
    name = _finding("Slurm's cluster name", slurm.cluster_name)
    findings.append(name)
    findings.append(_finding("queue", lambda: f"{len(slurm.queue())} jobs"))
    findings.append(_finding("nodes", lambda: f"{len(slurm.nodes())} nodes"))
    if configuration.settings.slurm.accounting:
        window = (now_s - _WINDOW_S, now_s)
        findings.append(_finding("accounting", lambda: f"{len(slurm.accounting(*window))} runs in the last hour"))
    findings.append(_topology(configuration, configuration.settings.cluster or name.text, now_s))
    findings.append(_finding("journal", lambda: _journal(configuration)))
    return findings


def _topology(configuration: Configuration, cluster: str, now_s: int) -> Finding:
    topology = make_topology(configuration, cluster)
    kinds = len(topology.get(now_s))
    return Finding(
        "topology",
        topology.problem or f"{kinds} {'kind' if kinds == 1 else 'kinds'} of nodes",
        bad=bool(topology.problem),
    )


def _journal(configuration: Configuration) -> str:
    path = configuration.state_directory / JOURNAL
    if not path.exists():
        return f"{path} will be made"
    journal = Journal(path)
    try:
        counts = journal.counts()
        lines = [f"{counts.waiting} events wait, {counts.sent} sent, {counts.parked} parked"]
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
