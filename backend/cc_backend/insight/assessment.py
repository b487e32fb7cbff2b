"""The judgement of a job: every rule applied, worst first, and the verdict that follows. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from cc_backend.clusters.model import MetricConfig, SubCluster
from cc_backend.insight.findings import (
    FindingCode,
    differ_finding,
    end_finding,
    find_differing_nodes,
    idle_finding,
    idle_gpus_finding,
    level_finding,
    missing_finding,
    stall_finding,
    too_short_finding,
)
from cc_backend.insight.footprint import FootprintValue, footprint_values, worst_footprint_level
from cc_backend.insight.gap_findings import gap_findings
from cc_backend.insight.idle_nodes import find_idle_nodes, find_stall
from cc_backend.insight.job_curves import MIN_JUDGED_S, JobCurveSet
from cc_backend.insight.lost_hours import JobHours
from cc_backend.insight.rating import worst_level
from cc_backend.metricstore import NO_GAPS, JobGaps
from cc_backend.model import Finding, Job, Judgement, Level, Scope

RULES_VERSION = 4
"""Version of the rules, stored with each judgement. Raise it when findings change: older ones are redone."""

MAX_STORED_HOSTS = 32
"""Maximum host names stored with a finding."""
MAX_DIFFERENCES = 3

_ORDER = {code: place for place, code in enumerate(FindingCode)}
_WORK = ("flops_any", "mem_bw")
GPU_USE_METRIC = "acc_utilization"
_WORK_OF_GPU_JOBS = (GPU_USE_METRIC,)
_ACTIVITY = ("cpu_load", "cpu_user")
_ACTIVITY_OF_GPU_JOBS = (GPU_USE_METRIC,)


@dataclass(frozen=True, slots=True)
class Assessment:
    """All findings about a job, worst first, its footprint, and by metric the nodes that differ, with their levels."""

    level: Level | None
    findings: tuple[Finding, ...]
    footprint: tuple[FootprintValue, ...]
    outliers: Mapping[str, Mapping[str, Level]]

    @property
    def problems(self) -> list[Finding]:
        """The findings that are not OK."""
        return [finding for finding in self.findings if finding.level is not Level.OK]

    def to_judgement(self, *, now_s: int) -> Judgement:
        """The part that is stored with the job: level, first finding, number of others."""
        kept = [finding for finding in self.findings if finding.code != FindingCode.NOTHING_FOUND]
        first = kept[0] if kept else None
        if first is not None:
            first = replace(first, hosts=first.hosts[:MAX_STORED_HOSTS])
        return Judgement(self.level, first, max(0, len(kept) - 1), now_s, RULES_VERSION)


def judged_metrics(metrics: Mapping[str, MetricConfig]) -> dict[str, MetricConfig]:
    """The metrics that a job is judged by: those of its footprint, and those that show whether it works at all.

    Restricted metrics are left out, for staff too: there is one judgement of a job, and its owner may see it.
    """
    known = {*_WORK, *_WORK_OF_GPU_JOBS, *_ACTIVITY}
    return {
        name: config
        for name, config in metrics.items()
        if (config.footprint or name in known) and not config.restrict
    }  # fmt: skip


def judged_scopes(job: Job, metric: MetricConfig) -> tuple[Scope, ...]:
    """The scopes at which a job is judged: by its nodes, and for GPU use by each GPU, too."""
    of_gpus = bool(job.num_acc) and metric.name == GPU_USE_METRIC and metric.scope is Scope.ACCELERATOR
    return (Scope.NODE, Scope.ACCELERATOR) if of_gpus else (Scope.NODE,)


def assess_job(
    job: Job,
    curves: JobCurveSet,
    sub_cluster: SubCluster,
    metrics: Mapping[str, MetricConfig],
    *,
    gaps: JobGaps = NO_GAPS,
) -> Assessment:
    """All findings about a job.

    `metrics` and `curves` are those of `judged_metrics` in the units of their configuration, `gaps` what is missing
    of them and why.
    """
    items = footprint_values(job, metrics, curves, node_threads=len(sub_cluster.topology.node))
    hours = JobHours(job, sub_cluster)
    found: list[Finding] = []
    outliers: dict[str, dict[str, Level]] = {}
    stall = _stall(job, curves, metrics, hours)
    idle = _idle(job, curves, metrics, hours)
    idle_gpus = None if stall is not None else _idle_gpus(job, curves, metrics, hours, idle)
    ended = end_finding(job, curves, metrics)
    if stall is not None:
        found.append(stall)
    if idle is not None:
        found.append(idle)
        outliers[idle.metric] = dict.fromkeys(idle.hosts, idle.level)
    if idle_gpus is not None:
        found.append(idle_gpus)
    if ended is not None and not (stall is not None and stall.facts["at_limit"]):
        found.append(ended)
    found += _difference_findings(job, curves, metrics, outliers, idle)
    explained = _explained_metrics(stall, ended)
    judged = [
        level_finding(job, item, curves.get(item.metric), hours) for item in items if item.metric not in explained
    ]
    found += [finding for finding in judged if finding is not None]
    found += _missing_data_findings(job, items, gaps)
    quiet = [item.metric for item in items if item.level is Level.OK]
    early = [item.metric for item in items if not item.has_enough_samples and item.level is None]
    if early and not quiet:
        found.append(too_short_finding(job, curves))
    found.sort(key=lambda finding: (finding.level.order, _ORDER[FindingCode(finding.code)]))
    levels: list[Level] = [finding.level for finding in found if finding.level is not Level.OK]
    noticed = {finding.metric for finding in found if finding.level is not Level.OK}
    quiet = [name for name in quiet if name not in noticed]
    if quiet:
        found.append(_nothing_found(items, quiet, early))
    return Assessment(
        worst_level(levels) if levels else worst_footprint_level(items), tuple(found), tuple(items), outliers
    )


def _nothing_found(items: Sequence[FootprintValue], quiet: list[str], early: list[str]) -> Finding:
    unjudged = [item.metric for item in items if item.level is None and item.value is not None]
    facts: dict[str, object] = {"metrics": quiet, "unjudged": [name for name in unjudged if name not in early]}
    return Finding(FindingCode.NOTHING_FOUND, Level.OK, facts=facts | ({"early": early} if early else {}))


def find_outlier_nodes(job: Job, curves: JobCurveSet, sub_cluster: SubCluster) -> Mapping[str, Mapping[str, Level]]:
    """By metric the nodes that differ from the others, with their levels, as in the assessment of the job."""
    metrics = judged_metrics(sub_cluster.metrics)
    return assess_job(job, curves.select_nodes_and_gpus(metrics), sub_cluster, metrics).outliers


def stored_assessment(job: Job, sub_cluster: SubCluster) -> Assessment:
    """The assessment of a job whose samples cannot be read: its stored judgement, and the footprint of its record."""
    kept = job.judgement or Judgement(None)
    metrics = judged_metrics(sub_cluster.metrics)
    items = footprint_values(job, metrics, node_threads=len(sub_cluster.topology.node))
    return Assessment(kept.level, (kept.finding,) if kept.finding else (), tuple(items), {})


def _stall(job: Job, curves: JobCurveSet, metrics: Mapping[str, MetricConfig], hours: JobHours) -> Finding | None:
    names = [name for name in (_WORK_OF_GPU_JOBS if job.num_acc else _WORK) if name in metrics]
    work = [(found, metrics[name].peak) for name in names if (found := curves.get(name)) is not None]
    stall = find_stall(work)
    if stall is None:
        return None
    name = next(name for name in names if curves.get(name) is work[0][0])
    return stall_finding(job, metrics[name], work[0][0], stall, hours)


def _idle(job: Job, curves: JobCurveSet, metrics: Mapping[str, MetricConfig], hours: JobHours) -> Finding | None:
    names = _ACTIVITY_OF_GPU_JOBS if job.num_acc and curves.get("acc_utilization") else _ACTIVITY
    for name in names:
        found = curves.get(name) if name in metrics else None
        if found is not None:
            idle = find_idle_nodes(found, metrics[name].peak)
            if idle:
                return idle_finding(job, metrics[name], found, idle, hours)
            return None
    return None


def _idle_gpus(
    job: Job, curves: JobCurveSet, metrics: Mapping[str, MetricConfig], hours: JobHours, idle: Finding | None
) -> Finding | None:
    """The finding about idle GPUs, without those of nodes that are idle as a whole."""
    if not job.num_acc or GPU_USE_METRIC not in metrics:
        return None
    found = curves.get(GPU_USE_METRIC, Scope.ACCELERATOR)
    if found is None:
        return None
    idle_hosts = set(idle.hosts) if idle is not None and idle.metric == GPU_USE_METRIC else set()
    rows = [
        node for node in find_idle_nodes(found, metrics[GPU_USE_METRIC].peak) if found.hosts[node.row] not in idle_hosts
    ]
    return idle_gpus_finding(job, metrics[GPU_USE_METRIC], found, rows, hours) if rows else None


def _difference_findings(
    job: Job,
    curves: JobCurveSet,
    metrics: Mapping[str, MetricConfig],
    outliers: dict[str, dict[str, Level]],
    idle: Finding | None,
) -> list[Finding]:
    """One finding for each set of nodes that differ from the others, unless idle nodes explain it."""
    out: list[Finding] = []
    reported: set[frozenset[str]] = set()
    for name, config in metrics.items():
        found = curves.get(name)
        rows = find_differing_nodes(found, config) if found else []
        if found is None or not rows:
            continue
        finding = differ_finding(job, config, found, rows)
        of_idle = dict.fromkeys(idle.hosts, idle.level) if idle else {}
        outliers[name] = {host: of_idle.get(host, finding.level) for host in finding.hosts} | outliers.get(name, {})
        hosts = frozenset(finding.hosts)
        if hosts not in reported and not hosts <= of_idle.keys():
            reported.add(hosts)
            out.append(finding)
    return out[:MAX_DIFFERENCES]


def _explained_metrics(stall: Finding | None, ended: Finding | None) -> set[str]:
    """The metrics whose level follows from another finding, so that they get none of their own."""
    out: set[str] = set()
    if stall is not None:
        out |= {*_WORK, *_WORK_OF_GPU_JOBS}
    if ended is not None and ended.metric:
        out.add(ended.metric)
    return out


def _missing_data_findings(job: Job, items: Sequence[FootprintValue], gaps: JobGaps) -> list[Finding]:
    """The findings about missing samples."""
    out = gap_findings(job, gaps)
    missing = [item.metric for item in items if item.value is None and job.duration >= MIN_JUDGED_S]
    if missing and len(missing) < len(items):
        out.append(missing_finding(missing))
    return out
