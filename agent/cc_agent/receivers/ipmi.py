"""A receiver that asks the management controllers of many nodes by `ipmi-sensors` of FreeIPMI."""

from __future__ import annotations

import contextlib
import math
import os
import time
from dataclasses import dataclass
from typing import Callable, Dict, Iterator, List, NamedTuple, Tuple

from cc_agent.collectors.commands import CommandError, find_program, run_command
from cc_agent.errors import AgentError
from cc_agent.receivers.base import ReceiverSettings
from cc_agent.receivers.bmc import BmcClient, BmcHost, SensorSeries, bmc_hosts
from cc_agent.receivers.intake import Intake
from cc_agent.receivers.polling import Poller
from cc_common.errors import SettingsError
from cc_common.settings import option, sections

_SCHEME = "ipmi-sensors://"
_MAX_HOSTS_PER_COMMAND = 512
_COLUMNS = 6
_METRICS = {
    "W": ("power", "Watts"),
    "C": ("temperature", "degC"),
    "F": ("temperature", "degF"),
    "RPM": ("fan_speed", "RPM"),
    "V": ("voltage", "Volts"),
    "A": ("current", "Ampere"),
    "CFM": ("air_flow", "CFM"),
    "%": ("utilization", "percent"),
}
_OPTIONS = (
    *("--always-prefix", "--sdr-cache-recreate", "--interpret-oem-data", "--ignore-not-available-sensors"),
    *("--ignore-unrecognized-events", "--comma-separated-output", "--no-header-output"),
)


@dataclass(frozen=True)
class IpmiClient(BmcClient):
    """Nodes whose controllers are asked in the same way."""

    driver_type: str = option("", "driver of FreeIPMI", key="driver_type")
    fanout: int = option(0, "controllers asked at a time; 0 means as in the receiver", minimum=0, maximum=1024)
    cli_options: Tuple[str, ...] = option((), "further options of ipmi-sensors, no secrets", key="cli_options")


@dataclass(frozen=True)
class IpmiReceiverSettings(ReceiverSettings):
    """Options of a receiver of type ipmi."""

    interval_s: float = option(30.0, "time between two readings", key="interval", kind="duration", minimum=1.0)
    fanout: int = option(64, "controllers asked at a time", minimum=1, maximum=1024)
    driver_type: str = option("LAN_2_0", "driver of FreeIPMI", key="driver_type")
    username: str = option("", "user name at the controllers")
    password: str = option("", "password at the controllers", secret=True)
    endpoint: str = option("ipmi-sensors://%h-bmc", "address of a controller, with %h for the name of the node")
    exclude_metrics: Tuple[str, ...] = option((), "metrics to leave out", key="exclude_metrics")
    client_config: Tuple[IpmiClient, ...] = sections(IpmiClient, "which nodes to ask", key="client_config")

    def __post_init__(self) -> None:
        """Check nodes, addresses and secrets."""
        for client in self.client_config:
            for host in self.hosts(client):
                if not host.endpoint.startswith(_SCHEME) or not _is_host(host.endpoint[len(_SCHEME) :]):
                    raise SettingsError("endpoint", f"must be {_SCHEME} and a host, not {host.endpoint[:60]!r}")
                _access_file(host.username, host.password)

    def hosts(self, client: IpmiClient) -> List[BmcHost]:
        """The nodes of a client. Raises SettingsError."""
        return bmc_hosts(client, endpoint=self.endpoint, username=self.username, password=self.password)


class _Reading(NamedTuple):
    bmc: str
    sensor: str
    value: float
    unit: str


class IpmiReceiver:
    """Runs `ipmi-sensors` for each list of nodes; the password is in a file that only this user can read."""

    def __init__(
        self, name: str, settings: IpmiReceiverSettings, intake: Intake, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.name = name
        self._settings = settings
        self.intake = intake
        self._clock = clock
        self._series = SensorSeries(name)
        self._poller = Poller(name, self.read_all, settings.interval_s)

    def start(self) -> None:
        """Begin to read. Raises NotPresentError if ipmi-sensors is not installed."""
        find_program("ipmi-sensors", "install FreeIPMI (freeipmi-tools, freeipmi)")
        self._poller.start()

    def close(self) -> None:
        """End after the current reading."""
        self._poller.close()

    def read_all(self) -> None:
        """Read the sensors of all nodes once; nodes that fail cost only themselves. Raises AgentError if any did."""
        problems = []
        for client in self._settings.client_config:
            hosts = self._settings.hosts(client)
            for first in range(0, len(hosts), _MAX_HOSTS_PER_COMMAND):
                try:
                    self._read(client, hosts[first : first + _MAX_HOSTS_PER_COMMAND])
                except (CommandError, OSError) as error:  # noqa: PERF203 the other nodes are to be read
                    problems.append(str(error))
        if problems:
            raise AgentError(f"{len(problems)} times: {problems[0]}")

    def _read(self, client: IpmiClient, hosts: List[BmcHost]) -> None:
        settings = self._settings
        names: Dict[str, str] = {host.endpoint[len(_SCHEME) :]: host.hostname for host in hosts}
        with _written(_access_file(hosts[0].username, hosts[0].password)) as path:
            output = run_command(
                [
                    *("ipmi-sensors", f"--config-file={path}", f"--hostname={','.join(names)}"),
                    f"--driver-type={client.driver_type or settings.driver_type}",
                    f"--fanout={client.fanout or settings.fanout}",
                    *_OPTIONS,
                    *client.cli_options,
                ],
                timeout_s=max(settings.interval_s, 10.0),
                statuses=None,  # it fails if one of many controllers does
            )
        time_s = int(self._clock())
        excluded = {*settings.exclude_metrics, *client.exclude_metrics}
        samples = []
        for reading in parse_sensors(output):
            metric, unit = _METRICS[reading.unit]
            if reading.bmc in names and metric not in excluded:
                more = {"name": reading.sensor}
                series = self._series.get(metric, names[reading.bmc], reading.sensor, unit, more)
                samples.append((series, reading.value, time_s))
        self.intake.accept_samples(samples)
        if not samples:
            raise CommandError(f"no sensor of {hosts[0].hostname} and {len(hosts) - 1} others could be read")


def parse_sensors(output: bytes) -> Iterator[_Reading]:
    """The numbers in lines of ipmi-sensors, `controller: id,name,type,reading,unit,event`; others are skipped."""
    import csv  # noqa: PLC0415 not every agent needs it

    for line in output.decode(errors="replace").splitlines():
        bmc, separator, rest = line.partition(": ")
        columns = next(csv.reader([rest]), []) if separator and "\x00" not in rest else []
        if len(columns) != _COLUMNS or columns[4] not in _METRICS or not columns[1].isprintable():
            continue
        with contextlib.suppress(ValueError):
            value = float(columns[3])
            if math.isfinite(value) and columns[1].strip():
                yield _Reading(bmc.strip(), columns[1].strip()[:100], value, columns[4])


def _is_host(text: str) -> bool:
    return bool(text) and not text.startswith("-") and all(char.isalnum() or char in "._-" for char in text)


def _access_file(username: str, password: str) -> str:
    """What a configuration file of FreeIPMI says about the access. Raises SettingsError for what it cannot say."""
    for key, text in (("username", username), ("password", password)):
        if any(not char.isprintable() or char in ' "\\#' for char in text):
            raise SettingsError(key, "must not have blanks, quotes, backslashes or #, which FreeIPMI cannot read")
    return "".join(f"{key} {text}\n" for key, text in (("username", username), ("password", password)) if text)


@contextlib.contextmanager
def _written(text: str) -> Iterator[str]:
    """The path of a file with this text, which only this user can read, and which is gone afterwards."""
    import tempfile  # noqa: PLC0415 not every agent needs it

    descriptor, path = tempfile.mkstemp(prefix="cc-agent-ipmi-")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        yield path
    finally:
        os.unlink(path)  # noqa: PTH108 a plain path from mkstemp
