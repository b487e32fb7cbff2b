"""The routes of cc-metric-store: who may read raw samples, and what is answered over HTTP."""

import gzip
import json
from typing import Any

import numpy as np
import pytest

from cc_backend.auth.caller import Caller
from cc_backend.auth.permissions import Permission, require_permission
from cc_backend.errors import NotAllowed
from cc_backend.metricstore import MetricStore
from cc_backend.metricstore.query.binary_codec import MEDIA_TYPE, decode

NOW_S = 1_760_000_400
LINE = "load_one,cluster=tern,hostname=tn01,type=node"
LINES = [f"{LINE} value={4 + minute} {NOW_S + minute * 60}" for minute in range(3)]
REQUEST = {
    "cluster": "tern",
    "from": NOW_S,
    "to": NOW_S + 180,
    "with-stats": True,
    "with-data": True,
    "queries": [{"metric": "load_one", "host": "tn01", "resolution": 0, "aggreg": False}],
    "for-all-nodes": None,
}


@pytest.fixture
def filled(site: Any) -> Any:
    site.clock.advance(180)
    site.write(*LINES)
    return site


def ask(site: Any, method: str = "GET", path: str = "/api/query", headers: Any = None, **changes: Any) -> Any:
    body = json.dumps({**REQUEST, **changes})
    return site.client.open(path, method=method, data=body, headers=site.headers() if headers is None else headers)


class TestQuery:
    @pytest.mark.parametrize(
        "path", ["/api/query", "/api/query/", "/api/query?version=v2", "/api/query/?version=v1", "/metricstore/query"]
    )
    @pytest.mark.parametrize("method", ["GET", "POST"])
    def test_get_with_a_body_and_post_say_the_same(self, filled: Any, method: str, path: str) -> None:
        answer = ask(filled, method, path)
        assert (answer.status_code, answer.content_type) == (200, "application/json")
        assert answer.get_json()["results"] == [
            [{"data": [4, 5, 6], "from": NOW_S, "to": NOW_S + 180, "resolution": 60, "avg": 5, "min": 4, "max": 6}]
        ]

    def test_a_compressed_request_is_read(self, filled: Any) -> None:
        body = gzip.compress(json.dumps(REQUEST).encode())
        headers = {**filled.headers(), "Content-Encoding": "gzip"}
        assert filled.client.post("/api/query", data=body, headers=headers).get_json()["results"][0][0]["avg"] == 5

    def test_the_binary_answer_is_given_to_who_accepts_it(self, filled: Any) -> None:
        answer = ask(filled, headers={**filled.headers(), "Accept": f"{MEDIA_TYPE}, application/json;q=0.5"})
        assert (answer.content_type, answer.headers["Vary"]) == (MEDIA_TYPE, "Accept, Accept-Encoding")
        ((series,),) = decode(answer.data).rows
        assert series.data is not None
        assert (series.data.tolist(), series.avg) == ([4, 5, 6], 5)

    def test_what_is_no_request_is_400_in_json_also_for_who_accepts_binary(self, filled: Any) -> None:
        headers = {**filled.headers(), "Accept": MEDIA_TYPE}
        answer = filled.client.post("/api/query", data=b"{", headers=headers)
        assert (answer.status_code, answer.content_type) == (400, "application/json")
        assert answer.get_json()["status"] == "Bad Request"

    def test_too_much_at_once_is_413(self, site_of: Any) -> None:
        site = site_of(settings={"main": {"max-json-bytes": 4096}})
        assert ask(site, queries=REQUEST["queries"] * 60).status_code == 413  # type: ignore[operator]

    def test_a_range_of_a_thousand_years_is_413(self, filled: Any) -> None:
        answer = ask(filled, to=2**40)
        assert answer.status_code == 413
        assert "limit" in answer.get_json()["error"]


class TestWhoMayRead:
    @pytest.mark.parametrize("route", ["/api/query", "/api/healthcheck", "/api/debug"])
    @pytest.mark.parametrize(
        ("roles", "scopes"),
        [
            (("user",), None),
            (("api", "user"), None),
            (("api", "manager"), None),
            (("api", "support"), None),
            (("user",), ["read"]),
            (("manager",), ["read"]),
            (("api",), ["write"]),
            (("api",), ["jobs"]),
        ],
        ids=str,
    )
    def test_samples_of_any_host_are_not_for_users(
        self, filled: Any, roles: tuple[str, ...], scopes: list[str] | None, route: str
    ) -> None:
        """Nodes are shared: who may read raw samples of a host reads those of other people's jobs."""
        answer = ask(filled, path=route, headers=filled.headers(*roles, scopes=scopes))
        assert answer.status_code in {401, 403}
        assert "results" not in answer.get_json()

    @pytest.mark.parametrize("permission", [Permission.METRICS_READ, Permission.METRICS_ADMIN])
    def test_a_scope_that_the_account_may_not_grant_opens_nothing(self, permission: Permission) -> None:
        forged = Caller("eve", frozenset({"user"}), scopes=frozenset({"read", "admin"}))
        with pytest.raises(NotAllowed):
            require_permission(forged, permission)

    @pytest.mark.parametrize(
        ("roles", "scopes"), [(("api",), None), (("api",), ["read"]), (("admin",), ["read"]), (("support",), ["read"])]
    )
    def test_services_and_staff_may(self, filled: Any, roles: tuple[str, ...], scopes: list[str] | None) -> None:
        assert ask(filled, headers=filled.headers(*roles, scopes=scopes)).status_code == 200

    def test_a_token_bound_to_clusters_reads_nothing_elsewhere(self, filled: Any) -> None:
        bound = filled.headers("api", scopes=["read"], clusters=["heron"])
        answer = ask(filled, headers=bound)
        assert (answer.status_code, "'tern'" in answer.get_json()["error"]) == (403, True)

    def test_a_token_bound_to_clusters_learns_nothing_of_hosts_elsewhere(self, filled: Any) -> None:
        asked = {"cluster": "tern", "nodes": ["tn01"], "metric-names": ["load_one"], "with-reasons": True}
        for clusters, status in ((["heron"], 403), (["tern", "heron"], 200)):
            bound = filled.headers("api", scopes=["read"], clusters=clusters)
            answer = filled.client.get("/api/healthcheck", data=json.dumps(asked), headers=bound)
            assert (answer.status_code, "tn01" in answer.get_json()) == (status, status == 200)

    def test_an_administrators_token_bound_to_clusters_looks_into_these_only(self, filled: Any) -> None:
        own, other = (filled.headers("admin", scopes=["admin"], clusters=[name]) for name in ("tern", "heron"))
        assert filled.client.get("/api/debug", headers=own).get_json() == {"data": {"tern": {"hosts": 1}}}
        assert filled.client.get("/api/debug", headers=other).get_json() == {"data": {}}
        for selector in ("tern", "tern:tn01"):
            assert filled.client.get(f"/api/debug?selector={selector}", headers=own).status_code == 200
            answer = filled.client.get(f"/api/debug?selector={selector}", headers=other)
            assert (answer.status_code, "'tern'" in answer.get_json()["error"]) == (403, True)

    @pytest.mark.parametrize("selectors", [[[]], [["tern"]], [["heron"], ["tern", "tn01"]], [["heron"], []]])
    def test_an_administrators_token_bound_to_clusters_frees_nothing_elsewhere(
        self, filled: Any, selectors: Any
    ) -> None:
        own, other = (filled.headers("admin", scopes=["admin"], clusters=[name]) for name in ("tern", "heron"))
        path = f"/api/free?to={NOW_S + 86_400}"
        assert filled.client.post(path, data=json.dumps(selectors), headers=other).status_code == 403
        assert filled.services.store.clusters() == ["tern"]
        assert filled.client.post(path, data='[["tern"]]', headers=own).status_code == 200
        assert filled.services.store.clusters() == []

    @pytest.mark.parametrize("scope", ["read", "write", "jobs"])
    def test_only_the_scope_admin_frees_and_looks_inside(self, filled: Any, scope: str) -> None:
        headers = filled.headers("api", scopes=[scope])
        assert filled.client.post(f"/api/free?to={NOW_S}", data="[[]]", headers=headers).status_code == 403
        assert filled.client.get("/api/debug", headers=headers).status_code == 403
        admin = filled.headers("admin", scopes=["admin"])
        assert filled.client.post(f"/api/free?to={NOW_S}", data="[[]]", headers=admin).status_code == 200


class TestFree:
    def free(self, site: Any, to_s: Any, body: Any) -> Any:
        return site.client.post(f"/api/free?to={to_s}", data=json.dumps(body), headers=site.headers())

    def test_it_frees_below_its_selectors_only(self, filled: Any) -> None:
        filled.write(LINES[0].replace("tn01", "tn02"))
        answer = self.free(filled, NOW_S + 86_400, [["tern", "tn02"]])
        assert (answer.status_code, answer.mimetype) == (200, "text/plain")
        assert answer.text.startswith("buffers freed: ")
        assert filled.services.store.hosts("tern") == ["tn01"]
        assert ask(filled).get_json()["results"][0][0]["data"] == [4, 5, 6]

    @pytest.mark.parametrize("selectors", [[[]], [["tern"]]])
    def test_a_cluster_or_everything_can_be_named(self, filled: Any, selectors: Any) -> None:
        assert self.free(filled, NOW_S + 86_400, selectors).status_code == 200
        assert filled.services.store.hosts("tern") == []

    def test_while_older_samples_are_read_back_it_says_that_nothing_was_freed(
        self, filled: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(MetricStore, "restoring", True)
        answer = self.free(filled, NOW_S + 86_400, [[]])
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
        assert "nothing was freed" in answer.get_json()["error"]

    def test_an_unknown_path_makes_no_node(self, filled: Any) -> None:
        assert self.free(filled, NOW_S + 86_400, [["heron", "h1"], ["tern", "tn99"]]).status_code == 200
        assert filled.services.store.clusters() == ["tern"]
        assert filled.services.store.hosts("tern") == ["tn01"]

    def test_what_a_running_job_needs_stays(self, filled: Any) -> None:
        filled.start_job(startTime=NOW_S)
        self.free(filled, NOW_S + 86_400, [[]])
        assert ask(filled).get_json()["results"][0][0]["data"] == [4, 5, 6]

    @pytest.mark.parametrize("to_s", ["", "x", "1.5", "9" * 30, "1;2"])
    def test_a_time_that_is_none_is_400(self, filled: Any, to_s: str) -> None:
        assert self.free(filled, to_s, [[]]).status_code == 400
        assert filled.services.store.hosts("tern") == ["tn01"]

    @pytest.mark.parametrize("body", [{}, "x", None, [7], [[7]], ["tern"], [["tern", "tn01", "cpu0"]]])
    def test_what_is_no_list_of_paths_is_400(self, filled: Any, body: Any) -> None:
        assert self.free(filled, NOW_S, body).status_code == 400


class TestDebug:
    def look(self, site: Any, selector: str = "") -> Any:
        return site.client.get(
            "/api/debug", query_string={"selector": selector} if selector else {}, headers=site.headers()
        )

    def test_it_is_json_at_every_level(self, filled: Any) -> None:
        filled.write(f"cpu_user,cluster=tern,hostname=tn01,type=hwthread,type-id=3 value=1 {NOW_S}")
        assert self.look(filled).get_json() == {"data": {"tern": {"hosts": 1}}}
        assert self.look(filled, "tern").get_json() == {"data": {"tn01": {"series": 2, "last": NOW_S + 120}}}
        own = [{"start": NOW_S, "end": NOW_S + 180, "len": 3, "samples": 3}]
        thread = {"cpu_user": [{"start": NOW_S, "end": NOW_S + 60, "len": 1, "samples": 1}]}
        assert self.look(filled, "tern:tn01").get_json() == {"data": {"load_one": own, "hwthread3": thread}}
        assert self.look(filled, "tern:tn01:hwthread3").get_json() == {"data": thread}

    def test_a_part_that_is_called_as_a_metric_hides_nothing(self, filled: Any) -> None:
        at = f"cluster=tern,hostname=tn01,type=load_one value=1 {NOW_S}"
        filled.write(f"load_one,{at}", f"mem_used,{at}")
        extent = [{"start": NOW_S, "end": NOW_S + 60, "len": 1, "samples": 1}]
        found = self.look(filled, "tern:tn01").get_json()["data"]
        assert found["load_one"] == [{"start": NOW_S, "end": NOW_S + 180, "len": 3, "samples": 3}]
        assert found["part load_one"] == {"load_one": extent, "mem_used": extent}

    @pytest.mark.parametrize("selector", ["heron", "tern:tn99", "tern:tn01:core9", "tern:tn01:load_one", ":", "::::"])
    def test_what_is_not_there_is_400_and_does_not_come_to_be(self, filled: Any, selector: str) -> None:
        assert self.look(filled, selector).status_code == 400
        assert filled.services.store.hosts("tern") == ["tn01"]


class TestHealthcheck:
    def check(self, site: Any, **document: Any) -> Any:
        body = json.dumps(
            {"cluster": "tern", "nodes": ["tn01", "tn99"], "metric-names": ["load_one", "mem_used"], **document}
        )
        return site.client.get("/api/healthcheck", data=body, headers=site.headers())

    def test_the_answer_is_the_references(self, filled: Any) -> None:
        assert self.check(filled).get_json() == {
            "tn01": {"State": "partial", "HealthMetrics": '{"degraded":[],"missing":["mem_used"]}'},
            "tn99": {"State": "failed", "HealthMetrics": ""},
        }

    def test_reasons_come_if_asked_for(self, filled: Any) -> None:
        found = self.check(filled, **{"with-reasons": True}).get_json()
        assert found["tn01"]["Reasons"] == {"mem_used": {"lastSample": None, "parts": [], "text": "never came"}}
        assert set(found["tn99"]["Reasons"]) == {"load_one", "mem_used"}

    def test_null_lists_are_empty(self, filled: Any) -> None:
        assert self.check(filled, nodes=None).get_json() == {}
        found = self.check(filled, **{"metric-names": None}).get_json()
        assert found["tn01"] == {"State": "full", "HealthMetrics": '{"degraded":[],"missing":[]}'}

    def test_keys_in_another_case_are_understood(self, filled: Any) -> None:
        body = '{"Cluster":"tern","NODES":["tn01"],"Metric-Names":["load_one"],"later":1}'
        answer = filled.client.get("/api/healthcheck", data=body, headers=filled.headers())
        assert answer.get_json()["tn01"]["State"] == "full"

    def test_too_many_metrics_of_too_many_hosts_are_413(self, filled: Any) -> None:
        """Two lists multiply: ten thousand names in each would keep a core busy for minutes."""
        names = [f"n{number}" for number in range(1001)]
        assert self.check(filled, nodes=names, **{"metric-names": names[1:]}).status_code == 413
        assert self.check(filled, nodes=["tn01"] * 2000, **{"metric-names": names[1:]}).status_code == 200

    @pytest.mark.parametrize("document", [{"nodes": "tn01"}, {"nodes": [1]}, {"cluster": 7}, {"metric-names": {}}])
    def test_what_is_wrong_is_400(self, filled: Any, document: Any) -> None:
        assert self.check(filled, **document).status_code == 400


def test_samples_go_out_as_they_lie_there(filled: Any) -> None:
    """What is in between gives neither two decimals nor another type."""
    filled.write(f"mem_used,cluster=tern,hostname=tn01,type=node value=0.1234567 {NOW_S}")
    query = {"metric": "mem_used", "host": "tn01"}
    data = ask(filled, queries=[query]).get_json()["results"][0][0]["data"]
    assert np.float32(data[0]) == np.float32(0.1234567)
