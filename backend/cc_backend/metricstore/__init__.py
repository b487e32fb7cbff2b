"""Samples of all series of all hosts for the last days, in memory and in a write-ahead log.

Usable alone: needs NumPy and orjson, no web framework and no database.

    store = MetricStore.open(Path("var/metrics"), {"demo": {"cpu_load": MetricSpec(60, "avg")}}, now_s=now)
    store.ingest(b"cpu_load,cluster=demo,hostname=n1 value=3.5 1790000040", received_s=now)
    store.query("demo", [Query("cpu_load", "n1")], from_s=now - 3600, to_s=now)

Other packages use what is offered here, and `migrate` to take samples over from other stores; nothing else of it.
"""

from cc_backend.metricstore.blocks.hot_block import WINDOW_SLOTS
from cc_backend.metricstore.capacity import CapacityReport, NodeKind, forecast, format_forecast
from cc_backend.metricstore.disk.wal.group_commit import Fsync
from cc_backend.metricstore.gaps.analysis import GapQuery
from cc_backend.metricstore.gaps.reason_text import fault_text, gap_sentence, gap_sentences, host_text
from cc_backend.metricstore.gaps.reasons import (
    GRACE_SLOTS,
    MIN_GAP_SLOTS,
    NO_GAPS,
    HostPresence,
    JobGaps,
    StoreHistory,
    find_gaps,
    gaps_of_whole_hosts,
    merge_hosts,
)
from cc_backend.metricstore.ingest.host_config import ClusterHosts, HostTable, MetricSpecs
from cc_backend.metricstore.ingest.native_reader import HAS_NATIVE
from cc_backend.metricstore.model import (
    JOB_TYPE,
    QUIET_REASONS,
    BoolArray,
    HostHealth,
    IngestResult,
    Limits,
    MemoryState,
    MetricSpec,
    MetricTable,
    Query,
    RejectReason,
    RestoreState,
    SnapshotState,
    StoreCounters,
    StoredSeries,
    UnknownName,
)
from cc_backend.metricstore.query import binary_codec, protocol
from cc_backend.metricstore.query.execute import execute
from cc_backend.metricstore.query.json_codec import decode_json, encode_json, encode_request
from cc_backend.metricstore.query.protocol import QueryItem, QueryRequest, QueryResponse, SeriesResult
from cc_backend.metricstore.query.resample import lttb
from cc_backend.metricstore.query.series_reader import SlotRange, slot_range
from cc_backend.metricstore.self_metrics import HistogramSnapshot, SelfMetricsSnapshot
from cc_backend.metricstore.store import MetricStore

__all__ = (
    "GRACE_SLOTS",
    "HAS_NATIVE",
    "JOB_TYPE",
    "MIN_GAP_SLOTS",
    "NO_GAPS",
    "QUIET_REASONS",
    "WINDOW_SLOTS",
    "BoolArray",
    "CapacityReport",
    "ClusterHosts",
    "Fsync",
    "GapQuery",
    "HistogramSnapshot",
    "HostHealth",
    "HostPresence",
    "HostTable",
    "IngestResult",
    "JobGaps",
    "Limits",
    "MemoryState",
    "MetricSpec",
    "MetricSpecs",
    "MetricStore",
    "MetricTable",
    "NodeKind",
    "Query",
    "QueryItem",
    "QueryRequest",
    "QueryResponse",
    "RejectReason",
    "RestoreState",
    "SelfMetricsSnapshot",
    "SeriesResult",
    "SlotRange",
    "SnapshotState",
    "StoreCounters",
    "StoreHistory",
    "StoredSeries",
    "UnknownName",
    "binary_codec",
    "decode_json",
    "encode_json",
    "encode_request",
    "execute",
    "fault_text",
    "find_gaps",
    "forecast",
    "format_forecast",
    "gap_sentence",
    "gap_sentences",
    "gaps_of_whole_hosts",
    "host_text",
    "lttb",
    "merge_hosts",
    "migrate",
    "protocol",
    "slot_range",
)
