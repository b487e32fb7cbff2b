"""The protocol of receivers, and their common settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, Tuple

from cc_agent.processor import Processor, ProcessorSettings
from cc_agent.receivers.intake import Intake
from cc_common.settings import required, section


class Receiver(Protocol):
    """Gets messages from elsewhere and gives them to its intake, in threads of its own."""

    name: str
    intake: Intake

    def start(self) -> None:
        """Begin to receive. Raises CockpitError if that cannot work; one that is away may come."""

    def close(self) -> None:
        """End, with what was received passed on."""


@dataclass(frozen=True)
class ReceiverSettings:
    """Settings of receivers of all types."""

    type: str = required("the type of the receiver")
    process_messages: ProcessorSettings = section(
        ProcessorSettings, "rules for what this receiver gets, before those of the router", key="process_messages"
    )

    def make_processor(self, name: str) -> Processor:
        """The rules of this receiver. Raises SettingsError."""
        return Processor(self.process_messages, key=f"receivers.{name}.process_messages")

    def advice(self) -> Tuple[str, ...]:
        """Sentences about what is unwise in these settings."""
        return ()
