"""Looks into the store for why there is no data: what was asked for, the flags of what came, and the reasons."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cc_backend.metricstore.blocks.grid import Lock
from cc_backend.metricstore.gaps.presence import Lookup, host_presence, series_presence
from cc_backend.metricstore.gaps.reasons import HostSeen, StoreFacts, absences_of, span_of
from cc_backend.metricstore.index.series_table import SeriesTable
from cc_backend.metricstore.model import Flags, Ids, Query
from cc_backend.metricstore.query.series_reader import Range, select
from cc_backend.model import Absence, Why


@dataclass(frozen=True, slots=True)
class Asked:
    """One question whose answer lacks samples: what was asked for, of [from_s, to_s)."""

    query: Query
    from_s: int
    to_s: int


class Inquiry:
    """Finds the reasons for questions about one cluster at one time; what a host sent is looked at once.

    `lock` guards the table. It is held for moments, and not while anything is unpacked or read from disk.
    """

    def __init__(self, table: SeriesTable, lock: Lock, cluster: str, facts: StoreFacts, *, now_s: int) -> None:
        self._table = table
        self._lock = lock
        self._cluster = cluster
        self._facts = facts
        self._now_s = now_s
        self._heard: dict[tuple[str, Range], Flags] = {}
        self._sent_by_any: dict[str, bool] = {}

    def reasons(self, asked: Sequence[Asked]) -> list[list[Absence]]:
        """Per question the stretches without samples, in order."""
        return [self._reasons(one) for one in asked]

    def _reasons(self, asked: Asked) -> list[Absence]:
        metric = asked.query.metric
        with self._lock:
            spec = self._table.spec(self._cluster, metric, asked.query.host)
            elsewhere = spec is None and self._table.spec(self._cluster, metric) is not None
        if spec is None:
            return [Absence(Why.NOT_HERE if elsewhere else Why.NOT_CONFIGURED, (), asked.from_s, asked.to_s)]
        span = span_of(asked.from_s, asked.to_s, spec.timestep_s, now_s=self._now_s)
        if not span.slots:
            too_short = asked.to_s <= -(-asked.from_s // spec.timestep_s) * spec.timestep_s
            return [Absence(Why.JOB_TOO_SHORT if too_short else Why.TOO_EARLY, (), asked.from_s, asked.to_s)]
        found = absences_of(self._seen(asked.query, span), self._facts, now_s=self._now_s)
        if any(one.why is Why.METRIC_NEVER for one in found) and not self._anyone_sends(metric):
            nowhere = [Absence(Why.METRIC_NOWHERE, (), one.from_s, one.to_s, ongoing=one.ongoing) for one in found]
            return [new if old.why is Why.METRIC_NEVER else old for new, old in zip(nowhere, found, strict=True)]
        return found

    def _seen(self, query: Query, span: Range) -> HostSeen:
        series = Lookup(self._table, lambda: self._series(query))
        with self._lock:
            host = self._table.host(self._cluster, query.host)
            sids = series.sids()
            host_last_s = None if host is None else int(self._table.host_last_s[host.id]) or None
            metric_last_s = int(self._table.last_s[sids].max()) or None if len(sids) else None
        if host is None:
            nothing: Flags = np.zeros(span.slots, np.bool_)
            return HostSeen(query.host, span, nothing, nothing, known=False, measured=False)
        present = series_presence(self._table, self._lock, series, span)
        return HostSeen(
            query.host,
            span,
            present if present.all() else self._host_heard(query.host, span),
            present,
            known=True,
            measured=bool(len(sids)),
            host_last_s=host_last_s,
            metric_last_s=metric_last_s,
        )

    def _series(self, query: Query) -> Ids:
        """The series that a query means."""
        host = self._table.host(self._cluster, query.host)
        found = [] if host is None else select(host, query)
        return np.array([sid for selection in found for sid in selection.sids], np.int64)

    def _host_heard(self, host: str, span: Range) -> Flags:
        key = host, span
        if key not in self._heard:
            self._heard[key] = host_presence(self._table, self._lock, self._cluster, host, span)
        return self._heard[key]

    def _anyone_sends(self, metric: str) -> bool:
        if metric not in self._sent_by_any:
            with self._lock:
                hosts = self._table.clusters.get(self._cluster, {}).values()
                self._sent_by_any[metric] = any(host.parts(metric) for host in hosts)
        return self._sent_by_any[metric]
