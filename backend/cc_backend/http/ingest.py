"""A batch on its way from a request to the store, with the times by which its samples are judged."""

import re
from collections.abc import Collection
from typing import Protocol

from cc_backend.metricstore import IngestResult, MetricStore
from cc_backend.runtime.trusted_clock import TrustedClock
from cc_common.errors import LineProtocolError
from cc_common.line_protocol import parse_time, split_line

_HOST = re.compile(rb",host(?:name)?=([^, ]+)")


class IngestServices(Protocol):
    """The parts of a program that takes samples."""

    @property
    def store(self) -> MetricStore:
        """Where they go."""

    @property
    def trusted_clock(self) -> TrustedClock:
        """What time it is."""

    def now_s(self) -> int:
        """What time the wall clock says it is."""


def ingest_batch(
    services: IngestServices, batch: bytes, *, default_cluster: str, allowed_clusters: Collection[str]
) -> IngestResult:
    """Hand a batch to the store. While the clock is in doubt, the batch's own time is evidence."""
    now_s, times = services.now_s(), services.trusted_clock.range()
    result = services.store.ingest(
        batch, received_s=now_s, default_cluster=default_cluster, allowed_clusters=allowed_clusters, time_range=times
    )
    if times.earliest_s != times.latest_s and (said := host_and_time(batch)) is not None:
        services.trusted_clock.observe_sample(*said)
    return result


def host_and_time(batch: bytes) -> tuple[str, int] | None:
    """Host and time of the last line of a batch; None if it does not say both."""
    try:
        series, _, time = split_line(batch.rstrip().rpartition(b"\n")[2])
        host = _HOST.search(series)
        if host is None or not time:
            return None
        return host[1].decode("utf-8", "replace"), parse_time(time, received_s=0)
    except LineProtocolError:
        return None
