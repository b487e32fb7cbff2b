"""The rows of a job list, as the templates show them. Pure: jobs and previews in, words and figures out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import tzinfo

from markupsafe import Markup

from cc_backend.clusters.model import SubCluster
from cc_backend.insight.footprint import FootprintValue
from cc_backend.insight.rating import BAD_LEVELS, Thresholds
from cc_backend.insight.sentences import SentenceContext, finding_headline
from cc_backend.insight.threshold_share import footprint_factor
from cc_backend.model import Job, JobState, Judgement, Level, Tag
from cc_backend.web.figures.gauges import draw_gauge
from cc_backend.web.figures.line_plot import draw_sparkline
from cc_backend.web.previews import Preview
from cc_backend.web.record_warnings import short_warning
from cc_backend.wording.format import (
    count_noun,
    format_duration,
    format_full_moment,
    format_iso_utc,
    format_moment,
    format_number,
    readable_unit,
)
from cc_backend.wording.labels import STATE_WORDS, metric_name


@dataclass(frozen=True, slots=True)
class PreviewCell:
    """One small plot of a row; `absent` says in words why there is none."""

    metric: str
    name: str
    unit: str
    mean: str
    maximum: str
    level: Level | None
    figure: Markup
    scale_figure: Markup
    measured: bool
    absent: str = ""
    worst: bool = False


@dataclass(frozen=True, slots=True)
class ListRow:
    """One job of a list."""

    id: int
    number: str
    array: str
    name: str
    user: str
    project: str
    cluster: str
    place: str
    size: str
    state: JobState
    state_word: str
    running: bool
    start: str
    start_full: str
    start_iso: str
    ran: str
    level: Level | None
    finding: str
    more: int
    tags: tuple[Tag, ...]
    cells: tuple[PreviewCell, ...]
    own: bool
    nodes: int
    energy: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class ListHead:
    """The head of one column of previews."""

    name: str
    unit: str


def format_job_size(job: Job, sub_cluster: SubCluster | None) -> str:
    """Nodes, and cores or GPUs, of a job in words."""
    shared = ", shared" if job.shared not in ("", "none") else ""
    parts = [count_noun(job.num_nodes, "node") + shared]
    if job.num_acc:
        parts.append(count_noun(job.num_acc, "GPU"))
    elif job.num_hwthreads:
        per_core = max(1, sub_cluster.threads_per_core) if sub_cluster else 1
        parts.append(count_noun(-(-job.num_hwthreads // per_core), "core"))
    return " · ".join(parts)


def format_job_place(job: Job) -> str:
    """Cluster and subcluster."""
    return f"{job.cluster}/{job.sub_cluster}" if job.sub_cluster else job.cluster


def build_row(
    job: Job,
    sub_cluster: SubCluster | None,
    previews: Mapping[str, Preview | None] | None,
    metrics: Sequence[str],
    *,
    heads: Sequence[str] = (),
    now_s: float,
    zone: tzinfo | None,
) -> ListRow:
    """The row of one job, with its stored judgement.

    `previews` None means that no curves are wanted. Where `metrics` are not those of the heads, the row has an order of
    its own: what is judged worst comes first.
    """
    judgement = job.judgement or Judgement(None)
    finding = judgement.finding
    context = SentenceContext(job.state is JobState.RUNNING, now_s, zone)
    own = bool(heads) and tuple(metrics) != tuple(heads)
    cells = (
        ()
        if previews is None
        else tuple(build_preview_cell(job, name, previews.get(name), sub_cluster) for name in metrics)
    )
    cells = _mark_worst(cells, worst_first=own)
    return ListRow(
        id=job.id,
        number=str(job.job_id),
        array=str(job.array_job_id or ""),
        name=job.name,
        user=job.user,
        project=job.project,
        cluster=job.cluster,
        place=format_job_place(job),
        size=format_job_size(job, sub_cluster),
        state=job.state,
        state_word=STATE_WORDS[job.state],
        running=job.state is JobState.RUNNING,
        start=format_moment(job.start_time, zone, now_s=now_s),
        start_full=format_full_moment(job.start_time, zone),
        start_iso=format_iso_utc(job.start_time),
        ran=format_duration(job.duration),
        level=judgement.level,
        finding="" if finding is None else finding_headline(finding, context),
        more=judgement.more,
        tags=job.tags,
        cells=cells,
        own=own,
        nodes=job.num_nodes,
        energy=f"{format_number(job.energy)} kWh" if job.energy else "",
        remark=short_warning(job),
    )


def _mark_worst(cells: tuple[PreviewCell, ...], *, worst_first: bool) -> tuple[PreviewCell, ...]:
    """The cells with the worst one marked, if any is bad; with `worst_first` in order of their levels."""
    ordered = tuple(sorted(cells, key=lambda cell: (cell.level or Level.OK).order))
    bad = ordered[:1] if ordered and ordered[0].level in BAD_LEVELS else ()
    return tuple(replace(cell, worst=True) if cell in bad else cell for cell in (ordered if worst_first else cells))


def build_preview_cell(job: Job, metric: str, preview: Preview | None, sub_cluster: SubCluster | None) -> PreviewCell:
    """The small plot of one metric, judged as in the footprint of the job; hatched where nothing was measured."""
    config = sub_cluster.metrics.get(metric) if sub_cluster else None
    factor, unit = readable_unit(config.unit, config.peak) if config else (1.0, "")
    if preview is None:
        absent = "not measured" if config or sub_cluster is None else "not on these nodes"
        return PreviewCell(
            metric,
            metric_name(metric),
            unit,
            "",
            "",
            None,
            draw_sparkline(None),
            Markup(""),
            measured=False,
            absent=absent,
        )
    value = (preview.footprint_value if preview.footprint_value is not None else preview.mean) * factor
    thresholds, level = None, None
    if config and sub_cluster:
        share = footprint_factor(job, config, len(sub_cluster.topology.node)) if config.footprint else 1.0
        thresholds = Thresholds.from_config(config, factor * share)
        enough = preview.has_enough_samples
        judged = FootprintValue(metric, config.footprint, value, unit, thresholds, has_enough_samples=enough)
        level = judged.level if config.footprint else None
    return PreviewCell(
        metric=metric,
        name=metric_name(metric),
        unit=unit,
        mean=format_number(preview.mean * factor),
        maximum=format_number(preview.maximum * factor),
        level=level,
        figure=draw_sparkline(
            preview.values * factor,
            level=thresholds.zone_level(value) if thresholds and level else None,
            thresholds=thresholds,
        ),
        scale_figure=draw_gauge(thresholds, value, height=12, judges=level is not None) if thresholds else Markup(""),
        measured=True,
    )


def build_list_heads(metrics: Sequence[str], sub_clusters: Sequence[SubCluster | None]) -> list[ListHead]:
    """The heads of the preview columns; a unit only where all rows share it."""
    heads = []
    for metric in metrics:
        configs = [sub.metrics[metric] for sub in sub_clusters if sub is not None and metric in sub.metrics]
        units = {readable_unit(config.unit, config.peak)[1] for config in configs}
        heads.append(ListHead(metric_name(metric), units.pop() if len(units) == 1 else ""))
    return heads
