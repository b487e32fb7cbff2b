from collections.abc import Callable
from datetime import UTC

import pytest

from cc_backend.metricstore import HostHealth, MetricSpec, MetricStore
from cc_backend.metricstore.gaps.reason_text import fault_text
from cc_backend.metricstore.ingest.host_config import ClusterHosts
from cc_backend.metricstore.model import HostPart, MetricFault

METRICS = {"demo": {"load": MetricSpec(60, "avg"), "power": MetricSpec(30, "sum")}}
NOW = 1_790_000_040
Put = Callable[..., None]


@pytest.fixture
def store() -> MetricStore:
    return MetricStore.open(None, METRICS, now_s=NOW)


def put(store: MetricStore, metric: str, age_s: int, tags: str = "", host: str = "n1") -> None:
    line = f"{metric},cluster=demo,hostname={host}{tags} value=1 {NOW - age_s}"
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


def test_what_is_wrong_comes_with_the_newest_sample_and_the_parts(store: MetricStore) -> None:
    put(store, "load", 3000)
    put(store, "power", 0, ",type=socket,type-id=0")
    put(store, "power", 600, ",type=socket,type-id=1")
    assert health(store, "load", "power", "nope").faults == {
        "load": MetricFault(NOW - 3000),
        "power": MetricFault(NOW - 600, (HostPart("socket", "1"),)),
        "nope": MetricFault(None),
    }


def test_series_of_jobs_end_with_their_jobs_which_is_no_fault(store: MetricStore) -> None:
    put(store, "load", 600, ",type=job,type-id=4711")
    assert health(store, "load").healthy == ("load",)
    put(store, "load", 600)
    assert health(store, "load").degraded == ("load",)


class TestWhatIsExpected:
    def test_what_most_hosts_of_a_kind_never_sent_is_not_missing(self, store: MetricStore) -> None:
        for host in ("n1", "n2", "n3", "n4", "n5"):
            put(store, "load", 0, host=host)
        put(store, "power", 0, host="n5")
        assert health(store) == HostHealth((), (), ("load",))
        assert health(store).unexpected == ("power",)
        assert store.host_health("demo", "n5", ["power"], now_s=NOW).healthy == ("power",)

    def test_what_most_others_send_is_missing(self, store: MetricStore) -> None:
        for host in ("n1", "n2", "n3", "n4", "n5"):
            put(store, "load", 0, host=host)
        for host in ("n2", "n3"):
            put(store, "power", 0, host=host)
        assert health(store).missing == ("power",)

    def test_what_a_host_sent_before_is_expected_whatever_others_do(self, store: MetricStore) -> None:
        for host in ("n1", "n2", "n3", "n4", "n5"):
            put(store, "load", 0, host=host)
        put(store, "power", 7200)
        assert health(store).degraded == ("power",)

    def test_few_others_prove_nothing(self, store: MetricStore) -> None:
        for host in ("n1", "n2", "n3"):
            put(store, "load", 0, host=host)
        assert health(store).missing == ("power",)

    def test_it_is_looked_at_again_after_ten_minutes(self, store: MetricStore) -> None:
        hosts = ("n1", "n2", "n3", "n4", "n5")
        for host in hosts:
            put(store, "load", 0, host=host)
        assert health(store).missing == ()
        for host in hosts[1:]:
            put(store, "power", 0, host=host)
        assert store.host_health("demo", "n1", ["power"], now_s=NOW + 599).missing == ()
        assert store.host_health("demo", "n1", ["power"], now_s=NOW + 600).missing == ("power",)

    def test_a_new_configuration_is_looked_at_anew(self, store: MetricStore) -> None:
        hosts = ("n1", "n2", "n3", "n4", "n5")
        for host in hosts:
            put(store, "load", 0, host=host)
        assert health(store).missing == ()
        for host in hosts[1:]:
            put(store, "power", 0, host=host)
        store.reload(METRICS)
        assert health(store).missing == ("power",)

    def test_only_hosts_of_the_same_subcluster_count(self) -> None:
        nodes = {"demo": ClusterHosts({f"n{at}": "cpu" if at < 5 else "gpu" for at in range(10)})}
        store = MetricStore.open(None, METRICS, host_table=nodes, now_s=NOW)
        for at in range(10):
            put(store, "load", 0, host=f"n{at}")
            if at > 5:
                put(store, "power", 0, host=f"n{at}")
        assert store.host_health("demo", "n1", ["power"], now_s=NOW).unexpected == ("power",)
        assert store.host_health("demo", "n5", ["power"], now_s=NOW).missing == ("power",)

    def test_an_unknown_host_is_expected_to_send_everything(self, store: MetricStore) -> None:
        for host in ("n2", "n3", "n4", "n5"):
            put(store, "load", 0, host=host)
        assert health(store).missing == ("load", "power")


@pytest.mark.parametrize(
    ("fault", "text"),
    [
        (MetricFault(None), "never came"),
        (MetricFault(NOW - 3600), "not since 13:14"),
        (MetricFault(NOW - 86400), "not since 14:14 on 20 September"),
        (MetricFault(NOW, (HostPart("accelerator", "3"),)), "not since 14:14 from accelerator 3"),
        (
            MetricFault(NOW, tuple(HostPart("core", str(at)) for at in range(6))),
            "not since 14:14 from core 0, core 1, core 2, core 3 and 2 more",
        ),
    ],
)
def test_a_fault_in_words(fault: MetricFault, text: str) -> None:
    assert fault_text(fault, now_s=NOW, zone=UTC) == text
