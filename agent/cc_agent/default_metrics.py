"""The built-in defaults of collectors and router: the small metric set that `cc-agent topology` describes."""

from __future__ import annotations

from typing import Any, Dict

DEFAULT_INTERVAL_S = 60.0


def default_collectors() -> Dict[str, Any]:
    """The value of `collectors` if a configuration has none."""
    return {
        "cpustat": {"include_metrics": ["cpu_user", "cpu_system", "cpu_iowait", "cpu_idle"]},
        "memstat": {"include_metrics": ["mem_used"]},
        "loadavg": {"include_metrics": ["load_one"]},
        "netstat": {
            "send_abs_values": False,
            "send_derived_values": True,
            "include_metrics": ["net_bw", "eth_read_bw", "eth_write_bw"],
        },
        "iostat": {"include_metrics": ["disk_read_bw", "disk_write_bw", "disk_read_iops", "disk_write_iops"]},
        "diskstat": {"include_metrics": ["part_max_used"]},
        "pressure": {"include_metrics": ["psi_memory_some", "psi_io_some"]},
        "vmstat": {"include_metrics": ["vm_major_faults", "vm_oom_kills"]},
        "slurm_cgroup": {"include_metrics": ["job_mem_used", "job_mem_limit", "job_cpu_used", "job_oom_kills"]},
    }


def default_router() -> Dict[str, Any]:
    """The value of `router` if a configuration has none."""
    return {
        "process_messages": {
            "rename_messages": {"load_one": "cpu_load"},
            "change_unit_prefix": {
                "name == 'mem_used'": "G",
                "name in ['net_bw', 'eth_read_bw', 'eth_write_bw', 'disk_read_bw', 'disk_write_bw']": "M",
            },
        }
    }
