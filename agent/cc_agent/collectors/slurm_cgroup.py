"""What each job of Slurm uses of this node, from its control groups: cgroup v2 or v1."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, FrozenSet, List, NamedTuple, Optional, Tuple

from cc_agent.collectors.base import (
    MetricDescription,
    MetricFilter,
    RateClock,
    Reading,
    SeriesPool,
    Tick,
    select_metrics,
)
from cc_agent.errors import CpuTopologyError, NotPresentError
from cc_agent.job_cgroups import (
    DEFAULT_SCOPE,
    CgroupTree,
    Folders,
    JobUsage,
    UsageReader,
    add_usages,
    count_job_gpus,
)
from cc_agent.topology import online_cpus
from cc_common.settings import option

JOB_SCOPE = "job"

_SIGNS_OF_SLURM = ("usr/sbin/slurmd", "etc/slurm", "run/slurm", "var/spool/slurmd")
"""A machine with one of these has jobs at some time, even if slurmd has not made its scope yet."""

_PERCENT = 100.0
_US_PER_S = 1e6
_GPU_TRIES = 10
"""Readings in which a job's processes are asked for its GPUs: the first ones may be slurmstepd alone."""


class _Gauge(NamedTuple):
    metric: str
    unit: str
    meaning: str
    part: str
    amount: str


class _Rate(NamedTuple):
    metric: str
    unit: str
    meaning: str
    part: str
    counters: Tuple[str, ...]
    per_s: float = 1.0
    of_hwthreads: bool = False


_GAUGES = (
    _Gauge("job_mem_used", "B", "Memory of the job without page cache: anonymous and shared.", "memory", "memory"),
    _Gauge("job_mem_rss", "B", "Anonymous memory of the job.", "memory", "rss"),
    _Gauge("job_mem_current", "B", "Memory of the job with page cache and kernel.", "current", "current"),
    _Gauge("job_mem_peak", "B", "Maximum memory of the job so far, with page cache and kernel.", "peak", "peak"),
    _Gauge(
        "job_mem_limit", "B", "Memory that the job may use here; not sent if that is not limited.", "limit", "limit"
    ),
    _Gauge("job_processes", "processes", "Processes of the job.", "processes", "processes"),
    _Gauge("job_hwthreads", "hwthreads", "Hardware threads of the job.", "", "hwthreads"),
    _Gauge("job_gpus", "GPUs", "GPUs of the job, by the environment of its processes.", "gpus", "gpus"),
)
_OOM_KILLS = "job_oom_kills"
_PER_CENT_OF_S = _PERCENT / _US_PER_S
_RATES = (
    _Rate(
        "job_cpu_used", "%", "Time of the job's hardware threads in its processes.", "cpu", ("user_us", "system_us"),
        _PER_CENT_OF_S, of_hwthreads=True,
    ),
    _Rate(
        "job_cpu_user", "%", "Time of the job's hardware threads in its programs.", "cpu", ("user_us",),
        _PER_CENT_OF_S, of_hwthreads=True,
    ),
    _Rate(
        "job_cpu_system", "%", "Time of the job's hardware threads in the kernel for it.", "cpu", ("system_us",),
        _PER_CENT_OF_S, of_hwthreads=True,
    ),
    _Rate(
        "job_cpu_throttled", "%", "Time of the job's hardware threads that its CPU quota took away.", "cpu",
        ("throttled_us",), _PER_CENT_OF_S, of_hwthreads=True,
    ),
    _Rate("job_io_read_bw", "B/s", "Bytes that the job read from block devices.", "io", ("rbytes",)),
    _Rate("job_io_write_bw", "B/s", "Bytes that the job wrote to block devices.", "io", ("wbytes",)),
    _Rate("job_io_read_iops", "requests/s", "Reads of the job from block devices.", "io", ("rios",)),
    _Rate("job_io_write_iops", "requests/s", "Writes of the job to block devices.", "io", ("wios",)),
    _Rate(
        "job_cpu_pressure", "%", "Time in which some task of the job waited for a processor.", "pressure",
        ("cpu_waiting_us",), _PER_CENT_OF_S,
    ),
    _Rate(
        "job_mem_pressure", "%", "Time in which some task of the job waited for memory.", "pressure",
        ("memory_waiting_us",), _PER_CENT_OF_S,
    ),
    _Rate(
        "job_io_pressure", "%", "Time in which some task of the job waited for block devices.", "pressure",
        ("io_waiting_us",), _PER_CENT_OF_S,
    ),
)  # fmt: skip

_SHARES = (
    MetricDescription(
        "job_mem_used", "B", "hwthread", "Memory of the thread's jobs with page cache, a share.", "gauge"
    ),
    MetricDescription("job_max_mem_used", "B", "hwthread", "Maximum memory of the thread's jobs, a share.", "gauge"),
    MetricDescription("job_mem_limit", "B", "hwthread", "Memory that the thread's jobs may use, a share.", "gauge"),
    MetricDescription("job_user_cpu", "%", "hwthread", "Time of the thread's jobs in programs, a share.", "rate"),
    MetricDescription("job_sys_cpu", "%", "hwthread", "Time of the thread's jobs in the kernel, a share.", "rate"),
)
_SHARES_OF_AMOUNTS = (("job_mem_used", "current"), ("job_max_mem_used", "peak"), ("job_mem_limit", "limit"))
_SHARES_OF_TIMES = (("job_user_cpu", "user_us"), ("job_sys_cpu", "system_us"))
_PARTS_OF_SHARES = {
    "job_mem_used": "current",
    "job_max_mem_used": "peak",
    "job_mem_limit": "limit",
    "job_user_cpu": "cpu",
    "job_sys_cpu": "cpu",
}


@dataclass(frozen=True)
class SlurmCgroupOptions(MetricFilter):
    """Options of the collector slurm_cgroup."""

    cgroup_base: str = option(
        DEFAULT_SCOPE,
        "folder of the jobs' control groups; with the default also the scopes of several slurmd on a host and the "
        "folders of cgroup v1 are found",
        key="cgroup_base",
    )
    use_sudo: bool = option(False, "accepted and without effect: the files can be read by everybody", key="use_sudo")
    send_job_values: bool = option(True, "send the values of each job, with type=job", key="send_job_values")
    send_hwthread_shares: bool = option(
        False,
        "send equal shares of the jobs' values at their hardware threads, for stores that know no jobs",
        key="send_hwthread_shares",
    )


def _describe(options: SlurmCgroupOptions) -> Tuple[MetricDescription, ...]:
    described: List[MetricDescription] = []
    if options.send_job_values:
        described += [MetricDescription(g.metric, g.unit, JOB_SCOPE, g.meaning, "gauge") for g in _GAUGES]
        described.append(
            MetricDescription(
                _OOM_KILLS, "kills", JOB_SCOPE, "Processes of the job killed for want of memory.", "counter"
            )
        )
        described += [MetricDescription(r.metric, r.unit, JOB_SCOPE, r.meaning, "rate") for r in _RATES]
    if options.send_hwthread_shares:
        described += _SHARES
    return select_metrics(described, options)


def _wanted_parts(metrics: Tuple[MetricDescription, ...]) -> FrozenSet[str]:
    of_jobs = {item.metric: item.part for item in (*_GAUGES, *_RATES)}
    of_jobs[_OOM_KILLS] = "oom"
    return frozenset((of_jobs if metric.scope == JOB_SCOPE else _PARTS_OF_SHARES)[metric.name] for metric in metrics)


class _Job:
    """What is remembered of a job between readings."""

    __slots__ = ("counters", "gpu_tries", "gpus", "peak")

    def __init__(self) -> None:
        self.counters: Dict[str, float] = {}
        self.gpus: Optional[int] = None
        self.gpu_tries = 0
        self.peak = 0.0


class SlurmCgroupCollector:
    """Processor time, memory, block device traffic and pressure of each job on this node.

    A job that cannot be read, or ends meanwhile, costs its own samples only.
    """

    name = "slurm_cgroup"

    def __init__(self, options: SlurmCgroupOptions, root: Path = Path("/")) -> None:
        self.metrics = _describe(options)
        self._root = root
        self._tree = CgroupTree(root, options.cgroup_base)
        self._parts = _wanted_parts(self.metrics)
        self._reader = UsageReader(root, self._parts | ({"current"} if "peak" in self._parts else frozenset()))
        self._table = SeriesPool(self.metrics, source="SlurmCgroupCollector", group="SLURM")
        self._gauges = [gauge for gauge in _GAUGES if self._table.declared(gauge.metric, JOB_SCOPE)]
        self._rates = [rate for rate in _RATES if self._table.declared(rate.metric, JOB_SCOPE)]
        self._clock = RateClock()
        self._jobs: Dict[str, _Job] = {}
        self._online = 1

    def open(self) -> None:
        """Check that this node runs jobs of Slurm. Raises NotPresentError."""
        if not self._tree.scopes() and not any((self._root / sign).exists() for sign in _SIGNS_OF_SLURM):
            raise NotPresentError(
                "the control groups of Slurm's jobs cannot be read: there are none below /sys/fs/cgroup",
                "on a node of Slurm, set TaskPlugin=task/cgroup in slurm.conf",
            )
        try:
            self._online = len(online_cpus(self._root))
        except CpuTopologyError:
            self._online = 1
        self._clock.reset()
        self._jobs = {}

    def read(self, tick: Tick) -> List[Reading]:
        """The values of all jobs; rates from a job's second reading on."""
        elapsed_s = self._clock.elapsed_s(tick)
        jobs: Dict[str, _Job] = {}
        readings: List[Reading] = []
        shares: Dict[Tuple[str, int], float] = {}
        for job_id, groups in self._tree.jobs().items():
            try:
                usage = add_usages([self._reader.read(folders) for folders in groups])
            except (OSError, ValueError):
                continue  # it ended meanwhile, or its files are of a kernel that is not known
            job = jobs[job_id] = self._jobs.get(job_id) or _Job()
            self._complete(job, usage, groups)
            rates = _rates_per_s(usage.counters, job.counters, elapsed_s)
            job.counters = usage.counters
            self._append_job(job_id, usage, rates, readings)
            self._add_shares(usage, rates, shares)
        readings += [(self._table.get(name, "hwthread", str(cpu)), value) for (name, cpu), value in shares.items()]
        for gone in self._jobs.keys() - jobs.keys():
            self._table.forget(type_id=gone)
        self._jobs = jobs
        return readings

    def _complete(self, job: _Job, usage: JobUsage, groups: List[Folders]) -> None:
        """Add what the kernel does not say: a peak before Linux 5.19, the number of hardware threads and GPUs."""
        amounts = usage.amounts
        if "peak" in self._parts and "current" in amounts:
            job.peak = max(job.peak, amounts["current"])
            amounts.setdefault("peak", job.peak)
        amounts["hwthreads"] = len(usage.hwthreads) or self._online
        if "gpus" in self._parts:
            if not job.gpus and job.gpu_tries < _GPU_TRIES:
                job.gpu_tries += 1
                found = [count_job_gpus(next(iter(folders.values())), self._root) for folders in groups]
                known = [count for count in found if count is not None]
                job.gpus = sum(known) if known else None
            if job.gpus is not None:
                amounts["gpus"] = job.gpus

    def _append_job(self, job_id: str, usage: JobUsage, rates: Dict[str, float], readings: List[Reading]) -> None:
        get = self._table.get
        readings += [
            (get(gauge.metric, JOB_SCOPE, job_id), usage.amounts[gauge.amount])
            for gauge in self._gauges
            if gauge.amount in usage.amounts
        ]
        if "oom_kills" in usage.counters and self._table.declared(_OOM_KILLS, JOB_SCOPE):
            readings.append((get(_OOM_KILLS, JOB_SCOPE, job_id), usage.counters["oom_kills"]))
        for rate in self._rates:
            if all(counter in rates for counter in rate.counters):
                value = sum(rates[counter] for counter in rate.counters) * rate.per_s
                threads = usage.amounts["hwthreads"] if rate.of_hwthreads else 1
                readings.append((get(rate.metric, JOB_SCOPE, job_id), value / threads))

    def _add_shares(self, usage: JobUsage, rates: Dict[str, float], shares: Dict[Tuple[str, int], float]) -> None:
        values = [(name, usage.amounts.get(amount)) for name, amount in _SHARES_OF_AMOUNTS]
        values += [(name, rates.get(counter)) for name, counter in _SHARES_OF_TIMES]
        for name, value in values:
            if value is None or not usage.hwthreads or not self._table.declared(name, "hwthread"):
                continue
            share = value / len(usage.hwthreads) * (1.0 if name in _MEMORY_SHARES else _PER_CENT_OF_S)
            for cpu in usage.hwthreads:
                shares[name, cpu] = shares.get((name, cpu), 0.0) + share

    def close(self) -> None:
        """Forget all jobs; no file is kept open."""
        for job_id in self._jobs:
            self._table.forget(type_id=job_id)
        self._jobs = {}


_MEMORY_SHARES = frozenset(name for name, _ in _SHARES_OF_AMOUNTS)


def _rates_per_s(now: Dict[str, float], before: Dict[str, float], elapsed_s: Optional[float]) -> Dict[str, float]:
    """The increase per second of each counter that was there before and did not decrease."""
    if elapsed_s is None:
        return {}
    return {
        name: (count - before[name]) / elapsed_s
        for name, count in now.items()
        if name in before and count >= before[name]
    }
