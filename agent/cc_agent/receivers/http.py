"""A receiver of line protocol that is posted over HTTP: by other agents, or by anything that can post a line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Tuple

from cc_agent.addresses import port_number
from cc_agent.receivers.base import ReceiverSettings
from cc_agent.receivers.intake import Intake
from cc_common.errors import SettingsError
from cc_common.settings import option

if TYPE_CHECKING:
    from cc_agent.http_listener import HttpListener, HttpReply, HttpRequest

_LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True)
class HttpReceiverSettings(ReceiverSettings):
    """Options of a receiver of type http."""

    address: str = option("", "address to listen on; empty means all")
    port: Any = option(8080, "port to listen on")
    path: str = option("", "path that messages are posted to; empty means /api/write", key="path")
    token: str = option("", "bearer token that senders must show", secret=True)
    username: str = option("", "user name that senders must show")
    password: str = option("", "password that belongs to the user name", secret=True)
    cert_file: str = option("", "certificate of this receiver; with one it speaks HTTPS", key="cert_file", kind="path")
    cert_key_file: str = option("", "key of the certificate", key="cert_key_file", kind="path")
    idle_timeout_s: float = option(
        120.0, "maximum time between two requests of a connection", key="idle_timeout", kind="duration", minimum=0.1
    )
    keep_alives_enabled: bool = option(True, "answer several requests on one connection", key="keep_alives_enabled")
    body_limit_bytes: int = option(
        8_388_608, "maximum size of a batch, decompressed", key="body_limit_bytes", minimum=1024
    )
    connections: int = option(256, "maximum number of connections at a time", key="connections", minimum=1)

    def __post_init__(self) -> None:
        """Check the port, and that user name and password come together."""
        port_number(self.port)
        if bool(self.username) != bool(self.password):
            raise SettingsError("username", "and 'password' must be given together")

    @property
    def request_path(self) -> str:
        """The path with its slash."""
        return "/" + self.path.strip("/") if self.path.strip("/") else "/api/write"

    def advice(self) -> Tuple[str, ...]:
        """Sentences about what is unwise in these settings."""
        if self.address in _LOOPBACK:
            return ()
        if not (self.token or self.username):
            return ("anybody who reaches this receiver can send samples: give 'token', or 'username' and 'password'",)
        return () if self.cert_file else ("what senders show can be read on the network: give 'cert_file'",)


class HttpReceiver:
    """Accepts batches that are posted, and answers which lines were bad as the backend does."""

    def __init__(self, name: str, settings: HttpReceiverSettings, intake: Intake) -> None:
        self.name = name
        self._settings = settings
        self.intake = intake
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
            settings.address,
            port_number(settings.port),
            self._answer,
            limits=ListenerLimits(
                connections=settings.connections,
                body_bytes=settings.body_limit_bytes,
                idle_s=settings.idle_timeout_s,
                keep_alive=settings.keep_alives_enabled,
            ),
            credentials=ListenerCredentials(settings.token, settings.username, settings.password),
            tls=server_tls_context(settings.cert_file, settings.cert_key_file),
        )
        self._listener.start()

    def close(self) -> None:
        """Stop to listen."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None

    def _answer(self, request: HttpRequest) -> HttpReply:
        from cc_agent.http_listener import HttpReply  # noqa: PLC0415 loads http.server

        if request.path.rstrip("/") != self._settings.request_path:
            return HttpReply(404, b"there is nothing at this address\n")
        if request.method != "POST":
            return HttpReply(405, b"batches are posted\n", headers={"Allow": "POST"})
        report = self.intake.accept_lines(request.body)
        compressed = {"Accept-Encoding": "gzip"}
        if not report.rejected:
            return HttpReply(200, headers=compressed)
        document = {"accepted": report.accepted, "rejected": report.rejected, "errors": report.errors}
        return HttpReply(400, json.dumps(document).encode(), "application/json", headers=compressed)
