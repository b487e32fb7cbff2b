"""Permissions of routes. The server does not start with a route without one (`guard.require_declared_permissions`).

There are three kinds of callers:

* a session (cookie of the web pages): needs one of the roles below;
* a token without the claim `scopes`, as ClusterCockpit 1.5 issues them: needs one of the roles below;
* a token with the claim: needs one of the scopes below, and only scopes that its roles may have count
  (`grantable_scopes`).

| permission | session | token without scopes | token scope |
|---|---|---|---|
| PUBLIC | anybody | anybody | anybody |
| PAGE | any role | any role | read, admin |
| JOBS_READ | - | service, admin+api | read, jobs, admin |
| JOBS_READ_OWN | - | service, api + user, manager, support or admin | read, jobs, admin |
| JOBS_WRITE | - | service, admin+api | jobs, admin |
| JOBS_ADMIN | - | service, admin+api | admin |
| NODES_READ | - | service, admin+api, support+api | read, jobs, admin (service, admin, support only) |
| NODES_WRITE | - | service, admin+api | jobs, admin |
| CLUSTERS_READ | - | service, admin+api | read, jobs, admin |
| METRICS_WRITE | - | service, admin+api | write, admin |
| METRICS_READ | - | service, admin+api | read, admin (service, admin, support only) |
| METRICS_ADMIN | - | service, admin+api | admin |
| METRICS_SELF | - | service, admin+api | read, admin (service, admin, support only) |

"any role" is any role except `anonymous`; "service" is a token with the role `api` and no other.
Which jobs a reader sees is decided by `row_rules.row_rule_for`, not here.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from cc_backend.auth.caller import Caller, Role, TokenScope
from cc_backend.errors import NotAllowed, NotAuthenticated
from cc_common.error_codes import ErrorCode

PERMISSION_ATTRIBUTE = "__permission__"
View = TypeVar("View", bound=Callable[..., object])


class Permission(Enum):
    """The permissions that routes require; the module's docstring has the table."""

    PUBLIC = "public"
    PAGE = "page"
    JOBS_READ = "jobs read"
    JOBS_READ_OWN = "jobs read own"
    JOBS_WRITE = "jobs write"
    JOBS_ADMIN = "jobs admin"
    NODES_READ = "nodes read"
    NODES_WRITE = "nodes write"
    CLUSTERS_READ = "clusters read"
    METRICS_WRITE = "metrics write"
    METRICS_READ = "metrics read"
    METRICS_ADMIN = "metrics admin"
    METRICS_SELF = "metrics self"

    @property
    def takes_sessions(self) -> bool:
        """Whether sessions are accepted; otherwise the cookie is ignored."""
        return _RULES[self].session is not None

    @property
    def takes_tokens(self) -> bool:
        """Whether tokens are accepted."""
        return _RULES[self].token is not None


PUBLIC = Permission.PUBLIC


def requires(permission: Permission) -> Callable[[View], View]:
    """Decorator that declares the permission of a view function."""

    def mark(view: View) -> View:
        setattr(view, PERMISSION_ATTRIBUTE, permission)
        return view

    return mark


def permission_of(view: Callable[..., object]) -> Permission | None:
    """The declared permission of a view function, None if it has none."""
    found = getattr(view, PERMISSION_ATTRIBUTE, None)
    return found if isinstance(found, Permission) else None


def require_permission(caller: Caller, permission: Permission) -> None:
    """Return if the caller has the permission.

    Raises:
        NotAuthenticated: this kind of caller has no access to this class of routes; 401, as clients expect it.
        NotAllowed: the caller lacks a role or a scope, which the text names.
    """
    rule = _RULES[permission]
    if permission is Permission.PUBLIC:
        return
    test = rule.session if caller.kind == "session" else rule.token
    if test is None:
        raise NotAuthenticated(
            "this route takes no session" if caller.kind == "session" else "this route takes no token",
            code=ErrorCode.WRONG_CALLER,
        )
    if caller.scopes is None or caller.kind == "session":
        if not test(caller):
            _raise_role_missing(caller)
        return
    held = caller.scopes & grantable_scopes(caller.roles)
    if not held & rule.scopes:
        needed = " or ".join(f"'{scope}'" for scope in sorted(rule.scopes))
        raise NotAllowed(
            f"the token of '{caller.name}' lacks the scope {needed}" if needed else "this route takes no such token",
            code=ErrorCode.SCOPE_MISSING,
        )
    if rule.whole_site and not caller.sees_nodes:
        raise NotAllowed(f"the account '{caller.name}' may not see nodes", code=ErrorCode.ROLE_MISSING)


def grantable_scopes(roles: Collection[str]) -> frozenset[str]:
    """The scopes that a token of an account with these roles may have.

    An administrator may grant all, a service account all but `admin`, everybody else `read`.
    """
    if Role.ADMIN in roles:
        return frozenset(TokenScope)
    if set(roles) == {Role.API}:
        return frozenset({TokenScope.WRITE, TokenScope.JOBS, TokenScope.READ})
    return frozenset({TokenScope.READ}) if _has_any_role_in(roles) else frozenset()


def _raise_role_missing(caller: Caller) -> None:
    if caller.kind == "session":
        if not _has_any_role(caller):
            text = f"the account '{caller.name}' has no role; ask an administrator for one"
            raise NotAllowed(text, code=ErrorCode.ROLE_MISSING)
        raise NotAllowed(f"the account '{caller.name}' lacks the role for this page", code=ErrorCode.ROLE_MISSING)
    text = f"the roles of the token of '{caller.name}' do not fit this route"
    raise NotAuthenticated(text, code=ErrorCode.WRONG_CALLER)


def _has_any_role_in(roles: Collection[str]) -> bool:
    return bool(set(roles) & (frozenset(Role) - {Role.ANONYMOUS}))


def _has_any_role(caller: Caller) -> bool:
    return _has_any_role_in(caller.roles)


def _is_admin_class(caller: Caller) -> bool:
    return caller.is_service or {Role.ADMIN, Role.API} <= caller.roles


def _is_user_class(caller: Caller) -> bool:
    own = {Role.USER, Role.MANAGER, Role.SUPPORT, Role.ADMIN}
    return caller.is_service or (Role.API in caller.roles and bool(caller.roles & own))


def _is_node_reader(caller: Caller) -> bool:
    return Role.API in caller.roles and caller.sees_nodes


def _anybody(_: Caller) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class _Rule:
    session: Callable[[Caller], bool] | None = None
    token: Callable[[Caller], bool] | None = None
    scopes: frozenset[str] = frozenset()
    whole_site: bool = False  # the data belongs to no user, so roles that see only their own jobs have no access


def _scopes(*scopes: TokenScope) -> frozenset[str]:
    return frozenset(scopes) | {TokenScope.ADMIN}


_RULES = {
    Permission.PUBLIC: _Rule(_anybody, _anybody),
    Permission.PAGE: _Rule(_has_any_role, _has_any_role, _scopes(TokenScope.READ)),
    Permission.JOBS_READ: _Rule(None, _is_admin_class, _scopes(TokenScope.READ, TokenScope.JOBS)),
    Permission.JOBS_READ_OWN: _Rule(None, _is_user_class, _scopes(TokenScope.READ, TokenScope.JOBS)),
    Permission.JOBS_WRITE: _Rule(None, _is_admin_class, _scopes(TokenScope.JOBS)),
    Permission.JOBS_ADMIN: _Rule(None, _is_admin_class, _scopes()),
    Permission.NODES_READ: _Rule(None, _is_node_reader, _scopes(TokenScope.READ, TokenScope.JOBS), whole_site=True),
    Permission.NODES_WRITE: _Rule(None, _is_admin_class, _scopes(TokenScope.JOBS)),
    Permission.CLUSTERS_READ: _Rule(None, _is_admin_class, _scopes(TokenScope.READ, TokenScope.JOBS)),
    Permission.METRICS_WRITE: _Rule(None, _is_admin_class, _scopes(TokenScope.WRITE)),
    Permission.METRICS_READ: _Rule(None, _is_admin_class, _scopes(TokenScope.READ), whole_site=True),
    Permission.METRICS_ADMIN: _Rule(None, _is_admin_class, _scopes()),
    Permission.METRICS_SELF: _Rule(None, _is_admin_class, _scopes(TokenScope.READ), whole_site=True),
}
