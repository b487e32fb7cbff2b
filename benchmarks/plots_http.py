"""The curves of a job page: a real backend with samples in its store, asked as `plots.js` asks it.

Run: python benchmarks/plots_http.py

Node metrics at 60 s, noise with full single precision. Of each form: its bytes, plain (the server does not compress)
and as a proxy would compress them; the best of several requests on a kept connection, both forms in turn, from the
request to the last byte; making the answer from finished figures alone; and reading it in a headless Chromium, where
there is one. The JSON form also says why samples are missing: that is most of its time for a job with gaps.
"""

import gzip
import http.client
import json
import os
import shutil
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson
from _bench import BIN, cli, machine, make_site, serving, session_cookie

from cc_backend.clusters import parse_cluster
from cc_backend.insight.job_curves import JobCurveSet
from cc_backend.model import Job, JobData, JobMetric, Resource, SampleSeries, Scope
from cc_backend.web.job_page import PageOptions, build_plots
from cc_backend.web.job_plots import plots_to_json
from cc_backend.web.plots_binary import MEDIA_TYPE, CurveBlock

USER, PASSWORD = "bench", "of a server that lives for seconds"
JSON = "application/json"
STEP_S = 60
ROUNDS = 15
READINGS = 20
CHROMIUM_ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
READ = """async ([address, accept, module, readings]) => {
  const { decode } = await import(module);
  const answer = await fetch(address, { headers: { Accept: accept } });
  const bytes = await answer.arrayBuffer();
  const read = accept.endsWith("json") ? () => JSON.parse(new TextDecoder().decode(bytes)) : () => decode(bytes);
  let best = Infinity;
  for (let round = 0; round < 5; round += 1) {
    const begin = performance.now();
    for (let i = 0; i < readings; i += 1) read();
    best = Math.min(best, (performance.now() - begin) / readings);
  }
  return best;
}"""


@dataclass(frozen=True, slots=True)
class Plan:
    """A job on nodes from `first` on; more than eight become a median with bands, fewer are lines."""

    nodes: int
    metrics: int
    hours: int
    first: int
    gap: bool = False

    @property
    def title(self) -> str:
        """What a row is called."""
        return f"{self.nodes} x {self.metrics} x {self.hours} h{', gaps' if self.gap else ''}"

    @property
    def hosts(self) -> list[str]:
        """The names of its nodes."""
        return [f"n{self.first + node:03d}" for node in range(self.nodes)]

    def values(self, metric: int) -> Any:
        """One row per node of what a metric was."""
        slots = self.hours * 3600 // STEP_S
        random = np.random.default_rng((self.first, metric))
        values = 40 + 5 * np.sin(np.arange(slots) / 50) + random.standard_normal((self.nodes, slots))
        if self.gap:
            values[:, slots // 3 : slots // 3 + slots // 20] = np.nan
        return values.astype(np.float32)


Measured = Mapping[str, tuple[float, bytes]]
"""By form: milliseconds of the best round, and the answer."""

PLANS = (Plan(64, 25, 24, 0), Plan(64, 25, 24, 100, gap=True), Plan(8, 25, 24, 200), Plan(4, 25, 1, 300))
FORMS = {"JSON": JSON, "binary": MEDIA_TYPE}


def main() -> int:
    """Print a table."""
    print(machine())
    with tempfile.TemporaryDirectory() as folder, backend(Path(folder)) as (port, config):
        token = cli("token", "create", "agents", "--config", config, "--scope", "write", "--scope", "jobs").strip()
        cookie = sign_in(port)
        print("| job (nodes x metrics) | form   |   kB | kB, gzip | request ms | making ms | reading ms |")
        print("|-----------------------|--------|-----:|---------:|-----------:|----------:|-----------:|")
        with browser_page(port, cookie) as page:
            for number, plan in enumerate(PLANS):
                address = start(port, token, plan, 1000 + number)
                report(plan, ask(port, cookie, address), make_both(plan), read_in_browser(page, address))
    return 0


def report(plan: Plan, asked: Measured, made: Measured, read: Mapping[str, str]) -> None:
    """The rows of a job, one for each form."""
    for name in FORMS:
        (request_ms, body), (making_ms, _) = asked[name], made[name]
        sizes = f"{len(body) / 1e3:4.0f} | {len(gzip.compress(body, 6)) / 1e3:8.0f}"
        times = f"{request_ms:10.1f} | {making_ms:9.2f} | {read[name]:>10}"
        print(f"| {plan.title:21} | {name:6} | {sizes} | {times} |", flush=True)


def make_both(plan: Plan) -> Measured:
    """Each form from finished figures, in this process."""
    sub_cluster = parse_cluster(cluster(), source="bench")[0].sub_clusters["main"]
    data: JobData = {}
    for number, (name, config) in enumerate(list(sub_cluster.metrics.items())[: plan.metrics]):
        series = [SampleSeries(host, row) for host, row in zip(plan.hosts, plan.values(number), strict=True)]
        data[name] = {Scope.NODE: JobMetric(config.unit, STEP_S, series)}
    job = Job(
        job_id=1,
        cluster="bench",
        sub_cluster="main",
        user=USER,
        project="bench",
        start_time=0,
        duration=plan.hours * 3600,
        num_nodes=plan.nodes,
        resources=tuple(Resource(host) for host in plan.hosts),
    )
    plots = build_plots(job, JobCurveSet(data), sub_cluster, sub_cluster.metrics, PageOptions(), labels=[], draw=False)

    def plain() -> bytes:
        return orjson.dumps(plots_to_json(job, plots, UTC, clock=False), option=orjson.OPT_SERIALIZE_NUMPY)

    def binary() -> bytes:
        block = CurveBlock()
        return block.encode(plots_to_json(job, plots, UTC, clock=False, gaps=None, encode_curve=block.add_curve))

    return in_turn({"JSON": plain, "binary": binary})


def in_turn(work: Mapping[str, Callable[[], bytes]]) -> Measured:
    """The best of several rounds of each, and what came out; all of them in every round."""
    best: dict[str, tuple[float, bytes]] = {}
    for _ in range(ROUNDS):
        for name, make in work.items():
            begin = time.perf_counter()
            body = make()
            taken_ms = (time.perf_counter() - begin) * 1e3
            best[name] = min(best.get(name, (taken_ms, body)), (taken_ms, body), key=lambda one: one[0])
    return best


@contextmanager
def backend(folder: Path) -> Iterator[tuple[int, Path]]:
    """The port and the configuration of a backend with a cluster and an account."""
    config = make_site(folder, cluster())
    cli("user", "add", USER, "--config", config, "--role", "support", given=f"{PASSWORD}\n")
    with serving([BIN / "cc-backend", "serve", "--config", config]) as (port, _):
        yield port, config


def sign_in(port: int) -> str:
    """The cookie of a session."""
    form = urllib.parse.urlencode({"username": USER, "password": PASSWORD, "redirect": "/"}).encode()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer, _ = request(http.client.HTTPConnection("127.0.0.1", port), "POST", "/login", form, headers, expected=303)
    return session_cookie(answer)


def start(port: int, token: str, plan: Plan, job_id: int) -> str:
    """Where the curves of a job are, once it is known and all its samples are there."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    headers = {"Authorization": f"Bearer {token}"}
    begin_s = int(time.time()) // STEP_S * STEP_S - plan.hours * 3600
    document = {
        "cluster": "bench",
        "user": USER,
        "project": "bench",
        "jobId": job_id,
        "startTime": begin_s,
        "numNodes": plan.nodes,
        "numHwthreads": plan.nodes,
        "resources": [{"hostname": host} for host in plan.hosts],
    }
    _, body = request(connection, "POST", "/api/jobs/start_job/", json.dumps(document).encode(), headers, expected=201)
    for metric in range(plan.metrics):
        for host, row in zip(plan.hosts, plan.values(metric).tolist(), strict=True):
            tags = f"m{metric:02d},cluster=bench,hostname={host},type=node value="
            lines = [f"{tags}{v!r} {begin_s + i * STEP_S}" for i, v in enumerate(row) if v == v]  # noqa: PLR0124 - NaN
            request(connection, "POST", "/api/write/", "\n".join(lines).encode(), headers)
    return f"/monitoring/job/{json.loads(body)['id']}/data"


def ask(port: int, cookie: str, address: str) -> Measured:
    """Each form of the curves at an address."""
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def get(accept: str) -> bytes:
        return request(connection, "GET", address, None, {"Cookie": cookie, "Accept": accept})[1]

    return in_turn({name: partial(get, accept) for name, accept in FORMS.items()})


def request(
    connection: http.client.HTTPConnection,
    method: str,
    address: str,
    body: bytes | None,
    headers: dict[str, str],
    *,
    expected: int = 200,
) -> tuple[http.client.HTTPResponse, bytes]:
    """The answer and its body; ends the program for an unexpected one."""
    connection.request(method, address, body, headers)
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != expected:
        raise SystemExit(f"{address}: the server answered {answer.status}: {content[:200]!r}")
    return answer, content


@contextmanager
def browser_page(port: int, cookie: str) -> Iterator[Any]:
    """The start page in a headless Chromium; None without one."""
    program = shutil.which(os.environ.get("CHROMIUM", "chromium"))
    try:
        from playwright.sync_api import sync_playwright  # noqa: PLC0415 - not everybody has it
    except ImportError:
        program = None
    if program is None:
        yield None
        return
    url = f"http://127.0.0.1:{port}"
    name, _, value = cookie.partition("=")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=CHROMIUM_ARGUMENTS)
        context = browser.new_context()
        context.add_cookies([{"name": name, "value": value, "url": url}])
        page = context.new_page()
        page.goto(url)
        yield page
        browser.close()


def read_in_browser(page: Any, address: str) -> Mapping[str, str]:
    """By form milliseconds from bytes to what `plots.js` works with; a dash without a browser."""
    if page is None:
        return dict.fromkeys(FORMS, "-")
    script = page.get_attribute("script[src$='/js/page.js']", "src").replace("page.js", "plotsbinary.js")
    return {name: f"{page.evaluate(READ, [address, accept, script, READINGS]):.2f}" for name, accept in FORMS.items()}


def cluster() -> dict[str, Any]:
    """A cluster of nodes with one hardware thread and 25 metrics of the node."""
    metric = {"unit": {"base": "B/s", "prefix": "G"}, "scope": "node", "timestep": STEP_S, "aggregation": "avg"}
    limits = {"peak": 100, "normal": 50, "caution": 20, "alert": 10}
    quantity = {"unit": {"base": "F/s", "prefix": "G"}, "value": 1}
    main_nodes = {
        "name": "main",
        "nodes": "n[000-999]",
        "processorType": "made up",
        "socketsPerNode": 1,
        "coresPerSocket": 1,
        "threadsPerCore": 1,
        "flopRateScalar": quantity,
        "flopRateSimd": quantity,
        "memoryBandwidth": quantity,
        "topology": {"node": [0], "socket": [[0]], "memoryDomain": [[0]], "core": [[0]]},
    }
    return {
        "name": "bench",
        "metricConfig": [{"name": f"m{number:02d}", **metric, **limits} for number in range(25)],
        "subClusters": [main_nodes],
    }


if __name__ == "__main__":
    sys.exit(main())
