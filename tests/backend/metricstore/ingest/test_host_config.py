import pytest

from cc_backend.metricstore.ingest.host_config import ClusterNodes, Nodes
from cc_backend.metricstore.model import MetricSpec

METRICS = {"demo": {"load": MetricSpec(60), "gpu": MetricSpec(60)}, "other": {"load": MetricSpec(30)}}
OLD = {"load": MetricSpec(60)}
FAST = {"load": MetricSpec(10, "avg"), "gpu": MetricSpec(10)}
DEMO = ClusterNodes({"n1": "old", "n2": "fast", "n3": "plain"}, metrics={"old": OLD, "fast": FAST})


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
    nodes = Nodes(METRICS, {"demo": DEMO})
    assert nodes.spec("demo", "load", host) == load
    assert nodes.spec("demo", "gpu", host) == gpu


def test_a_subcluster_may_take_all_other_hosts() -> None:
    nodes = Nodes(METRICS, {"demo": ClusterNodes(DEMO.hosts, rest="old", metrics=DEMO.metrics)})
    assert nodes.spec("demo", "gpu", "anyone") is None
    assert nodes.spec("demo", "gpu", "n2") == MetricSpec(10)
    assert nodes.lists("demo", "anyone")


def test_the_subcluster_of_a_host_is_told_where_the_configuration_says() -> None:
    nodes = Nodes(METRICS, {"demo": DEMO, "other": ClusterNodes({"n1": "a"}, rest="b")})
    assert [nodes.sub_cluster("demo", host) for host in ("n1", "stranger")] == ["old", None]
    assert [nodes.sub_cluster("other", host) for host in ("n1", "stranger")] == ["a", "b"]
    assert nodes.sub_cluster("third", "n1") is None


def test_hosts_that_no_subcluster_names_are_not_listed() -> None:
    nodes = Nodes(METRICS, {"demo": DEMO})
    assert [nodes.lists("demo", host) for host in ("n1", "n3", "stranger", "")] == [True, True, False, False]


def test_without_a_list_of_nodes_every_host_is_listed() -> None:
    assert Nodes(METRICS).lists("demo", "anyone")
    assert Nodes(METRICS, {"demo": DEMO}).lists("other", "anyone")
    assert Nodes(METRICS, {"demo": DEMO}).spec("other", "load", "anyone") == MetricSpec(30)


def test_a_cluster_that_is_not_configured_has_no_metrics() -> None:
    assert Nodes(METRICS, {"gone": DEMO}).specs("nowhere", "n1") == {}
    assert Nodes(METRICS).spec("nowhere", "load", "n1") is None


def test_hosts_of_one_subcluster_share_their_metrics() -> None:
    nodes = Nodes(METRICS, {"demo": ClusterNodes({"a": "old", "b": "old"}, metrics={"old": OLD})})
    assert nodes.specs("demo", "a") is nodes.specs("demo", "b")
