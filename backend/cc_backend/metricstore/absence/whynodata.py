"""Looks into the store for why there is no data: what was asked for, the flags of what came, and the reasons."""

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from cc_backend.metricstore.absence.presence import host_presence, series_presence
from cc_backend.metricstore.absence.reasons import HostSeen, StoreFacts, absences_of, span_of
from cc_backend.metricstore.answers.query import Range, select
from cc_backend.metricstore.memory.hosts import Host
from cc_backend.metricstore.memory.series import SeriesTable
from cc_backend.metricstore.model import Flags, Ids, Query
from cc_backend.model import Absence, Why


@dataclass(frozen=True, slots=True)
class Asked:
    """One question whose answer lacks samples: what was asked for, of [from_s, to_s)."""

    query: Query
    from_s: int
    to_s: int


class Inquiry:
    """Finds the reasons for questions about one cluster at one time; what a host sent is looked at once."""

    def __init__(self, table: SeriesTable, cluster: str, facts: StoreFacts, *, now_s: int) -> None:
        self._table = table
        self._cluster = cluster
        self._facts = facts
        self._now_s = now_s
        self._heard: dict[tuple[int, Range], Flags] = {}
        self._sent_by_any: dict[str, bool] = {}

    def reasons(self, asked: Sequence[Asked], lock: AbstractContextManager[object]) -> list[list[Absence]]:
        """Per question the stretches without samples, in order; the lock is held for one question at a time."""
        found = []
        for one in asked:
            with lock:
                found.append(self._reasons(one))
        return found

    def _reasons(self, asked: Asked) -> list[Absence]:
        metric = asked.query.metric
        spec = self._table.spec(self._cluster, metric, asked.query.host)
        if spec is None:
            elsewhere = self._table.spec(self._cluster, metric) is not None
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
        host = self._table.host(self._cluster, query.host)
        if host is None:
            nothing: Flags = np.zeros(span.slots, np.bool_)
            return HostSeen(query.host, span, nothing, nothing, known=False, measured=False)
        sids: Ids = np.array([sid for found in select(host, query) for sid in found.sids], np.int64)
        present = series_presence(self._table, sids, span)
        return HostSeen(
            query.host,
            span,
            present if present.all() else self._host_heard(host, span),
            present,
            known=True,
            measured=bool(len(sids)),
            host_last_s=int(self._table.host_last_s[host.id]) or None,
            metric_last_s=int(self._table.last_s[sids].max()) or None if len(sids) else None,
        )

    def _host_heard(self, host: Host, span: Range) -> Flags:
        key = host.id, span
        if key not in self._heard:
            self._heard[key] = host_presence(self._table, host, span)
        return self._heard[key]

    def _anyone_sends(self, metric: str) -> bool:
        if metric not in self._sent_by_any:
            hosts = self._table.clusters.get(self._cluster, {}).values()
            self._sent_by_any[metric] = any(host.parts(metric) for host in hosts)
        return self._sent_by_any[metric]
