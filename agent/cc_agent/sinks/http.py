"""A sink that posts batches to the backend, or to any store that accepts line protocol over HTTP."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Dict, Mapping, Optional, Tuple
from urllib.parse import urlsplit, urlunsplit

from cc_agent.sinks.base import message_types_option
from cc_agent.sinks.network import NetworkSettings, precision_option
from cc_common.errors import SettingsError
from cc_common.settings import option, required

if TYPE_CHECKING:
    from cc_common.delivery import DeliveryOutcome, HttpSender

TOKEN_VARIABLE = "CC_AGENT_TOKEN"  # noqa: S105 the name of a variable, not a token
WRITE_PATH = "/api/write"


@dataclass(frozen=True)
class HttpSettings(NetworkSettings):
    """Options of a sink of type http."""

    url: str = required(f"address; without a path, {WRITE_PATH} is meant")
    jwt: str = option("", "token that is sent as bearer token", env=TOKEN_VARIABLE, secret=True)
    username: str = option("", "user name, for servers that want one instead of a token")
    password: str = option("", "password that belongs to the user name", secret=True)
    idle_connection_timeout_s: float = option(
        120.0, "accepted for compatibility", key="idle_connection_timeout", kind="duration"
    )
    flush_delay_s: float = option(
        0.0, "accepted for compatibility: the samples of a tick are one batch", key="flush_delay", kind="duration"
    )
    max_retries: int = option(
        0, "accepted for compatibility: batches are kept until they are delivered", key="max_retries"
    )
    precision: str = precision_option()
    message_types: Tuple[str, ...] = message_types_option()

    def __post_init__(self) -> None:
        """Check that user name and password come together."""
        if bool(self.username) != bool(self.password):
            raise SettingsError("username", "and 'password' must be given together")


def write_url(url: str) -> str:
    """The address to post to: the given one, with /api/write if it has no path."""
    parts = urlsplit(url)
    if parts.scheme in ("http", "https") and parts.netloc and parts.path in ("", "/"):
        return urlunsplit(parts._replace(path=WRITE_PATH))
    return url


def make_sender(
    settings: HttpSettings, *, on_headers: Optional[Callable[[Mapping[str, str]], None]] = None
) -> HttpSender:
    """The sender for these settings; `on_headers` is called with the headers of each response.

    Raises DeliveryError for an unusable address, token or CA file.
    """
    from cc_common.delivery import HttpSender, Timeouts  # noqa: PLC0415 not every command sends
    from cc_common.delivery.http_response import HttpResponse, interpret_response  # noqa: PLC0415 same

    def interpret(response: HttpResponse, *, now_s: float) -> DeliveryOutcome:
        if on_headers is not None:
            on_headers(response.headers)
        return interpret_response(response, now_s=now_s)

    headers: Dict[str, str] = {}
    if settings.username:
        pair = f"{settings.username}:{settings.password}".encode()
        headers["Authorization"] = "Basic " + base64.b64encode(pair).decode()
    return HttpSender(
        write_url(settings.url),
        token=settings.jwt,
        ca_file=settings.ca_file or None,
        timeouts=Timeouts(connect_s=min(5.0, settings.timeout_s), total_s=settings.timeout_s),
        headers=headers,
        interpret=interpret,
    )
