"""A sink that shows the last value of each series to Prometheus, which comes for them."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, Dict, List, NamedTuple, Optional

from cc_agent.addresses import port_number
from cc_agent.processor import Processor, ProcessorSettings, TagRule
from cc_agent.prometheus_text import label_name, metric_name, series_text
from cc_agent.router import Batch
from cc_agent.sinks.base import SinkSettings
from cc_common.errors import SettingsError
from cc_common.line_protocol import parse_series
from cc_common.settings import option, required

if TYPE_CHECKING:
    from cc_agent.http_listener import HttpListener, HttpReply, HttpRequest

MAX_SERIES = 65_536
"""Maximum number of series that are shown; further ones are left out."""

_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_GROUP_TAG = "__group__"


@dataclass(frozen=True)
class PrometheusSettings(SinkSettings):
    """Options of a sink of type prometheus."""

    host: str = option("", "address to listen on; empty means all")
    port: Any = required("port to listen on")
    path: str = option("metrics", "path of the page", key="path")
    group_as_namespace: bool = option(
        False, "put the group of a metric in front of its name, such as CPU_cpu_user", key="group_as_namespace"
    )
    expiry_s: float = option(
        180.0,
        "age after which a value is no longer shown",
        key="expiry",
        kind="duration",
        minimum=1.0,
    )
    token: str = option("", "bearer token that Prometheus must show", secret=True)
    username: str = option("", "user name that Prometheus must show")
    password: str = option("", "password that belongs to the user name", secret=True)
    cert_file: str = option("", "certificate of this sink; with one it speaks HTTPS", key="cert_file", kind="path")
    cert_key_file: str = option("", "key of the certificate", key="cert_key_file", kind="path")

    def __post_init__(self) -> None:
        """Check the port, and that user name and password come together."""
        port_number(self.port)
        if bool(self.username) != bool(self.password):
            raise SettingsError("username", "and 'password' must be given together")

    def make_processors(self, name: str) -> List[Processor]:
        """The rules of this sink, and one that keeps the group if names need it. Raises SettingsError."""
        own = super().make_processors(name)
        if self.group_as_namespace:
            own.append(Processor(ProcessorSettings(move_meta_to_tag_if=(TagRule("group", _GROUP_TAG),))))
        return own


class _Shown(NamedTuple):
    number: bytes
    time_s: int


class PrometheusSink:
    """Keeps the last value of each series until it expires, and shows them on a page."""

    def __init__(self, name: str, settings: PrometheusSettings, *, clock: Callable[[], float] = time.time) -> None:
        self.name = name
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._values: Dict[bytes, _Shown] = {}
        self._texts: Dict[bytes, str] = {}
        self._path = "/" + settings.path.lstrip("/")
        self._listener: Optional[HttpListener] = None

    @property
    def port(self) -> int:
        """The port that is listened on; 0 before `start`."""
        return self._listener.port if self._listener is not None else 0

    def start(self) -> None:
        """Begin to listen. Raises AgentError if port or certificate cannot be used."""
        from cc_agent.http_listener import (  # noqa: PLC0415 loads http.server
            HttpListener,
            ListenerCredentials,
            ListenerLimits,
            server_tls_context,
        )

        settings = self._settings
        self._listener = HttpListener(
            settings.host,
            port_number(settings.port),
            self._answer,
            limits=ListenerLimits(connections=16),
            credentials=ListenerCredentials(settings.token, settings.username, settings.password),
            tls=server_tls_context(settings.cert_file, settings.cert_key_file),
        )
        self._listener.start()

    def put(self, batch: Batch, /) -> None:
        """Take over the values of a batch; of a series the latest is shown."""
        with self._lock:
            values = self._values
            for line in batch.lines.splitlines():
                key, _, rest = line.rpartition(b" value=")
                number, _, time_text = rest.partition(b" ")
                known = values.get(key)
                if known is None and len(values) >= MAX_SERIES:
                    continue
                shown = _Shown(number, int(time_text))
                if known is None or shown.time_s >= known.time_s:
                    values[key] = shown

    def close(self, _deadline_s: float, /) -> None:
        """Stop to listen."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def page(self) -> str:
        """The page: all values that have not expired, by name."""
        oldest_s = self._clock() - self._settings.expiry_s
        with self._lock:
            self._values = {key: shown for key, shown in self._values.items() if shown.time_s >= oldest_s}
            self._texts = {key: self._texts.get(key) or self._text(key) for key in self._values}
            lines = sorted(
                f"{self._texts[key]} {shown.number.decode()} {shown.time_s}000" for key, shown in self._values.items()
            )
        page: List[str] = []
        last = ""
        for line in lines:
            name = line[: min(position for position in (line.find("{"), line.find(" ")) if position >= 0)]
            if name != last:
                page.append(f"# TYPE {name} gauge")
                last = name
            page.append(line)
        return "".join(line + "\n" for line in page)

    @staticmethod
    def _text(key: bytes) -> str:
        name, tags = parse_series(key)
        group = tags.pop(_GROUP_TAG, "")
        # Two tags that become one label would make the page unreadable: the first one stays.
        labels: Dict[str, str] = {}
        for tag in sorted(tags):
            labels.setdefault(label_name(tag), tags[tag])
        return series_text(f"{metric_name(group)}_{name}" if group else name, labels)

    def _answer(self, request: HttpRequest) -> HttpReply:
        from cc_agent.http_listener import HttpReply  # noqa: PLC0415 loads http.server

        if request.path != self._path:
            return HttpReply(404, f"the page is at {self._path}\n".encode())
        if request.method not in ("GET", "HEAD"):
            return HttpReply(405, b"", headers={"Allow": "GET, HEAD"})
        return HttpReply(200, self.page().encode(), _CONTENT_TYPE)
