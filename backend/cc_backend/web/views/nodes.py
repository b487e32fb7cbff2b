"""The part of the start page about nodes, for administrators and support staff."""

from dataclasses import dataclass

from cc_backend.auth.caller import Caller, Role
from cc_backend.auth.token_expiry import days_left, expiring_tokens
from cc_backend.auth.tokens import TokenRecord
from cc_backend.services import Services
from cc_backend.web.reporting_nodes import (
    FailingSensors,
    ReportingNodes,
    describe_failing_sensors,
    describe_reporting_nodes,
    describe_unknown_names,
)
from cc_backend.wording.format import count_noun


@dataclass(frozen=True, slots=True)
class NodesSection:
    """The clusters with their nodes; for administrators also unknown names and tokens that end soon."""

    clusters: tuple[ReportingNodes, ...]
    elsewhere: tuple[str, ...]
    unknown: tuple[str, ...]
    more_unknown: int
    tokens: tuple[str, ...]
    failing: tuple[FailingSensors, ...] = ()
    more_failing: int = 0


def build_nodes_section(services: Services, caller: Caller) -> NodesSection | None:
    """The section for the caller; None for those who see only jobs."""
    if not caller.sees_nodes:
        return None
    names = [name for name in services.clusters.names() if caller.may_use_cluster(name)]
    elsewhere = [name for name in names if services.store_router.external_store(name) is not None]
    states = services.node_states.count_by_state()
    now_s = services.now_s()
    clusters = tuple(
        describe_reporting_nodes(
            services.clusters[name], services.store.last_seen_by_host(name), now_s=now_s, states=states.get(name)
        )
        for name in names
        if name not in elsewhere
    )
    seen = services.store.unknown_names() if Role.ADMIN in caller.roles else []
    seen = [
        (reason, name)
        for reason, name in seen
        if not caller.allowed_clusters or name.cluster in caller.allowed_clusters
    ]
    unknown, more = describe_unknown_names(seen)
    soon = (
        expiring_tokens(services.tokens, services.clock(), caller.allowed_clusters)
        if Role.ADMIN in caller.roles
        else []
    )
    failing = [describe_failing_sensors(name, services.node_reports.failures(name)) for name in names]
    return NodesSection(
        clusters,
        tuple(elsewhere),
        tuple(unknown),
        more,
        tuple(_describe_token(token, now_s) for token in soon),
        tuple(sensors for shown, _ in failing for sensors in shown),
        sum(more_of_cluster for _, more_of_cluster in failing),
    )


def _describe_token(record: TokenRecord, now_s: float) -> str:
    days = days_left(record, now_s)
    when = "today" if not days else f"in {count_noun(days, 'day')}"
    return f"the token {record.jti[:8]} of {record.user}, {when}"
