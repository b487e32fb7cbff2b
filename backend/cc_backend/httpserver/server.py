"""The HTTP server: its connections, the queueing of requests for workers, and limits of time, memory and number."""

import asyncio
import contextlib
import hashlib
import logging
import re
import ssl
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from operator import itemgetter
from socket import AF_INET6, inet_pton, socket
from typing import TYPE_CHECKING

from cc_backend.errors import Unavailable
from cc_backend.httpserver.connection import READ_BYTES, Connection
from cc_backend.httpserver.fair_queue import Sender, WorkItem
from cc_backend.httpserver.limits import HeldResponses, MemoryBudget, ServerLimits
from cc_backend.httpserver.parser import RequestHead
from cc_backend.httpserver.tls import TlsHandshake, TlsListener
from cc_backend.httpserver.workers import Lane, WorkerPool, lane_sizes
from cc_backend.httpserver.wsgi import (
    CALLER_KEY,
    NEW_COOKIE_KEY,
    Endpoint,
    RefusedBody,
    WireResponse,
    run_application,
    wsgi_environ,
)

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication, WSGIEnvironment

BACKLOG = 1024
_CONNECTIONS_PER_TURN = 32  # accepted or ended before the event loop does other work
_DEADLINE_CHECK_S = 1.0
_EVICTION_DIVISOR = 20
_TURNS_TO_CONNECT = 5  # of the event loop, from `accept` to `add`
_WARN_INTERVAL_S = 60.0
_MAX_WAITING = 2048
_ADMISSION_CACHE_S = 30.0
_MAX_CACHED_ADMISSIONS = 4096
_MAX_CALLERS = 16_384
STOP_TIMEOUT_S = 15.0
"""Time for running requests after the server was told to stop."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Application:
    """The application, and what the server must know about a request before it reads the body into memory."""

    wsgi: "WSGIApplication"
    may_send_body: Callable[["WSGIEnvironment"], bool]
    """Whether the head authenticates a caller who may use the route. Runs in a worker; may raise Unavailable."""
    body_limit: Callable[[str], int]
    """Path -> maximum body of a caller who may send one."""
    lane: Callable[[str], Lane]
    """Path -> lane."""
    address: Callable[["WSGIEnvironment"], str] = itemgetter("REMOTE_ADDR")
    """The client address of a request, by which unknown callers share."""
    cookie: str = ""
    """The name of the cookie that identifies a caller; other cookies are ignored, since they change."""
    is_open: bool = False
    """Whether all callers have all permissions; then all count as known."""


class HttpServer:
    """Serves an application over HTTP/1.1. Everything runs in the thread of the event loop, except what workers run."""

    def __init__(
        self, application: Application, endpoint: Endpoint, *, threads: int, limits: ServerLimits | None = None
    ) -> None:
        self.application = application
        self.endpoint = endpoint
        self.limits = limits or ServerLimits()
        self.buffer = memoryview(bytearray(READ_BYTES))
        """The input buffer of all connections: each consumes its bytes before the next one reads."""
        self.known_callers_budget = MemoryBudget(self.limits.body_memory_bytes)
        self.unknown_callers_budget = MemoryBudget(self.limits.unknown_callers_memory_bytes)
        self.stopping = False
        self._connections: set[Connection | TlsHandshake] = set()
        self._next_warning_s = 0.0
        self._all_done = asyncio.Event()
        self._admitted: OrderedDict[bytes, float] = OrderedDict()
        self._callers: OrderedDict[bytes, str] = OrderedDict()
        self._responses = HeldResponses[Connection](self.limits.responses_memory_bytes)
        self._responses_in_files = HeldResponses[Connection](self.limits.responses_disk_bytes)
        self._cookie = re.compile(rf"(?:^|; ?){re.escape(application.cookie)}=([^;]*)")
        self._lanes = {
            lane: WorkerPool(lane.value, size, max_waiting=_MAX_WAITING, max_running=max(size // 2, 1))
            for lane, size in lane_sizes(threads).items()
        }

    @property
    def now_s(self) -> float:
        """The monotonic clock."""
        return time.monotonic()

    async def serve(
        self, listening: Sequence[socket], tls: ssl.SSLContext | None, stop: asyncio.Event, on_ready: Callable[[], None]
    ) -> None:
        """Serve on these bound sockets until `stop` is set, then wait `STOP_TIMEOUT_S` at most for running requests."""
        self._loop = asyncio.get_running_loop()
        acceptors = [await self._acceptor(bound, tls) for bound in listening]
        for bound in listening:
            bound.listen(BACKLOG)  # asyncio would take its own backlog
        on_ready()
        watch = self._loop.create_task(self._enforce_deadlines())
        await stop.wait()
        for acceptor in acceptors:
            acceptor.close()
        for _ in range(_TURNS_TO_CONNECT):
            await asyncio.sleep(0)
        await self._drain()
        watch.cancel()
        for workers in self._lanes.values():
            workers.stop()

    async def _acceptor(self, listening: socket, tls: ssl.SSLContext | None) -> "asyncio.Server | TlsListener":
        if tls is None:
            return await self._loop.create_server(
                lambda: Connection(self), sock=listening, backlog=_CONNECTIONS_PER_TURN
            )
        listener = TlsListener(self, listening, tls)
        listener.open()
        return listener

    async def _enforce_deadlines(self) -> None:
        while True:
            await asyncio.sleep(_DEADLINE_CHECK_S)
            for number, connection in enumerate(list(self._connections)):
                try:
                    connection.enforce_deadline(self.now_s)
                except Exception:  # a bug for one must not end the deadlines of all
                    logger.exception("a deadline could not be enforced because of a bug peer=%r", connection.peer)
                    connection.abort()
                if number % _CONNECTIONS_PER_TURN == 0:
                    await asyncio.sleep(0)  # a thousand may end together: others get a turn in between

    async def _drain(self) -> None:
        self.stopping = True
        for connection in list(self._connections):
            connection.close_if_idle()
        if self._has_busy_connections():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._all_done.wait(), STOP_TIMEOUT_S)
        self._all_done.clear()
        for connection in list(self._connections):
            connection.abort()
        if self._connections:
            await self._all_done.wait()

    def add(self, connection: Connection | TlsHandshake) -> None:
        """Add a connection; at the limit, close those that have been idle or incomplete longest."""
        if len(self._connections) >= self.limits.connections:
            self._make_room()
        if len(self._connections) >= self.limits.connections:
            connection.abort()
        self._connections.add(connection)

    def _make_room(self) -> None:
        expendable = sorted(
            (connection for connection in self._connections if connection.is_expendable),
            key=lambda connection: connection.since_s,
        )
        leaving = expendable[: max(len(self._connections) // _EVICTION_DIVISOR, 1)]
        if self.now_s > self._next_warning_s:
            self._next_warning_s = self.now_s + _WARN_INTERVAL_S
            logger.warning("limit of connections reached limit=%d: closing the longest idle", self.limits.connections)
        for connection in leaving:
            self._connections.discard(connection)
            connection.abort()

    def remove(self, connection: Connection | TlsHandshake) -> None:
        """Remove a connection that has ended."""
        self._connections.discard(connection)
        if self.stopping and not self._has_busy_connections():
            self._all_done.set()

    def _has_busy_connections(self) -> bool:
        return any(connection.is_busy for connection in self._connections)

    def _call_soon(self, callback: Callable[..., object], *arguments: object) -> None:
        """Call a function in the event loop, from a worker; dropped if the server has ended meanwhile."""
        with contextlib.suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(callback, *arguments)

    def check_admission(self, connection: Connection, head: RequestHead) -> None:
        """Check whether the caller may send a body, and tell the connection; at once if the result is cached."""
        key = _admission_key(connection.peer[0], head)
        if self._admitted.get(key, 0.0) > self.now_s:
            connection.on_admission(allowed=True)
            return
        environ = wsgi_environ(head, RefusedBody(), head.content_length or 0, connection.peer, self.endpoint)

        def ask() -> None:
            allowed: bool | None = None
            try:
                allowed = self.application.may_send_body(environ)
            except Unavailable:
                logger.debug("admission is unknown at the moment path=%r", environ["PATH_INFO"])
            except Exception:
                logger.exception("admission failed because of a bug path=%r", environ["PATH_INFO"])
            self._call_soon(answered, allowed)

        def answered(allowed: bool | None) -> None:  # noqa: FBT001 - called by the event loop
            if allowed:
                self._admitted[key] = self.now_s + _ADMISSION_CACHE_S
                self._admitted.move_to_end(key)
                while len(self._admitted) > _MAX_CACHED_ADMISSIONS:
                    self._admitted.popitem(last=False)
            self._remember_caller(credentials, environ)
            connection.on_admission(allowed=allowed)

        credentials = self._credentials(environ)
        work = WorkItem(self._sender(credentials, environ), ask, lambda: connection.on_admission(allowed=None))
        self._lanes[Lane.ADMISSION].submit(work)

    def reserve_memory(self, connection: Connection, budget: MemoryBudget, size_bytes: int) -> bool:
        """Reserve memory for more of a body; False if there is none.

        Unknown callers who send slowly make room for those who came later, or enough of them would lock out all others.
        """
        if budget.reserve(size_bytes):
            return True
        if budget is self.unknown_callers_budget:
            waiting = sorted(
                (other for other in self._connections if isinstance(other, Connection) and other.receives_into(budget)),
                key=lambda other: other.since_s,
            )
            enough = max(size_bytes, budget.total_bytes // _EVICTION_DIVISOR)
            for oldest in waiting:
                if oldest is connection or budget.left_bytes >= enough:
                    break
                oldest.refuse_for_memory()
        return budget.reserve(size_bytes)

    def hold_response(self, connection: Connection, size_bytes: int, *, in_file: bool) -> None:
        """Count a response that is being sent; beyond the limit, abort the oldest of the sender with most bytes."""
        (self._responses_in_files if in_file else self._responses).hold(connection, size_bytes)

    def release_response(self, connection: Connection) -> None:
        """Stop counting a response."""
        self._responses.release(connection)
        self._responses_in_files.release(connection)

    def submit(self, connection: Connection, environ: "WSGIEnvironment") -> None:
        """Queue the request for a worker, which calls `Connection.respond`; rejected if too many wait."""

        def work() -> None:
            if connection.is_closed:
                self._call_soon(connection.free_body)
                return
            response = run_application(self.application.wsgi, environ)
            self._call_soon(answered, response)

        def answered(response: WireResponse) -> None:
            new_cookie = environ.get(NEW_COOKIE_KEY)
            is_new = {"HTTP_COOKIE": f"{self.application.cookie}={new_cookie}"} if new_cookie else None
            self._remember_caller(self._credentials(is_new) if is_new else credentials, environ)
            if response.status == HTTPStatus.UNAUTHORIZED:  # who has logged out must not use the share of the account
                self._callers.pop(credentials, None)
            connection.respond(response)

        credentials = self._credentials(environ)
        lane = self._lanes[self.application.lane(environ["PATH_INFO"])]
        sender = self._sender(credentials, environ)
        connection.sender = sender.name
        lane.submit(WorkItem(sender, work, connection.refuse_for_load))

    def _sender(self, credentials: bytes, environ: "WSGIEnvironment") -> Sender:
        """The sender whose share of the workers a request takes: the caller if known, else the network address."""
        caller = self._callers.get(credentials)
        if caller is not None:
            return Sender(caller, is_known=True)
        return Sender(_client_network(self.application.address(environ)), is_known=self.application.is_open)

    def _credentials(self, environ: "WSGIEnvironment") -> bytes:
        """A digest of the credentials in a request; empty without any."""
        authorization = environ.get("HTTP_AUTHORIZATION", "")
        parts = [environ.get("HTTP_X_AUTH_TOKEN", ""), authorization if authorization[:7].lower() == "bearer " else ""]
        if self.application.cookie:
            parts += self._cookie.findall(environ.get("HTTP_COOKIE", ""))
        return hashlib.blake2b("\0".join(parts).encode("latin-1"), digest_size=16).digest() if any(parts) else b""

    def _remember_caller(self, credentials: bytes, environ: "WSGIEnvironment") -> None:
        """Record which caller the application found; this decides shares of the workers, not permissions."""
        caller: str | None = environ.get(CALLER_KEY)
        if caller and credentials:
            self._callers[credentials] = caller
            self._callers.move_to_end(credentials)
            if len(self._callers) > _MAX_CALLERS:
                self._callers.popitem(last=False)


def _client_network(address: str) -> str:
    """An address; of IPv6 its network of 64 bits, in which one client has all addresses."""
    if ":" not in address:
        return address
    with contextlib.suppress(OSError):
        return inet_pton(AF_INET6, address.partition("%")[0])[:8].hex()
    return address


def _admission_key(peer: str, head: RequestHead) -> bytes:
    """A digest of all that the admission depends on."""
    credentials = [part for field in head.fields if field[0] in _CREDENTIALS for part in field]
    parts = "\0".join((peer, head.method, head.path, *credentials))
    return hashlib.blake2b(parts.encode("utf-8", "replace"), digest_size=16).digest()


_CREDENTIALS = frozenset(
    {
        *("x-auth-token", "authorization", "cookie", "x-csrf-token"),
        *("x-forwarded-for", "x-real-ip", "host", "origin", "referer", "sec-fetch-site"),
    }
)
