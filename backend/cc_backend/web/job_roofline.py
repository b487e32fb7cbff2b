"""The roofline of a job: each of its nodes at each time, as arithmetic intensity and flop rate."""

from collections.abc import Mapping

import numpy as np

from cc_backend.clusters.model import SubCluster
from cc_backend.insight.assessment import Assessment
from cc_backend.insight.curve_maths import downsample
from cc_backend.insight.findings import FindingCode
from cc_backend.insight.job_curves import JobCurveSet, MetricCurves
from cc_backend.model import Job
from cc_backend.web.figures.roofline import Roof, RooflinePoint, draw_roofline
from cc_backend.web.job_heatmap import CaptionedFigure
from cc_backend.wording.format import abbreviate_names, format_exact_number, format_number

_MAX_DOTS = 600
_FROM_START = -1.0


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
    outlier_since_s = _outlier_since_s(job, assessment)
    dots = roofline_dots(flops, bandwidth, outlier_since_s)
    if not dots:
        return None
    intensity, rate = float(np.median([dot.x for dot in dots])), float(np.median([dot.y for dot in dots]))
    median = f"{format_number(intensity)} Flop/byte, {format_number(rate)} GFlop/s"
    limits = f"vector peak {format_exact_number(roof.simd)} GFlop/s, memory {format_exact_number(roof.bandwidth)} GB/s"
    apart = [dot for dot in dots if dot.is_outlier]
    outlier = ""
    if apart and len(apart) < len(dots):
        names = abbreviate_names(sorted(outlier_since_s.keys() & set(flops.hosts)))
        outlier = f"; {names} {format_number(float(np.median([dot.y for dot in apart])))} GFlop/s"
    label = f"Roofline: median {median}{outlier}; {limits}."
    return CaptionedFigure("Roofline", draw_roofline(_sample_dots(dots), roof, label), ("median", f"{median}{outlier}"))


def _sample_dots(dots: list[RooflinePoint]) -> list[RooflinePoint]:
    """At most 600 dots of outliers and 600 of the others, evenly chosen."""
    out: list[RooflinePoint] = []
    for is_outlier in (False, True):
        own = [dot for dot in dots if dot.is_outlier is is_outlier]
        out += own[:: max(1, -(-len(own) // (2 * _MAX_DOTS)))]
    return out


def _outlier_since_s(job: Job, assessment: Assessment) -> dict[str, float]:
    """Seconds after the start from which each outlier differs from the others; -1 for the whole run."""
    found = {host: _FROM_START for levels in assessment.outliers.values() for host in levels}
    for finding in assessment.findings:
        if finding.code == FindingCode.IDLE_NODES and finding.since_s is not None:
            after_s = float(finding.since_s - job.start_time)
            found |= dict.fromkeys(finding.hosts, after_s or _FROM_START)
    return found


def roofline_dots(
    flops: MetricCurves, bandwidth: MetricCurves, outlier_since_s: Mapping[str, float]
) -> list[RooflinePoint]:
    """The dots of all nodes, each a mean over some of the time; without memory traffic there is no intensity.

    `outlier_since_s` are the seconds after the start from which a node differs from the others.
    """
    place = {host: row for row, host in enumerate(flops.hosts)}
    pairs = [(place[host], row) for row, host in enumerate(bandwidth.hosts) if host in place]
    if not pairs:
        return []
    per_node = max(1, _MAX_DOTS // len(pairs))
    width = min(flops.rows.shape[1], bandwidth.rows.shape[1])
    rate, every = downsample(flops.rows[[pair[0] for pair in pairs], :width], per_node)
    step_s = every * flops.step_s
    rate = rate * _giga(1.0, flops.metric.unit.prefix)
    traffic = downsample(bandwidth.rows[[pair[1] for pair in pairs], :width], per_node)[0]
    traffic = traffic * _giga(1.0, bandwidth.metric.unit.prefix)
    known = np.isfinite(rate) & np.isfinite(traffic) & (traffic > 0) & (rate >= 0)
    half = rate.shape[1] / 2
    return [
        RooflinePoint(
            float(rate[node, column] / traffic[node, column]),
            float(rate[node, column]),
            late=column >= half,
            is_outlier=column * step_s > outlier_since_s.get(bandwidth.hosts[pairs[node][1]], np.inf),
        )
        for node, column in np.argwhere(known).tolist()
    ]


def _giga(value: float, prefix: str) -> float:
    return value * {"": 1e-9, "k": 1e-6, "K": 1e-6, "M": 1e-3, "G": 1.0, "T": 1e3, "P": 1e6}.get(prefix, 1.0)
