"""What every sink is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import List, Protocol, Tuple

from cc_agent.processor import Processor, ProcessorSettings, TagRule
from cc_agent.router import Batch
from cc_common.settings import option, required, section


class Sink(Protocol):
    """Takes batches and keeps them until they are delivered; nothing here waits for a network."""

    name: str

    def start(self) -> None:
        """Get ready to take batches; raises CockpitError if that cannot work."""

    def put(self, batch: Batch, /) -> None:
        """Take a batch."""

    def close(self, deadline_s: float, /) -> None:
        """Deliver what can be delivered within this time, save the rest, and end."""


@dataclass(frozen=True)
class SinkSettings:
    """What sinks of all types share."""

    type: str = required("the type of the sink")
    process_messages: ProcessorSettings = section(
        ProcessorSettings, "rules for this sink, after those of the router", key="process_messages"
    )
    meta_as_tags: Tuple[str, ...] = option(
        (), "old form of process_messages.move_meta_to_tag_if: meta keys to send as tags", key="meta_as_tags"
    )

    def make_processors(self, name: str) -> List[Processor]:
        """The rules of this sink. Raises SettingsError."""
        old = ProcessorSettings(move_meta_to_tag_if=tuple(TagRule(key, key) for key in self.meta_as_tags))
        return [Processor(self.process_messages, key=f"sinks.{name}.process_messages"), Processor(old)]
