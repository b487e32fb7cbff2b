"""GPUs of AMD and the GPU memory of each job, from /sys: the driver amdgpu needs no library for it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Optional, Tuple

from cc_agent.accelerators import amd_devices
from cc_agent.collectors.base import (
    KernelFile,
    MetricDescription,
    MetricFilter,
    RateClock,
    RawSeries,
    Reading,
    Tick,
    select_metrics,
)
from cc_agent.errors import NotPresentError
from cc_agent.job_cgroups import job_id_of_process
from cc_common.settings import option

_MAX_PROCESSES = 4096

_METRICS = (
    ("rocm_gfx_util", "%", "Time in which the graphics and compute engine worked."),
    ("rocm_umc_util", "%", "Time in which the memory controller worked."),
    ("rocm_mm_util", "%", "Time in which the video engines worked."),
    ("rocm_mem_total", "B", "Memory of the GPU."),
    ("rocm_mem_used", "B", "Memory of the GPU in use."),
    ("rocm_avg_power", "W", "Mean power over the interval, from energy; what the driver says where that is unknown."),
    ("rocm_temp_mem", "degC", "Temperature of the memory."),
    ("rocm_temp_hotspot", "degC", "Maximum temperature of the chip."),
    ("rocm_temp_edge", "degC", "Temperature at the edge of the chip."),
    ("rocm_temp_vrgfx", "degC", "Temperature of the voltage regulator of the engine."),
    ("rocm_temp_vrsoc", "degC", "Temperature of the voltage regulator of the rest of the chip."),
    ("rocm_temp_vrmem", "degC", "Temperature of the voltage regulator of the memory."),
    ("rocm_temp_hbm", "degC", "Temperature of each stack of memory."),
    ("rocm_gfx_clock", "MHz", "Clock of the graphics and compute engine."),
    ("rocm_soc_clock", "MHz", "Clock of the rest of the chip."),
    ("rocm_u_clock", "MHz", "Clock of the memory."),
    ("rocm_v0_clock", "MHz", "Clock of the first video engine."),
    ("rocm_v1_clock", "MHz", "Clock of the second video engine."),
    ("rocm_d0_clock", "MHz", "Clock of the first video decoder."),
    ("rocm_d1_clock", "MHz", "Clock of the second video decoder."),
)
JOB_MEMORY = "job_acc_mem_used"

_FILES = (
    ("rocm_gfx_util", "gpu_busy_percent"),
    ("rocm_umc_util", "mem_busy_percent"),
    ("rocm_mm_util", "vcn_busy_percent"),
    ("rocm_mem_total", "mem_info_vram_total"),
    ("rocm_mem_used", "mem_info_vram_used"),
)
_SENSORS = {
    ("temp", "edge"): ("rocm_temp_edge", 1e-3),
    ("temp", "junction"): ("rocm_temp_hotspot", 1e-3),
    ("temp", "mem"): ("rocm_temp_mem", 1e-3),
    ("freq", "sclk"): ("rocm_gfx_clock", 1e-6),
    ("freq", "mclk"): ("rocm_u_clock", 1e-6),
}
"""Kind and label of a sensor of hwmon: its metric, and the factor to its unit."""

_TABLE_REVISIONS = ((1, 1), (1, 2), (1, 3))
_TABLE = struct.Struct("<HBB10HQQ7H")
"""The begin of gpu_metrics_v1_1 to v1_3 (Linux, kgd_pp_interface.h): those of GPUs before MI300."""
_TABLE_METRICS = (
    "rocm_temp_edge",
    "rocm_temp_hotspot",
    "rocm_temp_mem",
    "rocm_temp_vrgfx",
    "rocm_temp_vrsoc",
    "rocm_temp_vrmem",
    "rocm_gfx_util",
    "rocm_umc_util",
    "rocm_mm_util",
    "rocm_avg_power",
)
_TABLE_CLOCKS = (
    "rocm_gfx_clock",
    "rocm_soc_clock",
    "rocm_u_clock",
    "rocm_v0_clock",
    "rocm_d0_clock",
    "rocm_v1_clock",
    "rocm_d1_clock",
)
_HBM = struct.Struct("<4H")
_HBM_OFFSET = 88
_NOT_MEASURED = 0xFFFF


@dataclass(frozen=True)
class RocmSmiOptions(MetricFilter):
    """Options of the collector rocm_smi."""

    exclude_devices: Tuple[str, ...] = option(
        (), "leave these GPUs alone: index, or PCI address such as 00000000:C1:00.0", key="exclude_devices"
    )
    use_pci_info_as_type_id: bool = option(
        True, "identify GPUs by PCI address instead of index", key="use_pci_info_as_type_id"
    )
    add_pci_info_tag: bool = option(False, "PCI address as meta information pci_identifier", key="add_pci_info_tag")
    add_serial_meta: bool = option(False, "serial number as meta information serial", key="add_serial_meta")


def _describe() -> List[MetricDescription]:
    described = [MetricDescription(name, unit, "accelerator", meaning, "gauge") for name, unit, meaning in _METRICS]
    return [*described, MetricDescription(JOB_MEMORY, "B", "job", "GPU memory of the job's processes.", "gauge")]


class _Card:
    """The files of one GPU; those that are missing or fail give no value."""

    def __init__(self, device: Path, index: int, pci_id: str) -> None:
        self.device = device
        self.index = index
        self.pci_id = pci_id
        self.serial = _text(device / "unique_id")
        self.series: Dict[Tuple[str, str], RawSeries] = {}
        self.energy_before: Optional[int] = None
        self._files = [(name, KernelFile(device / file), 1.0) for name, file in _FILES]
        self._table = KernelFile(device / "gpu_metrics")
        self._powers: List[KernelFile] = []
        self._energy: Optional[KernelFile] = None
        for folder in sorted((device / "hwmon").glob("hwmon*")):
            self._powers += [KernelFile(folder / "power1_average"), KernelFile(folder / "power1_input")]
            self._energy = KernelFile(folder / "energy1_input")
            for label in sorted([*folder.glob("temp*_label"), *folder.glob("freq*_label")]):
                found = _SENSORS.get((label.name[:4], _text(label)))
                if found is not None:
                    value = folder / label.name.replace("_label", "_input")
                    self._files.append((found[0], KernelFile(value), found[1]))

    def read(self, elapsed_s: Optional[float]) -> Dict[str, float]:
        """The values by metric; of a stack of memory by `rocm_temp_hbm <number>`."""
        values = parse_gpu_metrics(_content(self._table))
        for name, file, factor in self._files:
            number = _number(file)
            if number is not None and not (name.endswith("_util") and number > 100):  # noqa: PLR2004 percent
                values[name] = number * factor
        power_uw = next((found for found in map(_number, self._powers) if found is not None), None)
        if power_uw is not None:
            values["rocm_avg_power"] = power_uw * 1e-6
        energy_uj = None if self._energy is None else _number(self._energy)
        if elapsed_s is not None and energy_uj is not None and self.energy_before is not None:
            step = energy_uj - self.energy_before
            if step >= 0:
                values["rocm_avg_power"] = step * 1e-6 / elapsed_s
        self.energy_before = energy_uj
        return values

    def close(self) -> None:
        """Close all files."""
        others = [self._table, *self._powers, *([] if self._energy is None else [self._energy])]
        for file in [*others, *(file for _, file, _ in self._files)]:
            file.close()


class RocmSmiCollector:
    """Metrics of all GPUs of the driver amdgpu; one that is added or taken away is noticed at the next tick."""

    name = "rocm_smi"

    def __init__(self, options: RocmSmiOptions, root: Path = Path("/")) -> None:
        self.metrics = select_metrics(_describe(), options)
        self._options = options
        self._root = root
        self._declared = {metric.name: metric for metric in self.metrics}
        self._cards: Dict[Path, _Card] = {}
        self._job_series: Dict[str, RawSeries] = {}
        self._clock = RateClock()

    def open(self) -> None:
        """Look for GPUs. Raises NotPresentError if there are none."""
        self._clock.reset()
        self._cards = {}
        self._find_cards()
        if not self._cards:
            raise NotPresentError(
                "/sys/class/drm cannot be read, or has no GPU of AMD", "on a node with such GPUs load the driver amdgpu"
            )

    def _find_cards(self) -> None:
        found: Dict[Path, _Card] = {}
        for index, (device, pci_id) in enumerate(amd_devices(self._root)):
            excluded = {str(index), pci_id, pci_id.lower()}.intersection(self._options.exclude_devices)
            if not excluded:
                known = self._cards.get(device)
                found[device] = known if known and known.pci_id == pci_id else _Card(device, index, pci_id)
        for device, card in self._cards.items():
            if found.get(device) is not card:
                card.close()
        self._cards = found

    def read(self, tick: Tick) -> List[Reading]:
        """The values of all GPUs, and the GPU memory of each job."""
        elapsed_s = self._clock.elapsed_s(tick)
        self._find_cards()
        readings: List[Reading] = []
        for card in self._cards.values():
            for key, value in card.read(elapsed_s).items():
                name, _, stack = key.partition(" ")
                if name in self._declared:
                    readings.append((self._card_series(card, name, stack), value))
        if JOB_MEMORY in self._declared:
            used = self._job_memory()
            self._job_series = {job: series for job, series in self._job_series.items() if job in used}
            for job, size in used.items():
                if job not in self._job_series:
                    self._job_series[job] = self._make_series(JOB_MEMORY, {"type": "job", "type-id": job}, {})
                readings.append((self._job_series[job], size))
        return readings

    def _job_memory(self) -> Dict[str, float]:
        """Bytes of GPU memory by job, from what the compute driver tells of each process."""
        used: Dict[str, float] = {}
        try:
            processes = [entry for entry in (self._root / "sys/class/kfd/kfd/proc").iterdir() if entry.name.isdigit()]
        except OSError:
            return used
        for process in processes[:_MAX_PROCESSES]:
            sizes = [_text(file) for file in process.glob("vram_*")]
            size = sum(int(text) for text in sizes if text.isdigit())
            job = job_id_of_process(int(process.name), self._root) if size else ""
            if job:
                used[job] = used.get(job, 0.0) + size
        return used

    def _card_series(self, card: _Card, name: str, stack: str) -> RawSeries:
        series = card.series.get((name, stack))
        if series is None:
            by_address = self._options.use_pci_info_as_type_id
            tags = {"type": "accelerator", "type-id": card.pci_id if by_address else str(card.index)}
            if stack:
                tags["stype"], tags["stype-id"] = "device", stack
            meta = {"pci_identifier": card.pci_id} if self._options.add_pci_info_tag else {}
            if self._options.add_serial_meta and card.serial:
                meta["serial"] = card.serial
            series = card.series[name, stack] = self._make_series(name, tags, meta)
        return series

    def _make_series(self, name: str, tags: Dict[str, str], more: Dict[str, str]) -> RawSeries:
        described = self._declared[name]
        meta = {"source": "RocmSmiCollector", "group": "AMD", "unit": described.unit, "kind": described.kind}
        return RawSeries(name, tags, {**meta, **more})

    def close(self) -> None:
        """Close the files of all GPUs."""
        for card in self._cards.values():
            card.close()
        self._cards = {}
        self._job_series = {}


def parse_gpu_metrics(content: bytes) -> Dict[str, float]:
    """Values of the driver's table by metric; empty for a revision that is not known. All ones is not measured."""
    if len(content) < _TABLE.size:
        return {}
    size, form, revision, *numbers = _TABLE.unpack_from(content)
    if (form, revision) not in _TABLE_REVISIONS or size > len(content):
        return {}
    first, clocks = numbers[: len(_TABLE_METRICS)], numbers[len(_TABLE_METRICS) + 2 :]
    named = [*zip(_TABLE_METRICS, first), *zip(_TABLE_CLOCKS, clocks)]
    if size >= _HBM_OFFSET + _HBM.size:
        stacks = _HBM.unpack_from(content, _HBM_OFFSET)
        named += [(f"rocm_temp_hbm {number}", value) for number, value in enumerate(stacks)]
    return {
        name: float(value)
        for name, value in named
        if value != _NOT_MEASURED and not (name.endswith("_util") and value > 100)  # noqa: PLR2004 percent
    }


def _content(file: KernelFile) -> bytes:
    try:
        return file.read()
    except OSError:
        return b""


def _number(file: KernelFile) -> Optional[int]:
    text = _content(file).strip()
    return int(text) if text.isdigit() and len(text) <= 20 else None  # noqa: PLR2004 digits of 64 bits


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
