"""The collectors and their settings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from cc_agent.collectors.agentstat import AgentstatCollector, AgentstatOptions
from cc_agent.collectors.base import Collector
from cc_agent.collectors.beegfs import BeegfsOptions, make_beegfs_meta, make_beegfs_storage
from cc_agent.collectors.commands import BackgroundOptions
from cc_agent.collectors.cpufreq import CpufreqCollector, CpufreqCpuinfoCollector, CpufreqCpuinfoOptions, CpufreqOptions
from cc_agent.collectors.cpustat import CpustatCollector, CpustatOptions
from cc_agent.collectors.customcmd import CustomcmdCollector, CustomcmdOptions
from cc_agent.collectors.diskstat import DiskstatCollector, DiskstatOptions
from cc_agent.collectors.gpfs import GpfsCollector, GpfsOptions
from cc_agent.collectors.ibstat import IbstatCollector, IbstatOptions
from cc_agent.collectors.iostat import IostatCollector, IostatOptions
from cc_agent.collectors.ipmistat import IpmistatCollector, IpmistatOptions
from cc_agent.collectors.likwid import LikwidCollector, LikwidOptions, likwid_warnings
from cc_agent.collectors.loadavg import LoadavgCollector, LoadavgOptions
from cc_agent.collectors.lustrestat import LustrestatCollector, LustrestatOptions
from cc_agent.collectors.memstat import MemstatCollector, MemstatOptions
from cc_agent.collectors.netstat import NetstatCollector, NetstatOptions
from cc_agent.collectors.nfsiostat import NfsiostatCollector, NfsiostatOptions
from cc_agent.collectors.nfsstat import NfsstatOptions, make_nfs3stat, make_nfs4stat
from cc_agent.collectors.numastats import NumastatsCollector, NumastatsOptions
from cc_agent.collectors.nvidia import NvidiaCollector, NvidiaOptions
from cc_agent.collectors.perf import PerfCollector, PerfOptions
from cc_agent.collectors.pressure import PressureCollector, PressureOptions
from cc_agent.collectors.rapl import RaplCollector, RaplOptions
from cc_agent.collectors.rocm_smi import RocmSmiCollector, RocmSmiOptions
from cc_agent.collectors.schedstat import SchedstatCollector, SchedstatOptions
from cc_agent.collectors.slurm_cgroup import SlurmCgroupCollector, SlurmCgroupOptions
from cc_agent.collectors.smartmon import SmartmonCollector, SmartmonOptions
from cc_agent.collectors.tempstat import TempstatCollector, TempstatOptions
from cc_agent.collectors.topprocs import TopprocsCollector, TopprocsOptions
from cc_agent.collectors.vmstat import VmstatCollector, VmstatOptions
from cc_common.errors import SettingsError
from cc_common.nearest_name import did_you_mean
from cc_common.settings import section


@dataclass(frozen=True)
class CollectorsSettings:
    """The collectors to run, each with its options."""

    cpustat: Optional[CpustatOptions] = section(CpustatOptions, "Time of the processors.", key="cpustat", optional=True)
    memstat: Optional[MemstatOptions] = section(MemstatOptions, "Use of memory.", key="memstat", optional=True)
    loadavg: Optional[LoadavgOptions] = section(LoadavgOptions, "Load averages.", key="loadavg", optional=True)
    likwid: Optional[LikwidOptions] = section(
        LikwidOptions, "Hardware counters, with the settings of cc-metric-collector.", key="likwid", optional=True
    )
    rapl: Optional[RaplOptions] = section(
        RaplOptions, "Power of processors, memory and node.", key="rapl", optional=True
    )
    perf: Optional[PerfOptions] = section(
        PerfOptions, "Hardware counters of processors and memory controllers.", key="perf", optional=True
    )
    netstat: Optional[NetstatOptions] = section(NetstatOptions, "Network traffic.", key="netstat", optional=True)
    iostat: Optional[IostatOptions] = section(IostatOptions, "Disk traffic.", key="iostat", optional=True)
    diskstat: Optional[DiskstatOptions] = section(DiskstatOptions, "Fill levels.", key="diskstat", optional=True)
    nvidia: Optional[NvidiaOptions] = section(NvidiaOptions, "GPUs of NVIDIA.", key="nvidia", optional=True)
    rocm_smi: Optional[RocmSmiOptions] = section(RocmSmiOptions, "GPUs of AMD.", key="rocm_smi", optional=True)
    schedstat: Optional[SchedstatOptions] = section(
        SchedstatOptions, "Load of each hardware thread.", key="schedstat", optional=True
    )
    numastats: Optional[NumastatsOptions] = section(
        NumastatsOptions, "Where memory was allocated.", key="numastats", optional=True
    )
    pressure: Optional[PressureOptions] = section(
        PressureOptions, "Time that tasks waited for processors, memory and storage.", key="pressure", optional=True
    )
    vmstat: Optional[VmstatOptions] = section(
        VmstatOptions, "Page faults, swapping, context switches.", key="vmstat", optional=True
    )
    slurm_cgroup: Optional[SlurmCgroupOptions] = section(
        SlurmCgroupOptions, "What each job of Slurm uses of the node.", key="slurm_cgroup", optional=True
    )
    cpufreq: Optional[CpufreqOptions] = section(
        CpufreqOptions, "Clock of the cores, from the frequency driver.", key="cpufreq", optional=True
    )
    cpufreq_cpuinfo: Optional[CpufreqCpuinfoOptions] = section(
        CpufreqCpuinfoOptions, "Clock of the cores, from /proc/cpuinfo.", key="cpufreq_cpuinfo", optional=True
    )
    tempstat: Optional[TempstatOptions] = section(TempstatOptions, "Temperatures.", key="tempstat", optional=True)
    ibstat: Optional[IbstatOptions] = section(
        IbstatOptions, "Traffic and state of InfiniBand, Omni-Path and RoCE.", key="ibstat", optional=True
    )
    nfs3stat: Optional[NfsstatOptions] = section(
        NfsstatOptions, "Calls of NFS version 3.", key="nfs3stat", optional=True
    )
    nfs4stat: Optional[NfsstatOptions] = section(
        NfsstatOptions, "Calls of NFS version 4.", key="nfs4stat", optional=True
    )
    nfsiostat: Optional[NfsiostatOptions] = section(
        NfsiostatOptions, "Traffic of mounted NFS file systems.", key="nfsiostat", optional=True
    )
    lustrestat: Optional[LustrestatOptions] = section(
        LustrestatOptions, "Traffic of mounted Lustre file systems.", key="lustrestat", optional=True
    )
    gpfs: Optional[GpfsOptions] = section(GpfsOptions, "Traffic of GPFS file systems.", key="gpfs", optional=True)
    self: Optional[AgentstatOptions] = section(
        AgentstatOptions, "What the agent itself takes.", key="self", optional=True
    )
    topprocs: Optional[TopprocsOptions] = section(
        TopprocsOptions, "Programs that take most processor time.", key="topprocs", optional=True
    )
    customcmd: Optional[CustomcmdOptions] = section(
        CustomcmdOptions, "Commands and files of the site.", key="customcmd", optional=True
    )
    smartmon: Optional[SmartmonOptions] = section(SmartmonOptions, "Health of disks.", key="smartmon", optional=True)
    ipmistat: Optional[IpmistatOptions] = section(
        IpmistatOptions, "Sensors of the management controller.", key="ipmistat", optional=True
    )
    beegfs_meta: Optional[BeegfsOptions] = section(
        BeegfsOptions, "Operations of BeeGFS at metadata servers.", key="beegfs_meta", optional=True
    )
    beegfs_storage: Optional[BeegfsOptions] = section(
        BeegfsOptions, "Operations of BeeGFS at storage servers.", key="beegfs_storage", optional=True
    )


_MAKERS: Tuple[Tuple[str, Callable[[Any, Path], Collector]], ...] = (
    ("cpustat", CpustatCollector),
    ("memstat", MemstatCollector),
    ("loadavg", LoadavgCollector),
    ("likwid", LikwidCollector),
    ("rapl", RaplCollector),
    ("perf", PerfCollector),
    ("netstat", NetstatCollector),
    ("iostat", IostatCollector),
    ("diskstat", DiskstatCollector),
    ("nvidia", NvidiaCollector),
    ("rocm_smi", RocmSmiCollector),
    ("schedstat", SchedstatCollector),
    ("numastats", NumastatsCollector),
    ("pressure", PressureCollector),
    ("vmstat", VmstatCollector),
    ("slurm_cgroup", SlurmCgroupCollector),
    ("cpufreq", CpufreqCollector),
    ("cpufreq_cpuinfo", CpufreqCpuinfoCollector),
    ("tempstat", TempstatCollector),
    ("ibstat", IbstatCollector),
    ("nfs3stat", make_nfs3stat),
    ("nfs4stat", make_nfs4stat),
    ("nfsiostat", NfsiostatCollector),
    ("lustrestat", LustrestatCollector),
    ("gpfs", GpfsCollector),
    ("self", AgentstatCollector),
    ("topprocs", TopprocsCollector),
    ("customcmd", CustomcmdCollector),
    ("smartmon", SmartmonCollector),
    ("ipmistat", IpmistatCollector),
    ("beegfs_meta", make_beegfs_meta),
    ("beegfs_storage", make_beegfs_storage),
)


def check_metric_names(settings: CollectorsSettings, source: str) -> None:
    """Raises SettingsError for a name in `include_metrics` that the collector does not have with its options."""
    for name, make in _MAKERS:
        options = getattr(settings, name)
        if options is None or not options.include_metrics:
            continue
        everything = replace(options, include_metrics=(), exclude_metrics=())
        known = {description.name for description in make(everything, Path("/")).metrics}
        for metric in options.include_metrics:
            if not any(fnmatchcase(metric, pattern) for pattern in known):
                key = f"collectors.{name}.include_metrics"
                hint = did_you_mean(metric, sorted(known))
                raise SettingsError(key, f"{source}: {key}: {name} has no metric {metric!r} with these options{hint}")


def collector_warnings(settings: CollectorsSettings, source: str) -> List[str]:
    """Texts for what the settings ask for and a collector cannot do."""
    texts = likwid_warnings(settings.likwid) if settings.likwid is not None else []
    return [f"{source}: collectors.likwid: {text}" for text in texts]


def make_collectors(settings: CollectorsSettings, root: Path = Path("/")) -> List[Collector]:
    """The collectors that the settings name, not opened yet."""
    made = []
    for name, make in _MAKERS:
        options = getattr(settings, name)
        if options is not None:
            made.append(make(options, root))
    return made


def metric_intervals_s(settings: CollectorsSettings) -> Dict[str, float]:
    """Seconds between samples by the name of a collector, for those that have an interval of their own."""
    chosen = {name: getattr(settings, name) for name, _ in _MAKERS}
    return {name: options.interval_s for name, options in chosen.items() if options is not None and options.interval_s}


def collector_intervals_s(settings: CollectorsSettings) -> Dict[str, float]:
    """Seconds between readings by the name of a collector, for those that are not read at every tick.

    Those that read in the background are asked at every tick, so that what they found is not sent an interval late.
    """
    background = {name for name, _ in _MAKERS if isinstance(getattr(settings, name), BackgroundOptions)}
    return {name: seconds for name, seconds in metric_intervals_s(settings).items() if name not in background}
