"""Parsers of the records of `squeue --json` and `sacct --json`, one for each data_parser version that differs.

v0.0.38 (Slurm 22.05), 39 and 40 have the cores of a job below their node; 41 (24.05) and later nest them in
`nodes.allocation`; 44 (25.11) and later no longer have in squeue how a node is shared.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, List, Mapping, Optional, Tuple

from cc_slurm_adapter.slurm_model import MULTI_USER, NOT_SHARED, SINGLE_USER, NodeAllocation, SlurmJob
from cc_slurm_adapter.sources.gres import gpu_count_of_tres
from cc_slurm_adapter.sources.slurm_values import (
    parse_count,
    parse_integer,
    parse_megabytes,
    parse_number,
    parse_state,
    parse_string,
    parse_time,
    parse_tres,
)

_MAX_THREADS_PER_CORE = 1024
_MOST_DIGITS = 6
_ALLOCATED = "ALLOCATED"
_MAX_CACHED_CORES = 65_536
_NO_HOSTS = frozenset(("none assigned", "none", "(null)", "null", "n/a"))
_SHARED = {"none": NOT_SHARED, "user": SINGLE_USER}


class JobParserV38:
    """data_parser v0.0.38 to v0.0.40: Slurm 22.05 to 23.11."""

    def parse_queue_job(self, record: Mapping[str, Any]) -> Optional[SlurmJob]:
        """The job of a record of squeue; None if it is not a job."""
        job_id = parse_number(record.get("job_id"))
        if not job_id:
            return None
        state, flags = parse_state(record.get("job_state"))
        allocated, wanted = parse_tres(record.get("tres_alloc_str")), parse_tres(record.get("tres_req_str"))
        return SlurmJob(
            job_id=job_id,
            state=state,
            flags=flags,
            cluster=parse_string(record.get("cluster")),
            user=parse_string(record.get("user_name")) or str(parse_count(record.get("user_id")) or ""),
            account=parse_string(record.get("account")),
            partition=parse_string(record.get("partition")),
            name=parse_string(record.get("name")),
            nodes=_host_list(record.get("nodes")),
            node_count=parse_count(record.get("node_count")),
            cpus=parse_integer(allocated.get("cpu", "")) or parse_count(record.get("cpus")),
            gpus=gpu_count_of_tres(allocated),
            requested_memory_mb=parse_megabytes(wanted.get("mem", "")),
            threads_per_core=_threads_per_core(record.get("threads_per_core")),
            array_job_id=parse_count(record.get("array_job_id")),
            submit_time=parse_time(record.get("submit_time")),
            start_time=parse_time(record.get("start_time")),
            end_time=parse_time(record.get("end_time")),
            time_limit_min=parse_number(record.get("time_limit")),
            restart_count=parse_number(record.get("restart_cnt")),
            shared=self.parse_shared(record),
            allocations=tuple(
                _with_gres(self.parse_allocations(record.get("job_resources")), record.get("gres_detail"))
            ),
        )

    def parse_shared(self, record: Mapping[str, Any]) -> Optional[str]:
        """How the nodes are shared; None if the record does not have it."""
        words = [word.lower() for word in _strings(record.get("shared"))]
        if any(word == "true" for word in _strings(record.get("exclusive"))):
            return SINGLE_USER if "user" in words else NOT_SHARED
        return next((_SHARED[word] for word in words if word in _SHARED), MULTI_USER)

    def parse_allocations(self, allocation: Any) -> List[NodeAllocation]:
        """The cores of a job by node."""
        nodes = allocation.get("allocated_nodes") if isinstance(allocation, dict) else None
        found: List[NodeAllocation] = []
        for node in nodes if isinstance(nodes, list) else []:
            if isinstance(node, dict) and parse_string(node.get("nodename")):
                cores = tuple(sorted(_cores_by_name(node.get("sockets"))))
                found.append(NodeAllocation(parse_string(node.get("nodename")), cores=cores))
        return found


class JobParserV41(JobParserV38):
    """data_parser v0.0.41 to v0.0.43: Slurm 24.05 to 25.05."""

    def parse_allocations(self, allocation: Any) -> List[NodeAllocation]:
        """The cores of a job by node."""
        nodes = _get_nested(allocation, "nodes", "allocation")
        return [
            NodeAllocation(parse_string(node.get("name")), cores=tuple(sorted(_cores_by_index(node))))
            for node in (nodes if isinstance(nodes, list) else [])
            if isinstance(node, dict) and parse_string(node.get("name"))
        ]

    def parse_shared(self, record: Mapping[str, Any]) -> Optional[str]:
        """How the nodes are shared; from `nodes.whole` if `shared` is empty."""
        if not _strings(record.get("shared")) and _get_nested(record, "job_resources", "nodes", "whole") is True:
            return NOT_SHARED
        return super().parse_shared(record)


class JobParserV44(JobParserV41):
    """data_parser v0.0.44 and later: Slurm 25.11 and later; what squeue leaves out is in scontrol and sacct."""

    def parse_shared(self, record: Mapping[str, Any]) -> Optional[str]:
        """How the nodes are shared; None if `shared` is empty, which may mean a single user too."""
        return super().parse_shared(record) if _strings(record.get("shared")) else None


def parser_for_version(layout_number: int) -> JobParserV38:
    """The parser for a data_parser version; the nearest one for an unknown version."""
    if 0 < layout_number < 41:  # noqa: PLR2004 the layouts' own numbers
        return JobParserV38()
    return JobParserV41() if 0 < layout_number < 44 else JobParserV44()  # noqa: PLR2004 same


def parse_accounting_run(record: Mapping[str, Any]) -> Optional[SlurmJob]:
    """The run of a record of sacct, which is the same in all versions; None if it is not a job."""
    job_id = parse_number(record.get("job_id"))
    if not job_id:
        return None
    state, flags = parse_state(_get_nested(record, "state", "current"))
    return SlurmJob(
        job_id=job_id,
        state=state,
        flags=flags,
        cluster=parse_string(record.get("cluster")),
        user=parse_string(record.get("user")) or parse_string(_get_nested(record, "association", "user")),
        account=parse_string(record.get("account")),
        partition=parse_string(record.get("partition")),
        name=parse_string(record.get("name")),
        nodes=_host_list(record.get("nodes")),
        node_count=parse_count(record.get("allocation_nodes")),
        cpus=_tres(record, "allocated", "cpu") or parse_count(_get_nested(record, "required", "CPUs")),
        gpus=_gpus(record),
        requested_memory_mb=_tres(record, "requested", "mem"),
        array_job_id=parse_count(_get_nested(record, "array", "job_id")),
        submit_time=parse_time(_get_nested(record, "time", "submission")),
        start_time=parse_time(_get_nested(record, "time", "start")),
        end_time=parse_time(_get_nested(record, "time", "end")),
        time_limit_min=parse_number(_get_nested(record, "time", "limit")),
        restart_count=parse_number(record.get("restart_cnt")),
        shared={"NODE": NOT_SHARED, "USER": SINGLE_USER, "NO": MULTI_USER}.get(parse_string(record.get("exclusive"))),
    )


def _tres(record: Mapping[str, Any], which: str, kind: str) -> int:
    items = _get_nested(record, "tres", which)
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict) and item.get("type") == kind:
            return parse_count(item.get("count"))
    return 0


def _gpus(record: Mapping[str, Any]) -> int:
    items = _get_nested(record, "tres", "allocated")
    named = [item for item in (items if isinstance(items, list) else []) if isinstance(item, dict)]
    return gpu_count_of_tres(
        {
            f"{parse_string(item.get('type'))}/{parse_string(item.get('name'))}": str(parse_count(item.get("count")))
            for item in named
        }
    )


def _host_list(value: Any) -> str:
    """The host list; empty for Slurm's words for none."""
    text = parse_string(value).strip()
    return "" if text.lower() in _NO_HOSTS else text


def _threads_per_core(value: Any) -> int:
    """Threads per core, 0 if it is over 1024: Slurm's 16-bit mark for "not set" is a valid number elsewhere."""
    threads = parse_count(value)
    return threads if threads <= _MAX_THREADS_PER_CORE else 0


def _get_nested(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _strings(value: Any) -> List[str]:
    if isinstance(value, str):
        return [value] if value else []
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _cores_by_name(sockets: Any) -> List[Tuple[int, int]]:
    cores: List[Tuple[int, int]] = []
    for socket, content in sockets.items() if isinstance(sockets, dict) else ():
        inner = content.get("cores") if isinstance(content, dict) else None
        cores += [
            _shared_core(int(socket), int(core))
            for core in (inner if isinstance(inner, dict) else ())
            if _is_index(socket) and _is_index(core)
        ]
    return cores


@lru_cache(maxsize=_MAX_CACHED_CORES)
def _shared_core(socket: int, core: int) -> Tuple[int, int]:
    """A core as one shared object: tens of thousands of jobs have the same few hundred cores."""
    return socket, core


def _is_index(key: Any) -> bool:
    return isinstance(key, str) and key.isascii() and key.isdigit() and len(key) <= _MOST_DIGITS


def _cores_by_index(node: Mapping[str, Any]) -> List[Tuple[int, int]]:
    found: List[Tuple[int, int]] = []
    sockets = node.get("sockets")
    for socket in sockets if isinstance(sockets, list) else []:
        number, cores = parse_count(_get_nested(socket, "index")), _get_nested(socket, "cores")
        # All cores of the node are listed for every job: this is most of a long list.
        found += [
            _shared_core(number, parse_count(core.get("index")))
            for core in (cores if isinstance(cores, list) else [])
            if isinstance(core, dict) and _is_allocated(core.get("status"))
        ]
    return found


def _is_allocated(status: Any) -> bool:
    if isinstance(status, list):
        return _ALLOCATED in status or any(isinstance(word, str) and word.startswith(_ALLOCATED) for word in status)
    return isinstance(status, str) and status.startswith(_ALLOCATED)


def _with_gres(allocations: List[NodeAllocation], details: Any) -> List[NodeAllocation]:
    """The allocations with `gres_detail`, which has one string per node in the order of allocation, or is empty."""
    text = _strings(details)
    if len(text) != len(allocations):
        return allocations
    return [NodeAllocation(node.host, node.cpu_ids, node.cores, gres) for node, gres in zip(allocations, text)]
