"""The job page as the template shows it. Pure: a job and its samples in, words and figures out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import tzinfo

import numpy as np
from markupsafe import Markup

from cc_backend.clusters.model import MetricConfig, SubCluster
from cc_backend.model import Job, JobData, JobState, MonitoringStatus, Scope
from cc_backend.web.figures.draw import XLabel
from cc_backend.web.figures.gauges import Spoke, gauge, polar
from cc_backend.web.figures.maps import MOST_ROWS, Roof, heat, roofline
from cc_backend.web.findings import Check, Finding, checks_of, findings_of
from cc_backend.web.footprints import Footprint, footprints, node_metric, statistic_of, verdict_of
from cc_backend.web.format import count, duration, full_moment, iso, limit, memory, number, plain
from cc_backend.web.joblist import job_number, job_place, job_size
from cc_backend.web.jobplots import PlotView, axis_labels, plot_view, scopes_on_offer
from cc_backend.web.jobtable import StatisticsTable, statistics_table
from cc_backend.web.series import gaps_of, known_columns, matrix, outliers_of, shrink
from cc_backend.web.verdict import Level, worst
from cc_backend.web.words import SCOPE_WORDS, STATE_WORDS, metric_name

_HEAT_METRICS = ("cpu_load", "acc_utilization", "flops_any")
_ROOF_POINTS = 600
_LONG_TEXTS = {"jobScript": "Job script", "slurmInfo": "Slurm"}


@dataclass(frozen=True, slots=True)
class PageOptions:
    """What the address of a job page chooses."""

    scope: Scope = Scope.NODE
    clock: bool = False
    sort: str = ""
    descending: bool = False


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
class ScopeChoice:
    """One scope a reader can switch to."""

    scope: Scope
    word: str
    chosen: bool


@dataclass(frozen=True, slots=True)
class Fact:
    """One line of a list of facts."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class JobPage:
    """Everything the template of the job page shows."""

    job: Job
    number: str
    state_word: str
    running: bool
    ran: str
    ran_of: str
    place: str
    size: str
    start: str
    start_iso: str
    level: Level | None
    judged_from: str
    checks: tuple[Check, ...]
    findings: tuple[Finding, ...]
    gauges: tuple[GaugeView, ...]
    polar: Markup | None
    heat: Markup | None
    heat_title: str
    heat_scale: str
    roofline: Markup | None
    roofline_median: str
    plots: tuple[PlotView, ...]
    missing: tuple[str, ...]
    scopes: tuple[ScopeChoice, ...]
    table: StatisticsTable
    energy: tuple[Fact, ...]
    energy_total: str
    facts: tuple[Fact, ...]
    hosts: tuple[tuple[str, str], ...]
    texts: tuple[tuple[str, str], ...]
    note: str
    data_note: str
    outlier_metrics: frozenset[str]


def job_page(
    job: Job,
    data: JobData,
    sub_cluster: SubCluster,
    metrics: Mapping[str, MetricConfig],
    options: PageOptions,
    *,
    zone: tzinfo | None,
    data_note: str = "",
) -> JobPage:
    """The page of one job; `metrics` are those the reader may see, `data_note` says why there are no samples."""
    labels, length = axis_labels(job, data, zone, clock=options.clock)
    items = footprints(job, metrics, data, node_threads=len(sub_cluster.topology.node))
    plots = job_plots(job, data, sub_cluster, metrics, options, labels=labels)
    outliers = [item for item in (_outliers(data, name) for name in metrics) if item]
    gaps = _gaps(data, metrics)
    present = [item for item in items if item.value is not None]
    missing = [item.metric for item in items if item.value is None] if present else []
    findings = findings_of(present, outliers=_merged(outliers), gaps=gaps, missing=missing)
    levels = [finding.level for finding in findings]
    measured = any(plot.measured for plot in plots)
    faulty = sorted({name for _, names, _ in outliers for name in names})
    heat_of = next((n for n in _HEAT_METRICS if n in metrics and node_metric(data, n)), "")
    roof, median = _roofline(data, sub_cluster) if {"flops_any", "mem_bw"} <= metrics.keys() else (None, "")
    offered = scopes_on_offer(job, sub_cluster, metrics, data)
    sort, descending = _order(options, _merged(outliers))
    return JobPage(
        job=job,
        number=job_number(job),
        state_word=STATE_WORDS[job.state],
        running=job.state is JobState.RUNNING,
        ran=duration(job.duration),
        ran_of=limit(job.walltime) if job.walltime else "",
        place=job_place(job),
        size=job_size(job, sub_cluster).replace(" · ", ", "),
        start=full_moment(job.start_time, zone),
        start_iso=iso(job.start_time),
        level=worst(levels) if levels else verdict_of(items),
        judged_from=f"judged from the first {duration(length)}" if job.state is JobState.RUNNING else "",
        checks=tuple(checks_of(present, faulty, gaps=bool(gaps or missing), measured=measured)),
        findings=tuple(findings),
        gauges=tuple(_gauge_view(item) for item in items),
        polar=_polar(items, data),
        heat=_heat(data, heat_of, metrics, labels, faulty) if heat_of else None,
        heat_title=f"{metric_name(heat_of)} by node" if heat_of else "",
        heat_scale=f"0 to {plain(metrics[heat_of].peak)}" if heat_of else "",
        roofline=roof,
        roofline_median=median,
        plots=tuple(plot for plot in plots if plot.measured),
        missing=tuple(plot.title for plot in plots if not plot.measured),
        scopes=tuple(ScopeChoice(s, SCOPE_WORDS[s][1], s is options.scope) for s in offered),
        table=statistics_table(job, data, metrics, sub_cluster, scope=options.scope, sort=sort, descending=descending),
        energy=_energy_parts(job),
        energy_total=number(job.energy) if job.energy else "",
        facts=_facts(job, zone),
        hosts=tuple((r.hostname, _host_share(r.hwthreads, r.accelerators)) for r in job.resources),
        texts=_texts(job),
        note=(job.meta_data or {}).get("message", ""),
        data_note=data_note or _status_note(job, measured=measured),
        outlier_metrics=frozenset(name for name, _, _ in _merged(outliers)),
    )


def job_plots(
    job: Job,
    data: JobData,
    sub_cluster: SubCluster,
    metrics: Mapping[str, MetricConfig],
    options: PageOptions,
    *,
    labels: Sequence[XLabel],
    draw: bool = True,
) -> list[PlotView]:
    """One plot per metric: those of the footprint first, then the others, each in the order of the configuration."""
    order = sorted(metrics, key=lambda name: not metrics[name].footprint)
    return [
        plot_view(job, metrics[name], data.get(name, {}), sub_cluster, wanted=options.scope, labels=labels, draw=draw)
        for name in order
    ]


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
        if item.value is None:
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


def _outliers(data: JobData, name: str) -> tuple[str, list[str], int] | None:
    found = node_metric(data, name)
    if found is None or len(found.series) < 4:  # noqa: PLR2004 - three nodes have no usual value
        return None
    far = outliers_of(matrix(found))
    return (name, [found.series[i].hostname for i in far], len(found.series)) if far else None


def _merged(outliers: Sequence[tuple[str, list[str], int]]) -> list[tuple[str, list[str], int]]:
    """One finding per set of nodes: the metrics that part in the same way are not repeated."""
    seen: set[tuple[str, ...]] = set()
    out = []
    for item in outliers:
        key = tuple(item[1])
        if key not in seen:
            seen.add(key)
            out.append(item)
    return out[:3]


def _order(options: PageOptions, outliers: Sequence[tuple[str, list[str], int]]) -> tuple[str, bool]:
    """What the statistics are sorted by: as chosen, else by the metric in which nodes part, else by name."""
    if options.sort:
        return options.sort, options.descending
    return (outliers[0][0], False) if outliers else ("", False)


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


def _heat(
    data: JobData, name: str, metrics: Mapping[str, MetricConfig], labels: Sequence[XLabel], faulty: Sequence[str]
) -> Markup | None:
    metric = node_metric(data, name)
    if metric is None or not 2 <= len(metric.series) <= MOST_ROWS:  # noqa: PLR2004 - one row is a plot
        return None
    hosts = [series.hostname for series in metric.series]
    rows = matrix(metric)
    top = metrics[name].peak or float(np.nanmax(rows)) or 1.0
    apart = f" {', '.join(faulty)} differ from the rest." if faulty else ""
    label = f"{metric_name(name)} of {count(len(hosts), 'node')} over time.{apart}"
    return heat(rows, hosts, top, labels, label, faulty=[host for host in hosts if host in faulty])


def _roofline(data: JobData, sub_cluster: SubCluster) -> tuple[Markup | None, str]:
    """Every node at every time step as Flop/byte and GFlop/s; nothing where the node's limits are unknown."""
    flops, bandwidth = node_metric(data, "flops_any"), node_metric(data, "mem_bw")
    roof = Roof(
        _giga(sub_cluster.flop_rate_scalar.value, sub_cluster.flop_rate_scalar.unit.prefix),
        _giga(sub_cluster.flop_rate_simd.value, sub_cluster.flop_rate_simd.unit.prefix),
        _giga(sub_cluster.memory_bandwidth.value, sub_cluster.memory_bandwidth.unit.prefix),
    )
    if flops is None or bandwidth is None or not roof.known or flops.timestep_s != bandwidth.timestep_s:
        return None, ""
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
        return None, ""
    intensity, rate_mid = float(np.median([p[0] for p in points])), float(np.median([p[1] for p in points]))
    median = f"{number(intensity)} Flop/byte, {number(rate_mid)} GFlop/s"
    limits = f"vector peak {plain(roof.simd)} GFlop/s, memory {plain(roof.bandwidth)} GB/s"
    return roofline(points, roof, f"Roofline: median {median}; {limits}."), median


def _giga(value: float, prefix: str) -> float:
    return value * {"": 1e-9, "k": 1e-6, "K": 1e-6, "M": 1e-3, "G": 1.0, "T": 1e3, "P": 1e6}.get(prefix, 1.0)


def _energy_parts(job: Job) -> tuple[Fact, ...]:
    return tuple(
        Fact(metric_name(name), f"{number(value)} kWh")
        for name, value in sorted((job.energy_footprint or {}).items(), key=lambda item: -item[1])
    )


def _facts(job: Job, zone: tzinfo | None) -> tuple[Fact, ...]:
    """The scheduler's record, without what the head of the page says already."""
    pairs = [
        ("Partition", job.partition),
        ("Submitted", full_moment(job.submit_time, zone) if job.submit_time else ""),
        ("Waited", duration(job.start_time - job.submit_time) if 0 < job.submit_time <= job.start_time else ""),
        ("Ended", full_moment(job.stop_time, zone) if job.state is not JobState.RUNNING else ""),
        ("Time limit", limit(job.walltime) if job.walltime else ""),
        ("Memory asked for", memory(job.requested_memory) if job.requested_memory else ""),
        ("Hardware threads", number(job.num_hwthreads) if job.num_hwthreads else ""),
        ("GPUs", number(job.num_acc) if job.num_acc else ""),
        ("Array", str(job.array_job_id) if job.array_job_id else ""),
        ("Nodes", {"none": "used alone", "single_user": "shared by one person's jobs"}.get(job.shared, "shared")),
    ]
    return tuple(Fact(label, value) for label, value in pairs if value)


def _host_share(threads: Sequence[int], accelerators: Sequence[str]) -> str:
    parts = [count(len(threads), "hardware thread")] if threads else ["whole node"]
    if accelerators:
        parts.append(count(len(accelerators), "GPU"))
    return ", ".join(parts)


def _texts(job: Job) -> tuple[tuple[str, str], ...]:
    """Job script, scheduler's output and whatever else the site records, as plain text."""
    known = job.meta_data or {}
    out = [(title, known[key]) for key, title in _LONG_TEXTS.items() if known.get(key)]
    hidden = {"jobName", "message", *_LONG_TEXTS}
    out += [(key, value) for key, value in known.items() if key not in hidden and value]
    return tuple(out)


def _status_note(job: Job, *, measured: bool) -> str:
    if measured:
        return ""
    if job.monitoring_status == MonitoringStatus.DISABLED:
        return "This job was not monitored: it was too short, or monitoring was off."
    if job.monitoring_status == MonitoringStatus.ARCHIVING_FAILED:
        return "The samples of this job could not be archived. The record of the job is complete."
    if job.state is JobState.RUNNING:
        return "No samples have come in from the nodes of this job yet."
    return "There are no samples of this job."
