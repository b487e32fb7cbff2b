"""The protocol of sinks, and their common settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, List, Protocol, Tuple

from cc_agent.processor import Processor, ProcessorSettings, TagRule
from cc_agent.router import Batch
from cc_common.settings import option, required, section

MESSAGE_CLASSES = ("metric", "event", "log", "control")


def message_types_option() -> Any:
    """The setting with the classes of messages that a sink gets."""
    return option(
        ("metric",),
        "classes of messages that are sent, of metric, event, log and control; each in batches of its own",
        key="message_types",
    )


class Sink(Protocol):
    """Accepts batches and keeps them until they are delivered; no method but `close` waits for the network."""

    name: str

    def start(self) -> None:
        """Prepare to accept batches. Raises CockpitError if that is not possible."""

    def put(self, batch: Batch, /) -> None:
        """Accept a batch."""

    def close(self, deadline_s: float, /) -> None:
        """Deliver for this many seconds at most, save the rest, and end."""


@dataclass(frozen=True)
class SinkSettings:
    """Settings of sinks of all types."""

    type: str = required("the type of the sink")
    process_messages: ProcessorSettings = section(
        ProcessorSettings, "rules for this sink, after those of the router", key="process_messages"
    )
    meta_as_tags: Tuple[str, ...] = option(
        (), "old form of process_messages.move_meta_to_tag_if: meta keys to send as tags", key="meta_as_tags"
    )

    @property
    def message_classes(self) -> Tuple[str, ...]:
        """The classes of messages that this sink wants; each is in batches of its own."""
        return tuple(getattr(self, "message_types", ("metric",)))

    @property
    def time_precision(self) -> str:
        """The unit of the timestamps that this sink wants."""
        return str(getattr(self, "precision", "s"))

    def make_processors(self, name: str) -> List[Processor]:
        """The rules of this sink. Raises SettingsError."""
        old = ProcessorSettings(move_meta_to_tag_if=tuple(TagRule(key, key) for key in self.meta_as_tags))
        return [Processor(self.process_messages, key=f"sinks.{name}.process_messages"), Processor(old)]
