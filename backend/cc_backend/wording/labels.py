"""The words of the pages: what states, levels and well-known metrics are called."""

import re

from markupsafe import Markup, escape

from cc_backend.model import JobState, Scope

STATE_WORDS = {
    JobState.RUNNING: "Running",
    JobState.PENDING: "Waiting",
    JobState.COMPLETED: "Completed",
    JobState.FAILED: "Failed",
    JobState.TIMEOUT: "Timed out",
    JobState.DEADLINE: "Deadline",
    JobState.PREEMPTED: "Preempted",
    JobState.SUSPENDED: "Suspended",
    JobState.CANCELLED: "Cancelled",
    JobState.OUT_OF_MEMORY: "Out of memory",
    JobState.BOOT_FAIL: "Boot failed",
    JobState.NODE_FAIL: "Node failed",
}

SCOPE_WORDS = {
    Scope.NODE: ("node", "nodes"),
    Scope.SOCKET: ("socket", "sockets"),
    Scope.MEMORY_DOMAIN: ("memory domain", "memory domains"),
    Scope.CORE: ("core", "cores"),
    Scope.HWTHREAD: ("hardware thread", "hardware threads"),
    Scope.ACCELERATOR: ("GPU", "GPUs"),
}

STATISTIC_WORDS = {"avg": "mean", "min": "lowest", "max": "highest"}

# The names the field uses for its metrics, and the short word an annunciator cell has room for.
_METRICS = {
    "cpu_load": ("CPU load", "Load"),
    "cpu_load_core": ("CPU load by core", "Core load"),
    "cpu_user": ("CPU time in programs", "CPU"),
    "cpu_system": ("CPU time in the kernel", "Kernel"),
    "cpu_iowait": ("CPU waiting for storage", "I/O wait"),
    "cpu_idle": ("CPU idle", "Idle"),
    "cpu_steal": ("CPU time taken by other machines", "Steal"),
    "cpu_used": ("CPU in use", "CPU"),
    "cpu_power": ("CPU power", "Power"),
    "cpu_irq": ("CPU interrupts", "Interrupts"),
    "flops_any": ("Flop rate", "Flops"),
    "flops_sp": ("Flop rate, single precision", "Flops SP"),
    "flops_dp": ("Flop rate, double precision", "Flops DP"),
    "mem_bw": ("Memory bandwidth", "Bandwidth"),
    "mem_read": ("Memory reads", "Mem. reads"),
    "mem_write": ("Memory writes", "Mem. writes"),
    "mem_used": ("Memory used", "Memory"),
    "mem_cached": ("Memory cached", "Cache"),
    "mem_power": ("Memory power", "Mem. power"),
    "vectorization_ratio": ("Vector share", "Vector"),
    "ipc": ("Instructions per cycle", "IPC"),
    "clock": ("Core clock", "Clock"),
    "cache_miss_ratio": ("Cache misses", "Cache misses"),
    "branch_miss_ratio": ("Branch misses", "Branches"),
    "perf_multiplex_ratio": ("Time that was counted", "Counted"),
    "core_power": ("Core power", "Core power"),
    "node_power": ("Node power", "Power"),
    "rapl_power": ("CPU power", "Power"),
    "net_bw": ("Network", "Network"),
    "net_bytes_in": ("Network in", "Net in"),
    "net_bytes_out": ("Network out", "Net out"),
    "net_pkts_in": ("Network packets in", "Packets in"),
    "net_pkts_out": ("Network packets out", "Packets out"),
    "ib_bw": ("InfiniBand", "InfiniBand"),
    "ib_recv": ("InfiniBand in", "IB in"),
    "ib_xmit": ("InfiniBand out", "IB out"),
    "ib_recv_pkts": ("InfiniBand packets in", "IB packets"),
    "ib_xmit_pkts": ("InfiniBand packets out", "IB packets"),
    "ic_read_bw": ("Fast network in", "Fast net in"),
    "ic_write_bw": ("Fast network out", "Fast net out"),
    "ic_rcv_packets": ("Fast network packets in", "Packets in"),
    "ic_send_packets": ("Fast network packets out", "Packets out"),
    "file_bw": ("File systems", "Files"),
    "lustre_read_bw": ("Lustre reads", "Lustre reads"),
    "lustre_write_bw": ("Lustre writes", "Lustre writes"),
    "lustre_open_rate": ("Lustre opens", "Opens"),
    "lustre_close_rate": ("Lustre closes", "Closes"),
    "nfsio_nfsread_bw": ("NFS reads", "NFS reads"),
    "nfsio_nfswrite_bw": ("NFS writes", "NFS writes"),
    "gpfs_bw_read": ("GPFS reads", "GPFS reads"),
    "gpfs_bw_write": ("GPFS writes", "GPFS writes"),
    "cpufreq": ("Core clock", "Clock"),
    "lustre_bw": ("Lustre", "Lustre"),
    "lustre_open": ("Lustre opens", "Opens"),
    "nfs4_read": ("NFS reads", "NFS reads"),
    "nfs4_write": ("NFS writes", "NFS writes"),
    "nfs4_total": ("NFS", "NFS"),
    "eth_read_bw": ("Ethernet in", "Net in"),
    "eth_write_bw": ("Ethernet out", "Net out"),
    "disk_free": ("Disk free", "Disk"),
    "disk_read_bw": ("Local disk reads", "Disk reads"),
    "disk_write_bw": ("Local disk writes", "Disk writes"),
    "disk_read_iops": ("Local disk read requests", "Disk reads"),
    "disk_write_iops": ("Local disk write requests", "Disk writes"),
    "part_max_used": ("Fullest file system", "Disk full"),
    "agent_cpu": ("CPU time of the agent", "Agent CPU"),
    "agent_rss": ("Memory of the agent", "Agent memory"),
    "psi_cpu_some": ("Tasks waiting for a processor", "CPU wait"),
    "psi_memory_some": ("Tasks waiting for memory", "Mem. wait"),
    "psi_memory_full": ("All tasks waiting for memory", "Mem. stall"),
    "psi_io_some": ("Tasks waiting for storage", "I/O wait"),
    "psi_io_full": ("All tasks waiting for storage", "I/O stall"),
    "vm_page_faults": ("Page faults", "Faults"),
    "vm_major_faults": ("Page faults from storage", "Faults"),
    "vm_swap_in": ("Swap reads", "Swap in"),
    "vm_swap_out": ("Swap writes", "Swap out"),
    "vm_oom_kills": ("Killed for lack of memory", "OOM kills"),
    "vm_context_switches": ("Context switches", "Switches"),
    "acc_utilization": ("GPU use", "GPU"),
    "acc_mem_used": ("GPU memory used", "GPU memory"),
    "acc_mem_util": ("GPU memory use", "GPU memory"),
    "acc_power": ("GPU power", "GPU power"),
    "job_mem_used": ("Memory of this job", "Job memory"),
    "job_mem_rss": ("Anonymous memory of this job", "Job memory"),
    "job_mem_current": ("Memory of this job with page cache", "Job memory"),
    "job_mem_peak": ("Maximum memory of this job", "Job memory"),
    "job_mem_limit": ("Memory limit of this job", "Job limit"),
    "job_oom_kills": ("Processes of this job killed for memory", "Kills"),
    "job_cpu_used": ("CPU time of this job", "Job CPU"),
    "job_cpu_user": ("CPU time of this job in programs", "Job CPU"),
    "job_cpu_system": ("CPU time of this job in the kernel", "Job kernel"),
    "job_cpu_throttled": ("CPU time taken from this job by its quota", "Throttled"),
    "job_cpu_pressure": ("This job waiting for CPU", "CPU wait"),
    "job_mem_pressure": ("This job waiting for memory", "Mem. wait"),
    "job_io_pressure": ("This job waiting for storage", "I/O wait"),
    "job_io_read_bw": ("Local disk reads of this job", "Job reads"),
    "job_io_write_bw": ("Local disk writes of this job", "Job writes"),
    "job_io_read_iops": ("Local disk read requests of this job", "Job reads"),
    "job_io_write_iops": ("Local disk write requests of this job", "Job writes"),
    "job_processes": ("Processes of this job", "Processes"),
    "job_hwthreads": ("Hardware threads of this job", "Threads"),
    "job_gpus": ("GPUs of this job", "GPUs"),
    "job_acc_mem_used": ("GPU memory of this job", "GPU memory"),
    "nv_mem_util": ("GPU memory use", "GPU memory"),
    "nv_sm_clock": ("GPU clock", "GPU clock"),
    "nv_util": ("GPU use", "GPU"),
}


def metric_name(metric: str) -> str:
    """What people call the metric; its own name, made readable, where the field has no word for it."""
    known = _METRICS.get(metric)
    return known[0] if known else _spell_out(metric)


def metric_short_name(metric: str) -> str:
    """One short word for the metric."""
    known = _METRICS.get(metric)
    return known[1] if known else _spell_out(metric)


def breakable_name(name: str) -> Markup:
    """The name, which may break into lines after its own separators."""
    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=[_\-./])", name))


def lower_first(name: str) -> str:
    """A name inside a sentence: abbreviations keep their capitals."""
    return name if name[:2].isupper() else name[:1].lower() + name[1:]


def _spell_out(metric: str) -> str:
    text = metric.replace("_", " ").strip()
    return text[:1].upper() + text[1:] if text else metric
