"""Which samples belong to a job: the one rule that pages, API, statistics, archive and energy share. Pure.

A sample belongs to a job if its own time lies in [start, stop]. Stores keep samples in slots of the wall clock, so that
only a slot that the job enters or leaves within needs a decision: by the time of the sample in it where that is known
(`offset_s` after the begin of the slot), else by overlap of at least half. See docs/samples-of-a-job.md.
"""

from typing import NamedTuple

from cc_backend.model import Job, JobMetric, JobState


class JobSlots(NamedTuple):
    """A half-open range of slots: slot i covers [i, i + 1) times the timestep, in Unix seconds."""

    first: int
    end: int

    @property
    def size(self) -> int:
        """The number of slots."""
        return self.end - self.first


def touched_slots(job: Job, timestep_s: int, now_s: int) -> JobSlots:
    """The slots that overlap with the job; of a running job up to now."""
    first = job.start_time // timestep_s
    return JobSlots(first, max(first, job_end_s(job, now_s) // timestep_s) + 1)


def own_slots(start_s: int, stop_s: int | None, timestep_s: int, offset_s: int | None = None) -> JobSlots:
    """The slots whose samples are those of a job from `start_s` to `stop_s`, which is None while it runs.

    `offset_s` is how far into its slot a sample of the series lies, None if unknown. The newest slot of a running job
    belongs to it: its sample is measured already. The range may be empty.
    """
    if offset_s is not None:
        first = -(-(start_s - offset_s) // timestep_s)
        end = None if stop_s is None else (stop_s - offset_s) // timestep_s + 1
    else:
        first = start_s // timestep_s
        if 2 * _overlap(first, start_s, stop_s, timestep_s) < timestep_s:
            first += 1
        end = None
        if stop_s is not None:
            last = stop_s // timestep_s
            end = last + (2 * _overlap(last, start_s, stop_s, timestep_s) >= timestep_s)
    return JobSlots(first, 2**62 if end is None else max(first, end))


def first_sample_s(job: Job, metric: JobMetric) -> int:
    """The begin of the slot of a metric's first sample.

    The archive does not store it: there it is the first grid point at or after the start, or the slot of the start if
    there are more samples than fit behind that.
    """
    if metric.first_slot_s is not None:
        return metric.first_slot_s
    step_s = metric.timestep_s
    touched = touched_slots(job, step_s, job.stop_time)
    longest = max((len(series.data) for series in metric.series), default=0)
    after_start = -(-job.start_time // step_s)
    return (after_start if longest <= touched.end - after_start else touched.first) * step_s


def job_end_s(job: Job, now_s: int) -> int:
    """When the job ended (Unix seconds); of a running job `now_s`."""
    return now_s if job.state is JobState.RUNNING else job.stop_time


def _overlap(slot: int, start_s: int, stop_s: int | None, timestep_s: int) -> int:
    begin_s, end_s = slot * timestep_s, (slot + 1) * timestep_s
    return (end_s if stop_s is None else min(stop_s, end_s)) - max(start_s, begin_s)
