"""Each route that changes jobs or machines, against each kind of caller: who is let in, and what the others are told.

The request of each route is complete and right, so that only the permission stands between it and its effect.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from cc_backend.api.routes import ROUTES
from cc_backend.auth.permissions import Permission
from cc_backend.auth.tables import UserRow
from cc_backend.jobs.filters import JobFilter
from cc_backend.model import RowRule

START_S = 1_760_000_400
TAG = [{"type": "app", "name": "wave", "scope": "global"}]
PRIVATE = [{"type": "note", "name": "mine", "scope": "ada"}]
PAIR = {"key": "note", "value": "changed"}
NAMED = {"jobId": 88412, "cluster": "tern", "startTime": START_S}
STOP = {"event": "stop_job", **NAMED, "stopTime": START_S + 9}


@dataclass(frozen=True)
class Request:
    """A request for the job with the database id 1 of `ada` on tern, and what it needs."""

    method: str
    path: str
    permission: Permission
    body: Any = None


REQUESTS = {
    "start": Request("POST", "/api/jobs/start_job/", Permission.JOBS_WRITE, None),
    "start by put": Request("PUT", "/api/jobs/start_job/", Permission.JOBS_WRITE, None),
    "stop": Request("POST", "/api/jobs/stop_job/", Permission.JOBS_WRITE, {**NAMED, "stopTime": START_S + 9}),
    "stop by put": Request("PUT", "/api/jobs/stop_job/", Permission.JOBS_WRITE, {**NAMED, "stopTime": START_S + 9}),
    "stop by id": Request("POST", "/api/jobs/stop_job/1/", Permission.JOBS_WRITE, {"stopTime": START_S + 9}),
    "stop by id and put": Request("PUT", "/api/jobs/stop_job/1/", Permission.JOBS_WRITE, {"stopTime": START_S + 9}),
    "change": Request("POST", "/api/jobs/change_job/", Permission.JOBS_WRITE, {**NAMED, "jobName": "x"}),
    "change by put": Request("PUT", "/api/jobs/change_job/", Permission.JOBS_WRITE, {**NAMED, "jobName": "x"}),
    "many events": Request("POST", "/api/jobs/events/", Permission.JOBS_WRITE, {"events": [STOP]}),
    "tag": Request("POST", "/api/jobs/tag_job/1/", Permission.JOBS_WRITE, TAG),
    "tag by patch": Request("PATCH", "/api/jobs/tag_job/1/", Permission.JOBS_WRITE, TAG),
    "untag": Request("DELETE", "/api/jobs/tag_job/1/", Permission.JOBS_WRITE, TAG),
    "remove tags": Request("DELETE", "/api/tags/", Permission.JOBS_ADMIN, TAG),
    "edit": Request("PATCH", "/api/jobs/edit_meta/1/", Permission.JOBS_WRITE, PAIR),
    "edit by post": Request("POST", "/api/jobs/edit_meta/1/", Permission.JOBS_WRITE, PAIR),
    "edit named": Request("PATCH", "/api/jobs/edit_meta/", Permission.JOBS_WRITE, {**NAMED, "payload": PAIR}),
    "edit named by post": Request("POST", "/api/jobs/edit_meta/", Permission.JOBS_WRITE, {**NAMED, "payload": PAIR}),
    "remove": Request("DELETE", "/api/jobs/delete_job/1/", Permission.JOBS_ADMIN),
    "remove named": Request("DELETE", "/api/jobs/delete_job/", Permission.JOBS_ADMIN, NAMED),
    "remove old": Request("DELETE", "/api/jobs/delete_job_before/9999999999/", Permission.JOBS_ADMIN),
    "store machine": Request("PUT", "/api/machine_state/tern/tn01/", Permission.NODES_WRITE, {"load": 2}),
    "store machine by post": Request("POST", "/api/machine_state/tern/tn01/", Permission.NODES_WRITE, {"load": 2}),
    "read machine": Request("GET", "/api/machine_state/tern/tn01/", Permission.NODES_READ),
}  # fmt: skip


@dataclass(frozen=True)
class Kind:
    """A kind of caller: the roles and scopes of a token, and the clusters that it is limited to.

    An account that `was` more when the token was issued has lost that since.
    """

    roles: tuple[str, ...]
    scopes: tuple[str, ...] | None = None
    clusters: tuple[str, ...] = ()
    name: str = "ada"
    was: tuple[str, ...] = ()


P = Permission
EVERYTHING = frozenset({P.JOBS_WRITE, P.JOBS_ADMIN, P.NODES_WRITE, P.NODES_READ})
BY_SCOPE_JOBS = frozenset({P.JOBS_WRITE, P.NODES_WRITE, P.NODES_READ})
# Kind of caller -> the token, what it may, and the status of everything else.
KINDS: Mapping[str, tuple[Kind, frozenset[Permission], int]] = {
    "service": (Kind(("api",), name="svc"), EVERYTHING, 0),
    "administrator": (Kind(("admin", "api"), name="root"), EVERYTHING, 0),
    "administrator with a scope": (Kind(("admin",), ("admin",), name="root"), EVERYTHING, 0),
    "service with the scope jobs": (Kind(("api",), ("jobs",), name="svc"), BY_SCOPE_JOBS, 403),
    "administrator with the scope jobs": (Kind(("admin",), ("jobs",), name="root"), BY_SCOPE_JOBS, 403),
    "service with the scope read": (Kind(("api",), ("read",), name="svc"), frozenset({P.NODES_READ}), 403),
    "service with the scope write": (Kind(("api",), ("write",), name="svc"), frozenset(), 403),
    "service that was an administrator": (
        Kind(("api",), ("admin",), name="svc", was=("admin", "api")),
        frozenset(),
        403,
    ),
    "support with the scope read": (Kind(("support",), ("read",)), frozenset({P.NODES_READ}), 403),
    "support that was an administrator": (Kind(("support",), ("jobs",), was=("admin", "support")), frozenset(), 403),
    "owner with the scope read": (Kind(("user",), ("read",)), frozenset(), 403),
    "owner who was an administrator": (
        Kind(("user",), ("jobs", "admin", "write"), was=("admin", "user")),
        frozenset(),
        403,
    ),
    "owner": (Kind(("api", "user")), frozenset(), 401),
    "owner without api": (Kind(("user",)), frozenset(), 401),
    "another user": (Kind(("api", "user"), name="bob"), frozenset(), 401),
    "manager": (Kind(("api", "manager")), frozenset(), 401),
    "support": (Kind(("api", "support")), frozenset({P.NODES_READ}), 401),
    "administrator without api": (Kind(("admin",), name="root"), frozenset(), 401),
    "service of another cluster": (Kind(("api",), None, ("heron",), "svc"), frozenset(), 403),
    "jobs of another cluster": (Kind(("api",), ("jobs",), ("heron",), "svc"), frozenset(), 403),
    "administrator of another cluster": (Kind(("admin",), ("admin",), ("heron",), "root"), frozenset(), 403),
}


@pytest.fixture
def two(site_of: Any, tern: dict[str, Any]) -> Any:
    """Two clusters, a running job of ada on tern with a tag, a finished one, and the state of a machine."""
    heron = {**tern, "name": "heron"}
    site = site_of(clusters=[tern, heron], settings={"main": {"machine-state-dir": "machines"}})
    assert site.start_job(user="ada", tags=[{"type": "note", "name": "old"}]) == 1
    site.start_job(user="ada", jobId=2, tags=TAG)
    site.clock.advance(10)
    site.stop_job(job_id=2)
    with site.services.database.write():
        site.services.database.run_sql("UPDATE job SET monitoring_status = 3 WHERE job_id = 2")
    answer = site.client.put("/api/machine_state/tern/tn01/", json={"load": 1}, headers=site.headers())
    assert answer.status_code == 201
    return site


def state(site: Any) -> Any:
    """Everything that one of the requests would change."""
    services = site.services
    jobs = services.job_queries.find(JobFilter(), RowRule(all_jobs=True), now_s=0).jobs
    shown = [(job.id, job.state, job.duration, job.tags, job.meta_data) for job in jobs]
    tags = services.database.first_row("SELECT COUNT(*) FROM tag")
    return shown, tags, services.machine_states.load("tern", "tn01").content


def send(site: Any, request: Request, headers: dict[str, str]) -> Any:
    body = request.body
    if "start_job" in request.path:
        body = site.start_document(jobId=3, user="ada")
    more = {} if body is None else {"json": body}
    return site.client.open(request.path, method=request.method, headers=headers, **more)


def headers_of(site: Any, kind: Kind) -> dict[str, str]:
    headers: dict[str, str] = site.headers(
        *(kind.was or kind.roles), name=kind.name, scopes=kind.scopes, clusters=kind.clusters
    )
    if kind.was:
        database = site.services.database
        with database.write():
            UserRow.update(roles=sorted(kind.roles)).where(UserRow.name == kind.name).execute(database)
    return headers


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_of_caller_changes_what_it_may_and_nothing_else(two: Any, kind: str) -> None:
    caller, allowed, status = KINDS[kind]
    headers = headers_of(two, caller)
    before = state(two)
    for name, request in REQUESTS.items():
        if request.permission not in allowed:
            answer = send(two, request, headers)
            removes_own = name == "remove old" and caller.clusters  # it removes those of its own cluster: here none
            is_told_per_event = name == "many events" and caller.clusters
            is_let_in = is_told_per_event or (removes_own and caller.scopes != ("jobs",))
            expected = 200 if is_let_in else status
            assert answer.status_code == expected, f"{name}: {answer.status_code} {answer.text}"
            assert answer.get_json().get("code") or answer.status_code == 200
            assert state(two) == before, name
            assert "wave" not in answer.text, name


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("kind", [kind for kind, (_, allowed, _) in KINDS.items() if allowed])
def test_whoever_may_is_let_in(two: Any, kind: str, name: str) -> None:
    caller, allowed, _ = KINDS[kind]
    request = REQUESTS[name]
    if request.permission in allowed:
        before = state(two)
        answer = send(two, request, headers_of(two, caller))
        assert answer.status_code in {200, 201}, answer.text
        assert request.method == "GET" or name == "untag" or state(two) != before


def test_the_matrix_has_every_route_with_such_a_permission() -> None:
    asked = {(request.method, request.path, request.permission) for request in REQUESTS.values()}
    fill = {"<job_id>": "1", "<before>": "9999999999", "<cluster>": "tern", "<host>": "tn01"}
    routes = set()
    for route in ROUTES:
        is_of_nodes = any(word in route.path for word in ("nodestate", "healthcheck", "/api/nodes/"))
        if route.permission in EVERYTHING and not is_of_nodes:
            path = route.path
            for name, value in fill.items():
                path = path.replace(name, value)
            routes |= {(method, path, route.permission) for method in route.methods}
    assert asked == routes


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PATCH", "/api/jobs/edit_meta/", {"jobId": 88412, "payload": PAIR}),
        ("DELETE", "/api/jobs/delete_job/", {"jobId": 88412}),
    ],
)
def test_a_token_of_one_cluster_must_name_the_cluster_of_a_job(two: Any, method: str, path: str, body: Any) -> None:
    for clusters in (["heron"], ["tern"]):
        before = state(two)
        answer = two.client.open(path, method=method, json=body, headers=two.headers("api", clusters=clusters))
        assert (answer.status_code, answer.get_json()["code"]) == (400, "invalid_job")
        assert state(two) == before


def test_a_private_tag_of_somebody_else_is_not_to_be_had_by_any_caller(two: Any) -> None:
    for kind in ("service", "administrator", "administrator with a scope", "service with the scope jobs"):
        headers = headers_of(two, KINDS[kind][0])
        before = state(two)
        for method, path in (("POST", "/api/jobs/tag_job/1/"), ("DELETE", "/api/jobs/tag_job/1/")):
            answer = two.client.open(path, method=method, json=PRIVATE, headers=headers)
            assert (answer.status_code, answer.get_json()["code"]) == (403, "not_allowed"), kind
        assert state(two) == before


def test_a_token_of_one_cluster_removes_no_tag_from_the_site_even_if_only_its_jobs_have_it(two: Any) -> None:
    headers = two.headers("api", clusters=["tern"])
    before = state(two)
    answer = two.client.delete("/api/tags/", json=TAG, headers=headers)
    assert (answer.status_code, answer.get_json()["code"]) == (403, "cluster_not_allowed")
    assert state(two) == before
