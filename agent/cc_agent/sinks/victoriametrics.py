"""A sink that writes to VictoriaMetrics, in the text format of Prometheus."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Dict, List
from urllib.parse import urlsplit, urlunsplit

from cc_agent.prometheus_text import series_text
from cc_agent.sinks.network import NetworkSettings
from cc_common.errors import SettingsError
from cc_common.line_protocol import parse_series
from cc_common.settings import option, required

if TYPE_CHECKING:
    from cc_common.delivery import HttpSender

IMPORT_PATH = "/api/v1/import/prometheus"
_MAX_CACHED_SERIES = 65_536


@dataclass(frozen=True)
class VictoriaMetricsSettings(NetworkSettings):
    """Options of a sink of type victoriametrics."""

    url: str = required(f"address; without a path, {IMPORT_PATH} is meant")
    token: str = option("", "token that is sent as bearer token", secret=True)
    username: str = option("", "user name, for servers that want one instead of a token")
    password: str = option("", "password that belongs to the user name", secret=True)
    use_gzip: bool = option(True, "send compressed batches", key="use_gzip")

    def __post_init__(self) -> None:
        """Check that user name and password come together."""
        if bool(self.username) != bool(self.password):
            raise SettingsError("username", "and 'password' must be given together")


def import_url(url: str) -> str:
    """The address to post to: the given one, with the path for imports if it has none."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(path=IMPORT_PATH)) if parts.netloc and parts.path in ("", "/") else url


def make_victoriametrics_sender(settings: VictoriaMetricsSettings) -> HttpSender:
    """The sender for these settings. Raises DeliveryError for an unusable address, token or CA file."""
    from cc_common.delivery import HttpSender, Timeouts  # noqa: PLC0415 not every command sends

    headers: Dict[str, str] = {}
    if settings.username:
        pair = f"{settings.username}:{settings.password}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
    return HttpSender(
        import_url(settings.url),
        token=settings.token,
        ca_file=settings.ca_file or None,
        timeouts=Timeouts(connect_s=min(5.0, settings.timeout_s), total_s=settings.timeout_s),
        headers=headers,
        always_gzip=settings.use_gzip,
    )


class PrometheusConverter:
    """Turns lines of samples, with times in seconds, into the text format of Prometheus."""

    def __init__(self) -> None:
        self._known: Dict[bytes, bytes] = {}

    def __call__(self, lines: bytes) -> bytes:
        """The samples of the lines, in their order."""
        if len(self._known) > _MAX_CACHED_SERIES:  # series came and went
            self._known = {}
        written: List[bytes] = []
        for line in lines.splitlines():
            key, _, rest = line.rpartition(b" value=")
            series = self._known.get(key)
            if series is None:
                series = self._known[key] = series_text(*parse_series(key)).encode()
            written.append(b"%b %b000\n" % (series, rest))
        return b"".join(written)
