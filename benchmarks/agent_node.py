"""What the node agent costs on a made node of 128 hardware threads and 4 GPUs, and beside other agents on this machine.

The node is files (`_agent_machine.py`), its GPUs a library in place of the driver's, as in the tests; the agent is the
real one with its built-in settings, sending to a server in this process; its counters are real groups of software
events. What a real kernel and driver take to answer comes on top. Exit status 1 if a promise is broken.

    python benchmarks/agent_node.py
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import socketserver
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from _agent_machine import GPUS, HWTHREADS, JOBS, advance, make_machine
from _bench import machine
from _beside import Cost, measure_agent, measure_collectd, measure_node_exporter

from cc_common.delivery import DeliveryWorker, Outbox
from cc_common.delivery.http_sender import HttpSender
from cc_common.delivery.spool import Spool

INTERVAL_S = 10
WARM_UP_TICKS = 20
TICKS = 200
MANY_TICKS = 800
FIRST_S = 1_700_000_000
NVML_SOURCE = Path(__file__).resolve().parent.parent / "tests/agent/nvml/fake_nvml.c"
LEFT_OUT: dict[str, tuple[str, ...]] = {
    "without counters and GPUs": ("nvidia", "rocm_smi", "perf", "rapl"),
    "with counters and GPUs": (),
}

SERVICE_ENVIRONMENT = {"PYTHONUNBUFFERED": "1", "PYTHONNODEBUGRANGES": "1", "MALLOC_ARENA_MAX": "1"}
"""That of the systemd unit."""

SHARE_WITHOUT_PERCENT = 0.1
SHARE_WITH_PERCENT = 0.5
RESIDENT_MB = 45.0
GROWTH_MB = 2.0
REPLAY_PER_S = 200_000
REPLAY_BATCHES = 360
ONCE_S = 1.0


class Sink(socketserver.ThreadingTCPServer):
    """Counts posts and their samples on an ephemeral port."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.posts = 0
        self.samples = 0
        self.last = b""

    @property
    def url(self) -> str:
        """Where to send to."""
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """Takes everything; the connection stays open."""

    server: Sink
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer 200."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.last = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
        self.server.samples += self.server.last.count(b"\n")
        self.server.posts += 1
        self.send_response(200)
        self.send_header("Accept-Encoding", "gzip")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_arguments: object) -> None:
        """Say nothing."""


@contextmanager
def serving() -> Iterator[Sink]:
    """A server that takes what is sent."""
    sink = Sink()
    threading.Thread(target=sink.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield sink
    finally:
        sink.shutdown()
        sink.server_close()


class MadeAgent:
    """An agent of the made node, in a process of its own, that ticks when it is told to."""

    def __init__(self, folder: Path, sink: Sink, library: str, left_out: tuple[str, ...]) -> None:
        self._sink = sink
        self._root = folder / "node"
        self._step = 0
        make_machine(self._root)
        program = Path(__file__).with_name("_made_agent.py")
        words = [str(self._root), sink.url, str(folder / "spool"), library, *left_out]
        self._process = subprocess.Popen(
            [sys.executable, str(program), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **SERVICE_ENVIRONMENT},
        )

    def tick(self) -> dict[str, Any]:
        """One tick, ten seconds after the last, and its delivery; what the agent says of itself."""
        self._step += 1
        advance(self._root, self._step)
        posts = self._sink.posts
        if self._process.stdin is None or self._process.stdout is None:
            raise SystemExit("the agent has no pipe")
        self._process.stdin.write(f"{FIRST_S + INTERVAL_S * self._step}\n")
        self._process.stdin.flush()
        figures: dict[str, Any] = json.loads(self._process.stdout.readline())
        end_s = time.monotonic() + 10
        while self._sink.posts == posts and time.monotonic() < end_s:
            time.sleep(0.0005)
        return figures

    def close(self) -> None:
        """End the process."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(20)


def made_driver(folder: Path) -> str:
    """The library in place of the driver's; "" without a C compiler."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        return ""
    library = folder / "libnvidia-ml.so.1"
    options = ["-shared", "-fPIC", "-O1", "-Wl,-soname,libnvidia-ml.so.1"]
    subprocess.run([compiler, *options, "-o", str(library), str(NVML_SOURCE)], check=True)
    return str(library)


def measure_node(name: str, library: str) -> bool:
    """Print what the agent takes on the made node; whether the promises are kept."""
    with tempfile.TemporaryDirectory() as folder, serving() as sink:
        agent = MadeAgent(Path(folder), sink, library, LEFT_OUT[name])
        for _ in range(WARM_UP_TICKS):
            first = agent.tick()
        for _ in range(TICKS):
            last = agent.tick()
        end = last
        for _ in range(MANY_TICKS):
            end = agent.tick()
        size, samples = len(sink.last), sink.last.count(b"\n")
        agent.close()
    print(f"\n{name}: {samples} samples, {size} bytes a tick")
    tick_ms, whole_ms = (1000 * (last[key] - first[key]) / TICKS for key in ("tick_s", "process_s"))
    limit = SHARE_WITH_PERCENT if library else SHARE_WITHOUT_PERCENT
    growth_mb = end["resident_mb"] - last["resident_mb"]
    started = end["children_s"] or end["children_faults"]
    kept = [
        show("reading and encoding, CPU of a tick", f"{tick_ms:.2f} ms"),
        show("with compressing and sending", f"{whole_ms:.2f} ms"),
        show("of one core, every 10 s", f"{whole_ms / INTERVAL_S / 10:.3f} %", whole_ms / INTERVAL_S / 10 <= limit),
        show(
            f"resident after {WARM_UP_TICKS + TICKS + MANY_TICKS} ticks",
            f"{end['resident_mb']:.1f} MB",
            end["resident_mb"] <= RESIDENT_MB,
        ),
        show(f"  of that since tick {WARM_UP_TICKS + TICKS}", f"{growth_mb:+.1f} MB", growth_mb <= GROWTH_MB),
        show("processes started", "0" if not started else "some", not started),
        show("threads, open files", f"{end['threads']}, {end['open_files']}"),
    ]
    costs = {key: 1000 * (value - first["reading_s"].get(key, 0.0)) / TICKS for key, value in last["reading_s"].items()}
    ranked = sorted(costs.items(), key=lambda item: -item[1])
    print("  CPU of each in µs:", ", ".join(f"{key} {1000 * value:.0f}" for key, value in ranked if value))
    for key, problem in last["problems"].items():
        print(f"  {key}: {problem}")
    return all(kept)


def measure_replay() -> bool:
    """Print how fast a spool is emptied that an hour at full rate has filled; whether the promise is kept."""
    tags = [f"cpu_user,cluster=demo,hostname=n001,type=hwthread,type-id={cpu % HWTHREADS}" for cpu in range(700)]
    samples = REPLAY_BATCHES * len(tags)
    elapsed_s, spent_s = min(_replay(tags) for _ in range(3))
    print(f"\nan hour that waited on disk: {REPLAY_BATCHES} batches, {samples} samples; the best of three")
    rate = samples / elapsed_s
    return all(
        [
            show("sent in order, with the receiver on the same cores", f"{rate:,.0f} /s", rate >= REPLAY_PER_S),
            show("CPU of both", f"{1e6 * spent_s / samples:.2f} µs a sample"),
        ]
    )


def _replay(tags: list[str]) -> tuple[float, float]:
    """Seconds until all of a full spool has been taken, elapsed and of a processor."""
    with tempfile.TemporaryDirectory() as folder, serving() as sink:
        spool = Spool(Path(folder) / "spool")
        for number in range(REPLAY_BATCHES):
            time_s = FIRST_S + INTERVAL_S * number
            lines = "".join(f"{tag} value={number + cpu / 10:g} {time_s}\n" for cpu, tag in enumerate(tags))
            spool.write(number, lines.encode())
        spool.close()
        worker = DeliveryWorker(Outbox(Path(folder) / "spool"), HttpSender(f"{sink.url}/api/write"))
        began_s, began_cpu_s = time.perf_counter(), time.process_time()
        worker.start()
        while sink.samples < REPLAY_BATCHES * len(tags) and time.perf_counter() < began_s + 60:
            time.sleep(0.001)
        took = time.perf_counter() - began_s, time.process_time() - began_cpu_s
        worker.stop(1.0)
    return took


def measure_beside() -> bool:
    """Print what agents take on this machine; those that are not installed are named."""
    print("\nbeside others on this machine, a reading a second")
    with serving() as sink:
        kept = _show_cost("cc-agent, built-in settings", measure_agent(sink.url, lambda: sink.samples))
    for name, measure in (("prometheus-node-exporter", measure_node_exporter), ("collectd", measure_collectd)):
        try:
            _show_cost(name, measure())
        except OSError as error:
            print(f"  {name}: left out: {error}")
    return kept


def _show_cost(name: str, cost: Cost) -> bool:
    each_us = 1000 * cost.cpu_ms / max(cost.samples, 1)
    show(name, f"{cost.cpu_ms:.2f} ms for {cost.samples:.0f} samples, {each_us:.1f} µs each")
    return show(
        "  resident", f"{cost.resident_mb:.1f} MB", not name.startswith("cc-agent") or cost.resident_mb <= RESIDENT_MB
    )


def measure_once() -> bool:
    """Print the seconds of `cc-agent once`, the better of three; whether the promise is kept."""
    times = []
    for _ in range(3):
        began_s = time.monotonic()
        subprocess.run([sys.executable, "-m", "cc_agent", "once"], check=True, stdout=subprocess.DEVNULL)
        times.append(time.monotonic() - began_s)
    print()
    return show("cc-agent once", f"{min(times):.2f} s", min(times) < ONCE_S)


def show(name: str, value: str, kept: bool = True) -> bool:  # noqa: FBT001 FBT002 reads as a row
    """Print a row; whether the promise is kept."""
    print(f"  {name:<52} {value:>24}{'' if kept else '  TOO MUCH'}")
    return kept


def main() -> int:
    """Measure, print, judge."""
    print(machine())
    print(f"a made node: 2 sockets, {HWTHREADS} hardware threads, {GPUS} GPUs, {JOBS} jobs")
    with tempfile.TemporaryDirectory() as folder:
        library = made_driver(Path(folder))
        kept = [measure_node("without counters and GPUs", "")]
        if library:
            kept.append(measure_node("with counters and GPUs", library))
        else:
            print("\nwith counters and GPUs: left out: there is no C compiler")
    kept += [measure_replay(), measure_beside(), measure_once()]
    return int(not all(kept))


if __name__ == "__main__":
    os.environ.setdefault("PYTHONPATH", os.pathsep.join(("common", "agent")))
    sys.exit(main())
