"""The store as a program of its own speaks the interface of cc-metric-store, and asks more of its callers."""

import json
import threading
from collections.abc import Callable
from typing import Any

import pytest

from cc_backend.auth.token_keys import generate_keys
from cc_backend.model import RetentionHolds
from cc_backend.storeservice.routes import ROUTES
from cc_backend.storeservice.tasks import periodic_tasks

NOW_S = 1_760_000_400
LINE = f"load_one,cluster=orion,hostname=n017,type=node value=91.25 {NOW_S}\n"
QUERY = {"cluster": "orion", "from": NOW_S, "to": NOW_S + 60, "queries": [{"metric": "load_one", "host": "n017"}]}
PROTECTED = ["write", "query", "free", "debug", "healthcheck"]
METHODS = {"write": "POST", "query": "GET", "free": "POST", "debug": "GET", "healthcheck": "GET"}
BODIES = {
    "query": json.dumps(QUERY),
    "free": "[[]]",
    "healthcheck": json.dumps({"cluster": "orion", "nodes": ["n017"]}),
}


@pytest.fixture
def site(store_site: Callable[..., Any]) -> Any:
    return store_site()


def call(site: Any, name: str, headers: dict[str, str] | None = None, slash: str = "") -> Any:
    path = f"/api/{name}{slash}" + (f"?to={NOW_S}" if name == "free" else "")
    return site.client.open(path, method=METHODS[name], data=BODIES.get(name, ""), headers=headers or {})


def upkeep(site: Any) -> None:
    (task,) = [task for task in periodic_tasks(site.services, threading.Event()) if task.name == "upkeep"]
    task.run()


def allowed(site: Any, headers: dict[str, str]) -> list[str]:
    return [name for name in PROTECTED if call(site, name, headers).status_code == 200]


def write(site: Any, body: str = LINE, query: str = "", headers: Any = None) -> Any:
    return site.client.post(f"/api/write{query}", data=body, headers=headers or site.service())


class TestInterface:
    @pytest.mark.parametrize("slash", ["", "/"])
    @pytest.mark.parametrize("name", PROTECTED)
    def test_every_route_answers_with_and_without_a_slash(self, site: Any, name: str, slash: str) -> None:
        assert call(site, name, site.service(), slash).status_code == 200

    def test_two_slashes_are_another_path(self, site: Any) -> None:
        answer = site.client.post("/api//write", data="", headers=site.service())
        assert (answer.status_code, answer.content_type) == (404, "application/json")

    def test_a_write_is_200_and_empty(self, site: Any) -> None:
        answer = write(site)
        assert (answer.status_code, answer.data) == (200, b"")

    def test_what_was_written_is_read_with_a_body_on_get(self, site: Any) -> None:
        write(site)
        ((series,),) = call(site, "query", site.service()).get_json()["results"]
        assert (series["data"], series["resolution"], series["avg"]) == ([91.25], 60, 91.25)

    def test_any_cluster_is_taken(self, site: Any) -> None:
        write(site, LINE + LINE.replace("orion", "heron"))
        write(site, LINE.replace("cluster=orion,", ""), "?cluster=tern")
        assert site.services.store.clusters() == ["heron", "orion", "tern"]

    def test_named_clusters_only_if_some_are_named(self, store_site: Callable[..., Any]) -> None:
        site = store_site(clusters=["orion"])
        write(site, LINE + LINE.replace("orion", "heron"))
        assert site.services.store.clusters() == ["orion"]

    def test_names_of_default_clusters_cannot_fill_the_memory(self, store_site: Callable[..., Any]) -> None:
        site = store_site(max_clusters=2)
        write(site, LINE + LINE.replace("orion", "heron"))
        answer = write(site, LINE.replace("cluster=orion,", ""), "?cluster=tern")
        assert (answer.status_code, "max-clusters" in answer.get_json()["error"]) == (400, True)
        assert write(site, LINE.replace("cluster=orion,", ""), "?cluster=orion").status_code == 200

    def test_nor_can_names_that_nothing_is_stored_under(self, store_site: Callable[..., Any]) -> None:
        site = store_site(max_clusters=3)
        write(site)
        statuses = [write(site, "", f"?cluster=c{number}").status_code for number in range(4)]
        assert statuses == [200, 200, 400, 400]
        assert [write(site, "", f"?cluster={name}").status_code for name in ("c1", "orion", "")] == [200, 200, 200]

    @pytest.mark.parametrize("name", ["a%0Ab", "a%00b", "..", "a%2Fb", "a%5Cb", ".", "%7F", "c" * 256])
    def test_any_cluster_is_no_cluster_whose_name_cannot_be(self, site: Any, name: str) -> None:
        """In the log and in snapshots names are set apart by such characters: other series would be lost with it."""
        answer = write(site, LINE.replace("cluster=orion,", "") + LINE, f"?cluster={name}")
        assert (answer.status_code, answer.get_json()["accepted"]) == (400, 1)
        assert site.services.store.clusters() == ["orion"]

    def test_bad_lines_are_named_and_good_ones_kept(self, site: Any) -> None:
        answer = write(site, "load_one value=x\n" + LINE)
        assert (answer.status_code, answer.get_json()["accepted"]) == (400, 1)

    def test_unknown_metrics_are_silently_left_out(self, site: Any) -> None:
        assert write(site, "weather,cluster=orion,hostname=n017 value=1\n" + LINE).status_code == 200

    def test_a_line_without_a_cluster_is_the_senders_fault(self, site: Any) -> None:
        assert "cluster" in write(site, LINE.replace("cluster=orion,", "")).get_json()["errors"][0]["reason"]

    def test_health_is_the_references(self, site: Any) -> None:
        write(site)
        body = {"cluster": "orion", "nodes": ["n017", "n999"], "metric-names": ["load_one", "flops_any"]}
        answer = site.client.get("/api/healthcheck", data=json.dumps(body), headers=site.service())
        assert answer.get_json() == {
            "n017": {"State": "partial", "HealthMetrics": '{"degraded":[],"missing":["flops_any"]}'},
            "n999": {"State": "failed", "HealthMetrics": ""},
        }

    def test_freeing_says_how_much(self, site: Any) -> None:
        write(site)
        answer = site.client.post(f"/api/free?to={NOW_S + 86_400}", data="[[]]", headers=site.service())
        assert answer.text == "buffers freed: 64\n"
        assert site.services.store.hosts("orion") == []

    @pytest.mark.parametrize(("method", "path", "status"), [("PUT", "/api/write", 405), ("GET", "/api/nothing", 404)])
    def test_wrong_paths_and_methods_are_json(self, site: Any, method: str, path: str, status: int) -> None:
        answer = site.client.open(path, method=method, headers=site.service())
        assert (answer.status_code, answer.content_type) == (status, "application/json")

    def test_metrics_come_to_this_machine_and_to_tokens(self, site: Any) -> None:
        write(site)
        assert 'cc_backend_store_lines_total{result="accepted",reason=""} 1' in site.client.get("/metrics").text
        far = {"REMOTE_ADDR": "192.0.2.7"}
        assert site.client.get("/metrics", environ_overrides=far).status_code == 401
        assert site.client.get("/metrics/", environ_overrides=far, headers=site.service()).status_code == 200

    def test_healthz_is_public(self, site: Any) -> None:
        assert site.client.get("/healthz").get_json() == {"status": "ok"}


class TestTokens:
    @pytest.mark.parametrize("name", PROTECTED)
    @pytest.mark.parametrize(
        "headers",
        [{}, {"Authorization": "Bearer "}, {"Authorization": "Bearer x.y.z"}, {"Authorization": "Basic eDp5"}],
        ids=["nothing", "empty", "garbage", "basic"],
    )
    def test_without_a_good_token_every_route_is_401(self, site: Any, name: str, headers: dict[str, str]) -> None:
        assert call(site, name, headers).status_code == 401

    @pytest.mark.parametrize(
        ("claims", "names"),
        [
            ({"sub": "a", "roles": ["api"]}, PROTECTED),
            ({"sub": "a", "roles": ["admin", "api"]}, PROTECTED),
            ({}, ["write", "query", "healthcheck"]),
            ({"sub": "a"}, ["write", "query", "healthcheck"]),
            ({"sub": "a", "roles": ["user"]}, []),
            ({"sub": "a", "roles": ["api", "user"]}, []),
            ({"sub": "a", "roles": ["api"], "scopes": ["write"]}, ["write"]),
            ({"sub": "a", "roles": ["api"], "scopes": ["read"]}, ["query", "healthcheck"]),
            ({"sub": "a", "roles": ["api"], "scopes": ["jobs"]}, []),
            ({"sub": "a", "roles": ["user"], "scopes": ["read"]}, []),
            ({"sub": "a", "roles": ["api"], "scopes": ["admin"]}, []),
            ({"sub": "a", "roles": ["admin"], "scopes": ["admin"]}, PROTECTED),
            ({"sub": "a", "scopes": ["write", "admin"]}, []),
            ({"sub": "a", "roles": ["api"], "exp": NOW_S}, []),
            ({"sub": "a", "roles": ["api"], "nbf": NOW_S + 60}, []),
            ({"sub": "a", "roles": ["api"], "exp": NOW_S + 60}, PROTECTED),
            ({"sub": "a", "roles": "api"}, []),
        ],
        ids=str,
    )
    def test_a_token_may_what_it_says(self, site: Any, claims: dict[str, Any], names: list[str]) -> None:
        assert allowed(site, site.bearer(**claims)) == names

    def test_a_token_of_another_key_is_401(self, site: Any, store_site: Callable[..., Any]) -> None:
        other = store_site(jwt_public_key=generate_keys()[1])
        assert allowed(other, site.service()) == []

    def test_a_revoked_token_is_401(self, store_site: Callable[..., Any]) -> None:
        site = store_site(revoked_tokens=["gone"])
        assert call(site, "query", site.bearer(sub="a", roles=["api"], jti="gone")).status_code == 401
        assert call(site, "query", site.bearer(sub="a", roles=["api"], jti="good")).status_code == 200

    def test_a_token_bound_to_clusters_writes_and_reads_nothing_else(self, site: Any) -> None:
        bound = site.bearer(sub="a", roles=["api"], clusters=["heron"])
        assert write(site, LINE, headers=bound).status_code == 403
        assert call(site, "query", bound).status_code == 403
        assert site.services.store.clusters() == []

    def test_a_token_bound_to_clusters_neither_asks_about_nor_frees_others(self, site: Any) -> None:
        write(site)
        bound = site.bearer(sub="a", roles=["admin"], scopes=["admin"], clusters=["heron"])
        assert call(site, "healthcheck", bound).status_code == 403
        assert call(site, "free", bound).status_code == 403
        assert call(site, "debug", bound).get_json() == {"data": {}}
        assert site.services.store.hosts("orion") == ["n017"]

    def test_without_a_key_everybody_may_everything_as_in_the_reference(
        self, store_site: Callable[..., Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        assert allowed(store_site(jwt_public_key=""), {}) == PROTECTED
        assert any(record.levelname == "WARNING" and "jwt-public-key" in record.message for record in caplog.records)

    def test_every_route_says_what_it_asks(self) -> None:
        open_paths = [
            route.path for route in ROUTES if not route.permission.takes_tokens or route.permission.value == "public"
        ]
        assert open_paths == ["/healthz/", "/metrics/"]


class Backend:
    """Stands where the backend's client stands; `away`, only what it answered before is known."""

    def __init__(self, answer: RetentionHolds | None) -> None:
        self.answer = answer
        self.asked: list[int] = []
        self.away = False

    def fetch_or_last(self, before_s: int) -> RetentionHolds | None:
        self.asked.append(before_s)
        return self.answer

    def fetch_fresh(self, before_s: int) -> RetentionHolds | None:
        self.asked.append(before_s)
        return None if self.away else self.answer


class TestRunningJobs:
    def upkeep(self, site: Any, clock: Any, answer: RetentionHolds | None) -> list[str]:
        write(site, LINE + LINE.replace("n017", "n018"))
        site.services.holds_client = Backend(answer)
        clock.advance(72 * 3600)
        upkeep(site)
        hosts: list[str] = site.services.store.hosts("orion")
        return hosts

    def test_samples_of_their_hosts_outlive_the_retention(self, site: Any, clock: Any) -> None:
        assert self.upkeep(site, clock, {"orion": {"n018": 0}}) == ["n018"]
        assert site.services.holds_client.asked == [NOW_S + 24 * 3600]

    def test_while_nobody_knows_them_nothing_is_freed(self, site: Any, clock: Any) -> None:
        assert self.upkeep(site, clock, None) == ["n017", "n018"]
        answer = site.client.post(f"/api/free?to={NOW_S + 86_400}", data="[[]]", headers=site.service())
        assert answer.status_code == 503
        assert site.services.store.hosts("orion") == ["n017", "n018"]

    def test_freeing_asks_for_all_that_run_now(self, site: Any) -> None:
        write(site, LINE + LINE.replace("n017", "n018"))
        site.services.holds_client = Backend({"orion": {"n018": 0}})
        assert (
            site.client.post(f"/api/free?to={NOW_S + 86_400}", data="[[]]", headers=site.service()).status_code == 200
        )
        assert site.services.holds_client.asked == [NOW_S]
        assert site.services.store.hosts("orion") == ["n018"]

    def test_freeing_does_not_trust_an_answer_about_older_jobs(self, site: Any) -> None:
        """The upkeep asks for jobs from before the retention: who runs since an hour is not in that answer."""
        write(site)
        site.services.holds_client = Backend({})
        upkeep(site)
        site.services.holds_client.away = True
        answer = site.client.post(f"/api/free?to={NOW_S + 86_400}", data="[[]]", headers=site.service())
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
        assert site.services.store.hosts("orion") == ["n017"]

    def test_without_a_backend_the_retention_alone_counts(self, site: Any, clock: Any) -> None:
        write(site)
        clock.advance(72 * 3600)
        upkeep(site)
        assert site.services.store.hosts("orion") == []


def test_no_cache_keeps_what_the_store_answers(store_site: Callable[..., Any]) -> None:
    store = store_site()
    for path, headers in (("/healthz", {}), ("/api/debug/", store.service()), ("/api/debug/", {}), ("/nothing", {})):
        response = store.client.get(path, headers=headers)
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
