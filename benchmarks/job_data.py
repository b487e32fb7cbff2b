"""The samples of a running job over REST: the whole response of the application, without sockets and compression.

    python benchmarks/job_data.py [--nodes N --metrics N --hours N --step S] [--profile]

Jobs of which all samples are there: 64 nodes x 10 metrics x 24 h at 60 s, and 100 nodes x 3 metrics x 12 h at 10 s, the
latter also on a cluster that has another metric at 60 s, to which the curves of `all-metrics` are then downsampled; or
the one job that the options describe. Values are noise with two to six digits. Processor time of the serving thread,
the least and the median of several requests. Promises: 80 ms and 150 ms. Exit status 1 if one of them is broken.
"""

import argparse
import cProfile
import io
import json
import logging
import pstats
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any

import numpy as np
from _bench import cli, machine, make_site
from plots_http import cluster

from cc_backend.app import create_app
from cc_backend.httpserver.parser import parse_head
from cc_backend.httpserver.wsgi import Endpoint, run_application, wsgi_environ
from cc_backend.services import EXTENSION, Services
from cc_backend.settings import load_settings

START_S = 1_760_000_400
ROUNDS = 11
ENDPOINT = Endpoint("127.0.0.1", 8080)
Ask = Callable[[str, str, bytes], bytes]


@dataclass(frozen=True, slots=True)
class Plan:
    """A job, and how long its data may take; None promises nothing.

    `coarsest_s` is the step of another metric of the cluster, 0 where there is none.
    """

    nodes: int
    metrics: int
    hours: int
    step_s: int
    promise_ms: float | None = None
    coarsest_s: int = 0

    @property
    def hosts(self) -> list[str]:
        """The names of its nodes."""
        return [f"n{node:03d}" for node in range(self.nodes)]


PLANS = (Plan(64, 10, 24, 60, 80.0), Plan(100, 3, 12, 10, 150.0), Plan(100, 3, 12, 10, 150.0, coarsest_s=60))


def main() -> int:
    """Print a table; 1 if a promise is broken."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, help="at most 1000")
    parser.add_argument("--metrics", type=int, default=10, help="at most 25")
    parser.add_argument("--hours", type=int, default=24)
    parser.add_argument("--step", type=int, default=60, help="seconds between two samples")
    parser.add_argument("--profile", action="store_true", help="also print where the time goes")
    options = parser.parse_args()
    plans: tuple[Plan, ...] = PLANS
    if options.nodes:
        plans = (Plan(options.nodes, options.metrics, options.hours, options.step),)
    logging.disable()
    print(machine())
    print("| job: nodes x metrics x time, step | route | MB | least, ms | median, ms | promise, ms |")
    print("|---|---|---:|---:|---:|---:|")
    kept = [measure(plan, profiled=options.profile) for plan in plans]
    return 0 if all(kept) else 1


def measure(plan: Plan, *, profiled: bool) -> bool:
    """One row for each route; whether the promise was kept."""
    kept = True
    with tempfile.TemporaryDirectory() as name:
        services, ask = application(Path(name), plan)
        job_id = start(ask, plan)
        fill(services, plan)
        metrics = "&".join(f"metric=m{number:02d}" for number in range(plan.metrics))
        routes = {
            "/jobs/metrics/ID": ("GET", f"/api/jobs/metrics/{job_id}?scope=node&{metrics}", b""),
            "/jobs/ID?all-metrics": ("GET", f"/api/jobs/{job_id}?all-metrics=true", b""),
        }
        for route, request in routes.items():
            times_ms, size = timed(lambda request=request: ask(*request))  # type: ignore[misc]
            least, median = min(times_ms), statistics.median(times_ms)
            steps = f"{plan.step_s} of {plan.coarsest_s} s" if plan.coarsest_s else f"{plan.step_s} s"
            job = f"{plan.nodes} x {plan.metrics} x {plan.hours} h, {steps}"
            promise = "" if plan.promise_ms is None else f"{plan.promise_ms:.0f}"
            print(f"| {job} | {route} | {size / 1e6:.1f} | {least:.0f} | {median:.0f} | {promise} |", flush=True)
            kept &= plan.promise_ms is None or least <= plan.promise_ms
            if profiled:
                profile(lambda request=request: ask(*request))  # type: ignore[misc]
        services.close()
    return kept


def timed(work: Callable[[], bytes]) -> tuple[list[float], int]:
    """Processor time of each round in milliseconds, and how many bytes came out."""
    found = []
    size = len(work())
    for _ in range(ROUNDS):
        began_s = time.thread_time()
        work()
        found.append((time.thread_time() - began_s) * 1e3)
    return found, size


def profile(work: Callable[[], bytes]) -> None:
    """Print the functions that take most of the time of one call."""
    profiler = cProfile.Profile()
    profiler.runcall(work)
    pstats.Stats(profiler).sort_stats("tottime").print_stats(20)


def application(folder: Path, plan: Plan) -> tuple[Services, Ask]:
    """The application with a cluster, at the time when the job has run for its hours, and how to ask it."""
    config = make_site(folder, configured(plan))
    scopes = ("--scope", "jobs", "--scope", "read")
    token = cli("token", "create", "bench", "--config", config, *scopes).strip()
    end_s = START_S + plan.hours * 3600
    app = create_app(load_settings(config, environment={}).value, clock=lambda: end_s)

    def ask(method: str, address: str, body: bytes) -> bytes:
        head = f"{method} {address} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Length: {len(body)}"
        environ = wsgi_environ(parse_head(head.encode()), io.BytesIO(body), len(body), (ENDPOINT.host, 1), ENDPOINT)
        response = run_application(app, environ)
        if response.status not in (HTTPStatus.OK, HTTPStatus.CREATED):
            raise SystemExit(f"{address}: the application answered {response.status}: {response.body[:300]!r}")
        return bytes(response.body)

    services: Services = app.extensions[EXTENSION]
    return services, ask


def configured(plan: Plan) -> dict[str, Any]:
    """The cluster, with as many metrics as the job has, at its step."""
    document = cluster()
    of_job = document["metricConfig"][: plan.metrics]
    document["metricConfig"] = [{**metric, "timestep": plan.step_s} for metric in of_job]
    if plan.coarsest_s:
        document["metricConfig"].append({**of_job[0], "name": "coarsest", "timestep": plan.coarsest_s})
    return document


def start(ask: Ask, plan: Plan) -> int:
    """The number of the job in the database."""
    document = {
        "cluster": "bench",
        "user": "bench",
        "project": "bench",
        "jobId": 1,
        "startTime": START_S,
        "numNodes": plan.nodes,
        "numHwthreads": plan.nodes,
        "resources": [{"hostname": host} for host in plan.hosts],
    }
    return int(json.loads(ask("POST", "/api/jobs/start_job/", json.dumps(document).encode()))["id"])


def fill(services: Services, plan: Plan) -> None:
    """Give the store every sample of the job."""
    count = plan.hours * 3600 // plan.step_s + 1
    texts = [f" value={value:.6g} " for value in np.random.default_rng(1).lognormal(4.0, 2.0, 4999).tolist()]
    times = [str(START_S + slot * plan.step_s) for slot in range(count)]
    number = 0
    for host in plan.hosts:
        for metric in range(plan.metrics):
            key = f"m{metric:02d},cluster=bench,hostname={host},type=node"
            number += 1
            lines = [f"{key}{texts[(slot + number * 997) % len(texts)]}{time_s}" for slot, time_s in enumerate(times)]
            services.store.ingest("\n".join(lines).encode(), received_s=services.now_s(), allowed_clusters=("bench",))


if __name__ == "__main__":
    sys.exit(main())
