"""A receiver of line protocol that is published over NATS."""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional, Tuple

from cc_agent.addresses import port_number
from cc_agent.nats_identity import NatsIdentity
from cc_agent.receivers.base import ReceiverSettings
from cc_agent.receivers.intake import Intake
from cc_common.settings import option, required

if TYPE_CHECKING:
    from cc_common.nats_client import LoopThread, NatsAccess

logger = logging.getLogger(__name__)

_CONNECT_S = 10.0
_MAX_PAUSE_S = 60.0
_PENDING_BYTES = 64 << 20


@dataclass(frozen=True)
class NatsReceiverSettings(NatsIdentity, ReceiverSettings):
    """Options of a receiver of type nats."""

    address: str = option("localhost", "host, or several with commas between them; also tls://host")
    port: Any = option(4222, "port of hosts that are given without one")
    subject: str = required("subject to listen to; * stands for one word, > for the rest")
    queue: str = option("", "name of a group of receivers of which one gets each message; empty means all get it")

    def __post_init__(self) -> None:
        """Check the identity and the port."""
        super().__post_init__()
        port_number(self.port)

    def nats_access(self) -> NatsAccess:
        """The servers and the identity."""
        return self.access(self.address, port_number(self.port))

    def advice(self) -> Tuple[str, ...]:
        """Sentences about what is unwise in these settings."""
        return ()


class NatsReceiver:
    """Subscribes to a subject, and connects again without end; what is published meanwhile is not received."""

    def __init__(self, name: str, settings: NatsReceiverSettings, intake: Intake) -> None:
        self.name = name
        self._settings = settings
        self.intake = intake
        self._thread: Optional[LoopThread] = None
        self._client: Any = None
        self._problem: Optional[Exception] = None
        self.subscribed = threading.Event()

    def start(self) -> None:
        """Begin to connect. Raises DeliveryError for an unusable address, subject, key or CA file."""
        from cc_common.nats_client import LoopThread, check_installed, check_subject  # noqa: PLC0415 loads asyncio

        check_installed(self._settings.nats_access())
        check_subject(self._settings.subject, wildcards=True)
        self._thread = LoopThread(f"receiver {self.name}")
        self._thread.start(self._connect())

    def close(self) -> None:
        """End the subscription and the connection."""
        if self._thread is not None:
            self._thread.close(self._disconnect)
            self._thread = None

    async def _connect(self) -> None:
        import asyncio  # noqa: PLC0415 not every agent needs it

        pause_s = 1.0
        while not await self._subscribe(pause_s):
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _MAX_PAUSE_S)

    async def _subscribe(self, next_try_s: float) -> bool:
        from cc_common.nats_client import connect  # noqa: PLC0415 loads asyncio

        settings = self._settings
        try:
            self._client = await connect(
                settings.nats_access(),
                name="cc-agent",
                timeout_s=_CONNECT_S,
                reconnect=True,
                on_error=self._record_problem,
            )
            await self._client.subscribe(
                settings.subject, queue=settings.queue, cb=self._receive, pending_bytes_limit=_PENDING_BYTES
            )
            await self._client.flush()
        except Exception as error:  # noqa: BLE001 nats-py raises errors of several trees; the server may come back
            reason = str(self._problem or error)
            logger.warning("cannot receive receiver=%s reason=%r next_try_s=%.0f", self.name, reason, next_try_s)
            await self._disconnect()
            return False
        logger.info("subscribed receiver=%s subject=%s", self.name, settings.subject)
        self.subscribed.set()
        return True

    async def _receive(self, message: Any) -> None:
        self.intake.accept_lines(message.data)

    async def _disconnect(self) -> None:
        from cc_common.nats_client import close_client  # noqa: PLC0415 loads asyncio

        client, self._client = self._client, None
        if client is not None:
            await close_client(client)

    def _record_problem(self, error: Exception) -> None:
        self._problem = error
        logger.debug("receiver=%s reason=%r", self.name, str(error))
