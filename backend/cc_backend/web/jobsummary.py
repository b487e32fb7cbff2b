"""The summary of the job page: the verdict with its findings, and the figures that show it at a glance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

import numpy as np
from markupsafe import Markup

from cc_backend.clusters.model import MetricConfig, SubCluster
from cc_backend.insight.curves import OUTLIER_LEAST, gaps_of, known_columns, matrix, outliers_of, shrink
from cc_backend.insight.footprint import Footprint, footprints, node_metric, statistic_of, verdict_of
from cc_backend.insight.rating import worst
from cc_backend.metricstore.absence.reasons import NOTHING_ABSENT, JobAbsences
from cc_backend.model import Job, JobData, JobState, Level
from cc_backend.web.absent import absent_findings, why_missing
from cc_backend.web.figures.draw import XLabel
from cc_backend.web.figures.gauges import Spoke, gauge, polar
from cc_backend.web.figures.maps import MOST_ROWS, Roof, heat, roofline
from cc_backend.web.findings import Check, Finding, Silent, checks_of, findings_of
from cc_backend.wording.format import count, duration, number, plain
from cc_backend.wording.labels import metric_name

_HEAT_METRICS = ("cpu_load", "acc_utilization", "flops_any")
_ROOF_POINTS = 600

# Nodes do not send at the same moment, and the newest samples of some are on their way.
_SILENT_STEPS = 4

Outliers = tuple[str, list[str], int]
"""A metric, the nodes that part from the others in it, and the number of all nodes."""


@dataclass(frozen=True, slots=True)
class GaugeView:
    """One gauge of the footprint."""

    name: str
    statistic: str
    value: str
    unit: str
    label: str
    level: Level | None
    figure: Markup


@dataclass(frozen=True, slots=True)
class Picture:
    """A figure with its title and the line below it."""

    title: str
    figure: Markup
    read: tuple[str, str]


@dataclass(frozen=True, slots=True)
class Summary:
    """Verdict, findings and figures; `outlier_metrics` are those with a finding about nodes that part."""

    level: Level | None
    judged_from: str
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]
    gauges: tuple[GaugeView, ...]
    polar: Markup | None
    heat: Picture | None
    roofline: Picture | None
    outlier_metrics: tuple[str, ...]


def job_summary(
    job: Job,
    data: JobData,
    sub_cluster: SubCluster,
    metrics: Mapping[str, MetricConfig],
    *,
    labels: Sequence[XLabel],
    length_s: float,
    absences: JobAbsences = NOTHING_ABSENT,
    zone: tzinfo | None = None,
) -> Summary:
    """The summary of one job; `length_s` is how much of it has been seen, `zone` that of the times in findings."""
    items = footprints(job, metrics, data, node_threads=len(sub_cluster.topology.node))
    present = [item for item in items if item.value is not None]
    missing = [item.metric for item in items if item.value is None] if present else []
    outliers = [item for item in (_outliers(data, config) for config in metrics.values()) if item]
    absent = absent_findings(absences, length_s=job.duration, nodes=job.num_nodes, zone=zone)
    # What is known to be a node's or the store's fault needs no guess from the curves.
    gaps = [] if absent else _gaps(data, metrics)
    silent = None if absent else _silent(job, data)
    findings = findings_of(
        present,
        outliers=_merged(outliers),
        gaps=gaps,
        missing=missing,
        missing_why=why_missing(absences, missing, zone=zone),
        silent=silent,
        absent=absent,
    )
    faulty = sorted({name for _, names, _ in outliers for name in names})
    checks = checks_of(present, faulty, gaps=bool(gaps or missing or silent or absent), measured=bool(data))
    running = job.state is JobState.RUNNING
    return Summary(
        level=worst([finding.level for finding in findings]) if findings else verdict_of(items),
        judged_from=f"judged from the first {duration(length_s)}" if running and findings else "",
        checks=tuple(checks),
        findings=tuple(findings),
        gauges=tuple(_gauge_view(item) for item in items),
        polar=_polar(items, data),
        heat=_heat(data, metrics, labels, faulty),
        roofline=_roofline(data, sub_cluster) if {"flops_any", "mem_bw"} <= metrics.keys() else None,
        outlier_metrics=tuple(name for name, _, _ in _merged(outliers)),
    )


def _gauge_view(item: Footprint) -> GaugeView:
    return GaugeView(
        item.name,
        item.statistic_word,
        "not measured" if item.value is None else number(item.value),
        item.unit if item.value is not None else "",
        item.label,
        item.level,
        gauge(item.scale, item.value, edges=True),
    )


def _polar(items: Sequence[Footprint], data: JobData) -> Markup | None:
    """The shape of the job over its footprint; three metrics at least make a shape."""
    spokes = []
    for item in items[:8]:
        if item.value is None or not item.scale.judges:
            continue
        found = node_metric(data, item.metric)
        mean, highest = statistic_of(found, "avg"), statistic_of(found, "max")
        ratio = item.value / (statistic_of(found, item.statistic) or item.value or 1.0)
        spokes.append(
            Spoke(
                item.name,
                item.scale,
                item.value if mean is None else mean * ratio,
                item.value if highest is None else highest * ratio,
            )
        )
    if len(spokes) < 3:  # noqa: PLR2004 - a polygon
        return None
    words = ", ".join(f"{item.name} {item.level.word if item.level else 'not judged'}" for item in items)
    return polar(spokes, f"Polar plot of the footprint: {words}.")


def _outliers(data: JobData, config: MetricConfig) -> Outliers | None:
    found = node_metric(data, config.name)
    if found is None or len(found.series) < 4:  # noqa: PLR2004 - three nodes have no usual value
        return None
    far = outliers_of(matrix(found), least=OUTLIER_LEAST * config.peak)
    return (config.name, [found.series[i].hostname for i in far], len(found.series)) if far else None


def _merged(outliers: Sequence[Outliers]) -> list[Outliers]:
    """One finding per set of nodes: the metrics that part in the same way are not repeated."""
    seen: set[tuple[str, ...]] = set()
    out = []
    for item in outliers:
        key = tuple(item[1])
        if key not in seen:
            seen.add(key)
            out.append(item)
    return out[:3]


def _gaps(data: JobData, metrics: Mapping[str, MetricConfig]) -> list[tuple[float, float, str]]:
    """Stretches of time in which no metric has data: length and start in seconds, and words for when."""
    found = [(node_metric(data, name), name) for name in metrics]
    present = [metric for metric, _ in found if metric is not None and metric.series]
    if not present:
        return []
    steps = {metric.timestep_s for metric in present}
    step = max(steps)
    rows = [known_columns(matrix(metric)) for metric in present if metric.timestep_s == step]
    width = min(len(row) for row in rows)
    known = np.vstack([row[:width] for row in rows]).any(axis=0, keepdims=True)
    line = np.where(known, 1.0, np.nan)
    return [
        ((end - start) * step, start * step, f"from {duration(start * step)} after the start")
        for start, end in gaps_of(line)
        if end - start >= 3  # noqa: PLR2004 - two missing samples in a row happen
    ]


def _silent(job: Job, data: JobData) -> Silent | None:
    """The nodes that sent nothing when others did: never, or no more after some time; nothing where all fell silent."""
    steps = {metric.timestep_s for by_scope in data.values() for metric in by_scope.values()}
    tolerance_s = _SILENT_STEPS * max(steps, default=0)
    last_s = dict.fromkeys((resource.hostname for resource in job.resources), 0.0)
    for name in data:
        metric = node_metric(data, name)
        for series in metric.series if metric else ():
            known = np.flatnonzero(np.isfinite(series.data))
            if metric and known.size and series.hostname in last_s:
                last_s[series.hostname] = max(last_s[series.hostname], float(known[-1] + 1) * metric.timestep_s)
    newest_s = max(last_s.values(), default=0.0)
    names = [host for host, seen_s in last_s.items() if seen_s < newest_s - tolerance_s]
    return (names, len(last_s), min(last_s[host] for host in names)) if names else None


def _heat(
    data: JobData, metrics: Mapping[str, MetricConfig], labels: Sequence[XLabel], faulty: Sequence[str]
) -> Picture | None:
    """Hosts over time in the metric that says most about use; one host alone is a plot, too many are a wall."""
    name = next((n for n in _HEAT_METRICS if n in metrics and node_metric(data, n)), "")
    metric = node_metric(data, name)
    if metric is None or not 2 <= len(metric.series) <= MOST_ROWS:  # noqa: PLR2004 - see above
        return None
    hosts = [series.hostname for series in metric.series]
    rows = matrix(metric)
    peak, highest = metrics[name].peak, float(np.nanmax(rows)) if np.isfinite(rows).any() else 0.0
    top = (peak if highest <= peak * 1.1 else highest) or 1.0
    apart = f" {', '.join(faulty)} differ from the rest." if faulty else ""
    label = f"{metric_name(name)} of {count(len(hosts), 'node')} over time.{apart}"
    figure = heat(rows, hosts, top, labels, label, faulty=[host for host in hosts if host in faulty])
    return Picture(
        f"{metric_name(name)} by node", figure, ("scale", f"0 to {plain(top) if top == peak else number(top)}")
    )


def _roofline(data: JobData, sub_cluster: SubCluster) -> Picture | None:
    """Every node at every time step as Flop/byte and GFlop/s; nothing where the node's limits are unknown."""
    flops, bandwidth = node_metric(data, "flops_any"), node_metric(data, "mem_bw")
    roof = Roof(
        _giga(sub_cluster.flop_rate_scalar.value, sub_cluster.flop_rate_scalar.unit.prefix),
        _giga(sub_cluster.flop_rate_simd.value, sub_cluster.flop_rate_simd.unit.prefix),
        _giga(sub_cluster.memory_bandwidth.value, sub_cluster.memory_bandwidth.unit.prefix),
    )
    if flops is None or bandwidth is None or not roof.known or flops.timestep_s != bandwidth.timestep_s:
        return None
    rates = {s.hostname: s.data * _giga(1.0, flops.unit.prefix) for s in flops.series}
    points: list[tuple[float, float, bool]] = []
    per_node = max(1, _ROOF_POINTS // max(len(rates), 1))
    for series in bandwidth.series:
        rate = rates.get(series.hostname)
        if rate is None:
            continue
        width = min(len(rate), len(series.data))
        pair = np.vstack([rate[:width], series.data[:width] * _giga(1.0, bandwidth.unit.prefix)]).astype(np.float64)
        small = shrink(pair, per_node)[0]
        half = small.shape[1] / 2
        points += [
            (float(f / b), float(f), i >= half)
            for i, (f, b) in enumerate(small.T)
            if np.isfinite(f) and np.isfinite(b) and b > 0 and f >= 1
        ]
    if not points:
        return None
    intensity, rate_mid = float(np.median([p[0] for p in points])), float(np.median([p[1] for p in points]))
    median = f"{number(intensity)} Flop/byte, {number(rate_mid)} GFlop/s"
    limits = f"vector peak {plain(roof.simd)} GFlop/s, memory {plain(roof.bandwidth)} GB/s"
    return Picture("Roofline", roofline(points, roof, f"Roofline: median {median}; {limits}."), ("median", median))


def _giga(value: float, prefix: str) -> float:
    return value * {"": 1e-9, "k": 1e-6, "K": 1e-6, "M": 1e-3, "G": 1.0, "T": 1e3, "P": 1e6}.get(prefix, 1.0)
