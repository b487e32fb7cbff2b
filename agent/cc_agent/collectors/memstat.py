"""Use of memory, from /proc/meminfo and, for each NUMA domain, /sys/devices/system/node/nodeN/meminfo."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Tuple

from cc_agent.collectors.base import (
    KernelFile,
    MetricDescription,
    MetricFilter,
    Reading,
    SeriesPool,
    Tick,
    read_required,
    select_metrics,
)
from cc_agent.errors import NotAvailableError
from cc_agent.topology import NODE_FOLDER, memory_domains
from cc_common.settings import option

_KERNEL_KEYS = {
    "mem_total": ("MemTotal", "Memory that the kernel manages."),
    "mem_free": ("MemFree", "Memory that nothing uses."),
    "mem_buffers": ("Buffers", "Cache of raw disk blocks."),
    "mem_cached": ("Cached", "Cache of files, shared memory included."),
    "mem_available": ("MemAvailable", "Memory that programs can get without swapping, as the kernel estimates it."),
    "mem_shared": ("Shmem", "Shared memory and tmpfs."),
    "mem_sreclaimable": ("SReclaimable", "Kernel objects that can be given back."),
    "mem_slab": ("Slab", "Kernel objects."),
    "mem_active": ("Active", "Memory used recently."),
    "mem_inactive": ("Inactive", "Memory not used recently."),
    "mem_dirty": ("Dirty", "File data waiting to be written."),
    "mem_writeback": ("Writeback", "File data being written."),
    "mem_anon_pages": ("AnonPages", "Memory of programs without a file behind it."),
    "mem_mapped": ("Mapped", "Files mapped into programs."),
    "mem_vmalloc_total": ("VmallocTotal", "Size of the kernel's vmalloc area."),
    "mem_anon_hugepages": ("AnonHugePages", "Transparent huge pages of programs."),
    "mem_shared_hugepages": ("ShmemHugePages", "Transparent huge pages of shared memory."),
    "mem_shared_pmd_mapped": ("ShmemPmdMapped", "Shared memory mapped with huge pages."),
    "mem_hugepages_total": ("HugePages_Total", "Huge pages in the pool."),
    "mem_hugepages_free": ("HugePages_Free", "Huge pages that nothing uses."),
    "mem_hugepages_reserved": ("HugePages_Rsvd", "Huge pages promised and not used yet."),
    "mem_hugepages_surplus": ("HugePages_Surp", "Huge pages beyond the size of the pool."),
    "mem_hugepages_size": ("Hugepagesize", "Size of one huge page."),
    "mem_direct_mapped_4k": ("DirectMap4k", "Memory mapped by the kernel with pages of 4 KiB."),
    "mem_direct_mapped_2m": ("DirectMap2M", "Memory mapped by the kernel with pages of 2 MiB."),
    "mem_direct_mapped_4m": ("DirectMap4M", "Memory mapped by the kernel with pages of 4 MiB."),
    "mem_direct_mapped_1g": ("DirectMap1G", "Memory mapped by the kernel with pages of 1 GiB."),
    "mem_locked": ("Mlocked", "Memory locked against swapping."),
    "mem_pagetables": ("PageTables", "Page tables."),
    "mem_kernelstack": ("KernelStack", "Kernel stacks of all tasks."),
    "swap_total": ("SwapTotal", "Swap space."),
    "swap_free": ("SwapFree", "Swap space that nothing uses."),
}
_PAGE_COUNTS = ("mem_hugepages_total", "mem_hugepages_free", "mem_hugepages_reserved", "mem_hugepages_surplus")
_NODE_ONLY = frozenset(
    name
    for name in _KERNEL_KEYS
    if name.startswith(("swap_", "mem_direct_mapped", "mem_vmalloc"))
    or name in ("mem_buffers", "mem_cached", "mem_available", "mem_hugepages_reserved", "mem_hugepages_size")
)
"""Metrics that the files of the NUMA domains lack."""


@dataclass(frozen=True)
class MemstatOptions(MetricFilter):
    """Options of the collector memstat."""

    node_stats: bool = option(True, "send values for the node", key="node_stats")
    numa_stats: bool = option(False, "send values for each NUMA domain (type memoryDomain)", key="numa_stats")
    mem_used: str = option(
        "available",
        "how mem_used is computed: available = MemTotal - MemAvailable; "
        "reference = MemTotal - MemFree - Buffers - Cached - Shmem, for series that began with cc-metric-collector",
        key="mem_used",
        choices=("available", "reference"),
    )
    decimal_kilobytes: bool = option(
        False,
        "label the kernel's KiB as kB, for series that began with cc-metric-collector (2.4 % too small)",
        key="decimal_kilobytes",
    )


def _describe(options: MemstatOptions) -> Tuple[MetricDescription, ...]:
    size_unit = "kB" if options.decimal_kilobytes else "KiB"
    described: List[MetricDescription] = []
    for scope, on in (("node", options.node_stats), ("memoryDomain", options.numa_stats)):
        if not on:
            continue
        for name, (key, meaning) in _KERNEL_KEYS.items():
            if scope == "node" or name not in _NODE_ONLY:
                unit = "pages" if name in _PAGE_COUNTS else size_unit
                described.append(MetricDescription(name, unit, scope, f"{meaning} ({key})", "gauge"))
        described.append(MetricDescription("mem_used", size_unit, scope, "Memory that programs hold.", "gauge"))
        if scope == "node":
            described.append(MetricDescription("swap_used", size_unit, scope, "Swap space in use.", "gauge"))
    return select_metrics(described, options)


class MemstatCollector:
    """Sizes in KiB as the kernel gives them, huge pages as counts."""

    name = "memstat"

    def __init__(self, options: MemstatOptions, root: Path = Path("/")) -> None:
        self.metrics = _describe(options)
        self._options = options
        self._file = KernelFile(root / "proc/meminfo")
        self._root = root
        self._domains: List[Tuple[str, KernelFile]] = []
        self._table = SeriesPool(self.metrics, source="MemstatCollector", group="Memory")

    def open(self) -> None:
        """Open the files. Raises NotAvailableError if one that the options need is missing."""
        parse_meminfo(read_required(self._file, "mount /proc"))
        if self._options.numa_stats:
            self._domains = _domain_files(self._root)

    def read(self, _tick: Tick) -> List[Reading]:
        """The current sizes; those that the kernel does not report are left out."""
        readings: List[Reading] = []
        if self._options.node_stats:
            sizes = parse_meminfo(self._file.read())
            self._append_readings("node", "", sizes, self._used(sizes), readings)
        for number, file in self._domains:
            sizes = parse_meminfo(file.read())
            self._append_readings("memoryDomain", number, sizes, domain_memory_used(sizes), readings)
        return readings

    def _used(self, sizes: Mapping[str, int]) -> Optional[int]:
        if self._options.mem_used == "reference":
            return reference_memory_used(sizes)
        return node_memory_used(sizes)

    def _append_readings(
        self, scope: str, number: str, sizes: Mapping[str, int], used: Optional[int], readings: List[Reading]
    ) -> None:
        for description in self.metrics:
            if description.scope != scope:
                continue
            value: Optional[int]
            if description.name == "mem_used":
                value = used
            elif description.name == "swap_used":
                value = _difference(sizes, "SwapTotal", "SwapFree")
            else:
                value = sizes.get(_KERNEL_KEYS[description.name][0])
            if value is not None:
                readings.append((self._table.get(description.name, scope, number), value))

    def close(self) -> None:
        """Release the files."""
        self._file.close()
        for _, file in self._domains:
            file.close()
        self._domains = []


def _domain_files(root: Path) -> List[Tuple[str, KernelFile]]:
    domains = memory_domains(root)
    if not domains:
        raise NotAvailableError(f"no NUMA domain below {root / NODE_FOLDER}", 'set "numa_stats": false')
    return [
        (str(index), KernelFile(root / NODE_FOLDER / f"node{domain.number}" / "meminfo"))
        for index, domain in enumerate(domains)
    ]


def parse_meminfo(content: bytes) -> Dict[str, int]:
    """Numbers by name, from lines such as `MemTotal: 16 kB`, `HugePages_Total: 4` and `Node 0 MemFree: 8 kB`.

    Lines of another form are skipped; ValueError if no line could be read.
    """
    values: Dict[str, int] = {}
    for line in content.split(b"\n"):
        name, colon, rest = line.partition(b":")
        words = rest.split(None, 1)
        if colon and words and words[0].isdigit():
            values[name.rsplit(b" ", 1)[-1].decode(errors="replace")] = int(words[0])
    if not values:
        raise ValueError(f"meminfo has an unknown form: {content[:80]!r}")
    return values


def node_memory_used(sizes: Mapping[str, int]) -> Optional[int]:
    """Memory of programs that cannot be reclaimed without swapping, in KiB; None if unknown.

    Kernels before 3.14 have no MemAvailable: there it is all that is neither free nor cache, plus shared memory.
    """
    if "MemAvailable" in sizes:
        return _difference(sizes, "MemTotal", "MemAvailable")
    used = _difference(sizes, "MemTotal", "MemFree", "Buffers", "Cached")
    return None if used is None else used + sizes.get("Shmem", 0)


def reference_memory_used(sizes: Mapping[str, int]) -> Optional[int]:
    """Used memory by the formula of cc-metric-collector, which subtracts shared memory twice."""
    return _difference(sizes, "MemTotal", "MemFree", "Buffers", "Cached", "Shmem")


def domain_memory_used(sizes: Mapping[str, int]) -> Optional[int]:
    """Used memory of a NUMA domain without its file cache; its file has neither Buffers nor MemAvailable."""
    used = sizes.get("MemUsed", _difference(sizes, "MemTotal", "MemFree"))
    if used is None:
        return None
    cache = sizes.get("FilePages", 0) - sizes.get("Shmem", 0) + sizes.get("SReclaimable", 0)
    return max(used - max(cache, 0), 0)


def _difference(sizes: Mapping[str, int], total: str, *parts: str) -> Optional[int]:
    if total not in sizes or any(part not in sizes for part in parts):
        return None
    return max(sizes[total] - sum(sizes[part] for part in parts), 0)
