"""The figures of the job page over two measures: nodes over time as a heat map, and the roofline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from cc_backend.clusters.model import MetricConfig, SubCluster
from cc_backend.insight.assessment import Assessment
from cc_backend.insight.curve_maths import downsample
from cc_backend.insight.findings import FindingCode
from cc_backend.insight.job_curves import JobCurveSet, MetricCurves
from cc_backend.model import Job
from cc_backend.web.figures.heatmap import MAX_ROWS, Dot, Roof, draw_heatmap, draw_roofline
from cc_backend.web.figures.svg import XLabel
from cc_backend.wording.format import abbreviate_names, count_noun, format_exact_number, format_number
from cc_backend.wording.labels import metric_name

BALANCE_CODES = (FindingCode.IDLE_NODES, FindingCode.IDLE_GPUS, FindingCode.NODES_DIFFER)
"""The findings about nodes and GPUs that part from the others."""
_HEAT_METRICS = ("cpu_load", "acc_utilization", "flops_any")
_HEAT_METRICS_OF_GPU_JOBS = ("acc_utilization", "cpu_load", "flops_any")
_ROOF_POINTS = 600
_FROM_START = -1.0


@dataclass(frozen=True, slots=True)
class CaptionedFigure:
    """A figure with its title and the line below it."""

    title: str
    figure: Markup
    read: tuple[str, str]


def build_heatmap(
    job: Job,
    curves: JobCurveSet,
    metrics: Mapping[str, MetricConfig],
    labels: Sequence[XLabel],
    assessment: Assessment,
    *,
    length_s: float = 0.0,
) -> CaptionedFigure | None:
    """Hosts over time in the metric that says most about use; one host alone is a plot, too many are a wall.

    A node that never sent has its row, too. The time axis is `length_s` long, where the curves may end before.
    """
    names = _HEAT_METRICS_OF_GPU_JOBS if job.num_acc else _HEAT_METRICS
    name = next((name for name in names if name in metrics and curves.get(name)), "")
    found = curves.get(name)
    hosts = list(dict.fromkeys(resource.hostname for resource in job.resources))
    if found is None or not 2 <= len(hosts) <= MAX_ROWS:  # noqa: PLR2004 - see above
        return None
    slots = found.rows.shape[1]
    rows = np.full((len(hosts), max(slots, int(length_s / found.step_s) + 1 if found.step_s > 0 else 0)), np.nan)
    place = {host: row for row, host in enumerate(found.hosts)}
    for row, host in enumerate(hosts):
        if host in place:
            rows[row, :slots] = found.rows[place[host]]
    top = heatmap_maximum(found.maximum, metrics[name].peak)
    faulty = assessment.outliers.get(name, {})
    figure = draw_heatmap(rows, hosts, top, labels, _heatmap_label(name, hosts, list(faulty), found), faulty=faulty)
    scale = format_exact_number(top) if top == metrics[name].peak else format_number(top)
    highest = f", highest {format_number(found.maximum)}" if found.measured else ""  # what is low is as pale as nothing
    return CaptionedFigure(f"{metric_name(name)} by node", figure, ("scale", f"0 to {scale}{highest}"))


def heatmap_maximum(highest: float | None, peak: float) -> float:
    """The value of the strongest shade: the peak, as long as nothing lies more than a tenth above it."""
    return (peak if (highest or 0.0) <= peak * 1.1 else highest or 0.0) or 1.0


def _heatmap_label(name: str, hosts: Sequence[str], faulty: Sequence[str], found: MetricCurves) -> str:
    apart = f" {', '.join(faulty)} {'differs' if len(faulty) == 1 else 'differ'} from the rest." if faulty else ""
    never = sorted(set(hosts) - set(found.hosts))
    absent = f" {', '.join(never)} sent nothing." if never else ""
    return f"{metric_name(name)} of {count_noun(len(hosts), 'node')} over time.{apart}{absent}"


def build_roofline(
    job: Job, curves: JobCurveSet, sub_cluster: SubCluster, assessment: Assessment
) -> CaptionedFigure | None:
    """Every node at every time step as Flop/byte and GFlop/s; nothing where the node's limits are unknown."""
    flops, bandwidth = curves.get("flops_any"), curves.get("mem_bw")
    roof = Roof(
        _giga(sub_cluster.flop_rate_scalar.value, sub_cluster.flop_rate_scalar.unit.prefix),
        _giga(sub_cluster.flop_rate_simd.value, sub_cluster.flop_rate_simd.unit.prefix),
        _giga(sub_cluster.memory_bandwidth.value, sub_cluster.memory_bandwidth.unit.prefix),
    )
    if flops is None or bandwidth is None or not roof.known or flops.step_s != bandwidth.step_s:
        return None
    faulty = _outlier_since_s(job, assessment)
    dots = roofline_dots(flops, bandwidth, faulty)
    if not dots:
        return None
    intensity, rate = float(np.median([dot.x for dot in dots])), float(np.median([dot.y for dot in dots]))
    median = f"{format_number(intensity)} Flop/byte, {format_number(rate)} GFlop/s"
    limits = f"vector peak {format_exact_number(roof.simd)} GFlop/s, memory {format_exact_number(roof.bandwidth)} GB/s"
    apart = [dot for dot in dots if dot.faulty]
    outlier = ""
    if apart and len(apart) < len(dots):
        names = abbreviate_names(sorted(faulty.keys() & set(flops.hosts)))
        outlier = f"; {names} {format_number(float(np.median([dot.y for dot in apart])))} GFlop/s"
    label = f"Roofline: median {median}{outlier}; {limits}."
    return CaptionedFigure("Roofline", draw_roofline(_sample_dots(dots), roof, label), ("median", f"{median}{outlier}"))


def _sample_dots(dots: list[Dot]) -> list[Dot]:
    """Of many dots as many as can be told apart, evenly chosen, faulty and healthy ones each."""
    out: list[Dot] = []
    for faulty in (False, True):
        own = [dot for dot in dots if dot.faulty is faulty]
        out += own[:: max(1, -(-len(own) // (2 * _ROOF_POINTS)))]
    return out


def _outlier_since_s(job: Job, assessment: Assessment) -> dict[str, float]:
    """After how many seconds from the start on each node parts from the others; below zero for all the time."""
    found = {host: _FROM_START for levels in assessment.outliers.values() for host in levels}
    for finding in assessment.findings:
        if finding.code == FindingCode.IDLE_NODES and finding.since_s is not None:
            after_s = float(finding.since_s - job.start_time)
            found |= dict.fromkeys(finding.hosts, after_s or _FROM_START)
    return found


def roofline_dots(flops: MetricCurves, bandwidth: MetricCurves, faulty: Mapping[str, float]) -> list[Dot]:
    """The dots of all nodes, each a mean over some of the time; without memory traffic there is no intensity.

    `faulty` says after how many seconds a node parts from the others.
    """
    place = {host: row for row, host in enumerate(flops.hosts)}
    pairs = [(place[host], row) for row, host in enumerate(bandwidth.hosts) if host in place]
    if not pairs:
        return []
    per_node = max(1, _ROOF_POINTS // len(pairs))
    width = min(flops.rows.shape[1], bandwidth.rows.shape[1])
    rate, every = downsample(flops.rows[[pair[0] for pair in pairs], :width], per_node)
    step_s = every * flops.step_s
    rate = rate * _giga(1.0, flops.metric.unit.prefix)
    traffic = downsample(bandwidth.rows[[pair[1] for pair in pairs], :width], per_node)[0]
    traffic = traffic * _giga(1.0, bandwidth.metric.unit.prefix)
    known = np.isfinite(rate) & np.isfinite(traffic) & (traffic > 0) & (rate >= 0)
    half = rate.shape[1] / 2
    return [
        Dot(
            float(rate[node, column] / traffic[node, column]),
            float(rate[node, column]),
            late=column >= half,
            faulty=column * step_s > faulty.get(bandwidth.hosts[pairs[node][1]], np.inf),
        )
        for node, column in np.argwhere(known).tolist()
    ]


def _giga(value: float, prefix: str) -> float:
    return value * {"": 1e-9, "k": 1e-6, "K": 1e-6, "M": 1e-3, "G": 1.0, "T": 1e3, "P": 1e6}.get(prefix, 1.0)
