"""Sinks that write to InfluxDB 2, or to what understands its line protocol over HTTP."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from cc_agent.addresses import port_number
from cc_agent.sinks.network import NetworkSettings, precision_option
from cc_common.settings import option, required

if TYPE_CHECKING:
    from cc_common.delivery import DeliveryOutcome, HttpSender
    from cc_common.delivery.http_response import HttpResponse

_NOT_NEEDED = "accepted for compatibility: batches are kept until they are delivered"
_ONE_BATCH = "accepted for compatibility: the samples of a tick are one batch"
_UNPROCESSABLE = 422


@dataclass(frozen=True)
class InfluxServerSettings(NetworkSettings):
    """Options that both types of sinks for InfluxDB have."""

    host: str = option("localhost", "host of the server")
    port: Any = required("port of the server")
    database: str = required("bucket to write to")
    organization: str = required("organization that the bucket belongs to")
    user: str = option("", "user name, for servers that want user:password in place of a token")
    password: str = required("token, or the password that belongs to the user name", secret=True)
    ssl: bool = option(False, "use https; the certificate of the server is verified")
    use_gzip: bool = option(True, "send compressed batches", key="use_gzip")
    precision: str = precision_option()
    batch_size: int = option(0, _ONE_BATCH, key="batch_size")
    retry_interval_s: float = option(0.0, _NOT_NEEDED, key="retry_interval", kind="duration")
    retry_exponential_base: int = option(0, _NOT_NEEDED, key="retry_exponential_base")
    max_retries: int = option(0, _NOT_NEEDED, key="max_retries")
    max_retry_time_s: float = option(0.0, _NOT_NEEDED, key="max_retry_time", kind="duration")

    def __post_init__(self) -> None:
        """Check the port."""
        port_number(self.port)


@dataclass(frozen=True)
class InfluxSettings(InfluxServerSettings):
    """Options of a sink of type influxdb."""

    http_request_timeout_s: float = option(
        0.0,
        "the key of cc-metric-collector for 'timeout'; 0 means not given",
        key="http_request_timeout",
        kind="duration",
    )
    flush_delay_s: float = option(0.0, _ONE_BATCH, key="flush_delay", kind="duration")
    max_retry_interval_s: float = option(0.0, _NOT_NEEDED, key="max_retry_interval", kind="duration")


@dataclass(frozen=True)
class InfluxAsyncSettings(InfluxServerSettings):
    """Options of a sink of type influxasync: the keys differ from influxdb, what happens does not."""

    flush_interval_ms: int = option(0, _ONE_BATCH, key="flush_interval")
    custom_flush_interval_s: float = option(0.0, _ONE_BATCH, key="custom_flush_interval", kind="duration")
    max_retry_attempts: int = option(0, _NOT_NEEDED, key="max_retry_attempts")


def influx_write_url(settings: InfluxServerSettings) -> str:
    """The address that the API of InfluxDB 2 has for writing to the bucket."""
    query = urlencode({"org": settings.organization, "bucket": settings.database, "precision": settings.precision})
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"http{'s' if settings.ssl else ''}://{host}:{port_number(settings.port)}/api/v2/write?{query}"


def make_influx_sender(settings: InfluxServerSettings) -> HttpSender:
    """The sender for these settings. Raises DeliveryError for an unusable address or CA file."""
    from cc_common.delivery import HttpSender, Timeouts  # noqa: PLC0415 not every command sends

    total_s = (settings.http_request_timeout_s if isinstance(settings, InfluxSettings) else 0.0) or settings.timeout_s
    token = f"{settings.user}:{settings.password}" if settings.user else settings.password
    return HttpSender(
        influx_write_url(settings),
        ca_file=settings.ca_file or None,
        timeouts=Timeouts(connect_s=min(5.0, total_s), total_s=total_s),
        headers={"Authorization": f"Token {token}"},
        interpret=interpret_influx_response,
        always_gzip=settings.use_gzip,
    )


def interpret_influx_response(response: HttpResponse, *, now_s: float) -> DeliveryOutcome:
    """The outcome of a write: with 422 a line is at fault, for example because it is older than the bucket keeps."""
    from cc_common.delivery import OutcomeKind  # noqa: PLC0415 not every command sends
    from cc_common.delivery.http_response import interpret_response  # noqa: PLC0415 same

    outcome = interpret_response(response, now_s=now_s)
    if response.status == _UNPROCESSABLE:
        return replace(outcome, kind=OutcomeKind.BAD_BATCH, needs_operator=False)
    return outcome
