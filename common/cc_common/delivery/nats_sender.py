"""Sending batches over NATS, each acknowledged: by the stream that keeps it, or by the server's answer to a ping."""

from __future__ import annotations

import asyncio
import concurrent.futures
import hashlib
from typing import TYPE_CHECKING, Any, Coroutine, List, Optional

from cc_common.delivery.outcome import DeliveryOutcome, OutcomeKind
from cc_common.nats_client import LoopThread, NatsAccess, check_installed, check_subject, close_client, connect

if TYPE_CHECKING:
    from nats.aio.client import Client

_HEADER_BYTES = 256
_SPARE_S = 1.0
_NOT_AUTHORISED = ("authorization violation", "authentication", "permissions violation", "user credentials", "nonce")


class NatsSender:
    """Publishes batches on one subject.

    A batch is delivered once the server has answered a ping that was sent after it, or with `jetstream` once a stream
    has stored it; a repetition of the batch within the stream's window is stored once. After any failure the connection
    is closed and the next `send` opens a new one: no batch waits inside of the client. The constructor raises
    DeliveryError for an unusable address, subject, key or CA file; `send` does not raise.
    """

    def __init__(
        self, access: NatsAccess, subject: str, *, jetstream: bool = False, timeout_s: float = 10.0, name: str = "cc"
    ) -> None:
        check_installed(access)
        self._access = access
        self._subject = check_subject(subject)
        self._jetstream = jetstream
        self._timeout_s = timeout_s
        self._name = name
        self._thread = LoopThread(f"nats {access.peer}")
        self._client: Optional[Client] = None
        self._closed: Optional[asyncio.Event] = None
        self._problems: List[Exception] = []

    @property
    def peer(self) -> str:
        """The servers and the subject, without secrets."""
        return f"{self._access.peer}/{self._subject}"

    def send(self, batch: bytes) -> DeliveryOutcome:
        """Publish the batch once; an error is an outcome, never an exception."""
        try:
            return self._thread.run(self._send_within_deadline(batch), 2 * self._timeout_s + _SPARE_S)
        except concurrent.futures.TimeoutError:
            return DeliveryOutcome(OutcomeKind.RETRY, f"no answer within {2 * self._timeout_s:.0f} s")

    def close(self) -> None:
        """Close the connection; a later `send` opens a new one."""
        self._thread.close(self._disconnect)

    async def _send_within_deadline(self, batch: bytes) -> DeliveryOutcome:
        self._problems.clear()
        try:
            if self._client is None or not self._client.is_connected:
                await self._connect()
            outcome = await asyncio.wait_for(self._publish(batch), self._timeout_s)
        except Exception as error:  # noqa: BLE001 nats-py raises errors of several trees; each is an outcome
            outcome = self._failure(error)
        if outcome.kind not in (OutcomeKind.DELIVERED, OutcomeKind.TOO_LARGE):
            await self._disconnect()
        return outcome

    async def _connect(self) -> None:
        await self._disconnect()
        closed = self._closed = asyncio.Event()
        self._client = await connect(
            self._access,
            name=self._name,
            timeout_s=self._timeout_s,
            reconnect=False,
            on_error=self._problems.append,
            on_closed=closed.set,
        )
        self._problems.clear()  # of other servers, which were tried before

    async def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await close_client(client)

    async def _publish(self, batch: bytes) -> DeliveryOutcome:
        client = self._client
        if client is None:
            raise ConnectionError
        if len(batch) > client.max_payload - _HEADER_BYTES:
            return DeliveryOutcome(OutcomeKind.TOO_LARGE, f"the server takes {client.max_payload} bytes a message")
        if self._jetstream:
            number = hashlib.blake2b(batch, digest_size=16).hexdigest()
            await self._unless_closed(
                client.jetstream().publish(
                    self._subject, batch, timeout=self._timeout_s, headers={"Nats-Msg-Id": number}
                )
            )
            return DeliveryOutcome(OutcomeKind.DELIVERED, "stored by the stream")
        await client.publish(self._subject, batch)
        await self._unless_closed(client.flush(max(1, int(self._timeout_s))))
        # An error of the server comes before its answer to the ping; without a connection flush() may return at once.
        if self._problems or not client.is_connected:
            raise self._problems[-1] if self._problems else ConnectionError("the connection was closed")
        return DeliveryOutcome(OutcomeKind.DELIVERED, "the server has it")

    async def _unless_closed(self, work: Coroutine[Any, Any, Any]) -> None:
        """Wait for an acknowledgement, but no longer than the connection lasts."""
        if self._closed is None:
            work.close()
            raise ConnectionError
        answer, end = asyncio.ensure_future(work), asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait({answer, end}, return_when=asyncio.FIRST_COMPLETED)
            if not answer.done():
                raise ConnectionError("the connection was closed before the batch was acknowledged")
            answer.result()
        finally:
            for task in (answer, end):
                task.cancel()

    def _failure(self, error: Exception) -> DeliveryOutcome:
        return failure_outcome([error, *reversed(self._problems)])


def failure_outcome(errors: List[Exception]) -> DeliveryOutcome:
    """The outcome of a try that failed with these errors, the last one first."""
    texts = [f"{type(error).__name__}: {error}" for error in errors]
    said = "; ".join(dict.fromkeys(texts[:3]))
    whole = " ".join(texts).lower()
    if any(part in whole for part in _NOT_AUTHORISED):
        return DeliveryOutcome(
            OutcomeKind.UNAUTHORISED,
            f"not sent ({said}): the server does not accept this user, or forbids the subject",
            needs_operator=True,
        )
    if "secureconnrequired" in whole:
        return DeliveryOutcome(
            OutcomeKind.RETRY, "not sent: the server does not offer TLS, which is demanded here", needs_operator=True
        )
    if "certificate_verify_failed" in whole or "certificate verify failed" in whole:
        return DeliveryOutcome(
            OutcomeKind.RETRY,
            f"not sent ({said}): its certificate is not trusted here; name the CA that signed it as ca_file",
            needs_operator=True,
        )
    if "nostreamresponse" in whole:
        return DeliveryOutcome(
            OutcomeKind.RETRY, "not sent: no stream of the server takes this subject; create one", needs_operator=True
        )
    return DeliveryOutcome(OutcomeKind.RETRY, f"not sent ({said})")
