"""Which nodes report, in words, before and while jobs run."""

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cc_backend.clusters import Cluster, parse_cluster
from cc_backend.jobs.node_reports import CollectorState
from cc_backend.metricstore import RejectReason, UnknownName
from cc_backend.web.reporting_nodes import (
    MAX_FAILURES,
    MAX_LIST_CHARACTERS,
    MAX_SILENT_GROUPS,
    MAX_UNKNOWN_NAMES,
    describe_failing_sensors,
    describe_reporting_nodes,
    describe_unknown_names,
    reporting_window_s,
)

NOW_S = 1_760_000_400  # 11:00 in Berlin
ZONE = ZoneInfo("Europe/Berlin")
JOBS_PASSWORD = "a long enough one"


def cluster_of(tern: dict[str, Any], nodes: str, timestep: int = 60) -> Cluster:
    tern["subClusters"][0]["nodes"] = nodes
    for metric in tern["metricConfig"]:
        metric["timestep"] = timestep
    return parse_cluster(tern, source="cluster.json")[0]


def test_all_of_them_report(tern: dict[str, Any]) -> None:
    found = describe_reporting_nodes(cluster_of(tern, "n[1-2]"), {"n1": NOW_S, "n2": NOW_S - 100}, now_s=NOW_S)
    assert (found.words, found.all_report, found.silent) == ("2 of 2 nodes reported in the last 3 min", True, ())


def test_silent_ones_are_named_together_the_latest_first(tern: dict[str, Any]) -> None:
    heard = {"n1": NOW_S, "n2": NOW_S - 3600, "n3": NOW_S - 3601, "n7": NOW_S - 90_000}
    found = describe_reporting_nodes(cluster_of(tern, "n[1-8]"), heard, now_s=NOW_S, zone=ZONE)
    assert found.words == "1 of 8 nodes reported in the last 3 min"
    assert [(group.names, group.since) for group in found.silent] == [
        ("n2", "last heard of today 10:00"),
        ("n3", "last heard of today 09:59"),
        ("n7", "last heard of Wed 10:00"),
        ("n[4-6,8]", "never heard of"),
    ]


def test_of_many_only_the_first_are_named(tern: dict[str, Any]) -> None:
    heard = {f"n{at}": NOW_S - 3600 - 60 * at for at in range(20)}
    found = describe_reporting_nodes(cluster_of(tern, "n[0-19]"), heard, now_s=NOW_S)
    assert (len(found.silent), found.more_silent) == (MAX_SILENT_GROUPS, 20 - MAX_SILENT_GROUPS)


def test_a_long_list_of_nodes_is_cut(tern: dict[str, Any]) -> None:
    (group,) = describe_reporting_nodes(
        cluster_of(tern, "n[" + ",".join(map(str, range(1, 999, 2))) + "]"), {}, now_s=NOW_S
    ).silent
    assert len(group.names) == MAX_LIST_CHARACTERS + 1


def test_a_cluster_that_takes_every_host_counts_those_that_it_has(tern: dict[str, Any]) -> None:
    found = describe_reporting_nodes(cluster_of(tern, "*"), {"a": NOW_S, "b": NOW_S - 900}, now_s=NOW_S)
    assert (found.words, [group.names for group in found.silent]) == ("1 node reported in the last 3 min", ["b"])


def test_a_cluster_that_nobody_sent_to(tern: dict[str, Any]) -> None:
    assert not describe_reporting_nodes(cluster_of(tern, "*"), {}, now_s=NOW_S).all_report
    assert describe_reporting_nodes(cluster_of(tern, "n[1-3]"), {}, now_s=NOW_S).silent[0].names == "n[1-3]"


@pytest.mark.parametrize(("timestep", "window_s"), [(1, 120), (60, 180), (600, 1800)])
def test_a_node_may_take_three_timesteps(tern: dict[str, Any], timestep: int, window_s: int) -> None:
    assert reporting_window_s(cluster_of(tern, "n1", timestep)) == window_s


def test_the_words_of_the_scheduler_are_counted(tern: dict[str, Any]) -> None:
    found = describe_reporting_nodes(cluster_of(tern, "n1"), {}, now_s=NOW_S, states={"idle": 3, "down": 1})
    assert found.scheduler == "1 down, 3 idle"


def test_names_that_are_not_configured_are_told_newest_first() -> None:
    seen = [
        (RejectReason.UNKNOWN_CLUSTER, UnknownName("trn", "", "tern")),
        (RejectReason.UNKNOWN_METRIC, UnknownName("memused", "tern", "mem_used")),
        (RejectReason.UNKNOWN_HOST, UnknownName("x9", "tern")),
    ]
    lines, more = describe_unknown_names(seen)
    assert lines == [
        "node x9 of tern",
        "metric memused of tern: did you mean mem_used?",
        "cluster trn: did you mean tern?",
    ]
    assert more == 0
    assert describe_unknown_names(seen * 20)[1] == 60 - MAX_UNKNOWN_NAMES


class TestTheStartPage:
    def page(self, site: Any, role: str) -> str:
        site.user(f"some-{role}", role, password=JOBS_PASSWORD)
        client = site.app.test_client()
        client.post("/login", data={"username": f"some-{role}", "password": JOBS_PASSWORD})
        return str(client.get("/").text).replace("\u00a0", " ")

    @pytest.mark.parametrize("role", ["admin", "support"])
    def test_shows_who_reports_before_any_job(self, site: Any, role: str) -> None:
        site.write_node("tn01", from_s=int(site.clock()), minutes=1)
        text = self.page(site, role)
        assert "1 of 2 nodes reported in the last 3 min" in text
        assert "<b>tn02</b>" in text

    @pytest.mark.parametrize("role", ["user", "manager"])
    def test_shows_nodes_to_nobody_else(self, site: Any, role: str) -> None:
        assert 'id="h-nodes"' not in self.page(site, role)

    def test_shows_administrators_what_is_not_configured(self, site: Any) -> None:
        line = f"laod_one,cluster=tern,hostname=tn01 value=1 {int(site.clock())}\n"
        site.client.post("/api/write/", data=line, headers=site.headers())
        assert "metric laod_one of tern: did you mean load_one?" in self.page(site, "admin")
        assert "laod_one" not in self.page(site, "support")

    def test_shows_hostile_names_as_text(self, site: Any) -> None:
        line = f"<script>,cluster=tern,hostname=tn01 value=1 {int(site.clock())}\n"
        site.client.post("/api/write/", data=line, headers=site.headers())
        text = self.page(site, "admin")
        assert "metric &lt;script&gt; of tern" in text

    def test_shows_what_the_scheduler_says(self, site: Any) -> None:
        body = {"cluster": "tern", "nodes": [{"hostname": "tn01", "states": ["idle"]}]}
        assert site.client.post("/api/nodestate/", json=body, headers=site.headers()).status_code == 200
        assert "Scheduler: 1 idle" in self.page(site, "admin")

    def test_says_that_no_cluster_is_configured(self, site_of: Any) -> None:
        assert "No cluster is configured" in self.page(site_of(clusters=[]), "admin")

    @pytest.mark.parametrize("role", ["admin", "support"])
    def test_says_which_sensors_fail_where_and_what_to_do(self, site: Any, role: str) -> None:
        failing = {"name": "rapl", "state": "fails", "problem": "no right <b>", "advice": "give CAP_PERFMON"}
        for host in ("tn01", "tn02"):
            body = {"cluster": "tern", "hostname": host, "collectors": [failing]}
            assert site.client.post("/api/nodes/report/", json=body, headers=site.headers()).status_code == 200
        text = self.page(site, role)
        assert "<b>tern: rapl</b> on tn[01-02] (2 nodes): no right &lt;b&gt;" in text
        assert "To do: give CAP_PERFMON" in text

    def test_says_nothing_of_sensors_while_all_work(self, site: Any) -> None:
        assert "Sensors that fail" not in self.page(site, "admin")


def test_of_many_failing_sensors_those_of_most_nodes_are_shown() -> None:
    failures = [(CollectorState(f"c{n}", "fails", "x"), ["n1"]) for n in range(MAX_FAILURES + 3)]
    shown, more = describe_failing_sensors("tern", failures)
    assert ([sensors.collector for sensors in shown][:2], len(shown), more) == (["c0", "c1"], MAX_FAILURES, 3)
