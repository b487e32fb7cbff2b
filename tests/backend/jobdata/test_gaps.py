from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from cc_backend.clusters import SubCluster, parse_cluster
from cc_backend.jobdata.gaps import MAX_GAPS, MAX_HOSTS_QUERIED, hosts_with_gaps, job_gaps
from cc_backend.metricstore import MetricSpec, MetricStore
from cc_backend.metricstore.gaps.reasons import JobGaps
from cc_backend.model import (
    DataGap,
    GapReason,
    Job,
    JobData,
    JobKey,
    JobMetric,
    JobState,
    MetricUnit,
    MonitoringStatus,
    Resource,
    SampleSeries,
    Scope,
)

START_S = 1_760_000_400
NAN = float("nan")


@pytest.fixture
def std(tern: dict[str, Any]) -> SubCluster:
    return parse_cluster(tern, source="test")[0].sub_clusters["std"]


def make_job(*hosts: str, minutes: int = 10, **more: Any) -> Job:
    resources = tuple(Resource(host) for host in hosts or ("tn01", "tn02"))
    fields = {
        "job_id": 1,
        "cluster": "tern",
        "user": "u",
        "project": "p",
        "start_time": START_S,
        "resources": resources,
        "num_nodes": len(resources),
        "sub_cluster": "std",
        "duration": minutes * 60,
        "state": JobState.COMPLETED,
        "monitoring_status": MonitoringStatus.ARCHIVED,
    }
    return Job(**{**fields, **more})


def rows(step_s: int = 60, **by_host: Sequence[float]) -> dict[Scope, JobMetric]:
    series = [SampleSeries(host, np.array(values, np.float32)) for host, values in by_host.items()]
    return {Scope.NODE: JobMetric(MetricUnit(""), step_s, series)}


def found(std: SubCluster, job: Job, data: JobData, *metrics: str, **more: Any) -> JobGaps:
    configs = {name: std.metrics[name] for name in metrics or data}
    return job_gaps(job, data, configs, std, now_s=START_S + 86400, **{"store": None, **more})


def in_minutes(absences: Sequence[DataGap]) -> list[tuple[GapReason, tuple[str, ...], int, int]]:
    return [(one.reason, one.hosts, (one.from_s - START_S) // 60, (one.to_s - START_S) // 60) for one in absences]


FULL, HALF, NONE = [1.0] * 11, [1.0] * 5 + [NAN] * 6, [NAN] * 11


class TestOfAnArchivedJob:
    def test_nothing_is_missing_where_all_is_there(self, std: SubCluster) -> None:
        assert not found(std, make_job(), {"load_one": rows(tn01=FULL, tn02=FULL)})

    def test_a_node_that_lacks_everything_was_silent(self, std: SubCluster) -> None:
        data = {"load_one": rows(tn01=FULL, tn02=HALF), "mem_used": rows(tn01=FULL, tn02=HALF)}
        absences = found(std, make_job(), data)
        assert in_minutes(absences.metrics["mem_used"]) == [(GapReason.HOST_SILENT, ("tn02",), 5, 10)]
        assert in_minutes(absences.hosts) == [(GapReason.HOST_SILENT, ("tn02",), 5, 10)]

    def test_a_node_that_lacks_one_metric_sent_the_others(self, std: SubCluster) -> None:
        data = {"load_one": rows(tn01=FULL, tn02=FULL), "mem_used": rows(tn01=FULL, tn02=HALF)}
        absences = found(std, make_job(), data)
        assert in_minutes(absences.metrics["mem_used"]) == [(GapReason.METRIC_SILENT_ON_HOST, ("tn02",), 5, 10)]
        assert absences.hosts == ()

    def test_a_metric_without_any_sample_was_never_sent(self, std: SubCluster) -> None:
        data: JobData = {"load_one": rows(tn01=FULL, tn02=FULL)}
        absences = found(std, make_job(), data, "load_one", "mem_used")
        assert in_minutes(absences.metrics["mem_used"]) == [
            (GapReason.METRIC_NEVER_SEEN_ON_HOST, ("tn01", "tn02"), 0, 10)
        ]

    def test_what_was_noted_at_archiving_says_more(self, std: SubCluster) -> None:
        noted = {"mem_used": (DataGap(GapReason.STORE_DOWN, (), START_S, START_S + 660),)}
        data: JobData = {"load_one": rows(tn01=FULL, tn02=FULL)}
        absences = found(std, make_job(), data, "load_one", "mem_used", recorded=lambda: noted)
        assert in_minutes(absences.metrics["mem_used"]) == [(GapReason.STORE_DOWN, (), 0, 10)]

    def test_what_was_noted_is_not_asked_for_without_need(self, std: SubCluster) -> None:
        def noted() -> Mapping[str, tuple[DataGap, ...]]:
            raise AssertionError("the file need not be read")

        assert not found(std, make_job(), {"load_one": rows(tn01=FULL, tn02=FULL)}, recorded=noted)

    def test_a_metric_that_comes_more_often_tells_when_a_node_was_heard(self, std: SubCluster) -> None:
        often = [1.0] * 66
        data = {"load_one": rows(tn01=HALF), "mem_used": rows(10, tn01=often)}
        absences = found(std, make_job("tn01"), data)
        assert in_minutes(absences.metrics["load_one"]) == [(GapReason.METRIC_SILENT_ON_HOST, ("tn01",), 5, 10)]

    def test_a_job_without_gpus_needs_no_gpu_metrics(self, std: SubCluster) -> None:
        absences = found(std, make_job(), {}, "acc_utilization")
        assert [one.reason for one in absences.metrics["acc_utilization"]] == [GapReason.JOB_HAS_NO_SUCH_HARDWARE]
        assert absences.unexpected == {}

    def test_only_nodes_with_gpus_can_lack_gpu_metrics(self, std: SubCluster) -> None:
        resources = (Resource("tn01"), Resource("tn02", accelerators=("0",)))
        absences = found(std, make_job(resources=resources), {"load_one": rows(tn01=FULL, tn02=FULL)},
                         "load_one", "acc_utilization")  # fmt: skip
        assert in_minutes(absences.metrics["acc_utilization"]) == [
            (GapReason.METRIC_NEVER_SEEN_ON_HOST, ("tn02",), 0, 10)
        ]

    def test_a_job_that_was_not_monitored_lacks_nothing(self, std: SubCluster) -> None:
        assert not found(std, make_job(monitoring_status=MonitoringStatus.DISABLED), {}, "load_one")

    def test_a_short_job_has_no_samples(self, std: SubCluster) -> None:
        job = make_job(start_time=START_S + 5, duration=20)
        assert [one.reason for one in found(std, job, {}, "load_one").metrics["load_one"]] == [
            GapReason.JOB_SHORTER_THAN_TIMESTEP
        ]


@pytest.mark.parametrize(
    ("values", "lacking"),
    [(FULL, False), (HALF, True), (NONE, True), ([1, NAN] * 5 + [1], False), ([1] * 9 + [NAN, NAN], True),
     ([1] * 5, True)],
)  # fmt: skip
def test_two_slots_in_a_row_are_a_lack(std: SubCluster, values: list[float], *, lacking: bool) -> None:
    config = std.metrics["load_one"]
    hosts = hosts_with_gaps(make_job(), rows(tn01=values, tn02=FULL), config, now_s=START_S + 86400)
    assert [host.hostname for host in hosts] == (["tn01"] if lacking else [])


def test_the_only_slot_of_a_job_is_a_lack_of_its_own(std: SubCluster) -> None:
    job = make_job(duration=0)
    absences = found(std, job, {"load_one": rows(tn01=[1]), "mem_used": rows(tn01=[1], tn02=[1])}).metrics
    assert [(one.reason, one.hosts) for one in absences["load_one"]] == [
        (GapReason.METRIC_NEVER_SEEN_ON_HOST, ("tn02",))
    ]
    partly = {"load_one": rows(tn01=[1], tn02=[NAN])}
    assert [one.hosts for one in found(std, job, partly).metrics["load_one"]] == [("tn02",)]


def test_the_newest_samples_of_a_running_job_may_be_on_their_way(std: SubCluster) -> None:
    job = make_job("tn01", state=JobState.RUNNING, monitoring_status=MonitoringStatus.RUNNING_OR_ARCHIVING)
    config = std.metrics["load_one"]
    assert not hosts_with_gaps(job, rows(tn01=[1] * 8 + [NAN] * 3), config, now_s=START_S + 600)
    assert hosts_with_gaps(job, rows(tn01=[1] * 5 + [NAN] * 6), config, now_s=START_S + 600)


def test_very_many_stretches_are_cut_to_the_longest(std: SubCluster) -> None:
    values = [1.0, NAN, NAN] * (MAX_GAPS + 50)
    values[3:6] = [NAN] * 3
    absences = found(std, make_job("tn01", minutes=len(values) - 1), {"load_one": rows(tn01=values)})
    assert len(absences.metrics["load_one"]) == MAX_GAPS
    assert in_minutes(absences.metrics["load_one"][:1]) == [(GapReason.HOST_SILENT, ("tn01",), 1, 6)]


def test_a_store_that_cannot_say_why_leaves_what_the_samples_tell(std: SubCluster) -> None:
    job = make_job(monitoring_status=MonitoringStatus.RUNNING_OR_ARCHIVING)
    absences = found(std, job, {"load_one": rows(tn01=FULL, tn02=HALF)})
    assert in_minutes(absences.hosts) == [(GapReason.HOST_SILENT, ("tn02",), 5, 10)]


def test_a_store_out_of_reach_is_the_reason(std: SubCluster) -> None:
    job = make_job(monitoring_status=MonitoringStatus.RUNNING_OR_ARCHIVING)
    absences = found(std, job, {}, "load_one", store_unreachable=True)
    assert [one.reason for one in absences.metrics["load_one"]] == [GapReason.STORE_UNREACHABLE]
    assert [one.reason for one in absences.hosts] == [GapReason.STORE_UNREACHABLE]


class TestAskedOfTheStore:
    def test_a_silent_node_and_a_node_that_never_came(self, site: Any, std: SubCluster) -> None:
        site.write_node("tn01", from_s=START_S, minutes=5)
        job = make_job(monitoring_status=MonitoringStatus.RUNNING_OR_ARCHIVING)
        now_s = START_S + 86400
        data = site.services.metric_data.read_samples(job, now_s=now_s).data
        absences = job_gaps(job, data, std.metrics, std, store=site.services.store, now_s=now_s)
        assert in_minutes(absences.hosts) == [
            (GapReason.HOST_NEVER_SEEN, ("tn02",), 0, 10),
            (GapReason.HOST_SILENT, ("tn01",), 5, 10),
        ]
        assert set(absences.metrics) == set(std.metrics)
        assert [one.reason for one in absences.metrics["acc_utilization"]] == [GapReason.JOB_HAS_NO_SUCH_HARDWARE]

    def test_the_archive_notes_what_the_store_knew(self, site: Any) -> None:
        site.archived_job(skip=range(3, 8))
        archived = site.services.archive.load_meta(JobKey("tern", 88412, START_S))
        assert in_minutes(archived.gaps["load_one"]) == [(GapReason.HOST_SILENT, ("tn01",), 3, 8)]
        assert "acc_utilization" not in archived.gaps

    def test_the_archive_of_a_complete_job_notes_nothing(self, site: Any) -> None:
        site.archived_job()
        assert site.services.archive.load_meta(JobKey("tern", 88412, START_S)).gaps is None


@pytest.mark.parametrize(("heard", "told"), [(False, 3000), (True, MAX_HOSTS_QUERIED - 1)])
def test_of_very_many_hosts_only_some_are_asked_about(std: SubCluster, *, heard: bool, told: int) -> None:
    """What all of these lack alike is taken for that of the others; where they differ, the others are left out."""
    hosts = [f"n{number:04d}" for number in range(3000)]
    job = make_job(*hosts, minutes=10, monitoring_status=MonitoringStatus.RUNNING_OR_ARCHIVING)
    with MetricStore.open(None, {"tern": {"load_one": MetricSpec(60)}}, now_s=START_S - 3600) as store:
        if heard:
            lines = "".join(
                f"load_one,cluster=tern,hostname=n0000 value=1 {START_S + 60 * minute}\n" for minute in range(5)
            )
            store.ingest(lines.encode(), received_s=START_S + 600)
        absences = found(std, job, {}, "load_one", store=store)
    named = {
        host for one in absences.metrics["load_one"] for host in one.hosts if one.reason is GapReason.HOST_NEVER_SEEN
    }
    assert len(named) == told
