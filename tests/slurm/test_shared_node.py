"""Two jobs on one node: the backend shows of each what it used itself, by the agent's reading of control groups.

The processes are real jobs of Slurm. Their control groups are made here of what /proc says of these processes, so that
the test needs no cgroup v2 of its own.
"""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.slurm

SECONDS = 14
TOLERANCE = 0.05
METRICS = ("job_mem_used", "job_cpu_used", "job_hwthreads")

# uses memory and a share of a processor, and says at the end what that was by its own account
WORK = """
import json, sys, time
size_mb, share, seconds, result = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3]), sys.argv[4]
held = bytearray(size_mb << 20)
held[::4096] = b"x" * len(held[::4096])
begin, used = time.monotonic(), time.process_time()
while time.monotonic() - begin < seconds:
    slice_end = time.monotonic() + 0.1 * share
    while time.monotonic() < slice_end:
        pass
    time.sleep(0.1 * (1 - share))
anonymous = [line.split()[1] for line in open("/proc/self/status") if line.startswith(("RssAnon", "RssShmem"))]
own = {"cpu": 100 * (time.process_time() - used) / (time.monotonic() - begin), "mem": 1024 * sum(map(int, anonymous))}
json.dump(own, open(result, "w"))
"""


def processes_of(job_id: int) -> list[Path]:
    """The processes whose environment is that of a job."""
    own = f"SLURM_JOB_ID={job_id}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if own in (folder / "environ").read_bytes().split(b"\0"):
                found.append(folder)
        except OSError:
            continue
    return found


def write_group(folder: Path, job_id: int, known: dict[Path, tuple[int, int]], hwthread: int) -> None:
    """The files of a control group of cgroup v2, from what /proc says; ended processes keep their processor time."""
    anonymous = shared = 0
    for process in processes_of(job_id):
        try:
            status = (process / "status").read_text("utf-8")
            fields = (process / "stat").read_text("utf-8").rpartition(")")[2].split()
        except OSError:
            continue
        sizes = {
            line.split(":")[0]: int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("Rss")
        }
        anonymous += sizes.get("RssAnon", 0)
        shared += sizes.get("RssShmem", 0)
        known[process] = (int(fields[11]), int(fields[12]))
    us_per_tick = 1_000_000 // os.sysconf("SC_CLK_TCK")
    user, system = (us_per_tick * sum(times[place] for times in known.values()) for place in range(2))
    files = {
        "memory.stat": f"anon {anonymous}\nfile 0\nshmem {shared}\n",
        "cpu.stat": f"usage_usec {user + system}\nuser_usec {user}\nsystem_usec {system}\n",
        "cpuset.cpus.effective": f"{hwthread}\n",
    }
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        fresh = folder / f".{name}"
        fresh.write_text(text, "ascii")
        fresh.rename(folder / name)


@contextmanager
def groups_of(jobs: list[int], scope: Path) -> Iterator[None]:
    """Control groups of jobs that are kept up to date."""
    over = threading.Event()
    known: dict[int, dict[Path, tuple[int, int]]] = {job_id: {} for job_id in jobs}

    def follow() -> None:
        while not over.wait(0.1):
            for hwthread, job_id in enumerate(jobs):
                write_group(scope / f"job_{job_id}", job_id, known[job_id], hwthread)

    thread = threading.Thread(target=follow)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def second_agent(site: Any, scope: Path) -> Iterator[None]:
    """An agent that reads the control groups only."""
    chosen = {"cgroup_base": str(scope), "include_metrics": list(METRICS)}
    config = site.directory / "shared.json"
    config.write_text(json.dumps({"main": {"interval": "1s"}, "collectors": {"slurm_cgroup": chosen}}), "utf-8")
    options = ("--config", config, "--url", site.backend.url, "--token-file", site._token_file("agent"))
    command = (site.processes.BIN / "cc-agent", "run", *options, "--cluster", "tbcluster", "--hostname", "tbh01")
    with site.processes.process(*command, log=site.directory / "shared.log"):
        yield


def means(site: Any, database_id: int) -> dict[str, float]:
    """The mean of each metric of a job over the middle of its time."""
    header = {"X-Auth-Token": site.backend.token("reader", "--role", "api", "--scope", "jobs")}
    answer = httpx.get(f"{site.backend.url}/api/jobs/metrics/{database_id}", headers=header, timeout=20)
    found = {}
    for entry in answer.json()["data"]["jobMetrics"]:
        if entry["name"] in METRICS:
            (series,) = entry["metric"]["series"]
            values = [value for value in series["data"][3:-3] if value is not None]
            found[entry["name"]] = sum(values) / len(values)
    return found


def test_each_of_two_jobs_on_a_node_has_its_own_memory_and_processor_time(site: Any, slurm: Any) -> None:
    scope = Path(slurm.directory) / "slurmstepd.scope"
    scope.mkdir()
    work = Path(slurm.directory) / "work.py"
    work.write_text(WORK, "utf-8")
    results = Path(slurm.directory) / "results"
    results.mkdir()
    results.chmod(0o777)
    shares = {"tbalice": (400, 0.9), "tbbob": (150, 0.3)}
    jobs = []
    for user, (size_mb, share) in shares.items():
        command = f"exec python3 {slurm.folder}/work.py {size_mb} {share} {SECONDS} {slurm.folder}/results/{user}"
        jobs.append(slurm.submit("--partition=host", "-n1", "--mem=1M", "--wrap", command, user=user))
    for job_id in jobs:
        slurm.wait_for("a job of the shared node", job_id, "RUNNING")
    with groups_of(jobs, scope), second_agent(site, scope):
        for job_id in jobs:
            slurm.wait_for("a job of the shared node", job_id, "COMPLETED", 60)
    for user, job_id in zip(shares, jobs, strict=True):
        (row,) = site.rows(job_id)
        measured = means(site, row["id"])
        own = json.loads((results / user).read_text("utf-8"))
        assert measured["job_hwthreads"] == 1
        assert measured["job_mem_used"] == pytest.approx(own["mem"], rel=TOLERANCE)
        assert measured["job_cpu_used"] == pytest.approx(own["cpu"], rel=TOLERANCE)
