"""The heat map of a job: its nodes over time in the metric that says most about use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from cc_backend.clusters.model import MetricConfig
from cc_backend.insight.assessment import Assessment
from cc_backend.insight.job_curves import JobCurveSet, MetricCurves
from cc_backend.model import Job
from cc_backend.web.figures.heatmap import MAX_ROWS, draw_heatmap
from cc_backend.web.figures.svg import XLabel
from cc_backend.wording.format import count_noun, format_exact_number, format_number
from cc_backend.wording.labels import metric_name

_HEAT_METRICS = ("cpu_load", "acc_utilization", "flops_any")
_HEAT_METRICS_OF_GPU_JOBS = ("acc_utilization", "cpu_load", "flops_any")


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
    """Hosts over time in the metric that says most about use; None for a single host, or for more than 64.

    A node that never sent has a row, too. The time axis is `length_s` long, where the curves may end before.
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
    outliers = assessment.outliers.get(name, {})
    figure = draw_heatmap(
        rows, hosts, top, labels, _heatmap_label(name, hosts, list(outliers), found), outlier_levels=outliers
    )
    top_text = format_exact_number(top) if top == metrics[name].peak else format_number(top)
    maximum = f", highest {format_number(found.maximum)}" if found.measured else ""  # low values are as pale as none
    return CaptionedFigure(f"{metric_name(name)} by node", figure, ("scale", f"0 to {top_text}{maximum}"))


def heatmap_maximum(maximum: float | None, peak: float) -> float:
    """The value of the strongest shade: the peak, or the maximum if it exceeds the peak by more than a tenth."""
    return (peak if (maximum or 0.0) <= peak * 1.1 else maximum or 0.0) or 1.0


def _heatmap_label(name: str, hosts: Sequence[str], outliers: Sequence[str], found: MetricCurves) -> str:
    apart = f" {', '.join(outliers)} {'differs' if len(outliers) == 1 else 'differ'} from the rest." if outliers else ""
    never = sorted(set(hosts) - set(found.hosts))
    absent = f" {', '.join(never)} sent nothing." if never else ""
    return f"{metric_name(name)} of {count_noun(len(hosts), 'node')} over time.{apart}{absent}"
