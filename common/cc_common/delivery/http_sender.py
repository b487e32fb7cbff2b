"""Sending batches over HTTP: persistent connections, one deadline per request, verified TLS, gzip if supported."""

from __future__ import annotations

import gzip
import ssl
import threading
import time
import urllib.parse
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Callable, Dict, Mapping, Optional

from cc_common.delivery.http_response import HttpResponse, interpret_response
from cc_common.delivery.outcome import DeliveryOutcome, OutcomeKind
from cc_common.errors import DeliveryError

if TYPE_CHECKING:
    import httpx

_MAX_RESPONSE_BYTES = 65536
_MIN_COMPRESSED_BYTES = 1024
_UNSUPPORTED_MEDIA_TYPE = 415
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Timeouts:
    """Maximum time for connecting, and for a request from name resolution to the end of the response."""

    connect_s: float = 5.0
    total_s: float = 30.0


class HttpSender:
    """Posts batches to one address and interprets the responses.

    Thread-safe, with `connections` connections at most. `token` is sent as bearer token. `ca_file` has certificates to
    trust instead of the system's. Proxies and .netrc of the environment are not used. `interpret` turns a response into
    an outcome. With `always_gzip` batches are compressed even if the peer does not say that it accepts that. The
    constructor raises DeliveryError for an unusable address, token or CA file; `send` does not raise.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str = "",
        ca_file: Optional[str] = None,
        timeouts: Timeouts = Timeouts(),
        headers: Mapping[str, str] = _NO_HEADERS,
        content_type: str = "text/plain; charset=utf-8",
        interpret: Callable[..., DeliveryOutcome] = interpret_response,
        connections: int = 1,
        always_gzip: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = url
        self._peer = _peer_name(url)
        self._timeouts = timeouts
        self._interpret = interpret
        self._clock = clock
        self._connections = connections
        self._client_lock = threading.Lock()
        self._always_gzip = self._gzip = always_gzip
        self._has_responded = False
        self._headers: Dict[str, str] = {"Content-Type": content_type, "Accept": "application/json", **headers}
        if token:
            self._headers["Authorization"] = f"Bearer {_checked_token(token)}"
        self._tls = tls_context(ca_file) if url.lower().startswith("https:") else None
        self._client: Optional[httpx.Client] = None

    @property
    def peer(self) -> str:
        """Scheme, host and path of the address, without user, password and query."""
        return self._peer

    def send(self, batch: bytes) -> DeliveryOutcome:
        """Post the batch once; a connection error is an outcome, never an exception."""
        import httpx  # noqa: PLC0415 loaded only if something is sent over HTTP

        try:
            compressed = self._gzip and len(batch) >= _MIN_COMPRESSED_BYTES
            response = self._post(batch, compressed=compressed)
            if response.status == _UNSUPPORTED_MEDIA_TYPE and compressed:
                response = self._post(batch, compressed=False)
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            return _connection_failure(
                f"{type(error).__name__}: {error}", perhaps_tls=self._tls is None and not self._has_responded
            )
        return self._interpret(response, now_s=self._clock())

    def close(self) -> None:
        """Close the connections; a later `send` opens a new one."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _post(self, batch: bytes, *, compressed: bool) -> HttpResponse:
        client = self._get_client()
        headers = {"Content-Encoding": "gzip"} if compressed else {}
        body = gzip.compress(batch, compresslevel=1) if compressed else batch
        with client.stream("POST", self._url, content=body, headers=headers) as response:
            received = bytearray()
            for piece in response.iter_bytes():
                received += piece
                if len(received) >= _MAX_RESPONSE_BYTES:
                    break
            response_headers = {name.lower(): value for name, value in response.headers.items()}
            self._has_responded = True
            self._gzip = self._always_gzip or "gzip" in response_headers.get("accept-encoding", "").lower()
            return HttpResponse(response.status_code, response_headers, bytes(received))

    def _get_client(self) -> httpx.Client:
        with self._client_lock:
            return self._open_client()

    def _open_client(self) -> httpx.Client:
        from cc_common.deadline_transport import deadline_client  # noqa: PLC0415 loaded only if something is sent over HTTP

        if self._client is None:
            limits = self._timeouts
            self._client = deadline_client(
                limits.total_s,
                connect_s=limits.connect_s,
                tls=self._tls,
                connections=self._connections,
                headers=self._headers,
            )
        return self._client


_KNOWN_CAUSES = (
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not trusted here; name the CA that signed it as ca_file"),
    ("WRONG_VERSION_NUMBER", "it speaks plain HTTP; write http:// instead of https://"),
    ("RECORD_LAYER_FAILURE", "it speaks plain HTTP; write http:// instead of https://"),
    ("Name or service not known", "the host name is unknown; correct the address"),
    ("No address associated with hostname", "the host name is unknown; correct the address"),
)
_NOT_PLAIN_HTTP = ("illegal status line", "Server disconnected without", "reset by peer")


def _connection_failure(error: str, *, perhaps_tls: bool) -> DeliveryOutcome:
    """The outcome of a request that failed with this error text; needs the operator if retrying cannot help."""
    for part, cause in _KNOWN_CAUSES:
        if part in error:
            return DeliveryOutcome(OutcomeKind.RETRY, f"no response ({error}): {cause}", needs_operator=True)
    if perhaps_tls and any(part in error for part in _NOT_PLAIN_HTTP):
        return DeliveryOutcome(
            OutcomeKind.RETRY, f"no response ({error}): if it speaks HTTPS, write https:// instead of http://"
        )
    if "Connection refused" in error:
        return DeliveryOutcome(OutcomeKind.RETRY, f"no response ({error}): nothing listens at this address and port")
    return DeliveryOutcome(OutcomeKind.RETRY, f"no response ({error})")


def _peer_name(url: str) -> str:
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise DeliveryError(f"address is not usable: {error}") from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise DeliveryError("address must begin with http:// or https://, as in http://server:8080")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{f':{port}' if port else ''}{parts.path}"


def _checked_token(token: str) -> str:
    stripped = token.strip()
    if not stripped.isascii() or not stripped.isprintable() or " " in stripped:
        raise DeliveryError("the token has characters that cannot stand in an HTTP header")
    return stripped


def tls_context(ca_file: Optional[str] = None) -> ssl.SSLContext:
    """A TLS context that verifies the peer with this CA file, or with the system's. Raises DeliveryError."""
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise DeliveryError(f"CA file {ca_file} cannot be used: {error}") from error
