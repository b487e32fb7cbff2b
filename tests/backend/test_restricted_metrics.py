"""A metric that cluster.json restricts to staff: its owner walks through every route that reads and must not find it.

A route that this walk does not know fails the test: it must be written down here what of it is asked.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from cc_backend.auth.caller import Caller
from cc_backend.auth.row_rules import row_rule_for
from cc_backend.jobs.filters import FootprintRange, JobFilter
from cc_backend.jobs.restricted_metrics import job_without_restricted_metrics
from cc_backend.model import RowRule

OWNER, PASSWORD = "mlindqv", "a good password"
# The name of the metric, as it stands in files and as pages write it, and its values: W, kWh and what they are made of.
MARKS = ("zz_secret", "Zz secret", "424242", "424.2", "424,2", "70.707", "70.7")

# Route that reads -> addresses; {running} and {archived} are jobs of the owner.
WALK: Mapping[str, tuple[str, ...]] = {
    "/": ("/",),
    "/monitoring/jobs/": (
        "/monitoring/jobs/",
        "/monitoring/jobs/?view=plots",
        "/monitoring/jobs/?view=table",
        "/monitoring/jobs/?sort=energy",
        "/monitoring/jobs/?stat=zz_secret_max-1-999999",
    ),
    "/monitoring/job/<int:job_id>": (
        "/monitoring/job/{running}",
        "/monitoring/job/{archived}",
        "/monitoring/job/{archived}?by=zz_secret",
        "/monitoring/job/{archived}?scope=core",
    ),
    "/monitoring/jobs/export": ("/monitoring/jobs/export?format=csv", "/monitoring/jobs/export?format=json"),
    "/monitoring/job/<int:job_id>/export": (
        "/monitoring/job/{running}/export?format=csv",
        "/monitoring/job/{archived}/export?format=json",
    ),
    "/monitoring/job/<int:job_id>/data": ("/monitoring/job/{running}/data", "/monitoring/job/{archived}/data"),
    "/monitoring/job/<int:job_id>/series/<metric>": (
        "/monitoring/job/{running}/series/zz_secret",
        "/monitoring/job/{archived}/series/zz_secret?as=csv",
    ),
    "/api/jobs/": ("/api/jobs/", "/api/jobs/?state=completed", "/api/jobs/?format=csv"),
    "/userapi/jobs/": ("/userapi/jobs/",),
    "/api/jobs/statistics/": (
        "/api/jobs/statistics/?metric=zz_secret",
        "/api/jobs/statistics/?stat=zz_secret_max-1-999999&group-by=user",
    ),
    "/userapi/jobs/statistics/": ("/userapi/jobs/statistics/?metric=zz_secret",),
    "/api/jobs/<job_id>/": ("/api/jobs/{running}/?all-metrics=true", "/api/jobs/{archived}/?all-metrics=true"),
    "/userapi/jobs/<job_id>/": ("/userapi/jobs/{archived}/?all-metrics=true",),
    "/api/jobs/metrics/<job_id>/": (
        "/api/jobs/metrics/{running}/",
        "/api/jobs/metrics/{archived}/",
        "/api/jobs/metrics/{archived}/?metric=zz_secret&scope=node&real-status=true",
    ),
    "/userapi/jobs/metrics/<job_id>/": ("/userapi/jobs/metrics/{archived}/?metric=zz_secret",),
    "/api/jobs/export/<job_id>/": (
        "/api/jobs/export/{running}/",
        "/api/jobs/export/{archived}/",
        "/api/jobs/export/{running}/?format=csv",
        "/api/jobs/export/{archived}/?format=csv",
    ),
    "/userapi/jobs/export/<job_id>/": ("/userapi/jobs/export/{archived}/?format=csv",),
    "/api/clusters/": ("/api/clusters/", "/api/clusters/?cluster=tern"),
}
# Routes that read, but are closed to whoever sees own jobs only; whether they are is asked as well.
STAFF_ONLY = {
    "/api/query/": "/api/query/",
    "/metricstore/query/": "/metricstore/query/",
    "/metricstore/debug/": "/metricstore/debug/?selector=tern:tn01",
    "/api/debug/": "/api/debug/?selector=tern:tn01",
    "/api/healthcheck/": "/api/healthcheck/",
    "/api/jobs/used_nodes/": "/api/jobs/used_nodes/?ts=9999999999",
    "/api/machine_state/<cluster>/<host>/": "/api/machine_state/tern/tn01/",
    "/api/nodes/": "/api/nodes/",
    "/api/nodes/shares/": "/api/nodes/shares/",
    "/api/nodes/<cluster>/<host>/": "/api/nodes/tern/tn01/",
    "/api/nodes/reports/": "/api/nodes/reports/",
    "/api/nodes/<cluster>/<host>/report/": "/api/nodes/tern/tn01/report/",
    "/metrics": "/metrics",
}
# Nothing of any job is in these.
SAME_FOR_ALL = {
    "/login",
    "/healthz",
    "/assets/<version>/<path:name>",
    "/api/openapi.json",
    "/api/docs/",
    "/monitoring/user/<name>",
    "/search",
}
FALLBACKS = {"unknown"}


@dataclass
class Restricting:
    """A site whose cluster restricts a metric, with two jobs of the owner."""

    site: Any
    running: int
    archived: int

    def address(self, path: str) -> str:
        return path.replace("{running}", str(self.running)).replace("{archived}", str(self.archived))

    def get(self, path: str, headers: Mapping[str, str], client: Any = None, **more: Any) -> Any:
        client = client or self.site.app.test_client()
        elsewhere = {"REMOTE_ADDR": "192.0.2.7"}
        return client.get(self.address(path), headers=dict(headers), environ_overrides=elsewhere, **more)

    def signed_in(self, name: str) -> Any:
        client = self.site.app.test_client()
        assert client.post("/login", data={"username": name, "password": PASSWORD}).status_code == 303
        return client


@pytest.fixture
def restricting(site_of: Callable[..., Any], tern: dict[str, Any]) -> Restricting:
    secret = next(metric for metric in tern["metricConfig"] if metric["name"] == "load_one")
    watts = {"unit": {"base": "W"}, "energy": "power", "footprint": "max", "restrict": True, "peak": 500_000}
    tern["metricConfig"] = [
        *tern["metricConfig"],
        {**secret, "name": "zz_secret", **watts, "normal": 400_000, "caution": 300_000, "alert": 200_000},
    ]
    site = site_of(clusters=[tern])
    site.user(OWNER, password=PASSWORD)
    site.user("staff", "support", password=PASSWORD)
    begin_s = int(site.clock())
    archived = site.start_job(jobId=1)
    running = site.start_job(jobId=2, resources=[{"hostname": "tn02"}])
    lines = [
        f"{metric},cluster=tern,hostname={host},type=node value={value} {begin_s + minute * 60}"
        for minute in range(11)
        for host in ("tn01", "tn02")
        for metric, value in (("zz_secret", 424242), ("load_one", 3), ("mem_used", 12))
    ]
    site.write(*lines)
    site.clock.advance(600)
    site.stop_job(job_id=1)
    assert site.archive() == [archived]
    rule = RowRule(all_jobs=True)
    footprint = {"zz_secret_max": 424242.0, "mem_used_max": 12.0}
    site.services.running_jobs.update_footprints({running: footprint})
    assert site.services.job_queries.get(running, rule, now_s=site.services.now_s()).footprint == footprint
    return Restricting(site, running, archived)


def readers(site: Any) -> set[str]:
    rules = [rule for rule in site.app.url_map.iter_rules() if rule.endpoint.rpartition(".")[2] not in FALLBACKS]
    return {rule.rule for rule in rules if "GET" in (rule.methods or ())}


def found(text: str, path: str) -> list[str]:
    return [mark for mark in MARKS if mark in text and mark not in path]


def test_the_walk_knows_every_route_that_reads(restricting: Restricting) -> None:
    assert {*WALK, *STAFF_ONLY, *SAME_FOR_ALL} == readers(restricting.site)


TOKENS = {"scope read": (("user",), ["read"]), "api and user": (("api", "user"), None)}


@pytest.mark.parametrize(("roles", "scopes"), TOKENS.values(), ids=TOKENS)
def test_the_owner_of_the_jobs_does_not_find_the_metric_by_token(
    restricting: Restricting, roles: tuple[str, ...], scopes: list[str] | None
) -> None:
    headers = restricting.site.headers(*roles, name=OWNER, scopes=scopes)
    for paths in WALK.values():
        for path in paths:
            answer = restricting.get(path, headers)
            assert answer.status_code < 500, path
            assert found(answer.text, path) == [], path
    for path in STAFF_ONLY.values():
        assert restricting.get(path, headers).status_code in {401, 403}, path


@pytest.mark.parametrize("role", ["user", "manager"])
def test_the_owner_of_the_jobs_does_not_find_the_metric_on_the_pages(restricting: Restricting, role: str) -> None:
    if role == "manager":
        restricting.site.services.users.add_role(OWNER, "manager")
    client = restricting.signed_in(OWNER)
    pages = [path for route, paths in WALK.items() if "api" not in route for path in paths]
    for path in pages:
        answer = restricting.get(path, {}, client)
        assert answer.status_code < 500, path
        assert found(answer.text, path) == [], path
    plots = restricting.get(
        "/monitoring/job/{archived}/data", {"Accept": "application/vnd.clustercockpit.plots"}, client
    )
    assert plots.status_code == 200
    assert b"zz_secret" not in plots.data


def test_named_metrics_are_as_if_nobody_measured_them(restricting: Restricting) -> None:
    headers = restricting.site.headers("user", name=OWNER, scopes=["read"])
    for id_ in (restricting.running, restricting.archived):
        for names in (b'["zz_secret"]', b"null"):
            answer = restricting.site.client.post(f"/api/jobs/{id_}/", data=names, headers=headers)
            assert answer.status_code == 200
            assert "424242" not in answer.text
            assert [entry["name"] for entry in answer.get_json()["Data"] if entry["name"] == "zz_secret"] == []


@pytest.mark.parametrize("name", ["staff", "a service"])
def test_staff_and_services_find_it_everywhere(restricting: Restricting, name: str) -> None:
    if name == "staff":
        client, headers = restricting.signed_in("staff"), {}
        routes = [route for route in WALK if "api" not in route and route != "/"]
    else:
        client, headers = None, restricting.site.headers("api")
        routes = [route for route in WALK if "api" in route]
    for route in routes:
        texts = [restricting.get(path, headers, client).text for path in WALK[route]]
        if route == "/monitoring/jobs/":
            assert any("Zz secret" in text or "zz_secret" in text or "70.7" in text for text in texts), route
        else:
            assert any(found(text, "") for text in texts), route


def test_the_energy_of_a_job_is_that_of_the_metrics_that_may_be_seen(restricting: Restricting) -> None:
    energies = {}
    for name, headers in (
        ("owner", restricting.site.headers("user", name=OWNER, scopes=["read"])),
        ("service", restricting.site.headers("api")),
    ):
        job = restricting.get("/api/jobs/{archived}/", headers).get_json()["Meta"]
        energies[name] = job["energy"]
    assert energies["service"] > 70
    assert energies["owner"] == 0


def test_nobody_finds_out_by_filters_and_order_what_they_may_not_see(restricting: Restricting) -> None:
    job_queries, now_s = restricting.site.services.job_queries, restricting.site.services.now_s()
    own = row_rule_for(Caller(OWNER, frozenset({"user"})))
    everything = RowRule(all_jobs=True)
    for wanted in (
        JobFilter(footprint=(FootprintRange("zz_secret_max", 424_000, 425_000),)),
        JobFilter(footprint=(FootprintRange("zz_secret_max"),)),
        JobFilter(energy_from=1.0),
    ):
        assert job_queries.count(wanted, everything, now_s=now_s) > 0
        assert job_queries.count(wanted, own, now_s=now_s) == 0
        assert job_queries.find(wanted, own, now_s=now_s).jobs == []
    assert job_queries.count(JobFilter(footprint=(FootprintRange("mem_used_max", 0, 99),)), own, now_s=now_s) == 2
    for order in ("zz_secret_max", "energy"):
        both = [
            [job.id for job in job_queries.find(JobFilter(), own, now_s=now_s, order=order, descending=down).jobs]
            for down in (True, False)
        ]
        assert both[0] == both[1][::-1] == sorted(both[0], reverse=True)


def test_a_judgement_from_before_the_metric_was_restricted_is_not_told(restricting: Restricting) -> None:
    from cc_backend.model import Finding, Judgement, Level  # noqa: PLC0415 - the one place that needs them

    services = restricting.site.services
    told = Judgement(Level.ALERT, Finding("low_metric", Level.ALERT, "zz_secret", facts={"value": 1}), judged_s=1)
    hidden_in_facts = Judgement(Level.ALERT, Finding("x", Level.OK, facts={"metrics": ["zz_secret"]}), judged_s=1)
    job = services.job_queries.get(restricting.running, RowRule(all_jobs=True), now_s=services.now_s())
    is_restricted = services.clusters.restriction_test(job)
    for judgement in (told, hidden_in_facts):
        job.judgement = judgement
        assert job_without_restricted_metrics(job, is_restricted).judgement is None
    job.judgement = Judgement(Level.OK, Finding("x", Level.OK, "mem_used", facts={"n": 1}), judged_s=1)
    assert job_without_restricted_metrics(job, is_restricted).judgement == job.judgement
