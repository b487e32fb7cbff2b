"""Which samples are a job's: its time, its hardware, at the scope that was asked for."""

from typing import Any

import numpy as np
import pytest

from cc_backend.clusters import MetricConfig, SubCluster
from cc_backend.jobs.filters import JobFilter
from cc_backend.metricdata import delivered_scopes, queries_for, thin, time_range
from cc_backend.model import Job, JobMetric, JobState, Resource, RowRule, Scope, Series, Unit

START_S = 1_760_000_400
EVERYTHING = RowRule(everything=True)
GPU = "00000000:17:00.0"


def job(**changes: Any) -> Job:
    values: dict[str, Any] = {
        "job_id": 1,
        "cluster": "tern",
        "user": "u",
        "project": "p",
        "start_time": START_S,
        "resources": (Resource("tn01"),),
        "num_nodes": 1,
        "sub_cluster": "std",
        "state": JobState.COMPLETED,
        "duration": 600,
    }
    return Job(**{**values, **changes})


@pytest.fixture
def sub_cluster(services: Any) -> SubCluster:
    found: SubCluster = services.clusters.get("tern").sub_clusters["std"]
    return found


class TestTimeRange:
    @pytest.mark.parametrize(
        ("start_offset_s", "duration_s", "first_offset_s", "count"),
        [
            (0, 600, 0, 11),  # both ends are on the grid
            (1, 599, 60, 10),  # the sample at the grid point before the start speaks of the time before the job
            (59, 541, 60, 10),
            (0, 59, 0, 1),
            (30, 20, 60, 0),  # over before the first sample
        ],
    )
    def test_it_covers_the_grid_points_within_the_job(
        self, start_offset_s: int, duration_s: int, first_offset_s: int, count: int
    ) -> None:
        from_s, to_s = time_range(job(start_time=START_S + start_offset_s, duration=duration_s), 60, 0)
        assert from_s == START_S + first_offset_s
        assert (to_s - from_s) // 60 == count

    def test_a_running_job_goes_up_to_now(self) -> None:
        from_s, to_s = time_range(job(state=JobState.RUNNING, duration=0), 60, START_S + 125)
        assert (from_s, to_s) == (START_S, START_S + 180)


class TestScopes:
    @pytest.mark.parametrize(
        ("native", "wanted", "delivered"),
        [
            ("node", ["node", "core"], ["node"]),
            ("hwthread", ["node"], ["node"]),
            ("hwthread", ["node", "core", "hwthread"], ["node", "core", "hwthread"]),
            ("hwthread", ["memoryDomain"], ["memoryDomain"]),
            ("socket", ["core", "hwthread"], ["socket"]),
            ("hwthread", ["accelerator"], []),
            ("accelerator", ["accelerator", "node"], ["node", "accelerator"]),
            ("accelerator", ["core"], ["accelerator"]),
        ],
    )
    def test_the_coarser_of_native_and_wanted_is_delivered(
        self, native: str, wanted: list[str], delivered: list[str]
    ) -> None:
        assert delivered_scopes(Scope(native), map(Scope, wanted)) == list(map(Scope, delivered))


class TestQueries:
    def asked(self, sub_cluster: SubCluster, metric: str, scope: str, **resource: Any) -> list[tuple[Any, ...]]:
        config: MetricConfig = sub_cluster.metrics[metric]
        wanted = queries_for(config, Scope(scope), Resource("tn01", **resource), sub_cluster)
        return [(want.query.type, want.query.type_ids, want.query.aggregate, want.ids) for want in wanted]

    def test_a_node_metric_is_asked_of_the_node(self, sub_cluster: SubCluster) -> None:
        assert self.asked(sub_cluster, "load_one", "node") == [(None, None, False, (None,))]

    def test_a_node_value_of_a_shared_node_adds_up_the_jobs_threads_only(self, sub_cluster: SubCluster) -> None:
        asked = self.asked(sub_cluster, "flops_any", "node", hwthreads=(1, 5))
        assert asked == [("hwthread", ("1", "5"), True, (None,))]

    def test_a_socket_value_adds_up_only_the_threads_that_the_job_has_of_it(self, sub_cluster: SubCluster) -> None:
        asked = self.asked(sub_cluster, "flops_any", "socket", hwthreads=(0, 1, 2))
        assert asked == [("hwthread", ("0", "1"), True, ("0",)), ("hwthread", ("2",), True, ("1",))]

    def test_memory_domains_can_be_asked_of_threads(self, sub_cluster: SubCluster) -> None:
        asked = self.asked(sub_cluster, "flops_any", "memoryDomain")
        assert [labels for *_, labels in asked] == [("0",), ("1",)]

    def test_native_values_carry_the_ids_of_the_parts(self, sub_cluster: SubCluster) -> None:
        assert self.asked(sub_cluster, "mem_bw", "socket", hwthreads=(2,)) == [("socket", ("1",), False, ("1",))]

    def test_a_job_without_accelerators_has_no_accelerator_metrics(self, sub_cluster: SubCluster) -> None:
        assert self.asked(sub_cluster, "acc_utilization", "node") == []
        asked = self.asked(sub_cluster, "acc_utilization", "accelerator", accelerators=(GPU,))
        assert asked == [("accelerator", (GPU,), False, (GPU,))]


class TestJobData:
    def test_a_running_job_is_read_from_the_store(self, site: Any) -> None:
        site.start_job()
        site.write_node("tn01", from_s=START_S, minutes=3)
        site.clock.advance(130)
        (running,) = site.services.search.running(now_s=site.services.now_s())
        data = site.services.metricdata.job_data(running, ["flops_any"], now_s=site.services.now_s())
        (series,) = data["flops_any"][Scope.NODE].series
        # eight threads with thread + minute / 8 each
        assert series.data.tolist() == [28.0, 29.0, 30.0]
        assert series.id is None

    def test_what_was_never_sent_is_absent_and_a_missed_minute_is_a_gap(self, site: Any) -> None:
        site.start_job()
        site.write_node("tn01", from_s=START_S, minutes=3, skip=[1])
        site.clock.advance(130)
        (running,) = site.services.search.running(now_s=site.services.now_s())
        data = site.services.metricdata.job_data(running, now_s=site.services.now_s())
        assert "acc_utilization" not in data, "the job has no accelerator"
        values = data["mem_used"][Scope.NODE].series[0].data
        assert np.isnan(values).tolist() == [False, True, False]

    def test_the_archive_says_the_same_as_the_store_said(self, site: Any) -> None:
        site.archived_job(minutes=5)
        (archived,) = site.services.search.find(JobFilter(), EVERYTHING, now_s=site.services.now_s()).jobs
        data = site.services.metricdata.job_data(archived, ["mem_used"], now_s=site.services.now_s())
        assert data["mem_used"][Scope.NODE].series[0].data.tolist() == [10, 11, 12, 13, 14, 15]

    def test_another_jobs_threads_on_the_same_node_do_not_count(self, site: Any) -> None:
        site.start_job(jobId=1, resources=[{"hostname": "tn01", "hwthreads": [3]}], numHwthreads=1)
        site.write_node("tn01", from_s=START_S, minutes=2)
        site.clock.advance(60)
        (running,) = site.services.search.running(now_s=site.services.now_s())
        data = site.services.metricdata.job_data(running, ["cpu_user"], now_s=site.services.now_s())
        assert data["cpu_user"][Scope.NODE].series[0].data.tolist() == [53.0, 53.0]


class TestThinning:
    def curve(self, count: int, timestep_s: int = 60) -> Any:
        values = np.arange(count, dtype=np.float32)
        return {"m": {Scope.NODE: JobMetric(Unit("B"), timestep_s, [Series("h", values)])}}

    def test_it_keeps_ends_and_says_the_coarser_step(self) -> None:
        metric = thin(self.curve(100), 240)["m"][Scope.NODE]
        assert metric.timestep_s == 240
        assert len(metric.series[0].data) == 25
        assert metric.series[0].data[[0, -1]].tolist() == [0.0, 99.0]

    @pytest.mark.parametrize(("count", "resolution_s"), [(100, 60), (100, 90), (100, 30), (8, 240), (0, 240)])
    def test_what_cannot_be_thinned_stays(self, count: int, resolution_s: int) -> None:
        metric = thin(self.curve(count), resolution_s)["m"][Scope.NODE]
        assert metric.timestep_s == 60
        assert len(metric.series[0].data) == count
