"""Options and metrics of cc-metric-collector keep their names, so that configurations and clusters need no change."""

import re
from typing import Any

import pytest

from cc_agent.collectors.registry import CollectorsSettings, make_collectors
from cc_common.settings import load

OPTIONS: dict[str, dict[str, Any]] = {
    "cpustat": {"exclude_metrics": ["x"]},
    "memstat": {"exclude_metrics": ["x"], "node_stats": True, "numa_stats": True},
    "loadavg": {"exclude_metrics": ["x"]},
    "schedstat": {"exclude_metrics": ["x"]},
    "numastats": {"send_abs_values": True, "send_derived_values": True},
    "netstat": {
        "include_devices": ["x"],
        "send_abs_values": True,
        "send_derived_values": True,
        "interface_aliases": {"eth": ["e"]},
    },
    "ibstat": {
        "exclude_devices": ["x"],
        "send_abs_values": True,
        "send_derived_values": True,
        "send_total_values": True,
    },
    "iostat": {"exclude_metrics": ["x"], "exclude_devices": ["x"]},
    "diskstat": {"exclude_metrics": ["x"], "exclude_mounts": ["x"]},
    "cpufreq": {"exclude_metrics": ["x"]},
    "cpufreq_cpuinfo": {},
    "tempstat": {
        "exclude_metrics": ["x"],
        "tag_override": {"hwmon0": {"type": "socket", "type-id": "0"}},
        "report_max_temperature": True,
        "report_critical_temperature": True,
    },
    "rapl": {"exclude_device_by_id": ["x"], "exclude_device_by_name": ["x"]},
    "likwid": {
        "eventsets": [],
        "globalmetrics": [],
        "force_overwrite": True,
        "invalid_to_zero": True,
        "access_mode": "direct",
        "accessdaemon_path": "x",
        "liblikwid_path": "x",
        "lockfile_path": "x",
    },
    "nvidia": {
        "exclude_metrics": ["x"],
        "exclude_devices": ["x"],
        "add_pci_info_tag": True,
        "use_pci_info_as_type_id": True,
        "add_uuid_meta": True,
        "add_board_number_meta": True,
        "add_serial_meta": True,
        "process_mig_devices": True,
        "use_uuid_for_mig_device": True,
        "use_slice_for_mig_device": False,
    },
    "rocm_smi": {
        "exclude_metrics": ["x"],
        "exclude_devices": ["x"],
        "add_pci_info_tag": True,
        "use_pci_info_as_type_id": True,
        "add_serial_meta": True,
    },
    "ipmistat": {"ipmitool_path": "x", "ipmisensors_path": "x", "use_sudo": True, "include_metrics": ["x"]},
    "smartmon": {
        "use_sudo": True,
        "exclude_devices": ["x"],
        "excludeMetrics": ["x"],
        "devices": [{"name": "/dev/sda", "type": "sat"}],
    },
    "lustrestat": {
        "lctl_command": "x",
        "use_sudo": True,
        "send_abs_values": True,
        "send_derived_values": True,
        "send_diff_values": True,
        "exclude_metrics": ["x"],
    },
    "gpfs": {
        "mmpmon_path": "/x",
        "use_sudo": True,
        "exclude_filesystem": ["x"],
        "exclude_metrics": ["x"],
        "send_abs_values": True,
        "send_diff_values": True,
        "send_derived_values": True,
        "send_total_values": True,
        "send_bandwidths": True,
    },
    "beegfs_meta": {"beegfs_path": "x", "exclude_metrics": ["x"], "exclude_filesystem": ["x"]},
    "beegfs_storage": {"beegfs_path": "x", "exclude_metrics": ["x"], "exclude_filesystem": ["x"]},
    "nfs3stat": {"nfsstat": "x", "exclude_metrics": ["x"]},
    "nfs4stat": {"nfsstat": "x", "exclude_metrics": ["x"]},
    "nfsiostat": {
        "exclude_metrics": ["x"],
        "exclude_filesystem": ["x"],
        "use_server_as_stype": True,
        "send_abs_values": True,
        "send_derived_values": True,
    },
    "slurm_cgroup": {"cgroup_base": "x", "exclude_metrics": ["x"], "use_sudo": True},
    "topprocs": {"num_procs": 3},
    "customcmd": {"commands": ["x"], "files": ["x"], "exclude_metrics": ["x"]},
    "self": {"read_mem_stats": True, "read_goroutines": True, "read_cgo_calls": True, "read_rusage": True},
}
"""Every option of each collector."""

METRICS = {
    "cpustat": "cpu_{user,nice,system,idle,iowait,irq,softirq,steal,guest,guest_nice,used} num_cpus",
    "memstat": """
        mem_total mem_free mem_buffers mem_cached mem_available mem_shared mem_sreclaimable mem_slab mem_active
        mem_inactive mem_dirty mem_writeback mem_anon_pages mem_mapped mem_vmalloc_total mem_anon_hugepages
        mem_shared_hugepages mem_shared_pmd_mapped mem_hugepages_total mem_hugepages_free mem_hugepages_reserved
        mem_hugepages_surplus mem_hugepages_size mem_direct_mapped_4k mem_direct_mapped_2m mem_direct_mapped_4m
        mem_direct_mapped_1g mem_locked mem_pagetables mem_kernelstack mem_used swap_total swap_free
    """,
    "loadavg": "load_{one,five,fifteen} proc_run proc_total",
    "schedstat": "cpu_load_core",
    "numastats": """
        numastats_numa_hit numastats_numa_miss numastats_numa_foreign numastats_interleave_hit numastats_local_node
        numastats_other_node numastats_numa_hit_rate numastats_numa_miss_rate numastats_numa_foreign_rate
        numastats_interleave_hit_rate numastats_local_node_rate numastats_other_node_rate
    """,
    "netstat": "net_{bytes_in,bytes_out,pkts_in,pkts_out} net_{bytes_in,bytes_out,pkts_in,pkts_out}_bw",
    "ibstat": """
        ib_recv ib_xmit ib_recv_pkts ib_xmit_pkts ib_total ib_total_pkts ib_recv_bw ib_xmit_bw ib_recv_pkts_bw
        ib_xmit_pkts_bw ib_total_bw ib_total_pkts_bw
    """,
    "iostat": """
        io_reads io_reads_merged io_read_sectors io_read_ms io_writes io_writes_merged io_writes_sectors
        io_writes_ms io_ioops io_ioops_ms io_ioops_weighted_ms io_discards io_discards_merged io_discards_sectors
        io_discards_ms io_flushes io_flushes_ms
    """,
    "diskstat": "disk_total disk_free part_max_used",
    "cpufreq": "cpufreq",
    "cpufreq_cpuinfo": "cpufreq",
    "smartmon": """
        smartmon_temp smartmon_percent_used smartmon_avail_spare smartmon_data_units_read smartmon_data_units_write
        smartmon_host_reads smartmon_host_writes smartmon_power_cycles smartmon_power_on smartmon_unsafe_shutdowns
        smartmon_media_errors smartmon_errlog_entries smartmon_warn_temp_time smartmon_crit_comp_time
    """,
    "lustrestat": """
        lustre_read_requests lustre_write_requests lustre_read_bytes lustre_write_bytes lustre_open lustre_close
        lustre_setattr lustre_getattr lustre_statfs lustre_inode_permission lustre_read_requests_diff
        lustre_write_requests_diff lustre_read_bytes_diff lustre_write_bytes_diff lustre_open_diff lustre_close_diff
        lustre_setattr_diff lustre_getattr_diff lustre_statfs_diff lustre_inode_permission_diff
        lustre_read_requests_rate lustre_write_requests_rate lustre_read_bw lustre_write_bw
    """,
    "gpfs": """
        gpfs_num_opens gpfs_num_closes gpfs_num_reads gpfs_num_writes gpfs_num_readdirs gpfs_num_inode_updates
        gpfs_bytes_read gpfs_bytes_written gpfs_num_opens_diff gpfs_num_closes_diff gpfs_num_reads_diff
        gpfs_num_writes_diff gpfs_num_readdirs_diff gpfs_num_inode_updates_diff gpfs_bytes_read_diff
        gpfs_bytes_written_diff gpfs_opens_rate gpfs_closes_rate gpfs_reads_rate gpfs_writes_rate gpfs_readdirs_rate
        gpfs_inode_updates_rate gpfs_bw_read gpfs_bw_write gpfs_bytes_total gpfs_bytes_total_diff gpfs_bw_total
        gpfs_iops gpfs_iops_diff gpfs_iops_rate gpfs_metaops gpfs_metaops_diff gpfs_metaops_rate
    """,
    "nfs3stat": """
        nfs3_total nfs3_null nfs3_getattr nfs3_setattr nfs3_lookup nfs3_access nfs3_readlink nfs3_read nfs3_write
        nfs3_create nfs3_mkdir nfs3_symlink nfs3_remove nfs3_rmdir nfs3_rename nfs3_link nfs3_readdir
        nfs3_readdirplus nfs3_fsstat nfs3_fsinfo nfs3_pathconf nfs3_commit
    """,
    "nfs4stat": """
        nfs4_total nfs4_null nfs4_read nfs4_write nfs4_commit nfs4_open nfs4_open_conf nfs4_open_noat nfs4_open_dgrd
        nfs4_close nfs4_setattr nfs4_fsinfo nfs4_renew nfs4_setclntid nfs4_confirm nfs4_lock nfs4_lockt nfs4_locku
        nfs4_access nfs4_getattr nfs4_lookup nfs4_lookup_root nfs4_remove nfs4_rename nfs4_link nfs4_symlink
        nfs4_create nfs4_pathconf nfs4_statfs nfs4_readlink nfs4_readdir nfs4_server_caps nfs4_delegreturn
        nfs4_getacl nfs4_setacl nfs4_rel_lkowner nfs4_exchange_id nfs4_create_session nfs4_destroy_session
        nfs4_sequence nfs4_get_lease_time nfs4_reclaim_comp nfs4_secinfo_no nfs4_bind_conn_to_ses
    """,
    "nfsiostat": """
        nfsio_nread nfsio_nwrite nfsio_dread nfsio_dwrite nfsio_nfsread nfsio_nfswrite nfsio_pageread
        nfsio_pagewrite nfsio_nread_bw nfsio_nwrite_bw nfsio_dread_bw nfsio_dwrite_bw nfsio_nfsread_bw
        nfsio_nfswrite_bw nfsio_pageread_bw nfsio_pagewrite_bw
    """,
    "self": "rusage_{user_time,system_time,vol_ctx_switch,invol_ctx_switch,signals,major_pgfaults,minor_pgfaults}",
    "nvidia": """
        nv_util nv_mem_util nv_fb_mem_total nv_fb_mem_used nv_bar1_mem_total nv_bar1_mem_used nv_temp nv_fan
        nv_ecc_mode nv_perf_state nv_power_usage nv_graphics_clock nv_sm_clock nv_mem_clock nv_video_clock
    """,
    "beegfs_meta": """
        beegfs_cmeta_sum beegfs_cmeta_ack beegfs_cmeta_close beegfs_cmeta_entInf beegfs_cmeta_fndOwn
        beegfs_cmeta_mkdir beegfs_cmeta_create beegfs_cmeta_rddir beegfs_cmeta_stat beegfs_cmeta_unlnk
        beegfs_cmeta_lookLI beegfs_cmeta_openLI beegfs_cmeta_hardlnk beegfs_cmeta_mirror
    """,
    "beegfs_storage": "beegfs_cstorage_{sum,ack,sChDrct,getFSize,close,fsync,ops-rd,MiB-rd/s,ops-wr,MiB-wr/s,unlnk}",
}
"""Names by collector; a set of names that differ in one part is written in braces."""


def expanded(names: str) -> set[str]:
    """The names, each written out."""
    found: set[str] = set()
    for word in names.split():
        match = re.fullmatch(r"(.*)\{(.*)\}(.*)", word)
        found |= {match[1] + part + match[3] for part in match[2].split(",")} if match else {word}
    return found


@pytest.mark.parametrize("collector", OPTIONS)
def test_every_option_of_the_reference_is_known(collector: str) -> None:
    assert load(CollectorsSettings, {collector: OPTIONS[collector]}, source="test").warnings == ()


@pytest.mark.parametrize("collector", METRICS)
def test_every_metric_of_the_reference_has_its_name(collector: str) -> None:
    choice = {key: value for key, value in OPTIONS[collector].items() if not key.startswith(("exclude", "include"))}
    settings = load(CollectorsSettings, {collector: choice}, source="test").value
    (made,) = make_collectors(settings)
    assert {metric.name for metric in made.metrics} >= expanded(METRICS[collector])


def test_shares_of_jobs_have_their_names() -> None:
    settings = load(CollectorsSettings, {"slurm_cgroup": {"send_hwthread_shares": True}}, source="test").value
    (made,) = make_collectors(settings)
    shares = {metric.name for metric in made.metrics if metric.scope == "hwthread"}
    assert shares == {"job_mem_used", "job_max_mem_used", "job_mem_limit", "job_user_cpu", "job_sys_cpu"}
