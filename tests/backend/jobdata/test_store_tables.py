"""What the metric store is told of the clusters."""

from typing import Any

from cc_backend.clusters import Cluster, ClusterRegistry, HostsInUse, parse_cluster
from cc_backend.jobdata.store_tables import build_metric_table, build_node_table, build_tables
from cc_backend.metricstore import MetricSpec
from cc_backend.metricstore.ingest.host_config import HostConfig


def clusters_of(*documents: dict[str, Any]) -> ClusterRegistry:
    return ClusterRegistry(
        {document["name"]: parse_cluster(document, source="cluster.json")[0] for document in documents}
    )


def nodes_of(document: dict[str, Any]) -> HostConfig:
    clusters = clusters_of(document)
    return HostConfig(build_metric_table(clusters), build_node_table(clusters))


def with_sub_clusters(document: dict[str, Any], **nodes: str) -> dict[str, Any]:
    """The document with one subcluster per name, all as its first."""
    first = document["subClusters"][0]
    return {**document, "subClusters": [{**first, "name": name, "nodes": hosts} for name, hosts in nodes.items()]}


def test_metrics_go_with_their_timestep_and_aggregation(tern: dict[str, Any]) -> None:
    tern["metricConfig"][0] |= {"timestep": 10, "aggregation": "avg"}
    assert build_metric_table(clusters_of(tern))["tern"]["load_one"] == MetricSpec(10, "avg")


def test_hosts_belong_to_the_first_subcluster_that_lists_them(tern: dict[str, Any]) -> None:
    tern["metricConfig"][0]["subClusters"] = [{"name": "old", "remove": True}]
    nodes = nodes_of(with_sub_clusters(tern, std="tn[01-02]", old="tn[02-03]"))
    assert [host for host in ("tn01", "tn02", "tn03", "tn04") if nodes.is_configured("tern", host)] == [
        "tn01",
        "tn02",
        "tn03",
    ]
    assert nodes.metric_spec("tern", "load_one", "tn02") == MetricSpec(60, "sum")
    assert nodes.metric_spec("tern", "load_one", "tn03") is None
    assert nodes.metric_spec("tern", "mem_used", "tn03") == MetricSpec(60, "sum")


def test_a_subcluster_for_all_gets_what_no_other_lists(tern: dict[str, Any]) -> None:
    tern["metricConfig"][0]["subClusters"] = [{"name": "rest", "remove": True}]
    nodes = nodes_of(with_sub_clusters(tern, rest="*", std="tn[01-02]", late="*"))
    assert nodes.is_configured("tern", "anyone")
    assert nodes.metric_spec("tern", "load_one", "anyone") is None
    assert nodes.metric_spec("tern", "load_one", "tn01") is not None


def test_a_cluster_that_names_no_host_takes_every_host(tern: dict[str, Any]) -> None:
    nodes = with_sub_clusters(tern, std="", old="")
    assert build_node_table(clusters_of(nodes)) == {}
    assert nodes_of(nodes).is_configured("tern", "anyone")


def test_subclusters_without_metrics_of_their_own_share_those_of_the_cluster(tern: dict[str, Any]) -> None:
    (nodes,) = build_node_table(clusters_of(tern)).values()
    assert nodes.subcluster_metrics == {}
    assert nodes.hosts == {"tn01": "std", "tn02": "std"}


class Earlier:
    """One earlier configuration, number 1."""

    def __init__(self, document: dict[str, Any]) -> None:
        self.cluster = parse_cluster(document, source="cluster.json")[0]

    def load(self, generation: int) -> Cluster | None:
        return self.cluster if generation == 1 else None

    def newest_with(self, cluster: str, sub_cluster: str) -> Cluster | None:
        return self.cluster if cluster == self.cluster.name and sub_cluster in self.cluster.sub_clusters else None

    def restricted(self, cluster: str) -> frozenset[str]:
        return frozenset() if cluster == self.cluster.name else frozenset({"?"})


class TestWhatJobsHold:
    HELD = HostsInUse("tern", "std", 1, frozenset({"tn01"}))

    def nodes(self, earlier: dict[str, Any], *present: dict[str, Any], held: HostsInUse = HELD) -> HostConfig:
        known = dict(clusters_of(*present).items())
        clusters = ClusterRegistry(known, generations=dict.fromkeys(known, 2), earlier=Earlier(earlier))
        return HostConfig(*build_tables(clusters, [held]))

    def without(self, tern: dict[str, Any], metric: str) -> dict[str, Any]:
        return {**tern, "metricConfig": [entry for entry in tern["metricConfig"] if entry["name"] != metric]}

    def test_a_metric_that_left_is_kept_of_their_hosts_only(self, tern: dict[str, Any]) -> None:
        nodes = self.nodes(tern, self.without(tern, "mem_used"))
        assert nodes.metric_spec("tern", "mem_used", "tn01") == MetricSpec(60, "sum")
        assert nodes.metric_spec("tern", "mem_used", "tn02") is None
        assert nodes.metric_spec("tern", "load_one", "tn02") is not None

    def test_a_host_that_left_stays_with_what_it_was(self, tern: dict[str, Any]) -> None:
        nodes = self.nodes(tern, with_sub_clusters(tern, std="tn02"))
        assert nodes.is_configured("tern", "tn01")
        assert nodes.metric_spec("tern", "mem_used", "tn01") is not None

    def test_a_cluster_that_left_keeps_their_hosts_and_no_others(self, tern: dict[str, Any]) -> None:
        nodes = self.nodes(tern)
        assert [nodes.is_configured("tern", host) for host in ("tn01", "tn02")] == [True, False]
        assert nodes.metric_spec("tern", "mem_used", "tn01") is not None

    def test_a_cluster_that_names_no_host_still_takes_every_host(self, tern: dict[str, Any]) -> None:
        nodes = self.nodes(tern, with_sub_clusters(self.without(tern, "mem_used"), std="", old=""))
        assert nodes.is_configured("tern", "anyone")
        assert nodes.metric_spec("tern", "mem_used", "anyone") is None
        assert nodes.metric_spec("tern", "mem_used", "tn01") is not None

    def test_nothing_changes_where_nothing_left(self, tern: dict[str, Any]) -> None:
        clusters = clusters_of(tern)
        assert build_tables(clusters, [self.HELD]) == (build_metric_table(clusters), build_node_table(clusters))

    def test_hosts_of_a_subcluster_that_nobody_knows_are_nobodys(self, tern: dict[str, Any]) -> None:
        clusters = clusters_of(tern)
        held = HostsInUse("tern", "never", 9, frozenset({"x"}))
        assert build_tables(clusters, [held]) == build_tables(clusters)
