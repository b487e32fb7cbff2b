"""What jobs cost the server by their size and number.

    python benchmarks/jobs_load.py [--hosts 10000] [--running 6400] [--seconds 60]

One job of many hosts without samples: its start event, its page and the list, in processor time; promise: 2 s a page.
Then many running jobs with samples: how much of one core their refresh takes at one step a second, and how long a list
of jobs takes meanwhile beside the same without; promise: a tenth of a core, and requests that do not notice.
"""

import argparse
import logging
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _bench import machine

from cc_backend.app import create_app
from cc_backend.archive.file_archive import FileArchive
from cc_backend.auth.token_keys import generate_keys
from cc_backend.auth.users import User
from cc_backend.maintenance.running_footprints import STEP_EVERY_S, FootprintRefresher
from cc_backend.metricstore.model import Identity
from cc_backend.services import EXTENSION, Services
from cc_backend.settings import LEGACY_KEYS, BackendSettings
from cc_common.settings import load

CLUSTER = "bench"
METRICS = ("cpu_load", "flops_any", "mem_bw", "mem_used")
STEP_S = 60
SLOTS = 120
PASSWORD = "correct horse battery"  # noqa: S105 of an account that is gone with its folder


def cluster(hosts: int) -> dict[str, Any]:
    """cluster.json with one kind of node."""
    value = {"unit": {"base": "F/s", "prefix": "G"}, "value": 10}
    threads = list(range(4))
    return {
        "name": CLUSTER,
        "metricConfig": [
            {
                "name": name,
                "unit": {"base": ""},
                "scope": "node",
                "aggregation": "avg",
                "timestep": STEP_S,
                "peak": 4,
                "normal": 2,
                "caution": 1,
                "alert": 0.5,
                "footprint": "avg",
            }
            for name in METRICS
        ],
        "subClusters": [
            {
                "name": "all",
                "nodes": f"n[00001-{hosts:05d}]",
                "processorType": "Invented",
                "socketsPerNode": 1,
                "coresPerSocket": 4,
                "threadsPerCore": 1,
                "flopRateScalar": value,
                "flopRateSimd": value,
                "memoryBandwidth": {"unit": {"base": "B/s", "prefix": "G"}, "value": 20},
                "topology": {
                    "node": threads,
                    "socket": [threads],
                    "memoryDomain": [threads],
                    "core": [[thread] for thread in threads],
                },
            }
        ],
    }


def application(folder: Path, hosts: int) -> Any:
    """A backend in a folder; no background work runs."""
    FileArchive.create(folder / "job-archive").store_cluster(cluster(hosts))
    (folder / "metric-store").mkdir()
    private, public = generate_keys()
    document = {
        "main": {"db": "job.db"},
        "auth": {"jwts": {"private-key": private, "public-key": public}},
        "archive": {"path": "job-archive"},
        "metric-store": {"wal": {"directory": "metric-store", "fsync": "never"}},
    }
    return create_app(load(BackendSettings, document, source="bench", base_directory=folder, legacy=LEGACY_KEYS).value)


def seconds_of(run: Callable[[], Any], times: int = 3) -> float:
    """The processor time of the fastest of some runs."""
    best = float("inf")
    for _ in range(times):
        begin = time.thread_time()
        answer = run()
        best = min(best, time.thread_time() - begin)
        if answer.status_code not in (200, 201):
            raise SystemExit(f"{answer.status_code}: {answer.text[:300]}")
    return best


def start(client: Any, headers: dict[str, str], job_id: int, hosts: list[str], start_s: int) -> Any:
    """Send the start of a job."""
    body = {
        "cluster": CLUSTER,
        "user": "ada",
        "project": "p",
        "jobId": job_id,
        "numNodes": len(hosts),
        "startTime": start_s,
        "walltime": 86_400,
        "resources": [{"hostname": host} for host in hosts],
    }
    return client.post("/api/jobs/start_job/", json=body, headers=headers)


def one_large_job(client: Any, headers: dict[str, str], hosts: int) -> None:
    """Print what a job of many hosts costs."""
    now_s = int(time.time())
    names = [f"n{number:05d}" for number in range(1, hosts + 1)]
    event = seconds_of(lambda: start(client, headers, 1, names, now_s - 600), times=1)
    page = seconds_of(lambda: client.get("/monitoring/job/1"))
    answer = client.get("/monitoring/job/1")
    listed = seconds_of(lambda: client.get("/monitoring/jobs/"))
    api = seconds_of(lambda: client.get("/api/jobs/metrics/1", headers=headers))
    refused = start(client, headers, 2, [f"x{number}" for number in range(16_385)], now_s).status_code
    print("\n| a job of hosts | start, ms | page, ms | page, kB | list, ms | metrics route, ms | 16,385 hosts |")
    print("|--:|--:|--:|--:|--:|--:|--:|")
    print(
        f"| {hosts} | {event * 1e3:.0f} | {page * 1e3:.0f} | {len(answer.data) / 1e3:.0f} | {listed * 1e3:.0f} | "
        f"{api * 1e3:.0f} | {refused} |"
    )


def many_running(services: Services, client: Any, headers: dict[str, str], running: int, seconds: float) -> None:
    """Print what the refresh of many running jobs costs, and what requests take beside it."""
    now_s = int(time.time()) // STEP_S * STEP_S
    names = [f"n{number:05d}" for number in range(1, running + 1)]
    table = services.store._table  # noqa: SLF001 samples go in without text, to be quick
    sids = table.register_many([Identity(CLUSTER, name, metric) for name in names for metric in METRICS])
    for slot in range(SLOTS):
        table.columns.store_samples(sids, np.full(len(sids), 1.5, np.float32), now_s - (SLOTS - slot) * STEP_S)
    for number, name in enumerate(names):
        if start(client, headers, 10 + number, [name], now_s - SLOTS * STEP_S).status_code != 201:
            raise SystemExit("a start was refused")
    refresher = FootprintRefresher(services.running_jobs, services.metric_data, services.clusters, services.judge)
    ending = threading.Event()
    used = [0.0]
    looked = [0]

    def work() -> None:
        begin = time.thread_time()
        while not ending.wait(STEP_EVERY_S):
            looked[0] += refresher.step(now_s=services.now_s()).examined
            used[0] = time.thread_time() - begin

    def latencies() -> list[float]:
        found, end = [], time.monotonic() + seconds
        while time.monotonic() < end:
            begin = time.perf_counter()
            client.get("/api/jobs/?items-per-page=25", headers=headers)
            found.append(1e3 * (time.perf_counter() - begin))
        return found

    alone = latencies()
    thread = threading.Thread(target=work)
    thread.start()
    beside = latencies()
    ending.set()
    thread.join()
    print("\n| running jobs | of one core | jobs looked at | list alone: median, p99, ms | beside: median, p99, ms |")
    print("|--:|--:|--:|--:|--:|")
    shares = " | ".join(f"{np.median(times):.1f}, {np.percentile(times, 99):.1f}" for times in (alone, beside))
    print(f"| {running} | {100 * used[0] / seconds:.1f} % | {looked[0]} | {shares} |")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=10_000)
    parser.add_argument("--running", type=int, default=6400)
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    print(machine())
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        app = application(Path(folder), max(arguments.hosts, arguments.running))
        services: Services = app.extensions[EXTENSION]
        services.users.add("bench", ("api",))
        account = User("bench", frozenset({"api"}))
        token = services.tokens.issue(account, None, None, (), max_age_s=3600, now_s=time.time())
        headers = {"X-Auth-Token": token}
        services.users.add("ada", ("admin",), password=PASSWORD)
        client = app.test_client()
        client.post("/login", data={"username": "ada", "password": PASSWORD})
        one_large_job(client, headers, arguments.hosts)
        many_running(services, client, headers, arguments.running, arguments.seconds)
        services.close()


if __name__ == "__main__":
    main()
