"""Nodes over time: latest states, history of a node, shares of time."""

import csv
import io
from typing import Any

import pytest

from cc_backend.api import nodes
from cc_backend.api.nodes import MAX_RANGE_S


def report(site: Any, cluster: str = "tern", **states: str) -> None:
    nodes = [{"hostname": host, "states": state.split(), "cpusAllocated": 4} for host, state in states.items()]
    body = {"cluster": cluster, "nodes": nodes}
    assert site.client.post("/api/nodestate/", json=body, headers=site.headers()).status_code == 200


def ask(site: Any, path: str, *roles: str, **token: Any) -> Any:
    return site.client.get(path, headers=site.headers(*roles, **token))


@pytest.fixture
def busy(site: Any) -> Any:
    """tn01 is allocated for ten minutes, tn02 idle for five and down for five."""
    for minute in range(11):
        report(site, tn01="ALLOCATED DRAIN", tn02="IDLE" if minute < 5 else "DOWN")
        site.clock.advance(60)
    return site


def test_the_latest_state_of_each_node_with_counts(busy: Any) -> None:
    answer = ask(busy, "/api/nodes/").get_json()
    now_s = int(busy.clock())
    assert (answer["total"], answer["page"], answer["items"]) == (2, 1, 1000)
    assert answer["states"] == {"allocated": 1, "down": 1, "idle": 0, "mixed": 0, "reserved": 0, "unknown": 0}
    assert answer["nodes"][0] == {
        "cluster": "tern",
        "subCluster": "std",
        "hostname": "tn01",
        "state": "allocated",
        "states": ["ALLOCATED", "DRAIN"],
        "health": "failed",
        "missingMetrics": [
            "load_one",
            "cpu_user",
            "mem_used",
            "flops_any",
            "mem_bw",
            "cpu_power",
            "acc_utilization",
        ],
        "degradedMetrics": [],
        "cpusAllocated": 4,
        "memoryAllocated": 0,
        "gpusAllocated": 0,
        "jobsRunning": 0,
        "since": now_s - 660,
        "lastReport": now_s - 60,
    }


@pytest.mark.parametrize(
    ("query", "hosts"),
    [
        ("state=down", ["tn02"]),
        ("state=down&state=allocated", ["tn01", "tn02"]),
        ("state=mixed", []),
        ("cluster=tern", ["tn01", "tn02"]),
        ("subCluster=std", ["tn01", "tn02"]),
        ("subCluster=other", []),
        ("node=tn[01-02]", ["tn01", "tn02"]),
        ("node=tn02&node=tn09", ["tn02"]),
        ("items-per-page=1", ["tn01"]),
        ("items-per-page=1&page=2", ["tn02"]),
        ("items-per-page=1&page=3", []),
    ],
)
def test_nodes_are_filtered_and_paged(busy: Any, query: str, hosts: list[str]) -> None:
    answer = ask(busy, f"/api/nodes/?{query}").get_json()
    assert [node["hostname"] for node in answer["nodes"]] == hosts
    assert answer["total"] == (2 if "items" in query else len(hosts))


def test_the_history_of_a_node(busy: Any) -> None:
    now_s = int(busy.clock())
    answer = ask(busy, f"/api/nodes/tern/tn02/?from={now_s - 3600}&to={now_s}").get_json()
    assert [(span["from"], span["to"], span["state"], span["states"]) for span in answer["history"]] == [
        (now_s - 660, now_s - 360, "idle", ["IDLE"]),
        (now_s - 360, now_s, "down", ["DOWN"]),
    ]
    assert (answer["node"]["hostname"], answer["from"], answer["to"]) == ("tn02", now_s - 3600, now_s)
    assert (answer["truncated"], "at" in answer) == (False, False)


def test_who_was_on_a_node_at_a_time(busy: Any) -> None:
    begin_s = int(busy.clock())
    busy.start_job(jobId=1, resources=[{"hostname": "tn01"}])
    busy.start_job(jobId=2, resources=[{"hostname": "tn02"}])
    busy.clock.advance(300)
    busy.stop_job(job_id=1)
    busy.start_job(jobId=3, resources=[{"hostname": "tn01"}])
    busy.clock.advance(60)
    at = {
        moment: ask(busy, f"/api/nodes/tern/tn01/?at={moment}").get_json()["at"]
        for moment in (begin_s - 1, begin_s + 100, begin_s + 301)
    }
    assert [[job["jobId"] for job in found["jobs"]] for found in at.values()] == [[], [1], [3]]
    assert [found["totalJobs"] for found in at.values()] == [0, 1, 1]
    assert at[begin_s + 100]["state"]["states"] == ["ALLOCATED", "DRAIN"]
    assert at[begin_s + 100]["time"] == begin_s + 100


def test_private_tags_of_jobs_are_not_shown_to_others(busy: Any) -> None:
    busy.start_job(jobId=1, tags=[{"type": "note", "name": "mine", "scope": "service"}])
    now_s = int(busy.clock())
    for name, roles, count in (("service", ("api",), 1), ("root", ("admin", "api"), 0)):
        answer = ask(busy, f"/api/nodes/tern/tn01/?at={now_s}", *roles, name=name).get_json()
        assert len(answer["at"]["jobs"][0].get("tags", [])) == count


def test_shares_of_time_add_up(busy: Any) -> None:
    now_s = int(busy.clock())
    answer = ask(busy, f"/api/nodes/shares/?from={now_s - 660}&to={now_s - 60}&by=node").get_json()
    assert (answer["nodes"], answer["unknownHosts"]) == (2, [])
    assert answer["seconds"] == {"allocated": 600, "reserved": 0, "idle": 300, "mixed": 0, "down": 300, "unknown": 0}
    assert answer["shares"] == {"allocated": 0.5, "reserved": 0, "idle": 0.25, "mixed": 0, "down": 0.25, "unknown": 0}
    first, second = answer["groups"]
    assert (first["cluster"], first["subCluster"], first["hostname"], first["nodes"]) == ("tern", "std", "tn01", 1)
    assert (first["shares"]["allocated"], second["shares"]["idle"]) == (1, 0.5)


@pytest.mark.parametrize(
    ("by", "keys"),
    [
        ("cluster", {"cluster"}),
        ("subCluster", {"cluster", "subCluster"}),
        ("node", {"cluster", "subCluster", "hostname"}),
    ],
)
def test_shares_come_by_group(busy: Any, by: str, keys: set[str]) -> None:
    groups = ask(busy, f"/api/nodes/shares/?by={by}").get_json()["groups"]
    assert {frozenset(group) for group in groups} == {frozenset(keys | {"nodes", "seconds", "shares"})}


def test_shares_of_named_nodes_name_those_that_are_not_known(busy: Any) -> None:
    answer = ask(busy, "/api/nodes/shares/?node=tn[02-04]").get_json()
    assert (answer["nodes"], answer["unknownHosts"]) == (1, ["tn03", "tn04"])


def test_the_future_is_left_out(busy: Any) -> None:
    now_s = int(busy.clock())
    answer = ask(busy, f"/api/nodes/shares/?from={now_s - 60}&to={now_s + 9999}").get_json()
    assert (answer["to"], sum(answer["seconds"].values())) == (now_s, 120)


def test_without_a_range_it_is_the_last_day(busy: Any) -> None:
    answer = ask(busy, "/api/nodes/shares/").get_json()
    assert answer["to"] - answer["from"] == 86_400
    assert answer["shares"]["unknown"] == pytest.approx(1 - 660 / 86_400, abs=1e-5)


def test_without_nodes_all_is_zero(site: Any) -> None:
    answer = ask(site, "/api/nodes/shares/").get_json()
    assert (answer["nodes"], answer["groups"], set(answer["shares"].values())) == (0, [], {0})
    assert ask(site, "/api/nodes/").get_json()["nodes"] == []


# Attacks


@pytest.mark.parametrize(
    ("path", "status", "said"),
    [
        ("/api/nodes/?cluster=heron", 400, "'heron'"),
        ("/api/nodes/?cluster=%00", 400, "cluster"),
        ("/api/nodes/?state=sleeping", 400, "state must be one of"),
        ("/api/nodes/?stat=idle", 400, "did you mean 'state'"),
        ("/api/nodes/?node=tn[1-99999]", 400, "10000"),
        ("/api/nodes/?node=tn[", 400, "bracket"),
        ("/api/nodes/?node=*", 400, "*"),
        ("/api/nodes/?node=tn01'%20OR%20'1'='1", 400, "host list"),
        ("/api/nodes/?page=0", 400, "page"),
        ("/api/nodes/?page=99999999999999999999", 400, "page"),
        ("/api/nodes/?items-per-page=10001", 400, "items-per-page"),
        ("/api/nodes/shares/?by=user", 400, "by must be one of"),
        ("/api/nodes/shares/?from=5&to=5", 400, "from must lie before to"),
        ("/api/nodes/shares/?from=9999999999", 400, "from must lie before to"),
        ("/api/nodes/shares/?to=0", 400, "from must lie before to"),
        ("/api/nodes/shares/?from=-1", 400, "from"),
        ("/api/nodes/shares/?from=1e3", 400, "from must be an integer"),
        ("/api/nodes/shares/?from=1&to=1760000400", 400, "days apart"),
        ("/api/nodes/shares/?at=1", 400, "unknown query parameter"),
        ("/api/nodes/tern/tn01/?at=99999999999999999", 400, "at"),
        ("/api/nodes/tern/tn01/?from=99999999999999999999999", 400, "from"),
        ("/api/nodes/tern/tn09/", 404, "'tn09'"),
        ("/api/nodes/heron/tn01/", 404, "'heron'"),
        ("/api/nodes/tern/tn01%27%20OR%20%271%27=%271/", 404, "no state"),
        ("/api/nodes/tern/%25/", 404, "no state"),
        ("/api/nodes/tern/", 404, ""),
        ("/api/nodes/tern/..%2f..%2fetc/", 404, ""),
        (f"/api/nodes/tern/{'x' * 3000}/", 404, "no state"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(busy: Any, path: str, status: int, said: str) -> None:
    answer = ask(busy, path)
    assert answer.status_code == status, answer.text
    assert said in answer.get_json()["error"]


def test_a_range_has_a_limit(busy: Any) -> None:
    now_s = int(busy.clock())
    assert ask(busy, f"/api/nodes/shares/?from={now_s - MAX_RANGE_S}").status_code == 200
    assert ask(busy, f"/api/nodes/shares/?from={now_s - MAX_RANGE_S - 1}").status_code == 400


@pytest.mark.parametrize("path", ["/api/nodes/", "/api/nodes/tern/tn01/", "/api/nodes/shares/"])
@pytest.mark.parametrize(
    ("roles", "scopes", "status"),
    [
        (("api",), None, 200),
        (("admin", "api"), None, 200),
        (("support", "api"), None, 200),
        (("support",), ["read"], 200),
        (("api",), ["jobs"], 200),
        (("user", "api"), None, 401),
        (("manager", "api"), None, 401),
        (("admin",), None, 401),
        (("user",), ["read"], 403),
        (("manager", "api"), ["read"], 403),
        (("api",), ["write"], 403),
    ],
)
def test_nodes_are_for_staff_and_services(
    busy: Any, path: str, roles: tuple[str, ...], scopes: list[str] | None, status: int
) -> None:
    assert ask(busy, path, *roles, name="eve", scopes=scopes).status_code == status


@pytest.mark.parametrize(
    "path", ["/api/nodes/?cluster=tern", "/api/nodes/tern/tn01/", "/api/nodes/shares/?cluster=tern"]
)
def test_a_token_of_another_cluster_is_403(busy: Any, path: str) -> None:
    assert ask(busy, path, "api", clusters=["heron"]).status_code == 403


def test_a_token_of_another_cluster_sees_none_of_the_nodes(busy: Any) -> None:
    for path in ("/api/nodes/", "/api/nodes/?node=tn01", "/api/nodes/shares/?by=node"):
        answer = ask(busy, path, "api", clusters=["heron"])
        assert (answer.status_code, "tn0" in answer.text.replace("unknownHosts", "")) == (200, False)


def test_a_login_opens_none_of_them(busy: Any) -> None:
    user = busy.user("root", "admin", "api")
    busy.client.set_cookie("session", busy.services.sessions.create(user.name, busy.clock()))
    assert busy.client.get("/api/nodes/").status_code == 401


def test_too_many_nodes_one_by_one_are_refused(busy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cc_backend.api.nodes.MAX_NODES", 1)
    assert ask(busy, "/api/nodes/shares/?by=node").status_code == 413
    assert ask(busy, "/api/nodes/shares/").status_code == 200


def csv_rows(answer: Any) -> list[list[str]]:
    assert (answer.status_code, answer.content_type) == (200, "text/csv; charset=utf-8; header=present")
    return list(csv.reader(io.StringIO(answer.text, newline=""), strict=True))


def test_the_nodes_that_match_as_csv(busy: Any) -> None:
    header, *rows = csv_rows(ask(busy, "/api/nodes/?format=csv&state=allocated&state=down"))
    assert "memoryAllocated (MB)" in header
    assert [dict(zip(header, row, strict=True))["hostname"] for row in rows] == ["tn01", "tn02"]
    first = dict(zip(header, rows[0], strict=True))
    assert (first["state"], first["states"], first["lastReport"]) == (
        "allocated",
        "ALLOCATED DRAIN",
        "2025-10-09T09:10:00Z",
    )


def test_the_history_of_a_node_as_csv(busy: Any) -> None:
    header, *rows = csv_rows(ask(busy, "/api/nodes/tern/tn02/?format=csv"))
    states = [(row[0], row[1], row[header.index("state")]) for row in rows[-2:]]
    assert states == [
        ("2025-10-09T09:00:00Z", "2025-10-09T09:05:00Z", "idle"),
        ("2025-10-09T09:05:00Z", "2025-10-09T09:11:00Z", "down"),
    ]


def test_the_shares_of_time_as_csv(busy: Any) -> None:
    from_s = int(busy.clock()) - 660
    header, *rows = csv_rows(ask(busy, f"/api/nodes/shares/?format=csv&by=node&from={from_s}"))
    assert header[:4] == ["cluster", "subCluster", "hostname", "nodes"]
    shares = [(row[2], row[header.index("idle (s)")], row[header.index("idle (share)")]) for row in rows]
    assert shares == [("tn01", "0", "0.0"), ("tn02", "300", "0.454545")]


def test_tables_that_would_be_cut_are_errors(busy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "MAX_SPANS", 1)
    monkeypatch.setattr(nodes, "MAX_CSV_NODES", 1)
    for path in ("/api/nodes/?", "/api/nodes/tern/tn02/?"):
        answer = ask(busy, f"{path}format=csv")
        assert (answer.status_code, answer.get_json()["code"]) == (413, "answer_too_large")


@pytest.mark.parametrize("path", ["?page=2", "tern/tn01/?at=1760000400", "shares/?format=parquet", "?format=xml"])
def test_what_csv_cannot_say_is_refused(busy: Any, path: str) -> None:
    answer = busy.client.get(f"/api/nodes/{path}", headers={**busy.headers(), "Accept": "text/csv"})
    assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_parameter")


def test_a_user_gets_no_nodes_as_csv_either(busy: Any) -> None:
    assert ask(busy, "/api/nodes/?format=csv", "api", "user", name="ada").status_code == 401
