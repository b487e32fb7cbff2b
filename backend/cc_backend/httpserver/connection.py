"""One client connection: requests are read completely and within their limits before the application gets them."""

import asyncio
import contextlib
import io
import re
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING, cast

from cc_backend.httpserver.limits import MemoryBudget
from cc_backend.httpserver.parser import ChunkDecoder, MalformedRequest, RequestHead, parse_head
from cc_backend.httpserver.wsgi import RefusedBody, WireResponse, wire_problem, wsgi_environ

if TYPE_CHECKING:
    from cc_backend.httpserver.server import HttpServer

READ_BYTES = 256 * 1024
_WRITE_BYTES = 16 * 1024
"""Maximum part of a response in the transport of a client that does not read."""
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_END_OF_HEAD = b"\r\n\r\n"
_FORBIDDEN_IN_HEAD = re.compile(rb"\0|(?<!\r)\n")
_RETRY_S = 5


class ConnectionState(Enum):
    """State of a connection."""

    HEAD = auto()  # idle, or the head is incomplete
    ADMISSION = auto()  # a worker checks whether the caller may send this body
    BODY = auto()
    WORK = auto()  # the application runs the request
    RESPONSE = auto()
    LINGER = auto()  # the response is sent; input is discarded until the client has read it
    CLOSED = auto()


class Connection(asyncio.BufferedProtocol):
    """Reads requests one after the other; a pipelined request waits, a few kB here and the rest at the client."""

    def __init__(self, server: "HttpServer") -> None:
        self._server = server
        self._limits = server.limits
        self.state = ConnectionState.HEAD
        self.since_s = server.now_s
        """Begin of the state, by the server's monotonic clock."""
        self.is_caller_known = False
        """Whether the present body is from an authenticated caller who may send it."""
        self.peer = ("", 0)
        self.sender = ""
        """Name or address of the sender of the present request, as used by the fair queue."""
        self._input = bytearray()
        self._searched = 0
        self._requests = 0
        self._eof = self._reading_paused = self._writing_paused = False
        self._reset_request()

    def _reset_request(self) -> None:
        self._head: RequestHead | None = None
        self._keep_alive = False
        self._is_discarding = False  # input belongs to a body that was rejected
        self._discarded_bytes = 0
        self._body = io.BytesIO()
        self._body_bytes = 0
        self._body_limit = 0
        self._budget: MemoryBudget | None = None
        self._decoder: ChunkDecoder | None = None
        self._output = memoryview(b"")
        self._sent_bytes = 0
        self._head_began = False
        self.is_caller_known = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=1)  # 0 would always be full in TLS
        self._is_tls = transport.get_extra_info("sslcontext") is not None
        name = transport.get_extra_info("peername")
        if isinstance(name, tuple):
            host = str(name[0])
            self.peer = (host.removeprefix("::ffff:") if "." in host else host, int(name[1]))
        self._server.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 as the base class has it
        """The connection has ended."""
        at_work, self.state = self.state is ConnectionState.WORK, ConnectionState.CLOSED
        if not at_work:  # else `respond` does it, once the application has released the body
            self._free_body()
        self._input.clear()
        self._free_response()
        self._server.remove(self)

    # --- input

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 as the base class has it
        """The buffer for the next bytes: a part of the buffer that all connections share."""
        if self.state is ConnectionState.LINGER or self._is_discarding:
            return self._server.buffer
        if self.state is ConnectionState.BODY and self._head is not None and self._head.content_length is not None:
            return self._server.buffer[: self._head.content_length - self._body_bytes]
        # no more than a head: the rest waits at the client, so that clients who never read cannot fill the memory
        return self._server.buffer[: max(self._limits.head_bytes + len(_END_OF_HEAD) - len(self._input), 1)]

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes have arrived."""
        if self.state is ConnectionState.LINGER or self._is_discarding:
            self._discard(nbytes)
            return
        data = self._server.buffer[:nbytes]
        if self.state is ConnectionState.BODY:
            self._receive_data(data)
            return
        self._input += data
        if self.state is ConnectionState.HEAD:
            if not self._head_began and self._requests:
                self.since_s = self._server.now_s
            self._head_began = True
            self._read_head()
        elif len(self._input) > self._limits.head_bytes and not self._reading_paused:
            self._reading_paused = True
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The client has ended its input; it may still read."""
        self._eof = True
        if self.state is ConnectionState.HEAD and self._input.strip():
            self._refuse(HTTPStatus.BAD_REQUEST, "the request ended early")
        elif self.state is ConnectionState.BODY:
            self._refuse(HTTPStatus.BAD_REQUEST, "the body ended early; nothing of it was kept")
        elif self.state in (ConnectionState.HEAD, ConnectionState.LINGER):
            return False
        return not self._is_tls  # asyncio does not support half-closed TLS connections

    def _read_head(self) -> None:
        while self._input.startswith(b"\r\n"):  # RFC 9112, section 2.2
            del self._input[:2]
        end = self._input.find(_END_OF_HEAD, max(self._searched - 3, 0))
        stop = len(self._input) if end < 0 else end
        if stop > self._limits.head_bytes:
            self._refuse(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the request head is over {self._limits.head_bytes} bytes"
            )
        elif end < 0:
            # at once: it would only wait for the deadline
            if _FORBIDDEN_IN_HEAD.search(self._input, max(self._searched - 1, 0)):
                self._refuse(HTTPStatus.BAD_REQUEST, "the request head contains bytes that are not allowed")
            self._searched = stop
        else:
            raw = bytes(self._input[:end])
            del self._input[: end + len(_END_OF_HEAD)]
            self._searched = 0
            try:
                self._start_request(parse_head(raw))
            except MalformedRequest as error:
                self._refuse(error.status, str(error))

    def _start_request(self, head: RequestHead) -> None:
        self._head = head
        self._keep_alive = head.keep_alive
        if not head.has_body:
            self._submit_request(self._body, 0)
        elif head.content_length is not None and head.content_length <= self._limits.unknown_caller_body_bytes:
            self._receive_body(self._limits.unknown_caller_body_bytes, self._server.unknown_callers_budget)
        else:
            self._set_state(ConnectionState.ADMISSION)
            self._server.check_admission(self, head)

    def on_admission(self, *, allowed: bool | None) -> None:
        """Continue after the admission check: whether the caller may send the body, None if that is unknown now."""
        if self.state is not ConnectionState.ADMISSION or self._head is None:
            return
        if allowed is None:  # 503 and not 413: for a 413 senders blame their batch and drop it
            self._refuse_for_now("the sender cannot be authenticated at this moment; send the request again")
            return
        length = self._head.content_length
        limit = (
            self._server.application.body_limit(self._head.path) if allowed else self._limits.unknown_caller_body_bytes
        )
        if length is not None and length > limit:
            self._refuse_body(length)
        else:
            self.is_caller_known = allowed
            self._receive_body(
                limit, self._server.known_callers_budget if allowed else self._server.unknown_callers_budget
            )

    def _receive_body(self, limit_bytes: int, budget: MemoryBudget) -> None:
        assert self._head is not None  # noqa: S101 - a body has a head
        self._body_limit, self._budget = limit_bytes, budget
        self._decoder = ChunkDecoder() if self._head.chunked else None
        self._set_state(ConnectionState.BODY)
        early, self._input = self._input, bytearray()
        if self._head.expects_continue and not early:
            self._transport.write(_CONTINUE)
        if early:
            self._receive_data(memoryview(early))
        if self.state is ConnectionState.BODY and self._eof:
            self._refuse(HTTPStatus.BAD_REQUEST, "the body ended early; nothing of it was kept")
        self._resume_reading()

    def _receive_data(self, data: memoryview) -> None:
        try:
            self._add_to_body(data)
        except MalformedRequest as error:
            self._refuse(error.status, str(error))

    def _add_to_body(self, data: memoryview) -> None:
        assert self._head is not None  # noqa: S101 - a body has a head
        if self._decoder is not None:
            parts, used = self._decoder.feed(data)
            whole = self._decoder.done
        else:
            length = self._head.content_length or 0
            parts = [data[: length - self._body_bytes]]
            used = len(parts[0])
            whole = self._body_bytes + used == length
        size = sum(map(len, parts))
        if self._body_bytes + size > self._body_limit:
            self._refuse_body(self._body_bytes + size)
            return
        if self._budget is None or not self._server.reserve_memory(self, self._budget, size):
            self.refuse_for_memory()
            return
        self._body_bytes += size
        for part in parts:
            self._body.write(part)
        if whole:
            self._input += data[used:]
            self._body.seek(0)
            self._submit_request(self._body, self._body_bytes)

    # --- output

    def _submit_request(self, body: io.BytesIO | RefusedBody, body_bytes: int) -> None:
        assert self._head is not None  # noqa: S101 - a request has a head
        environ = wsgi_environ(self._head, body, body_bytes, self.peer, self._server.endpoint)
        self._set_state(ConnectionState.WORK)
        self._server.submit(self, environ)

    def _refuse_body(self, size_bytes: int) -> None:
        """Let the application respond from the head alone: it knows why the body is rejected."""
        self._abandon_request()
        self._submit_request(RefusedBody(), size_bytes)

    def refuse_for_memory(self) -> None:
        """Reject the request with 503, because there is no memory for its body."""
        self._refuse_for_now("too many bodies are being received; send this request again")

    def refuse_for_load(self) -> None:
        """Reject the request with 503, because too many wait."""
        if self.is_closed:
            self.free_body()
        else:
            self._refuse_for_now("too many requests wait")

    def _refuse_for_now(self, text: str) -> None:
        self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, text, retry_after_s=_RETRY_S)

    def _refuse(self, status: HTTPStatus, text: str, *, retry_after_s: int | None = None, linger: bool = True) -> None:
        self._abandon_request()
        self._is_discarding = linger
        self.respond(wire_problem(status, text, retry_after_s=retry_after_s))

    def _abandon_request(self) -> None:
        self._keep_alive = False
        self._is_discarding = True
        self._free_body()
        self._input.clear()
        self._resume_reading()

    def _free_body(self) -> None:
        if self._budget is not None:
            self._budget.release(self._body_bytes)
        self._budget, self._body_bytes, self._body = None, 0, io.BytesIO()

    @property
    def is_closed(self) -> bool:
        """Whether the connection has ended."""
        return self.state is ConnectionState.CLOSED

    def free_body(self) -> None:
        """Free the body, which the application no longer needs."""
        self._free_body()

    def respond(self, response: WireResponse) -> None:
        """Send the response to the present request, then read the next one or close."""
        self.free_body()
        if self.is_closed:
            return
        ended = self._eof and not self._input  # else pipelined requests are left
        self._keep_alive = self._keep_alive and not ended and not self._server.stopping
        self._set_state(ConnectionState.RESPONSE)
        says_so = self._head is not None and self._head.minor_version == 0
        head = response.head("close" if not self._keep_alive else "keep-alive" if says_so else "")
        self._output = memoryview(response.body)
        first = self._output[: _WRITE_BYTES - len(head)]
        self._sent_bytes = len(first)
        self._transport.write(head + first)
        self._send_more()
        if self.state is ConnectionState.RESPONSE:
            self._server.hold_response(self, len(response.body), in_file=isinstance(response.body, memoryview))

    def pause_writing(self) -> None:
        """The client reads more slowly than we write."""
        self._writing_paused = True

    def resume_writing(self) -> None:
        """All that was written has been passed to the kernel."""
        self._writing_paused = False
        # not at once: a transport that is closed from here is closed by asyncio a second time
        asyncio.get_running_loop().call_soon(self._send_more)

    def _send_more(self) -> None:
        while not self._writing_paused and self.state is ConnectionState.RESPONSE and not self._transport.is_closing():
            part = self._output[self._sent_bytes : self._sent_bytes + _WRITE_BYTES]
            if not part:
                self._on_response_sent()
                return
            self._sent_bytes += len(part)
            self._transport.write(part)

    def _free_response(self) -> None:
        self._output = memoryview(b"")
        self._server.release_response(self)

    def _on_response_sent(self) -> None:
        self._free_response()
        if self._keep_alive:
            self._reset_request()
            self._requests += 1
            self._set_state(ConnectionState.HEAD)
            self._resume_reading()
            if self._input:
                self._head_began = True
                self._read_head()
            if self._eof and self.state is ConnectionState.HEAD:
                self._transport.close()
        elif self._eof or not self._is_discarding:
            self._transport.close()
        else:
            # if it were closed now, unread input would make the kernel send a reset, and the response might be lost
            self._set_state(ConnectionState.LINGER)
            self._resume_reading()
            if self._transport.can_write_eof():
                with contextlib.suppress(OSError):  # the client is gone; the transport will report it
                    self._transport.write_eof()

    # --- limits

    def _set_state(self, state: ConnectionState) -> None:
        self.state = state
        self.since_s = self._server.now_s

    def _resume_reading(self) -> None:
        if self._reading_paused and not self._eof:
            self._reading_paused = False
            self._transport.resume_reading()

    def _discard(self, size_bytes: int) -> None:
        self._discarded_bytes += size_bytes
        if self._discarded_bytes > self._limits.linger_bytes:
            self.abort()

    def abort(self) -> None:
        """Close at once, also during a request."""
        self._transport.abort()

    def close_if_idle(self) -> None:
        """Close if no request is in progress."""
        if self.state is ConnectionState.HEAD and not self._input:
            self._transport.close()

    @property
    def is_busy(self) -> bool:
        """Whether a request is in progress whose response should be waited for."""
        return self.state in (
            ConnectionState.ADMISSION,
            ConnectionState.BODY,
            ConnectionState.WORK,
            ConnectionState.RESPONSE,
        )

    def receives_into(self, budget: MemoryBudget) -> bool:
        """Whether a body is being received whose memory is reserved from this budget."""
        return self.state is ConnectionState.BODY and self._budget is budget

    @property
    def is_expendable(self) -> bool:
        """Whether it may be closed to make room: idle, incomplete, or with its response sent."""
        return self.state in (ConnectionState.HEAD, ConnectionState.LINGER) or (
            self.state is ConnectionState.BODY and not self.is_caller_known
        )

    def enforce_deadline(self, now_s: float) -> None:
        """End the connection if its state takes too long. All input was read, so closing at once loses nothing."""
        limits, waited_s = self._limits, now_s - self.since_s
        if self.state is ConnectionState.HEAD:
            if self._head_began and waited_s > limits.head_s:
                self._refuse(
                    HTTPStatus.REQUEST_TIMEOUT, f"the request head took over {limits.head_s:g} s", linger=False
                )
            elif waited_s > (limits.idle_s if self._requests else limits.head_s):
                self._transport.close()
        elif self.state is ConnectionState.BODY:
            if waited_s > limits.grace_s + self._body_bytes / limits.body_bytes_per_s:
                self._refuse(
                    HTTPStatus.REQUEST_TIMEOUT, "the body came too slowly; nothing of it was kept", linger=False
                )
        elif self.state is ConnectionState.RESPONSE:
            if waited_s > limits.grace_s + self._sent_bytes / limits.response_bytes_per_s:
                self.abort()
        elif self.state is ConnectionState.LINGER and waited_s > limits.linger_s:
            self.abort()
