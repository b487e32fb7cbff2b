"""What receivers of management controllers (BMC) have in common: lists of hosts with their access, and their series."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Dict, List, Mapping, NamedTuple, Tuple

from cc_agent.collectors.base import RawSeries
from cc_common.errors import HostlistError, SettingsError
from cc_common.hostlist import expand
from cc_common.settings import option, required

MAX_HOSTS = 16_384
_MAX_SERIES = 262_144


@dataclass(frozen=True)
class BmcClient:
    """Nodes whose controllers have the same access; what is not given is as in the receiver."""

    host_list: str = required("nodes, such as n[01-64]", key="host_list")
    username: str = option("", "user name at the controllers")
    password: str = option("", "password at the controllers", secret=True)
    endpoint: str = option("", "address of a controller, with %h for the name of the node")
    exclude_metrics: Tuple[str, ...] = option((), "metrics to leave out", key="exclude_metrics")


class BmcHost(NamedTuple):
    """A node, and the address and access of its controller."""

    hostname: str
    endpoint: str
    username: str
    password: str


def bmc_hosts(client: BmcClient, *, endpoint: str, username: str, password: str) -> List[BmcHost]:
    """The nodes of a client, with the receiver's access where it has none of its own. Raises SettingsError."""
    address = client.endpoint or endpoint
    try:
        names = expand(client.host_list, limit=MAX_HOSTS)
    except HostlistError as error:
        raise SettingsError("host_list", str(error)) from error
    if "%h" not in address and len(names) > 1:
        raise SettingsError("endpoint", "needs %h for the name of the node, or all nodes have one controller")
    user, secret = client.username or username, client.password or password
    return [BmcHost(name, address.replace("%h", name), user, secret) for name in names]


class SensorSeries:
    """The series of sensors, each created once."""

    def __init__(self, source: str) -> None:
        self._source = source
        self._known: Dict[Tuple[Any, ...], RawSeries] = {}

    def get(self, metric: str, hostname: str, sensor: str, unit: str, more: Mapping[str, str]) -> RawSeries:
        """The series of a sensor of a node; `more` are further tags, which may change the type."""
        key = (metric, hostname, sensor, unit, *more.items())
        series = self._known.get(key)
        if series is None:
            if len(self._known) >= _MAX_SERIES:  # sensors came and went
                self._known = {}
            tags = {"hostname": hostname, "type": "node", "stype": "sensor", "stype-id": sensor, **more}
            meta = {"source": self._source, "group": "IPMI", "unit": unit}
            series = RawSeries(metric, {name: value for name, value in tags.items() if value}, meta)
            self._known[key] = series
        return series
