"""The summary of the job page: the verdict with its findings, and the figures that show it at a glance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from cc_backend.clusters.model import MetricConfig, SubCluster
from cc_backend.insight.assessment import Assessment
from cc_backend.insight.checks import Check, job_checks
from cc_backend.insight.findings import FindingCode
from cc_backend.insight.footprint import FootprintValue, footprint_values
from cc_backend.insight.job_curves import JobCurveSet
from cc_backend.insight.sentences import SentenceContext, finding_text
from cc_backend.model import Finding, Job, JobState, Level, Scope
from cc_backend.web.figures.gauges import Spoke, draw_gauge, draw_polar
from cc_backend.web.figures.svg import XLabel
from cc_backend.web.job_heatmap import CaptionedFigure, build_heatmap
from cc_backend.web.job_roofline import build_roofline
from cc_backend.wording.format import format_duration, format_number
from cc_backend.wording.labels import lower_first


@dataclass(frozen=True, slots=True)
class FindingView:
    """A finding as the page shows it: headline, explanation, and a link to the plot that shows it."""

    level: Level
    headline: str
    detail: str = ""
    link: str = ""
    link_text: str = "Show in plot"
    passed: bool = False
    """Whether it reports passed checks, which have a tick."""


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
class JobSummary:
    """Verdict, findings and figures; `outliers` are by metric the nodes that differ from the others."""

    level: Level | None
    judged_from: str
    checks: tuple[Check, ...]
    findings: tuple[FindingView, ...]
    gauges: tuple[GaugeView, ...]
    polar: Markup | None
    heat: CaptionedFigure | None
    roofline: CaptionedFigure | None
    outliers: Mapping[str, Mapping[str, Level]]


def build_summary(
    job: Job,
    curves: JobCurveSet,
    assessment: Assessment,
    sub_cluster: SubCluster,
    metrics: Mapping[str, MetricConfig],
    *,
    labels: Sequence[XLabel],
    length_s: float,
    context: SentenceContext,
) -> JobSummary:
    """The summary of one job.

    `metrics` are those that the reader may see, `length_s` is how much of the job has been seen.
    """
    items = footprint_values(job, metrics, curves, node_threads=len(sub_cluster.topology.node))
    running = job.state is JobState.RUNNING
    views = [_finding_view(finding, context) for finding in assessment.findings]
    judged = {item.metric for item in assessment.footprint}
    apart = [item.name for item in items if item.metric not in judged and item.value is not None]
    if apart:
        names = ", ".join([apart[0], *(lower_first(name) for name in apart[1:])])
        views.append(FindingView(Level.OK, f"{names}: for staff only, not part of the verdict."))
    return JobSummary(
        level=assessment.level,
        judged_from=f"judged from the first {format_duration(length_s)}" if running and assessment.level else "",
        checks=tuple(job_checks(assessment, measured=bool(curves.data))),
        findings=tuple(views),
        gauges=tuple(_gauge_view(item) for item in items),
        polar=_build_polar(items, curves),
        heat=build_heatmap(job, curves, metrics, labels, assessment, length_s=length_s),
        roofline=build_roofline(job, curves, sub_cluster, assessment)
        if {"flops_any", "mem_bw"} <= metrics.keys()
        else None,
        outliers=assessment.outliers,
    )


def _finding_view(finding: Finding, context: SentenceContext) -> FindingView:
    words = finding_text(finding, context)
    query = f"?scope={Scope.ACCELERATOR}" if finding.code == FindingCode.IDLE_GPUS else ""
    link = f"{query}#m-{words.metric}" if words.metric else ""
    passed = finding.code == FindingCode.NOTHING_FOUND
    return FindingView(words.level, words.headline, words.detail, link, passed=passed)


def _gauge_view(item: FootprintValue) -> GaugeView:
    return GaugeView(
        item.name,
        item.statistic_word,
        "not measured" if item.value is None else format_number(item.value),
        item.unit if item.value is not None else "",
        item.label,
        item.level,
        draw_gauge(item.thresholds, item.value, edges=True, judges=item.has_enough_samples or item.level is not None),
    )


def _build_polar(items: Sequence[FootprintValue], curves: JobCurveSet) -> Markup | None:
    """The shape of the job over its footprint; three metrics at least make a shape."""
    spokes = []
    for item in items[:8]:
        if item.value is None or not item.thresholds.can_judge:
            continue
        found = curves.get(item.metric)
        mean, maximum, own = (found.mean, found.maximum, found.statistic(item.statistic)) if found else (None,) * 3
        ratio = item.value / (own or item.value or 1.0)
        spokes.append(
            Spoke(
                item.name,
                item.thresholds,
                item.value if mean is None else mean * ratio,
                item.value if maximum is None else maximum * ratio,
            )
        )
    if len(spokes) < 3:  # noqa: PLR2004 - a polygon
        return None
    words = ", ".join(f"{item.name} {item.level.word if item.level else 'not judged'}" for item in items)
    return draw_polar(spokes, f"Polar plot of the footprint: {words}.")
