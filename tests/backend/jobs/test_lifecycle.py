from collections.abc import Callable
from typing import Any

import pytest

from cc_backend.auth.caller import Caller
from cc_backend.errors import Conflict, InvalidInput, NotAllowed, NotFound
from cc_backend.jobs.lifecycle import JobLifecycle
from cc_backend.jobs.search import JobSearch
from cc_backend.model import Job, JobState, MonitoringStatus, RowRule
from cc_common.jobevents import JobStart, JobStop, ResourceEvent, TagEvent

NOW_S = 1_760_000_000
ALL = RowRule(everything=True)
Start = Callable[..., Job]


def event(**changes: Any) -> JobStart:
    fields: dict[str, Any] = {
        "cluster": "tern",
        "user": "mlindqv",
        "project": "hydro7",
        "job_id": 88412,
        "start_time": NOW_S - 3600,
        "num_nodes": 1,
        "resources": (ResourceEvent("tn0012", (0, 1), ("0000:17:00.0",)),),
    }
    return JobStart(**(fields | changes))


def test_a_started_job_can_be_found_at_once(lifecycle: JobLifecycle, search: JobSearch) -> None:
    job = lifecycle.start(event(), now_s=NOW_S)
    assert search.get(job.id, ALL, now_s=NOW_S) == job


def test_a_started_job_keeps_every_field(lifecycle: JobLifecycle, search: JobSearch) -> None:
    job = lifecycle.start(
        event(
            partition="day",
            shared="multi_user",
            num_hwthreads=2,
            num_acc=1,
            smt=2,
            walltime=7200,
            requested_memory=64000,
            submit_time=NOW_S - 4000,
            array_job_id=88400,
            meta_data={"jobName": "relax", "jobScript": "#!/bin/sh\n"},
            footprint={"mem_used_max": 1.5},
            energy=0.25,
            tags=(TagEvent("b", "y", "global"), TagEvent("a", "z"), TagEvent("a", "x"), TagEvent("a", "z", "global")),
        ),
        now_s=NOW_S,
    )
    assert search.get(job.id, ALL, now_s=NOW_S) == job
    assert [(tag.type, tag.name) for tag in job.tags] == [("a", "x"), ("a", "z"), ("b", "y")]
    assert job.sub_cluster == "std"
    assert job.state is JobState.RUNNING
    assert job.duration == 3600
    assert (job.partition, job.shared, job.smt, job.walltime) == ("day", "multi_user", 2, 7200)
    assert (job.num_hwthreads, job.num_acc) == (2, 1)
    assert (job.requested_memory, job.submit_time, job.array_job_id) == (64000, NOW_S - 4000, 88400)
    assert job.meta_data == {"jobName": "relax", "jobScript": "#!/bin/sh\n"}
    assert job.footprint == {"mem_used_max": 1.5}
    assert job.energy == 0.25
    assert job.resources[0].hwthreads == (0, 1)
    assert job.resources[0].accelerators == ("0000:17:00.0",)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"cluster": "unknown"}, "cluster"),
        ({"sub_cluster": "unknown"}, "subCluster"),
        ({"resources": (ResourceEvent("elsewhere"),)}, "resources"),
        ({"resources": ()}, "resources"),
        ({"resources": (), "sub_cluster": "std"}, "resources"),
        ({"resources": (ResourceEvent(""),), "sub_cluster": "std"}, "hostname"),
        ({"resources": (ResourceEvent("tn0001", (-1,)),)}, "hwthreads"),
        ({"user": ""}, "user"),
        ({"user": "x" * 257}, "user"),
        ({"user": "two\nlines"}, "user"),
        ({"project": "half \ud800"}, "project"),
        ({"num_nodes": 0}, "numNodes"),
        ({"num_nodes": 2}, "numNodes is 2"),
        ({"num_acc": -1}, "numAcc"),
        ({"num_hwthreads": -1}, "numHwthreads"),
        ({"walltime": -1}, "walltime"),
        ({"shared": "maybe"}, "shared"),
        ({"monitoring_status": 4}, "monitoringStatus"),
        ({"job_id": 0}, "jobId"),
        ({"job_id": -5}, "jobId"),
        ({"start_time": 0}, "startTime"),
        ({"start_time": NOW_S + 86401}, "startTime"),
        ({"start_time": NOW_S * 1000}, "startTime"),
    ],
)
def test_a_start_that_cannot_be_is_refused_and_the_field_is_named(
    lifecycle: JobLifecycle, search: JobSearch, changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidInput, match=text):
        lifecycle.start(event(**changes), now_s=NOW_S)
    assert search.running() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"project": ""},
        {"smt": 4},
        {"start_time": NOW_S + 86400},
        {"cluster": "skua", "resources": (ResourceEvent("any-host"),)},
        {"sub_cluster": "fat"},
        {"user": "müller@physik"},
        {"num_nodes": 2, "resources": (ResourceEvent("tn0001"), ResourceEvent("tn0001"))},
    ],
)
def test_unusual_starts_are_taken(lifecycle: JobLifecycle, changes: dict[str, Any]) -> None:
    assert lifecycle.start(event(**changes), now_s=NOW_S).id > 0


def test_the_same_start_twice_is_a_conflict(lifecycle: JobLifecycle) -> None:
    lifecycle.start(event(), now_s=NOW_S)
    with pytest.raises(Conflict, match="known already"):
        lifecycle.start(event(), now_s=NOW_S)


def test_a_running_job_does_not_start_again_at_another_time(lifecycle: JobLifecycle) -> None:
    lifecycle.start(event(), now_s=NOW_S)
    with pytest.raises(Conflict, match="running already"):
        lifecycle.start(event(start_time=NOW_S - 60), now_s=NOW_S)


def test_a_requeued_job_starts_again_after_its_first_run(started: Start, stopped: Start) -> None:
    first = stopped(7, ran_s=600, start_time=NOW_S - 3600)
    second = started(7, start_time=NOW_S - 3000)
    assert second.id != first.id


def test_the_stop_of_a_requeued_run_is_still_known_when_its_start_is_repeated(stopped: Start, started: Start) -> None:
    stopped(7)
    with pytest.raises(Conflict, match="completed"):
        started(7)


def test_a_run_cannot_start_while_an_earlier_one_still_ran(stopped: Start, started: Start) -> None:
    stopped(7, ran_s=600, start_time=NOW_S - 3600)
    with pytest.raises(Conflict, match="cannot start between"):
        started(7, start_time=NOW_S - 3100)


def test_an_earlier_run_that_is_told_of_late_is_taken(stopped: Start, started: Start) -> None:
    stopped(7, ran_s=600, start_time=NOW_S - 3600)
    assert started(7, start_time=NOW_S - 90000).start_time == NOW_S - 90000


def test_job_ids_of_other_clusters_do_not_matter(started: Start) -> None:
    started(7)
    assert started(7, "n1", cluster="skua").cluster == "skua"


def test_tags_of_the_start_are_attached(lifecycle: JobLifecycle) -> None:
    tags = (TagEvent("app", "gromacs"), TagEvent("note", "watch", "admin"), TagEvent("app", "gromacs"))
    job = lifecycle.start(event(tags=tags), now_s=NOW_S)
    assert {(tag.type, tag.name, tag.scope) for tag in job.tags} == {
        ("app", "gromacs", "global"),
        ("note", "watch", "admin"),
    }


@pytest.mark.parametrize(
    ("tag", "error"),
    [
        (TagEvent("note", "mine", "somebody"), NotAllowed),
        (TagEvent("", "x"), InvalidInput),
        (TagEvent("x", ""), InvalidInput),
    ],
)
def test_a_tag_that_may_not_be_leaves_no_job_behind(
    lifecycle: JobLifecycle, search: JobSearch, tag: TagEvent, error: type[Exception]
) -> None:
    with pytest.raises(error):
        lifecycle.start(event(tags=(TagEvent("app", "ok"), tag)), now_s=NOW_S)
    assert search.running() == []


def test_a_start_in_somebodys_name_may_carry_their_private_tags(lifecycle: JobLifecycle) -> None:
    caller = Caller("kmeyer", frozenset({"admin", "api"}))
    job = lifecycle.start(event(tags=(TagEvent("note", "mine", "kmeyer"),)), now_s=NOW_S, caller=caller)
    assert job.tags[0].scope == "kmeyer"


def test_a_stop_without_start_time_ends_the_newest_run(stopped: Start, started: Start, lifecycle: JobLifecycle) -> None:
    stopped(7)
    second = started(7, start_time=NOW_S - 600)
    job = lifecycle.stop(JobStop(7, NOW_S, "timeout", "tern"), now_s=NOW_S)
    assert (job.id, job.state, job.duration) == (second.id, JobState.TIMEOUT, 600)


def test_a_stop_without_cluster_ends_the_newest_job_of_that_id(started: Start, lifecycle: JobLifecycle) -> None:
    started(7)
    other = started(7, "n1", cluster="skua")
    assert lifecycle.stop(JobStop(7, NOW_S), now_s=NOW_S).id == other.id


def test_a_job_stops_once(stopped: Start, lifecycle: JobLifecycle) -> None:
    stopped(7)
    with pytest.raises(Conflict, match="not running"):
        lifecycle.stop(JobStop(7, NOW_S, cluster="tern"), now_s=NOW_S)


@pytest.mark.parametrize(
    "stop",
    [JobStop(8, NOW_S), JobStop(7, NOW_S, cluster="skua"), JobStop(7, NOW_S, start_time=1)],
)
def test_an_unknown_job_cannot_be_stopped(started: Start, lifecycle: JobLifecycle, stop: JobStop) -> None:
    started(7)
    with pytest.raises(NotFound):
        lifecycle.stop(stop, now_s=NOW_S)


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        (JobStop(7, NOW_S - 3601), "before the start"),
        (JobStop(7, 0), "stopTime"),
        (JobStop(7, NOW_S + 86401), "future"),
        (JobStop(0, NOW_S), "jobId"),
        (JobStop(7, NOW_S, "running"), "no final state"),
        (JobStop(7, NOW_S, "pending"), "no final state"),
        (JobStop(7, NOW_S, "suspended"), "no final state"),
        (JobStop(7, NOW_S, "stopped"), "no final state"),
        (JobStop(7, NOW_S, "COMPLETED"), "no final state"),
    ],
)
def test_a_stop_that_cannot_be_leaves_the_job_running(
    started: Start, lifecycle: JobLifecycle, search: JobSearch, stop: JobStop, text: str
) -> None:
    started(7)
    with pytest.raises(InvalidInput, match=text):
        lifecycle.stop(stop, now_s=NOW_S)
    assert len(search.running()) == 1


def test_a_job_may_stop_in_the_second_it_started(started: Start, lifecycle: JobLifecycle) -> None:
    started(7)
    assert lifecycle.stop(JobStop(7, NOW_S - 3600), now_s=NOW_S).duration == 0


def test_a_stopped_job_waits_for_the_archiver(stopped: Start, search: JobSearch) -> None:
    job = stopped(7)
    assert job.monitoring_status == MonitoringStatus.RUNNING_OR_ARCHIVING
    assert [waiting.id for waiting in search.finished_unarchived()] == [job.id]


def test_a_job_with_monitoring_disabled_is_not_archived(stopped: Start, search: JobSearch) -> None:
    job = stopped(7, monitoring_status=0)
    assert job.monitoring_status == MonitoringStatus.DISABLED
    assert search.finished_unarchived() == []


def test_a_job_that_says_it_is_archived_at_its_start_is_archived_all_the_same(
    stopped: Start, search: JobSearch
) -> None:
    job = stopped(7, monitoring_status=3)
    assert [waiting.id for waiting in search.finished_unarchived()] == [job.id]
