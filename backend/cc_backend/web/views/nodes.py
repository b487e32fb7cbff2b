"""The part of the start page about nodes, for administrators and support staff."""

from dataclasses import dataclass

from cc_backend.auth.caller import Caller, Role
from cc_backend.services import Services
from cc_backend.web.reportingnodes import ReportingNodes, reporting_nodes, unknown_words


@dataclass(frozen=True, slots=True)
class NodesPart:
    """The clusters with their nodes, and for administrators the names that came and are not configured."""

    clusters: tuple[ReportingNodes, ...]
    elsewhere: tuple[str, ...]
    unknown: tuple[str, ...]
    more_unknown: int


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
    unknown, more = unknown_words(seen)
    return NodesPart(clusters, tuple(elsewhere), tuple(unknown), more)
