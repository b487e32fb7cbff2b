"""The rules that find what stands out about a job. Pure: curves and the job record in, findings out.

A `Finding` has facts without words, so that it can be stored, compared and worded anew.
"""

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from cc_backend.clusters.model import MetricConfig
from cc_backend.insight.footprint import FootprintValue
from cc_backend.insight.idle_nodes import IdleNode, Stall
from cc_backend.insight.job_curves import MIN_JUDGED_S, MIN_JUDGED_SAMPLES, JobCurveSet, MetricCurves
from cc_backend.insight.lost_hours import HOUR_S, ComputeHours, JobHours
from cc_backend.insight.rating import BAD_LEVELS, Thresholds
from cc_backend.model import Finding, Job, JobState, Level
from cc_backend.wording.format import readable_unit

Flags = npt.NDArray[np.bool_]

OUTLIER_SHARE_OF_PEAK = 0.02
"""Minimum distance of a differing node from the others, as a share of the peak of the metric."""
_MIN_COMPARED = 4
MAX_NAMED_HOSTS = 8
"""Maximum nodes whose idle GPUs are listed by id."""
_EXIT_CODE = re.compile(r"\bExitCode=(\d+):(\d+)")


class FindingCode(StrEnum):
    """The rule that made a finding. The values are stored in the database and part of the API."""

    STALLED = "nothing_computed"
    IDLE_NODES = "idle_nodes"
    IDLE_GPUS = "idle_gpus"
    ENDED = "ended"
    NODES_DIFFER = "nodes_differ"
    SAMPLES_ABSENT = "samples_absent"
    METRIC_LEVEL = "metric_level"
    NOT_MEASURED = "not_measured"
    TOO_SHORT = "too_short"
    NOTHING_FOUND = "nothing_found"
    NOT_JUDGED = "not_judged"


_END_LEVELS: Mapping[JobState, Level] = {
    JobState.FAILED: Level.CAUTION,
    JobState.TIMEOUT: Level.CAUTION,
    JobState.DEADLINE: Level.CAUTION,
    JobState.NODE_FAIL: Level.CAUTION,
    JobState.BOOT_FAIL: Level.CAUTION,
    JobState.OUT_OF_MEMORY: Level.ALERT,
    JobState.CANCELLED: Level.OK,
    JobState.PREEMPTED: Level.OK,
}
TIME_LIMIT_STATES = frozenset({JobState.TIMEOUT, JobState.DEADLINE})
"""The states of jobs that the scheduler ended at their time limit."""


def idle_finding(
    job: Job, config: MetricConfig, curves: MetricCurves, idle: Sequence[IdleNode], hours: JobHours
) -> Finding:
    """The finding about nodes that were idle while others worked."""
    hosts = [curves.hosts[node.row] for node in idle]
    last = max(node.first for node in idle)
    whole = last <= max(1, 0.05 * curves.rows.shape[1])
    since_s = job.start_time if whole else _time_of(job, curves, last)
    value = float(np.mean([node.value for node in idle]))
    lost = ComputeHours()
    for node, host in zip(idle, hosts, strict=True):
        begin_s = job.start_time if whole else _time_of(job, curves, node.first)
        lost += hours.lost_hours([host], job.stop_time - begin_s, in_use=node.value / config.peak)
    before = curves.rows[[node.row for node in idle], :last]
    factor, unit = readable_unit(config.unit, config.peak)
    facts = {
        "value": value * factor,
        "others": float(np.median([node.others for node in idle])) * factor,
        "before": None if whole or not np.isfinite(before).any() else float(np.nanmean(before)) * factor,
        "peak": config.peak * factor,
        "unit": unit,
        "of_nodes": job.num_nodes,
        "from_start": whole,
        "after_s": since_s - job.start_time,
        "share": _lost_share(lost, hours.total_hours()),
    }
    level = Thresholds.from_config(config).level_of(value)
    bad = level if level in BAD_LEVELS else Level.ALERT
    return Finding(
        FindingCode.IDLE_NODES,
        bad,
        config.name,
        tuple(hosts),
        node_count=len(hosts),
        since_s=since_s,
        core_hours=lost.core,
        gpu_hours=lost.gpu,
        facts=facts,
    )


def idle_gpus_finding(
    job: Job, config: MetricConfig, curves: MetricCurves, idle: Sequence[IdleNode], hours: JobHours
) -> Finding:
    """The finding about single GPUs that were idle while others worked; `curves` has one row for each GPU."""
    last = max(gpu.first for gpu in idle)
    whole = last <= max(1, 0.05 * curves.rows.shape[1])
    since_s = job.start_time if whole else _time_of(job, curves, last)
    value = float(np.mean([gpu.value for gpu in idle]))
    names: dict[str, list[str]] = {}
    lost_h = 0.0
    for gpu in idle:
        series = curves.metric.series[gpu.row]
        names.setdefault(series.hostname, []).append(series.id or "")
        begin_s = job.start_time if whole else _time_of(job, curves, gpu.first)
        lost_h += max(0, job.stop_time - begin_s) / HOUR_S * min(max(1.0 - gpu.value / config.peak, 0.0), 1.0)
    lost = ComputeHours(gpu=lost_h)
    facts = {
        "value": value,
        "others": float(np.median([gpu.others for gpu in idle])),
        "peak": config.peak,
        "unit": readable_unit(config.unit, config.peak)[1],
        "gpus": len(idle),
        "of_gpus": max(job.num_acc, curves.count),
        "names": [[host, ids] for host, ids in list(names.items())[:MAX_NAMED_HOSTS]],
        "of_nodes": job.num_nodes,
        "from_start": whole,
        "after_s": since_s - job.start_time,
        "share": _lost_share(lost, hours.total_hours()),
    }
    level = Thresholds.from_config(config).level_of(value)
    return Finding(
        FindingCode.IDLE_GPUS,
        level if level in BAD_LEVELS else Level.ALERT,
        config.name,
        tuple(names),
        node_count=len(names),
        since_s=since_s,
        gpu_hours=lost.gpu,
        facts=facts,
    )


def stall_finding(job: Job, config: MetricConfig, curves: MetricCurves, stall: Stall, hours: JobHours) -> Finding:
    """The finding about a job that computed nothing from some time on."""
    since_s = _time_of(job, curves, stall.first)
    hosts = [resource.hostname for resource in job.resources]
    lost = hours.lost_hours(hosts, job.stop_time - since_s)
    factor, unit = readable_unit(config.unit, max(stall.before, stall.after))
    facts = {
        "value": stall.after * factor,
        "before": stall.before * factor,
        "unit": unit,
        "after_s": since_s - job.start_time,
        "lasted_s": job.stop_time - since_s,
        "at_limit": _ended_at_limit(job),
        "share": _lost_share(lost, hours.total_hours()),
    }
    return Finding(
        FindingCode.STALLED,
        Level.ALERT,
        config.name,
        since_s=since_s,
        core_hours=lost.core,
        gpu_hours=lost.gpu,
        facts=facts,
    )


def end_finding(job: Job, curves: JobCurveSet, metrics: Mapping[str, MetricConfig]) -> Finding | None:
    """The finding about how the job ended; None for a normal end."""
    level = _END_LEVELS.get(job.state)
    if level is None:
        return None
    facts: dict[str, float | str | None] = {
        "state": job.state.value,
        "after_s": job.duration,
        "limit_s": job.walltime,
        "exit_code": parse_exit_code(job),
    }
    metric, hosts = "", []
    memory, config = curves.get("mem_used"), metrics.get("mem_used")
    if job.state is JobState.OUT_OF_MEMORY and memory and config and memory.maximum is not None:
        metric = "mem_used"
        factor, unit = readable_unit(config.unit, config.peak)
        hosts = [memory.hosts[int(np.nanargmax(memory.row_maxima))]]
        facts |= {"highest": memory.maximum * factor, "peak": config.peak * factor, "unit": unit}
    return Finding(
        FindingCode.ENDED, level, metric, tuple(hosts), node_count=len(hosts), since_s=job.stop_time, facts=facts
    )


def parse_exit_code(job: Job) -> str:
    """Exit code and signal as the scheduler reported them, such as `1` or `0, signal 9`; empty without a report."""
    found = _EXIT_CODE.search((job.meta_data or {}).get("slurmInfo", ""))
    if found is None or found.group(1, 2) == ("0", "0"):
        return ""
    return found[1] if found[2] == "0" else f"{found[1]}, signal {found[2]}"


def _ended_at_limit(job: Job) -> bool:
    return job.state in TIME_LIMIT_STATES or (0 < job.walltime <= job.duration and job.state is not JobState.RUNNING)


def find_differing_nodes(curves: MetricCurves, config: MetricConfig) -> list[int]:
    """The rows of nodes that differ from the others in the mean of a metric; none below 4 nodes or 3 samples."""
    if curves.count < _MIN_COMPARED or not curves.has_enough_samples:
        return []
    return curves.find_outliers(OUTLIER_SHARE_OF_PEAK * config.peak)


def differ_finding(job: Job, config: MetricConfig, curves: MetricCurves, rows: Sequence[int]) -> Finding:
    """The finding about nodes that differ from the others in the mean of a metric."""
    hosts = [curves.hosts[row] for row in rows]
    values = curves.row_means[list(rows)]
    others = np.delete(curves.row_means, list(rows))
    value = float(np.nanmean(values))
    factor, unit = readable_unit(config.unit, config.peak)
    level = Thresholds.from_config(config).level_of(value) if config.footprint else None
    facts = {
        "value": value * factor,
        "others": float(np.nanmedian(others)) * factor,
        "peak": config.peak * factor,
        "unit": unit,
        "of_nodes": job.num_nodes,
    }
    bad = level if level in BAD_LEVELS else Level.CAUTION
    return Finding(FindingCode.NODES_DIFFER, bad, config.name, tuple(hosts), node_count=len(hosts), facts=facts)


def level_finding(job: Job, item: FootprintValue, curves: MetricCurves | None, hours: JobHours) -> Finding | None:
    """The finding about a footprint value whose level is not OK; of a maximum also the node that had it."""
    level, thresholds, value = item.level, item.thresholds, item.value
    if level is None or value is None or level is Level.OK:
        return None
    overload = thresholds.can_exceed_peak and thresholds.exceeds_peak(value)
    edge = (
        thresholds.peak
        if level is Level.ARTEFACT or overload
        else thresholds.normal
        if level is Level.HIGH
        else thresholds.caution
    )
    if thresholds.lower_is_better and level is Level.ALERT:
        edge = thresholds.alert
    lost = ComputeHours()
    is_use = item.metric == "acc_utilization" if job.num_acc else item.metric == "cpu_load"
    if is_use and item.statistic == "avg" and not overload and level in BAD_LEVELS:
        in_use = value / thresholds.peak
        lost = hours.lost_hours((resource.hostname for resource in job.resources), job.duration, in_use=in_use)
    facts = {
        "value": value,
        "unit": item.unit,
        "statistic": item.statistic,
        "edge": edge,
        "peak": thresholds.peak,
        "kind": "overload" if overload else "above" if level is Level.HIGH else
                "impossible" if level is Level.ARTEFACT else "high" if thresholds.lower_is_better else "low",
        "share": _lost_share(lost, hours.total_hours()),
        "gpus": job.num_acc,
    }  # fmt: skip
    hosts: tuple[str, ...] = ()
    if item.statistic == "max" and curves is not None and curves.measured and job.num_nodes > 1:
        hosts = (curves.hosts[int(np.nanargmax(curves.row_maxima))],)
    return Finding(FindingCode.METRIC_LEVEL, level, item.metric, hosts, len(hosts), None, lost.core, lost.gpu, facts)


def too_short_finding(job: Job, curves: JobCurveSet) -> Finding:
    """The finding that a job is too short, or has too few samples, for a verdict."""
    present = [found for _, found in curves.iter_node_metrics()]
    facts = {
        "after_s": job.duration,
        "samples": max((found.samples for found in present), default=0),
        "least_s": max(MIN_JUDGED_S, MIN_JUDGED_SAMPLES * min((found.step_s for found in present), default=0)),
    }
    return Finding(FindingCode.TOO_SHORT, Level.OK, facts=facts)


def missing_finding(missing: Sequence[str]) -> Finding:
    """The finding about footprint metrics that were not measured."""
    return Finding(FindingCode.NOT_MEASURED, Level.ARTEFACT, facts={"metrics": list(missing)})


def _time_of(job: Job, curves: MetricCurves, column: int) -> int:
    """The begin of the interval (Unix seconds) that the sample of a column covers; not before the start of the job."""
    first_s = -(-job.start_time // curves.step_s) * curves.step_s
    return max(job.start_time, first_s + (column - 1) * curves.step_s)


def _lost_share(lost: ComputeHours, total: ComputeHours) -> float:
    """The share of the job's hours that was lost, 0 to 1."""
    whole = total.gpu or total.core
    return (lost.gpu or lost.core) / whole if whole > 0 else 0.0
