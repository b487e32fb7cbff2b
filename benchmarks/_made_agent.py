"""An agent of a made node whose ticks come from standard input, a time each; it answers figures of itself as JSON.

The words of the command line: folder of the node, address of the server, spool folder, library of the made driver, or
an empty one, and the collectors that are left out.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
import time
from dataclasses import replace
from pathlib import Path

from cc_agent.agent import Pipeline, make_routed_sinks
from cc_agent.collectors.base import Collector
from cc_agent.collectors.perf import EventCode, LinuxPerf, PerfCollector
from cc_agent.collectors.rapl import RaplCollector
from cc_agent.collectors.registry import CollectorsSettings, collector_intervals_s, make_collectors
from cc_agent.options import AgentOptions
from cc_agent.sampler import Sampler
from cc_agent.settings import load_configuration

INTERVAL_S = 10
GPUS = 4

# httpx loads its command line, 5 MB, where click and rich are, as for development; a node has neither.
sys.modules["click"] = None  # type: ignore[assignment]


def _load_driver(path: str) -> None:
    """Load the made driver before nvidia-ml-py looks for one, and give it four GPUs with a process each."""
    library = ctypes.CDLL(path, mode=ctypes.RTLD_GLOBAL)
    values = {"count": GPUS, "compute count": 1, "compute memory 0": 3 << 30}
    values |= {f"{gpu}.compute pid 0": 4242 + gpu for gpu in range(GPUS)}
    for name, value in values.items():
        library.fake_set(name.encode(), ctypes.c_longlong(value))


class SoftwareCounters(LinuxPerf):
    """Real system calls and real groups, with a software event for each that this machine may not have.

    The hardware threads of the made node are shared out to the real ones.
    """

    def open(self, attribute: bytes, cpu: int, group: int) -> int:
        """The event task-clock, whatever was asked for."""
        del attribute
        here = sorted(os.sched_getaffinity(0))
        return super().open(EventCode(1, 1).attribute(disabled=group < 0), here[cpu % len(here)], group)

    def timer_mhz(self, leader: int) -> float:
        """A clock, so that the metric `clock` is computed, too."""
        del leader
        return 2400.0


def _collectors(wanted: CollectorsSettings, root: Path) -> list[Collector]:
    """The collectors, with counters that this machine has."""
    counting: dict[str, Collector] = {}
    if wanted.perf is not None:
        counting["perf"] = PerfCollector(wanted.perf, root, SoftwareCounters())
    if wanted.rapl is not None:
        counting["rapl"] = RaplCollector(wanted.rapl, root, SoftwareCounters())
    return [counting.get(collector.name, collector) for collector in make_collectors(wanted, root)]


def main(folder: str, url: str, spool: str, library: str, *left_out: str) -> None:
    """Tick until standard input ends."""
    if library:
        _load_driver(library)
    options = AgentOptions(cluster="demo", hostname="n001", url=url, interval=f"{INTERVAL_S}s", spool_dir=spool or None)
    configuration = load_configuration(options, {})
    wanted = replace(configuration.settings.collectors, **dict.fromkeys(left_out))
    clock = [0.0]
    sampler = Sampler(_collectors(wanted, Path(folder)), collector_intervals_s(wanted), monotonic=lambda: clock[0])
    outputs = make_routed_sinks(configuration)
    for output in outputs:
        output.sink.start()
    sampler.open(INTERVAL_S)
    pipeline = Pipeline(sampler, outputs, INTERVAL_S)
    reading_s: dict[str, float] = {}
    tick_s = 0.0
    for line in sys.stdin:
        time_s = int(line)
        clock[0] += INTERVAL_S
        began_s = time.process_time()
        pipeline.sample(time_s)
        tick_s += time.process_time() - began_s
        pipeline.hand_over()
        pipeline.rest()
        for status in sampler.statuses:
            reading_s[status.name] = reading_s.get(status.name, 0.0) + status.cpu_s
        figures = {
            "tick_s": tick_s,
            "process_s": time.process_time(),
            "resident_mb": _resident_mb(),
            "threads": _entries("/proc/self/task"),
            "open_files": _entries("/proc/self/fd"),
            "children_s": sum(resource.getrusage(resource.RUSAGE_CHILDREN)[:2]),
            "children_faults": resource.getrusage(resource.RUSAGE_CHILDREN).ru_minflt,
            "reading_s": reading_s,
            "problems": {status.name: status.problem for status in sampler.statuses if status.problem},
        }
        sys.stdout.write(json.dumps(figures) + "\n")
        sys.stdout.flush()
    pipeline.close(0.0)


def _entries(folder: str) -> int:
    return sum(1 for _ in Path(folder).iterdir())


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


if __name__ == "__main__":
    main(*sys.argv[1:])
