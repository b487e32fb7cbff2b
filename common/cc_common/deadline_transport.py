"""HTTP connections with one deadline per request, from name resolution to the last byte of the response.

The timeouts of httpx are per read or write: a peer that sends a byte now and then never exceeds them. Import this
module only where something is sent: it imports httpx.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from functools import partial
from typing import Any, Iterable, Iterator, List, Optional, Type

import httpcore
import httpx

from cc_common.deadline import DeadlineCalls

_MAX_BLOCKED_LOOKUPS = 4


def deadline_client(
    total_s: float,
    *,
    connect_s: float = 5.0,
    tls: Optional[ssl.SSLContext] = None,
    connections: int = 4,
    **options: Any,
) -> httpx.Client:
    """A client whose requests raise httpx.TimeoutException after `total_s` seconds.

    `connect_s` is the limit for connecting, `tls` the context for https, `connections` the maximum of open connections;
    `options` go to httpx.Client. Proxies and .netrc of the environment are not used. Uncompressed responses are
    requested, and a compressed one is not decompressed: size limits hold before memory is allocated. The body must be
    read, or the response closed, in the thread that sent the request.
    """
    options["headers"] = {"Accept-Encoding": "identity", **options.get("headers", {})}
    transport = DeadlineTransport(total_s, tls=tls, connections=connections)
    timeout = httpx.Timeout(total_s, connect=min(connect_s, total_s))
    return httpx.Client(transport=transport, timeout=timeout, trust_env=False, **options)


class DeadlineTransport(httpx.BaseTransport):
    """Requests over pooled connections, each with `total_s` seconds from its start to the end of the response."""

    def __init__(self, total_s: float, *, tls: Optional[ssl.SSLContext] = None, connections: int = 4) -> None:
        self._total_s = total_s
        self._limit = _Deadline()
        self._pool = httpcore.ConnectionPool(
            ssl_context=tls,
            max_connections=connections,
            max_keepalive_connections=connections,
            network_backend=_DeadlineBackend(self._limit),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The response with its body unread. Raises httpx.TransportError; TimeoutException is a subclass."""
        self._limit.end_s = time.monotonic() + self._total_s
        url = request.url
        outgoing = httpcore.Request(
            request.method,
            httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
            headers=request.headers.raw,
            content=request.stream,
            extensions=request.extensions,
        )
        try:
            response = self._pool.handle_request(outgoing)
        except _PEER_ERRORS as error:
            raise _to_httpx_error(error) from error
        headers = [(name, value) for name, value in response.headers if name.lower() != b"content-encoding"]
        return httpx.Response(response.status, headers=headers, stream=_Body(response), extensions=response.extensions)

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()


_PEER_ERRORS = (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError, httpcore.UnsupportedProtocol)


def _to_httpx_error(error: Exception) -> httpx.TransportError:
    """The error of httpx with the name that the error of httpcore has."""
    kind: Type[httpx.TransportError] = getattr(httpx, type(error).__name__, httpx.TransportError)
    return kind(str(error) or "the time for the request is over")


class _Body(httpx.SyncByteStream):
    def __init__(self, response: httpcore.Response) -> None:
        self._response = response

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._response.iter_stream()
        except _PEER_ERRORS as error:
            raise _to_httpx_error(error) from error

    def close(self) -> None:
        self._response.close()


class _Deadline(threading.local):
    """The monotonic deadline of this thread's request; connections are shared by threads, requests are not."""

    end_s = 0.0

    def left_s(self, timeout_s: Optional[float], late: Type[httpcore.TimeoutException]) -> float:
        """Seconds left for the next step, `timeout_s` at most; raises `late` if none are left."""
        left_s = self.end_s - time.monotonic()
        if left_s <= 0:
            raise late("the time for the request is over")
        return left_s if timeout_s is None else min(timeout_s, left_s)


class _DeadlineBackend(httpcore.NetworkBackend):
    def __init__(self, limit: _Deadline) -> None:
        self._limit = limit
        self._inner = httpcore.SyncBackend()
        self._lookups = DeadlineCalls("name lookup", 5.0, max_blocked=_MAX_BLOCKED_LOOKUPS)
        self._lookup_lock = threading.Lock()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: Optional[float] = None,
        local_address: Optional[str] = None,
        socket_options: Optional[Iterable[Any]] = None,
    ) -> httpcore.NetworkStream:
        addresses = self._resolve(host, port, timeout)
        for number, address in enumerate(addresses, 1):
            left_s = self._limit.left_s(timeout, httpcore.ConnectTimeout)
            try:
                stream = self._inner.connect_tcp(address, port, left_s, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                if number == len(addresses):
                    raise
            else:
                return _DeadlineStream(stream, self._limit)
        raise httpcore.ConnectError(f"{host} has no address")

    def _resolve(self, host: str, port: int, timeout_s: Optional[float]) -> List[str]:
        late = httpcore.ConnectTimeout(f"resolving {host} takes too long")
        # One resolution at a time: those of one client are for the same name.
        if not self._lookup_lock.acquire(timeout=self._limit.left_s(timeout_s, httpcore.ConnectTimeout)):
            raise late
        try:
            ask = partial(socket.getaddrinfo, host, port, type=socket.SOCK_STREAM)
            left_s = self._limit.left_s(timeout_s, httpcore.ConnectTimeout)
            found = self._lookups.run(host, ask, timeout_s=left_s)
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error
        finally:
            self._lookup_lock.release()
        if found is None:
            raise late
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _DeadlineStream(httpcore.NetworkStream):
    def __init__(self, inner: httpcore.NetworkStream, limit: _Deadline) -> None:
        self._inner = inner
        self._limit = limit

    def read(self, max_bytes: int, timeout: Optional[float] = None) -> bytes:
        return self._inner.read(max_bytes, self._limit.left_s(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: Optional[float] = None) -> None:
        """Send in pieces: a slow peer may accept a few bytes at a time, each within the timeout."""
        connection: socket.socket = self._inner.get_extra_info("socket")
        rest = memoryview(buffer)
        try:
            while rest:
                connection.settimeout(self._limit.left_s(timeout, httpcore.WriteTimeout))
                rest = rest[connection.send(rest) :]
        except socket.timeout as error:
            raise httpcore.WriteTimeout(str(error)) from error
        except OSError as error:
            raise httpcore.WriteError(str(error)) from error

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: Optional[str] = None, timeout: Optional[float] = None
    ) -> httpcore.NetworkStream:
        left_s = self._limit.left_s(timeout, httpcore.ConnectTimeout)
        return _DeadlineStream(self._inner.start_tls(ssl_context, server_hostname, left_s), self._limit)

    def close(self) -> None:
        self._inner.close()

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)
