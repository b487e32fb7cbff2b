"""What the NVIDIA driver says of each GPU and MIG instance, through NVML (the library nvidia-ml-py).

Everything here may block for as long as a driver hangs, so it runs in a thread of its own. What a device does not
support is asked once. All names of NVML are those of nvml.h.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any, Callable, Dict, FrozenSet, List, NamedTuple, Optional, Sequence, Set, Tuple, TypeVar

from cc_agent.errors import NotAvailableError
from cc_agent.job_cgroups import job_id_of_process

logger = logging.getLogger(__name__)

MAX_LINKS = 18
"""Maximum NVLinks of a GPU."""

RESTART_S = 600.0
"""Minimum time between sessions that are begun to find a lost GPU again."""

_MIB = 1 << 20
_KIB = 1 << 10
_MAX_DEVICES = 64
_MAX_PROCESSES = 4096
_ALL_LINKS = 0xFFFFFFFF
_NOT_AVAILABLE_64 = (1 << 64) - 1

UNINITIALIZED, NO_PERMISSION, NOT_FOUND, DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND = 1, 4, 6, 9, 12
GPU_IS_LOST, RESET_REQUIRED, VERSION_MISMATCH = 15, 16, 18
_SESSION_IS_OVER = frozenset({UNINITIALIZED, DRIVER_NOT_LOADED, LIBRARY_NOT_FOUND, VERSION_MISMATCH})
_DEVICE_IS_LOST = frozenset({GPU_IS_LOST, RESET_REQUIRED})
_LASTING = _SESSION_IS_OVER | _DEVICE_IS_LOST
_UNSUPPORTED = frozenset({2, 3, NO_PERMISSION, 13, 25})
"""Invalid argument, not supported, no permission, function not found, deprecated: so until the next session."""

_ADVICE = {
    NO_PERMISSION: "let the user of the agent open /dev/nvidia*",
    DRIVER_NOT_LOADED: "load the driver: nvidia-smi says why it does not answer",
    LIBRARY_NOT_FOUND: "install the library of the driver, libnvidia-ml.so.1",
    VERSION_MISMATCH: "restart cc-agent: driver and library are of different versions; then the node",
}

FIELD_PCIE_REPLAYS, FIELD_NVLINK_TX, FIELD_NVLINK_RX = 94, 138, 139
FIELD_POWER_INSTANT, FIELD_PCIE_TX, FIELD_PCIE_RX = 186, 197, 198
_VALUE_TYPES = {0: "dVal", 1: "uiVal", 2: "ulVal", 3: "ullVal", 4: "sllVal", 5: "siVal", 6: "usVal"}

GPM_METRICS = {
    "nv_sm_activity": 2,
    "nv_sm_occupancy": 3,
    "nv_tensor_activity": 5,
    "nv_dram_activity": 10,
    "nv_fp64_activity": 11,
    "nv_fp32_activity": 12,
    "nv_fp16_activity": 13,
}
"""Metric -> number in nvmlGpmMetricId_t."""
_GPM_GRAPHICS = 1

Values = Dict[str, float]
T = TypeVar("T")


class DeviceReading(NamedTuple):
    """What a GPU or a MIG instance said at one moment: values now, and counters.

    `mig` names the instance, empty for the GPU itself. `links` are the error counters of each active NVLink.
    """

    uuid: str
    number: int
    pci_id: str
    mig: str
    values: Values
    counters: Values
    links: Dict[int, Values]
    meta: Dict[str, str]
    monotonic_s: float


class NvmlReading(NamedTuple):
    """All devices that answered, and the GPU memory of each job in bytes."""

    devices: List[DeviceReading]
    job_memory: Dict[str, float]
    lost: int


class Probe(NamedTuple):
    """One call of NVML and the metrics that come of it; `counts` are counters. Instances of MIG lack some."""

    metrics: Tuple[str, ...]
    read: Callable[[Any, Any], Sequence[Optional[float]]]
    counts: bool = False
    of_mig: bool = True


def _clock(kind: int) -> Callable[[Any, Any], Sequence[float]]:
    return lambda nvml, device: (nvml.nvmlDeviceGetClockInfo(device, kind),)


def _max_clock(kind: int) -> Callable[[Any, Any], Sequence[float]]:
    return lambda nvml, device: (nvml.nvmlDeviceGetMaxClockInfo(device, kind),)


def _ecc_errors(kind: int) -> Callable[[Any, Any], Sequence[float]]:
    return lambda nvml, device: (nvml.nvmlDeviceGetTotalEccErrors(device, kind, 1),)  # 1: since the device was made


def _violation(policy: int) -> Callable[[Any, Any], Sequence[float]]:
    return lambda nvml, device: (nvml.nvmlDeviceGetViolationStatus(device, policy).violationTime * 1e-9,)


def _memory(nvml: Any, device: Any) -> Sequence[float]:
    info = nvml.nvmlDeviceGetMemoryInfo(device)
    return info.total / _MIB, info.used / _MIB


def _bar1(nvml: Any, device: Any) -> Sequence[float]:
    info = nvml.nvmlDeviceGetBAR1MemoryInfo(device)
    return info.bar1Total / _MIB, info.bar1Used / _MIB


def _utilization(nvml: Any, device: Any) -> Sequence[float]:
    rates = nvml.nvmlDeviceGetUtilizationRates(device)
    return rates.gpu, rates.memory


PROBES = (
    Probe(("nv_util", "nv_mem_util"), _utilization, of_mig=False),
    Probe(("nv_fb_mem_total", "nv_fb_mem_used"), _memory),
    Probe(("nv_bar1_mem_total", "nv_bar1_mem_used"), _bar1),
    Probe(("nv_temp",), lambda nvml, device: (nvml.nvmlDeviceGetTemperature(device, 0),), of_mig=False),
    Probe(("nv_fan",), lambda nvml, device: (nvml.nvmlDeviceGetFanSpeed(device),), of_mig=False),
    Probe(("nv_ecc_mode",), lambda nvml, device: (nvml.nvmlDeviceGetEccMode(device)[1],), of_mig=False),
    Probe(("nv_perf_state",), lambda nvml, device: (nvml.nvmlDeviceGetPerformanceState(device),), of_mig=False),
    Probe(("nv_power_usage",), lambda nvml, device: (nvml.nvmlDeviceGetPowerUsage(device) / 1e3,), of_mig=False),
    Probe(
        ("energy",),
        lambda nvml, device: (nvml.nvmlDeviceGetTotalEnergyConsumption(device) / 1e3,),
        counts=True,
        of_mig=False,
    ),
    Probe(("nv_graphics_clock",), _clock(0), of_mig=False),
    Probe(("nv_sm_clock",), _clock(1), of_mig=False),
    Probe(("nv_mem_clock",), _clock(2), of_mig=False),
    Probe(("nv_video_clock",), _clock(3), of_mig=False),
    Probe(("nv_max_graphics_clock",), _max_clock(0), of_mig=False),
    Probe(("nv_max_sm_clock",), _max_clock(1), of_mig=False),
    Probe(("nv_max_mem_clock",), _max_clock(2), of_mig=False),
    Probe(("nv_max_video_clock",), _max_clock(3), of_mig=False),
    Probe(("nv_ecc_uncorrected_error",), _ecc_errors(1)),
    Probe(("nv_ecc_corrected_error",), _ecc_errors(0)),
    Probe(
        ("nv_power_max_limit",),
        lambda nvml, device: (nvml.nvmlDeviceGetPowerManagementLimit(device) / 1e3,),
        of_mig=False,
    ),
    Probe(("nv_encoder_util",), lambda nvml, device: nvml.nvmlDeviceGetEncoderUtilization(device)[:1], of_mig=False),
    Probe(("nv_decoder_util",), lambda nvml, device: nvml.nvmlDeviceGetDecoderUtilization(device)[:1], of_mig=False),
    Probe(
        (
            "nv_remapped_rows_corrected",
            "nv_remapped_rows_uncorrected",
            "nv_remapped_rows_pending",
            "nv_remapped_rows_failure",
        ),
        lambda nvml, device: nvml.nvmlDeviceGetRemappedRows(device),
        of_mig=False,
    ),
    Probe(
        ("nv_throttle_reasons",),
        lambda nvml, device: (nvml.nvmlDeviceGetCurrentClocksThrottleReasons(device),),
        of_mig=False,
    ),
    *(
        Probe((f"nv_violation_{name}",), _violation(policy), of_mig=False)
        for name, policy in (
            ("power", 0),
            ("thermal", 1),
            ("sync_boost", 2),
            ("board_limit", 3),
            ("low_util", 4),
            ("reliability", 5),
            ("below_app_clock", 10),
            ("below_base_clock", 11),
        )
    ),
)

LINK_ERRORS = (
    ("nv_nvlink_crc_errors", 3),
    ("nv_nvlink_ecc_errors", 4),
    ("nv_nvlink_replay_errors", 0),
    ("nv_nvlink_recovery_errors", 1),
    ("nv_nvlink_crc_flit_errors", 2),
)

_FIELDS = {
    # number, scope, counter?, factor
    "nv_power_instant": (FIELD_POWER_INSTANT, 0, False, 1e-3),
    "nv_pcie_replays": (FIELD_PCIE_REPLAYS, 0, False, 1.0),
    "pcie_tx": (FIELD_PCIE_TX, 0, True, 1.0),
    "pcie_rx": (FIELD_PCIE_RX, 0, True, 1.0),
    "nvlink_tx": (FIELD_NVLINK_TX, _ALL_LINKS, True, float(_KIB)),
    "nvlink_rx": (FIELD_NVLINK_RX, _ALL_LINKS, True, float(_KIB)),
}


class NvmlSession:
    """NVML from its start to its end, for use in one thread; `wanted` are the metrics to ask for.

    `excluded` are indices or PCI addresses of GPUs to leave alone.
    """

    def __init__(
        self,
        nvml: Any,
        wanted: FrozenSet[str],
        excluded: FrozenSet[str],
        *,
        with_mig: bool,
        root: Path,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nvml = nvml
        self._wanted = wanted
        self._excluded = excluded
        self._with_mig = with_mig
        self._root = root
        self._monotonic = monotonic
        self._unsupported: Set[Tuple[str, str]] = set()
        self._samples: Dict[str, Any] = {}
        self._running = False
        self._restart_s = 0.0

    def read(self) -> NvmlReading:
        """The state of all devices. Raises NotAvailableError if the driver does not answer, and starts anew then."""
        try:
            if not self._running:
                self._nvml.nvmlInit()
                self._running = True
                self._unsupported = set()
            return self._read_all()
        except self._nvml.NVMLError as error:
            self.close()
            raise NotAvailableError(
                f"the NVIDIA driver: {_text(self._nvml, error)}",
                _ADVICE.get(error.value, "nvidia-smi should say the same; see the kernel's log for Xid errors"),
            ) from error

    def close(self) -> None:
        """End the session, also that of a driver that is gone."""
        for sample in self._samples.values():
            self._try_quietly(self._nvml.nvmlGpmSampleFree, sample)
        self._samples = {}
        if self._running:
            self._running = False
            self._try_quietly(self._nvml.nvmlShutdown)

    def _try_quietly(self, call: Callable[..., object], *arguments: Any) -> None:
        try:
            call(*arguments)
        except self._nvml.NVMLError as error:
            logger.debug("NVML at the end: %s", error)

    def _failing_quietly(self, call: Callable[..., T], *arguments: Any) -> Tuple[Optional[T], bool]:
        """What a call returns, and whether it did: errors of one device are left out, those of the driver raised."""
        try:
            return call(*arguments), True
        except self._nvml.NVMLError as error:
            if error.value in _SESSION_IS_OVER:
                raise
            logger.debug("a GPU does not answer: %s", _text(self._nvml, error))
            return None, False

    def _read_all(self) -> NvmlReading:
        nvml = self._nvml
        devices: List[DeviceReading] = []
        memory: Dict[str, float] = {}
        lost = 0
        for index in range(min(nvml.nvmlDeviceGetCount(), _MAX_DEVICES)):
            found, answered = self._failing_quietly(self._read_gpu, index, memory)
            devices += found or ()
            lost += not answered
        now_s = self._monotonic()
        if lost and now_s >= self._restart_s:
            # a GPU that was lost can only come back in a new session
            self._restart_s = now_s + RESTART_S
            self.close()
        for gone in self._samples.keys() - {device.uuid for device in devices}:
            self._try_quietly(nvml.nvmlGpmSampleFree, self._samples.pop(gone))
        return NvmlReading(devices, memory, lost)

    def _read_gpu(self, index: int, memory: Dict[str, float]) -> List[DeviceReading]:
        nvml = self._nvml
        device = nvml.nvmlDeviceGetHandleByIndex(index)
        pci = nvml.nvmlDeviceGetPciInfo(device)
        pci_id = f"{pci.domain:08X}:{pci.bus:02X}:{pci.device:02X}.0"
        if not self._excluded.isdisjoint((str(index), pci_id, pci_id.lower())):
            return []
        uuid = _as_text(nvml.nvmlDeviceGetUUID(device))
        gpu = self._read_device(device, uuid, index, pci_id, "")
        readings = [gpu]
        instances = self._instances(device, uuid) if self._with_mig else []
        for number, instance in instances:
            reading = self._read_instance(instance, gpu, memory, number=number, parent=device)
            readings += [reading] if reading is not None else []
        if not instances:
            self._add_job_memory(device, uuid, memory)
        return readings

    def _read_instance(
        self, instance: Any, gpu: DeviceReading, memory: Dict[str, float], *, number: int, parent: Any
    ) -> Optional[DeviceReading]:
        """A MIG instance; None if it was destroyed meanwhile."""
        uuid, _ = self._failing_quietly(self._nvml.nvmlDeviceGetUUID, instance)
        if uuid is None:
            return None
        self._add_job_memory(instance, _as_text(uuid), memory)
        return self._read_device(instance, _as_text(uuid), gpu.number, gpu.pci_id, str(number), parent=parent)

    def _instances(self, device: Any, uuid: str) -> List[Tuple[int, Any]]:
        """The MIG instances of a GPU with their numbers; they may be made anew at any time."""
        nvml = self._nvml
        mode = self._ask("mig", uuid, nvml.nvmlDeviceGetMigMode, device)
        if not mode or mode[0] != 1:
            return []
        count = min(nvml.nvmlDeviceGetMaxMigDeviceCount(device), _MAX_DEVICES)
        every = [
            (number, self._failing_quietly(nvml.nvmlDeviceGetMigDeviceHandleByIndex, device, number)[0])
            for number in range(count)
        ]
        return [(number, instance) for number, instance in every if instance is not None]

    def _read_device(
        self, device: Any, uuid: str, index: int, pci_id: str, mig: str, *, parent: Any = None
    ) -> DeviceReading:
        values: Values = {}
        counters: Values = {}
        links: Dict[int, Values] = {}
        now_s = self._monotonic()
        for probe in PROBES:
            if (parent is not None and not probe.of_mig) or self._wanted.isdisjoint(probe.metrics):
                continue
            found = self._ask(probe.metrics[0], uuid, probe.read, self._nvml, device)
            target = counters if probe.counts else values
            for name, value in zip(probe.metrics, found or ()):
                if value is not None:
                    target[name] = float(value)
        if parent is None:
            self._read_fields(device, uuid, values, counters)
            self._read_links(device, uuid, links)
        self._count_processes(device, uuid, values)
        self._read_gpm(device, uuid, values, parent)
        return DeviceReading(
            uuid, index, pci_id, mig, values, counters, links, self._meta(device, uuid, mig, parent), now_s
        )

    def _ask(self, what: str, uuid: str, call: Callable[..., Any], *arguments: Any) -> Any:
        """The answer of a call, None if the device does not support it; that is asked once."""
        if (what, uuid) in self._unsupported:
            return None
        try:
            return call(*arguments)
        except self._nvml.NVMLError as error:
            if error.value in _LASTING:
                raise
            if error.value in _UNSUPPORTED:
                self._unsupported.add((what, uuid))
            return None

    def _read_fields(self, device: Any, uuid: str, values: Values, counters: Values) -> None:
        names = [name for name in _FIELDS if name in self._wanted and (name, uuid) not in self._unsupported]
        if not names:
            return
        asked = [(_FIELDS[name][0], _FIELDS[name][1]) for name in names]
        found = self._ask("fields", uuid, self._nvml.nvmlDeviceGetFieldValues, device, asked)
        for name, field in zip(names, found or ()):
            _, _, counts, factor = _FIELDS[name]
            kind = _VALUE_TYPES.get(field.valueType)
            if field.nvmlReturn in _UNSUPPORTED:
                self._unsupported.add((name, uuid))
            elif field.nvmlReturn == 0 and kind is not None:
                (counters if counts else values)[name] = getattr(field.value, kind) * factor

    def _read_links(self, device: Any, uuid: str, links: Dict[int, Values]) -> None:
        if "nvlink_errors" not in self._wanted:
            return
        nvml = self._nvml
        for link in range(MAX_LINKS):
            if not self._ask(f"nvlink {link}", uuid, nvml.nvmlDeviceGetNvLinkState, device, link):
                continue
            errors: Values = {}
            for name, kind in LINK_ERRORS:
                count = self._ask(f"{name} {link}", uuid, nvml.nvmlDeviceGetNvLinkErrorCounter, device, link, kind)
                if count is not None and count != _NOT_AVAILABLE_64:
                    errors[name] = float(count)
            links[link] = errors

    def _count_processes(self, device: Any, uuid: str, values: Values) -> None:
        for name, call in self._process_calls():
            if name in self._wanted:
                found = self._ask(name, uuid, call, device)
                if found is not None:
                    values[name] = float(len(found))

    def _process_calls(self) -> Sequence[Tuple[str, Callable[[Any], Any]]]:
        return (
            ("nv_compute_processes", self._nvml.nvmlDeviceGetComputeRunningProcesses),
            ("nv_graphics_processes", self._nvml.nvmlDeviceGetGraphicsRunningProcesses),
        )

    def _add_job_memory(self, device: Any, uuid: str, memory: Dict[str, float]) -> None:
        """Add the memory that processes of jobs have on a device; a process counts once."""
        if "job_acc_mem_used" not in self._wanted:
            return
        used: Dict[int, float] = {}
        for name, call in self._process_calls():
            for process in (self._ask(name, uuid, call, device) or ())[:_MAX_PROCESSES]:
                if process.usedGpuMemory is not None:
                    used[process.pid] = max(used.get(process.pid, 0.0), float(process.usedGpuMemory))
        for pid, size in used.items():
            job = job_id_of_process(pid, self._root)
            if job:
                memory[job] = memory.get(job, 0.0) + size

    def _read_gpm(self, device: Any, uuid: str, values: Values, parent: Any) -> None:
        """Activity of units of the chip between the last reading and this one (Hopper and later)."""
        names = {name: number for name, number in GPM_METRICS.items() if name in self._wanted}
        needs_use = parent is not None and "nv_util" in self._wanted
        if needs_use:
            names["nv_util"] = _GPM_GRAPHICS
        if not names or ("gpm", uuid) in self._unsupported:
            return
        nvml = self._nvml
        support = self._ask("gpm", uuid, nvml.nvmlGpmQueryDeviceSupport, device if parent is None else parent)
        if support is None or not support.isSupportedDevice:
            self._unsupported.add(("gpm", uuid))
            return
        sample = self._ask("gpm", uuid, self._gpm_sample, device, parent)
        before = self._samples.get(uuid)
        if sample is None:
            return
        self._samples[uuid] = sample
        if before is None:
            return
        request = nvml.c_nvmlGpmMetricsGet_t()
        request.version = nvml.NVML_GPM_METRICS_GET_VERSION
        request.numMetrics = len(names)
        request.sample1, request.sample2 = before, sample
        for place, number in enumerate(names.values()):
            request.metrics[place].metricId = number
        answer = self._ask("gpm", uuid, nvml.nvmlGpmMetricsGet, request)
        self._try_quietly(nvml.nvmlGpmSampleFree, before)
        if answer is not None:
            for place, name in enumerate(names):
                metric = answer.metrics[place]
                if metric.nvmlReturn == 0 and 0.0 <= metric.value <= 100.0:  # noqa: PLR2004 percent; NaN is left out
                    values[name] = metric.value

    def _gpm_sample(self, device: Any, parent: Any) -> Any:
        nvml = self._nvml
        sample = nvml.nvmlGpmSampleAlloc()
        try:
            if parent is None:
                return nvml.nvmlGpmSampleGet(device, sample)
            return nvml.nvmlGpmMigSampleGet(parent, nvml.nvmlDeviceGetGpuInstanceId(device), sample)
        except nvml.NVMLError:
            self._try_quietly(nvml.nvmlGpmSampleFree, sample)
            raise

    def _meta(self, device: Any, uuid: str, mig: str, parent: Any) -> Dict[str, str]:
        nvml = self._nvml
        meta = {"uuid": uuid}
        if mig:
            names = [self._ask("name", uuid, nvml.nvmlDeviceGetName, handle) for handle in (parent, device)]
            if None not in names:
                whole, own = map(_as_text, names)
                meta["slice"] = own.replace(whole, "").replace("MIG", "").strip()
            return meta
        for key, call in (("serial", nvml.nvmlDeviceGetSerial), ("board_number", nvml.nvmlDeviceGetBoardPartNumber)):
            if key in self._wanted:
                text = self._ask(key, uuid, call, device)
                if text:
                    meta[key] = _as_text(text)
        return meta


def _as_text(name: Any) -> str:
    """A name of NVML, which is bytes in old versions of the library."""
    return name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)


def _text(nvml: Any, error: Any) -> str:
    try:
        return _as_text(nvml.nvmlErrorString(error.value))
    except Exception:  # noqa: BLE001 the library itself is missing
        return str(error)
