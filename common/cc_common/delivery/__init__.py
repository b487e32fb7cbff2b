"""Delivery of batches without loss: a queue in memory and on disk, senders, and a worker thread between them.

outbox = Outbox(Path("/var/spool/cc-agent"))
worker = DeliveryWorker(outbox, HttpSender("https://monitoring/api/write", token=token))
worker.start()
worker.put(batch)
worker.stop(deadline_s=5)
"""

from cc_common.delivery.backoff import Backoff
from cc_common.delivery.http_sender import HttpSender, Timeouts
from cc_common.delivery.outbox import Outbox
from cc_common.delivery.outcome import BatchSender, DeliveryOutcome, OutcomeKind
from cc_common.delivery.worker import DeliveryWorker

__all__ = (
    "Backoff",
    "BatchSender",
    "DeliveryOutcome",
    "DeliveryWorker",
    "HttpSender",
    "Outbox",
    "OutcomeKind",
    "Timeouts",
    "batch_split",
    "http_response",
    "http_sender",
    "nats_sender",
)
