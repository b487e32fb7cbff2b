"""The caller of a request, with roles and token scopes."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal


class Role(StrEnum):
    """All roles, weakest first."""

    ANONYMOUS = "anonymous"
    API = "api"
    USER = "user"
    MANAGER = "manager"
    SUPPORT = "support"
    ADMIN = "admin"


class TokenScope(StrEnum):
    """What a token that was issued here may be used for."""

    WRITE = "write"
    JOBS = "jobs"
    READ = "read"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated user or program.

    `scopes` is None for sessions, and for tokens of ClusterCockpit 1.5, which have roles only.
    `allowed_clusters` limits a token to clusters; empty allows all.
    """

    name: str
    roles: frozenset[str]
    projects: tuple[str, ...] = ()
    scopes: frozenset[str] | None = None
    allowed_clusters: tuple[str, ...] = ()
    kind: Literal["token", "session"] = "token"

    @property
    def is_service(self) -> bool:
        """Whether this is a service account: the role `api` and no other."""
        return self.roles == {Role.API}

    @property
    def is_admin(self) -> bool:
        """Whether the caller has the role `admin`."""
        return Role.ADMIN in self.roles

    @property
    def sees_nodes(self) -> bool:
        """Whether the caller may see nodes and whole clusters: admin, support and service accounts."""
        return self.is_service or bool(self.roles & {Role.ADMIN, Role.SUPPORT})

    @property
    def sees_restricted_metrics(self) -> bool:
        """Whether the caller sees metrics that cluster.json restricts: staff and service accounts."""
        return self.sees_nodes

    def may_use_cluster(self, cluster: str) -> bool:
        """Whether the token is valid for this cluster, for reading and for writing."""
        return not self.allowed_clusters or cluster in self.allowed_clusters


SERVICE_CALLER = Caller("service", frozenset({Role.API}))
"""The caller of events from a source without authentication, such as a message broker."""
