"""A large cluster through the Slurm adapter: when the first and the last job arrive, and what a look costs.

Run: python benchmarks/adapter_cycle.py [JOBS] [INTERVAL_S] [LOOKS]

Slurm is scripts that print files of the size and layout that version 24.11 prints; adapter, backend and the way between
them are the real ones, on loopback. The adapter's CPU time is its own, without that of Slurm's commands.
"""

import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _bench import BIN, cli, machine, make_site, serving

CLUSTER = "bench"
CORES = 64
JOBS_PER_NODE = 10
CORES_PER_JOB = 6
FILLER = 110
"""So many more fields make a record as long as a real one."""
LONGEST_S = 600.0

_SCRIPT = """#!/bin/sh
case "$(basename "$0") $*" in
squeue*) cat {folder}/queue ;;
sacct*) cat {folder}/accounting ;;
sinfo*) echo slurm 24.11.5 ;;
"scontrol show config") echo "ClusterName = {cluster}" ;;
"scontrol show job -d") cat {folder}/details ;;
"scontrol show nodes") cat {folder}/nodes ;;
"scontrol ping") echo "Slurmctld(primary) at head is UP" ;;
*) exit 9 ;;
esac
"""


def main() -> int:
    """Print a table."""
    jobs, interval_s, looks = (int(word) for word in (sys.argv[1:] + ["10000", "10", "5"][len(sys.argv) - 1 :])[:3])
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        sizes = write_slurm(folder, jobs)
        port, token = stack.enter_context(backend(folder, jobs))
        adapter = stack.enter_context(watching(folder, port, token, interval_s))
        begun_s = time.monotonic()
        first_s, first_cpu_s = None, 0.0
        while (there := running_jobs(port, token)) < jobs and time.monotonic() - begun_s < LONGEST_S:
            if there and first_s is None:
                first_s, first_cpu_s = time.monotonic() - begun_s, cpu_s(adapter.pid)
            time.sleep(0.2)
        all_s = time.monotonic() - begun_s
        first_look_cpu_s = cpu_s(adapter.pid)
        time.sleep(interval_s)  # the look that begins while the last events go out
        before_s = cpu_s(adapter.pid)
        time.sleep(looks * interval_s)
        per_look_s = (cpu_s(adapter.pid) - before_s) / looks
        resident = resident_mib(adapter.pid)
    print(machine())
    print(f"{jobs} running jobs, a look each {interval_s} s, squeue prints {sizes['queue'] / 1e6:.0f} MB")
    print(f"first job at the backend after      {first_s or all_s:6.1f} s, {first_cpu_s:.1f} s of CPU")
    print(f"all jobs at the backend after       {all_s:6.1f} s, {there / all_s:.0f} jobs/s from the adapter's start on")
    print(f"CPU until then                      {first_look_cpu_s:6.2f} s")
    print(f"CPU of a look that finds nothing    {per_look_s:6.2f} s")
    print(f"load of the machine                 {os.getloadavg()[1]:6.1f}")
    print(f"resident                            {resident:6.0f} MiB")
    return int(there < jobs)


def write_slurm(folder: Path, jobs: int) -> dict[str, int]:
    """The commands and what they print; how many bytes that is."""
    commands = folder / "bin"
    commands.mkdir()
    for name in ("squeue", "sacct", "sinfo", "scontrol"):
        (commands / name).write_text(_SCRIPT.format(folder=folder, cluster=CLUSTER), "utf-8")
        (commands / name).chmod(0o755)
    now_s = int(time.time())
    meta = {"plugin": {"type": "", "data_parser": "data_parser/v0.0.42"}}
    numbers = range(1, jobs + 1)
    queue = {"jobs": [queued(number, now_s) for number in numbers], "errors": [], "warnings": [], "meta": meta}
    written = {
        "queue": json.dumps(queue, indent=2),
        "accounting": json.dumps({"jobs": [], "errors": [], "warnings": [], "meta": meta}, indent=2),
        "details": "\n".join(details(number, now_s) for number in numbers),
        "nodes": "\n".join(node(number) for number in range(nodes_for(jobs))),
    }
    for name, text in written.items():
        (folder / name).write_text(text, "utf-8")
    return {name: len(text) for name, text in written.items()}


def nodes_for(jobs: int) -> int:
    """How many nodes the jobs fill."""
    return -(-jobs // JOBS_PER_NODE)


def number_of(value: int) -> dict[str, Any]:
    """A number as Slurm 24.11 writes it."""
    return {"set": True, "infinite": False, "number": value}


def place(number: int) -> tuple[str, int]:
    """Host and first core of a job."""
    node_number, slot = divmod(number - 1, JOBS_PER_NODE)
    return f"n{node_number:05d}", slot * CORES_PER_JOB


def queued(number: int, now_s: int) -> dict[str, Any]:
    """A running job of squeue."""
    host, first = place(number)
    cores = [
        {"index": core, "status": ["ALLOCATED" if first <= core < first + CORES_PER_JOB else "UNALLOCATED"]}
        for core in range(CORES)
    ]
    allocation = {
        "index": 0,
        "name": host,
        "cpus": {"count": CORES_PER_JOB, "used": 0},
        "memory": {"used": 0, "allocated": 12_000},
        "sockets": [{"index": 0, "cores": cores}],
    }
    return {
        **{f"field_{index:03d}": number_of(index) if index % 2 else f"value {index}" for index in range(FILLER)},
        "job_id": number,
        "job_state": ["RUNNING"],
        "cluster": CLUSTER,
        "user_name": f"user{number % 200}",
        "account": f"project{number % 40}",
        "partition": "main",
        "name": f"job of {number}",
        "nodes": host,
        "node_count": number_of(1),
        "submit_time": number_of(now_s - 4000),
        "start_time": number_of(now_s - 3000 + number % 2000),
        "end_time": number_of(now_s + 80_000),
        "time_limit": number_of(1440),
        "restart_cnt": 0,
        "shared": [],
        "gres_detail": [],
        "tres_alloc_str": f"cpu={CORES_PER_JOB},mem=12000M,node=1,billing={CORES_PER_JOB}",
        "tres_req_str": f"cpu={CORES_PER_JOB},mem=12000M,node=1",
        "job_resources": {"nodes": {"count": 1, "list": host, "whole": False, "allocation": [allocation]}},
    }


def details(number: int, now_s: int) -> str:
    """A job of `scontrol show job -d`."""
    host, first = place(number)
    start = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now_s - 3000 + number % 2000))
    filler = "".join(f"   Field{index}=value of {index}\n" for index in range(20))
    return (
        f"JobId={number} JobName=job of {number}\n   UserId=user{number % 200}(1000) GroupId=users(100)\n"
        f"   StartTime={start} EndTime=2030-01-01T00:00:00 Deadline=N/A\n{filler}"
        f"     Nodes={host} CPU_IDs={first}-{first + CORES_PER_JOB - 1} Mem=12000 GRES=\n"
        "   OverSubscribe=OK Contiguous=0 Licenses=(null) Network=(null)\n"
    )


def node(number: int) -> str:
    """A node of `scontrol show nodes`."""
    return (
        f"NodeName=n{number:05d} Arch=x86_64 CoresPerSocket={CORES} \n   CPUAlloc=60 CPUEfctv={CORES} CPUTot={CORES}\n"
        "   RealMemory=256000 AllocMem=120000 FreeMem=9 Sockets=1 Boards=1\n   State=MIXED ThreadsPerCore=1 TmpDisk=0\n"
        f"   CfgTRES=cpu={CORES},mem=256000M,billing={CORES}\n   AllocTRES=cpu=60,mem=120000M\n"
    )


def cluster(jobs: int) -> dict[str, Any]:
    """The description of the cluster."""
    threads = list(range(CORES))
    rate = {"unit": {"base": "F/s", "prefix": "G"}, "value": 1}
    metric = {"name": "load_one", "unit": {"base": ""}, "scope": "node", "aggregation": "avg", "timestep": 60}
    sub_cluster = {
        "name": "all",
        "nodes": f"n[00000-{nodes_for(jobs) - 1:05d}]",
        "processorType": "bench",
        "socketsPerNode": 1,
        "coresPerSocket": CORES,
        "threadsPerCore": 1,
        "flopRateScalar": rate,
        "flopRateSimd": rate,
        "memoryBandwidth": {"unit": {"base": "B/s", "prefix": "G"}, "value": 1},
        "topology": {
            "node": threads,
            "socket": [threads],
            "memoryDomain": [threads],
            "core": [[core] for core in threads],
        },
    }
    limits = {"peak": 64, "normal": 64, "caution": 32, "alert": 8}
    return {"name": CLUSTER, "metricConfig": [{**metric, **limits}], "subClusters": [sub_cluster]}


@contextlib.contextmanager
def backend(folder: Path, jobs: int) -> Iterator[tuple[int, str]]:
    """A backend that knows the cluster: its port, and a token for the adapter."""
    config = make_site(folder, cluster(jobs))
    token = cli("token", "create", "slurm", "--config", config, "--role", "api", "--scope", "jobs").strip()
    with serving([BIN / "cc-backend", "serve", "--config", config]) as (port, _):
        yield port, token


@contextlib.contextmanager
def watching(folder: Path, port: int, token: str, interval_s: int) -> Iterator["subprocess.Popen[bytes]"]:
    """The adapter, at work."""
    options = ("--url", f"http://127.0.0.1:{port}", "--state-dir", folder / "state", "--interval", f"{interval_s}s")
    environment = {
        **os.environ,
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "CC_SLURM_ADAPTER_TOKEN": token,
    }
    command = [str(BIN / "cc-slurm-adapter"), "run", *map(str, options), "--log-level", "warning"]
    process = subprocess.Popen(command, env=environment)
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def running_jobs(port: int, token: str) -> int:
    """How many jobs the backend has."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        query = "/api/jobs/?state=running&items-per-page=1&page=1"
        connection.request("GET", query, headers={"X-Auth-Token": token})
        return int(json.loads(connection.getresponse().read())["total"])
    finally:
        connection.close()


def cpu_s(pid: int) -> float:
    """CPU seconds that a process has taken itself."""
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    """Memory of a process."""
    pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


if __name__ == "__main__":
    sys.exit(main())
