"""Numbers that jobs report about themselves, such as step and loss: they travel as samples of the job."""

from __future__ import annotations

from typing import Dict, List, Mapping, Tuple

from cc_agent.collectors.base import RawSeries, Reading
from cc_agent.errors import ControlError

METRIC_PREFIX = "job_mark_"
MAX_SERIES = 4096
"""Names of marks, over all jobs of the node."""

MAX_SERIES_PER_JOB = 64
_FORGET_AFTER_TICKS = 120


class JobMarks:
    """The latest marks of each job: the last value of a name in an interval is its sample at the next tick."""

    def __init__(self) -> None:
        self._series: Dict[Tuple[str, str], RawSeries] = {}
        self._idle_ticks: Dict[str, int] = {}
        self._waiting: Dict[Tuple[str, str], float] = {}

    def put(self, job: str, values: Mapping[str, float]) -> None:
        """Record marks of a job. Raises ControlError if it has too many different names."""
        names = {name for other, name in self._series if other == job} | values.keys()
        if len(names) > MAX_SERIES_PER_JOB:
            raise ControlError("too_many_marks", f"a job has {MAX_SERIES_PER_JOB} different marks at most")
        added = sum((job, name) not in self._series for name in values)
        if added and len(self._series) + added > MAX_SERIES:
            raise ControlError("too_many_marks", f"the jobs of this node have {MAX_SERIES} different marks at most")
        for name, value in values.items():
            key = (job, name)
            if key not in self._series:
                tags = {"type": "job", "type-id": job}
                meta = {"source": "mark", "group": "Job", "unit": "", "kind": "gauge"}
                self._series[key] = RawSeries(METRIC_PREFIX + name, tags, meta)
            self._waiting[key] = value
        self._idle_ticks[job] = 0

    def take(self) -> List[Reading]:
        """The samples of this tick; jobs that reported nothing for long are forgotten."""
        readings = [(self._series[key], value) for key, value in self._waiting.items()]
        self._waiting = {}
        idle = {job: ticks + 1 for job, ticks in self._idle_ticks.items()}
        self._idle_ticks = {job: ticks for job, ticks in idle.items() if ticks <= _FORGET_AFTER_TICKS}
        if len(idle) > len(self._idle_ticks):
            self._series = {key: series for key, series in self._series.items() if key[0] in self._idle_ticks}
        return readings
