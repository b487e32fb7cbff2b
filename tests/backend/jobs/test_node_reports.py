import copy
import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.clusters import ClusterRegistry, parse_cluster
from cc_backend.db.database import Database
from cc_backend.errors import InvalidInput, NotFound, TooLarge
from cc_backend.jobs import node_reports
from cc_backend.jobs.node_reports import KEPT_S, CollectorState, NodeReports, parse_report, report_to_json

NOW_S = 1_760_000_000


def described(tern: dict[str, Any], host: str = "tn01") -> dict[str, Any]:
    """The description that an agent of tern makes of its node."""
    document = copy.deepcopy(tern)
    document["subClusters"] = [{**document["subClusters"][0], "nodes": host}]
    return document


def report(host: str = "tn01", cluster: str = "tern", **more: Any) -> dict[str, Any]:
    collectors = [
        {"name": "cpustat", "state": "works"},
        {"name": "rapl", "state": "fails", "problem": "no right to read RAPL", "advice": "give CAP_PERFMON"},
        {"name": "nvidia", "state": "absent", "problem": "no NVIDIA driver"},
    ]
    return {"cluster": cluster, "hostname": host, "agentVersion": "0.1.0", "collectors": collectors, **more}


@pytest.fixture
def reports(database: Database, tern: dict[str, Any]) -> NodeReports:
    return NodeReports(database, ClusterRegistry({"tern": parse_cluster(tern, source="tern")[0]}))


def test_a_report_is_kept_as_it_was_sent_with_the_times_of_the_last_and_of_the_last_change(
    reports: NodeReports, tern: dict[str, Any]
) -> None:
    sent = parse_report(report(description=described(tern)))
    assert reports.store(sent, NOW_S)
    assert not reports.store(sent, NOW_S + 60)
    found = reports.load("tern", "tn01")
    assert found == dataclasses.replace(sent, received_s=NOW_S + 60, changed_s=NOW_S)
    assert parse_report(json.loads(json.dumps(report_to_json(found)))) == sent
    assert reports.store(parse_report(report()), NOW_S + 120)
    assert (reports.load("tern", "tn01").changed_s, reports.load("tern", "tn01").description) == (NOW_S + 120, None)


def test_what_fails_is_what_somebody_can_help() -> None:
    assert parse_report(report()).failing == (
        CollectorState("rapl", "fails", "no right to read RAPL", "give CAP_PERFMON"),
    )


def test_what_fails_for_one_reason_is_said_once_with_its_hosts(reports: NodeReports, database: Database) -> None:
    ipmi = {"name": "ipmistat", "state": "fails", "problem": "no BMC", "advice": ""}
    reports.store(parse_report(report("tn01")), NOW_S)
    reports.store(parse_report(report("tn02", collectors=[ipmi, *report()["collectors"]])), NOW_S)
    rapl = parse_report(report()).failing[0]
    assert reports.failures("tern") == [
        (rapl, ["tn01", "tn02"]),
        (CollectorState("ipmistat", "fails", "no BMC"), ["tn02"]),
    ]
    database.run_sql("UPDATE node_report SET failing = '[1' WHERE hostname = 'tn01'")
    assert reports.failures("tern")[1] == (rapl, ["tn02"])
    reports.store(parse_report(report("tn02", collectors=[])), NOW_S)
    assert reports.failures("tern") == []


def test_the_nodes_that_know_their_hardware_are_described(reports: NodeReports, tern: dict[str, Any]) -> None:
    reports.store(parse_report(report("tn01", description=described(tern))), NOW_S)
    reports.store(parse_report(report("tn02")), NOW_S)
    found = dict(reports.described("tern"))
    assert [next(iter(cluster.sub_clusters.values())).nodes for cluster in found.values()] == ["tn01"]
    assert list(found) == ["the report of tn01"]
    assert [entry.hostname for entry in reports.of_cluster("tern")] == ["tn01", "tn02"]
    assert list(reports.of_cluster("heron")) == []


def test_a_host_that_a_configured_cluster_lacks_is_refused_and_an_unconfigured_cluster_is_not(
    reports: NodeReports,
) -> None:
    with pytest.raises(InvalidInput, match="has no host 'xx9'"):
        reports.store(parse_report(report("xx9")), NOW_S)
    reports.store(parse_report(report("h1", "heron")), NOW_S)
    assert reports.counts() == {"heron": 1}
    with pytest.raises(NotFound, match="has sent no report"):
        reports.load("tern", "xx9")


def test_there_is_an_end_to_nodes_that_nobody_configured(reports: NodeReports, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_reports, "MAX_UNCONFIGURED_NODES", 2)
    for host, cluster in (("a", "heron"), ("b", "egret")):
        reports.store(parse_report(report(host, cluster)), NOW_S)
    with pytest.raises(TooLarge, match="add the cluster"):
        reports.store(parse_report(report("c", "stork")), NOW_S)
    reports.store(parse_report(report("a", "heron", agentVersion="0.2.0")), NOW_S)
    reports.store(parse_report(report("tn01")), NOW_S)
    monkeypatch.setattr(node_reports, "MAX_NODES", 1)
    with pytest.raises(TooLarge, match="reports of 1 nodes"):
        reports.store(parse_report(report("tn02")), NOW_S)


def test_reports_of_nodes_that_are_silent_for_long_are_removed(reports: NodeReports) -> None:
    reports.store(parse_report(report("tn01")), NOW_S)
    reports.store(parse_report(report("tn02")), NOW_S + 1000)
    assert reports.prune(NOW_S + KEPT_S) == 1
    assert [entry.hostname for entry in reports.of_cluster("tern")] == ["tn02"]


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"cluster": "tern"}', '{"cluster": 1, "hostname": "x"}'])
def test_a_damaged_report_costs_no_other_one(reports: NodeReports, database: Database, content: str) -> None:
    for host in ("tn01", "tn02"):
        reports.store(parse_report(report(host)), NOW_S)
    database.run_sql("UPDATE node_report SET content = ? WHERE hostname = ?", content, "tn01")
    assert [entry.hostname for entry in reports.of_cluster("tern")] == ["tn02"]
    with pytest.raises(NotFound):
        reports.load("tern", "tn01")
    assert reports.store(parse_report(report("tn01", agentVersion="2")), NOW_S)


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "must be an object"),
        ({}, "cluster: must be a string of 1 to"),
        ({"cluster": "tern"}, "hostname: must be"),
        (report(hostname="x" * 257), "hostname: must be"),
        (report(hostname="a\nb"), "hostname: must not have control characters"),
        (report(agentVersion=1), "agentVersion: must be"),
        (report(agentVersion="x" * 101), "agentVersion: must be"),
        (report(collectors={}), "collectors: must be an array"),
        (report(collectors=[{"name": "x", "state": "works"}] * 201), "collectors: must be an array"),
        (report(collectors=["cpustat"]), r"collectors\[0\]: must be an object"),
        (report(collectors=[{"state": "works"}]), r"collectors\[0\]\.name: must be"),
        (report(collectors=[{"name": "x", "state": "sleeps"}]), r"collectors\[0\]\.state: must be one of"),
        (report(collectors=[{"name": "x", "state": "fails", "problem": "x" * 1001}]), r"collectors\[0\]\.problem"),
        (report(collectors=[{"name": "x", "state": "fails", "problem": "\x1b[2J"}]), "control characters"),
        (report(description=[]), "description"),
        (report(description={"name": "tern"}), "description"),
    ],
)
def test_what_is_no_report_is_refused_with_what_is_wrong(document: Any, message: str) -> None:
    with pytest.raises(InvalidInput, match=message):
        parse_report(document)


@pytest.mark.parametrize("change", [{"name": "heron"}, {"nodes": "tn02"}, {"nodes": "tn[01-02]"}])
def test_an_agent_describes_its_own_node_only(tern: dict[str, Any], change: dict[str, str]) -> None:
    document = described(tern)
    document.update({key: value for key, value in change.items() if key == "name"})
    document["subClusters"][0].update({key: value for key, value in change.items() if key == "nodes"})
    with pytest.raises(InvalidInput, match="alone"):
        parse_report(report(description=document))


@given(
    st.recursive(
        st.none() | st.booleans() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner)
            | st.dictionaries(
                st.sampled_from(["cluster", "hostname", "collectors", "name", "state", "description"]), inner
            )
        ),
    )
)
def test_any_json_is_a_report_or_refused(document: Any) -> None:
    try:
        parsed = parse_report(document)
    except InvalidInput:
        return
    assert parsed.cluster
    assert parsed.hostname
