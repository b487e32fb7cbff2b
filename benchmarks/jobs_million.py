"""The job list, totals, statistics and searches with a million jobs: what each takes, beside what is wanted.

    python benchmarks/jobs_million.py [--jobs 1000000] [--rounds 15] [--folder DIR] [--no-http]

Made-up jobs of two years: 600 users of whom few have most jobs, 1,500 nodes, three clusters, 30,000 distinct scripts;
each job has four footprint values and statistics of twenty metrics. Medians in milliseconds: `inside` is the service
alone, of the clock and of the processor, `http` one client on a kept connection to a running `cc-backend serve`. With
a folder the database is kept there and used again.
"""

import argparse
import http.client
import json
import logging
import random
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import orjson
from _bench import BIN, cli, machine, make_site, resident_bytes, serving, session_cookie

from cc_backend.clusters import ClusterRegistry, load_clusters
from cc_backend.db.database import Database
from cc_backend.db.opening import open_database
from cc_backend.jobs.filters import FootprintRange, JobFilter
from cc_backend.jobs.job_changes import JobChanges
from cc_backend.jobs.job_columns import JobColumns
from cc_backend.jobs.job_queries import JobQueries
from cc_backend.jobs.job_statistics import GroupBy, JobStatistics
from cc_backend.jobs.lifecycle import JobLifecycle
from cc_backend.jobs.script_search import ScriptSearch
from cc_backend.jobs.tables import ScriptProgressRow
from cc_backend.migrations import migrate
from cc_backend.model import JobState, RowRule
from cc_common.job_events import JobStart, JobStop, Resource

CLUSTER = "alder"
CLUSTERS = (CLUSTER, "birch", "cedar")
DAY_S = 86_400
DAYS = 730
USERS, PROJECTS, NODES = 600, 90, 500
PARTITIONS = ("work", "long", "devel", "gpu")
STATES = ("completed",) * 16 + ("failed", "failed", "cancelled", "timeout")
RUNNING = 2000
MEASURED = 20
"""Metrics that an archived job has statistics of."""
METRICS = ("cpu_load", "flops_any", "mem_bw", "mem_used")
NAMES = ("run.sh", "bash", "interactive", "vasp", "gromacs_npt", "train", "relax", "md", "post", "wrf")
SCRIPT = "#!/bin/bash\n#SBATCH --nodes=1\n#SBATCH --time=24:00:00\nmodule load example\nsrun ./app input.in\n"
SCRIPTS = 30_000
"""Distinct job scripts, of about 3,000 characters."""
EVERYTHING = RowRule(all_jobs=True)
PASSWORD = "of a server that lives for minutes"  # noqa: S105 of an account that is gone with its folder
COLUMNS = (
    "id, job_id, cluster, sub_cluster, partition, project, user, name, shared, state, array_job_id, start_time, "
    "submit_time, duration, walltime, requested_memory, num_nodes, num_hwthreads, num_acc, smt, resources, meta_data, "
    "monitoring_status, archive_error, energy, energy_footprint, cluster_config, verdict, more_findings, "
    "lost_core_hours, lost_gpu_hours, judged_s, rules"
)
CHUNK = 20_000


@dataclass(frozen=True, slots=True)
class Question:
    """One line of the table: what is asked inside and over HTTP, and how long it may take in milliseconds."""

    name: str
    wanted_ms: float
    ask: Callable[[], Any] | None
    address: str = ""


def cluster_document(name: str) -> dict[str, Any]:
    """cluster.json of 500 nodes with four footprint metrics."""
    value = {"unit": {"base": "F/s", "prefix": "G"}, "value": 10}
    threads = list(range(64))
    return {
        "name": name,
        "metricConfig": [
            {
                "name": metric,
                "unit": {"base": ""},
                "scope": "node",
                "aggregation": "avg",
                "timestep": 60,
                "peak": 100,
                "normal": 50,
                "caution": 25,
                "alert": 10,
                "footprint": "avg",
            }
            for metric in METRICS
        ],
        "subClusters": [
            {
                "name": "main",
                "nodes": f"{name[0]}[0001-{NODES:04d}]",
                "processorType": "Invented",
                "socketsPerNode": 1,
                "coresPerSocket": 64,
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


def made_up_jobs(count: int, now_s: int) -> Iterator[tuple[tuple[Any, ...], list[str], list[float]]]:
    """Row, hosts and footprint values of each job, oldest first; the last ones are running."""
    pick = random.Random(7)
    weights = [1 / (rank + 3) for rank in range(USERS)]
    users = pick.choices(range(USERS), weights, k=count)
    step_s = DAYS * DAY_S / count
    for number in range(count):
        user = users[number]
        cluster = CLUSTERS[min(2, pick.randrange(5) // 2)]
        is_running = number >= count - min(RUNNING, count // 10)
        start_s = int(now_s - DAYS * DAY_S + number * step_s) - pick.randrange(300) - 60
        duration = int(min(DAY_S, pick.expovariate(1 / 7000)))
        nodes = pick.choice((1, 1, 1, 1, 1, 1, 2, 4, 8)) if pick.random() < 0.4 else 1
        first = pick.randrange(NODES)
        hosts = [f"{cluster[0]}{(first + more) % NODES + 1:04d}" for more in range(nodes)]
        name = f"{NAMES[number % 10]}{pick.randrange(60) if number % 3 else ''}"
        row = (
            number + 1,
            1_000_000 + number,
            cluster,
            "main",
            PARTITIONS[pick.randrange(4)],
            f"proj{user % PROJECTS:03d}",
            f"user{user:03d}",
            name,
            "none",
            "running" if is_running else STATES[pick.randrange(20)],
            0,
            start_s,
            start_s - 100,
            0 if is_running else duration,
            DAY_S,
            64_000,
            nodes,
            64 * nodes,
            0,
            1,
            json.dumps([{"hostname": host} for host in hosts]),
            json.dumps({"jobName": name, "jobScript": SCRIPT}),
            1 if is_running else 3,
            "",
            round(duration * nodes * 0.0001, 4),
            None,
            1,
            pick.randrange(5),
            0,
            0.0,
            0.0,
            start_s,
            1,
        )
        yield row, hosts, [round(pick.random() * 100, 2) for _ in METRICS]


def fill(database: Database, count: int, now_s: int) -> None:
    """Store the jobs with their hosts and footprints."""
    holders = ", ".join("?" * (COLUMNS.count(",") + 1))
    jobs = f"INSERT INTO job ({COLUMNS}) VALUES ({holders})"  # noqa: S608 literals of this file
    statistics_row = "INSERT INTO job_statistics (job_id, metric_list_id, numbers) VALUES (?, ?, ?)"
    rows: list[tuple[Any, ...]] = []
    hosts: list[tuple[int, str]] = []
    values: list[tuple[int, str, float]] = []
    summaries: list[tuple[int, int, bytes]] = []
    numbers = random.Random(3)
    metric_list = orjson.dumps([[f"metric_{number}", "B/s", "G"] for number in range(MEASURED)]).decode()
    database.run_sql("INSERT INTO metric_list (id, document) VALUES (1, ?)", metric_list)
    for row, names, footprint in made_up_jobs(count, now_s):
        rows.append(row)
        hosts += [(row[0], name) for name in names]
        values += [(row[0], f"{metric}_avg", value) for metric, value in zip(METRICS, footprint, strict=True)]
        measured = [round(numbers.expovariate(0.02), 2) for _ in range(3 * MEASURED)]
        summaries.append((row[0], 1, zlib.compress(orjson.dumps(measured), 9, -15)))  # as `stored_statistics` writes it
        if len(rows) == CHUNK or row[0] == count:
            with database.write():
                database.execute_many(jobs, rows)
                database.execute_many("INSERT INTO job_host (job_id, hostname) VALUES (?, ?)", hosts)
                database.execute_many("INSERT INTO job_footprint (job_id, key, value) VALUES (?, ?, ?)", values)
                database.execute_many(statistics_row, summaries)
            rows, hosts, values, summaries = [], [], [], []
    fill_scripts(database, count)
    JobChanges(database).prune()


def made_up_script(pick: random.Random, number: int) -> str:
    """A script as users write them; one in a thousand has a part that no other has."""
    words = [f"{pick.choice(NAMES)}_{pick.randrange(400)}" for _ in range(120)]
    head = f"#!/bin/bash -l\n#SBATCH --nodes={pick.randrange(1, 9)}\n#SBATCH --time={pick.randrange(1, 25)}:00:00\n"
    lines = [f"cp $SLURM_SUBMIT_DIR/{word}.inp $TMPDIR/{word}\n" for word in words[:40]]
    lines += [f"module load {words[0]}/{pick.randrange(9)}.{pick.randrange(9)}\n", "module purge\n"]
    lines += [f"srun --unbuffered ./{word} --steps {pick.randrange(1000)}\n" for word in words[40:60]]
    return head + "".join(lines) + (f"# needle{number}\n" if number % 1000 == 0 else "")


def fill_scripts(database: Database, count: int) -> None:
    """Give each job one of the scripts, and index them."""
    pick = random.Random(11)
    distinct = max(1, SCRIPTS * count // 1_000_000)
    with database.write():
        database.execute_many(
            "INSERT INTO script (id, digest, text) VALUES (?, ?, ?)",
            [(number, f"{number:032x}", made_up_script(pick, number)) for number in range(1, distinct + 1)],
        )
        links = [(job, pick.randrange(distinct) + 1) for job in range(1, count + 1)]
        database.execute_many("INSERT INTO job_script (job_id, script_id) VALUES (?, ?)", links)
    begin, search = time.perf_counter(), ScriptSearch(database)
    while ScriptProgressRow.select(ScriptProgressRow.indexed_to).scalar(database) < distinct:
        search.maintain()
    print(f"indexed {distinct} scripts in {time.perf_counter() - begin:.0f} s")


def median_ms(run: Callable[[], Any], rounds: int) -> tuple[float, float, float]:
    """The time of the first run, and the medians of the others: of the clock, and of the processor in this thread."""
    times, processor = [], []
    for _ in range(rounds + 1):
        begin, begin_of_thread = time.perf_counter(), time.thread_time()
        run()
        times.append(1e3 * (time.perf_counter() - begin))
        processor.append(1e3 * (time.thread_time() - begin_of_thread))
    return times[0], statistics.median(times[1:]), statistics.median(processor[1:])


def questions(queries: JobQueries, sums: JobStatistics, count: int, now_s: int) -> list[Question]:
    """Everything that is asked."""

    def jobs(**more: Any) -> Callable[[], Any]:
        order = {key: more.pop(key) for key in ("page", "order", "descending") if key in more}
        return lambda: queries.find(JobFilter(**more), EVERYTHING, now_s=now_s, with_meta_data=False, **order)

    def totals(**more: Any) -> Callable[[], Any]:
        def ask() -> None:
            sums.totals(JobFilter(**more), EVERYTHING, now_s=now_s)
            sums.histograms(JobFilter(**more), EVERYTHING, now_s=now_s, metrics=METRICS)

        return ask

    week, quarter, month = now_s - 7 * DAY_S, now_s - 90 * DAY_S, now_s - 400 * DAY_S
    last = -(-count // 25)
    day = (month, month + DAY_S)
    api, stats = "/api/jobs/?", "/api/jobs/statistics/?"
    metrics = "&".join(f"metric={metric}" for metric in METRICS)
    completed = (JobState.COMPLETED,)
    return [
        Question("list, first page with total", 10, jobs(), api),
        Question(
            "cluster and state",
            8,
            jobs(clusters=(CLUSTER,), states=completed),
            f"{api}cluster={CLUSTER}&state=completed",
        ),
        Question(
            "project in a week",
            5,
            jobs(projects=("proj007",), started_from_s=week),
            f"{api}project=proj007&startTime[from]={week}",
        ),
        Question(
            "user in a week",
            5,
            jobs(users=("user007",), started_from_s=week),
            f"{api}user=user007&startTime[from]={week}",
        ),
        Question(
            "state in a week",
            5,
            jobs(states=completed, started_from_s=week),
            f"{api}state=completed&startTime[from]={week}",
        ),
        Question("page 1000", 8, jobs(page=min(1000, last)), f"{api}page={min(1000, last)}"),
        Question("last page", 8, jobs(page=last), f"{api}page={last}"),
        Question("jobs of one node", 20, jobs(hosts=("a0042",)), f"{api}node=a0042"),
        Question(
            "on a node in a day",
            20,
            jobs(hosts=("a0042",), ran_from_s=day[0], ran_to_s=day[1]),
            f"{api}node=a0042&ran={day[0]}-{day[1]}",
        ),
        Question("statistics and histograms, all", 50, totals(), f"{stats}{metrics}"),
        Question(
            "statistics and histograms of a user", 50, totals(users=("user007",)), f"{stats}user=user007&{metrics}"
        ),
        Question(
            "statistics by user",
            50,
            lambda: sums.grouped(JobFilter(), EVERYTHING, GroupBy.USER, now_s=now_s),
            f"{stats}group-by=user",
        ),
        Question("list as a page of HTML, table", 60, None, "/monitoring/jobs/?view=table"),
        Question("list as a page of HTML, plots", 60, None, "/monitoring/jobs/"),
        Question("text in 90 days", 50, jobs(text="romac", started_from_s=quarter)),
        Question("text", 50, jobs(text="romac"), "/monitoring/jobs/?view=table&q=romac"),
        Question("text on nothing", 50, jobs(text="no such text"), f"{api}jobName=no+such+text"),
        Question("part of a script", 50, jobs(script="needle5000"), f"{api}script=needle5000"),
        Question("part of many scripts", 50, jobs(script="module purge"), f"{api}script=module+purge"),
        Question(
            "part of a script, of the jobs of a user",
            50,
            lambda: queries.find(JobFilter(script="vasp_17"), RowRule(user="user007"), now_s=now_s),
        ),
        Question("statistics of jobs with a part of a script", 50, totals(script="vasp_17"), f"{stats}script=vasp_17"),
        Question("part of a name of hosts", 50, jobs(host_contains="042"), f"{api}node=042&nodeMatch=contains"),
        Question("start of job numbers", 50, jobs(text="1000")),
        Question("longest in 90 days", 50, jobs(order="duration", started_from_s=quarter)),
        Question(
            "footprint range in 90 days",
            50,
            jobs(footprint=(FootprintRange("mem_bw_avg", 90, None),), started_from_s=quarter),
            f"{api}stat=mem_bw_avg-morethan-90&startTime[from]={quarter}",
        ),
        Question(
            "long jobs on many nodes", 50, jobs(nodes_from=4, duration_from_s=20_000), f"{api}numNodes=morethan-4"
        ),
        Question("longest of all", 400, jobs(order="duration")),
        Question("by a footprint value, all", 400, jobs(order="mem_bw_avg")),
        Question("by user, all", 400, jobs(order="user")),
        Question("by verdict, all", 400, jobs(order="verdict", descending=False)),
        Question("all nodes of a cluster", 400, jobs(host_contains="a")),
    ]


def over_http(config: Path, asked: Sequence[Question], rounds: int) -> tuple[dict[str, float], dict[str, float], float]:
    """The medians of requests by name, first requests by name, and the memory of the server in MB."""
    user = f"bench{int(time.time())}"
    cli("user", "add", user, "--role", "admin", "--config", config, given=f"{PASSWORD}\n{PASSWORD}\n")
    token = cli("token", "create", "reader", "--config", config, "--scope", "read").strip()
    medians, firsts = {}, {}
    with serving([BIN / "cc-backend", "serve", "--config", config], log_level="critical") as (port, pid):
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        body = f"username={user}&password={PASSWORD.replace(' ', '+')}"
        connection.request("POST", "/login", body, {"Content-Type": "application/x-www-form-urlencoded"})
        answer = connection.getresponse()
        cookie = session_cookie(answer)
        answer.read()
        headers = {"X-Auth-Token": token}

        def get(address: str) -> None:
            sent = {"Cookie": cookie} if address.startswith("/monitoring") else headers
            connection.request("GET", address.replace("[", "%5B").replace("]", "%5D"), headers=sent)
            response = connection.getresponse()
            text = response.read()
            if response.status != 200:
                raise SystemExit(f"{address}: {response.status} {text[:300]!r}")

        get("/api/jobs/statistics/")  # returns when all jobs have been read
        for question in asked:
            if question.address:
                firsts[question.name], medians[question.name], _ = median_ms(partial(get, question.address), rounds)
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
        memory = next(int(line.split()[1]) / 1e3 for line in lines if line.startswith("VmRSS"))
    return medians, firsts, memory


def print_writes(database: Database, clusters: ClusterRegistry, now_s: int) -> None:
    """What a start and a stop take of the processor, with and without the log of changes."""
    lifecycle = JobLifecycle(database, clusters)

    def events(first: int) -> tuple[float, float]:
        starts, stops = [], []
        for number in range(first, first + 300):
            resources = (Resource(f"a{number % NODES + 1:04d}"),)
            event = JobStart(
                cluster=CLUSTER, user="user001", project="p", job_id=number, start_time=now_s - 600, num_nodes=1,
                resources=resources,
            )  # fmt: skip
            begin = time.thread_time()
            lifecycle.start(event, now_s=now_s)
            starts.append(time.thread_time() - begin)
        for number in range(first, first + 300):
            begin = time.thread_time()
            lifecycle.stop(JobStop(number, now_s, "completed", CLUSTER), now_s=now_s)
            stops.append(time.thread_time() - begin)
        return 1e6 * statistics.median(starts), 1e6 * statistics.median(stops)

    first = 1000 * int(time.time())
    with_log = events(first)
    triggers = database.all_rows(
        "SELECT name, sql FROM sqlite_master WHERE name LIKE 'job_change%' AND type = 'trigger'"
    )
    with database.write():
        for name, _ in triggers:
            database.run_sql(f"DROP TRIGGER {name}")
    without = events(first + 1000)
    with database.write():
        for _, statement in triggers:
            database.run_sql(statement)
    print(f"\nprocessor: start_job {with_log[0]:.0f} us, without the log of changes {without[0]:.0f} us; ", end="")
    print(f"stop_job {with_log[1]:.0f} us, without {without[1]:.0f} us")


def main() -> None:
    """Fill, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--no-http", action="store_true")
    arguments = parser.parse_args()
    print(machine())
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as temporary:
        measure(arguments, arguments.folder or Path(temporary))


def measure(arguments: argparse.Namespace, folder: Path) -> None:
    """Fill a database in a folder unless it is there, and print all figures."""
    now_s = int(datetime(2026, 6, 1, tzinfo=UTC).timestamp())
    config = folder / "site" / "config.json"
    path = folder / "site" / "var" / "job.db"
    if not config.exists():
        config = make_site(folder, cluster_document(CLUSTER))
        for name in CLUSTERS[1:]:
            (folder / f"{name}.json").write_text(json.dumps(cluster_document(name)), "utf-8")
            cli("cluster", "add", folder / f"{name}.json", "--config", config)
    path = next((config.parent).rglob("*.db"), path)
    database = open_database(path, cache_size_mb=64)
    migrate(database)
    begin = time.perf_counter()
    if not JobQueries(database).cluster_names():
        fill(database, arguments.jobs, now_s)
        database.first_row("PRAGMA wal_checkpoint(TRUNCATE)")
        print(f"filled with {arguments.jobs:,} jobs in {time.perf_counter() - begin:.0f} s")
    print(f"{path.stat().st_size / arguments.jobs:.0f} bytes a job on disk")
    clusters, _ = load_clusters(next(config.parent.rglob("cluster.json")).parent.parent)
    columns = JobColumns(database)
    queries = JobQueries(database, clusters, columns=columns)
    sums = JobStatistics(database, clusters, queries, columns, short_job_s=300)
    before, begin = resident_bytes(), time.perf_counter()
    columns.load()
    print(f"all read in {time.perf_counter() - begin:.1f} s, {(resident_bytes() - before) / 1e6:.0f} MB")
    asked = questions(queries, sums, arguments.jobs, now_s)
    inside = {question.name: median_ms(question.ask, arguments.rounds) for question in asked if question.ask}
    print(f"{(resident_bytes() - before) / 1e6:.0f} MB after all questions")
    served: dict[str, float] = {}
    firsts: dict[str, float] = {}
    if not arguments.no_http:
        served, firsts, memory = over_http(config, asked, arguments.rounds)
        print(f"the server takes {memory:.0f} MB")
    print("\n| question | wanted, ms | inside: median | processor | first | http: median | first |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for question in asked:
        own = inside.get(question.name)
        cells = [f"{own[1]:.1f}", f"{own[2]:.1f}", f"{own[0]:.1f}"] if own else [""] * 3
        known = question.name in served
        cells += [f"{served[question.name]:.1f}", f"{firsts[question.name]:.1f}"] if known else ["", ""]
        print(f"| {question.name} | {question.wanted_ms:g} | {' | '.join(cells)} |")
    print_writes(database, clusters, now_s)
    database.close_all()


if __name__ == "__main__":
    main()
