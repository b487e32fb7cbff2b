"""This machine as a cluster of one node: one job after the other that really loads it."""

import socket
import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from cc_demo.live.feed import make_client, unix_now_s
from cc_demo.live.folder import LOCAL, OWNER, PROJECT
from cc_demo.live.processes import run_child

PAUSE_S = 5
LENGTHS = (1.0, 1.5, 2.0)
"""How long the jobs are, as parts of the shortest, in turn."""
_BURN = "import os,sys\nos.sched_setaffinity(0,{int(sys.argv[1])})\nwhile True: pass"


def host_name() -> str:
    """The name of this machine, as its agent sends it."""
    return socket.gethostname().split(".")[0]


def run_jobs(
    url: str, token_file: Path, threads: list[int], *, job_seconds: float, stop: threading.Event, failed: list[str]
) -> None:
    """Run one job after the other until `stop` is set; errors are appended to `failed`."""
    host = host_name()
    with make_client(url, token_file) as backend:
        number = unix_now_s() % 10_000_000
        while not stop.is_set() and not failed:
            number += 1
            length_s = job_seconds * LENGTHS[number % len(LENGTHS)]
            used = threads if number % 2 else threads[: max(1, len(threads) // 2)]
            try:
                _one_job(backend, start_document(number, host, used, length_s), length_s, stop)
            except httpx.HTTPError as error:
                failed.append(f"the job of this machine could not be reported: {error}")
            stop.wait(PAUSE_S)


def start_document(number: int, host: str, threads: list[int], job_seconds: float) -> dict[str, Any]:
    """The start event of a job, as the backend gets it."""
    return {
        "jobId": number,
        "cluster": LOCAL,
        "user": OWNER,
        "project": PROJECT,
        "partition": "main",
        "startTime": unix_now_s(),
        "numNodes": 1,
        "numHwthreads": len(threads),
        "shared": "none",
        "walltime": int(job_seconds * 2),
        "resources": [{"hostname": host, "hwthreads": threads}],
        "metaData": {"jobName": f"burn_on_{len(threads)}", "jobScript": "#!/bin/bash\n./burn\n"},
    }


def _one_job(backend: httpx.Client, event: dict[str, Any], job_seconds: float, stop: threading.Event) -> None:
    backend.post("/api/jobs/start_job/", json=event).raise_for_status()
    with ExitStack() as loads:
        for thread in event["resources"][0]["hwthreads"]:
            loads.enter_context(run_child([sys.executable, "-c", _BURN, str(thread)]))
        stop.wait(job_seconds)
    state = "cancelled" if stop.is_set() else "completed"
    stopped = {"jobId": event["jobId"], "cluster": LOCAL, "jobState": state, "stopTime": unix_now_s()}
    backend.post("/api/jobs/stop_job/", json=stopped).raise_for_status()
