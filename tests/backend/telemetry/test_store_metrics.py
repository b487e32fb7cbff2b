from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cc_backend.metricstore import MetricSpec, MetricStore, Query
from cc_backend.telemetry import store_metrics
from cc_backend.telemetry.exposition import render

T0 = 1_790_000_040


def scraped(store: MetricStore, read_exposition: Callable[[bytes], Any]) -> Any:
    families = [store_metrics.build_info_family(), *store_metrics.store_families(store.counters(), store.capacity(T0))]
    return {name.removeprefix("cc_backend_store_"): found for name, found in read_exposition(render(families)).items()}


@pytest.fixture
def found(tmp_path: Path, read_exposition: Callable[[bytes], Any]) -> Any:
    with MetricStore.open(tmp_path, {"demo": {"load": MetricSpec(60)}}, now_s=T0, fsync="always") as store:
        store.ingest(b"load,cluster=demo,hostname=n1 value=1 %d\nbad" % (T0 - 40), received_s=T0)
        store.query("demo", [Query("load", "n1")], from_s=T0, to_s=T0 + 60)
        store.snapshot(T0)
        return scraped(store, read_exposition)


def test_an_empty_store_in_memory_is_valid_text_too(read_exposition: Callable[[bytes], Any]) -> None:
    assert scraped(MetricStore.open(None, {}, now_s=T0), read_exposition)["restoring"].value() == 0


def test_lines_are_counted_by_what_became_of_them(found: Any) -> None:
    assert found["lines_total"].value(result="accepted", reason="") == 1
    assert found["lines_total"].value(result="rejected", reason="syntax") == 1


def test_lag_is_a_histogram_in_seconds(found: Any) -> None:
    lag = found["lag_seconds"]
    assert (lag.value("_count"), lag.value("_sum")) == (1, 40)
    assert (lag.value("_bucket", le="30.0"), lag.value("_bucket", le="60.0")) == (0, 1)


def test_each_kind_of_work_is_a_histogram(found: Any) -> None:
    counts = {work: found[f"{work}_seconds"].value("_count") for work in ("ingest", "log_append", "query", "snapshot")}
    assert counts == {"ingest": 1, "log_append": 1, "query": 1, "snapshot": 1}
    assert found["log_fsync_seconds"].value("_count") >= 1
    assert 0 < found["ingest_seconds"].value("_sum") < 60


def test_bytes_are_told_by_kind(found: Any) -> None:
    kinds = {kind: found["bytes"].value(kind=kind) for kind in ("hot", "cold", "tables", "log", "snapshots")}
    assert kinds["hot"] + kinds["cold"] == found["samples_bytes"].value()
    assert kinds["tables"] > 0
    assert kinds["log"] == 0  # the snapshot covers it
    assert kinds["snapshots"] > 0


def test_what_there_is_to_know_about_restarts_snapshots_and_the_cap(found: Any) -> None:
    for name in ("restore_progress_ratio", "snapshot_files", "snapshot_last_seconds", "memory_cap_bytes",
                 "memory_cap_step", "refusing", "unknown_hosts", "series", "hosts"):  # fmt: skip
        assert found[name].value() >= 0
    assert found["restore_progress_ratio"].value() == 1


def test_what_the_store_will_take_when_full_is_told_once_something_is_compressed(
    tmp_path: Path, read_exposition: Callable[[bytes], Any]
) -> None:
    metrics = {"demo": {"load": MetricSpec(60)}}
    with MetricStore.open(tmp_path, metrics, now_s=T0, retention_s=48 * 3600, hot_s=3600) as store:
        assert "full_bytes" not in scraped(store, read_exposition)
        for time_s in range(T0 - 12 * 3600, T0, 60):
            store.ingest(b"load,cluster=demo,hostname=n1 value=%d %d" % (time_s % 97, time_s), received_s=T0)
        store.upkeep(T0, {})
        report = store.capacity(T0)
        assert report.samples_per_s == pytest.approx(1 / 60)
        assert report.full_bytes is not None
        assert report.used_bytes < report.full_bytes < 6 * report.used_bytes
        families = [*store_metrics.store_families(store.counters(), report)]
        found = {family.name: family for family in families}["cc_backend_store_full_bytes"]
        assert [sample.value for sample in found.samples] == [report.full_bytes]
