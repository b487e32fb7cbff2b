"""The metrics of the counters, and under which names, scopes and units they are sent."""

from __future__ import annotations

from typing import Dict, List, NamedTuple, Tuple

from cc_agent.collectors.base import MetricDescription

HWTHREAD_METRICS: Dict[str, Tuple[str, str]] = {
    "ipc": ("IPC", "Instructions per cycle; not sent while the hardware thread is idle."),
    "clock": ("MHz", "Clock while not halted; not sent while the hardware thread is idle."),
    "flops_any": ("GFlops/s", "Floating point operations, one in double precision counted as two in single."),
    "flops_dp": ("GFlops/s", "Floating point operations in double precision."),
    "flops_sp": ("GFlops/s", "Floating point operations in single precision."),
    "vectorization_ratio": ("%", "Packed floating point instructions of all floating point instructions."),
}
MISS_METRICS: Dict[str, Tuple[str, str]] = {
    "cache_miss_ratio": ("%", "Accesses to the last level cache (AMD: L2) that missed it."),
    "branch_miss_ratio": ("%", "Branches that were predicted wrongly."),
}
MULTIPLEX_METRIC = "perf_multiplex_ratio"
MULTIPLEX_TEXT = ("%", "Time that the counters ran of the interval; less than 100 if they are shared with others.")
SOCKET_METRICS: Dict[str, Tuple[str, str]] = {
    "mem_bw": ("GB/s", "Traffic between the socket and its memory."),
    "mem_read": ("GB/s", "Reads of the socket from its memory."),
    "mem_write": ("GB/s", "Writes of the socket to its memory."),
}
CORE_METRICS = {**HWTHREAD_METRICS, **MISS_METRICS, MULTIPLEX_METRIC: MULTIPLEX_TEXT}
ALL_METRICS = {**CORE_METRICS, **SOCKET_METRICS}


class Output(NamedTuple):
    """One metric at one scope: its name here, and the name, unit and factor with which it is sent."""

    metric: str
    scope: str
    name: str
    unit: str
    factor: float = 1.0

    @property
    def description(self) -> MetricDescription:
        """What the collector declares for it."""
        return MetricDescription(self.name, self.unit, self.scope, ALL_METRICS[self.metric][1], "rate")


def native_output(metric: str, scope: str = "") -> Output:
    """A metric under its own name and unit; without `scope` at the one at which it is measured."""
    native = "socket" if metric in SOCKET_METRICS else "hwthread"
    return Output(metric, scope or native, metric, ALL_METRICS[metric][0])


def native_outputs(metrics: List[str], total_scopes: Tuple[str, ...]) -> List[Output]:
    """The metrics as measured, and those of hardware threads also at these coarser scopes."""
    outputs = [native_output(metric) for metric in metrics]
    for scope in total_scopes:
        outputs += [
            native_output(metric, scope) for metric in metrics if metric in HWTHREAD_METRICS or metric in MISS_METRICS
        ]
    if "node" in total_scopes:
        outputs += [native_output(metric, "node") for metric in metrics if metric in SOCKET_METRICS]
    return outputs
