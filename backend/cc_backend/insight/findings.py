"""What stands out about a job, one rule after the other. Pure: curves and the record in, facts out.

Each rule gives `Finding`s: facts without words, so that they can be kept, compared and worded anew.
"""

import re
from collections.abc import Mapping, Sequence
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from cc_backend.clusters.model import MetricConfig
from cc_backend.insight.footprint import Footprint
from cc_backend.insight.idle_nodes import IdleNode, Stall
from cc_backend.insight.job_curves import MIN_JUDGED_S, MIN_JUDGED_SAMPLES, CurveSet, JobCurves
from cc_backend.insight.lost_hours import HOUR_S, Hours, JobHours
from cc_backend.insight.rating import Scale
from cc_backend.model import Finding, Job, JobState, Level
from cc_backend.wording.format import readable

Flags = npt.NDArray[np.bool_]

MIN_GAP_SLOTS = 3
"""Two missing samples in a row happen."""
OUTLIER_OF_PEAK = 0.02
"""Nodes closer together than this share of the peak of a metric do the same."""
_MIN_COMPARED = 4
MOST_NAMED_HOSTS = 8
"""Of so many nodes the GPUs are kept by name."""
_SILENT_STEPS = 4  # nodes do not send at the same moment, and the newest samples of some are on their way
_EXIT_CODE = re.compile(r"\bExitCode=(\d+):(\d+)")


class Code(StrEnum):
    """The rules. The values are kept in the database and told by the API."""

    STALLED = "nothing_computed"
    IDLE_NODES = "idle_nodes"
    IDLE_GPUS = "idle_gpus"
    ENDED = "ended"
    NODES_DIFFER = "nodes_differ"
    ABSENT = "samples_absent"
    METRIC_LEVEL = "metric_level"
    NODES_SILENT = "nodes_silent"
    NO_DATA = "no_data"
    NOT_MEASURED = "not_measured"
    TOO_SHORT = "too_short"
    NOTHING_FOUND = "nothing_found"
    NOT_JUDGED = "not_judged"


_ENDS_BADLY: Mapping[JobState, Level] = {
    JobState.FAILED: Level.CAUTION,
    JobState.TIMEOUT: Level.CAUTION,
    JobState.DEADLINE: Level.CAUTION,
    JobState.NODE_FAIL: Level.CAUTION,
    JobState.BOOT_FAIL: Level.CAUTION,
    JobState.OUT_OF_MEMORY: Level.ALERT,
    JobState.CANCELLED: Level.OK,
    JobState.PREEMPTED: Level.OK,
}
AT_LIMIT = frozenset({JobState.TIMEOUT, JobState.DEADLINE})
"""The states of jobs that the scheduler ended because their time was up."""


def idle_finding(
    job: Job, config: MetricConfig, curves: JobCurves, idle: Sequence[IdleNode], hours: JobHours
) -> Finding:
    """Nodes that did nothing while others worked."""
    hosts = [curves.hosts[node.row] for node in idle]
    last = max(node.first for node in idle)
    whole = last <= max(1, 0.05 * curves.rows.shape[1])
    since_s = job.start_time if whole else _time_of(job, curves, last)
    value = float(np.mean([node.value for node in idle]))
    lost = Hours()
    for node, host in zip(idle, hosts, strict=True):
        begin_s = job.start_time if whole else _time_of(job, curves, node.first)
        lost += hours.lost([host], job.stop_time - begin_s, in_use=node.value / config.peak)
    before = curves.rows[[node.row for node in idle], :last]
    factor, unit = readable(config.unit, config.peak)
    facts = {
        "value": value * factor,
        "others": float(np.median([node.others for node in idle])) * factor,
        "before": None if whole or not np.isfinite(before).any() else float(np.nanmean(before)) * factor,
        "peak": config.peak * factor,
        "unit": unit,
        "of_nodes": job.num_nodes,
        "from_start": whole,
        "after_s": since_s - job.start_time,
        "share": _share(lost, hours.total()),
    }
    level = Scale.of(config).rate(value)
    bad = level if level in (Level.ALERT, Level.CAUTION) else Level.ALERT
    return Finding(
        Code.IDLE_NODES,
        bad,
        config.name,
        tuple(hosts),
        nodes=len(hosts),
        since_s=since_s,
        core_hours=lost.core,
        gpu_hours=lost.gpu,
        facts=facts,
    )


def idle_gpus_finding(
    job: Job, config: MetricConfig, curves: JobCurves, idle: Sequence[IdleNode], hours: JobHours
) -> Finding:
    """Single GPUs that did nothing while others of the job worked; `curves` has one row a GPU."""
    last = max(gpu.first for gpu in idle)
    whole = last <= max(1, 0.05 * curves.rows.shape[1])
    since_s = job.start_time if whole else _time_of(job, curves, last)
    value = float(np.mean([gpu.value for gpu in idle]))
    names: dict[str, list[str]] = {}
    lost_h = 0.0
    for gpu in idle:
        one = curves.metric.series[gpu.row]
        names.setdefault(one.hostname, []).append(one.id or "")
        begin_s = job.start_time if whole else _time_of(job, curves, gpu.first)
        lost_h += max(0, job.stop_time - begin_s) / HOUR_S * min(max(1.0 - gpu.value / config.peak, 0.0), 1.0)
    lost = Hours(gpu=lost_h)
    facts = {
        "value": value,
        "others": float(np.median([gpu.others for gpu in idle])),
        "peak": config.peak,
        "unit": readable(config.unit, config.peak)[1],
        "gpus": len(idle),
        "of_gpus": max(job.num_acc, curves.count),
        "names": [[host, ids] for host, ids in list(names.items())[:MOST_NAMED_HOSTS]],
        "of_nodes": job.num_nodes,
        "from_start": whole,
        "after_s": since_s - job.start_time,
        "share": _share(lost, hours.total()),
    }
    level = Scale.of(config).rate(value)
    return Finding(
        Code.IDLE_GPUS,
        level if level in (Level.ALERT, Level.CAUTION) else Level.ALERT,
        config.name,
        tuple(names),
        nodes=len(names),
        since_s=since_s,
        gpu_hours=lost.gpu,
        facts=facts,
    )


def stall_finding(job: Job, config: MetricConfig, curves: JobCurves, stall: Stall, hours: JobHours) -> Finding:
    """A job that computed nothing any more from some time on."""
    since_s = _time_of(job, curves, stall.first)
    hosts = [resource.hostname for resource in job.resources]
    lost = hours.lost(hosts, job.stop_time - since_s)
    factor, unit = readable(config.unit, max(stall.before, stall.after))
    facts = {
        "value": stall.after * factor,
        "before": stall.before * factor,
        "unit": unit,
        "after_s": since_s - job.start_time,
        "lasted_s": job.stop_time - since_s,
        "at_limit": _ended_at_limit(job),
        "share": _share(lost, hours.total()),
    }
    return Finding(
        Code.STALLED, Level.ALERT, config.name, since_s=since_s, core_hours=lost.core, gpu_hours=lost.gpu, facts=facts
    )


def end_finding(job: Job, curves: CurveSet, metrics: Mapping[str, MetricConfig]) -> Finding | None:
    """How the job ended, where that is worth a sentence."""
    level = _ENDS_BADLY.get(job.state)
    if level is None:
        return None
    facts: dict[str, float | str | None] = {
        "state": job.state.value,
        "after_s": job.duration,
        "limit_s": job.walltime,
        "exit_code": exit_code(job),
    }
    metric, hosts = "", []
    memory, config = curves.get("mem_used"), metrics.get("mem_used")
    if job.state is JobState.OUT_OF_MEMORY and memory and config and memory.highest is not None:
        metric = "mem_used"
        factor, unit = readable(config.unit, config.peak)
        hosts = [memory.hosts[int(np.nanargmax(memory.highs))]]
        facts |= {"highest": memory.highest * factor, "peak": config.peak * factor, "unit": unit}
    return Finding(Code.ENDED, level, metric, tuple(hosts), nodes=len(hosts), since_s=job.stop_time, facts=facts)


def exit_code(job: Job) -> str:
    """The exit code and signal that the scheduler told, such as `1` or `0, signal 9`; empty where it did not."""
    found = _EXIT_CODE.search((job.meta_data or {}).get("slurmInfo", ""))
    if found is None or found.group(1, 2) == ("0", "0"):
        return ""
    return found[1] if found[2] == "0" else f"{found[1]}, signal {found[2]}"


def _ended_at_limit(job: Job) -> bool:
    return job.state in AT_LIMIT or (0 < job.walltime <= job.duration and job.state is not JobState.RUNNING)


def differing_nodes(curves: JobCurves, config: MetricConfig) -> list[int]:
    """The rows of the nodes that part from the others in a metric."""
    if curves.count < _MIN_COMPARED or not curves.tells_enough:
        return []
    return curves.outliers(OUTLIER_OF_PEAK * config.peak)


def differ_finding(job: Job, config: MetricConfig, curves: JobCurves, rows: Sequence[int]) -> Finding:
    """Nodes that part from the others in the mean of a metric."""
    hosts = [curves.hosts[row] for row in rows]
    values = curves.means[list(rows)]
    others = np.delete(curves.means, list(rows))
    value = float(np.nanmean(values))
    factor, unit = readable(config.unit, config.peak)
    level = Scale.of(config).rate(value) if config.footprint else None
    facts = {
        "value": value * factor,
        "others": float(np.nanmedian(others)) * factor,
        "peak": config.peak * factor,
        "unit": unit,
        "of_nodes": job.num_nodes,
    }
    bad = level if level in (Level.ALERT, Level.CAUTION) else Level.CAUTION
    return Finding(Code.NODES_DIFFER, bad, config.name, tuple(hosts), nodes=len(hosts), facts=facts)


def level_finding(job: Job, item: Footprint, curves: JobCurves | None, hours: JobHours) -> Finding | None:
    """A value of the footprint that is not as it should be; of a highest value also the node that had it."""
    level, scale, value = item.level, item.scale, item.value
    if level is None or value is None or level is Level.OK:
        return None
    overload = scale.can_exceed_peak and scale.overflows(value)
    edge = scale.peak if level is Level.ARTEFACT or overload else scale.normal if level is Level.HIGH else scale.caution
    if scale.lower_is_better and level is Level.ALERT:
        edge = scale.alert
    lost = Hours()
    is_use = item.metric == "acc_utilization" if job.num_acc else item.metric == "cpu_load"
    if is_use and item.statistic == "avg" and not overload and level in (Level.ALERT, Level.CAUTION):
        in_use = value / scale.peak
        lost = hours.lost((resource.hostname for resource in job.resources), job.duration, in_use=in_use)
    facts = {
        "value": value,
        "unit": item.unit,
        "statistic": item.statistic,
        "edge": edge,
        "peak": scale.peak,
        "kind": "overload" if overload else "above" if level is Level.HIGH else
                "impossible" if level is Level.ARTEFACT else "high" if scale.lower_is_better else "low",
        "share": _share(lost, hours.total()),
        "gpus": job.num_acc,
    }  # fmt: skip
    hosts: tuple[str, ...] = ()
    if item.statistic == "max" and curves is not None and curves.measured and job.num_nodes > 1:
        hosts = (curves.hosts[int(np.nanargmax(curves.highs))],)
    return Finding(Code.METRIC_LEVEL, level, item.metric, hosts, len(hosts), None, lost.core, lost.gpu, facts)


def gap_finding(job: Job, curves: CurveSet) -> Finding | None:
    """Stretches of time in which no metric has data."""
    present = [found for _, found in curves.node_metrics()]
    step = max((found.step_s for found in present), default=0)
    lines = [np.isfinite(found.over_time) for found in present if found.step_s == step]
    if not lines:
        return None
    width = min(len(line) for line in lines)
    known: Flags = np.logical_or.reduce([line[:width] for line in lines])
    stretches = [(a, b) for a, b in _holes(known) if b - a >= MIN_GAP_SLOTS]
    if not stretches:
        return None
    facts = {
        "lost_s": sum(b - a for a, b in stretches) * step,
        "times": len(stretches),
        "after_s": stretches[0][0] * step,
    }
    since_s = job.start_time + stretches[0][0] * step
    return Finding(Code.NO_DATA, Level.ARTEFACT, since_s=since_s, facts=facts)


def _holes(known: Flags) -> list[tuple[int, int]]:
    filled = np.flatnonzero(known)
    if not filled.size:
        return []
    empty = ~known
    empty[filled[-1] :] = False  # late data is no gap
    edges = np.flatnonzero(np.diff(np.concatenate(([False], empty, [False])).astype(np.int8)))
    return list(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))


def silent_finding(job: Job, curves: CurveSet) -> Finding | None:
    """The nodes that sent nothing when others did: never, or no more after some time; none where all fell silent."""
    last_s = dict.fromkeys((resource.hostname for resource in job.resources), 0.0)
    tolerance_s = 0
    for _, found in curves.node_metrics():
        tolerance_s = max(tolerance_s, _SILENT_STEPS * found.step_s)
        known = np.isfinite(found.rows)
        ends = np.where(known.any(axis=1), known.shape[1] - known[:, ::-1].argmax(axis=1), 0) * found.step_s
        for host, end_s in zip(found.hosts, ends.tolist(), strict=True):
            if host in last_s:
                last_s[host] = max(last_s[host], float(end_s))
    newest_s = max(last_s.values(), default=0.0)
    names = [host for host, seen_s in last_s.items() if seen_s < newest_s - tolerance_s]
    if not names:
        return None
    after_s = min(last_s[host] for host in names)
    facts = {"of_nodes": job.num_nodes, "after_s": after_s}
    return Finding(
        Code.NODES_SILENT,
        Level.ARTEFACT,
        hosts=tuple(names),
        nodes=len(names),
        since_s=job.start_time + int(after_s),
        facts=facts,
    )


def too_short_finding(job: Job, curves: CurveSet) -> Finding:
    """That there is too little of a job, or of its samples, for any verdict about how it ran."""
    present = [found for _, found in curves.node_metrics()]
    facts = {
        "after_s": job.duration,
        "samples": max((found.samples for found in present), default=0),
        "least_s": max(MIN_JUDGED_S, MIN_JUDGED_SAMPLES * min((found.step_s for found in present), default=0)),
    }
    return Finding(Code.TOO_SHORT, Level.OK, facts=facts)


def missing_finding(missing: Sequence[str]) -> Finding:
    """Metrics of the footprint that should be there and are not."""
    return Finding(Code.NOT_MEASURED, Level.ARTEFACT, facts={"metrics": list(missing)})


def _time_of(job: Job, curves: JobCurves, column: int) -> int:
    """When the time begins that the sample of a column speaks of; never before the start of the job."""
    first_s = -(-job.start_time // curves.step_s) * curves.step_s
    return max(job.start_time, first_s + (column - 1) * curves.step_s)


def _share(lost: Hours, total: Hours) -> float:
    """What part of the job was lost."""
    whole = total.gpu or total.core
    return (lost.gpu or lost.core) / whole if whole > 0 else 0.0
