"""Passes a batch from a request to the store, with the time range that its samples may have."""

import re
from collections.abc import Collection

from cc_backend.metricstore import IngestResult
from cc_backend.services import StoreProgram
from cc_common.errors import LineProtocolError
from cc_common.line_protocol import parse_time, split_line

_HOST = re.compile(rb",host(?:name)?=([^, ]+)")


def ingest_batch(
    services: StoreProgram, batch: bytes, *, default_cluster: str, allowed_clusters: Collection[str]
) -> IngestResult:
    """Ingest a batch. While the wall clock is not trusted, the time of the batch is used as evidence."""
    now_s, times = services.now_s(), services.trusted_clock.range()
    result = services.store.ingest(
        batch, received_s=now_s, default_cluster=default_cluster, allowed_clusters=allowed_clusters, time_range=times
    )
    if times.earliest_s != times.latest_s and (host_time := host_and_time(batch)) is not None:
        services.trusted_clock.observe_sample(*host_time)
    return result


def host_and_time(batch: bytes) -> tuple[str, int] | None:
    """Host and time of the last line of a batch; None if one is missing."""
    try:
        series, _, time = split_line(batch.rstrip().rpartition(b"\n")[2])
        host = _HOST.search(series)
        if host is None or not time:
            return None
        return host[1].decode("utf-8", "replace"), parse_time(time, received_s=0)
    except LineProtocolError:
        return None
