"""Node states, as reported by a scheduler's adapter."""

from collections.abc import Iterable, Mapping, Sequence

from flask import Response, request

from cc_backend.api.job_events import report_ignored_keys
from cc_backend.http.bodies import read_json_body
from cc_backend.http.cluster_scope import require_cluster_allowed
from cc_backend.http.guard import current_caller
from cc_backend.http.responses import json_response
from cc_backend.metricstore import HostHealth
from cc_backend.services import Services, current_services
from cc_common.node_states import parse_node_states


def store_node_states() -> Response:
    """Store the reported states of nodes; 200 with the number of stored nodes and the unknown hosts."""
    services = current_services()
    parsed = parse_node_states(read_json_body(request, limit_bytes=services.settings.main.max_json_bytes))
    report_ignored_keys("nodestate", parsed)
    require_cluster_allowed(parsed.value.cluster, current_caller().allowed_clusters)
    now_s = services.now_s()
    healths = _ReportedHostsHealth(services, [node.hostname for node in parsed.value.nodes], now_s)
    result = services.node_states.store_report(parsed.value, healths.host_health, now_s)
    return json_response(
        {"accepted": result.accepted, "rejected": len(result.rejected), "unknownHosts": list(result.rejected)}
    )


class _ReportedHostsHealth:
    """Health of the reported hosts' metrics; an external store is queried once per subcluster, for all its hosts."""

    def __init__(self, services: Services, hosts: Sequence[str], now_s: int) -> None:
        self._services = services
        self._hosts = hosts
        self._now_s = now_s
        self._by_sub_cluster: dict[str, Mapping[str, HostHealth]] = {}

    def host_health(self, cluster: str, host: str, metrics: Iterable[str]) -> HostHealth:
        """The health of one configured host."""
        services = self._services
        names = list(metrics)
        sub_cluster = services.clusters.sub_cluster_for(cluster, host).name
        if services.store_router.external_store(cluster, sub_cluster) is None:
            return services.store.host_health(cluster, host, names, now_s=self._now_s)
        if sub_cluster not in self._by_sub_cluster:
            known = services.clusters.get(cluster)
            hosts = [name for name in self._hosts if getattr(known.find_sub_cluster(name), "name", None) == sub_cluster]
            self._by_sub_cluster[sub_cluster] = services.store_router.host_health(
                cluster, sub_cluster, hosts, names, now_s=self._now_s
            )
        return self._by_sub_cluster[sub_cluster][host]
