"""HTTPS: accepted clients until the end of their TLS handshake. Their memory and their number are limited."""

import asyncio
import logging
import ssl
from asyncio import sslproto
from socket import MSG_PEEK, socket
from typing import TYPE_CHECKING

from cc_backend.httpserver.connection import Connection

if TYPE_CHECKING:
    from cc_backend.httpserver.server import HttpServer

_ACCEPTS_PER_TURN = 32  # accepted before the event loop does other work
_RETRY_S = 1.0
_RECORD_BYTES = 16 * 1024
_HANDSHAKE_RECORD = b"\x16"  # RFC 8446, section 5.1: content type of the first record

logger = logging.getLogger(__name__)


class TlsListener:
    """Accepts the clients of one listening socket."""

    def __init__(self, server: "HttpServer", listening: socket, tls: ssl.SSLContext) -> None:
        self.server = server
        self.tls = tls
        self._listening = listening
        self._loop = asyncio.get_running_loop()
        self._handshakes: dict[TlsHandshake, None] = {}
        self._is_open = False

    def open(self) -> None:
        """Start accepting clients."""
        self._is_open = True
        self._loop.add_reader(self._listening, self._accept)

    def close(self) -> None:
        """Stop accepting clients."""
        self._is_open = False
        self._loop.remove_reader(self._listening)
        self._listening.close()

    def handshake_began(self, handshake: "TlsHandshake") -> None:
        """Record that a handshake takes memory from now on; if there are too many, the oldest is aborted."""
        if len(self._handshakes) >= self.server.limits.handshakes:
            oldest = next(iter(self._handshakes))
            del self._handshakes[oldest]  # now, so that the next client does not abort it again
            oldest.abort()
        self._handshakes[handshake] = None

    def handshake_ended(self, handshake: "TlsHandshake") -> None:
        """Record the end of a handshake."""
        self._handshakes.pop(handshake, None)

    def _accept(self) -> None:
        for _ in range(_ACCEPTS_PER_TURN):
            try:
                accepted, place = self._listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:  # too many open files, or no memory: try again later
                logger.warning("cannot accept connections at the moment: %s", error)
                self._loop.remove_reader(self._listening)
                self._loop.call_later(_RETRY_S, self._open_again)
                return
            accepted.setblocking(False)  # noqa: FBT003 - positional only
            TlsHandshake(self, accepted, (str(place[0]), int(place[1])))

    def _open_again(self) -> None:
        if self._is_open:
            self.open()


class TlsHandshake:
    """A client before and during its handshake. While it sends nothing it takes a socket, but no memory for TLS."""

    is_busy = False
    is_expendable = True

    def __init__(self, listener: TlsListener, accepted: socket, peer: tuple[str, int]) -> None:
        self.peer = peer
        self.since_s = listener.server.now_s
        self._listener, self._socket = listener, accepted
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._is_silent = True
        self._loop.add_reader(accepted, self._on_readable)
        listener.server.add(self)

    def _on_readable(self) -> None:
        try:
            begins = self._socket.recv(1, MSG_PEEK)
        except OSError:
            begins = b""
        if begins != _HANDSHAKE_RECORD:
            self._close()
            return
        self._is_silent = False
        self._loop.remove_reader(self._socket)
        self._listener.handshake_began(self)
        self._task = self._loop.create_task(self._run_handshake())
        self._task.add_done_callback(self._on_done)

    async def _run_handshake(self) -> None:
        server = self._listener.server
        done = self._loop.create_future()
        tls = _SharedBufferTls(
            self._loop,
            Connection(server),
            self._listener.tls,
            done,
            server_side=True,
            ssl_shutdown_timeout=server.limits.linger_s,
        )
        tls.buffer = server.buffer[:_RECORD_BYTES]
        transport, _ = await self._loop.connect_accepted_socket(lambda: tls, self._socket)
        transport.set_write_buffer_limits(high=0)  # unread output must not gather below TLS either
        try:
            await done
        except BaseException:
            transport.abort()
            raise

    def _on_done(self, task: "asyncio.Task[None]") -> None:
        self._task = None  # it holds the memory of TLS
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error is not None:
            self._socket.close()
        if error is not None and not isinstance(error, OSError):  # else the client does not speak TLS, or is gone
            logger.error("a TLS handshake failed because of a bug peer=%r", self.peer, exc_info=error)
        self._listener.handshake_ended(self)
        self._listener.server.remove(self)

    def _close(self) -> None:
        if self._is_silent:
            self._is_silent = False
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._listener.server.remove(self)

    def abort(self) -> None:
        """Close at once."""
        if self._task is not None:
            self._task.cancel()
        elif self._is_silent:
            self._loop.remove_reader(self._socket)  # so that it does not begin before it is closed
            self._loop.call_soon(self._close)

    def close_if_idle(self) -> None:
        """Close: no request is in progress."""
        self.abort()

    def enforce_deadline(self, now_s: float) -> None:
        """Abort a handshake that takes longer than a head may take."""
        if now_s - self.since_s > self._listener.server.limits.head_s:
            self.abort()


class _SharedBufferTls(sslproto.SSLProtocol):
    """TLS of asyncio without the input buffer that each connection would hold."""

    max_size = 1  # of the own buffer
    buffer: memoryview

    def get_buffer(self, n: int) -> memoryview:  # noqa: ARG002 as the base class has it
        """The buffer for the next bytes; they are consumed at once, so that all connections can share it."""
        self._ssl_buffer_view = self.buffer
        return self.buffer
