"""Job starts and stops over HTTP, with a million jobs in the database.

Run: python benchmarks/job_events.py [--rows 1000000] [--seconds 10] [--folder DIRECTORY] [--database ADDRESS]
     [--postgresql]

A real server; each client keeps one connection and sends the next event when it has the answer to the one before.
Printed are events a second, the 99th percentile of an answer, and the processor time of the server for an event; then
the same for many events in one request. `--folder` keeps the database for another run; `--database` is the address of
an empty PostgreSQL database that is to be used instead of SQLite, `--postgresql` starts a server with one. The
processor time of PostgreSQL is not counted.
"""

import argparse
import contextlib
import itertools
import json
import multiprocessing
import os
import socket
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _bench import BIN, cli, machine, make_site, postgresql_database, serving, use_database

from cc_backend.db.opening import open_database
from cc_backend.insight.assessment import RULES_VERSION
from cc_backend.migrations import migrate
from cc_common.job_events import JobStart, JobStop, Resource

CLUSTER, NODES, USERS, PROJECTS = "bench", 2000, 400, 80
DAY_S = 86_400
YEARS_S = 2 * 365 * DAY_S
BULK_EVENTS = 500
FILLED_AT_ONCE = 10_000
MAX_IDLE_CPU_S = 0.3
PROMISED_STARTS_S, PROMISED_P99_MS, PROMISED_CPU_MS, PROMISED_BULK_S = 900, {1: 4, 4: 17}, 1.0, 4000


def main() -> int:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--database", default="")
    parser.add_argument("--postgresql", action="store_true")
    arguments = parser.parse_args()
    print(machine())
    with contextlib.ExitStack() as stack:
        address = stack.enter_context(postgresql_database()) if arguments.postgresql else arguments.database
        folder = arguments.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        config = folder / "site" / "config.json"
        if not config.exists():
            config = make_site(folder, cluster())
            if address:
                use_database(config, address)
            fill(address or str(config.parent / "var" / "job.db"), arguments.rows)
        token = cli("token", "create", "agents", "--config", config, "--scope", "jobs").strip()
        with serving([BIN / "cc-backend", "serve", "--config", config]) as (port, pid):
            return measure(Target(port, pid, token), arguments.seconds)


@dataclass(frozen=True)
class Target:
    """The server that is measured."""

    port: int
    pid: int
    token: str


def measure(target: Target, seconds: float) -> int:
    """Print a row for each kind of load; 1 if a promise is broken."""
    print("| clients | event | events/s | p99, ms | CPU of the server, ms |")
    print("|--------:|-------|---------:|--------:|----------------------:|")
    first_id, is_kept = int(time.time()) * 1_000_000, True  # ids that no earlier run used
    send_events(target, "start_job", first_id, 1.0)
    wait_until_idle(target.pid)
    for event, clients in (("start_job", 1), ("start_job", 4), ("events", 1), ("stop_job", 1), ("stop_job", 4)):
        rate, p99_ms, cpu_ms = load(target, event, first_id + clients * 10_000_000, clients, seconds)
        name = f"start_job, {BULK_EVENTS} in a request" if event == "events" else event
        print(f"| {clients} | {name} | {rate:.0f} | {p99_ms:.1f} | {cpu_ms:.2f} |", flush=True)
        if event == "events":
            is_kept &= rate >= PROMISED_BULK_S
        elif event == "start_job":
            is_kept &= rate >= PROMISED_STARTS_S and cpu_ms <= PROMISED_CPU_MS and p99_ms <= PROMISED_P99_MS[clients]
    return 0 if is_kept else 1


def wait_until_idle(pid: int) -> None:
    """Return when a process has loaded what it needs, and does no more than now and then, or after two minutes."""
    for _ in range(60):
        before_s = cpu_s(pid)
        time.sleep(2)
        if cpu_s(pid) - before_s < MAX_IDLE_CPU_S:
            return


def load(target: Target, event: str, first_id: int, clients: int, seconds: float) -> tuple[float, float, float]:
    """Events a second while clients wait; in ms the 99th percentile, and processor time of the server for an event."""
    before_s = cpu_s(target.pid)
    with multiprocessing.Pool(clients) as pool:
        work = [(target, event, first_id + client * 1_000_000, seconds) for client in range(clients)]
        by_client = pool.starmap(send_events, work)
    used_s, took, size = (
        cpu_s(target.pid) - before_s,
        np.concatenate(by_client),
        BULK_EVENTS if event == "events" else 1,
    )
    rate = size * sum(len(times) / sum(times) for times in by_client)
    return rate, float(np.percentile(took, 99)) * 1e3, used_s / (size * len(took)) * 1e3


def send_events(target: Target, event: str, first_id: int, seconds: float) -> list[float]:
    """Send events one after the other; returns how long each answer took, in seconds.

    Stops are of the jobs that the same client started before.
    """
    took = []
    with socket.create_connection(("127.0.0.1", target.port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        end_s = time.perf_counter() + seconds
        for body in bodies(event, first_id):
            request = (
                f"POST /api/jobs/{event}/ HTTP/1.1\r\nHost: x\r\nX-Auth-Token: {target.token}\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            ).encode() + body
            began_s = time.perf_counter()
            connection.sendall(request)
            status = read_status(connection)
            ended_s = time.perf_counter()
            if status == 404 and event == "stop_job":  # all that were started have ended
                break
            if status not in (200, 201):
                raise SystemExit(f"{event}: the server answered {status}")
            took.append(ended_s - began_s)
            if ended_s > end_s:
                break
    return took


def read_status(connection: socket.socket) -> int:
    """The status of an answer, which is read whole."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += receive(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    missing = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]) - len(body)
    while missing > 0:
        missing -= len(receive(connection))
    return int(head[9:12])


def receive(connection: socket.socket) -> bytes:
    """Some bytes."""
    data = connection.recv(1 << 20)
    if not data:
        raise SystemExit("the server closed the connection")
    return data


def bodies(event: str, first_id: int) -> Iterator[bytes]:
    """The bodies of requests, without end."""
    number = first_id + (500_000 if event == "events" else 0)
    while True:
        if event == "events":
            events = [{"event": "start_job", **start(job_id)} for job_id in range(number, number + BULK_EVENTS)]
            yield json.dumps({"events": events}).encode()
            number += BULK_EVENTS
            continue
        yield json.dumps(start(number) if event == "start_job" else stop(number)).encode()
        number += 1


def start(job_id: int) -> dict[str, object]:
    """The start of a job on two nodes, as the Slurm adapter sends it."""
    hosts = (f"n{job_id % NODES:04d}", f"n{(job_id + 1) % NODES:04d}")
    threads = tuple(range(72))
    return JobStart(
        cluster=CLUSTER,
        user=f"user{job_id % USERS}",
        project=f"project{job_id % PROJECTS}",
        partition=f"part{job_id % 5}",
        job_id=job_id,
        start_time=int(time.time()) - 60,
        num_nodes=2,
        num_hwthreads=144,
        walltime=DAY_S,
        submit_time=int(time.time()) - 600,
        shared="multi_user",
        resources=tuple(Resource(host, threads) for host in hosts),
        meta_data={"jobName": f"run {job_id % 97}", "jobScript": "#!/bin/sh\n" + "srun ./solver --steps 1000\n" * 20},
    ).to_document()


def stop(job_id: int) -> dict[str, object]:
    """The stop of that job."""
    return JobStop(job_id, int(time.time()), "completed", CLUSTER).to_document()


def cpu_s(pid: int) -> float:
    """Processor time of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def fill(address: str, rows: int) -> None:
    """Put finished jobs of two years into a new database."""
    database = open_database(address, statement_timeout_s=600.0, cache_size_mb=500)
    migrate(database)
    columns = [column.name for column in database.get_columns("job") if column.name != "id"]
    names, marks = ", ".join(f'"{name}"' for name in columns), ", ".join("?" for _ in columns)
    insert_job = f"INSERT INTO job ({names}) VALUES ({marks})"  # noqa: S608 names of columns
    all_jobs = jobs(rows, int(time.time()))
    for first in range(1, rows + 1, FILLED_AT_ONCE):
        ids = range(first, min(first + FILLED_AT_ONCE, rows + 1))
        hosts = [(number, f"n{(number + node) % NODES:04d}") for number in ids for node in range(2)]
        with database.write():
            some = itertools.islice(all_jobs, len(ids))
            database.execute_many(insert_job, [tuple(job.get(name, 0) for name in columns) for job in some])
            database.execute_many("INSERT INTO job_host (job_id, hostname) VALUES (?, ?)", hosts)
            values = [(number, "cpu_load_avg", number % 72) for number in ids]
            database.execute_many('INSERT INTO job_footprint (job_id, "key", value) VALUES (?, ?, ?)', values)
    database.close_all()


def jobs(rows: int, now_s: int) -> Iterator[dict[str, object]]:
    """Rows of the job table by column."""
    for number in range(1, rows + 1):
        resources = [{"hostname": f"n{(number + node) % NODES:04d}"} for node in range(2)]
        yield {
            "job_id": number,
            "cluster": CLUSTER,
            "sub_cluster": "main",
            "partition": f"part{number % 5}",
            "project": f"project{number % PROJECTS}",
            "user": f"user{number * 7919 % USERS}",
            "name": f"run {number % 97}",
            "shared": "none",
            "state": "completed",
            "start_time": now_s - YEARS_S + number * (YEARS_S - DAY_S) // rows,
            "duration": number * 31 % (DAY_S // 2),
            "num_nodes": 2,
            "resources": json.dumps(resources),
            "meta_data": json.dumps({"jobName": f"run {number % 97}"}),
            "monitoring_status": 0,  # nothing is to be read from an archive
            "archive_error": "",
            "energy": 1.5,
            "energy_footprint": None,
            "verdict": number % 5,
            "finding": None,
            "judged_s": now_s,
            "rules": RULES_VERSION,
        }


def cluster() -> dict[str, object]:
    """A cluster of two thousand nodes with 72 hardware threads."""
    threads = list(range(72))
    quantity = {"unit": {"base": "F/s", "prefix": "G"}, "value": 1}
    limits = {"peak": 72, "normal": 50, "caution": 20, "alert": 10}
    metric = {"name": "cpu_load", "unit": {"base": ""}, "scope": "node", "timestep": 60, "aggregation": "avg"}
    return {
        "name": CLUSTER,
        "metricConfig": [{**metric, **limits, "footprint": "avg"}],
        "subClusters": [
            {
                "name": "main",
                "nodes": f"n[0000-{NODES - 1:04d}]",
                "processorType": "made up",
                "socketsPerNode": 2,
                "coresPerSocket": 36,
                "threadsPerCore": 1,
                "flopRateScalar": quantity,
                "flopRateSimd": quantity,
                "memoryBandwidth": {"unit": {"base": "B/s", "prefix": "G"}, "value": 1},
                "topology": {
                    "node": threads,
                    "socket": [threads[:36], threads[36:]],
                    "memoryDomain": [threads[:36], threads[36:]],
                    "core": [[thread] for thread in threads],
                },
            }
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
