import pytest

from cc_backend.metricstore.ingest.host_config import ClusterHosts, HostConfig
from cc_backend.metricstore.model import MetricSpec

METRICS = {"demo": {"load": MetricSpec(60), "gpu": MetricSpec(60)}, "other": {"load": MetricSpec(30)}}
OLD = {"load": MetricSpec(60)}
FAST = {"load": MetricSpec(10, "avg"), "gpu": MetricSpec(10)}
DEMO = ClusterHosts({"n1": "old", "n2": "fast", "n3": "plain"}, subcluster_metrics={"old": OLD, "fast": FAST})


@pytest.mark.parametrize(
    ("host", "load", "gpu"),
    [
        ("n1", MetricSpec(60), None),
        ("n2", MetricSpec(10, "avg"), MetricSpec(10)),
        ("n3", MetricSpec(60), MetricSpec(60)),
        ("stranger", MetricSpec(60), MetricSpec(60)),
    ],
)
def test_a_host_has_the_metrics_of_its_subcluster_else_those_of_the_cluster(
    host: str, load: MetricSpec, gpu: MetricSpec | None
) -> None:
    nodes = HostConfig(METRICS, {"demo": DEMO})
    assert nodes.metric_spec("demo", "load", host) == load
    assert nodes.metric_spec("demo", "gpu", host) == gpu


def test_a_subcluster_may_take_all_other_hosts() -> None:
    nodes = HostConfig(
        METRICS,
        {"demo": ClusterHosts(DEMO.hosts, default_subcluster="old", subcluster_metrics=DEMO.subcluster_metrics)},
    )
    assert nodes.metric_spec("demo", "gpu", "anyone") is None
    assert nodes.metric_spec("demo", "gpu", "n2") == MetricSpec(10)
    assert nodes.is_configured("demo", "anyone")


def test_the_subcluster_of_a_host_is_told_where_the_configuration_says() -> None:
    nodes = HostConfig(METRICS, {"demo": DEMO, "other": ClusterHosts({"n1": "a"}, default_subcluster="b")})
    assert [nodes.subcluster("demo", host) for host in ("n1", "stranger")] == ["old", None]
    assert [nodes.subcluster("other", host) for host in ("n1", "stranger")] == ["a", "b"]
    assert nodes.subcluster("third", "n1") is None


def test_hosts_that_no_subcluster_names_are_not_listed() -> None:
    nodes = HostConfig(METRICS, {"demo": DEMO})
    assert [nodes.is_configured("demo", host) for host in ("n1", "n3", "stranger", "")] == [True, True, False, False]


def test_without_a_list_of_nodes_every_host_is_listed() -> None:
    assert HostConfig(METRICS).is_configured("demo", "anyone")
    assert HostConfig(METRICS, {"demo": DEMO}).is_configured("other", "anyone")
    assert HostConfig(METRICS, {"demo": DEMO}).metric_spec("other", "load", "anyone") == MetricSpec(30)


def test_a_cluster_that_is_not_configured_has_no_metrics() -> None:
    assert HostConfig(METRICS, {"gone": DEMO}).metric_specs("nowhere", "n1") == {}
    assert HostConfig(METRICS).metric_spec("nowhere", "load", "n1") is None


def test_hosts_of_one_subcluster_share_their_metrics() -> None:
    nodes = HostConfig(METRICS, {"demo": ClusterHosts({"a": "old", "b": "old"}, subcluster_metrics={"old": OLD})})
    assert nodes.metric_specs("demo", "a") is nodes.metric_specs("demo", "b")
