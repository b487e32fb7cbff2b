"""Power of processors, memory and node.

`perf_power`, `powercap` and `pyrapl_provider` are the providers of energy counters, `node_meter` reads meters of the
whole node, `collector` is the collector `rapl`.
"""

from cc_agent.collectors.rapl.collector import RaplCollector, RaplOptions

__all__ = ["RaplCollector", "RaplOptions"]
