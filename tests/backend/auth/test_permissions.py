from contextlib import suppress

import pytest

from cc_backend.auth.caller import Caller
from cc_backend.auth.permissions import (
    Permission,
    grantable_scopes,
    permission_of,
    require_permission,
    requires,
)
from cc_backend.errors import NotAllowed, NotAuthenticated

P = Permission
PUBLIC = {P.PUBLIC}
EVERY_PAGE = {P.PUBLIC, P.PAGE}
SERVICE_ROUTES = {
    P.JOBS_READ,
    P.JOBS_READ_OWN,
    P.JOBS_WRITE,
    P.JOBS_ADMIN,
    P.NODES_READ,
    P.NODES_WRITE,
    P.CLUSTERS_READ,
    P.METRICS_WRITE,
    P.METRICS_READ,
    P.METRICS_ADMIN,
    P.METRICS_SELF,
}


def caller(kind: str, roles: str, scopes: str | None = None) -> Caller:
    return Caller(
        "kmeyer",
        frozenset(roles.split()),
        scopes=None if scopes is None else frozenset(scopes.split()),
        kind="session" if kind == "session" else "token",
    )


def permissions_of(who: Caller) -> set[Permission]:
    found = set()
    for permission in Permission:
        with suppress(NotAllowed, NotAuthenticated):
            require_permission(who, permission)
            found.add(permission)
    return found


@pytest.mark.parametrize(
    ("roles", "allowed"),
    [
        ("", PUBLIC),
        ("anonymous", PUBLIC),
        ("root", PUBLIC),
        ("api", EVERY_PAGE),
        ("user", EVERY_PAGE),
        ("user api", EVERY_PAGE),
        ("manager", EVERY_PAGE),
        ("support", EVERY_PAGE),
        ("admin", EVERY_PAGE),
        ("admin api", EVERY_PAGE),
    ],
)
def test_a_session_opens_pages_and_no_routes_of_programs(roles: str, allowed: set[Permission]) -> None:
    assert permissions_of(caller("session", roles)) == allowed


@pytest.mark.parametrize(
    ("roles", "allowed"),
    [
        ("", PUBLIC),
        ("anonymous", PUBLIC),
        ("API", PUBLIC),
        ("api", {P.PUBLIC, P.PAGE} | SERVICE_ROUTES),
        ("admin api", {P.PUBLIC, P.PAGE} | SERVICE_ROUTES),
        ("admin api user", {P.PUBLIC, P.PAGE} | SERVICE_ROUTES),
        ("admin", {P.PUBLIC, P.PAGE}),
        ("user", {P.PUBLIC, P.PAGE}),
        ("user api", {P.PUBLIC, P.PAGE, P.JOBS_READ_OWN}),
        ("manager api", {P.PUBLIC, P.PAGE, P.JOBS_READ_OWN}),
        ("support api", {P.PUBLIC, P.PAGE, P.NODES_READ, P.JOBS_READ_OWN}),
        ("api anonymous", {P.PUBLIC, P.PAGE}),
        ("api root", {P.PUBLIC, P.PAGE}),
    ],
)
def test_a_token_of_the_reference_opens_what_its_roles_say(roles: str, allowed: set[Permission]) -> None:
    assert permissions_of(caller("token", roles)) == allowed


READS_JOBS = {P.PUBLIC, P.PAGE, P.JOBS_READ, P.JOBS_READ_OWN, P.CLUSTERS_READ}
READS_ALL = READS_JOBS | {P.NODES_READ, P.METRICS_READ, P.METRICS_SELF}
WRITES_JOBS = {P.PUBLIC, P.JOBS_READ, P.JOBS_READ_OWN, P.CLUSTERS_READ, P.JOBS_WRITE, P.NODES_READ, P.NODES_WRITE}


@pytest.mark.parametrize(
    ("roles", "scopes", "allowed"),
    [
        ("api", "", PUBLIC),
        ("api", "write", {P.PUBLIC, P.METRICS_WRITE}),
        ("api", "jobs", WRITES_JOBS),
        ("api", "read", READS_ALL),
        ("api", "write jobs", WRITES_JOBS | {P.METRICS_WRITE}),
        ("api", "admin", PUBLIC),
        ("api", "everything", PUBLIC),
        ("user", "read", READS_JOBS),
        ("user api", "read", READS_JOBS),
        ("manager", "read", READS_JOBS),
        ("support", "read", READS_ALL),
        ("user api", "write jobs admin", PUBLIC),
        ("manager api", "jobs", PUBLIC),
        ("support", "write", PUBLIC),
        ("admin", "read", READS_ALL),
        ("admin", "write", {P.PUBLIC, P.METRICS_WRITE}),
        ("admin", "admin", {P.PUBLIC, P.PAGE} | SERVICE_ROUTES),
        ("", "read write jobs admin", PUBLIC),
        ("anonymous", "read", PUBLIC),
    ],
)
def test_a_token_with_scopes_opens_what_its_scopes_say_as_far_as_its_roles_go(
    roles: str, scopes: str, allowed: set[Permission]
) -> None:
    assert permissions_of(caller("token", roles, scopes)) == allowed


@pytest.mark.parametrize(
    ("who", "permission", "error", "text"),
    [
        (caller("token", "user"), P.JOBS_READ, NotAuthenticated, "roles"),
        (caller("token", "api", "read"), P.JOBS_WRITE, NotAllowed, "'admin' or 'jobs'"),
        (caller("token", "user", "read"), P.METRICS_READ, NotAllowed, "nodes"),
        (caller("session", ""), P.PAGE, NotAllowed, "no role"),
        (caller("session", "admin"), P.JOBS_READ, NotAuthenticated, "no session"),
    ],
)
def test_a_refusal_says_what_is_missing(who: Caller, permission: Permission, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        require_permission(who, permission)


def test_an_unmarked_view_has_no_permission() -> None:
    assert permission_of(lambda: "") is None


def test_a_marked_view_keeps_its_permission() -> None:
    @requires(Permission.PAGE)
    def view() -> str:
        return ""

    assert permission_of(view) is Permission.PAGE


@pytest.mark.parametrize(
    ("roles", "scopes"),
    [
        (["admin", "api"], {"write", "jobs", "read", "admin"}),
        (["api"], {"write", "jobs", "read"}),
        (["user", "api"], {"read"}),
        (["support"], {"read"}),
        (["anonymous"], set()),
        ([], set()),
    ],
)
def test_roles_bound_the_scopes_that_can_be_granted(roles: list[str], scopes: set[str]) -> None:
    assert grantable_scopes(roles) == scopes
