"""The layouts of `squeue --json` and `sacct --json`, each lifted to the same values.

38 (Slurm 22.05), 39 and 40 write the cores of a job below their node; 41 (24.05) and later nest them in
`nodes.allocation`; 44 and later no longer say in squeue how a node is shared.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, List, Mapping, Optional, Tuple

from cc_slurm_adapter.slurm_model import MULTI_USER, NOT_SHARED, SINGLE_USER, Placement, SlurmJob
from cc_slurm_adapter.sources.gres import gpus_of
from cc_slurm_adapter.sources.slurm_values import count, megabytes, moment, number, resources, state_of, text, whole

_MOST_THREADS = 1024
_MOST_DIGITS = 6
_ALLOCATED = "ALLOCATED"
_KEPT_CORES = 65_536
_NO_HOSTS = frozenset(("none assigned", "none", "(null)", "null", "n/a"))
_SHARED = {"none": NOT_SHARED, "user": SINGLE_USER}


class Layout38:
    """Slurm 22.05 to 23.11."""

    def queued(self, record: Mapping[str, Any]) -> Optional[SlurmJob]:
        """A job of squeue; None for what is no job."""
        job_id = number(record.get("job_id"))
        if not job_id:
            return None
        state, flags = state_of(record.get("job_state"))
        allocated, wanted = resources(record.get("tres_alloc_str")), resources(record.get("tres_req_str"))
        return SlurmJob(
            job_id=job_id,
            state=state,
            flags=flags,
            cluster=text(record.get("cluster")),
            user=text(record.get("user_name")) or str(count(record.get("user_id")) or ""),
            account=text(record.get("account")),
            partition=text(record.get("partition")),
            name=text(record.get("name")),
            nodes=_hosts(record.get("nodes")),
            node_count=count(record.get("node_count")),
            cpus=whole(allocated.get("cpu", "")) or count(record.get("cpus")),
            gpus=gpus_of(allocated),
            requested_memory_mb=megabytes(wanted.get("mem", "")),
            threads_per_core=_threads(record.get("threads_per_core")),
            array_job_id=count(record.get("array_job_id")),
            submit_time=moment(record.get("submit_time")),
            start_time=moment(record.get("start_time")),
            end_time=moment(record.get("end_time")),
            time_limit_min=number(record.get("time_limit")),
            restart_count=number(record.get("restart_cnt")),
            shared=self.shared(record),
            placements=tuple(_with_gres(self.placements(record.get("job_resources")), record.get("gres_detail"))),
        )

    def shared(self, record: Mapping[str, Any]) -> Optional[str]:
        """Whether others may use the nodes; None where the answer does not say."""
        words = [word.lower() for word in _words(record.get("shared"))]
        if any(word == "true" for word in _words(record.get("exclusive"))):
            return SINGLE_USER if "user" in words else NOT_SHARED
        return next((_SHARED[word] for word in words if word in _SHARED), MULTI_USER)

    def placements(self, allocation: Any) -> List[Placement]:
        """The cores that a job holds, by node."""
        nodes = allocation.get("allocated_nodes") if isinstance(allocation, dict) else None
        found: List[Placement] = []
        for node in nodes if isinstance(nodes, list) else []:
            if isinstance(node, dict) and text(node.get("nodename")):
                cores = tuple(sorted(_cores_by_name(node.get("sockets"))))
                found.append(Placement(text(node.get("nodename")), cores=cores))
        return found


class Layout41(Layout38):
    """Slurm 24.05 to 25.05."""

    def placements(self, allocation: Any) -> List[Placement]:
        """The cores that a job holds, by node."""
        nodes = _nested(allocation, "nodes", "allocation")
        return [
            Placement(text(node.get("name")), cores=tuple(sorted(_cores_by_index(node))))
            for node in (nodes if isinstance(nodes, list) else [])
            if isinstance(node, dict) and text(node.get("name"))
        ]

    def shared(self, record: Mapping[str, Any]) -> Optional[str]:
        """`nodes.whole` where `shared` says nothing."""
        if not _words(record.get("shared")) and _nested(record, "job_resources", "nodes", "whole") is True:
            return NOT_SHARED
        return super().shared(record)


class Layout44(Layout41):
    """Slurm 25.11 and later: what squeue leaves out stands in the text of scontrol and in sacct."""

    def shared(self, record: Mapping[str, Any]) -> Optional[str]:
        """None unless something is said: nothing can mean a single user, too."""
        return super().shared(record) if _words(record.get("shared")) else None


def layout_for(layout_number: int) -> Layout38:
    """The reader for a layout, the nearest one for a number that is not known."""
    if 0 < layout_number < 41:  # noqa: PLR2004 the layouts' own numbers
        return Layout38()
    return Layout41() if 0 < layout_number < 44 else Layout44()  # noqa: PLR2004 same


def accounted(record: Mapping[str, Any]) -> Optional[SlurmJob]:
    """A run of sacct, alike in all layouts; None for what is no job."""
    job_id = number(record.get("job_id"))
    if not job_id:
        return None
    state, flags = state_of(_nested(record, "state", "current"))
    return SlurmJob(
        job_id=job_id,
        state=state,
        flags=flags,
        cluster=text(record.get("cluster")),
        user=text(record.get("user")) or text(_nested(record, "association", "user")),
        account=text(record.get("account")),
        partition=text(record.get("partition")),
        name=text(record.get("name")),
        nodes=_hosts(record.get("nodes")),
        node_count=count(record.get("allocation_nodes")),
        cpus=_tres(record, "allocated", "cpu") or count(_nested(record, "required", "CPUs")),
        gpus=_gpus(record),
        requested_memory_mb=_tres(record, "requested", "mem"),
        array_job_id=count(_nested(record, "array", "job_id")),
        submit_time=moment(_nested(record, "time", "submission")),
        start_time=moment(_nested(record, "time", "start")),
        end_time=moment(_nested(record, "time", "end")),
        time_limit_min=number(_nested(record, "time", "limit")),
        restart_count=number(record.get("restart_cnt")),
        shared={"NODE": NOT_SHARED, "USER": SINGLE_USER, "NO": MULTI_USER}.get(text(record.get("exclusive"))),
    )


def _tres(record: Mapping[str, Any], which: str, kind: str) -> int:
    items = _nested(record, "tres", which)
    for item in items if isinstance(items, list) else []:
        if isinstance(item, dict) and item.get("type") == kind:
            return count(item.get("count"))
    return 0


def _gpus(record: Mapping[str, Any]) -> int:
    items = _nested(record, "tres", "allocated")
    named = [item for item in (items if isinstance(items, list) else []) if isinstance(item, dict)]
    return gpus_of(
        {f"{text(item.get('type'))}/{text(item.get('name'))}": str(count(item.get("count"))) for item in named}
    )


def _hosts(value: Any) -> str:
    """A host list; empty where Slurm says in words that there is none."""
    written = text(value).strip()
    return "" if written.lower() in _NO_HOSTS else written


def _threads(value: Any) -> int:
    """Threads of a core; the mark for "not set" in 16 bits is no number of threads."""
    threads = count(value)
    return threads if threads <= _MOST_THREADS else 0


def _nested(value: Any, *keys: str) -> Any:
    for key in keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _words(value: Any) -> List[str]:
    if isinstance(value, str):
        return [value] if value else []
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def _cores_by_name(sockets: Any) -> List[Tuple[int, int]]:
    cores: List[Tuple[int, int]] = []
    for socket, content in sockets.items() if isinstance(sockets, dict) else ():
        inner = content.get("cores") if isinstance(content, dict) else None
        cores += [
            _core(int(socket), int(core))
            for core in (inner if isinstance(inner, dict) else ())
            if _is_index(socket) and _is_index(core)
        ]
    return cores


@lru_cache(maxsize=_KEPT_CORES)
def _core(socket: int, core: int) -> Tuple[int, int]:
    """A core, one object for all jobs: tens of thousands of jobs have the same few hundred."""
    return socket, core


def _is_index(key: Any) -> bool:
    return isinstance(key, str) and key.isascii() and key.isdigit() and len(key) <= _MOST_DIGITS


def _cores_by_index(node: Mapping[str, Any]) -> List[Tuple[int, int]]:
    found: List[Tuple[int, int]] = []
    sockets = node.get("sockets")
    for socket in sockets if isinstance(sockets, list) else []:
        number, cores = count(_nested(socket, "index")), _nested(socket, "cores")
        # every core of the node stands here, of every job: this is most of a long list
        found += [
            _core(number, count(core.get("index")))
            for core in (cores if isinstance(cores, list) else [])
            if isinstance(core, dict) and _is_allocated(core.get("status"))
        ]
    return found


def _is_allocated(status: Any) -> bool:
    if isinstance(status, list):
        return _ALLOCATED in status or any(isinstance(word, str) and word.startswith(_ALLOCATED) for word in status)
    return isinstance(status, str) and status.startswith(_ALLOCATED)


def _with_gres(placements: List[Placement], details: Any) -> List[Placement]:
    """`gres_detail` has one text for each node in the order of allocation, or is empty."""
    written = _words(details)
    if len(written) != len(placements):
        return placements
    return [Placement(place.host, place.cpu_ids, place.cores, gres) for place, gres in zip(placements, written)]
