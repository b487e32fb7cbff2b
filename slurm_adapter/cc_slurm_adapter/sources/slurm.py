"""Client of Slurm's commands: valid results, or an error."""

from __future__ import annotations

import re
import time
from typing import List, Mapping, Sequence

from cc_slurm_adapter.errors import SlurmError
from cc_slurm_adapter.slurm_model import JobDetails, SlurmJob, SlurmNode
from cc_slurm_adapter.sources.commands import Runner
from cc_slurm_adapter.sources.job_parsers import parse_accounting_run, parser_for_version
from cc_slurm_adapter.sources.listing import data_parser_version, parse_listing
from cc_slurm_adapter.sources.record_reader import CachedRecordReader
from cc_slurm_adapter.sources.scontrol_text import parse_job_details, parse_nodes

_CLUSTER_NAME = re.compile(r"^ClusterName\s*=\s*(\S+)", re.MULTILINE)
_UP = re.compile(r"^Slurmctld\(.*\) at .* is UP\s*$", re.MULTILINE)
_BATCH = 200
_SACCT = ("sacct", "--allusers", "--duplicates")
_ENDED = "BF,CA,CD,DL,F,NF,OOM,PR,RQ,TO"
"""All states of an ended run: running jobs, with all their steps, are not needed at each poll."""


class SlurmClient:
    """Runs Slurm's commands and parses their output. Every method raises SlurmError if that fails."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self._queued = CachedRecordReader()
        self._accounted = CachedRecordReader()

    def cluster_name(self) -> str:
        """Slurm's name of this cluster."""
        match = _CLUSTER_NAME.search(self._runner.run(["scontrol", "show", "config"]).checked_text())
        if match is None:
            raise SlurmError("scontrol show config: the output has no cluster name")
        return match.group(1)

    def version(self) -> str:
        """Slurm's version."""
        return self._runner.run(["sinfo", "--version"]).checked_text().strip()

    def queue(self) -> List[SlurmJob]:
        """All jobs that the controller has, including recently ended ones.

        An empty list is valid only if the controller is up: version 22.05 prints one, with exit status 0, while the
        controller is down.
        """
        document, records = parse_listing(self._runner.run(("squeue", "--all", "--states=all", "--json")), "jobs")
        layout = parser_for_version(data_parser_version(document))
        jobs = self._queued.read(records, layout.parse_queue_job, type(layout))
        if not jobs:
            self.check_controller()
        return jobs

    def check_controller(self) -> None:
        """Raises SlurmError unless a controller is up."""
        result = self._runner.run(["scontrol", "ping"])
        if not _UP.search(result.checked_text()):
            raise SlurmError("scontrol ping: no controller is up")

    def accounting(self, begin_s: int, end_s: int) -> List[SlurmJob]:
        """All runs that ended in a period of time, each run of a requeued job separately."""
        times = [f"--starttime={_utc(begin_s)}", f"--endtime={_utc(end_s)}"]
        result = self._runner.run((*_SACCT, *times, f"--state={_ENDED}", "--json"))
        return self._accounted.read(parse_listing(result, "jobs").records, parse_accounting_run)

    def accounting_of_jobs(self, job_ids: Sequence[int], begin_s: int) -> List[SlurmJob]:
        """All runs of these jobs since a time; none of a job that the accounting does not have.

        Slurm reuses job ids: without a time, old jobs with the same id would be included.
        """
        runs: List[SlurmJob] = []
        for start in range(0, len(job_ids), _BATCH):
            named = ",".join(str(job_id) for job_id in job_ids[start : start + _BATCH])
            result = self._runner.run((*_SACCT, f"--starttime={_utc(begin_s)}", f"--jobs={named}", "--json"))
            runs += CachedRecordReader().read(parse_listing(result, "jobs").records, parse_accounting_run)
        wanted = frozenset(job_ids)  # sacct lists all tasks of an array
        return [run for run in runs if run.job_id in wanted]

    def job_details(self) -> Mapping[int, JobDetails]:
        """The details of all jobs that the controller has, by job id."""
        return parse_job_details(self._runner.run(["scontrol", "show", "job", "-d"]).checked_text())

    def nodes(self) -> List[SlurmNode]:
        """All nodes."""
        nodes = parse_nodes(self._runner.run(["scontrol", "show", "nodes"]).checked_text())
        if not nodes:
            raise SlurmError("scontrol show nodes: the output has no nodes")
        return nodes


def _utc(time_s: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time_s))
