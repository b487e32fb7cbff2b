from collections.abc import Callable
from typing import Any

import orjson
import pytest

from cc_backend.auth.caller import Caller
from cc_backend.errors import Conflict, InvalidInput, NotAllowed, NotFound
from cc_backend.jobs.archive_queue import ArchiveQueue
from cc_backend.jobs.filters import JobFilter
from cc_backend.jobs.job_json import job_to_json
from cc_backend.jobs.job_queries import JobQueries
from cc_backend.jobs.lifecycle import JobLifecycle
from cc_backend.jobs.running_jobs import RunningJobs
from cc_backend.model import Job, JobState, MonitoringStatus, RowRule
from cc_common.job_events import JobChange, JobStart, JobStop, Resource, TagEvent

NOW_S = 1_760_000_000
ALL = RowRule(all_jobs=True)
Start = Callable[..., Job]


def event(**changes: Any) -> JobStart:
    fields: dict[str, Any] = {
        "cluster": "tern",
        "user": "mlindqv",
        "project": "hydro7",
        "job_id": 88412,
        "start_time": NOW_S - 3600,
        "num_nodes": 1,
        "resources": (Resource("tn0012", (0, 1), ("0000:17:00.0",)),),
    }
    return JobStart(**(fields | changes))


def test_a_started_job_can_be_found_at_once(lifecycle: JobLifecycle, job_queries: JobQueries) -> None:
    job = lifecycle.start(event(), now_s=NOW_S)
    assert job_queries.get(job.id, ALL, now_s=NOW_S) == job


def test_a_started_job_keeps_every_field(lifecycle: JobLifecycle, job_queries: JobQueries) -> None:
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
    assert job_queries.get(job.id, ALL, now_s=NOW_S) == job
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
        ({"resources": (Resource("elsewhere"),)}, "resources"),
        ({"resources": ()}, "resources"),
        ({"resources": (), "sub_cluster": "std"}, "resources"),
        ({"resources": (Resource(""),), "sub_cluster": "std"}, "hostname"),
        ({"resources": (Resource("tn0001", (-1,)),)}, "hwthreads"),
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
        ({"start_time": 1}, "startTime: 1 lies before the year 2000"),
        ({"start_time": 946_684_799}, "before the year 2000"),
        ({"submit_time": 1}, "submitTime: 1 lies before the year 2000"),
        ({"submit_time": NOW_S + 601}, "submitTime"),
        ({"walltime": 2**62}, "walltime: .*leave it out"),
        ({"requested_memory": 2**53}, "requestedMemory"),
        ({"array_job_id": 2**63 - 1}, "arrayJobId"),
        ({"energy": 1e300}, "energy"),
        ({"energy": -0.1}, "energy"),
        ({"energy": float("nan")}, "energy"),
        ({"energy": float("inf")}, "energy"),
        ({"footprint": {"load_one_avg": 1e39}}, "footprint.load_one_avg"),
        ({"footprint": {"load_one_avg": float("nan")}}, "footprint.load_one_avg"),
        ({"footprint": {"x" * 257: 1.0}}, "footprint"),
        ({"footprint": {f"m{i}_avg": 1.0 for i in range(1001)}}, "footprint: has more than 1000"),
        ({"tags": (TagEvent("a", "b"),) * 1001}, "tags: there are more than 1000"),
        ({"meta_data": {"jobName": "half \ud800"}}, "metaData"),
        ({"meta_data": {"half \ud800": "x"}}, "metaData"),
        ({"resources": (Resource("tn0001", (), ("0000\x00",)),)}, "accelerators"),
        ({"resources": (Resource("tn0001", configuration="x" * 4097),)}, "configuration"),
        (
            {"num_nodes": 16_385, "cluster": "skua", "resources": tuple(Resource(f"n{i}") for i in range(16_385))},
            "resources: there are 16385; a job has at most 16384",
        ),
        ({"start_time": NOW_S + 601}, "startTime"),
        ({"start_time": NOW_S * 1000}, "startTime"),
    ],
)
def test_a_start_that_cannot_be_is_refused_and_the_field_is_named(
    lifecycle: JobLifecycle, running_jobs: RunningJobs, changes: dict[str, Any], text: str
) -> None:
    with pytest.raises(InvalidInput, match=text):
        lifecycle.start(event(**changes), now_s=NOW_S)
    assert running_jobs.list_all() == []


@pytest.mark.parametrize(
    "changes",
    [
        {"project": ""},
        {"smt": 4},
        {"start_time": NOW_S + 600},
        {"start_time": 946_684_800},
        {"start_time": NOW_S - 200 * 86_400, "walltime": 0},
        {"walltime": 365 * 86_400},
        {"energy": 1e12},
        {"footprint": {"load_one_avg": 3.4e38, "ipc_min": -1.5}},
        {"meta_data": {"jobName": "tab\tand\nline \x00", "jobScript": "\x00"}},
        {"cluster": "skua", "resources": (Resource("any-host"),)},
        {"sub_cluster": "fat"},
        {"user": "müller@physik"},
        {"num_nodes": 2, "resources": (Resource("tn0001"), Resource("tn0001"))},
    ],
)
def test_unusual_starts_are_taken_and_can_be_given_back(
    lifecycle: JobLifecycle, job_queries: JobQueries, changes: dict[str, Any]
) -> None:
    started = lifecycle.start(event(**changes), now_s=NOW_S)
    found = job_queries.get(started.id, ALL, now_s=NOW_S)
    assert found == started
    assert orjson.loads(orjson.dumps(job_to_json(found, with_meta_data=True)))["id"] == started.id


def test_a_name_in_a_list_has_no_line_breaks(lifecycle: JobLifecycle, job_queries: JobQueries) -> None:
    lifecycle.start(event(meta_data={"jobName": "two\nlines\x00"}), now_s=NOW_S)
    (job,) = job_queries.find(JobFilter(), ALL, now_s=NOW_S, with_meta_data=False).jobs
    assert job.name == "two lines "


class TestOverdue:
    @pytest.mark.parametrize(
        ("walltime_s", "ran_s", "overdue"),
        [
            (7200, 7200 + 3600, False),
            (7200, 7200 + 3601, True),
            (0, 366 * 86_400, False),
            (0, 366 * 86_400 + 1, True),
            (90 * 86_400, 89 * 86_400, False),
        ],
    )
    def test_a_job_that_runs_longer_than_it_can_is_overdue(
        self,
        started: Start,
        job_queries: JobQueries,
        walltime_s: int,
        ran_s: int,
        overdue: bool,  # noqa: FBT001 a table
    ) -> None:
        job = started(1, walltime=walltime_s, start_time=NOW_S - ran_s)
        assert job_queries.get(job.id, ALL, now_s=NOW_S).is_overdue is overdue
        assert [found.id for found in job_queries.find(JobFilter(overdue=True), ALL, now_s=NOW_S).jobs] == [
            job.id
        ] * overdue

    def test_a_job_that_ended_is_not(self, stopped: Start, job_queries: JobQueries) -> None:
        stopped(1, walltime=60, start_time=NOW_S - 86_400)
        assert job_queries.find(JobFilter(overdue=True), ALL, now_s=NOW_S).total == 0


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
    lifecycle: JobLifecycle, running_jobs: RunningJobs, tag: TagEvent, error: type[Exception]
) -> None:
    with pytest.raises(error):
        lifecycle.start(event(tags=(TagEvent("app", "ok"), tag)), now_s=NOW_S)
    assert running_jobs.list_all() == []


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
        (JobStop(7, NOW_S + 601), "stopTime: .* lies 601 seconds in the future"),
        (JobStop(7, NOW_S * 1000), "stopTime: .* not milliseconds"),
        (JobStop(7, 2**63 - 1), "stopTime"),
        (JobStop(7, 946_684_799), "stopTime: .* before the year 2000"),
        (JobStop(0, NOW_S), "jobId"),
        (JobStop(7, NOW_S, "running"), "not a final state"),
        (JobStop(7, NOW_S, "pending"), "not a final state"),
        (JobStop(7, NOW_S, "suspended"), "not a final state"),
        (JobStop(7, NOW_S, "stopped"), "not a final state"),
        (JobStop(7, NOW_S, "COMPLETED"), "not a final state"),
    ],
)
def test_a_stop_that_cannot_be_leaves_the_job_running(
    started: Start, lifecycle: JobLifecycle, running_jobs: RunningJobs, stop: JobStop, text: str
) -> None:
    started(7)
    with pytest.raises(InvalidInput, match=text):
        lifecycle.stop(stop, now_s=NOW_S)
    assert len(running_jobs.list_all()) == 1


def test_a_job_may_stop_in_the_second_it_started(started: Start, lifecycle: JobLifecycle) -> None:
    started(7)
    assert lifecycle.stop(JobStop(7, NOW_S - 3600), now_s=NOW_S).duration == 0


def test_a_stopped_job_waits_for_the_archiver(stopped: Start, archive_queue: ArchiveQueue) -> None:
    job = stopped(7)
    assert job.monitoring_status == MonitoringStatus.RUNNING_OR_ARCHIVING
    assert [waiting.id for waiting in archive_queue.queued_jobs()] == [job.id]


def test_a_job_with_monitoring_disabled_is_not_archived(stopped: Start, archive_queue: ArchiveQueue) -> None:
    job = stopped(7, monitoring_status=0)
    assert job.monitoring_status == MonitoringStatus.DISABLED
    assert archive_queue.queued_jobs() == []


def test_a_job_that_says_it_is_archived_at_its_start_is_archived_all_the_same(
    stopped: Start, archive_queue: ArchiveQueue
) -> None:
    job = stopped(7, monitoring_status=3)
    assert [waiting.id for waiting in archive_queue.queued_jobs()] == [job.id]


def test_a_running_job_keeps_what_is_changed(started: Start, lifecycle: JobLifecycle, job_queries: JobQueries) -> None:
    started(7, walltime=60, partition="day", shared="none", meta_data={"jobName": "old", "jobScript": "x"})
    change = JobChange(7, "tern", NOW_S - 3600, 7200, "new\nname", "night", "other", "multi_user")
    changed = lifecycle.change(change, now_s=NOW_S)
    found = job_queries.get(changed.id, ALL, now_s=NOW_S)
    assert found == changed
    assert (found.walltime, found.partition, found.project, found.shared) == (7200, "night", "other", "multi_user")
    assert found.meta_data == {"jobName": "new\nname", "jobScript": "x"}
    named = job_queries.find(JobFilter(name="new name"), ALL, now_s=NOW_S, with_meta_data=False).jobs
    assert [job.name for job in named] == ["new name"]


@pytest.mark.parametrize("change", [JobChange(7, walltime=0), JobChange(7, partition=""), JobChange(7, job_name="")])
def test_a_change_to_nothing_is_a_change_and_leaves_the_rest(
    started: Start, lifecycle: JobLifecycle, change: JobChange
) -> None:
    job = started(7, walltime=60, partition="day", meta_data={"jobName": "old"})
    changed = lifecycle.change(change, now_s=NOW_S)
    now = (changed.walltime, changed.partition, changed.name)
    assert sum(old != new for old, new in zip((60, "day", "old"), now, strict=True)) == 1
    assert (changed.id, changed.user, changed.resources) == (job.id, job.user, job.resources)


def test_the_newest_run_is_changed_unless_a_start_is_named(
    stopped: Start, started: Start, lifecycle: JobLifecycle
) -> None:
    stopped(7)
    second = started(7, start_time=NOW_S - 600)
    assert lifecycle.change(JobChange(7, "tern", walltime=60), now_s=NOW_S).id == second.id
    with pytest.raises(Conflict, match="not running"):
        lifecycle.change(JobChange(7, "tern", NOW_S - 3600, walltime=60), now_s=NOW_S)


@pytest.mark.parametrize("change", [JobChange(8, walltime=60), JobChange(7, "skua", walltime=60)])
def test_an_unknown_job_cannot_be_changed(started: Start, lifecycle: JobLifecycle, change: JobChange) -> None:
    started(7)
    with pytest.raises(NotFound):
        lifecycle.change(change, now_s=NOW_S)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (JobChange(7), "nothing would change"),
        (JobChange(0, walltime=60), "jobId"),
        (JobChange(7, walltime=-1), "walltime"),
        (JobChange(7, walltime=2**62), "walltime"),
        (JobChange(7, partition="x" * 257), "partition"),
        (JobChange(7, project="two\nlines"), "project"),
        (JobChange(7, job_name="half \ud800"), "metaData"),
    ],
)
def test_a_change_that_cannot_be_leaves_the_job_as_it_was(
    started: Start, lifecycle: JobLifecycle, job_queries: JobQueries, change: JobChange, text: str
) -> None:
    job = started(7, walltime=60)
    with pytest.raises(InvalidInput, match=text):
        lifecycle.change(change, now_s=NOW_S)
    assert job_queries.get(job.id, ALL, now_s=NOW_S) == job


def test_many_events_are_stored_in_their_order_each_with_its_result(
    lifecycle: JobLifecycle, job_queries: JobQueries
) -> None:
    events = [event(job_id=1), event(job_id=1), JobStop(1, NOW_S), JobStop(1, NOW_S), JobStop(2, NOW_S), event(user="")]
    first, again, ended, ended_again, unknown, invalid = lifecycle.store_all(events, now_s=NOW_S)
    assert isinstance(first, Job)
    assert isinstance(ended, Job)
    assert (ended.id, ended.state) == (first.id, JobState.COMPLETED)
    kinds = [type(result) for result in (again, ended_again, unknown, invalid)]
    assert kinds == [Conflict, Conflict, NotFound, InvalidInput]
    assert job_queries.get(first.id, ALL, now_s=NOW_S) == ended


@pytest.mark.parametrize("state", ["pending", "suspended", "running"])
def test_a_job_that_is_suspended_runs_on_until_it_ends(started: Start, lifecycle: JobLifecycle, state: str) -> None:
    started(7)
    with pytest.raises(InvalidInput, match="not a final state"):
        lifecycle.stop(JobStop(7, NOW_S, state), now_s=NOW_S)
    assert lifecycle.stop(JobStop(7, NOW_S, "cancelled"), now_s=NOW_S).duration == 3600


def test_components_of_a_heterogeneous_job_are_jobs_of_their_own(started: Start, lifecycle: JobLifecycle) -> None:
    first, second = started(100, "tn0001", num_acc=0), started(101, "tf01", "tf02")
    assert (first.sub_cluster, second.sub_cluster) == ("std", "fat")
    assert lifecycle.stop(JobStop(100, NOW_S, cluster="tern"), now_s=NOW_S).id == first.id
    assert lifecycle.stop(JobStop(101, NOW_S, cluster="tern"), now_s=NOW_S).id == second.id
