"""A token that is bound to one cluster walks through every route of a site with two and must not find the other one.

A route that this walk does not know fails the test: it must be written down here what of it is asked.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from cc_backend.jobs.filters import JobFilter
from cc_backend.model import RowRule

EVERYTHING = RowRule(all_jobs=True)
# What exists in the other cluster only: its users, projects, job names, hosts, metrics, partitions and samples.
MARKS = ("zoe", "zproject", "znote", "hn01", "hn02", "z_metric", "zpart", "424242", "zz_misspelt", "zzz_cluster")
ELSEWHERE = {"REMOTE_ADDR": "192.0.2.7"}  # not the machine itself, which may read /metrics without a token
WRITE = "load_one,cluster=heron,hostname=hn01,type=node value=7 {time}\n"


@dataclass(frozen=True)
class Asked:
    """One request of the walk; `body` is JSON unless it is a text."""

    path: str
    method: str = "GET"
    body: Any = None


def query(cluster: str) -> dict[str, Any]:
    wanted = [{"metric": "z_metric", "host": "hn01"}, {"metric": "load_one", "host": "hn01"}]
    return {"cluster": cluster, "from": 1, "to": 9_999_999_999, "queries": wanted, "for-all-nodes": ["z_metric"]}


def stop(**more: Any) -> dict[str, Any]:
    return {"stopTime": 1_760_000_460, "jobState": "failed", **more}


TAGS = [{"type": "note", "name": "zz_tag"}]
NODES = {"cluster": "heron", "nodes": [{"hostname": "hn01", "states": ["DOWN"]}]}
NODES_OF_BOTH = {"cluster": "heron", "nodes": [{"hostname": host, "states": ["IDLE"]} for host in ("hn01", "hn02")]}
REPORT = {
    "cluster": "heron",
    "hostname": "hn01",
    "collectors": [{"name": "zz_sensor", "state": "fails", "problem": "424242"}],
}
HEALTH = {"cluster": "heron", "nodes": ["hn01"], "metric-names": ["z_metric"], "with-reasons": True}
START = {
    "cluster": "heron",
    "user": "eve",
    "project": "p",
    "jobId": 9,
    "startTime": 1_760_000_400,
    "numNodes": 1,
    "resources": [{"hostname": "hn02"}],
}

# Route -> what is asked there; {running} and {archived} are jobs of the other cluster.
WALK: Mapping[str, tuple[Asked, ...]] = {
    "/api/write/": (
        Asked("/api/write/", "POST", WRITE),
        Asked("/api/write/?cluster=heron", "POST", "load_one,hostname=hn01,type=node value=7 {time}\n"),
    ),
    "/metricstore/write/": (Asked("/metricstore/write/", "POST", WRITE),),
    "/api/query/": (Asked("/api/query/", "POST", query("heron")), Asked("/api/query/", "GET", query("tern"))),
    "/api/free/": (
        Asked("/api/free/?to=9999999999", "POST", [[]]),
        Asked("/api/free/?to=9999999999", "POST", [["heron"], ["heron", "hn01"]]),
    ),
    "/api/debug/": (
        Asked("/api/debug/"),
        Asked("/api/debug/?selector=heron"),
        Asked("/api/debug/?selector=heron:hn01"),
    ),
    "/metricstore/query/": (
        Asked("/metricstore/query/", "POST", query("heron")),
        Asked("/metricstore/query/", "GET", query("tern")),
    ),
    "/metricstore/free/": (Asked("/metricstore/free/?to=9999999999", "POST", [["heron"], ["heron", "hn01"]]),),
    "/metricstore/debug/": (Asked("/metricstore/debug/"), Asked("/metricstore/debug/?selector=heron:hn01")),
    "/api/healthcheck/": (
        Asked("/api/healthcheck/", "GET", HEALTH),
        Asked("/api/healthcheck/", "GET", {**HEALTH, "cluster": "tern"}),
        Asked("/api/healthcheck/", "POST", NODES),
    ),
    "/metricstore/healthcheck/": (Asked("/metricstore/healthcheck/", "POST", NODES),),
    "/api/nodestate/": (Asked("/api/nodestate/", "POST", NODES),),
    "/api/jobs/start_job/": (Asked("/api/jobs/start_job/", "POST", START),),
    "/api/jobs/stop_job/": (
        Asked("/api/jobs/stop_job/", "POST", stop(jobId=501, cluster="heron")),
        Asked("/api/jobs/stop_job/", "POST", stop(jobId=501)),
    ),
    "/api/jobs/stop_job/<job_id>/": (Asked("/api/jobs/stop_job/{running}/", "POST", stop()),),
    "/api/jobs/tag_job/<job_id>/": (
        Asked("/api/jobs/tag_job/{running}/", "POST", TAGS),
        Asked("/api/jobs/tag_job/{archived}/", "PATCH", TAGS),
        Asked("/api/jobs/tag_job/{running}/", "DELETE", TAGS),
    ),
    "/api/tags/": (Asked("/api/tags/", "DELETE", TAGS),),
    "/api/jobs/edit_meta/<job_id>/": (
        Asked("/api/jobs/edit_meta/{running}/", "PATCH", {"note": "x"}),
        Asked("/api/jobs/edit_meta/{archived}/", "POST", {"note": "x"}),
    ),
    "/api/jobs/edit_meta/": (
        Asked("/api/jobs/edit_meta/", "PATCH", {"jobId": 501, "cluster": "heron", "payload": {"note": "x"}}),
        Asked("/api/jobs/edit_meta/", "POST", {"jobId": 501, "payload": {"note": "x"}}),
    ),
    "/api/jobs/delete_job/<job_id>/": (
        Asked("/api/jobs/delete_job/{running}/", "DELETE"),
        Asked("/api/jobs/delete_job/{archived}/", "DELETE"),
    ),
    "/api/jobs/delete_job/": (
        Asked("/api/jobs/delete_job/", "DELETE", {"jobId": 501, "cluster": "heron"}),
        Asked("/api/jobs/delete_job/", "DELETE", {"jobId": 501}),
    ),
    "/api/jobs/delete_job_before/<before>/": (Asked("/api/jobs/delete_job_before/9999999999/", "DELETE"),),
    "/api/machine_state/<cluster>/<host>/": (
        Asked("/api/machine_state/heron/hn01/"),
        Asked("/api/machine_state/heron/hn01/", "PUT", {"load": 1}),
    ),
    "/api/jobs/change_job/": (
        Asked("/api/jobs/change_job/", "POST", {"jobId": 501, "cluster": "heron", "walltime": 60}),
        Asked("/api/jobs/change_job/", "POST", {"jobId": 501, "walltime": 60}),
    ),
    "/api/jobs/events/": (
        Asked(
            "/api/jobs/events/",
            "POST",
            {
                "events": [
                    {"event": "start_job", **START},
                    {"event": "stop_job", **stop(jobId=501, cluster="heron")},
                    {"event": "stop_job", **stop(jobId=501)},
                ]
            },
        ),
    ),
    "/api/jobs/": (
        Asked("/api/jobs/"),
        Asked("/api/jobs/?cluster=heron"),
        Asked("/api/jobs/?format=csv"),
        Asked("/api/jobs/?user=zoe&state=running&state=completed"),
    ),
    "/userapi/jobs/": (Asked("/userapi/jobs/"), Asked("/userapi/jobs/?cluster=heron")),
    "/api/jobs/statistics/": (
        Asked("/api/jobs/statistics/?group-by=user"),
        Asked("/api/jobs/statistics/?group-by=partition&cluster=heron"),
        Asked("/api/jobs/statistics/?metric=z_metric"),
    ),
    "/userapi/jobs/statistics/": (
        Asked("/userapi/jobs/statistics/?group-by=project"),
        Asked("/userapi/jobs/statistics/?group-by=project&format=csv"),
    ),
    "/api/jobs/export/<job_id>/": tuple(
        Asked(f"/api/jobs/export/{{{job}}}/?format={form}")
        for job in ("running", "archived")
        for form in ("json", "csv")
    ),
    "/userapi/jobs/export/<job_id>/": (Asked("/userapi/jobs/export/{archived}/?format=csv"),),
    "/api/jobs/<job_id>/": (
        Asked("/api/jobs/{running}/?all-metrics=true"),
        Asked("/api/jobs/{archived}/?all-metrics=true"),
        Asked("/api/jobs/{running}/", "POST", ["z_metric", "load_one"]),
        Asked("/api/jobs/{archived}/", "POST", None),
    ),
    "/userapi/jobs/<job_id>/": (
        Asked("/userapi/jobs/{running}/?all-metrics=true"),
        Asked("/userapi/jobs/{archived}/?all-metrics=true"),
        Asked("/userapi/jobs/{archived}/", "POST", None),
    ),
    "/api/jobs/metrics/<job_id>/": (
        Asked("/api/jobs/metrics/{running}/"),
        Asked("/api/jobs/metrics/{archived}/?real-status=true&metric=z_metric&scope=node"),
    ),
    "/userapi/jobs/metrics/<job_id>/": (
        Asked("/userapi/jobs/metrics/{running}/"),
        Asked("/userapi/jobs/metrics/{archived}/?real-status=true"),
    ),
    "/api/jobs/used_nodes/": (
        Asked("/api/jobs/used_nodes/?ts=9999999999"),
        Asked("/api/jobs/used_nodes/?ts=9999999999&cluster=tern"),
        Asked("/api/jobs/used_nodes/?ts=9999999999&cluster=heron"),
    ),
    "/api/clusters/": (Asked("/api/clusters/"), Asked("/api/clusters/?cluster=heron")),
    "/api/nodes/": (Asked("/api/nodes/"), Asked("/api/nodes/?cluster=heron"), Asked("/api/nodes/?node=hn01")),
    "/api/nodes/shares/": (
        Asked("/api/nodes/shares/?by=node"),
        Asked("/api/nodes/shares/?cluster=heron&by=node"),
        Asked("/api/nodes/shares/?cluster=tern&cluster=heron"),
    ),
    "/api/nodes/report/": (Asked("/api/nodes/report/", "POST", {**REPORT, "agentVersion": "2"}),),
    "/api/nodes/reports/": (Asked("/api/nodes/reports/?cluster=heron"),),
    "/api/nodes/<cluster>/<host>/report/": (Asked("/api/nodes/heron/hn01/report/"),),
    "/api/nodes/<cluster>/<host>/": (
        Asked("/api/nodes/heron/hn02/"),
        Asked("/api/nodes/heron/hn02/?at={time}"),
        Asked("/api/nodes/tern/hn02/?at={time}"),
    ),
    "/metrics": (Asked("/metrics"),),
    "/healthz": (Asked("/healthz"),),
    "/": (Asked("/"),),
    "/theme": (Asked("/theme", "POST", "theme=dark"),),
    "/logout": (Asked("/logout", "POST", ""),),
    "/monitoring/jobs/": (
        Asked("/monitoring/jobs/"),
        Asked("/monitoring/jobs/?view=plots"),
        Asked("/monitoring/jobs/?cluster=heron"),
        Asked("/monitoring/jobs/?q=501"),
        Asked("/monitoring/jobs/?user=zoe"),
    ),
    "/monitoring/job/<int:job_id>": (Asked("/monitoring/job/{running}"), Asked("/monitoring/job/{archived}")),
    "/monitoring/jobs/export": (
        Asked("/monitoring/jobs/export?format=csv"),
        Asked("/monitoring/jobs/export?format=json&cluster=heron"),
    ),
    "/monitoring/job/<int:job_id>/export": (
        Asked("/monitoring/job/{running}/export?format=csv"),
        Asked("/monitoring/job/{archived}/export"),
    ),
    "/monitoring/job/<int:job_id>/data": (
        Asked("/monitoring/job/{running}/data"),
        Asked("/monitoring/job/{archived}/data"),
    ),
    "/monitoring/job/<int:job_id>/series/<metric>": (
        Asked("/monitoring/job/{running}/series/z_metric"),
        Asked("/monitoring/job/{archived}/series/z_metric?as=csv"),
    ),
}

# Routes that show nothing of any cluster: they are the same for everybody.
SAME_FOR_ALL = {
    "/api/docs/",
    "/api/openapi.json",
    "/assets/<version>/<path:name>",
    "/login",
    "/monitoring/user/<name>",
    "/search",
}
# The answer to addresses that are no routes.
FALLBACKS = {"unknown"}


def routes(site: Any) -> Iterator[str]:
    for rule in site.app.url_map.iter_rules():
        if rule.endpoint.rpartition(".")[2] not in FALLBACKS:
            yield rule.rule


@dataclass
class TwoClusters:
    """A site with the clusters tern and heron, and the database ids of two jobs of heron."""

    site: Any
    running: int
    archived: int

    def ask(self, asked: Asked, headers: Mapping[str, str]) -> Any:
        now_s = int(self.site.clock())
        fill = {"{running}": str(self.running), "{archived}": str(self.archived), "{time}": str(now_s)}

        def filled(text: str) -> str:
            for name, value in fill.items():
                text = text.replace(name, value)
            return text

        body: dict[str, Any] = {"data": filled(asked.body)} if isinstance(asked.body, str) else {"json": asked.body}
        if asked.method == "GET" and asked.body is None:
            body = {}
        client = self.site.app.test_client()
        return client.open(
            filled(asked.path), method=asked.method, headers=dict(headers), environ_overrides=ELSEWHERE, **body
        )

    def state(self) -> tuple[Any, ...]:
        """What a write to heron would change."""
        services, now_s = self.site.services, self.site.services.now_s()
        heron = JobFilter(clusters=("heron",))
        jobs = [
            (job.id, job.state, job.duration, job.tags, job.meta_data)
            for job in services.job_queries.find(heron, EVERYTHING, now_s=0).jobs
        ]
        counters = services.store.counters()
        held = services.store.query("heron", [_load("hn01"), _load("hn02")], from_s=now_s - 7200, to_s=now_s + 60)
        machine = services.machine_states.load("heron", "hn01").content
        return (
            jobs,
            machine,
            services.node_reports.load("heron", "hn01"),
            counters.hosts,
            counters.series,
            [[series.data.tobytes() for series in row] for row in held],
        )


def _load(host: str) -> Any:
    from cc_backend.metricstore import Query  # noqa: PLC0415 - the one place that needs it

    return Query("load_one", host)


@pytest.fixture
def two(site_of: Callable[..., Any], tern: dict[str, Any]) -> TwoClusters:
    heron: dict[str, Any] = {**tern, "name": "heron"}
    only_here = {**tern["metricConfig"][0], "name": "z_metric", "footprint": "max"}
    heron["metricConfig"] = [*tern["metricConfig"], only_here]
    heron["subClusters"] = [{**tern["subClusters"][0], "nodes": "hn[01-02]"}]
    site = site_of(clusters=[tern, heron], settings={"main": {"machine-state-dir": "machines"}})
    site.services.machine_states.store("heron", "hn01", b"424242")
    begin_s = int(site.clock())
    site.start_job(jobId=77)
    theirs = {"cluster": "heron", "user": "zoe", "project": "zproject", "partition": "zpart"}
    meta = {"metaData": {"jobName": "znote"}, "tags": TAGS}
    done = site.start_job(jobId=500, resources=[{"hostname": "hn01"}], **theirs, **meta)
    running = site.start_job(jobId=501, resources=[{"hostname": "hn02"}], **theirs, **meta)
    lines = [
        f"{metric},cluster=heron,hostname={host},type=node value={value} {begin_s + minute * 60}"
        for minute in range(11)
        for host in ("hn01", "hn02")
        for metric, value in (("z_metric", 424242), ("load_one", 3))
    ]
    site.write(*lines)
    site.write("zz_misspelt,cluster=heron,hostname=hn01 value=1", "load_one,cluster=zzz_cluster,hostname=x value=1")
    site.client.post("/api/nodestate/", json=NODES_OF_BOTH, headers=site.headers())
    site.client.post("/api/nodes/report/", json=REPORT, headers=site.headers())
    site.clock.advance(600)
    site.stop_job(job_id=500, cluster="heron")
    assert site.archive() == [done]
    return TwoClusters(site, running, done)


BOUND = {
    "read": (("api",), ["read"]),
    "jobs": (("api",), ["jobs"]),
    "write": (("api",), ["write"]),
    "admin": (("admin",), ["admin"]),
    "service without scopes": (("api",), None),
    "administrator without scopes": (("admin", "api"), None),
    "support": (("support", "api"), None),
    "support reads": (("support",), ["read"]),
}


def test_the_walk_knows_every_route(two: TwoClusters) -> None:
    assert {*WALK, *SAME_FOR_ALL} == set(routes(two.site))


def test_without_the_binding_the_walk_finds_the_other_cluster(two: TwoClusters) -> None:
    headers = two.site.headers("admin", "api")
    found = set()
    for route, all_asked in WALK.items():
        for asked in all_asked:
            if asked.method == "GET" or route == "/api/query/":
                text = two.ask(asked, headers).get_data(as_text=True)
                if any(mark in text for mark in (*MARKS, 'cluster="heron"')):
                    found.add(route)
    reads = {route for route, asked in WALK.items() if any(one.method == "GET" for one in asked)}
    assert found == reads - {"/healthz"}


@pytest.mark.parametrize(("roles", "scopes"), BOUND.values(), ids=BOUND)
def test_a_bound_token_finds_and_changes_nothing_of_the_other_cluster(
    two: TwoClusters, roles: tuple[str, ...], scopes: list[str] | None
) -> None:
    headers = two.site.headers(*roles, name="zz", scopes=scopes, clusters=["tern"])
    before = two.state()
    for all_asked in WALK.values():
        for asked in all_asked:
            answer = two.ask(asked, headers)
            text = answer.get_data(as_text=True)
            where = f"{asked} {answer.status_code} {text[:300]}"
            said = f"{asked.path} {asked.body}"
            assert answer.status_code < 500, where
            assert not [mark for mark in MARKS if mark in text and mark not in said], where
            assert "heron" not in text or "heron" in said, where
    assert two.state() == before


def test_a_bound_token_is_told_403_and_not_that_there_is_nothing(two: TwoClusters) -> None:
    headers = two.site.headers("api", scopes=["read"], clusters=["tern"])
    paths = ("/api/jobs/?cluster=heron", "/api/jobs/{running}/", "/api/jobs/metrics/{running}/?real-status=true",
             "/api/jobs/used_nodes/?ts=9999999999", "/api/clusters/?cluster=heron", "/monitoring/job/{archived}",
             "/monitoring/jobs/?cluster=heron")  # fmt: skip
    assert {two.ask(Asked(path), headers).status_code for path in paths} == {403}


def test_a_bound_token_does_its_work_on_its_own_cluster(two: TwoClusters) -> None:
    headers = two.site.headers("api", scopes=["read"], clusters=["tern"])
    listed = two.ask(Asked("/api/jobs/"), headers).get_json()
    assert ([job["jobId"] for job in listed["jobs"]], listed["total"]) == ([77], 1)
    assert two.ask(Asked("/api/jobs/used_nodes/?ts=9999999999&cluster=tern"), headers).get_json() == {
        "usedNodes": {"tern": ["tn01"]}
    }
    assert [one["name"] for one in two.ask(Asked("/api/clusters/"), headers).get_json()["clusters"]] == ["tern"]
    assert 'cc_backend_jobs_running{cluster="tern"} 1' in two.ask(Asked("/metrics"), headers).text


def test_another_persons_job_of_another_cluster_does_not_even_exist(two: TwoClusters) -> None:
    headers = two.site.headers("user", name="ada", scopes=["read"], clusters=["tern"])
    assert two.ask(Asked("/api/jobs/{running}/"), headers).status_code == 422
    assert two.ask(Asked("/monitoring/job/{running}"), headers).status_code == 404
