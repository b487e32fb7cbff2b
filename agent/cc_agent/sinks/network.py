"""What sinks over a network have in common: batches wait in an outbox, and a delivery worker sends them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Optional

from cc_agent.collectors.agentstat import Backlog
from cc_agent.router import Batch
from cc_agent.sinks.base import SinkSettings
from cc_common.line_protocol import PRECISION_ZEROS
from cc_common.settings import option

if TYPE_CHECKING:
    from cc_common.delivery import BatchSender, DeliveryWorker, Outbox


@dataclass(frozen=True)
class NetworkSettings(SinkSettings):
    """Settings of all sinks over a network."""

    ca_file: str = option("", "certificates to trust instead of the system's", key="ca_file", kind="path")
    timeout_s: float = option(
        10.0, "maximum time for a request to the end of its response", key="timeout", kind="duration", minimum=0.1
    )
    memory_limit_bytes: int = option(
        8_388_608, "maximum bytes waiting in memory", key="memory_limit_bytes", minimum=65_536
    )
    spool_limit_bytes: int = option(
        268_435_456, "maximum bytes waiting on disk, if there is a spool folder", key="spool_limit_bytes", minimum=0
    )


def precision_option() -> Any:
    """The setting with the unit of timestamps."""
    return option("s", "unit of the timestamps that are sent", key="precision", choices=tuple(PRECISION_ZEROS))


def sink_spool_folder(folder: Optional[Path], name: str) -> Optional[Path]:
    """The folder of one sink below the common spool folder; None if there is none."""
    return folder / re.sub(r"[^A-Za-z0-9_-]", "_", name) if folder else None


class NetworkSink:
    """Queues batches for a delivery worker, which sends them and backs off while the server is unavailable.

    `make_sender` is called at the start; `convert` turns lines into what the server wants, if that is something else.
    """

    def __init__(
        self,
        name: str,
        settings: NetworkSettings,
        make_sender: Callable[[], BatchSender],
        *,
        spool: Optional[Path] = None,
        convert: Optional[Callable[[bytes], bytes]] = None,
    ) -> None:
        self.name = name
        self._settings = settings
        self._make_sender = make_sender
        self._spool = sink_spool_folder(spool, name)
        self._convert = convert
        self._worker: Optional[DeliveryWorker] = None
        self._outbox: Optional[Outbox] = None

    def start(self) -> None:
        """Open the outbox and start the worker. Raises DeliveryError if address or spool folder cannot be used."""
        from cc_common.delivery import DeliveryWorker, Outbox  # noqa: PLC0415 not every command sends

        sender = self._make_sender()
        outbox = Outbox(
            self._spool,
            memory_limit_bytes=self._settings.memory_limit_bytes,
            disk_limit_bytes=self._settings.spool_limit_bytes,
        )
        self._outbox = outbox
        self._worker = DeliveryWorker(outbox, sender)
        self._worker.start()

    def put(self, batch: Batch, /) -> None:
        """Queue a batch; never waits for the network."""
        if self._worker is not None and batch.samples:
            self._worker.put(batch.lines if self._convert is None else self._convert(batch.lines))

    @property
    def backlog(self) -> Backlog:
        """What waits to be sent, and what was given up."""
        if self._outbox is None:
            return Backlog(0, 0, 0)
        stats = self._outbox.stats()
        return Backlog(stats.queued + stats.spooled, stats.queued_bytes + stats.spooled_bytes, stats.dropped)

    def close(self, deadline_s: float, /) -> None:
        """Send for this many seconds at most; the rest goes to the spool folder, or is lost without one."""
        if self._worker is not None:
            self._worker.stop(deadline_s)
            self._worker = self._outbox = None
