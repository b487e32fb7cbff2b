"""Hardware counters of processors and memory controllers, through perf_event_open(2).

`syscall` opens and reads events, `pmu` reads what the kernel offers in sysfs, `counters` reads groups and scales them.
`intel`, `amd`, `arm`, `generic` and `memory_tables` have the events and formulas of processors, `plan` fits them to the
machine, `processor_counters` and `memory_traffic` apply them. `collector` is the collector `perf`.
"""

from cc_agent.collectors.perf.access import open_error
from cc_agent.collectors.perf.collector import CounterOptions, CounterSampler, PerfCollector, PerfOptions
from cc_agent.collectors.perf.counters import CounterGroup, countable_groups
from cc_agent.collectors.perf.cpu_model import read_cpu_model
from cc_agent.collectors.perf.outputs import ALL_METRICS, SOCKET_METRICS, Output
from cc_agent.collectors.perf.pmu import Pmu, read_pmus
from cc_agent.collectors.perf.syscall import EventCode, LinuxPerf, PerfCalls

__all__ = [
    "ALL_METRICS",
    "SOCKET_METRICS",
    "CounterGroup",
    "CounterOptions",
    "CounterSampler",
    "EventCode",
    "LinuxPerf",
    "Output",
    "PerfCalls",
    "PerfCollector",
    "PerfOptions",
    "Pmu",
    "countable_groups",
    "open_error",
    "read_cpu_model",
    "read_pmus",
]
