"""Other programs that measure a node, run as they are for some seconds: processor time and memory."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from _bench import free_port, wait_until_up

ROUNDS = 12
_PLUGINS = ("cpu", "memory", "load", "interface", "disk", "df", "vmem", "contextswitch")


class Cost(NamedTuple):
    """What a program took: milliseconds of a processor and samples for each reading, and megabytes at the end."""

    cpu_ms: float
    samples: float
    resident_mb: float


def cpu_ms(pid: int) -> float:
    """Milliseconds that the threads of a process have run; those that ended are not in it."""
    tasks = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(path.read_text(encoding="ascii").split()[0]) for path in tasks) / 1e6


def resident_mb(pid: int) -> float:
    """Megabytes of a process that are in memory."""
    pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextmanager
def running(command: list[str]) -> Iterator[int]:
    """The process id of a program that ends with the block; what it prints is not shown."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def measure_node_exporter() -> Cost:
    """Prometheus node exporter with its default collectors, asked once a second."""
    port = free_port()
    address = f"http://127.0.0.1:{port}/metrics"

    def scrape() -> int:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return sum(1 for line in answer.read().splitlines() if line and not line.startswith(b"#"))

    with running([_required("prometheus-node-exporter"), f"--web.listen-address=127.0.0.1:{port}"]) as pid:
        wait_until_up(port)
        return _cost(pid, scrape)


def measure_collectd() -> Cost:
    """Collectd with the plugins for what the agent measures by itself, writing files, an interval of a second."""
    program = _required("collectd")
    plugins = Path(program).resolve().parents[1] / "lib/collectd"
    types = Path(program).resolve().parents[1] / "share/collectd/types.db"
    with tempfile.TemporaryDirectory() as folder:
        lines = [
            f'BaseDir "{folder}"',
            f'PluginDir "{plugins}"',
            f'TypesDB "{types}"',
            "Interval 1",
            "FQDNLookup false",
        ]
        lines += [f"LoadPlugin {name}" for name in (*_PLUGINS, "csv")]
        lines += ["<Plugin csv>", f'DataDir "{folder}/csv"', "</Plugin>", ""]
        configuration = Path(folder) / "collectd.conf"
        configuration.write_text("\n".join(lines), encoding="ascii")
        with running([program, "-f", "-C", str(configuration)]) as pid:
            time.sleep(1)

            def written() -> int:
                return sum(_values_in(path) for path in (Path(folder) / "csv").rglob("*") if path.is_file())

            before = [0]

            def second() -> int:
                before[:], last = [written()], before[0]
                return before[0] - last

            second()
            return _cost(pid, second)


def _values_in(path: Path) -> int:
    rows = path.read_text(encoding="ascii").splitlines()[1:]
    return sum(row.count(",") for row in rows)


def measure_agent(url: str, samples: Callable[[], int]) -> Cost:
    """This agent, sending to `url` with an interval of a second; `samples` is the number that came so far."""
    command = [sys.executable, "-m", "cc_agent", "run", "--url", url, "--interval", "1s", "--log-level", "error"]
    with running(command) as pid:
        end_s = time.monotonic() + 30
        while not samples() and time.monotonic() < end_s:
            time.sleep(0.1)
        time.sleep(2)
        before = [samples()]

        def second() -> int:
            before[:], last = [samples()], before[0]
            return before[0] - last

        return _cost(pid, second)


def _cost(pid: int, read: Callable[[], int]) -> Cost:
    """The mean over some readings, a second apart, after one that is not counted."""
    read()
    time.sleep(1)
    began_ms = cpu_ms(pid)
    samples = 0
    for _ in range(ROUNDS):
        samples += read()
        time.sleep(1)
    return Cost((cpu_ms(pid) - began_ms) / ROUNDS, samples / ROUNDS, resident_mb(pid))


def _required(program: str) -> str:
    """The path of a program. Raises FileNotFoundError if it is not installed."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin")
    if found is None:
        raise FileNotFoundError(f"{program} is not installed")
    return found
