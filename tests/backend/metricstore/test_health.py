from collections.abc import Callable

import pytest

from cc_backend.metricstore import HostHealth, MetricSpec, MetricStore

METRICS = {"demo": {"load": MetricSpec(60, "avg"), "power": MetricSpec(30, "sum")}}
NOW = 1_790_000_040
Put = Callable[..., None]


@pytest.fixture
def store() -> MetricStore:
    return MetricStore.open(None, METRICS, now_s=NOW)


def put(store: MetricStore, metric: str, age_s: int, tags: str = "") -> None:
    line = f"{metric},cluster=demo,hostname=n1{tags} value=1 {NOW - age_s}"
    assert store.ingest(line.encode(), received_s=NOW).accepted == 1


def health(store: MetricStore, *metrics: str) -> HostHealth:
    return store.host_health("demo", "n1", metrics or ("load", "power"), now_s=NOW)


def test_a_host_with_fresh_samples_of_all_metrics_is_full(store: MetricStore) -> None:
    put(store, "load", 60)
    put(store, "power", 0)
    assert health(store) == HostHealth((), (), ("load", "power"))
    assert health(store).state == "full"


def test_an_unknown_host_is_failed(store: MetricStore) -> None:
    assert health(store) == HostHealth(("load", "power"), (), (), known=False)
    assert health(store).state == "failed"


def test_a_metric_without_series_or_without_configuration_is_missing(store: MetricStore) -> None:
    put(store, "load", 0)
    found = health(store, "load", "power", "nope")
    assert found.missing == ("power", "nope")
    assert found.state == "partial"


def test_a_host_without_any_healthy_metric_is_failed(store: MetricStore) -> None:
    put(store, "load", 3000)
    assert health(store, "load", "power").state == "failed"


def test_with_nothing_expected_of_it_a_known_host_is_full(store: MetricStore) -> None:
    put(store, "load", 0)
    assert store.host_health("demo", "n1", (), now_s=NOW).state == "full"


@pytest.mark.parametrize(
    ("metric", "age_s", "healthy"),
    [("load", 300, True), ("load", 420, False), ("power", 150, True), ("power", 210, False)],
)
def test_a_series_is_stale_after_five_timesteps(
    store: MetricStore,
    metric: str,
    age_s: int,
    healthy: bool,  # noqa: FBT001 a parameter
) -> None:
    put(store, metric, age_s)
    assert health(store, metric).healthy == ((metric,) if healthy else ())
    assert health(store, metric).degraded == (() if healthy else (metric,))


def test_one_stale_part_degrades_the_metric(store: MetricStore) -> None:
    put(store, "power", 0, ",type=socket,type-id=0")
    put(store, "power", 600, ",type=socket,type-id=1")
    assert health(store, "power").degraded == ("power",)


def test_a_part_that_is_gone_for_an_hour_no_longer_counts(store: MetricStore) -> None:
    put(store, "power", 0, ",type=accelerator,type-id=0")
    put(store, "power", 3700, ",type=accelerator,type-id=1")
    assert health(store, "power").healthy == ("power",)


def test_when_all_parts_are_silent_the_metric_stays_degraded(store: MetricStore) -> None:
    put(store, "power", 3700, ",type=accelerator,type-id=0")
    assert health(store, "power").degraded == ("power",)
