"""GPUs of NVIDIA and their MIG instances, and the GPU memory of each job, through NVML."""

from __future__ import annotations

import importlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, List, Optional, Set, Tuple

from cc_agent.collectors.background import BackgroundReader
from cc_agent.collectors.base import (
    MetricDescription,
    MetricFilter,
    RateClock,
    RawSeries,
    Reading,
    Tick,
    select_metrics,
)
from cc_agent.errors import NotAvailableError, NotPresentError
from cc_agent.nvml_session import LINK_ERRORS, DeviceReading, NvmlReading, NvmlSession, Values
from cc_common.settings import option

logger = logging.getLogger(__name__)

MAX_WAIT_S = 2.0
MAX_WAIT_SHARE = 0.1
"""A tick waits for the driver a tenth of the interval, 2 s at most; a later answer is dropped."""

_SIGNS_OF_NVIDIA = ("dev/nvidiactl", "proc/driver/nvidia", "dev/dxg")

_GAUGES = (
    ("nv_util", "%", "Time in which some kernel ran on the GPU; of a MIG instance its graphics engine."),
    ("nv_mem_util", "%", "Time in which the memory of the GPU was read or written."),
    ("nv_fb_mem_total", "MiB", "Memory of the GPU."),
    ("nv_fb_mem_used", "MiB", "Memory in use, with what the driver reserves."),
    ("nv_bar1_mem_total", "MiB", "Memory that can be mapped for others."),
    ("nv_bar1_mem_used", "MiB", "Memory that is mapped for others."),
    ("nv_temp", "degC", "Temperature of the chip."),
    ("nv_fan", "%", "Intended speed of the fan."),
    ("nv_ecc_mode", "state", "Whether ECC is on after the next reset: 0 or 1."),
    ("nv_perf_state", "state", "Performance state, 0 (fastest) to 15; 32 if unknown."),
    ("nv_power_usage", "W", "Power at the reading, or its mean of 1 s, by the kind of GPU."),
    ("nv_power_instant", "W", "Power at the reading."),
    ("nv_graphics_clock", "MHz", "Clock of graphics."),
    ("nv_sm_clock", "MHz", "Clock of the multiprocessors."),
    ("nv_mem_clock", "MHz", "Clock of the memory."),
    ("nv_video_clock", "MHz", "Clock of the video engines."),
    ("nv_max_graphics_clock", "MHz", "Maximum clock of graphics."),
    ("nv_max_sm_clock", "MHz", "Maximum clock of the multiprocessors."),
    ("nv_max_mem_clock", "MHz", "Maximum clock of the memory."),
    ("nv_max_video_clock", "MHz", "Maximum clock of the video engines."),
    ("nv_power_max_limit", "W", "Power limit that is set."),
    ("nv_encoder_util", "%", "Use of the encoders."),
    ("nv_decoder_util", "%", "Use of the decoders."),
    ("nv_remapped_rows_pending", "state", "Whether rows wait to be remapped at the next reset."),
    ("nv_remapped_rows_failure", "state", "Whether remapping of a row failed."),
    ("nv_throttle_reasons", "bits", "Why clocks are lowered, as bits of nvmlClocksThrottleReasons."),
    ("nv_compute_processes", "processes", "Processes that compute on the GPU."),
    ("nv_graphics_processes", "processes", "Processes that draw on the GPU."),
    ("nv_sm_activity", "%", "Time in which multiprocessors had work, over all of them (GPM, Hopper and later)."),
    ("nv_sm_occupancy", "%", "Warps that were resident, of the maximum (GPM)."),
    ("nv_tensor_activity", "%", "Time in which the tensor cores worked (GPM)."),
    ("nv_dram_activity", "%", "Bandwidth of the memory in use (GPM)."),
    ("nv_fp64_activity", "%", "Time in which the FP64 units worked (GPM)."),
    ("nv_fp32_activity", "%", "Time in which the FP32 units worked (GPM)."),
    ("nv_fp16_activity", "%", "Time in which the FP16 units worked (GPM)."),
)
_COUNTERS = (
    ("nv_energy_abs", "J", "Energy since the driver was loaded."),
    ("nv_ecc_uncorrected_error", "errors", "Errors of memory that ECC could not correct."),
    ("nv_ecc_corrected_error", "errors", "Errors of memory that ECC corrected."),
    ("nv_remapped_rows_corrected", "rows", "Rows remapped after errors that were corrected."),
    ("nv_remapped_rows_uncorrected", "rows", "Rows remapped after errors that were not corrected."),
    ("nv_violation_power", "s", "Time with clocks lowered for power."),
    ("nv_violation_thermal", "s", "Time with clocks lowered for temperature."),
    ("nv_violation_sync_boost", "s", "Time with clocks lowered to those of other GPUs."),
    ("nv_violation_board_limit", "s", "Time with clocks lowered for the board."),
    ("nv_violation_low_util", "s", "Time with clocks lowered for low use."),
    ("nv_violation_reliability", "s", "Time with clocks lowered for reliability."),
    ("nv_violation_below_app_clock", "s", "Time below the clock that applications asked for."),
    ("nv_violation_below_base_clock", "s", "Time below the base clock."),
    ("nv_pcie_replays", "packets", "Packets that PCIe sent again."),
)
_LINK_COUNTERS = tuple(
    (name, "errors", f"{name.split('_', 2)[2].replace('_', ' ')} of an NVLink".capitalize() + ".")
    for name, _ in LINK_ERRORS
)
_RATES = (
    (
        "nv_average_power",
        "W",
        "Mean power over the interval, from energy; the power at the reading if that is unknown.",
    ),
    ("nv_energy", "J", "Energy of the interval."),
    ("nv_pcie_tx_bw", "B/s", "Bytes sent over PCIe."),
    ("nv_pcie_rx_bw", "B/s", "Bytes received over PCIe."),
    ("nv_nvlink_tx_bw", "B/s", "Bytes sent over all NVLinks."),
    ("nv_nvlink_rx_bw", "B/s", "Bytes received over all NVLinks."),
)
_RATE_OF = {
    "nv_pcie_tx_bw": "pcie_tx",
    "nv_pcie_rx_bw": "pcie_rx",
    "nv_nvlink_tx_bw": "nvlink_tx",
    "nv_nvlink_rx_bw": "nvlink_rx",
}
_ASKED_FOR = {
    **{rate: (counter,) for rate, counter in _RATE_OF.items()},
    "nv_average_power": ("energy", "nv_power_usage"),
    "nv_energy": ("energy",),
    "nv_energy_abs": ("energy",),
    **{name: ("nvlink_errors",) for name, _ in LINK_ERRORS},
    **{f"{name}_sum": ("nvlink_errors",) for name, _ in LINK_ERRORS},
}
"""What is asked of NVML for a metric, where that has another name."""

JOB_MEMORY = "job_acc_mem_used"


@dataclass(frozen=True)
class NvidiaOptions(MetricFilter):
    """Options of the collector nvidia."""

    exclude_devices: Tuple[str, ...] = option(
        (), "leave these GPUs alone: index, or PCI address such as 00000000:17:00.0", key="exclude_devices"
    )
    use_pci_info_as_type_id: bool = option(
        True, "identify GPUs by PCI address instead of index", key="use_pci_info_as_type_id"
    )
    add_pci_info_tag: bool = option(False, "PCI address as meta information pci_identifier", key="add_pci_info_tag")
    add_uuid_meta: bool = option(False, "UUID as meta information uuid", key="add_uuid_meta")
    add_board_number_meta: bool = option(
        False, "board number as meta information board_number", key="add_board_number_meta"
    )
    add_serial_meta: bool = option(False, "serial number as meta information serial", key="add_serial_meta")
    process_mig_devices: bool = option(True, "send MIG instances too, with stype=mig", key="process_mig_devices")
    use_uuid_for_mig_device: bool = option(False, "identify MIG instances by UUID", key="use_uuid_for_mig_device")
    use_slice_for_mig_device: bool = option(
        False, "identify MIG instances by their profile, such as 1g.5gb", key="use_slice_for_mig_device"
    )


def _describe() -> List[MetricDescription]:
    scope = "accelerator"
    described = [MetricDescription(name, unit, scope, meaning, "gauge") for name, unit, meaning in _GAUGES]
    described += [MetricDescription(name, unit, scope, meaning, "counter") for name, unit, meaning in _COUNTERS]
    described += [MetricDescription(name, unit, scope, meaning, "counter") for name, unit, meaning in _LINK_COUNTERS]
    described += [
        MetricDescription(f"{name}_sum", unit, scope, meaning.replace("an NVLink", "all NVLinks"), "counter")
        for name, unit, meaning in _LINK_COUNTERS
    ]
    described += [MetricDescription(name, unit, scope, meaning, "rate") for name, unit, meaning in _RATES]
    described.append(MetricDescription(JOB_MEMORY, "B", "job", "GPU memory of the job's processes.", "gauge"))
    return described


def import_nvml() -> Any:
    """The library nvidia-ml-py. Raises NotAvailableError if it is not installed."""
    try:
        return importlib.import_module("pynvml")
    except ImportError as error:
        raise NotAvailableError(
            "there are GPUs of NVIDIA, but the Python library nvidia-ml-py is not installed",
            "pip install nvidia-ml-py, into the environment of the agent",
        ) from error


class NvidiaCollector:
    """Metrics of all GPUs. The driver is asked in a thread, so that one that hangs costs only its own samples."""

    name = "nvidia"

    def __init__(
        self,
        options: NvidiaOptions,
        root: Path = Path("/"),
        load_nvml: Callable[[], Any] = import_nvml,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.metrics = select_metrics(_describe(), options)
        self._options = options
        self._root = root
        self._load_nvml = load_nvml
        self._monotonic = monotonic
        self._clock = RateClock()
        self._declared = {metric.name: metric for metric in self.metrics}
        self._session: Optional[NvmlSession] = None
        self._reader: Optional[BackgroundReader[NvmlReading]] = None
        self._before: Dict[str, DeviceReading] = {}
        self._series: Dict[Tuple[str, str, int], RawSeries] = {}
        self._lost = 0

    def open(self) -> None:
        """Look for the driver. Raises NotPresentError without one, NotAvailableError without its Python library."""
        if not any((self._root / sign).exists() for sign in _SIGNS_OF_NVIDIA):
            raise NotPresentError(
                "/dev/nvidiactl cannot be read: there is no GPU of NVIDIA, or its driver is not loaded",
                "on a node with such GPUs load the driver",
            )
        if self._reader is not None and self._reader.running:
            raise _hanging()
        if self._session is not None:
            self._session.close()  # one that hung when the collector was closed
        nvml = self._load_nvml()
        options = self._options
        self._session = NvmlSession(
            nvml,
            self._wanted(),
            frozenset(options.exclude_devices),
            with_mig=options.process_mig_devices,
            root=self._root,
            monotonic=self._monotonic,
        )
        self._clock.reset()
        self._reader = BackgroundReader("nvml", self._session.read)
        self._before = {}

    def _wanted(self) -> FrozenSet[str]:
        wanted: Set[str] = {part for name in self._declared for part in _ASKED_FOR.get(name, (name,))}
        for key, is_on in (
            ("serial", self._options.add_serial_meta),
            ("board_number", self._options.add_board_number_meta),
        ):
            if is_on:
                wanted.add(key)
        return frozenset(wanted)

    def read(self, tick: Tick) -> List[Reading]:
        """The values of all GPUs that answered; rates from their second reading on.

        Raises NotAvailableError if the driver does not answer.
        """
        reader = self._reader
        if reader is None:
            return []
        has_gap = self._clock.elapsed_s(tick) is None
        reader.take()  # an answer that came too late for the last tick
        if not reader.start():
            raise _hanging()
        reader.wait(min(MAX_WAIT_SHARE * tick.interval_s, MAX_WAIT_S))
        found = reader.take()
        if found is None:
            return []
        if found.lost != self._lost:
            level = logging.WARNING if found.lost else logging.INFO
            logger.log(level, "GPUs that do not answer count=%d", found.lost)
            self._lost = found.lost
        readings: List[Reading] = []
        for device in found.devices:
            self._append_device(device, None if has_gap else self._before.get(device.uuid), readings)
        if JOB_MEMORY in self._declared:
            readings += [
                (self._one_series(JOB_MEMORY, job, {"type": "job", "type-id": job}, {}), used)
                for job, used in found.job_memory.items()
            ]
        self._before = {device.uuid: device for device in found.devices}
        known = self._before.keys() | found.job_memory.keys()
        if any(key[1] not in known for key in self._series):
            self._series = {key: series for key, series in self._series.items() if key[1] in known}
        return readings

    def _append_device(self, device: DeviceReading, before: Optional[DeviceReading], readings: List[Reading]) -> None:
        values = {**device.values, **self._derived(device, before)}
        if "energy" in device.counters:
            values["nv_energy_abs"] = device.counters["energy"]
        if device.links:
            for name, _ in LINK_ERRORS:
                values[f"{name}_sum"] = sum(errors.get(name, 0.0) for errors in device.links.values())
        readings += [
            (self._device_series(name, device), value) for name, value in values.items() if name in self._declared
        ]
        for link, errors in device.links.items():
            readings += [
                (self._device_series(name, device, link), count)
                for name, count in errors.items()
                if name in self._declared
            ]

    @staticmethod
    def _derived(device: DeviceReading, before: Optional[DeviceReading]) -> Values:
        """Rates, and the energy and mean power of the interval; none after a reset or a gap."""
        values: Values = {}
        elapsed_s = 0.0 if before is None else device.monotonic_s - before.monotonic_s
        if before is None or elapsed_s <= 0.0:
            return values
        steps = {
            name: count - before.counters[name]
            for name, count in device.counters.items()
            if name in before.counters and count >= before.counters[name]
        }
        for metric, counter in _RATE_OF.items():
            if counter in steps:
                values[metric] = steps[counter] / elapsed_s
        if "energy" in steps:
            values["nv_energy"] = steps["energy"]
            values["nv_average_power"] = steps["energy"] / elapsed_s
        elif "energy" not in device.counters and "nv_power_usage" in device.values:
            values["nv_average_power"] = device.values["nv_power_usage"]
        return values

    def _device_series(self, metric: str, device: DeviceReading, link: int = -1) -> RawSeries:
        series = self._series.get((metric, device.uuid, link))
        if series is not None:
            return series
        options = self._options
        tags = {
            "type": "accelerator",
            "type-id": device.pci_id if options.use_pci_info_as_type_id else str(device.number),
        }
        if device.mig:
            tags["stype"], tags["stype-id"] = "mig", device.mig
            if options.use_uuid_for_mig_device:
                tags["stype-id"] = device.uuid
            elif options.use_slice_for_mig_device:
                tags["stype-id"] = device.meta.get("slice") or device.mig
        if link >= 0:
            tags["stype"], tags["stype-id"] = "nvlink", str(link)
        meta = {
            key: text
            for key, text, is_on in (
                ("pci_identifier", device.pci_id, options.add_pci_info_tag),
                ("uuid", device.uuid, options.add_uuid_meta),
                ("board_number", device.meta.get("board_number", ""), options.add_board_number_meta),
                ("serial", device.meta.get("serial", ""), options.add_serial_meta),
            )
            if is_on and text
        }
        return self._one_series(metric, device.uuid, tags, meta, link)

    def _one_series(
        self, metric: str, owner: str, tags: Dict[str, str], more: Dict[str, str], link: int = -1
    ) -> RawSeries:
        series = self._series.get((metric, owner, link))
        if series is None:
            described = self._declared[metric]
            meta = {"source": "NvidiaCollector", "group": "Nvidia", "unit": described.unit, "kind": described.kind}
            series = self._series[metric, owner, link] = RawSeries(metric, tags, {**meta, **more})
        return series

    def close(self) -> None:
        """End the session, unless the driver hangs in it: then it is left alone."""
        self._before = {}
        self._series = {}
        if self._reader is None or self._session is None:
            return
        self._reader.close()
        if not self._reader.running:
            self._session.close()


def _hanging() -> NotAvailableError:
    return NotAvailableError(
        "the NVIDIA driver has not answered since the last tick",
        "see whether nvidia-smi answers, and the kernel's log for Xid errors",
    )
