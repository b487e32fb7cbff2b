"""Earlier configurations: which is which, and what of them holds for a job that started with one."""

import copy
from typing import Any

import orjson
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cc_backend.clusters import Cluster, find_removals, parse_cluster
from cc_backend.clusters.generations import content_digest, merge_started_with_current
from cc_backend.model import MetricUnit, Scope


def cluster_of(document: dict[str, Any]) -> Cluster:
    return parse_cluster(document, source="cluster.json")[0]


def changed(tern: dict[str, Any], metric: str, **entry: Any) -> dict[str, Any]:
    document = copy.deepcopy(tern)
    next(one for one in document["metricConfig"] if one["name"] == metric).update(entry)
    return document


def test_a_configuration_survives_being_written_and_read(tern: dict[str, Any]) -> None:
    cluster = cluster_of(tern)
    again = cluster_of(orjson.loads(orjson.dumps(cluster.document)))
    assert again == cluster
    assert content_digest(again) == content_digest(cluster)


def test_another_order_of_keys_is_the_same_configuration(tern: dict[str, Any]) -> None:
    assert content_digest(cluster_of(dict(reversed(tern.items())))) == content_digest(cluster_of(tern))
    assert content_digest(cluster_of(changed(tern, "mem_used", peak=65))) != content_digest(cluster_of(tern))


def test_how_things_are_measured_is_as_it_was_at_the_start(tern: dict[str, Any]) -> None:
    now = changed(
        tern,
        "mem_used",
        unit={"base": "B", "prefix": "M"},
        scope="socket",
        timestep=10,
        footprint="avg",
        energy="power",
    )
    before, after = cluster_of(tern).sub_clusters["std"], cluster_of(now).sub_clusters["std"]
    config = merge_started_with_current(before, after).metrics["mem_used"]
    assert (config.unit, config.scope, config.timestep_s) == (MetricUnit("B", "G"), Scope.NODE, 60)
    assert (config.footprint, config.energy) == ("max", "")


def test_what_was_said_since_about_values_holds_at_once(tern: dict[str, Any]) -> None:
    now = changed(tern, "mem_used", peak=128, normal=100, caution=110, alert=120, restrict=True)
    before, after = cluster_of(tern).sub_clusters["std"], cluster_of(now).sub_clusters["std"]
    config = merge_started_with_current(before, after).metrics["mem_used"]
    assert (config.peak, config.normal, config.caution, config.alert, config.restrict) == (128, 100, 110, 120, True)


def test_metrics_that_came_later_are_added_and_those_that_left_stay(tern: dict[str, Any]) -> None:
    now = copy.deepcopy(tern)
    now["metricConfig"][0]["name"] = "new"
    before, after = cluster_of(tern).sub_clusters["std"], cluster_of(now).sub_clusters["std"]
    assert merge_started_with_current(before, after).metrics.keys() == {*before.metrics, "new"}


def test_a_subcluster_that_left_is_as_it_was(tern: dict[str, Any]) -> None:
    before = cluster_of(tern).sub_clusters["std"]
    assert merge_started_with_current(before, None) is before


class TestDepartures:
    def test_nothing_leaves_an_unchanged_cluster(self, tern: dict[str, Any]) -> None:
        assert not find_removals(cluster_of(tern), cluster_of(tern))

    def test_of_a_cluster_that_goes_everything_leaves(self, tern: dict[str, Any]) -> None:
        assert find_removals(cluster_of(tern), None).sub_clusters == ("std", "fat")

    def test_a_metric_is_named_with_each_subcluster_that_loses_it(self, tern: dict[str, Any]) -> None:
        now = changed(tern, "mem_used", subClusters=[{"name": "std", "remove": True}])
        assert find_removals(cluster_of(tern), cluster_of(now)).metrics == (("std", "mem_used"),)

    def test_a_host_that_another_subcluster_takes_does_not_leave(self, tern: dict[str, Any]) -> None:
        now = copy.deepcopy(tern)
        first = now["subClusters"][0]
        first["nodes"] = "tn[01-03]"
        assert find_removals(cluster_of(tern), cluster_of(now)).hosts == ("tn04",)
        now["subClusters"].append({**first, "name": "rest", "nodes": "*"})
        assert find_removals(cluster_of(tern), cluster_of(now)).hosts == ()


@given(st.sets(st.sampled_from(["cpu_load", "mem_used", "cpu_power"]), max_size=2))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_leaves_and_what_stays_is_everything_that_was(tern: dict[str, Any], gone: set[str]) -> None:
    whole, document = cluster_of(tern), tern
    now = {**document, "metricConfig": [one for one in document["metricConfig"] if one["name"] not in gone]}
    after = cluster_of(now)
    assert {metric for _, metric in find_removals(whole, after).metrics} == gone
    assert gone | after.metrics.keys() == whole.metrics.keys()
