"""The thread that answers at the control socket."""

from __future__ import annotations

import json
import logging
import os
import queue
import select
import socket
import stat
import struct
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, NamedTuple, Optional

from cc_agent.control.requests import (
    MAX_REQUEST_BYTES,
    ControlRequest,
    MarkRequest,
    PauseRequest,
    ResumeRequest,
    decode_request,
)
from cc_agent.errors import AgentError, ControlError
from cc_agent.job_cgroups import job_id_of_process

logger = logging.getLogger(__name__)

ROOT_UID = 0
REQUEST_TIMEOUT_S = 0.5
"""Time for a caller to send its line and to take the answer."""

ANSWER_TIMEOUT_S = 8.0
_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid


class Peer(NamedTuple):
    """The process that asks, as the kernel names it."""

    pid: int
    uid: int


Answerer = Callable[[ControlRequest, str], Dict[str, Any]]
"""Gives the answer to a request; the text is the job of the caller, for marks. Raises ControlError."""


class ControlServer:
    """Answers requests at a socket of the file system, one at a time.

    Everybody on the node may ask for the status and mark the own job; pauses are for root and the user of the agent.
    `call` has `answer` done by the thread of the loop.
    """

    def __init__(
        self,
        path: Path,
        answer: Answerer,
        call: Callable[[Callable[[], None]], None],
        *,
        job_of: Callable[[int], str] = job_id_of_process,
    ) -> None:
        self._path = path
        self._answer = answer
        self._call = call
        self._job_of = job_of
        self._socket: Optional[socket.socket] = None
        self._wake_read, self._wake_write = -1, -1
        self._thread: Optional[threading.Thread] = None
        self._results: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._closing = False

    def start(self) -> None:
        """Listen. Raises AgentError if the socket cannot be made."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if self._path.exists() and stat.S_ISSOCK(self._path.stat().st_mode):
                self._path.unlink()  # of an agent that was killed
            listening.bind(str(self._path))
            self._path.chmod(0o666)
            listening.listen(16)
        except OSError as error:
            listening.close()
            raise AgentError(f"control socket {self._path}: {error.strerror or error}") from error
        listening.settimeout(0)
        self._socket = listening
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop answering and remove the socket."""
        if self._thread is None or self._socket is None:
            return
        self._closing = True
        self._results.put(_busy())  # the loop, whose thread this is, answers no more
        os.write(self._wake_write, b"\0")
        self._thread.join(REQUEST_TIMEOUT_S * 2 + ANSWER_TIMEOUT_S)
        self._thread = None
        self._socket.close()
        self._path.unlink(missing_ok=True)
        for descriptor in (self._wake_read, self._wake_write):
            os.close(descriptor)

    def _run(self) -> None:
        listening = self._socket
        while listening is not None:
            ready, _, _ = select.select([listening.fileno(), self._wake_read], [], [])
            if self._wake_read in ready:
                return
            try:
                connection, _ = listening.accept()
            except OSError:
                continue
            with connection:
                self._serve(connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            connection.settimeout(REQUEST_TIMEOUT_S)
            pid, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
            try:
                answer = self._answer_line(_read_line(connection), Peer(pid, uid))
            except ControlError as error:
                answer = {"error": str(error), "code": error.code}
            connection.sendall(json.dumps(answer).encode() + b"\n")
        except OSError as error:
            logger.debug("control connection failed reason=%s", error)

    def _answer_line(self, line: bytes, peer: Peer) -> Dict[str, Any]:
        request = decode_request(line)
        if not is_allowed(request, peer.uid, own_uid=os.geteuid()):
            raise ControlError("forbidden", "only root and the user of the agent may pause its counters")
        job = ""
        if isinstance(request, MarkRequest):
            job = self._job_of(peer.pid)
            if not job:
                raise ControlError("not_in_a_job", "the caller is in no job of Slurm on this node")
        results: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._results = results
        if self._closing:
            raise _busy()
        self._call(lambda: results.put(_result_or_error(self._answer, request, job)))
        try:
            result = results.get(timeout=ANSWER_TIMEOUT_S)
        except queue.Empty:
            raise _busy() from None
        if isinstance(result, ControlError):
            raise result
        answer: Dict[str, Any] = result
        return answer


def _busy() -> ControlError:
    return ControlError("busy", "the agent is in the middle of a tick or of a reload; try again")


def is_allowed(request: ControlRequest, uid: int, *, own_uid: int) -> bool:
    """Whether this user may ask for that."""
    return uid in (ROOT_UID, own_uid) or not isinstance(request, (PauseRequest, ResumeRequest))


def _result_or_error(answer: Answerer, request: ControlRequest, job: str) -> Any:
    try:
        return answer(request, job)
    except ControlError as error:
        return error
    except Exception:
        logger.exception("control request failed")
        return ControlError("internal", "the agent failed to answer; its log says why")


def _read_line(connection: socket.socket) -> bytes:
    """The line of a request. Raises ControlError if it does not come in time or is too long."""
    end_s = time.monotonic() + REQUEST_TIMEOUT_S
    line = b""
    while b"\n" not in line:
        if len(line) > MAX_REQUEST_BYTES or time.monotonic() > end_s:
            raise ControlError("bad_request", f"a request is one line of up to {MAX_REQUEST_BYTES} bytes, sent at once")
        part = connection.recv(MAX_REQUEST_BYTES + 1)
        if not part:
            break
        line += part
    return line.partition(b"\n")[0]
