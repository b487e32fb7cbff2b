"""The summary of the job page: the verdict with its findings, and the figures that show it at a glance."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from cc_backend.clusters.model import MetricConfig, SubCluster
from cc_backend.insight.assessment import Assessment
from cc_backend.insight.findings import Code
from cc_backend.insight.footprint import Footprint, footprints
from cc_backend.insight.job_curves import CurveSet
from cc_backend.insight.sentences import Telling, words_of
from cc_backend.model import Finding, Job, JobState, Level, Scope
from cc_backend.web.figures.gauges import Spoke, gauge, polar
from cc_backend.web.figures.svg import XLabel
from cc_backend.web.job_heatmap import BALANCE, Picture, heat_picture, roofline_picture
from cc_backend.wording.format import duration, number
from cc_backend.wording.labels import lower, metric_word

_DATA = (Code.ABSENT, Code.NODES_SILENT, Code.NO_DATA, Code.NOT_MEASURED)


@dataclass(frozen=True, slots=True)
class FindingView:
    """A finding as the page shows it: one sentence that says it, one that explains it, and where to look."""

    level: Level
    headline: str
    detail: str = ""
    link: str = ""
    link_text: str = "Show in plot"
    passed: bool = False
    """Whether it says that checks found nothing; what else is no fault is told without a tick."""


@dataclass(frozen=True, slots=True)
class Check:
    """One cell of the annunciator: dark when all is well; `word` names it, `said` is for those who listen."""

    word: str
    level: Level | None
    said: str


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
class Summary:
    """Verdict, findings and figures; `faulty` are by metric the nodes that part from the others."""

    level: Level | None
    judged_from: str
    checks: tuple[Check, ...]
    findings: tuple[FindingView, ...]
    gauges: tuple[GaugeView, ...]
    polar: Markup | None
    heat: Picture | None
    roofline: Picture | None
    faulty: Mapping[str, Mapping[str, Level]]


def job_summary(
    job: Job,
    curves: CurveSet,
    assessment: Assessment,
    sub_cluster: SubCluster,
    metrics: Mapping[str, MetricConfig],
    *,
    labels: Sequence[XLabel],
    length_s: float,
    telling: Telling,
) -> Summary:
    """The summary of one job.

    `metrics` are those that the reader may see, `length_s` is how much of the job has been seen.
    """
    items = footprints(job, metrics, curves, node_threads=len(sub_cluster.topology.node))
    running = job.state is JobState.RUNNING
    views = [_finding_view(finding, telling) for finding in assessment.findings]
    judged = {item.metric for item in assessment.items}
    apart = [item.name for item in items if item.metric not in judged and item.value is not None]
    if apart:
        names = ", ".join([apart[0], *(lower(name) for name in apart[1:])])
        views.append(FindingView(Level.OK, f"{names}: for staff only, not part of the verdict."))
    return Summary(
        level=assessment.level,
        judged_from=f"judged from the first {duration(length_s)}" if running and assessment.level else "",
        checks=tuple(_checks(assessment, measured=bool(curves.data))),
        findings=tuple(views),
        gauges=tuple(_gauge_view(item) for item in items),
        polar=_polar(items, curves),
        heat=heat_picture(job, curves, metrics, labels, assessment, length_s=length_s),
        roofline=roofline_picture(job, curves, sub_cluster, assessment)
        if {"flops_any", "mem_bw"} <= metrics.keys()
        else None,
        faulty=assessment.faulty,
    )


def _finding_view(finding: Finding, telling: Telling) -> FindingView:
    words = words_of(finding, telling)
    query = f"?scope={Scope.ACCELERATOR}" if finding.code == Code.IDLE_GPUS else ""
    link = f"{query}#m-{words.metric}" if words.metric else ""
    passed = finding.code == Code.NOTHING_FOUND
    return FindingView(words.level, words.headline, words.detail, link, passed=passed)


def _checks(assessment: Assessment, *, measured: bool) -> list[Check]:
    """The cells of the annunciator, worst first, then balance and data; what is not judged is not OK."""
    stalled = {finding.metric: finding.level for finding in assessment.findings if finding.code == Code.STALLED}
    cells = []
    for item in assessment.items:  # the mean of a job that hangs tells less than that it hangs
        level = stalled.get(item.metric, item.level)
        cells.append(Check(metric_word(item.metric), level, _said(level, measured=item.value is not None)))
    if measured:
        told = any(finding.code == Code.TOO_SHORT for finding in assessment.findings)
        cells.append(
            Check("Balance", None, "not judged") if told else _check("Balance", _worst_of(assessment, BALANCE))
        )
    data = _worst_of(assessment, _DATA)
    cells.append(_check("Data", data if measured else Level.ARTEFACT))
    return cells


def _said(level: Level | None, *, measured: bool) -> str:
    return level.word if level else "not judged" if measured else "not measured"


def _check(word: str, level: Level) -> Check:
    return Check(word, level, level.word)


def _worst_of(assessment: Assessment, codes: Sequence[Code]) -> Level:
    levels = [finding.level for finding in assessment.findings if finding.code in codes]
    return min(levels, key=lambda level: level.order, default=Level.OK)


def _gauge_view(item: Footprint) -> GaugeView:
    return GaugeView(
        item.name,
        item.statistic_word,
        "not measured" if item.value is None else number(item.value),
        item.unit if item.value is not None else "",
        item.label,
        item.level,
        gauge(item.scale, item.value, edges=True, judges=item.enough or item.level is not None),
    )


def _polar(items: Sequence[Footprint], curves: CurveSet) -> Markup | None:
    """The shape of the job over its footprint; three metrics at least make a shape."""
    spokes = []
    for item in items[:8]:
        if item.value is None or not item.scale.judges:
            continue
        found = curves.get(item.metric)
        mean, highest, own = (found.mean, found.highest, found.statistic(item.statistic)) if found else (None,) * 3
        ratio = item.value / (own or item.value or 1.0)
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
