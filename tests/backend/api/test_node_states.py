from typing import Any

import pytest

NODE = {"hostname": "tn01", "states": ["MIXED"], "cpusAllocated": 4, "memoryAllocated": 64000, "gpusAllocated": 0}


def report(site: Any, *nodes: dict[str, Any], path: str = "/api/nodestate/", cluster: str = "tern", **more: Any) -> Any:
    body = {"cluster": cluster, "nodes": list(nodes)}
    return site.client.post(path, json=body, headers=more.get("headers") or site.headers())


@pytest.mark.parametrize("path", ["/api/nodestate", "/api/nodestate/", "/api/healthcheck", "/metricstore/healthcheck/"])
def test_check_4_a_report_in_slurms_upper_case_is_200(site: Any, path: str) -> None:
    answer = report(site, NODE, {**NODE, "hostname": "tn02", "states": ["IDLE", "DRAIN"]}, path=path)
    assert (answer.status_code, answer.get_json()["accepted"]) == (200, 2)
    assert [(node.hostname, node.state) for node in site.services.node_states.latest("tern")] == [
        ("tn01", "mixed"),
        ("tn02", "idle"),
    ]


def test_hosts_that_no_subcluster_has_are_counted_and_named(site: Any) -> None:
    answer = report(site, NODE, {**NODE, "hostname": "xx9"})
    assert answer.get_json() == {"accepted": 1, "rejected": 1, "unknownHosts": ["xx9"]}


def test_health_follows_from_the_samples_that_came(site: Any) -> None:
    site.write_node("tn01", from_s=int(site.clock()), minutes=1)
    site.write(f"load_one,cluster=tern,hostname=tn02,type=node value=1 {int(site.clock())}")
    report(site, NODE, {**NODE, "hostname": "tn02"})
    assert [node.health for node in site.services.node_states.latest("tern")] == ["full", "partial"]


def test_an_unknown_cluster_is_400_and_named(site: Any) -> None:
    answer = report(site, NODE, cluster="heron")
    assert (answer.status_code, "'heron'" in answer.get_json()["error"]) == (400, True)


def test_the_name_of_a_cluster_is_suggested_to_those_who_may_know_it(site: Any) -> None:
    assert report(site, NODE, cluster="tren").get_json()["error"].endswith("did you mean 'tern'?")
    limited = report(site, NODE, cluster="tren", headers=site.headers("api", clusters=["heron"]))
    assert (limited.status_code, "'tern'" in limited.text) == (403, False)


@pytest.mark.parametrize(
    ("node", "field"),
    [
        ({"hostname": 5}, "nodes[0].hostname"),
        ({"hostname": "tn01", "states": "IDLE"}, "nodes[0].states"),
        ({"hostname": "tn01", "cpusAllocated": 1.5}, "nodes[0].cpusAllocated"),
        ("tn01", "nodes[0]"),
    ],
)
def test_a_wrong_field_is_400_and_named(site: Any, node: Any, field: str) -> None:
    answer = report(site, node)
    assert (answer.status_code, answer.get_json()["field"]) == (400, field)


def test_a_number_that_no_row_can_hold_is_400(site: Any) -> None:
    assert report(site, {**NODE, "memoryAllocated": 2**70}).status_code == 400


def test_a_token_bound_to_another_cluster_is_403(site: Any) -> None:
    answer = report(site, NODE, headers=site.headers("api", clusters=["heron"]))
    assert answer.status_code == 403
    assert site.services.node_states.latest("tern") == []
