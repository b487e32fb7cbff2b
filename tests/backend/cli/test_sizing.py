"""How many series the configured clusters will have."""

from pathlib import Path
from typing import Any

import pytest

from cc_backend.cli.sizing import node_groups
from cc_backend.clusters import ClusterRegistry, load_clusters


def test_every_node_counts_each_metric_at_its_native_scope(site: Any) -> None:
    clusters = site.services.clusters
    by_hand = 0
    for sub_cluster in clusters["tern"].sub_clusters.values():
        for metric in sub_cluster.metrics.values():
            by_hand += len(sub_cluster.hosts) * sub_cluster.topology.unit_count(metric.scope)
    assert sum(kind.series for kind in node_groups(clusters)) == by_hand > 0


@pytest.fixture
def fritz(shared_fixtures: Path) -> ClusterRegistry:
    clusters, _ = load_clusters(shared_fixtures / "job-archive")
    return clusters


def test_the_size_of_a_real_cluster_is_what_its_people_count(fritz: ClusterRegistry) -> None:
    only = ClusterRegistry({"fritz": fritz["fritz"]})
    nodes = sum(len(sub_cluster.hosts) for sub_cluster in only["fritz"].sub_clusters.values())
    series = sum(kind.series for kind in node_groups(only))
    assert nodes > 900
    assert 300 < series / nodes < 900
