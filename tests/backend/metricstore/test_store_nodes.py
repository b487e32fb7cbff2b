"""The store with knowledge of hosts: what it takes of whom, and what changes when the configuration does."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from cc_backend.metricstore import Limits, MetricSpec, MetricStore, Query, RejectReason, StoredSeries
from cc_backend.metricstore.ingest.host_config import ClusterHosts

NOW_S = 1_790_000_000 // 3600 * 3600
METRICS = {"demo": {"load": MetricSpec(60, "sum"), "power": MetricSpec(60, "avg")}}
NODES = {
    "demo": ClusterHosts(
        {"n1": "std", "n2": "std", "g1": "gpu"},
        subcluster_metrics={"gpu": {"load": MetricSpec(10, "sum")}},
    )
}


def store_with(
    directory: Path | None = None,
    *,
    metrics: Mapping[str, Mapping[str, MetricSpec]] = METRICS,
    nodes: Mapping[str, ClusterHosts] | None = None,
    limits: Limits | None = None,
) -> MetricStore:
    return MetricStore.open(directory, metrics, host_table=nodes, now_s=NOW_S, limits=limits)


def line(host: str, metric: str = "load", value: float = 1, time_s: int = NOW_S, part: str = "") -> str:
    return f"{metric},cluster=demo,hostname={host}{part} value={value} {time_s}"


def send(store: MetricStore, *lines: str) -> Mapping[str, int]:
    return store.ingest("\n".join(lines).encode(), received_s=NOW_S).rejected


def read(store: MetricStore, host: str, metric: str = "load", *, seconds: int = 600) -> StoredSeries | None:
    (row,) = store.query("demo", [Query(metric, host)], from_s=NOW_S - seconds, to_s=NOW_S + 60)
    return row[0] if row else None


class TestSubclusters:
    def test_a_host_keeps_its_metrics_in_the_timestep_of_its_subcluster(self) -> None:
        store = store_with(nodes=NODES)
        send(store, *(line(host, value=at, time_s=NOW_S - 60 + at) for at in (0, 10, 20) for host in ("n1", "g1")))
        fast, slow = read(store, "g1"), read(store, "n1")
        assert fast is not None
        assert slow is not None
        assert (fast.timestep_s, slow.timestep_s) == (10, 60)
        assert fast.data[~np.isnan(fast.data)].tolist() == [0, 10, 20]
        assert slow.data[~np.isnan(slow.data)].tolist() == [20]
        store.validate()

    def test_a_metric_that_its_subcluster_does_not_have_is_not_kept(self) -> None:
        store = store_with(nodes=NODES)
        assert send(store, line("n1", "power"), line("g1", "power"), line("g1")) == {RejectReason.UNKNOWN_METRIC: 1}
        removed = read(store, "g1", "power")
        assert removed is not None
        assert removed.error == "metric 'power' is not configured for host 'g1' of cluster 'demo'"
        assert read(store, "g1", "load") is not None

    def test_health_and_reasons_go_by_the_subcluster(self) -> None:
        store = store_with(nodes=NODES)
        send(store, line("g1", time_s=NOW_S - 55))
        assert store.host_health("demo", "g1", ["load", "power"], now_s=NOW_S).degraded == ()
        assert store.host_health("demo", "g1", ["load", "power"], now_s=NOW_S + 60).degraded == ("load",)

    def test_a_host_can_move_to_another_subcluster(self) -> None:
        store = store_with(nodes=NODES)
        send(store, line("n2", value=7, time_s=NOW_S - 60), line("n2", "power", time_s=NOW_S - 60))
        store.reload(
            METRICS,
            host_table={"demo": ClusterHosts({"n2": "gpu"}, subcluster_metrics=NODES["demo"].subcluster_metrics)},
        )
        moved = read(store, "n2")
        assert moved is not None
        assert moved.timestep_s == 10
        assert moved.data[~np.isnan(moved.data)].tolist() == [7]
        assert send(store, line("n2", "power")) == {RejectReason.UNKNOWN_METRIC: 1}
        store.validate()


class TestHostsThatNobodyConfigured:
    def test_they_are_kept_and_counted(self) -> None:
        store = store_with(nodes=NODES)
        assert send(store, line("n1"), line("x1"), line("x1", "power"), line("x2")) == {}
        counters = store.counters()
        assert (counters.unknown_hosts, counters.unknown_host_lines) == (2, 3)
        assert store.hosts("demo") == ["n1", "x1", "x2"]

    def test_the_strict_refuse_them(self) -> None:
        store = store_with(nodes=NODES, limits=Limits(strict_hosts=True))
        batch = "\n".join([line("n1"), line("x1"), line("x1", "power"), line("x2")]).encode()
        result = store.ingest(batch, received_s=NOW_S)
        assert (result.accepted, result.rejected) == (1, {RejectReason.UNKNOWN_HOST: 3})
        assert result.errors == ()
        assert result.faulty_lines == 0
        counters = store.counters()
        assert (counters.unknown_hosts, counters.unknown_host_lines) == (2, 3)
        assert store.hosts("demo") == ["n1"]

    def test_without_a_list_of_nodes_the_strict_take_every_host(self) -> None:
        store = store_with(limits=Limits(strict_hosts=True))
        assert send(store, line("anyone")) == {}
        assert store.counters().unknown_hosts == 0

    def test_a_host_that_is_configured_later_is_taken_at_once(self) -> None:
        store = store_with(nodes=NODES, limits=Limits(strict_hosts=True))
        assert send(store, line("x1")) == {RejectReason.UNKNOWN_HOST: 1}
        store.reload(METRICS, host_table={"demo": ClusterHosts({"x1": "std"})})
        assert send(store, line("x1")) == {}
        assert store.counters().unknown_hosts == 0

    def test_a_host_that_is_no_longer_configured_is_refused_and_keeps_its_samples(self) -> None:
        store = store_with(nodes=NODES, limits=Limits(strict_hosts=True))
        send(store, line("n1", value=5))
        store.reload(METRICS, host_table={"demo": ClusterHosts({"n2": "std"})})
        assert send(store, line("n1", value=6)) == {RejectReason.UNKNOWN_HOST: 1}
        kept = read(store, "n1")
        assert kept is not None
        assert kept.data[-1] == 5
        store.validate()

    def test_they_leave_room_for_configured_ones(self) -> None:
        store = store_with(nodes=NODES, limits=Limits(hosts=5, unknown_hosts=2))
        assert send(store, *(line(f"x{number}") for number in range(100))) == {RejectReason.HOST_LIMIT: 98}
        assert send(store, line("n1"), line("n2"), line("g1")) == {}

    def test_what_they_sent_before_is_there_after_a_restart_however_strict(self, tmp_path: Path) -> None:
        with store_with(tmp_path, nodes=NODES) as store:
            send(store, line("x1", value=5))
        with store_with(tmp_path, nodes=NODES, limits=Limits(strict_hosts=True)) as store:
            kept = read(store, "x1")
            assert kept is not None
            assert kept.data[-1] == 5
            assert send(store, line("x1", value=6)) == {RejectReason.UNKNOWN_HOST: 1}


class TestSeriesOfJobs:
    def test_a_flood_of_job_ids_pushes_out_no_series_of_nodes(self) -> None:
        store = store_with(limits=Limits(series=50, job_series=20))
        send(store, *(line(f"n{number}", value=number) for number in range(25)))
        flood = [line("n1", part=f",type=job,type-id={number}") for number in range(500)]
        assert send(store, *flood) == {RejectReason.SERIES_LIMIT: 480}
        assert send(store, *(line(f"n{number}", "power") for number in range(25))) == {}
        assert all(read(store, f"n{number}") is not None for number in range(25))
        store.validate()

    def test_places_of_silent_jobs_are_free_again(self) -> None:
        store = store_with(limits=Limits(job_series=20))
        send(store, line("n1"))
        early = [line("n1", part=f",type=job,type-id={number}", time_s=NOW_S - 7200) for number in range(20)]
        late = [line("n1", part=f",type=job,type-id={number}") for number in range(100, 120)]
        assert send(store, *early) == {}
        assert send(store, *late) == {RejectReason.SERIES_LIMIT: 20}
        store.free(before_s=NOW_S - 48 * 3600, holds={})
        assert send(store, *late) == {}
        assert store.counters().series == 21
        store.validate()


SAMPLES = [(NOW_S - 600 + 60 * minute, float(minute)) for minute in range(10)]


class TestChangedTimestep:
    @pytest.mark.parametrize(
        ("timestep_s", "expected"),
        [
            (60, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]),
            (120, [1, 3, 5, 7, 9]),
            (30, [0, None, 1, None, 2, None, 3, None, 4, None, 5, None, 6, None, 7, None, 8, None, 9, None]),
            (3600, [9]),
        ],
    )
    @pytest.mark.parametrize("how", ["reload", "restart", "restart from a snapshot"])
    def test_samples_are_there_on_the_new_grid(
        self, timestep_s: int, expected: list[float | None], how: str, tmp_path: Path
    ) -> None:
        changed = {"demo": {"load": MetricSpec(timestep_s, "sum"), "power": MetricSpec(60, "avg")}}
        store = store_with(tmp_path)
        send(store, *(line("n1", metric, value, time_s) for time_s, value in SAMPLES for metric in ("load", "power")))
        if how == "restart from a snapshot":
            assert store.snapshot(NOW_S)
        if how == "reload":
            store.reload(changed)
        else:
            store.close()
            store = store_with(tmp_path, metrics=changed)
        with store:
            for metric, values in (("load", expected), ("power", list(range(10)))):
                (series,) = store.query("demo", [Query(metric, "n1")], from_s=NOW_S - 600, to_s=NOW_S)[0]
                assert series.timestep_s == (timestep_s if metric == "load" else 60)
                assert [None if np.isnan(x) else x for x in series.data.tolist()] == values
            store.validate()

    def test_new_samples_go_on_where_the_old_ones_end(self, tmp_path: Path) -> None:
        with store_with(tmp_path) as store:
            send(store, *(line("n1", value=value, time_s=time_s) for time_s, value in SAMPLES))
            store.reload({"demo": {"load": MetricSpec(10, "sum")}})
            send(store, *(line("n1", value=100 + at, time_s=NOW_S - 600 + 10 * at) for at in range(1, 6)))
            series = read(store, "n1")
            assert series is not None
            assert series.data[:8].tolist()[:7] == [0, 101, 102, 103, 104, 105, 1]
        with store_with(tmp_path, metrics={"demo": {"load": MetricSpec(10, "sum")}}) as store:
            again = read(store, "n1")
            assert again is not None
            assert again.data.tolist() == pytest.approx(series.data.tolist(), nan_ok=True)
            store.validate()

    def test_a_metric_that_was_away_comes_back_in_another_timestep(self) -> None:
        store = store_with()
        send(store, *(line("n1", value=value, time_s=time_s) for time_s, value in SAMPLES))
        store.reload({"demo": {"power": MetricSpec(60)}})
        gone = read(store, "n1")
        assert gone is not None
        assert gone.error == "metric 'load' is not configured for cluster 'demo'"
        store.reload({"demo": {"load": MetricSpec(120)}})
        (series,) = store.query("demo", [Query("load", "n1")], from_s=NOW_S - 600, to_s=NOW_S)[0]
        assert series.data.tolist() == [1, 3, 5, 7, 9]
        store.validate()

    def test_many_series_change_together(self) -> None:
        store = store_with()
        lines = [
            line("n1", value=10 * core + at, time_s=NOW_S - 60 * at, part=f",type=core,type-id={core}")
            for core in range(1100)
            for at in (2, 1)
        ]
        send(store, *lines)
        store.reload({"demo": {"load": MetricSpec(20)}})
        query = Query("load", "n1", "core", ("0", "77", "1099"))
        rows = store.query("demo", [query], from_s=NOW_S - 120, to_s=NOW_S)[0]
        assert [row.data[[0, 3]].tolist() for row in rows] == [[2, 1], [772, 771], [10992, 10991]]
        assert all(np.isnan(row.data[[1, 2, 4, 5]]).all() for row in rows)
        store.validate()
