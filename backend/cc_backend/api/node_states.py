"""Node states, as a scheduler's adapter reports them."""

from collections.abc import Iterable, Mapping, Sequence

from flask import Response, request

from cc_backend.api.job_events import note_ignored
from cc_backend.http.bodies import read_json
from cc_backend.http.cluster_scope import check_cluster
from cc_backend.http.guard import current_caller
from cc_backend.http.responses import json_answer
from cc_backend.metricstore import HostHealth
from cc_backend.services import Services, current
from cc_common.node_states import parse_node_states


def report_nodes() -> Response:
    """Store what a scheduler says about its nodes; 200 with the number taken and the hosts nobody knows."""
    services = current()
    parsed = parse_node_states(read_json(request, limit_bytes=services.settings.main.max_json_bytes))
    note_ignored("nodestate", parsed)
    check_cluster(parsed.value.cluster, current_caller().clusters)
    now_s = services.now_s()
    healths = _Healths(services, [node.hostname for node in parsed.value.nodes], now_s)
    result = services.nodes.report(parsed.value, healths.of, now_s)
    return json_answer(
        {"accepted": result.accepted, "rejected": len(result.rejected), "unknownHosts": list(result.rejected)}
    )


class _Healths:
    """How the metrics of reported hosts come in; a store elsewhere is asked once per subcluster, for all its hosts."""

    def __init__(self, services: Services, hosts: Sequence[str], now_s: int) -> None:
        self._services = services
        self._hosts = hosts
        self._now_s = now_s
        self._asked: dict[str, Mapping[str, HostHealth]] = {}

    def of(self, cluster: str, host: str, metrics: Iterable[str]) -> HostHealth:
        """The health of one host that the configuration knows."""
        services = self._services
        names = list(metrics)
        sub_cluster = services.clusters.sub_cluster_for(cluster, host).name
        if services.stores.external(cluster, sub_cluster) is None:
            return services.store.host_health(cluster, host, names, now_s=self._now_s)
        if sub_cluster not in self._asked:
            known = services.clusters.get(cluster)
            hosts = [name for name in self._hosts if getattr(known.find_sub_cluster(name), "name", None) == sub_cluster]
            self._asked[sub_cluster] = services.stores.host_health(
                cluster, sub_cluster, hosts, names, now_s=self._now_s
            )
        return self._asked[sub_cluster][host]
