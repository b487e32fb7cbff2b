"""Random histories of Slurm, polled irregularly and with outages: every run is reported once, with its end."""

import dataclasses
from typing import Any, Dict, List, Optional, Set, Tuple

from hypothesis import given, settings
from hypothesis import strategies as st

from cc_slurm_adapter.decide import MissedPolls, SlurmSnapshot, StartRun, StopRun, decide, missing_runs
from cc_slurm_adapter.event_mapping import end_state
from cc_slurm_adapter.journal import JobRun
from cc_slurm_adapter.slurm_model import RunKey, SlurmJob

HORIZON_S = 4000
REMEMBERED_S = 300
OVERLAP_S = 600
ENDS = [("COMPLETED", ()), ("FAILED", ()), ("TIMEOUT", ()), ("NODE_FAIL", ()), ("PENDING", ("REQUEUED",))]

# pause before the run, its length, how it ends, how late its end reaches the accounting
runs = st.tuples(st.integers(1, 900), st.integers(0, 900), st.sampled_from(ENDS), st.integers(0, OVERLAP_S - 1))
histories = st.lists(st.lists(runs, min_size=1, max_size=3), min_size=1, max_size=4)
# pause before the poll, whether controller and accounting are available
polls = st.lists(st.tuples(st.integers(1, 500), st.booleans(), st.booleans()), max_size=12)


@dataclasses.dataclass(frozen=True)
class Truth:
    """A run as it really is, and when the accounting hears of its end."""

    job: SlurmJob
    end_time: int
    state: str
    flags: Tuple[str, ...]
    recorded_s: int

    def ended(self) -> SlurmJob:
        return dataclasses.replace(self.job, state=self.state, flags=frozenset(self.flags), end_time=self.end_time)


def unfold(history: Any) -> List[Truth]:
    truths: List[Truth] = []
    for number, parts in enumerate(history, start=1):
        now_s = 1000
        for restarts, (pause_s, length_s, (state, flags), late_s) in enumerate(parts):
            start_s = now_s + pause_s
            now_s = start_s + length_s
            job = SlurmJob(
                number,
                "RUNNING",
                nodes="n1",
                submit_time=start_s - pause_s,
                start_time=start_s,
                restart_count=restarts,
            )
            truths.append(Truth(job, now_s, state, flags, now_s + late_s))
            now_s += 1
    return truths


def queue_at(truths: List[Truth], now_s: int) -> List[SlurmJob]:
    """What the controller shows: of each job its newest run, until it is forgotten."""
    newest: Dict[int, Truth] = {}
    for truth in truths:
        if truth.job.start_time <= now_s:
            newest[truth.job.job_id] = truth
    shown: List[SlurmJob] = []
    for truth in newest.values():
        if now_s < truth.end_time:
            shown.append(truth.job)
        elif now_s < truth.end_time + REMEMBERED_S:
            hidden = truth.state == "PENDING"
            shown.append(dataclasses.replace(truth.job, state="PENDING", nodes="") if hidden else truth.ended())
    return shown


def window_at(truths: List[Truth], begin_s: int, now_s: int) -> List[SlurmJob]:
    """What the accounting gives of a window of time: what has ended in it, as far as it has heard of it."""
    return [truth.ended() for truth in truths if begin_s <= truth.end_time and truth.recorded_s <= now_s]


def asked_at(truths: List[Truth], now_s: int, ids: Set[int]) -> List[SlurmJob]:
    """What the accounting gives of some jobs: all runs, and an old job that had the same number."""
    begun = [truth for truth in truths if truth.job.job_id in ids and truth.job.start_time <= now_s]
    shown = [truth.ended() if truth.recorded_s <= now_s else truth.job for truth in begun]
    old = [
        SlurmJob(number, "COMPLETED", nodes="n9", user="somebody", submit_time=5, start_time=10, end_time=20)
        for number in ids
    ]
    return [*old, *shown]


class ModelAdapter:
    """An adapter as a model: it keeps the known runs and records what it reports."""

    def __init__(self) -> None:
        self.known: Dict[RunKey, JobRun] = {}
        self.reported: List[Tuple[str, RunKey, int, str]] = []
        self.window_end_s: Optional[int] = None

    def poll(self, truths: List[Truth], now_s: int, *, controller: bool, accounting: bool) -> None:
        queue = queue_at(truths, now_s) if controller else None
        if queue is not None:
            self.act(SlurmSnapshot(queue, None, now_s, grace_s=10**9, is_complete=False))
        gone = missing_runs(self.known.values(), queue) if queue is not None else []
        begin_s = 0 if self.window_end_s is None else self.window_end_s - OVERLAP_S
        runs = window_at(truths, begin_s, now_s) if accounting else None
        asked_for = asked_at(truths, now_s, {run.key.job_id for run in gone}) if accounting else []
        self.act(SlurmSnapshot(queue, runs, now_s, grace_s=10**9, missing_job_records=asked_for))
        if queue is not None and runs is not None:
            self.window_end_s = now_s

    def act(self, snapshot: SlurmSnapshot) -> None:
        for action in decide("alpha", self.known.values(), snapshot):
            if isinstance(action, StartRun):
                assert action.key not in self.known
                self.known[action.key] = JobRun(action.key, action.job.submit_time, action.job.restart_count)
                self.reported.append(("start", action.key, 0, ""))
            elif isinstance(action, StopRun):
                self.known[action.key] = dataclasses.replace(self.known[action.key], end_time=action.stop_time)
                self.reported.append(("stop", action.key, action.stop_time, action.state))
            elif isinstance(action, MissedPolls):
                self.known[action.key] = dataclasses.replace(
                    self.known[action.key], absent_since=action.absent_since, missed_polls=action.count
                )


@settings(max_examples=200, deadline=None)
@given(histories, polls)
def test_every_run_is_reported_once_in_order_and_with_its_end(history: Any, moments: Any) -> None:
    truths = unfold(history)
    adapter = ModelAdapter()
    now_s = 1000
    for pause_s, controller, accounting in moments:
        now_s += pause_s
        adapter.poll(truths, now_s, controller=controller, accounting=accounting)
    for extra in range(4):
        adapter.poll(truths, max(now_s, 1000 + HORIZON_S + 2000) + 60 * extra, controller=True, accounting=True)

    expected = {
        RunKey("alpha", truth.job.job_id, truth.job.start_time): (
            truth.end_time,
            end_state(truth.state, frozenset(truth.flags)),
        )
        for truth in truths
    }
    assert {key: (stop, state) for kind, key, stop, state in adapter.reported if kind == "stop"} == expected
    assert len(adapter.reported) == 2 * len(truths)
    still_open: Set[RunKey] = set()
    for kind, key, _, _ in adapter.reported:
        if kind == "start":
            assert not [run for run in still_open if run.job_id == key.job_id and run.start_time < key.start_time]
            still_open.add(key)
        else:
            still_open.remove(key)
