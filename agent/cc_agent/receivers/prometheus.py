"""A receiver that scrapes a page in the text format of Prometheus."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Tuple

from cc_agent.addresses import port_number
from cc_agent.collectors.base import RawSeries
from cc_agent.errors import AgentError
from cc_agent.prometheus_text import ScrapedSample, parse_page
from cc_agent.receivers.base import ReceiverSettings
from cc_agent.receivers.intake import Intake
from cc_agent.receivers.polling import Poller
from cc_agent.router import ReceivedSample
from cc_common.settings import option, required

logger = logging.getLogger(__name__)

_PAGE_LIMIT_BYTES = 32 << 20
_MAX_SERIES = 262_144
_OK = 200
_TAGS = {"type_id": "type-id", "stype_id": "stype-id"}


@dataclass(frozen=True)
class PrometheusReceiverSettings(ReceiverSettings):
    """Options of a receiver of type prometheus."""

    address: str = required("host to ask")
    port: Any = required("port to ask")
    path: str = option("metrics", "path of the page", key="path")
    interval_s: float = required("time between two scrapes", key="interval", kind="duration", minimum=1.0)
    timeout_s: float = option(10.0, "maximum time of a scrape", key="timeout", kind="duration", minimum=0.1)
    ssl: bool = option(False, "use https; the certificate of the server is verified")
    ca_file: str = option("", "certificates to trust instead of the system's", key="ca_file", kind="path")
    token: str = option("", "bearer token to show", secret=True)

    def __post_init__(self) -> None:
        """Check the port."""
        port_number(self.port)

    @property
    def url(self) -> str:
        """The address of the page."""
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"http{'s' if self.ssl else ''}://{host}:{port_number(self.port)}/{self.path.lstrip('/')}"


class PrometheusReceiver:
    """Scrapes one page; its labels become tags, and samples without a time get that of the scrape."""

    def __init__(
        self,
        name: str,
        settings: PrometheusReceiverSettings,
        intake: Intake,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self._settings = settings
        self.intake = intake
        self._clock = clock
        self._known: Dict[Tuple[str, Tuple[Tuple[str, str], ...]], RawSeries] = {}
        self._poller = Poller(name, self.scrape, settings.interval_s)
        self._client: Any = None

    def start(self) -> None:
        """Begin to scrape. Raises DeliveryError for an unusable CA file."""
        from cc_common.deadline_transport import deadline_client  # noqa: PLC0415 loads httpx
        from cc_common.delivery.http_sender import tls_context  # noqa: PLC0415 loads ssl

        settings = self._settings
        self._client = deadline_client(
            settings.timeout_s,
            tls=tls_context(settings.ca_file or None) if settings.ssl else None,
            connections=1,
            headers={"Authorization": f"Bearer {settings.token}"} if settings.token else {},
        )
        self._poller.start()

    def close(self) -> None:
        """End after the current scrape."""
        self._poller.close()
        if self._client is not None:
            self._client.close()

    def scrape(self) -> None:
        """Scrape once and pass on what was found. Raises AgentError or an error of httpx."""
        page = self._get()
        scraped_s = int(self._clock())
        samples, bad = parse_page(page)
        if bad:
            logger.debug("lines not read receiver=%s count=%d", self.name, bad)
        if bad and not samples:
            raise AgentError(f"{self._settings.url} does not have the text format of Prometheus")
        received: List[ReceivedSample] = [
            (self._series(sample), sample.value, scraped_s if sample.time_s is None else sample.time_s)
            for sample in samples
        ]
        self.intake.accept_samples(received)

    def _get(self) -> bytes:
        page = bytearray()
        with self._client.stream("GET", self._settings.url, headers={"Accept": "text/plain;version=0.0.4"}) as response:
            if response.status_code != _OK:
                raise AgentError(f"{self._settings.url} answers with HTTP {response.status_code}")
            for piece in response.iter_bytes():
                page += piece
                if len(page) > _PAGE_LIMIT_BYTES:
                    raise AgentError(f"{self._settings.url} is longer than {_PAGE_LIMIT_BYTES} bytes")
        return bytes(page)

    def _series(self, sample: ScrapedSample) -> RawSeries:
        key = (sample.name, tuple(sample.labels.items()))
        series = self._known.get(key)
        if series is None:
            if len(self._known) >= _MAX_SERIES:  # series came and went
                self._known = {}
            tags = {_TAGS.get(label, label): text for label, text in sample.labels.items() if text}
            tags.setdefault("type", "node")
            series = self._known[key] = RawSeries(sample.name, tags, {"source": self.name})
        return series
