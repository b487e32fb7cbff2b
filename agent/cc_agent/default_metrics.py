"""The built-in defaults of collectors and router: the small metric set that `cc-agent topology` describes."""

from __future__ import annotations

from typing import Any, Dict

DEFAULT_INTERVAL_S = 60.0

_BYTE_RATES = [
    "net_bw", "eth_read_bw", "eth_write_bw", "ic_read_bw", "ic_write_bw", "file_bw", "disk_read_bw", "disk_write_bw",
    "lustre_read_bw", "lustre_write_bw", "nfsio_nfsread_bw", "nfsio_nfswrite_bw",
]  # fmt: skip
_INPUTS_OF_DERIVED_METRICS = (
    "ib_recv_bw", "ib_xmit_bw", "ib_recv_pkts_bw", "ib_xmit_pkts_bw", "roce_recv_bw", "roce_xmit_bw",
)  # fmt: skip


_NAMES_OF_GPU_METRICS = {
    "nv_util": "acc_utilization",
    "nv_fb_mem_used": "acc_mem_used",
    "nv_average_power": "acc_power",
    "rocm_gfx_util": "acc_utilization",
    "rocm_mem_used": "acc_mem_used",
    "rocm_avg_power": "acc_power",
}


def default_collectors() -> Dict[str, Any]:
    """The value of `collectors` if a configuration has none."""
    return {
        "cpustat": {"include_metrics": ["cpu_user", "cpu_system", "cpu_iowait", "cpu_idle"]},
        "memstat": {"include_metrics": ["mem_used"]},
        "loadavg": {"include_metrics": ["load_one"]},
        "rapl": {},
        "perf": {"include_metrics": ["ipc", "clock", "flops_any", "vectorization_ratio", "mem_bw"]},
        "netstat": {
            "send_abs_values": False,
            "send_derived_values": True,
            "include_metrics": ["net_bw", "eth_read_bw", "eth_write_bw"],
        },
        "iostat": {"include_metrics": ["disk_read_bw", "disk_write_bw", "disk_read_iops", "disk_write_iops"]},
        "diskstat": {"include_metrics": ["part_max_used"]},
        "ibstat": {"send_abs_values": False, "send_derived_values": True},
        "lustrestat": {
            "include_metrics": ["lustre_read_bw", "lustre_write_bw", "lustre_open_rate", "lustre_close_rate"]
        },
        "nfsiostat": {
            "send_abs_values": False,
            "send_derived_values": True,
            "include_metrics": ["nfsio_nfsread_bw", "nfsio_nfswrite_bw"],
        },
        "pressure": {"include_metrics": ["psi_memory_some", "psi_io_some"]},
        "vmstat": {"include_metrics": ["vm_major_faults", "vm_oom_kills"]},
        "nvidia": {"include_metrics": ["nv_util", "nv_fb_mem_used", "nv_average_power", "job_acc_mem_used"]},
        "rocm_smi": {"include_metrics": ["rocm_gfx_util", "rocm_mem_used", "rocm_avg_power", "job_acc_mem_used"]},
        "slurm_cgroup": {"include_metrics": ["job_mem_used", "job_mem_limit", "job_cpu_used", "job_oom_kills"]},
    }


def default_router() -> Dict[str, Any]:
    """The value of `router` if a configuration has none."""
    return {
        "process_messages": {
            "drop_messages": list(_INPUTS_OF_DERIVED_METRICS),
            "rename_messages": {"load_one": "cpu_load", **_NAMES_OF_GPU_METRICS},
            "change_unit_prefix": {
                "name in ['mem_used', 'acc_mem_used']": "G",
                f"name in {_BYTE_RATES}": "M",
            },
        }
    }
