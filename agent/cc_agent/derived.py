"""Metrics of the node that are sums of what several collectors measured; between collectors and router.

A sum is sent only if every collector that belongs to it and works on this machine gave its part at the same tick: a
part that is missing for a moment must not look like traffic that went down.
"""

from __future__ import annotations

from typing import Collection, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from cc_agent.collectors.base import Collector, MetricDescription, RawSeries, Reading


class Part(NamedTuple):
    """Metrics of a collector for the node that are added to a sum."""

    collector: str
    metrics: Tuple[str, ...]


class DerivedMetric(NamedTuple):
    """A metric as the sum of its parts: those of the first form whose first part is there.

    Parts of collectors that are not configured, or have nothing to read here, are left out. It is sent only where the
    collector `needs` works, if one is given, and in place of a metric with the same name.
    """

    name: str
    unit: str
    meaning: str
    group: str
    forms: Tuple[Tuple[Part, ...], ...]
    needs: str = ""

    @property
    def description(self) -> MetricDescription:
        """The description, as collectors have it."""
        return MetricDescription(self.name, self.unit, "node", self.meaning, "rate")


def _ib(*metrics: str) -> Tuple[Tuple[Part, ...], ...]:
    return ((Part("ibstat", metrics),),)


DERIVED_METRICS = (
    DerivedMetric("ic_read_bw", "B/s", "Bytes received on the fast network.", "Network", _ib("ib_recv_bw")),
    DerivedMetric("ic_write_bw", "B/s", "Bytes sent on the fast network.", "Network", _ib("ib_xmit_bw")),
    DerivedMetric(
        "ic_rcv_packets", "packets/s", "Packets received on the fast network.", "Network", _ib("ib_recv_pkts_bw")
    ),
    DerivedMetric(
        "ic_send_packets", "packets/s", "Packets sent on the fast network.", "Network", _ib("ib_xmit_pkts_bw")
    ),
    DerivedMetric(
        "net_bw",
        "B/s",
        "Bytes received and sent on the fast network.",
        "Network",
        (
            # Counters of RoCE lack what goes through the kernel; those of InfiniBand have IP over InfiniBand.
            (Part("ibstat", ("roce_recv_bw", "roce_xmit_bw")), Part("netstat", ("net_bw",))),
            (Part("ibstat", ("ib_recv_bw", "ib_xmit_bw")),),
        ),
        needs="ibstat",
    ),
    DerivedMetric(
        "file_bw",
        "B/s",
        "Bytes read from and written to all file systems and local disks.",
        "Files",
        (
            (
                Part("lustrestat", ("lustre_read_bw", "lustre_write_bw")),
                Part("gpfs", ("gpfs_bw_read", "gpfs_bw_write")),
                Part("nfsiostat", ("nfsio_nfsread_bw", "nfsio_nfswrite_bw")),
                Part("beegfs_storage", ("beegfs_read_bw", "beegfs_write_bw")),
                Part("iostat", ("disk_read_bw", "disk_write_bw")),
            ),
        ),
    ),
)


class DerivedMetrics:
    """Adds the derived metrics of a node to the readings of a tick."""

    def __init__(self, collectors: Sequence[Collector], metrics: Sequence[DerivedMetric] = DERIVED_METRICS) -> None:
        configured = {collector.name for collector in collectors}
        self._metrics = [metric for metric in metrics if _collectors_of(metric) & configured]
        self._configured = frozenset(configured)
        self._series = {
            metric.name: RawSeries(
                metric.name,
                {"type": "node"},
                {"source": "DerivedMetrics", "group": metric.group, "unit": metric.unit, "kind": "rate"},
            )
            for metric in self._metrics
        }
        parts = [part for metric in self._metrics for form in metric.forms for part in form]
        self._inputs = frozenset(name for part in parts for name in part.metrics) | self._series.keys()

    def extend(self, readings: List[Reading], absent: Collection[str]) -> List[Reading]:
        """The readings with the derived ones; `absent` are the collectors that have nothing to read here."""
        present = self._configured.difference(absent)
        values: Dict[str, float] = {}
        places: Dict[str, int] = {}
        for place, (series, value) in enumerate(readings):
            if series.metric in self._inputs and len(series.tags) == 1 and series.tags.get("type") == "node":
                values[series.metric] = value
                places[series.metric] = place
        added: List[Reading] = []
        replaced: List[int] = []
        for metric in self._metrics:
            if metric.needs and metric.needs not in present:
                continue
            if metric.name in places:
                replaced.append(places[metric.name])
            total = _sum(metric, values, present)
            if total is not None:
                added.append((self._series[metric.name], total))
        for place in sorted(replaced, reverse=True):
            del readings[place]
        return readings + added


def derived_descriptions(
    available: Mapping[str, Collection[str]], metrics: Sequence[DerivedMetric] = DERIVED_METRICS
) -> List[Tuple[MetricDescription, Tuple[str, ...]]]:
    """The derived metrics of a machine, each with the collectors that it is made of.

    `available` has the metrics of each collector that works, by its name.
    """
    found = []
    for metric in metrics:
        values = {name: 0.0 for names in available.values() for name in names}
        if metric.needs in ("", *available) and _sum(metric, values, frozenset(available)) is not None:
            found.append((metric.description, tuple(sorted(_collectors_of(metric) & set(available)))))
    return found


def _collectors_of(metric: DerivedMetric) -> frozenset[str]:
    return frozenset(part.collector for form in metric.forms for part in form)


def _sum(metric: DerivedMetric, values: Mapping[str, float], present: Collection[str]) -> Optional[float]:
    """The sum of the form that applies; None if a part of it is missing."""
    for form in metric.forms:
        parts = [part.metrics for part in form if part.collector in present]
        if parts and all(name in values for name in parts[0]):
            names = [name for part in parts for name in part]
            return sum(values[name] for name in names) if all(name in values for name in names) else None
    return None
