"""Who may do what: every route against every kind of caller, and which jobs a reader sees."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from cc_backend.api.routes import ROUTES
from cc_backend.auth.permissions import Permission

PROTECTED = [route for route in ROUTES if route.permission is not Permission.PUBLIC]
WRITES = [route for route in PROTECTED if route.permission.name.endswith(("_WRITE", "_ADMIN"))]
READS_JOBS = [route for route in PROTECTED if route.permission in {Permission.JOBS_READ, Permission.JOBS_READ_OWN}]


def answers(site: Any, headers: dict[str, str]) -> dict[str, int]:
    """The status of every protected route for a caller with these headers."""
    statuses = {}
    for route in PROTECTED:
        path = re.sub("<[a-z_]+>", "1", route.path)
        answer = site.client.open(path, method=route.methods[0], data=b"", headers=headers)
        statuses[f"{route.methods[0]} {route.path}"] = answer.status_code
    return statuses


def let_in(statuses: dict[str, int]) -> set[str]:
    return {route for route, status in statuses.items() if status not in {401, 403}}


def paths_of(*permissions: Permission) -> set[str]:
    return {f"{route.methods[0]} {route.path}" for route in PROTECTED if route.permission in permissions}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Auth-Token": ""},
        {"X-Auth-Token": "x.y.z"},
        {"Authorization": "Bearer "},
        {"Authorization": "Basic c2VydmljZTp4"},
        {"Cookie": "session=x"},
    ],
    ids=["nothing", "empty", "garbage", "empty bearer", "basic", "cookie"],
)
def test_no_route_is_open_without_a_token(site: Any, headers: dict[str, str]) -> None:
    assert set(answers(site, headers).values()) == {401}


def test_a_login_cookie_is_worth_nothing_here(site: Any) -> None:
    user = site.user("root", "admin", "api")
    cookie = site.services.sessions.create(user.name, site.clock())
    assert set(answers(site, {"Cookie": f"session={cookie}"}).values()) == {401}


@pytest.mark.parametrize("roles", [("user",), ("manager",), ("support",), ("admin",), ("anonymous",)], ids=str)
def test_a_token_without_the_role_api_is_401(site: Any, roles: tuple[str, ...]) -> None:
    assert set(answers(site, site.headers(*roles)).values()) == {401}


@pytest.mark.parametrize("roles", [("api",), ("admin", "api"), ("admin", "api", "user")], ids=str)
def test_a_service_and_an_administrators_token_pass_everywhere(site: Any, roles: tuple[str, ...]) -> None:
    statuses = answers(site, site.headers(*roles))
    assert let_in(statuses) == set(statuses)


@pytest.mark.parametrize("roles", [("api", "user"), ("api", "manager"), ("api", "support")], ids=str)
def test_a_users_token_passes_under_userapi_only_and_a_supporters_to_nodes(site: Any, roles: tuple[str, ...]) -> None:
    nodes = {Permission.NODES_READ} if "support" in roles else set()
    assert let_in(answers(site, site.headers(*roles))) == paths_of(Permission.JOBS_READ_OWN, *nodes)


@pytest.mark.parametrize(
    ("scope", "opened"),
    [
        ("write", {Permission.METRICS_WRITE}),
        (
            "read",
            {
                Permission.JOBS_READ,
                Permission.JOBS_READ_OWN,
                Permission.NODES_READ,
                Permission.CLUSTERS_READ,
                Permission.METRICS_READ,
            },
        ),
        (
            "jobs",
            {
                Permission.JOBS_WRITE,
                Permission.NODES_READ,
                Permission.NODES_WRITE,
                Permission.JOBS_READ,
                Permission.JOBS_READ_OWN,
                Permission.CLUSTERS_READ,
                Permission.NODES_READ,
            },
        ),
    ],
)
def test_a_scope_opens_its_routes_and_no_others(site: Any, scope: str, opened: set[Permission]) -> None:
    statuses = answers(site, site.headers("api", scopes=[scope]))
    assert let_in(statuses) == paths_of(*opened)
    assert {statuses[route] for route in set(statuses) - let_in(statuses)} == {403}


def test_an_expired_token_is_401(site: Any) -> None:
    headers = site.headers("api", max_age_s=60)
    site.clock.advance(61)
    assert set(answers(site, headers).values()) == {401}


def test_a_revoked_token_is_401_at_once(site: Any) -> None:
    headers = site.headers("api")
    assert site.client.get("/api/jobs/", headers=headers).status_code == 200
    (record,) = site.services.tokens.list()
    site.services.tokens.revoke(record.jti, now_s=site.clock())
    assert site.client.get("/api/jobs/", headers=headers).status_code == 401


def test_addresses_outside_the_allowed_networks_are_401(site_of: Any) -> None:
    site = site_of(settings={"main": {"api-allowed-ips": ["10.0.0.0/8"]}})
    inside = site.client.get("/api/jobs/", headers=site.headers(), environ_overrides={"REMOTE_ADDR": "10.1.2.3"})
    outside = site.client.get("/api/jobs/", headers=site.headers(), environ_overrides={"REMOTE_ADDR": "192.0.2.7"})
    assert (inside.status_code, outside.status_code) == (200, 401)


def test_every_route_that_changes_something_asks_for_a_right_to_write() -> None:
    reads = {"get_job_with_named_metrics", "query_samples"}
    for route in ROUTES:
        if set(route.methods) & {"POST", "PUT", "PATCH", "DELETE"} and route.view.__name__ not in reads:
            assert route in WRITES, route.path


# Row rules: one job of ada in project p1, one of bob in p2; database ids 1 and 2.


@pytest.fixture
def two_owners(site: Any) -> Any:
    site.start_job(jobId=101, user="ada", project="p1")
    site.start_job(jobId=102, user="bob", project="p2", resources=[{"hostname": "tn02"}])
    return site


def list_route(site: Any, headers: dict[str, str]) -> set[int]:
    return {job["jobId"] for job in site.client.get("/userapi/jobs/", headers=headers).get_json()["jobs"]}


def one_by_one(request: Callable[[Any, int, dict[str, str]], Any]) -> Callable[[Any, dict[str, str]], set[int]]:
    def seen(site: Any, headers: dict[str, str]) -> set[int]:
        return {100 + number for number in (1, 2) if _is_shown(request(site, number, headers))}

    return seen


def _is_shown(answer: Any) -> bool:
    document = answer.get_json()
    return answer.status_code == 200 and ("Meta" in document or document["data"] is not None)


def csv_route(site: Any, headers: dict[str, str]) -> set[int]:
    rows = site.client.get("/userapi/jobs/?format=csv", headers=headers).text.splitlines()
    return {int(row.split(",")[1]) for row in rows[1:]}


def statistics_route(site: Any, headers: dict[str, str]) -> set[int]:
    counted = set()
    for number in (101, 102):
        answer = site.client.get(f"/userapi/jobs/statistics/?jobId={number}", headers=headers).get_json()
        if answer["statistics"]["totalJobs"]:
            counted.add(number)
    return counted


READERS = {
    "list": list_route,
    "statistics": statistics_route,
    "one": one_by_one(lambda site, number, headers: site.client.get(f"/userapi/jobs/{number}", headers=headers)),
    "post": one_by_one(
        lambda site, number, headers: site.client.post(f"/userapi/jobs/{number}", json=[], headers=headers)
    ),
    "list as CSV": csv_route,
    "export": one_by_one(
        lambda site, number, headers: site.client.get(f"/userapi/jobs/export/{number}", headers=headers)
    ),
    "metrics": one_by_one(
        lambda site, number, headers: site.client.get(f"/userapi/jobs/metrics/{number}", headers=headers)
    ),
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize(
    ("roles", "name", "seen"),
    [
        (("api", "user"), "ada", {101}),
        (("api", "user"), "eve", set()),
        (("api", "user"), "' OR '1'='1", set()),
        (("api", "user"), "%", set()),
        (("api", "manager"), "bob", {102}),
        (("api", "support"), "eve", {101, 102}),
        (("api", "admin"), "eve", {101, 102}),
        (("api",), "service", {101, 102}),
    ],
)
def test_a_reader_sees_the_jobs_of_the_row_rule_and_no_others(
    two_owners: Any, reader: Any, roles: tuple[str, ...], name: str, seen: set[int]
) -> None:
    assert reader(two_owners, two_owners.headers(*roles, name=name)) == seen


def test_totals_count_only_what_may_be_seen(two_owners: Any) -> None:
    headers = two_owners.headers("api", "user", name="ada")
    assert two_owners.client.get("/userapi/jobs/?user=bob", headers=headers).get_json()["total"] == 0
    assert two_owners.client.get("/userapi/jobs/?items-per-page=1", headers=headers).get_json()["total"] == 1


def test_a_users_token_with_the_scope_read_sees_own_jobs_but_no_nodes(two_owners: Any) -> None:
    headers = two_owners.headers("user", name="ada", scopes=["read"])
    jobs = two_owners.client.get("/api/jobs/", headers=headers).get_json()["jobs"]
    assert [job["jobId"] for job in jobs] == [101]
    assert two_owners.client.get("/api/jobs/used_nodes?ts=1", headers=headers).status_code == 403


def test_every_reader_route_is_among_those_tested() -> None:
    tested = {"list_jobs", "get_job", "get_job_with_named_metrics", "get_job_metrics", "list_used_nodes"}
    tested |= {"show_statistics", "export_job"}
    assert {route.view.__name__ for route in READS_JOBS} == tested


def test_private_tags_are_shown_to_their_owner_only(site: Any) -> None:
    site.start_job(user="ada", tags=[{"type": "note", "name": "mine", "scope": "service"}])
    for name, count in (("ada", 0), ("service", 1)):
        roles = ("api",) if name == "service" else ("api", "user")
        answer = site.client.get("/userapi/jobs/1", headers=site.headers(*roles, name=name)).get_json()
        assert len(answer["Meta"].get("tags", [])) == count
