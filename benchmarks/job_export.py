"""Time and memory of exporting one job in each format: the whole response of the application, without sockets.

    python benchmarks/job_export.py [--nodes N --metrics N --hours N --step S]

A job of 64 nodes x 10 metrics x 24 h at 60 s, while it runs and from the archive. Values are noise with two to six
digits. Processor time of the serving thread, the least of three requests; memory is the most that the process held
beyond what it held before, in MB, with the file and a copy of it that is taken here. Promise: 150 MB. Exit status
1 if it is broken.
"""

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from _bench import machine
from job_data import START_S, Plan, application, fill, start

from cc_backend.maintenance.tasks import make_archiver

PROMISE_MB = 150.0
ROUNDS = 3


def main() -> int:
    """Print a table; 1 if the promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in (("nodes", 64), ("metrics", 10), ("hours", 24), ("step", 60)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    options = parser.parse_args()
    plan = Plan(options.nodes, options.metrics, options.hours, options.step)
    logging.disable()
    print(machine())
    print("| job | format | MB | least, s | memory, MB | promise, MB |")
    print("|---|---|---:|---:|---:|---:|")
    most_mb = 0.0
    with tempfile.TemporaryDirectory() as name:
        services, ask = application(Path(name), plan)
        job_id = start(ask, plan)
        fill(services, plan)
        for state in ("running", "archived"):
            if state == "archived":
                end_s = START_S + plan.hours * 3600
                stop = {"jobId": 1, "cluster": "bench", "stopTime": end_s, "jobState": "completed"}
                ask("POST", "/api/jobs/stop_job/", json.dumps(stop).encode())
                make_archiver(services).run_once(now_s=end_s + int(services.settings.archive.late_data_s))
            for form in ("json", "csv", "parquet"):
                address = f"/api/jobs/export/{job_id}?format={form}"
                least_s, size, memory_mb = measured(lambda address=address: len(ask("GET", address, b"")))  # type: ignore[misc]
                most_mb = max(most_mb, memory_mb)
                print(
                    f"| {state} | {form} | {size / 1e6:.1f} | {least_s:.2f} | {memory_mb:.0f} | {PROMISE_MB:.0f} |",
                    flush=True,
                )
        services.close()
    return 0 if most_mb <= PROMISE_MB else 1


def measured(work: Callable[[], int]) -> tuple[float, int, float]:
    """The least processor time in seconds, what the work returns, and how many MB more were held in the meantime."""
    times_s = []
    size = work()  # loads what is loaded when it is first needed
    Path("/proc/self/clear_refs").write_text("5", "ascii")  # the peak begins anew
    before_mb = status_mb("VmRSS")
    for _ in range(ROUNDS):
        began_s = time.thread_time()
        work()
        times_s.append(time.thread_time() - began_s)
    return min(times_s), size, status_mb("VmHWM") - before_mb


def status_mb(key: str) -> float:
    """A size in the status of this process."""
    lines = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:")) / 1000


if __name__ == "__main__":
    sys.exit(main())
