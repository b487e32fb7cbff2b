"""A receiver that asks the management controllers of many nodes by Redfish: JSON over HTTPS."""

from __future__ import annotations

import json
import logging
import math
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Mapping, Tuple

from cc_agent.errors import AgentError
from cc_agent.receivers.base import ReceiverSettings
from cc_agent.receivers.bmc import BmcClient, BmcHost, SensorSeries, bmc_hosts
from cc_agent.receivers.intake import Intake
from cc_agent.receivers.polling import Poller
from cc_agent.receivers.redfish_readings import Document, RedfishReading, read_chassis, read_processor
from cc_agent.router import ReceivedSample
from cc_common.errors import SettingsError
from cc_common.settings import option, sections

logger = logging.getLogger(__name__)

MAX_REQUESTS = 400
"""Maximum number of requests to one controller at a reading."""

_DOCUMENT_LIMIT_BYTES = 1 << 20
_MAX_MEMBERS = 256
_ROOT = "/redfish/v1"
_OK = 200


@dataclass(frozen=True)
class RedfishClient(BmcClient):
    """Nodes whose controllers are asked in the same way."""

    disable_power_metrics: bool = option(False, "leave power out", key="disable_power_metrics")
    disable_processor_metrics: bool = option(False, "leave processors out", key="disable_processor_metrics")
    disable_sensors: bool = option(False, "leave sensors out", key="disable_sensors")
    disable_thermal_metrics: bool = option(False, "leave temperatures and fans out", key="disable_thermal_metrics")


@dataclass(frozen=True)
class RedfishReceiverSettings(ReceiverSettings):
    """Options of a receiver of type redfish."""

    interval_s: float = option(30.0, "time between two readings", key="interval", kind="duration", minimum=1.0)
    fanout: int = option(64, "controllers asked at a time", minimum=1, maximum=256)
    http_insecure: bool = option(
        False,
        "do not check certificates; anybody in between can then get the password",
        key="http_insecure",
    )
    ca_file: str = option("", "certificates to trust instead of the system's", key="ca_file", kind="path")
    http_timeout_s: float = option(10.0, "maximum time of a request", key="http_timeout", kind="duration", minimum=0.1)
    username: str = option("", "user name at the controllers")
    password: str = option("", "password at the controllers", secret=True)
    endpoint: str = option("https://%h-bmc", "address of a controller, with %h for the name of the node")
    disable_power_metrics: bool = option(False, "leave power out", key="disable_power_metrics")
    disable_processor_metrics: bool = option(False, "leave processors out", key="disable_processor_metrics")
    disable_sensors: bool = option(False, "leave sensors out", key="disable_sensors")
    disable_thermal_metrics: bool = option(False, "leave temperatures and fans out", key="disable_thermal_metrics")
    exclude_metrics: Tuple[str, ...] = option((), "metrics to leave out", key="exclude_metrics")
    client_config: Tuple[RedfishClient, ...] = sections(RedfishClient, "which nodes to ask", key="client_config")

    def __post_init__(self) -> None:
        """Check nodes and addresses."""
        for client in self.client_config:
            for host in self.hosts(client):
                if not host.endpoint.startswith(("https://", "http://")):
                    raise SettingsError("endpoint", f"must begin with https://, not {host.endpoint[:60]!r}")

    def hosts(self, client: RedfishClient) -> List[BmcHost]:
        """The nodes of a client. Raises SettingsError."""
        return bmc_hosts(client, endpoint=self.endpoint, username=self.username, password=self.password)

    def parts(self, client: RedfishClient) -> Tuple[str, ...]:
        """Which of power, thermal, sensors and processors to read of the nodes of a client."""
        names = ("power_metrics", "thermal_metrics", "sensors", "processor_metrics")
        return tuple(
            name for name in names if not (getattr(self, f"disable_{name}") or getattr(client, f"disable_{name}"))
        )

    def advice(self) -> Tuple[str, ...]:
        """Sentences about what is unwise in these settings."""
        if self.http_insecure:
            return ("certificates of controllers are not checked: name their CA as 'ca_file' instead",)
        return ()


class RedfishReceiver:
    """Reads the controllers of all nodes at intervals, several at a time; one that fails costs only itself."""

    def __init__(
        self, name: str, settings: RedfishReceiverSettings, intake: Intake, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.name = name
        self._settings = settings
        self.intake = intake
        self._clock = clock
        self._series = SensorSeries(name)
        self._poller = Poller(name, self.read_all, settings.interval_s)
        self._client: Any = None

    def start(self) -> None:
        """Begin to read. Raises DeliveryError for an unusable CA file."""
        self.open()
        self._poller.start()

    def open(self) -> None:
        """Make the connections possible, without reading yet. Raises DeliveryError for an unusable CA file."""
        from cc_common.deadline_transport import deadline_client  # noqa: PLC0415 loads httpx
        from cc_common.delivery.http_sender import tls_context  # noqa: PLC0415 loads ssl

        context = tls_context(self._settings.ca_file or None)
        if self._settings.http_insecure:
            import ssl  # noqa: PLC0415 not every agent needs it

            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        self._client = deadline_client(
            self._settings.http_timeout_s, tls=context, connections=self._settings.fanout, follow_redirects=False
        )

    def close(self) -> None:
        """End after the current reading."""
        self._poller.close()
        if self._client is not None:
            self._client.close()

    def read_all(self) -> None:
        """Read all controllers once. Raises AgentError if any of them failed."""
        work = [
            (host, self._settings.parts(client), {*self._settings.exclude_metrics, *client.exclude_metrics})
            for client in self._settings.client_config
            for host in self._settings.hosts(client)
        ]
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 not every agent needs it

        with ThreadPoolExecutor(min(self._settings.fanout, len(work)) or 1, thread_name_prefix="redfish") as pool:
            problems = [problem for problem in pool.map(lambda item: self._read_host(*item), work) if problem]
        if problems:
            raise AgentError(f"{len(problems)} of {len(work)} controllers cannot be read, the first: {problems[0]}")

    def _read_host(self, host: BmcHost, parts: Tuple[str, ...], excluded: set[str]) -> str:
        """Read one controller and pass on what it says; the reason if that fails."""
        reading_s = max(self._settings.interval_s, self._settings.http_timeout_s)
        session = _Session(self._client, host, reading_s)
        samples: List[ReceivedSample] = []
        problem = ""
        try:
            for reading in session.readings(parts):
                if reading.metric not in excluded and math.isfinite(reading.value):
                    series = self._series.get(reading.metric, host.hostname, reading.sensor, reading.unit, reading.tags)
                    samples.append((series, reading.value, int(self._clock())))
        except Exception as error:  # noqa: BLE001 whatever a controller answers costs only itself
            problem = f"{host.hostname}: {type(error).__name__}: {error}"
        self.intake.accept_samples(samples)
        return problem or ("" if samples else f"{host.hostname}: there is nothing to read")


class _Session:
    """The requests to one controller at a reading, which begin within `reading_s` seconds: the others do not wait."""

    def __init__(self, client: Any, host: BmcHost, reading_s: float) -> None:
        self._client = client
        self._host = host
        self._left = MAX_REQUESTS
        self._reading_s = reading_s
        self._until_s = time.monotonic() + reading_s

    def readings(self, parts: Tuple[str, ...]) -> Iterator[RedfishReading]:
        """What the controller says about these parts. Raises AgentError or an error of httpx."""
        if set(parts) - {"processor_metrics"}:
            for chassis in self._members(f"{_ROOT}/Chassis"):
                documents: Dict[str, Document] = {}
                if "power_metrics" in parts:
                    documents["Power"] = self._linked(chassis, "Power")
                if "thermal_metrics" in parts:
                    documents["Thermal"] = self._linked(chassis, "Thermal")
                sensors = self._members_of(chassis, "Sensors") if "sensors" in parts else iter(())
                yield from read_chassis(chassis, documents, sensors)
        if "processor_metrics" in parts:
            for system in self._members(f"{_ROOT}/Systems"):
                number = 0
                for processor in self._members_of(system, "Processors"):
                    if processor.get("ProcessorType", "CPU") == "CPU":
                        link = "ProcessorMetrics" if "ProcessorMetrics" in processor else "Metrics"
                        yield from read_processor(number, processor, self._linked(processor, link))
                        number += 1

    def _members(self, path: str) -> Iterator[Document]:
        members = self._get(path).get("Members")
        for member in members[:_MAX_MEMBERS] if isinstance(members, list) else ():
            link = _link(member)
            if link:
                yield self._get(link)

    def _members_of(self, document: Document, key: str) -> Iterator[Document]:
        link = _link(document.get(key))
        return self._members(link) if link else iter(())

    def _linked(self, document: Document, key: str) -> Document:
        link = _link(document.get(key))
        return self._get(link) if link else {}

    def _get(self, path: str) -> Document:
        self._left -= 1
        if self._left < 0:
            raise AgentError(f"it takes more than {MAX_REQUESTS} requests")
        if time.monotonic() >= self._until_s:
            raise AgentError(f"it takes longer than {self._reading_s:g} s")
        url = self._host.endpoint.rstrip("/") + path
        auth = (self._host.username, self._host.password) if self._host.username else None
        received = bytearray()
        with self._client.stream("GET", url, auth=auth, headers={"Accept": "application/json"}) as response:
            if response.status_code != _OK:
                raise AgentError(f"{path} answers with HTTP {response.status_code}")
            for piece in response.iter_bytes():
                received += piece
                if len(received) > _DOCUMENT_LIMIT_BYTES:
                    raise AgentError(f"{path} is longer than {_DOCUMENT_LIMIT_BYTES} bytes")
        try:
            document = json.loads(bytes(received))
        except (ValueError, RecursionError) as error:
            raise AgentError(f"{path} is not JSON") from error
        if not isinstance(document, dict):
            raise AgentError(f"{path} is not an object")
        return document


def _link(value: Any) -> str:
    """The path that a document refers to; "" if it refers to none, or away from this controller."""
    path = value.get("@odata.id") if isinstance(value, Mapping) else None
    if not isinstance(path, str) or not path.startswith(f"{_ROOT}/") or len(path) > 1000:  # noqa: PLR2004 no path is so long
        return ""
    return path if path.isascii() and path.isprintable() and ".." not in path and " " not in path else ""
