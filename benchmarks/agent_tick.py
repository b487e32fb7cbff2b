"""What the node agent costs: CPU time per tick, resident memory, time of one look.

Promises: 500 samples in less than 5 ms of CPU time, the counters of 128 hardware threads in less than 0.5 % of a core
at 10 s, at most 45 MB resident, `cc-agent once` in less than a second.
Exit status 1 if one of them is broken.

    PYTHONPATH=common:agent python benchmarks/agent_tick.py
"""

from __future__ import annotations

import os
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from cc_agent.collectors.cpustat import CpustatOptions
from cc_agent.collectors.diskstat import DiskstatOptions
from cc_agent.collectors.iostat import IostatOptions
from cc_agent.collectors.loadavg import LoadavgOptions
from cc_agent.collectors.memstat import MemstatOptions
from cc_agent.collectors.netstat import NetstatOptions
from cc_agent.collectors.perf import EventCode, LinuxPerf, PerfCollector, PerfOptions
from cc_agent.collectors.rapl import RaplCollector, RaplOptions
from cc_agent.collectors.registry import CollectorsSettings, make_collectors
from cc_agent.options import AgentOptions
from cc_agent.sampler import Sampler
from cc_agent.settings import load_configuration

HWTHREADS = 64
COUNTED_HWTHREADS = 128
SOCKETS = 2
MEMORY_CHANNELS = 8
TICKS = 200
CPU_MS_PER_500_SAMPLES = 5.0
COUNTERS_PERCENT = 0.5
RESIDENT_MB = 45.0
ONCE_S = 1.0


def make_machine(root: Path) -> None:
    """A node with 64 hardware threads, two disks and two links."""
    for cpu in range(HWTHREADS):
        folder = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        folder.mkdir(parents=True)
        (folder / "physical_package_id").write_text(f"{cpu // 32}\n")
        (folder / "core_id").write_text(f"{cpu % 32}\n")
    (root / "sys/devices/system/cpu/online").write_text(f"0-{HWTHREADS - 1}\n")
    for device in ("eth0", "ib0"):
        (root / f"sys/class/net/{device}/device").mkdir(parents=True)
    for disk in ("nvme0n1", "sda"):
        (root / f"sys/block/{disk}").mkdir(parents=True)
    for name in ("net", "self"):
        (root / "proc" / name).mkdir(parents=True)
    (root / "proc/loadavg").write_text("12.00 11.00 10.00 14/1999 4711\n")
    (root / "proc/meminfo").write_text(Path("/proc/meminfo").read_text())
    (root / "proc/self/mounts").write_text("/dev/sda1 / ext4 rw 0 0\n")


def advance(root: Path, step: int) -> None:
    """Move all counters forward."""
    numbers = " ".join(str(number * step) for number in (901, 3, 77, 500, 5, 1, 2, 0, 0, 0))
    lines = ["cpu  " + numbers, *(f"cpu{cpu} {numbers}" for cpu in range(HWTHREADS)), "intr 1 2 3 " * 500, ""]
    (root / "proc/stat").write_text("\n".join(lines))
    devices = "".join(
        f"  {name}: {1000003 * step} {1009 * step} 0 0 0 0 0 0 {step} {step} 0 0 0 0 0 0\n" for name in ("eth0", "ib0")
    )
    (root / "proc/net/dev").write_text("Inter-| Receive\n face |bytes\n" + devices)
    counters = " ".join(str(step * number) for number in range(17))
    (root / "proc/diskstats").write_text(f" 8 0 sda {counters}\n 259 0 nvme0n1 {counters}\n")


def measure_ticks() -> tuple[float, int, int]:
    """CPU milliseconds per tick, samples and bytes per tick, from reading files to lines."""
    states = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "used")
    settings = CollectorsSettings(
        cpustat=CpustatOptions(include_metrics=tuple(f"cpu_{state}" for state in states)),
        memstat=MemstatOptions(),
        loadavg=LoadavgOptions(),
        netstat=NetstatOptions(send_derived_values=True),
        iostat=IostatOptions(),
        diskstat=DiskstatOptions(),
    )
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_machine(root)
        router = load_configuration(AgentOptions(cluster="demo", hostname="n001"), {}).make_router()
        clock = [0.0]
        sampler = Sampler(make_collectors(settings, root), monotonic=lambda: clock[0])
        spent_s = 0.0
        batch = router.encode([], 0)
        for step in range(1, TICKS + 3):
            advance(root, step)
            clock[0] += 10.0
            began_s = time.process_time()
            batch = router.encode(sampler.sample(10 * step, 10.0), 10 * step)
            if step > 2:  # the first two make the series
                spent_s += time.process_time() - began_s
        sampler.close()
    return 1000 * spent_s / TICKS, batch.samples, len(batch.lines)


class SoftwareCounters(LinuxPerf):
    """Real system calls and real groups, with a software event for each that this machine may not have.

    The hardware threads of the made machine are shared out to the real ones.
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


def make_counters(root: Path) -> None:
    """An Ice Lake-SP of 128 hardware threads in two sockets, with its memory controllers and energy counters."""
    for cpu in range(COUNTED_HWTHREADS):
        folder = root / f"sys/devices/system/cpu/cpu{cpu}/topology"
        folder.mkdir(parents=True)
        core = cpu % (COUNTED_HWTHREADS // 2)
        (folder / "physical_package_id").write_text(f"{core * SOCKETS * 2 // COUNTED_HWTHREADS}\n")
        (folder / "core_cpus_list").write_text(f"{core},{core + COUNTED_HWTHREADS // 2}\n")
    (root / "sys/devices/system/cpu/online").write_text(f"0-{COUNTED_HWTHREADS - 1}\n")
    (root / "proc").mkdir()
    (root / "proc/cpuinfo").write_text("vendor_id : GenuineIntel\ncpu family : 6\nmodel : 106\n")
    readers = f"0,{COUNTED_HWTHREADS // SOCKETS // 2}"
    pmus = {f"uncore_imc_{channel}": 20 + channel for channel in range(MEMORY_CHANNELS)}
    for name, number in {"cpu": 4, "power": 30, **pmus}.items():
        folder = root / "sys/bus/event_source/devices" / name
        for file, text in (
            ("type", f"{number}"),
            ("format/event", "config:0-7"),
            ("format/umask", "config:8-15"),
            ("events/energy-pkg", "event=2"),
            ("events/energy-ram", "event=3"),
            *([] if name == "cpu" else [("cpumask", readers)]),
        ):
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(f"{text}\n")


def measure_counters() -> tuple[float, int]:
    """CPU milliseconds and samples per tick of hardware counters and energy, from system calls to lines."""
    metrics = ("ipc", "clock", "flops_any", "vectorization_ratio", "mem_bw")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_counters(root)
        router = load_configuration(AgentOptions(cluster="demo", hostname="n001"), {}).make_router()
        clock = [0.0]
        calls = SoftwareCounters()
        perf = PerfCollector(PerfOptions(include_metrics=metrics), root, calls)
        sampler = Sampler([perf, RaplCollector(RaplOptions(), root, calls)], monotonic=lambda: clock[0])
        spent_s = 0.0
        batch = router.encode([], 0)
        for step in range(1, TICKS + 3):
            clock[0] += 10.0
            began_s = time.process_time()
            batch = router.encode(sampler.sample(10 * step, 10.0), 10 * step)
            if step > 2:  # the first two make the series
                spent_s += time.process_time() - began_s
        sampler.close()
    return 1000 * spent_s / TICKS, batch.samples


class Sink(socketserver.ThreadingTCPServer):
    """Counts posts on an ephemeral port."""

    allow_reuse_address = True
    daemon_threads = True
    posts = 0


class Handler(BaseHTTPRequestHandler):
    """Takes everything."""

    server: Sink

    def do_POST(self) -> None:
        """Answer 200."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.posts += 1
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


def measure_memory() -> float:
    """Resident megabytes of an agent that has sent four batches."""
    sink = Sink(("127.0.0.1", 0), Handler)
    threading.Thread(target=sink.serve_forever, args=(0.05,), daemon=True).start()
    url = f"http://127.0.0.1:{sink.server_address[1]}"
    command = [sys.executable, "-m", "cc_agent", "run", "--url", url, "--interval", "1s", "--log-level", "warning"]
    with subprocess.Popen(command) as process:
        try:
            end = time.monotonic() + 30
            while sink.posts < 4 and time.monotonic() < end:
                time.sleep(0.1)
            status = Path(f"/proc/{process.pid}/status").read_text()
        finally:
            process.terminate()
            process.wait(20)
    sink.shutdown()
    sink.server_close()
    resident = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(resident.split()[1]) * 1024 / 1e6


def measure_once() -> float:
    """Seconds of `cc-agent once`, the better of three."""
    times = []
    for _ in range(3):
        began_s = time.monotonic()
        subprocess.run([sys.executable, "-m", "cc_agent", "once"], check=True, stdout=subprocess.DEVNULL)
        times.append(time.monotonic() - began_s)
    return min(times)


def main() -> int:
    """Measure, print, judge."""
    cpu_ms, samples, size = measure_ticks()
    per_500 = cpu_ms * 500 / samples
    counters_ms, counted = measure_counters()
    resident_mb = measure_memory()
    once_s = measure_once()
    rows = (
        (f"tick, {HWTHREADS} hwthreads, {samples} samples, {size} bytes", f"{cpu_ms:.2f} ms CPU", True),
        ("the same for 500 samples", f"{per_500:.2f} ms CPU", per_500 < CPU_MS_PER_500_SAMPLES),
        ("of one core at a 10 s interval", f"{cpu_ms / 100:.3f} %", cpu_ms / 100 < 0.5),
        (f"counters, {COUNTED_HWTHREADS} hwthreads, {counted} samples", f"{counters_ms:.2f} ms CPU", counted > 0),
        ("of one core at a 10 s interval", f"{counters_ms / 100:.3f} %", counters_ms / 100 < COUNTERS_PERCENT),
        ("resident memory of a running agent", f"{resident_mb:.1f} MB", resident_mb <= RESIDENT_MB),
        ("cc-agent once", f"{once_s:.2f} s", once_s < ONCE_S),
    )
    for name, value, kept in rows:
        print(f"{name:<55} {value:>14}  {'ok' if kept else 'TOO MUCH'}")
    return int(not all(kept for _, _, kept in rows))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", os.pathsep.join(("common", "agent")))
    sys.exit(main())
