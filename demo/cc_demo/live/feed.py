"""Keeps the made-up cluster alive: samples of all nodes at every step, jobs that start and end, all over HTTP."""

import time
from collections.abc import Iterable
from pathlib import Path

import httpx

from cc_backend.clusters import Cluster, parse_cluster
from cc_demo.job_stream import GeneratedJob
from cc_demo.lines import cluster_lines, grid_times, job_lines, split_into_batches
from cc_demo.live.folder import DemoFolder
from cc_demo.live.plan import SHAPE, Plan

TIMEOUT_S = 30


class Feeder:
    """Sends what happens in the cluster to a backend; close it after use."""

    def __init__(self, url: str, folder: DemoFolder, plan: Plan) -> None:
        self._folder = folder
        self._plan = plan
        self._cluster: Cluster = parse_cluster(SHAPE.document(), source=SHAPE.name)[0]
        self._samples = make_client(url, folder.token_file("feed"))
        self._jobs = make_client(url, folder.token_file("jobs"))
        self._done_s = 0

    def begin(self, known: set[int], *, now_s: int) -> None:
        """Tell the backend of the jobs that run, and send the samples of their past that it does not have."""
        last_s = self._folder.last_tick_s
        for job in self._plan.running:
            if job.job_id not in known:
                self._start(job)
            seen_s = last_s + 1 if job.job_id in known else 0
            times = grid_times(max(job.start_time, seen_s), now_s, SHAPE.timestep_s)
            self._send(job_lines(job, self._cluster, times))
        self._done_s = now_s // SHAPE.timestep_s * SHAPE.timestep_s
        self._folder.record_tick(self._done_s)

    @property
    def next_s(self) -> int:
        """When the next samples are due."""
        return self._done_s + SHAPE.timestep_s

    def advance(self, now_s: int) -> None:
        """Send all that is due: job starts, samples, job ends."""
        while self.next_s <= now_s:
            time_s = self.next_s
            for job in self._plan.starting(time_s):
                self._start(job)
                self._plan.running.append(job)
            self._send(cluster_lines(SHAPE, self._cluster, self._plan.running, [time_s]))
            for job in [job for job in self._plan.running if job.stop_time <= time_s]:
                self._post_event("/api/jobs/stop_job/", job.stop_event().to_document())
                self._plan.running.remove(job)
            self._done_s = time_s
            self._folder.record_tick(time_s)

    def close(self) -> None:
        """Close the connections."""
        self._samples.close()
        self._jobs.close()

    def _start(self, job: GeneratedJob) -> None:
        self._post_event("/api/jobs/start_job/", job.start_event().to_document())

    def _post_event(self, path: str, document: dict[str, object]) -> None:
        self._jobs.post(path, json=document).raise_for_status()

    def _send(self, lines: Iterable[str]) -> None:
        for batch in split_into_batches(lines):
            self._samples.post("/api/write", content=batch).raise_for_status()


def make_client(url: str, token_file: Path) -> httpx.Client:
    """A client of the backend that shows a token."""
    token = token_file.read_text("utf-8").strip()
    return httpx.Client(base_url=url, headers={"X-Auth-Token": token}, timeout=TIMEOUT_S)


def unix_now_s() -> int:
    """The time in whole seconds."""
    return int(time.time())
