"""Which samples are a job's: its time, its hardware, at the scope that was asked for."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from cc_backend.clusters import MetricConfig, SubCluster
from cc_backend.clusters.topology import NodeTopology
from cc_backend.jobdata.samples import build_queries, delivered_scopes, downsample, expected_range
from cc_backend.jobs.filters import JobFilter
from cc_backend.model import Job, JobMetric, JobState, MetricUnit, Resource, RowRule, SampleSeries, Scope

START_S = 1_760_000_400
EVERYTHING = RowRule(all_jobs=True)
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
        from_s, to_s = expected_range(job(start_time=START_S + start_offset_s, duration=duration_s), 60, 0)
        assert from_s == START_S + first_offset_s
        assert (to_s - from_s) // 60 == count

    def test_a_running_job_goes_up_to_now(self) -> None:
        from_s, to_s = expected_range(job(state=JobState.RUNNING, duration=0), 60, START_S + 125)
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
            ("hwthread", ["accelerator"], ["hwthread"]),
            ("hwthread", ["accelerator", "node"], ["node"]),
            ("accelerator", ["accelerator", "node"], ["node", "accelerator"]),
            ("accelerator", ["core"], []),
            ("accelerator", ["core", "accelerator"], ["accelerator"]),
            ("core", [], []),
        ],
    )
    def test_the_coarser_of_native_and_wanted_is_delivered(
        self, native: str, wanted: list[str], delivered: list[str]
    ) -> None:
        assert delivered_scopes(Scope(native), map(Scope, wanted)) == list(map(Scope, delivered))


class TestQueries:
    def asked(self, sub_cluster: SubCluster, metric: str, scope: str, **resource: Any) -> list[tuple[Any, ...]]:
        config: MetricConfig = sub_cluster.metrics[metric]
        wanted = build_queries(config, Scope(scope), Resource("tn01", **resource), sub_cluster)
        return [(want.query.type, want.query.type_ids, want.query.aggregate, want.labels) for want in wanted]

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


SMT = NodeTopology(
    node=tuple(range(16)),
    socket=((0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15)),
    memory_domain=((0, 1, 8, 9), (2, 3, 10, 11), (4, 5, 12, 13), (6, 7, 14, 15)),
    core=tuple((core, core + 8) for core in range(8)),
)
# all of core 0, half of core 1, half of core 4 on the other socket
PART = Resource("tn01", hwthreads=(0, 1, 4, 8), accelerators=("gpu0", "gpu1"))
SCOPES = ("node", "socket", "memoryDomain", "core", "hwthread", "accelerator")


def combined(kind: str, *groups: tuple[str | None, str]) -> list[tuple[Any, ...]]:
    """One series per group, of all its parts: label, ids."""
    return [(kind, tuple(ids.split()), True, label) for label, ids in groups]


def direct(kind: str, ids: str) -> list[tuple[Any, ...]]:
    """One series per part, each under its own id."""
    return [(kind, tuple(ids.split()), False, tuple(ids.split()))]


WHOLE = [(None, None, False, None)]
THREADS = "0 1 4 8"
TRANSFORMS: dict[str, tuple[list[tuple[Any, ...]], ...]] = {
    # native: what is asked for each wanted scope, in the order of SCOPES
    "node": (WHOLE,) * 6,
    "socket": (combined("socket", (None, "0 1")), *[direct("socket", "0 1")] * 5),
    "memoryDomain": (
        combined("memoryDomain", (None, "0 2")),
        combined("memoryDomain", ("0", "0"), ("1", "2")),
        *[direct("memoryDomain", "0 2")] * 4,
    ),
    "core": (
        combined("core", (None, "0 1 4")),
        combined("core", ("0", "0 1"), ("1", "4")),
        combined("core", ("0", "0 1"), ("2", "4")),
        *[direct("core", "0 1 4")] * 3,
    ),
    "hwthread": (
        combined("hwthread", (None, THREADS)),
        combined("hwthread", ("0", "0 1 8"), ("1", "4")),
        combined("hwthread", ("0", "0 1 8"), ("2", "4")),
        combined("hwthread", ("0", "0 8"), ("1", "1"), ("4", "4")),
        *[direct("hwthread", THREADS)] * 2,
    ),
    "accelerator": (
        combined("accelerator", (None, "gpu0 gpu1")),
        *[[]] * 4,
        direct("accelerator", "gpu0 gpu1"),
    ),
}
CELLS = [
    pytest.param(native, wanted, asked, id=f"{native}-to-{wanted}")
    for native, row in TRANSFORMS.items()
    for wanted, asked in zip(SCOPES, row, strict=True)
]


class TestTransforms:
    """Every native scope at every wanted one, for a job that has parts of cores and sockets of a node with SMT."""

    @pytest.mark.parametrize(("native", "wanted", "asked"), CELLS)
    def test_a_cell_of_the_table(
        self, sub_cluster: SubCluster, native: str, wanted: str, asked: list[tuple[Any, ...]]
    ) -> None:
        config = replace(sub_cluster.metrics["flops_any"], scope=Scope(native))
        node = replace(sub_cluster, topology=SMT)
        found = []
        for scope in delivered_scopes(config.scope, [Scope(wanted)]):
            for want in build_queries(config, scope, PART, node):
                query = want.query
                labels = want.labels if query.type and not query.aggregate else want.labels[0]
                found.append((query.type, query.type_ids, query.aggregate, labels))
        assert found == asked

    def test_no_cell_was_left_out(self) -> None:
        assert len(CELLS) == len(Scope) ** 2

    @pytest.mark.parametrize(("native", "wanted", "asked"), CELLS)
    def test_a_job_without_threads_of_its_own_has_the_whole_node(
        self, sub_cluster: SubCluster, native: str, wanted: str, asked: list[tuple[Any, ...]]
    ) -> None:
        config = replace(sub_cluster.metrics["flops_any"], scope=Scope(native))
        node = replace(sub_cluster, topology=SMT)
        whole = Resource("tn01", accelerators=PART.accelerators)
        for scope in delivered_scopes(config.scope, [Scope(wanted)]):
            queries = build_queries(config, scope, whole, node)
            ids = [number for want in queries for number in want.query.type_ids or ()]
            assert len(queries) >= len(asked) > 0
            if native not in {"node", "accelerator"}:
                assert sorted(map(int, ids)) == list(range(SMT.unit_count(Scope(native))))


class TestJobData:
    def test_a_running_job_is_read_from_the_store(self, site: Any) -> None:
        site.start_job()
        site.write_node("tn01", from_s=START_S, minutes=3)
        site.clock.advance(130)
        (running,) = site.services.running_jobs.list_all(now_s=site.services.now_s())
        data = site.services.metric_data.read_samples(running, ["flops_any"], now_s=site.services.now_s()).data
        (series,) = data["flops_any"][Scope.NODE].series
        # eight threads with thread + minute / 8 each
        assert series.data.tolist() == [28.0, 29.0, 30.0]
        assert series.id is None

    def test_what_was_never_sent_is_absent_and_a_missed_minute_is_a_gap(self, site: Any) -> None:
        site.start_job()
        site.write_node("tn01", from_s=START_S, minutes=3, skip=[1])
        site.clock.advance(130)
        (running,) = site.services.running_jobs.list_all(now_s=site.services.now_s())
        data = site.services.metric_data.read_samples(running, now_s=site.services.now_s()).data
        assert "acc_utilization" not in data, "the job has no accelerator"
        values = data["mem_used"][Scope.NODE].series[0].data
        assert np.isnan(values).tolist() == [False, True, False]

    def test_the_archive_says_the_same_as_the_store_said(self, site: Any) -> None:
        site.archived_job(minutes=5)
        (archived,) = site.services.job_queries.find(JobFilter(), EVERYTHING, now_s=site.services.now_s()).jobs
        data = site.services.metric_data.read_samples(archived, ["mem_used"], now_s=site.services.now_s()).data
        assert data["mem_used"][Scope.NODE].series[0].data.tolist() == [10, 11, 12, 13, 14, 15]

    def test_another_jobs_threads_on_the_same_node_do_not_count(self, site: Any) -> None:
        site.start_job(jobId=1, resources=[{"hostname": "tn01", "hwthreads": [3]}], numHwthreads=1)
        site.write_node("tn01", from_s=START_S, minutes=2)
        site.clock.advance(60)
        (running,) = site.services.running_jobs.list_all(now_s=site.services.now_s())
        data = site.services.metric_data.read_samples(running, ["cpu_user"], now_s=site.services.now_s()).data
        assert data["cpu_user"][Scope.NODE].series[0].data.tolist() == [53.0, 53.0]


class TestThinning:
    def curve(self, count: int, timestep_s: int = 60) -> Any:
        values = np.arange(count, dtype=np.float32)
        return {"m": {Scope.NODE: JobMetric(MetricUnit("B"), timestep_s, [SampleSeries("h", values)])}}

    def test_it_keeps_ends_and_says_the_coarser_step(self) -> None:
        metric = downsample(self.curve(100), 240)["m"][Scope.NODE]
        assert metric.timestep_s == 240
        assert len(metric.series[0].data) == 25
        assert metric.series[0].data[[0, -1]].tolist() == [0.0, 99.0]

    @pytest.mark.parametrize(
        ("count", "resolution_s"), [(100, 60), (100, 90), (100, 150), (100, 241), (100, 30), (8, 240), (0, 240)]
    )
    def test_what_cannot_be_thinned_stays(self, count: int, resolution_s: int) -> None:
        metric = downsample(self.curve(count), resolution_s)["m"][Scope.NODE]
        assert metric.timestep_s == 60
        assert len(metric.series[0].data) == count


def test_a_store_elsewhere_is_asked_for_life_by_the_three_metrics_that_come_most_often(
    site_of: Any, tern: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """By slow ones every job would wait for minutes until it is archived."""
    often = {"mem_used": 10, "flops_any": 20, "cpu_power": 30, "load_one": 60, "mem_bw": 300, "cpu_user": 600}
    for metric in tern["metricConfig"]:
        metric["timestep"] = often.get(metric["name"], 900)
    site = site_of(clusters=[tern])
    site.start_job()
    site.clock.advance(600)
    site.stop_job()
    asked: list[list[str]] = []

    def silent_hosts(cluster: str, sub_cluster: str, hosts: Any, metrics: list[str], *, since_s: int) -> list[str]:
        asked.append([cluster, sub_cluster, *hosts, *metrics, str(since_s)])
        return []

    monkeypatch.setattr(site.services.store_router, "silent_hosts", silent_hosts)
    job = site.services.job_queries.get(1, EVERYTHING, now_s=site.services.now_s())
    assert site.services.metric_data.silent_hosts(job) == []
    assert asked == [["tern", "std", "tn01", "mem_used", "flops_any", "cpu_power", str(START_S + 600)]]
