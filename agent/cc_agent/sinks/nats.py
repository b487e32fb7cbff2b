"""A sink that publishes batches over NATS."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Tuple

from cc_agent.addresses import port_number
from cc_agent.nats_identity import NatsIdentity
from cc_agent.sinks.base import message_types_option
from cc_agent.sinks.network import NetworkSettings, precision_option
from cc_common.settings import option, required

if TYPE_CHECKING:
    from cc_common.delivery.nats_sender import NatsSender


@dataclass(frozen=True)
class NatsSettings(NatsIdentity, NetworkSettings):
    """Options of a sink of type nats."""

    host: str = required("host, or several with commas between them; also tls://host")
    port: Any = option(4222, "port of hosts that are given without one")
    subject: str = required("subject to publish on")
    jetstream: bool = option(
        False, "count a batch as delivered once a stream has stored it, not once the server has it"
    )
    flush_delay_s: float = option(
        0.0, "accepted for compatibility: the samples of a tick are one batch", key="flush_delay", kind="duration"
    )
    precision: str = precision_option()
    message_types: Tuple[str, ...] = message_types_option()

    def __post_init__(self) -> None:
        """Check the identity and the port."""
        super().__post_init__()
        port_number(self.port)


def make_nats_sender(settings: NatsSettings) -> NatsSender:
    """The sender for these settings. Raises DeliveryError for an unusable address, subject, key or CA file."""
    from cc_common.delivery.nats_sender import NatsSender  # noqa: PLC0415 loads asyncio

    return NatsSender(
        settings.access(settings.host, port_number(settings.port)),
        settings.subject,
        jetstream=settings.jetstream,
        timeout_s=settings.timeout_s,
        name="cc-agent",
    )
