"""Who may use the counters now: the agent, or a user who was given them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Callable, NamedTuple, Optional

from cc_agent.errors import AgentError

MAX_PAUSE_S = 30 * 86400.0
JOB_START_GRACE_S = 600.0
"""A paused job that has no cgroup yet, as in a prolog, is waited for this long."""
_CGROUP_PATTERNS = (
    "sys/fs/cgroup/system.slice/*slurmstepd.scope/job_{0}",
    "sys/fs/cgroup/*/slurm*/uid_*/job_{0}",
)
_JOB_NAME = re.compile(r"[A-Za-z0-9_]{1,32}")


class Pause(NamedTuple):
    """A pause asked for: when it began and ends, and the job whose end ends it, too."""

    since_s: float
    until_s: float
    job: str


class CounterOwnership:
    """Whether the counters are the agent's.

    They are not while the lock file belongs to another user than root and the agent's (LIKWID's convention: a prolog
    gives the file to the user of the job, the epilog takes it back), and while a pause that was asked for lasts.
    """

    def __init__(
        self,
        lockfile: Path,
        root: Path = Path("/"),
        *,
        own_uid: Optional[int] = None,
        job_is_there: Optional[Callable[[str], bool]] = None,
    ) -> None:
        self._lockfile = lockfile
        self._root = root
        self._own = {0, os.getuid() if own_uid is None else own_uid}
        self._job_is_there = job_is_there or self._has_cgroup
        self._pause: Optional[Pause] = None
        self._job_was_seen = False

    def pause(self, now_s: float, *, duration_s: float = 0.0, job: str = "") -> None:
        """Give the counters away for so many seconds (0: until `resume`), or until the job has ended.

        Raises AgentError for values that mean nothing.
        """
        if job and not _JOB_NAME.fullmatch(job):
            raise AgentError(f"{job[:40]!r} is not the id of a job")
        if not 0.0 <= duration_s <= MAX_PAUSE_S:
            raise AgentError(f"a pause lasts from 0 to {MAX_PAUSE_S:.0f} s")
        until_s = now_s + duration_s if duration_s else float("inf")
        self._pause = Pause(now_s, until_s, job)
        self._job_was_seen = False

    def resume(self) -> None:
        """Take the counters back, as far as the lock file allows."""
        self._pause = None

    def reason_to_wait(self, now_s: float) -> str:
        """Why the counters are not to be used at this monotonic time; empty if they may be."""
        if self._pause is not None and self._is_over(self._pause, now_s):
            self._pause = None
        if self._pause is not None:
            whom = f"for job {self._pause.job}" if self._pause.job else "by command"
            rest_s = self._pause.until_s - now_s
            return f"paused {whom}" + (f", {rest_s:.0f} s to go" if rest_s != float("inf") else "")
        owner = self._lockfile_owner()
        return "" if owner in self._own else f"{self._lockfile} belongs to uid {owner}"

    def _is_over(self, pause: Pause, now_s: float) -> bool:
        if now_s >= pause.until_s:
            return True
        if not pause.job:
            return False
        if self._job_is_there(pause.job):
            self._job_was_seen = True
            return False
        return self._job_was_seen or now_s >= pause.since_s + JOB_START_GRACE_S

    def _has_cgroup(self, job: str) -> bool:
        return any(True for pattern in _CGROUP_PATTERNS for _ in self._root.glob(pattern.format(job)))

    def _lockfile_owner(self) -> int:
        """The user of the lock file; root if there is none."""
        try:
            return self._lockfile.stat().st_uid
        except OSError:
            return 0
