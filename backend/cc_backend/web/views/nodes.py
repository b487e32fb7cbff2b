"""The part of the start page about nodes, for administrators and support staff."""

from dataclasses import dataclass

from cc_backend.auth.caller import Caller, Role
from cc_backend.auth.token_expiry import days_left, ending_soon
from cc_backend.auth.tokens import TokenRecord
from cc_backend.services import Services
from cc_backend.web.reporting_nodes import ReportingNodes, reporting_nodes, unknown_words
from cc_backend.wording.format import count


@dataclass(frozen=True, slots=True)
class NodesPart:
    """The clusters with their nodes; for administrators what came and is not configured, and tokens that end soon."""

    clusters: tuple[ReportingNodes, ...]
    elsewhere: tuple[str, ...]
    unknown: tuple[str, ...]
    more_unknown: int
    tokens: tuple[str, ...]


def nodes_part(services: Services, caller: Caller) -> NodesPart | None:
    """What the caller may see of the nodes, None for those who see only jobs."""
    if not caller.sees_nodes:
        return None
    names = [name for name in services.clusters.names() if caller.may_use_cluster(name)]
    elsewhere = [name for name in names if services.stores.external(name) is not None]
    states = services.nodes.count_by_state()
    now_s = services.now_s()
    clusters = tuple(
        reporting_nodes(services.clusters[name], services.store.last_seen(name), now_s=now_s, states=states.get(name))
        for name in names
        if name not in elsewhere
    )
    seen = services.store.unknown_names() if Role.ADMIN in caller.roles else []
    seen = [(reason, name) for reason, name in seen if not caller.clusters or name.cluster in caller.clusters]
    unknown, more = unknown_words(seen)
    soon = ending_soon(services.tokens, services.clock(), caller.clusters) if Role.ADMIN in caller.roles else []
    return NodesPart(clusters, tuple(elsewhere), tuple(unknown), more, tuple(_token_words(one, now_s) for one in soon))


def _token_words(record: TokenRecord, now_s: float) -> str:
    days = days_left(record, now_s)
    when = "today" if not days else f"in {count(days, 'day')}"
    return f"the token {record.jti[:8]} of {record.user}, {when}"
