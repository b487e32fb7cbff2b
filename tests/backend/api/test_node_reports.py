import copy
from typing import Any

import pytest

REPORT = {
    "cluster": "tern",
    "hostname": "tn01",
    "agentVersion": "0.1.0",
    "collectors": [
        {"name": "cpustat", "state": "works"},
        {"name": "rapl", "state": "fails", "problem": "no right to read RAPL", "advice": "give CAP_PERFMON"},
    ],
}


def send(site: Any, document: Any, **headers: Any) -> Any:
    return site.client.post("/api/nodes/report/", json=document, headers=site.headers(**headers))


def test_what_an_agent_reports_is_shown_to_who_sees_nodes(site: Any, tern: dict[str, Any]) -> None:
    description = copy.deepcopy(tern)
    description["subClusters"] = [{**description["subClusters"][0], "nodes": "tn01"}]
    assert send(site, {**REPORT, "description": description}).get_json() == {"changed": True}
    site.clock.advance(60)
    assert send(site, {**REPORT, "description": description}).get_json() == {"changed": False}
    found = site.client.get("/api/nodes/tern/tn01/report/", headers=site.headers()).get_json()
    assert (found["received"] - found["changed"], found["description"]["name"]) == (60, "tern")
    (listed,) = site.client.get("/api/nodes/reports/?cluster=tern", headers=site.headers()).get_json()["reports"]
    assert listed["failing"] == [{"name": "rapl", "problem": "no right to read RAPL", "advice": "give CAP_PERFMON"}]
    assert (listed["hostname"], listed["agentVersion"], listed["described"]) == ("tn01", "0.1.0", True)


def test_the_token_of_an_agent_writes_reports_of_its_cluster_and_reads_none(site: Any) -> None:
    headers = site.headers("api", scopes=["write"], clusters=["tern"])
    assert site.client.post("/api/nodes/report/", json=REPORT, headers=headers).status_code == 200
    answer = site.client.post("/api/nodes/report/", json={**REPORT, "cluster": "heron"}, headers=headers)
    assert (answer.status_code, answer.get_json()["code"]) == (403, "cluster_not_allowed")
    for path in ("/api/nodes/tern/tn01/report/", "/api/nodes/reports/?cluster=tern"):
        assert site.client.get(path, headers=headers).status_code == 403
    assert site.services.node_reports.counts() == {"tern": 1}


@pytest.mark.parametrize("roles", [("api", "user"), ("api", "manager")])
def test_users_and_managers_neither_write_nor_read_reports(site: Any, roles: tuple[str, ...]) -> None:
    send(site, REPORT)
    headers = site.headers(*roles)
    assert site.client.post("/api/nodes/report/", json=REPORT, headers=headers).status_code == 401
    for path in ("/api/nodes/tern/tn01/report/", "/api/nodes/reports/?cluster=tern"):
        assert site.client.get(path, headers=headers).status_code == 401


def test_a_token_of_another_cluster_reads_no_report(site: Any) -> None:
    send(site, REPORT)
    headers = site.headers("api", clusters=["heron"])
    for path in ("/api/nodes/tern/tn01/report/", "/api/nodes/reports/?cluster=tern"):
        answer = site.client.get(path, headers=headers)
        assert (answer.status_code, answer.get_json()["code"]) == (403, "cluster_not_allowed")


@pytest.mark.parametrize(
    ("document", "status", "code"),
    [
        ("x", 400, "invalid_input"),
        ({**REPORT, "hostname": "xx9"}, 400, "unknown_host"),
        ({**REPORT, "description": {}}, 400, "invalid_input"),
        ({**REPORT, "agentVersion": "x" * 2_000_000}, 413, "body_too_large"),
    ],
)
def test_a_wrong_report_is_refused(site: Any, document: Any, status: int, code: str) -> None:
    answer = send(site, document)
    assert (answer.status_code, answer.get_json()["code"]) == (status, code)


def test_a_list_needs_a_cluster_and_a_report_a_node(site: Any) -> None:
    for path, status in (
        ("/api/nodes/reports/", 400),
        ("/api/nodes/reports/?x=1", 400),
        ("/api/nodes/tern/tn02/report/", 404),
    ):
        assert site.client.get(path, headers=site.headers()).status_code == status
