"""Finds the gaps in the data that queries get from a store, and their reasons."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cc_backend.metricstore.blocks.windows import Lock
from cc_backend.metricstore.gaps.presence import SeriesLookup, host_presence, series_presence
from cc_backend.metricstore.gaps.reasons import HostPresence, StoreHistory, find_gaps, judgeable_slots
from cc_backend.metricstore.index.series_table import SeriesTable
from cc_backend.metricstore.model import BoolArray, Int64Array, Query
from cc_backend.metricstore.query.series_reader import SlotRange, select_series
from cc_backend.model import DataGap, GapReason


@dataclass(frozen=True, slots=True)
class GapQuery:
    """A query over [from_s, to_s) whose gaps are to be explained."""

    query: Query
    from_s: int
    to_s: int


class GapAnalysis:
    """Finds gaps of one cluster at one time; the presence of each host is read once.

    `lock` guards the table. It is held for moments only, not while samples are decompressed or read from disk.
    """

    def __init__(self, table: SeriesTable, lock: Lock, cluster: str, history: StoreHistory, *, now_s: int) -> None:
        self._table = table
        self._lock = lock
        self._cluster = cluster
        self._history = history
        self._now_s = now_s
        self._host_sent: dict[tuple[str, SlotRange], BoolArray] = {}
        self._sent_by_any: dict[str, bool] = {}

    def find_gaps(self, queries: Sequence[GapQuery]) -> list[list[DataGap]]:
        """The gaps of each query, in order of time."""
        return [self._find_gaps_of(query) for query in queries]

    def _find_gaps_of(self, gap_query: GapQuery) -> list[DataGap]:
        metric = gap_query.query.metric
        with self._lock:
            spec = self._table.spec(self._cluster, metric, gap_query.query.host)
            is_metric_elsewhere = spec is None and self._table.spec(self._cluster, metric) is not None
        if spec is None:
            return [
                DataGap(
                    GapReason.METRIC_NOT_ON_SUBCLUSTER if is_metric_elsewhere else GapReason.METRIC_NOT_CONFIGURED,
                    (),
                    gap_query.from_s,
                    gap_query.to_s,
                )
            ]
        span = judgeable_slots(gap_query.from_s, gap_query.to_s, spec.timestep_s, now_s=self._now_s)
        if not span.slots:
            too_short = gap_query.to_s <= -(-gap_query.from_s // spec.timestep_s) * spec.timestep_s
            return [
                DataGap(
                    GapReason.JOB_SHORTER_THAN_TIMESTEP if too_short else GapReason.FIRST_SAMPLES_PENDING,
                    (),
                    gap_query.from_s,
                    gap_query.to_s,
                )
            ]
        gaps = find_gaps(self._host_presence(gap_query.query, span), self._history, now_s=self._now_s)
        if any(gap.reason is GapReason.METRIC_NEVER_SEEN_ON_HOST for gap in gaps) and not self._anyone_sends(metric):
            nowhere = [
                DataGap(GapReason.METRIC_NEVER_SEEN, (), gap.from_s, gap.to_s, is_ongoing=gap.is_ongoing)
                for gap in gaps
            ]
            return [
                new if old.reason is GapReason.METRIC_NEVER_SEEN_ON_HOST else old
                for new, old in zip(nowhere, gaps, strict=True)
            ]
        return gaps

    def _host_presence(self, query: Query, span: SlotRange) -> HostPresence:
        series = SeriesLookup(self._table, lambda: self._find_series(query))
        with self._lock:
            host = self._table.host(self._cluster, query.host)
            sids = series.sids()
            host_last_s = None if host is None else int(self._table.columns.host_last_s[host.id]) or None
            metric_last_s = int(self._table.columns.last_s[sids].max()) or None if len(sids) else None
        if host is None:
            no_slots: BoolArray = np.zeros(span.slots, np.bool_)
            return HostPresence(query.host, span, no_slots, no_slots, is_host_known=False, is_metric_known=False)
        present = series_presence(self._table, self._lock, series, span)
        return HostPresence(
            query.host,
            span,
            present if present.all() else self._slots_host_sent(query.host, span),
            present,
            is_host_known=True,
            is_metric_known=bool(len(sids)),
            host_last_s=host_last_s,
            metric_last_s=metric_last_s,
        )

    def _find_series(self, query: Query) -> Int64Array:
        """The sids that a query selects."""
        host = self._table.host(self._cluster, query.host)
        found = [] if host is None else select_series(host, query)
        return np.array([sid for selection in found for sid in selection.sids], np.int64)

    def _slots_host_sent(self, host: str, span: SlotRange) -> BoolArray:
        key = host, span
        if key not in self._host_sent:
            self._host_sent[key] = host_presence(self._table, self._lock, self._cluster, host, span)
        return self._host_sent[key]

    def _anyone_sends(self, metric: str) -> bool:
        if metric not in self._sent_by_any:
            with self._lock:
                hosts = self._table.clusters.get(self._cluster, {}).values()
                self._sent_by_any[metric] = any(host.sids_by_part(metric) for host in hosts)
        return self._sent_by_any[metric]
