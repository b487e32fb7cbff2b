"""The Slurm job that a process of this node belongs to, by its cgroup."""

from __future__ import annotations

import re
from pathlib import Path

# job_123 of Slurm up to 25.11, s and 13 Crockford base 32 characters (SLUID) of later ones
_JOB_FOLDER = re.compile(rb"/(?:job_([0-9]{1,10})|(s[0-9A-HJKMNP-TV-Z]{13}))(?=/|\n|$)")
_SLURM = re.compile(rb"/(?:[^/\n]*slurmstepd\.scope|slurm[^/\n]*)/")
_LIMIT_BYTES = 65536


def job_of_process(pid: int, root: Path = Path("/")) -> str:
    """The job id, "" if the process is in no job of Slurm or no longer there."""
    try:
        with (root / "proc" / str(pid) / "cgroup").open("rb") as file:
            return job_in_cgroup_file(file.read(_LIMIT_BYTES))
    except OSError:
        return ""


def job_in_cgroup_file(content: bytes) -> str:
    """The job id in /proc/PID/cgroup, of cgroup v1 or v2; "" if there is none."""
    for line in content.split(b"\n"):
        slurm = _SLURM.search(line)
        if slurm is not None:
            job = _JOB_FOLDER.search(line, slurm.end() - 1)
            if job is not None:
                return (job.group(1) or job.group(2)).decode()
    return ""
