"""Slurm as the adapter sees it: snapshots that are good, or an error."""

from __future__ import annotations

import re
import time
from typing import Any, Dict, List, Mapping, Sequence

from cc_slurm_adapter.errors import SlurmError
from cc_slurm_adapter.model import JobDetails, SlurmJob, SlurmNode
from cc_slurm_adapter.sources.answers import document_of, layout_number, records
from cc_slurm_adapter.sources.commands import Runner
from cc_slurm_adapter.sources.layouts import accounted, layout_for
from cc_slurm_adapter.sources.texts import parse_job_details, parse_nodes

_CLUSTER_NAME = re.compile(r"^ClusterName\s*=\s*(\S+)", re.MULTILINE)
_UP = re.compile(r"^Slurmctld\(.*\) at .* is UP\s*$", re.MULTILINE)
_BATCH = 200


class Slurm:
    """Asks Slurm through its commands. Every method raises SlurmError if the answer cannot be believed."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def cluster_name(self) -> str:
        """What Slurm calls this cluster."""
        match = _CLUSTER_NAME.search(self._runner.run(["scontrol", "show", "config"]).text())
        if match is None:
            raise SlurmError("scontrol show config: the answer names no cluster")
        return match.group(1)

    def version(self) -> str:
        """What Slurm says of its version."""
        return self._runner.run(["sinfo", "--version"]).text().strip()

    def queue(self) -> List[SlurmJob]:
        """All jobs the controller remembers, ended ones too.

        An empty list is believed only if the controller says that it is up: version 22.05 prints one, and succeeds,
        while the controller is away.
        """
        document = self._json("squeue", "--all", "--states=all", "--json")
        layout = layout_for(layout_number(document))
        found = [layout.queued(record) for record in records(document, "jobs", "squeue")]
        jobs = [job for job in found if job is not None]
        if not jobs:
            self.check_controller()
        return jobs

    def check_controller(self) -> None:
        """Raises SlurmError unless a controller answers."""
        answer = self._runner.run(["scontrol", "ping"])
        if not _UP.search(answer.text()):
            raise SlurmError("scontrol ping: no controller is up")

    def accounting(self, begin_s: int, end_s: int) -> List[SlurmJob]:
        """All runs that were eligible, running or ended in this time, each run of a requeued job of its own."""
        times = [f"--starttime={_utc(begin_s)}", f"--endtime={_utc(end_s)}"]
        return self._accounted("sacct", "--allusers", "--duplicates", *times, "--json")

    def accounting_of(self, job_ids: Sequence[int]) -> List[SlurmJob]:
        """All runs of these jobs; of a job that the accounting does not know, nothing."""
        runs: List[SlurmJob] = []
        for start in range(0, len(job_ids), _BATCH):
            named = ",".join(str(job_id) for job_id in job_ids[start : start + _BATCH])
            runs += self._accounted("sacct", "--allusers", "--duplicates", f"--jobs={named}", "--json")
        return runs

    def details(self) -> Dict[int, JobDetails]:
        """What each job the controller remembers holds where."""
        return parse_job_details(self._runner.run(["scontrol", "show", "job", "-d"]).text())

    def nodes(self) -> List[SlurmNode]:
        """All nodes."""
        nodes = parse_nodes(self._runner.run(["scontrol", "show", "nodes"]).text())
        if not nodes:
            raise SlurmError("scontrol show nodes: the answer has no nodes")
        return nodes

    def _accounted(self, *words: str) -> List[SlurmJob]:
        found = [accounted(record) for record in records(self._json(*words), "jobs", "sacct")]
        return [job for job in found if job is not None]

    def _json(self, *words: str) -> Mapping[str, Any]:
        return document_of(self._runner.run(words))


def _utc(time_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time_s))
