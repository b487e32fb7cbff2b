import dataclasses
from typing import Any, List, Optional, Sequence, Tuple

import pytest

from cc_slurm_adapter.decide import MissedPolls, SlurmSnapshot, StartRun, StopRun, decide, missing_runs
from cc_slurm_adapter.journal import JobRun
from cc_slurm_adapter.slurm_model import RunKey, SlurmJob

NOW = 10_000


def job(job_id: int = 1, *, start: int = 900, state: str = "RUNNING", end: int = 0, **more: Any) -> SlurmJob:
    values = {"nodes": "n1", "submit_time": start - 5, **more}
    flags = frozenset(values.pop("flags", ()))
    return SlurmJob(job_id, state, flags, start_time=start, end_time=end, **values)


def run(job_id: int = 1, *, start: int = 900, end: Optional[int] = None, **more: Any) -> JobRun:
    return JobRun(RunKey("alpha", job_id, start), **{"submit_time": start - 5, "end_time": end, **more})


def decisions(
    known: Sequence[JobRun], queue: Optional[List[SlurmJob]], runs: Optional[List[SlurmJob]], **more: Any
) -> List[Any]:
    """Actions in short."""
    short: List[Any] = []
    for action in decide("alpha", known, SlurmSnapshot(queue, runs, NOW, **more)):
        if isinstance(action, StartRun):
            short.append(("start", action.key.job_id, action.key.start_time))
        elif isinstance(action, StopRun):
            short.append(("stop", action.key.job_id, action.key.start_time, action.stop_time, action.state))
        elif isinstance(action, MissedPolls):
            short.append(("absent", action.key.job_id, action.count))
    return short


def test_a_running_job_that_is_not_known_starts() -> None:
    assert decisions([], [job()], []) == [("start", 1, 900)]


def test_a_running_job_that_is_known_is_nothing_new() -> None:
    assert decisions([run()], [job()], [job()]) == []


@pytest.mark.parametrize(
    "waiting",
    [
        job(state="PENDING", nodes=""),
        job(state="PENDING", nodes="", start=0),
        job(state="PENDING", flags=["REQUEUED"], nodes="", end=1000),
        job(state="CANCELLED", nodes="", end=900),
        job(state="DEADLINE", nodes="", end=900),
        job(state="RUNNING", flags=["CONFIGURING"]),
        job(state="", flags=["COMPLETING"]),
        job(state="RUNNING", flags=["RESIZING"]),
    ],
)
def test_a_job_that_has_not_begun_to_run_is_nothing_yet(waiting: SlurmJob) -> None:
    assert decisions([], [waiting], []) == []


def test_suspension_is_nothing() -> None:
    assert decisions([run()], [job(state="SUSPENDED")], []) == []


@pytest.mark.parametrize(
    ("state", "flags", "sent"),
    [
        ("COMPLETED", (), "completed"),
        ("COMPLETED", ("COMPLETING",), "completed"),
        ("FAILED", (), "failed"),
        ("CANCELLED", (), "cancelled"),
        ("TIMEOUT", (), "timeout"),
        ("OUT_OF_MEMORY", (), "out_of_memory"),
        ("NODE_FAIL", (), "node_fail"),
        ("BOOT_FAIL", (), "boot_fail"),
        ("PREEMPTED", (), "preempted"),
        ("DEADLINE", (), "deadline"),
        ("PENDING", ("REQUEUED",), "cancelled"),
        ("PENDING", ("SPECIAL_EXIT",), "cancelled"),
        ("WORMHOLE", (), "failed"),
    ],
)
def test_the_accounting_ends_a_run(state: str, flags: Tuple[str, ...], sent: str) -> None:
    assert decisions([run()], [], [job(state=state, flags=flags, end=950)]) == [("stop", 1, 900, 950, sent)]


def test_the_controller_ends_a_run_too_and_is_reported_once() -> None:
    ended = job(state="FAILED", end=950)
    assert decisions([run()], [ended], [ended]) == [("stop", 1, 900, 950, "failed")]


def test_an_ended_run_is_never_reported_again() -> None:
    ended = job(state="COMPLETED", end=950)
    assert decisions([run(end=950)], [ended], [ended]) == []


def test_a_job_that_ran_between_two_polls_starts_and_stops() -> None:
    ended = job(state="COMPLETED", end=901)
    assert decisions([], [], [ended]) == [("start", 1, 900), ("stop", 1, 900, 901, "completed")]


def test_a_short_job_that_the_controller_remembers_is_reported_with_its_record() -> None:
    shown = job(state="COMPLETED", end=901, cpus=4)
    actions = decide("alpha", [], SlurmSnapshot([shown], [job(state="COMPLETED", end=901)], NOW))
    assert isinstance(actions[0], StartRun)
    assert actions[0].job.cpus == 4


def test_a_short_job_waits_for_the_controller_that_may_know_its_cores() -> None:
    assert decisions([], None, [job(state="COMPLETED", end=901)]) == []


def test_an_end_before_the_start_is_the_start() -> None:
    assert decisions([run()], [], [job(state="FAILED", end=899)]) == [("stop", 1, 900, 900, "failed")]


def test_a_running_record_of_the_accounting_is_nothing() -> None:
    assert decisions([], [], [job()]) == []


def test_a_requeued_job_stops_and_starts_again_in_this_order() -> None:
    ended = job(state="PENDING", flags=["REQUEUED"], end=950)
    again = job(start=1100, restart_count=1)
    assert decisions([run()], [again], [ended]) == [("stop", 1, 900, 950, "cancelled"), ("start", 1, 1100)]


def test_the_new_run_waits_while_the_end_of_the_old_one_is_not_known() -> None:
    again = job(start=1100, restart_count=1)
    assert decisions([run()], [again], None) == [("absent", 1, 1)]
    assert decisions([run()], [job(start=1100, state="COMPLETED", end=1200)], None) == [("absent", 1, 1)]


def test_all_runs_of_a_job_that_was_requeued_twice_come_in_order() -> None:
    runs = [
        job(start=3000, state="COMPLETED", end=3100),
        job(start=900, state="NODE_FAIL", end=950),
        job(start=2000, state="PREEMPTED", end=2100),
    ]
    assert decisions([], [], runs) == [
        ("start", 1, 900),
        ("stop", 1, 900, 950, "node_fail"),
        ("start", 1, 2000),
        ("stop", 1, 2000, 2100, "preempted"),
        ("start", 1, 3000),
        ("stop", 1, 3000, 3100, "completed"),
    ]


def test_a_start_that_moved_while_nodes_were_made_ready_is_the_same_run() -> None:
    assert decisions([run()], [job(start=930, submit_time=895)], []) == []
    ended = job(start=930, submit_time=895, state="COMPLETED", end=990)
    assert decisions([run()], [], [ended]) == [("stop", 1, 900, 990, "completed")]


def test_the_same_submission_with_another_restart_count_is_another_run() -> None:
    again = job(start=930, submit_time=895, restart_count=1)
    ended = job(state="PENDING", flags=["REQUEUED"], end=910, restart_count=0)
    assert decisions([run(restart_count=0)], [again], [ended])[-1] == ("start", 1, 930)


def test_a_part_of_a_resized_job_ends_nothing() -> None:
    part = job(state="RUNNING", flags=["RESIZING"], end=950)
    assert decisions([run()], [job()], [part]) == []


def test_a_single_missed_poll_is_only_recorded() -> None:
    assert decisions([run()], [], []) == [("absent", 1, 1)]


def test_without_accounting_one_snapshot_that_lacks_a_job_ends_nothing_and_a_second_one_does() -> None:
    assert decisions([run()], [], None, has_accounting=False) == [("absent", 1, 1)]
    gone = run(missed_polls=1, absent_since=NOW - 60)
    assert decisions([gone], [], None, has_accounting=False) == [("stop", 1, 900, NOW - 60, "failed")]


def test_without_accounting_a_job_that_is_back_in_between_begins_to_be_absent_anew() -> None:
    assert decisions([run(missed_polls=1, absent_since=9)], [job()], None, has_accounting=False) == [("absent", 1, 0)]
    assert decisions([run(missed_polls=0)], [], None, has_accounting=False) == [("absent", 1, 1)]


def test_before_the_accounting_was_polled_nothing_is_absent() -> None:
    gone = run(missed_polls=5, absent_since=1)
    assert decisions([gone], [job(2)], None, has_accounting=False, is_complete=False) == [("start", 2, 900)]


OLD = {"start": 300, "state": "COMPLETED", "end": 400, "user": "bob"}


def test_a_reused_job_id_brings_no_old_run() -> None:
    known = [run(missed_polls=1, absent_since=NOW - 60, user="alice")]
    new = job(state="COMPLETED", end=950, user="alice")
    assert decisions(known, [], [], missing_job_records=[job(**OLD), new]) == [("stop", 1, 900, 950, "completed")]
    assert decisions(known, [], [], missing_job_records=[job(**OLD)]) == [("absent", 1, 2)]


def test_records_of_missing_jobs_start_nothing_though_the_window_does() -> None:
    assert decisions([], [], [], missing_job_records=[job(**OLD)]) == []
    assert [action[:2] for action in decisions([], [], [job(**OLD)])] == [("start", 1), ("stop", 1)]


def test_the_same_submission_by_another_user_is_another_run() -> None:
    other = job(start=930, submit_time=895, user="bob", state="COMPLETED", end=990)
    assert decisions([run(user="alice")], [job(user="alice")], [], missing_job_records=[other]) == []
    for same in ("alice", "", "1001"):
        ended = job(start=930, submit_time=895, user=same, state="COMPLETED", end=990)
        assert decisions([run(user="alice")], [], [], missing_job_records=[ended]) == [
            ("stop", 1, 900, 990, "completed")
        ]


@pytest.mark.parametrize("state", ["RUNNING", "", "COMPLETED"])
def test_a_record_whose_start_cannot_be_read_means_that_the_job_is_there(state: str) -> None:
    known = [run(missed_polls=3, absent_since=1)]
    assert decisions(known, [job(start=0, state=state, nodes="", submit_time=0)], []) == [("absent", 1, 0)]
    put_back = job(start=0, state="PENDING", nodes="", submit_time=0)
    assert decisions(known, [put_back], []) == [("stop", 1, 900, 900, "failed")]


@pytest.mark.parametrize("nodes", ["", "n1"])
def test_a_job_without_resources_stops_none_of_those_behind_it(nodes: str) -> None:
    put_back = job(1, state="PENDING", flags=["REQUEUED"], nodes=nodes, start=0, end=0)
    assert decisions([], [put_back, job(2), job(3)], []) == [("start", 2, 900), ("start", 3, 900)]


def test_a_failed_poll_of_the_queue_does_not_count_as_missed() -> None:
    assert decisions([run(missed_polls=5, absent_since=1)], None, []) == []


def test_a_job_that_is_back_is_absent_no_more() -> None:
    assert decisions([run(missed_polls=1, absent_since=9)], [job()], []) == [("absent", 1, 0)]


@pytest.mark.parametrize(
    ("since", "accounting", "has_accounting", "ends"),
    [
        (NOW - 600, [], True, True),
        (NOW - 599, [], True, False),
        (NOW - 600, None, True, False),
        (NOW - 1, None, False, True),
    ],
)
def test_a_second_missed_poll_ends_a_run_if_the_accounting_does_not_know_it(
    since: int, accounting: Optional[List[SlurmJob]], *, has_accounting: bool, ends: bool
) -> None:
    gone = run(missed_polls=1, absent_since=since)
    expected = ("stop", 1, 900, since, "failed") if ends else ("absent", 1, 2)
    assert decisions([gone], [], accounting, has_accounting=has_accounting, grace_s=600) == [expected]


def test_jobs_that_are_missing_again_are_looked_up_in_the_accounting() -> None:
    known = [
        run(1, missed_polls=1),
        run(2),
        run(3, missed_polls=1),
        run(4, missed_polls=2, end=5),
        run(5, missed_polls=1),
    ]
    queue = [job(3), job(5, start=2000)]
    assert [run.key.job_id for run in missing_runs(known, queue)] == [1, 5]


def test_one_job_has_nothing_to_do_with_another() -> None:
    known = [run(1), run(2)]
    queue = [job(2), job(3)]
    assert decisions(known, queue, [job(1, state="TIMEOUT", end=950)]) == [
        ("stop", 1, 900, 950, "timeout"),
        ("start", 3, 900),
    ]


def test_polling_again_after_recording_finds_nothing() -> None:
    """Whatever was decided, the same snapshot decides nothing more: duplicates cannot come from here."""
    queue = [job(1), job(2, state="COMPLETED", end=950), job(3, start=1100, restart_count=1)]
    runs = [job(2, state="COMPLETED", end=950), job(3, state="NODE_FAIL", end=950), job(4, state="FAILED", end=970)]
    known = {}
    for action in decide("alpha", [], SlurmSnapshot(queue, runs, NOW)):
        if isinstance(action, StartRun):
            known[action.key] = JobRun(action.key, action.job.submit_time, action.job.restart_count)
        elif isinstance(action, StopRun):
            known[action.key] = dataclasses.replace(known[action.key], end_time=action.stop_time)
    assert sorted(known) == [
        ("alpha", 1, 900),
        ("alpha", 2, 900),
        ("alpha", 3, 900),
        ("alpha", 3, 1100),
        ("alpha", 4, 900),
    ]
    assert decide("alpha", known.values(), SlurmSnapshot(queue, runs, NOW)) == []


YEARS_S = 40 * 365 * 86_400


def test_a_running_job_whose_start_is_decades_away_is_there_and_not_reported_yet() -> None:
    ahead = job(start=NOW + YEARS_S)
    assert decisions([], [ahead], []) == []
    assert decisions([run(missed_polls=1, absent_since=NOW - 5000)], [ahead], []) == [("absent", 1, 0)]


@pytest.mark.parametrize("ends", [True, False])
def test_an_end_that_is_decades_away_is_now(ends: bool) -> None:  # noqa: FBT001 a table
    over = [job(state="COMPLETED", end=NOW + YEARS_S)]
    assert decisions([run()], over if ends else [], [] if ends else over) == [("stop", 1, 900, NOW, "completed")]


def test_a_run_of_the_accounting_that_begins_decades_from_now_is_none() -> None:
    assert decisions([], [], [job(state="COMPLETED", start=NOW + YEARS_S, end=NOW + YEARS_S)]) == []


def test_clocks_that_differ_by_hours_hold_nothing_up() -> None:
    assert decisions([], [job(start=NOW + 7200)], []) == [("start", 1, NOW + 7200)]


@pytest.mark.parametrize("accounting", [True, False])
def test_a_run_that_vanished_ends_before_the_next_run_of_its_job(accounting: bool) -> None:  # noqa: FBT001 a table
    """Slurm put the job back and started it again between two polls: seen to be gone is later than gone."""
    gone = run(absent_since=NOW - 700, missed_polls=1)
    again = job(start=NOW - 800, restart_count=1)
    assert decisions([gone], [again], [] if accounting else None, has_accounting=accounting) == [
        ("stop", 1, 900, NOW - 800, "failed"),
        ("start", 1, NOW - 800),
    ]
