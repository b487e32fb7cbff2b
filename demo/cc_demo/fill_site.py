"""Fills a backend with the made-up site: running jobs into the metric store, finished ones into the archive."""

from collections.abc import Iterable

import numpy as np

from cc_backend.archive.statistics import finalize_job, with_statistics
from cc_backend.clusters import MetricConfig, SubCluster
from cc_backend.model import Job, JobData, JobMetric, SampleSeries, Scope
from cc_backend.services import Services
from cc_common.job_events import JobStart, JobStop, ResourceEvent, TagEvent
from cc_common.line_protocol import format_value, series_prefix
from cc_demo.job_shapes import Curve, curve
from cc_demo.site_jobs import JOBS, MINUTE_S, SCRIPT, DemoJob
from cc_demo.tarn_cluster import CORES, GPUS, SOCKETS, TIMESTEP_S

CLUSTER = "tarn"
_LINES_A_BATCH = 20_000
_WORK, _NOTHING = frozenset({"flops_any", "mem_bw", "net_bw", "file_bw", "vectorization_ratio"}), 0.001
_SECONDS_OFF_THE_GRID = 17  # jobs do not start on whole minutes


def fill(services: Services, jobs: Iterable[DemoJob] = JOBS) -> None:
    """All jobs of the site, seen from the services' clock; the cluster must be configured and the jobs unknown."""
    now_s = services.now_s()
    for number, plan in enumerate(sorted(jobs, key=lambda job: -job.age_s)):
        rng = np.random.default_rng(number)
        job = _start(services, plan, now_s)
        sub_cluster = services.clusters.get(CLUSTER).sub_clusters[job.sub_cluster]
        length_s = plan.age_s if plan.running else plan.ran_s
        curves = job_curves(plan, sub_cluster, length_s // TIMESTEP_S + 1, rng)
        if plan.running:
            first_s = -(-job.start_time // TIMESTEP_S) * TIMESTEP_S
            _ingest(services, curves, sub_cluster, first_s=first_s, now_s=now_s)
        else:
            _archive(services, plan, job, curves, now_s=now_s)


Curves = dict[tuple[str, str, str | None], Curve]
"""(metric, host, id of the part) -> samples; NaN is a gap."""


def job_curves(plan: DemoJob, sub_cluster: SubCluster, length: int, rng: np.random.Generator) -> Curves:
    """Every series of a job at the native scopes of its metrics."""
    levels = {
        "cpu_load": plan.load,
        "flops_any": plan.flops,
        "mem_bw": plan.bandwidth,
        "mem_used": plan.memory,
        "vectorization_ratio": plan.vector,
        "cpu_power": plan.power,
        "ipc": 1.62,
        "clock": 2620.0,
        "cpu_user": 100 * plan.load / CORES,
        "net_bw": 1.5e9 if plan.nodes > 1 else 2e6,
        "file_bw": 30.0,
        "acc_utilization": plan.gpu_use,
        "acc_power": 120 + 5.2 * plan.gpu_use,
    }
    gap = slice(int(plan.gap[0] * length), int(plan.gap[1] * length))
    names = hosts(plan)
    out: Curves = {}
    for name, config in sub_cluster.metrics.items():
        if name in plan.absent:
            continue
        for place, host in enumerate(names):
            idle = place >= plan.nodes - plan.idle_nodes
            parts = _parts(config, plan)
            for part in parts:
                level = levels[name] * (1 + 0.012 * rng.standard_normal())
                if config.aggregation == "sum":
                    level /= len(parts)
                samples = curve(rng, length, name, level, plan.shape)
                if idle:
                    samples = _idle(rng, samples, name, len(parts), plan.idle_from)
                if part in GPUS[plan.gpus - plan.idle_gpus : plan.gpus] and place == plan.nodes - 1:
                    samples *= _NOTHING
                if name in _WORK:
                    samples[int(plan.hung_from * length) :] *= _NOTHING
                samples[gap] = np.nan
                if place == plan.nodes - 1:
                    samples[int(plan.silent_from * length) :] = np.nan
                samples = np.minimum(samples, config.peak)
                out[name, host, part] = samples
    return out


def hosts(plan: DemoJob) -> list[str]:
    """The job's nodes by name."""
    stem, width = ("tg", 3) if plan.gpus else ("tn", 4)
    return [f"{stem}{plan.first_node + i:0{width}d}" for i in range(plan.nodes)]


def _parts(config: MetricConfig, plan: DemoJob) -> list[str | None]:
    match config.scope:
        case Scope.SOCKET:
            return [str(i) for i in range(SOCKETS)]
        case Scope.HWTHREAD:  # kept small: only single nodes are measured thread by thread
            return [str(i) for i in range(CORES)] if plan.nodes == 1 and plan.running else []
        case Scope.ACCELERATOR:
            return list(GPUS[: plan.gpus])
        case _:
            return [None]


def _idle(rng: np.random.Generator, samples: Curve, metric: str, parts: int, start: float) -> Curve:
    rest = {"cpu_power": 150.0 / parts, "clock": 1100.0, "ipc": 0.42, "vectorization_ratio": 3.0, "mem_used": 7.2}
    level = rest.get(metric, float(np.nanmean(samples)) * 0.004)
    quiet = level * (1 + 0.02 * rng.standard_normal(len(samples)))
    return np.where(np.arange(len(samples)) > start * len(samples), quiet, samples)


def _start(services: Services, plan: DemoJob, now_s: int) -> Job:
    threads = tuple(range(plan.cores)) if plan.cores else ()
    shared = "multi_user" if plan.cores else "none"
    start_s = now_s - plan.age_s - _SECONDS_OFF_THE_GRID
    event = JobStart(
        cluster=CLUSTER,
        user=plan.user,
        job_id=plan.job_id,
        start_time=start_s,
        num_nodes=plan.nodes,
        resources=tuple(
            ResourceEvent(hostname=host, hwthreads=threads, accelerators=GPUS[: plan.gpus]) for host in hosts(plan)
        ),
        sub_cluster="gpu" if plan.gpus else "main",
        partition="gpu" if plan.gpus else "main",
        project=plan.project,
        shared=shared,
        num_hwthreads=plan.cores or plan.nodes * CORES,
        num_acc=plan.nodes * plan.gpus,
        smt=1,
        array_job_id=plan.array_job_id,
        walltime=86400 if plan.state != "timeout" else plan.ran_s,
        submit_time=start_s - 35 * MINUTE_S,
        meta_data={
            "jobName": plan.name,
            "jobScript": SCRIPT.format(name=plan.name, nodes=plan.nodes, code=plan.code),
            "slurmInfo": f"JobId={plan.job_id} JobName={plan.name}\n   UserId={plan.user} Account={plan.project}\n",
        },
        tags=tuple(TagEvent(type=kind, name=name, scope="global") for kind, name in plan.tags),
    )
    return services.job_lifecycle.start(event, now_s=now_s)


def _ingest(services: Services, curves: Curves, sub_cluster: SubCluster, *, first_s: int, now_s: int) -> None:
    lines: list[bytes] = []
    for (metric, host, part), samples in curves.items():
        tags = {"cluster": CLUSTER, "hostname": host, "type": sub_cluster.metrics[metric].scope.value}
        prefix = series_prefix(metric, tags if part is None else {**tags, "type-id": part})
        for i, value in enumerate(samples.tolist()):
            time_s = first_s + i * TIMESTEP_S
            if value == value and time_s <= now_s:  # noqa: PLR0124 - drops NaN
                lines.append(prefix + format_value(round(value, 3)) + b" %d" % time_s)
    for start in range(0, len(lines), _LINES_A_BATCH):
        services.store.ingest(b"\n".join(lines[start : start + _LINES_A_BATCH]) + b"\n", received_s=now_s)


def _archive(services: Services, plan: DemoJob, job: Job, curves: Curves, *, now_s: int) -> None:
    sub_cluster = services.clusters.get(CLUSTER).sub_clusters[job.sub_cluster]
    stop = JobStop(
        job_id=job.job_id, cluster=CLUSTER, start_time=job.start_time, stop_time=job.start_time + plan.ran_s,
        state=plan.state,
    )  # fmt: skip
    job = services.job_lifecycle.stop(stop, now_s=now_s)
    data: JobData = {}
    for (metric, host, part), samples in curves.items():
        config = sub_cluster.metrics[metric]
        native = data.setdefault(metric, {}).setdefault(config.scope, JobMetric(config.unit, TIMESTEP_S))
        native.series.append(SampleSeries(host, samples.astype(np.float32), part))
        if config.scope is not Scope.NODE:
            _add_to_node(data[metric], config, host, samples)
    data = with_statistics(data)
    job = finalize_job(job, data, sub_cluster)
    services.archive.store(job, data)
    services.archive_queue.finish(job)


def _add_to_node(by_scope: dict[Scope, JobMetric], config: MetricConfig, host: str, samples: Curve) -> None:
    """The node's value next to those of its parts, as the archiver keeps both."""
    node = by_scope.setdefault(Scope.NODE, JobMetric(config.unit, TIMESTEP_S))
    share = 1.0 if config.aggregation == "sum" else 1.0 / SOCKETS
    values = (samples * share).astype(np.float32)
    if node.series and node.series[-1].hostname == host:
        node.series[-1].data = node.series[-1].data + values
    else:
        node.series.append(SampleSeries(host, values))
