import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from cc_backend.metricstore import MetricSpec, MetricStore, Query
from cc_backend.metricstore.capacity import Step
from cc_backend.metricstore.gaps.analysis import GapQuery
from cc_backend.metricstore.ingest.host_config import ClusterHosts
from cc_backend.model import DataGap, GapReason

METRICS = {
    "demo": {
        "load": MetricSpec(60, "avg"),
        "flops": MetricSpec(60, "sum"),
        "net": MetricSpec(60, "sum"),
        "hourly": MetricSpec(3600, ""),
    }
}
T0 = 1_790_000_040
NOW = T0 + 7200


@pytest.fixture
def store() -> MetricStore:
    return MetricStore.open(None, METRICS, now_s=T0 - 86400)


def put(store: MetricStore, host: str, metric: str, minutes: Iterable[int], tags: str = "") -> None:
    lines = [f"{metric},cluster=demo,hostname={host}{tags} value=1 {T0 + 60 * minute}" for minute in minutes]
    assert store.ingest("\n".join(lines).encode(), received_s=NOW).accepted == len(lines)


def ask(
    store: MetricStore, query: Query, minutes: int = 100, now_s: int = NOW, from_s: int = T0
) -> list[tuple[GapReason, tuple[str, ...], int, int]]:
    (found,) = store.explain_gaps("demo", [GapQuery(query, from_s, T0 + 60 * minutes)], now_s=now_s)
    return [(one.reason, one.hosts, (one.from_s - T0) // 60, (one.to_s - T0) // 60) for one in found]


def test_complete_series_lack_nothing(store: MetricStore) -> None:
    put(store, "n1", "load", range(100))
    assert ask(store, Query("load", "n1")) == []


def test_an_agent_that_was_silent_is_told_from_to(store: MetricStore) -> None:
    for metric in ("load", "flops"):
        put(store, "n1", metric, [*range(20), *range(88, 100)])
    assert ask(store, Query("load", "n1")) == [(GapReason.HOST_SILENT, ("n1",), 20, 88)]


def test_a_metric_that_stopped_while_others_came_is_told_apart(store: MetricStore) -> None:
    put(store, "n1", "load", range(100))
    put(store, "n1", "flops", range(30), ",type=hwthread,type-id=3")
    assert ask(store, Query("flops", "n1")) == [(GapReason.METRIC_SILENT_ON_HOST, ("n1",), 30, 100)]


def test_a_host_that_nobody_has_seen_and_a_metric_that_it_never_sent(store: MetricStore) -> None:
    put(store, "n1", "load", range(100))
    put(store, "n2", "net", range(100))
    assert ask(store, Query("load", "n9")) == [(GapReason.HOST_NEVER_SEEN, ("n9",), 0, 100)]
    assert ask(store, Query("net", "n1")) == [(GapReason.METRIC_NEVER_SEEN_ON_HOST, ("n1",), 0, 100)]


def test_a_metric_that_no_host_ever_sent_is_no_fault_of_one(store: MetricStore) -> None:
    put(store, "n1", "load", range(100))
    assert ask(store, Query("net", "n1")) == [(GapReason.METRIC_NEVER_SEEN, (), 0, 100)]


def test_only_the_parts_that_were_asked_for_count(store: MetricStore) -> None:
    put(store, "n1", "load", range(100))
    put(store, "n1", "flops", range(100), ",type=accelerator,type-id=0")
    put(store, "n1", "flops", range(40), ",type=accelerator,type-id=1")
    one = Query("flops", "n1", "accelerator", ("1",), aggregate=True)
    assert ask(store, one) == [(GapReason.METRIC_SILENT_ON_HOST, ("n1",), 40, 100)]
    assert ask(store, Query("flops", "n1", "accelerator", ("0", "1"), aggregate=True)) == []


def test_a_metric_that_is_not_configured(store: MetricStore) -> None:
    assert ask(store, Query("nope", "n1"))[0][0] is GapReason.METRIC_NOT_CONFIGURED


def test_a_metric_that_the_subcluster_of_the_host_does_not_have() -> None:
    metrics = {"cpu": {"load": METRICS["demo"]["load"]}}
    nodes = {"demo": ClusterHosts({"n1": "cpu", "n2": "gpu"}, subcluster_metrics=metrics)}
    store = MetricStore.open(None, METRICS, host_table=nodes, now_s=T0 - 86400)
    assert ask(store, Query("flops", "n1"))[0][0] is GapReason.METRIC_NOT_ON_SUBCLUSTER
    assert ask(store, Query("flops", "n2"))[0][0] is GapReason.HOST_NEVER_SEEN


def test_a_job_between_two_samples_is_too_short(store: MetricStore) -> None:
    put(store, "n1", "load", range(100))
    assert ask(store, Query("hourly", "n1"), minutes=10, from_s=T0 + 60)[0][0] is GapReason.JOB_SHORTER_THAN_TIMESTEP


def test_the_first_samples_of_a_new_job_are_on_their_way(store: MetricStore) -> None:
    assert ask(store, Query("load", "n1"), minutes=3, now_s=T0 + 120)[0][0] is GapReason.FIRST_SAMPLES_PENDING


def test_what_is_older_than_the_store_keeps(store: MetricStore) -> None:
    now_s = T0 + 48 * 3600 + 50 * 60
    assert ask(store, Query("load", "n1"), now_s=now_s) == [
        (GapReason.OLDER_THAN_RETENTION, (), 0, 50),
        (GapReason.HOST_NEVER_SEEN, ("n1",), 50, 100),
    ]


def test_what_was_freed_before_its_time_is_no_silence(store: MetricStore) -> None:
    put(store, "n1", "load", range(-200, 100))
    assert store.free(before_s=T0, holds={}) > 0
    found = ask(store, Query("load", "n1"), from_s=T0 - 200 * 60)
    assert [why for why, _, _, _ in found] == [GapReason.OLDER_THAN_RETENTION]


def test_what_gave_way_to_the_cap_is_no_silence() -> None:
    metrics = {"demo": {f"load{number}": MetricSpec(60) for number in range(50)}}
    store = MetricStore.open(None, metrics, now_s=T0, cap_bytes=1_000_000, retention_s=7 * 86400)
    chance = np.random.default_rng(1)
    for hour in range(24):
        lines = [
            f"load{number},cluster=demo,hostname=n{host} value={chance.normal()} {T0 + hour * 3600 + minute * 60}"
            for number in range(50)
            for host in range(4)
            for minute in range(60)
        ]
        store.ingest("\n".join(lines).encode(), received_s=T0 + hour * 3600 + 3600)
    now_s = T0 + 24 * 3600
    store.upkeep(now_s, {})
    assert store.capacity(0).memory.cap_step >= Step.DROP
    found = ask(store, Query("load0", "n1"), minutes=24 * 60, now_s=now_s + 600)
    assert [why for why, _, _, _ in found] == [GapReason.OLDER_THAN_RETENTION]


def test_time_in_which_no_store_ran_is_told(tmp_path: Path) -> None:
    with MetricStore.open(tmp_path, METRICS, now_s=T0) as store:
        put(store, "n1", "load", range(20))
    (tmp_path / "runs").write_text(f"alive {T0 + 20 * 60}\n")
    for segment in tmp_path.glob("*.wal"):
        os.utime(segment, (T0, T0 + 20 * 60))
    with MetricStore.open(tmp_path, METRICS, now_s=T0 + 60 * 60) as store:
        put(store, "n1", "load", range(60, 100))
        assert ask(store, Query("load", "n1")) == [(GapReason.STORE_DOWN, (), 20, 60)]


def test_while_older_samples_are_read_back_nobody_is_blamed_for_them() -> None:
    class Restoring(MetricStore):
        restoring = property(lambda _: True)  # type: ignore[assignment]  # for as long as the test takes

    store = Restoring.open(None, METRICS, now_s=T0 + 50 * 60)
    put(store, "n1", "load", range(50, 90))
    assert ask(store, Query("load", "n1")) == [
        (GapReason.STORE_RESTORING, (), 0, 50),
        (GapReason.HOST_SILENT, ("n1",), 90, 100),
    ]


def test_the_last_sample_of_a_host_from_before_the_job_is_known(store: MetricStore) -> None:
    put(store, "n1", "load", [-30])
    (found,) = store.explain_gaps("demo", [GapQuery(Query("load", "n1"), T0, NOW)], now_s=NOW)
    assert found == [DataGap(GapReason.HOST_SILENT, ("n1",), T0, NOW - 180, last_sample_s=T0 - 1800, is_ongoing=True)]


def test_questions_are_answered_in_their_order(store: MetricStore) -> None:
    put(store, "n1", "load", range(100))
    asked = [GapQuery(Query(metric, host), T0, T0 + 6000) for metric, host in (("load", "n2"), ("load", "n1"))]
    assert [len(found) for found in store.explain_gaps("demo", asked, now_s=NOW)] == [1, 0]
