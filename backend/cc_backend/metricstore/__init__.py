"""Samples of all series of all hosts for the last days, in memory and in a write-ahead log.

Usable alone: needs NumPy and orjson, no web framework and no database.

    store = MetricStore.open(Path("var/metrics"), {"demo": {"cpu_load": MetricSpec(60, "avg")}}, now_s=now)
    store.ingest(b"cpu_load,cluster=demo,hostname=n1 value=3.5 1790000040", received_s=now)
    store.query("demo", [Query("cpu_load", "n1")], from_s=now - 3600, to_s=now)
"""

from cc_backend.metricstore.model import (
    QUIET_REASONS,
    HostHealth,
    IngestResult,
    Limits,
    MetricSpec,
    MetricTable,
    Query,
    RejectReason,
    RestoreState,
    StoreCounters,
    StoredSeries,
    StoredStatistic,
    UnknownName,
    WalState,
)
from cc_backend.metricstore.query.resample import resample
from cc_backend.metricstore.store import MetricStore
from cc_common.line_protocol import LineError

__all__ = (
    "QUIET_REASONS",
    "HostHealth",
    "IngestResult",
    "Limits",
    "LineError",
    "MetricSpec",
    "MetricStore",
    "MetricTable",
    "Query",
    "RejectReason",
    "RestoreState",
    "StoreCounters",
    "StoredSeries",
    "StoredStatistic",
    "UnknownName",
    "WalState",
    "blocks",
    "capacity",
    "disk",
    "gaps",
    "ingest",
    "migrate",
    "model",
    "query",
    "resample",
    "self_metrics",
)
