"""A whole backend for tests: real database, store and archive in a temporary folder, two nodes, a clock of its own."""

import importlib.util
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from argon2 import PasswordHasher
from flask import Flask
from flask.testing import FlaskClient
from jinja2.bccache import Bucket, BytecodeCache

from cc_backend.app import create_app
from cc_backend.archive.file_archive import FileArchive
from cc_backend.auth.tables import UserRow
from cc_backend.auth.token_keys import generate_keys
from cc_backend.auth.users import User
from cc_backend.clusters import SubCluster, parse_cluster
from cc_backend.db.database import Database, Dialect
from cc_backend.db.opening import open_database
from cc_backend.maintenance.tasks import make_archiver
from cc_backend.migrations import migrate
from cc_backend.model import (
    Job,
    JobData,
    JobMetric,
    JobState,
    MetricUnit,
    MonitoringStatus,
    Resource,
    SampleSeries,
    Scope,
)
from cc_backend.services import EXTENSION, Services
from cc_backend.settings import LEGACY_KEYS, BackendSettings
from cc_common.settings import load

# A whole minute, so that the grid of samples begins here.
START_S = 1_760_000_400
TIMESTEP_S = 60
HWTHREADS = range(8)
ACCELERATOR = "00000000:17:00.0"
DATABASE = "job.db"
FAST_HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@pytest.fixture(scope="session")
def read_exposition() -> Callable[[bytes], Any]:
    """The strict reader of the Prometheus text format in prometheustext.py."""
    name = "cockpit_test_prometheustext"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("prometheustext.py"))
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    reader: Callable[[bytes], Any] = sys.modules[name].read_exposition
    return reader


class Clock:
    """A wall clock that stands until it is moved, and the steady one of the same machine, which no step moves."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s
        self.steady_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> float:
        """Move on, and say what time it is then."""
        self.now_s += seconds
        self.steady_s += seconds
        return self.now_s

    def step(self, seconds: float) -> None:
        """Set the wall clock."""
        self.now_s += seconds

    def steady(self) -> float:
        """Seconds that no step moves."""
        return self.steady_s


def _metric(name: str, base: str, scope: str, peak: float, **more: Any) -> dict[str, Any]:
    prefix, _, unit = base.rpartition("|")
    return {
        "name": name,
        "unit": {"base": unit, "prefix": prefix} if prefix else {"base": unit},
        "scope": scope,
        "aggregation": "sum",
        "timestep": TIMESTEP_S,
        "peak": peak,
        "normal": peak / 2,
        "caution": peak / 4,
        "alert": peak / 8,
        **more,
    }


def tern_document() -> dict[str, Any]:
    """cluster.json of the cluster `tern`: nodes tn01 and tn02 with 2 sockets, 4 cores, 8 threads and a GPU each."""
    return {
        "name": "tern",
        "metricConfig": [
            _metric("load_one", "", "node", 8, footprint="avg"),
            _metric("cpu_user", "%", "hwthread", 100, aggregation="avg"),
            _metric("mem_used", "G|B", "node", 64, footprint="max", lowerIsBetter=True, caution=48, alert=60),
            _metric("flops_any", "G|F/s", "hwthread", 320, footprint="avg"),
            _metric("mem_bw", "G|B/s", "socket", 80, footprint="avg"),
            _metric("cpu_power", "W", "socket", 300, energy="power"),
            _metric("acc_utilization", "%", "accelerator", 100, aggregation="avg"),
        ],
        "subClusters": [
            {
                "name": "std",
                "nodes": "tn[01-02]",
                "processorType": "Example 4-Core",
                "socketsPerNode": 2,
                "coresPerSocket": 2,
                "threadsPerCore": 2,
                "flopRateScalar": {"unit": {"base": "F/s", "prefix": "G"}, "value": 32},
                "flopRateSimd": {"unit": {"base": "F/s", "prefix": "G"}, "value": 320},
                "memoryBandwidth": {"unit": {"base": "B/s", "prefix": "G"}, "value": 80},
                "topology": {
                    "node": list(HWTHREADS),
                    "socket": [[0, 1, 4, 5], [2, 3, 6, 7]],
                    "memoryDomain": [[0, 1, 4, 5], [2, 3, 6, 7]],
                    "core": [[0, 4], [1, 5], [2, 6], [3, 7]],
                    "accelerators": [{"id": ACCELERATOR, "type": "Nvidia GPU", "model": "Example GPU"}],
                },
            }
        ],
    }


def _limits(peak: float, normal: float, caution: float, alert: float) -> dict[str, float]:
    return {"peak": peak, "normal": normal, "caution": caution, "alert": alert}


def tarn_document() -> dict[str, Any]:
    """cluster.json of the cluster `tarn`: 320 nodes `main` with 96 cores, and 16 `gpu` with four GPUs each."""

    def judged(name: str, base: str, scope: str, limits: Mapping[str, float], **more: Any) -> dict[str, Any]:
        """A metric of the footprint by which jobs on GPU nodes are not judged."""
        gpu = {"name": "gpu", "footprint": "avg", **limits, "caution": 0, "alert": 0}
        return _metric(name, base, scope, **limits, footprint="avg", subClusters=[gpu], **more)

    def of_gpus(name: str, base: str, limits: Mapping[str, float], **more: Any) -> dict[str, Any]:
        return _metric(name, base, "accelerator", **limits, subClusters=[{"name": "main", "remove": True}], **more)

    def sub_cluster(name: str, nodes: str, gpus: Sequence[str] = ()) -> dict[str, Any]:
        threads = list(range(96))
        return {
            "name": name,
            "nodes": nodes,
            "processorType": "Example 48-Core",
            "socketsPerNode": 2,
            "coresPerSocket": 48,
            "threadsPerCore": 1,
            "flopRateScalar": {"unit": {"base": "F/s", "prefix": "G"}, "value": 480},
            "flopRateSimd": {"unit": {"base": "F/s", "prefix": "G"}, "value": 6144},
            "memoryBandwidth": {"unit": {"base": "B/s", "prefix": "G"}, "value": 520},
            "topology": {
                "node": threads,
                "socket": [threads[:48], threads[48:]],
                "memoryDomain": [threads[at : at + 24] for at in range(0, 96, 24)],
                "core": [[thread] for thread in threads],
                "accelerators": [{"id": gpu, "type": "Nvidia GPU", "model": "Example GPU"} for gpu in gpus],
            },
        }

    metrics = [
        judged("cpu_load", "", "node", _limits(96, 96, 60, 30), aggregation="avg"),
        judged("flops_any", "G|F/s", "socket", _limits(6144, 2400, 300, 80)),
        judged("mem_bw", "G|B/s", "socket", _limits(520, 430, 90, 25)),
        _metric("mem_used", "G|B", "node", **_limits(384, 200, 300, 350), footprint="max", lowerIsBetter=True),
        judged("vectorization_ratio", "%", "socket", _limits(100, 60, 30, 10), aggregation="avg"),
        _metric("cpu_power", "W", "socket", **_limits(700, 620, 220, 140), energy="power", footprint="avg"),
        _metric("ipc", "IPC", "socket", **_limits(4, 3, 1, 0.5), aggregation="avg"),
        _metric("clock", "M|Hz", "node", **_limits(3600, 3300, 2000, 1400), aggregation="avg"),
        _metric("cpu_user", "%", "hwthread", **_limits(100, 100, 40, 15), aggregation="avg"),
        _metric("net_bw", "B/s", "node", **_limits(25e9, 25e9, 0, 0)),
        _metric("file_bw", "M|B/s", "node", **_limits(1200, 1200, 0, 0)),
        of_gpus("acc_utilization", "%", _limits(100, 100, 40, 15), aggregation="avg", footprint="avg"),
        of_gpus("acc_power", "W", _limits(2800, 2600, 700, 360)),
    ]
    return {
        "name": "tarn",
        "metricConfig": [{**metric, "timestep": 120} for metric in metrics],
        "subClusters": [
            sub_cluster("main", "tn[0001-0320]"),
            sub_cluster("gpu", "tg[001-016]", [f"00000000:{slot}:00.0" for slot in ("17", "65", "CA", "E3")]),
        ],
    }


class Site:
    """An application with its client, and the few things that nearly every test does with it."""

    def __init__(self, app: Flask, clock: Clock) -> None:
        self.app = app
        self.clock = clock
        self.services: Services = app.extensions[EXTENSION]
        self.client: FlaskClient = app.test_client()

    def user(
        self, name: str, *roles: str, password: str | None = None, projects: Sequence[str] = (), **more: Any
    ) -> User:
        """A new account, by default with the role `user`."""
        return self.services.users.add(name, roles or ("user",), password=password, projects=projects, **more)

    def token(
        self,
        *roles: str,
        name: str = "service",
        scopes: Sequence[str] | None = None,
        clusters: Sequence[str] = (),
        max_age_s: float | None = None,
    ) -> str:
        """A token with these roles, by default that of a service account: the role `api` alone.

        The account is made, or given what it lacks of the roles; here it may have names and roles that nobody can give.
        """
        user, database = User(name, frozenset(roles or ("api",))), self.services.database
        account = self.services.users.find(name)
        with database.write():
            if account is None:
                UserRow.insert(name=name, roles=sorted(user.roles)).execute(database)
            else:
                roles_now = sorted(account.roles | user.roles)
                UserRow.update(roles=roles_now).where(UserRow.name == name).execute(database)
        now_s = self.clock()
        return self.services.tokens.issue(user, None, scopes, clusters, max_age_s=max_age_s, now_s=now_s)

    def headers(self, *roles: str, **more: Any) -> dict[str, str]:
        """Request headers with such a token."""
        return {"X-Auth-Token": self.token(*roles, **more)}

    def start_document(self, **changes: Any) -> dict[str, Any]:
        """The body of a job start: one shared job of `mlindqv` on tn01, started now; `changes` by wire key."""
        return {
            "cluster": "tern",
            "subCluster": "std",
            "partition": "day",
            "project": "hydro7",
            "user": "mlindqv",
            "shared": "none",
            "jobId": 88412,
            "numNodes": 1,
            "numHwthreads": 8,
            "walltime": 7200,
            "startTime": int(self.clock()),
            "resources": [{"hostname": "tn01"}],
            "metaData": {"jobName": "relax", "jobScript": "#!/bin/sh\n./relax\n"},
            **changes,
        }

    def start_job(self, **changes: Any) -> int:
        """Start a job over the API; its database id."""
        answer = self.client.post(
            "/api/jobs/start_job/", json=self.start_document(**changes), headers=self.headers("api")
        )
        assert answer.status_code == 201, answer.text
        return int(answer.get_json()["id"])

    def stop_job(self, *, job_id: int = 88412, state: str = "completed", **more: Any) -> dict[str, Any]:
        """Stop a job over the API, now; the job as answered."""
        body = {"jobId": job_id, "cluster": "tern", "stopTime": int(self.clock()), "jobState": state, **more}
        answer = self.client.post("/api/jobs/stop_job/", json=body, headers=self.headers("api"))
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.get_json()
        return document

    def write(self, *lines: str) -> None:
        """Send lines over the API; they must all be taken."""
        answer = self.client.post("/api/write/", data="\n".join(lines) + "\n", headers=self.headers("api"))
        assert answer.status_code == 200, answer.text

    def write_node(self, host: str, *, from_s: int, minutes: int, skip: Sequence[int] = ()) -> None:
        """Send one sample a minute of every metric of a node: values are simple functions of minute and part."""
        lines = []
        for minute in range(minutes):
            if minute not in skip:
                lines += [f"{line} {from_s + minute * TIMESTEP_S}" for line in self._node_lines(host, minute)]
        self.write(*lines)

    def archive(self) -> list[int]:
        """Archive every finished job, as if no more samples could come; the database ids of those archived."""
        late_s = self.services.settings.archive.late_data_s
        return make_archiver(self.services).run_once(now_s=int(self.clock() + late_s)).archived

    def archived_job(
        self, *, minutes: int = 10, skip: Sequence[int] = (), state: str = "completed", **more: Any
    ) -> int:
        """A job that ran for some minutes with a sample of every metric in each, finished and archived; its id."""
        database_id = self.start_job(**more)
        document = self.start_document(**more)
        for resource in document["resources"]:
            self.write_node(resource["hostname"], from_s=document["startTime"], minutes=minutes + 1, skip=skip)
        self.clock.advance(minutes * TIMESTEP_S)
        self.stop_job(job_id=document["jobId"], state=state)
        assert self.archive() == [database_id]
        return database_id

    def _node_lines(self, host: str, minute: int) -> Iterator[str]:
        where = f"cluster=tern,hostname={host}"
        yield f"load_one,{where},type=node value={4 + minute % 3}"
        yield f"mem_used,{where},type=node value={10 + minute}"
        for thread in HWTHREADS:
            yield f"cpu_user,{where},type=hwthread,type-id={thread} value={50 + thread}"
            yield f"flops_any,{where},type=hwthread,type-id={thread} value={thread + minute / 8}"
        for socket in range(2):
            yield f"mem_bw,{where},type=socket,type-id={socket} value={20 + socket}"
            yield f"cpu_power,{where},type=socket,type-id={socket} value=120.5"
        yield f"acc_utilization,{where},type=accelerator,type-id={ACCELERATOR} value=75"


@pytest.fixture
def clock() -> Clock:
    """The clock of the application; it stands at START_S until a test moves it."""
    return Clock(START_S)


@pytest.fixture(scope="session")
def token_keys() -> tuple[str, str]:
    """A private and a public token key, as the settings hold them."""
    return generate_keys()


class CompiledTemplates(BytecodeCache):
    """Templates that one application has compiled, for those after it; kept by the text they were made of."""

    def __init__(self) -> None:
        self._compiled: dict[tuple[str, str], bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        """Give what is there for this name and text."""
        if known := self._compiled.get((bucket.key, bucket.checksum)):
            bucket.bytecode_from_string(known)

    def dump_bytecode(self, bucket: Bucket) -> None:
        """Keep it."""
        self._compiled[bucket.key, bucket.checksum] = bucket.bytecode_to_string()


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with the schema of today and nothing in it, to be copied."""
    path = tmp_path_factory.mktemp("schema") / DATABASE
    opened = open_database(path)
    migrate(opened, now_s=START_S)
    opened.close_all()
    return path


@pytest.fixture(scope="session")
def empty_postgres_database(postgres_server: Any) -> str:
    """The same on PostgreSQL: the name of a database, to be copied or emptied again."""
    name: str = postgres_server.new_database()
    opened = open_database(postgres_server.url(name))
    migrate(opened, now_s=START_S)
    opened.close_all()
    return name


@pytest.fixture
def postgres_database_url(postgres_server: Any, empty_postgres_database: str) -> Iterator[str]:
    """The address of a new PostgreSQL database, for tests that do more to it than change rows."""
    postgres_server.empty_database(empty_postgres_database)
    name = postgres_server.new_database(empty_postgres_database)
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@pytest.fixture(params=list(Dialect))
def new_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a new database, once on each engine, for tests that change the schema."""
    if request.param == Dialect.POSTGRESQL:
        return str(request.getfixturevalue("postgres_database_url"))
    return str(shutil.copy(request.getfixturevalue("empty_database"), tmp_path / DATABASE))


@pytest.fixture(params=list(Dialect))
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database with the schema of today and nothing in it, once on each engine."""
    if request.param == Dialect.POSTGRESQL:
        server, name = request.getfixturevalue("postgres_server"), request.getfixturevalue("empty_postgres_database")
        server.empty_database(name)
        return str(server.url(name))
    return str(shutil.copy(request.getfixturevalue("empty_database"), tmp_path / DATABASE))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """That database, opened."""
    opened = open_database(database_url)
    yield opened
    opened.close_all()


@pytest.fixture(scope="session")
def compiled_templates() -> CompiledTemplates:
    """The templates of all applications of this run."""
    return CompiledTemplates()


@pytest.fixture
def app_factory(
    tmp_path: Path,
    clock: Clock,
    token_keys: tuple[str, str],
    empty_database: Path,
    compiled_templates: CompiledTemplates,
) -> Iterator[Callable[..., Flask]]:
    """Makes applications in the test's folder and closes them after it.

    `app_factory(clusters=[...], settings={...})`: documents of the clusters (default: tern alone), and settings by
    section over those for tests. Called again, it is the same installation after a restart, with its samples back.
    With `hasher=None` passwords cost what they cost in a real server.
    """
    opened: list[Flask] = []

    def make(
        *,
        clusters: Sequence[Mapping[str, Any]] | None = None,
        settings: Mapping[str, Any] | None = None,
        hasher: PasswordHasher | None = FAST_HASHER,
    ) -> Flask:
        archive = tmp_path / "job-archive"
        if not archive.exists():
            files = FileArchive.create(archive)
            for document in [tern_document()] if clusters is None else clusters:
                files.store_cluster(document)
        (tmp_path / "metric-store").mkdir(exist_ok=True)
        if not (tmp_path / DATABASE).exists():
            shutil.copy(empty_database, tmp_path / DATABASE)
        configured = _settings(tmp_path, token_keys, settings or {})
        app = create_app(configured, clock=clock, monotonic_clock=clock.steady, hasher=hasher)
        app.testing = True
        app.jinja_env.bytecode_cache = compiled_templates
        opened.append(app)
        assert app.extensions[EXTENSION].store.wait_restored()
        return app

    yield make
    for app in opened:
        app.extensions[EXTENSION].close()


def _settings(folder: Path, keys: tuple[str, str], changes: Mapping[str, Any]) -> BackendSettings:
    document: dict[str, Any] = {
        "main": {"db": DATABASE},
        "auth": {"jwts": {"private-key": keys[0], "public-key": keys[1]}},
        "archive": {"path": "job-archive"},
        "metric-store": {"wal": {"directory": "metric-store", "fsync": "never"}},
    }
    for name, section in changes.items():
        if isinstance(section, Mapping):
            document.setdefault(name, {}).update(section)
        else:
            document[name] = section
    return load(BackendSettings, document, source="test", base_directory=folder, legacy=LEGACY_KEYS).value


@pytest.fixture
def app(app_factory: Callable[..., Flask]) -> Flask:
    """An application for the cluster tern."""
    return app_factory()


@pytest.fixture
def site(app: Flask, clock: Clock) -> Site:
    """The application for the cluster tern with its helpers."""
    return Site(app, clock)


@pytest.fixture
def site_of(app_factory: Callable[..., Flask], clock: Clock) -> Callable[..., Site]:
    """Makes a site with other settings or clusters; arguments as of `app_factory`."""
    return lambda **changes: Site(app_factory(**changes), clock)


@pytest.fixture
def services(app: Flask) -> Services:
    """The services of the application for the cluster tern."""
    services: Services = app.extensions[EXTENSION]
    return services


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    """A client of the application for the cluster tern, without a token and without cookies."""
    return app.test_client()


@pytest.fixture
def tern() -> dict[str, Any]:
    """cluster.json of the cluster tern, to be changed at will."""
    return tern_document()


@pytest.fixture
def tarn_json() -> dict[str, Any]:
    """cluster.json of the cluster tarn, to be changed at will."""
    return tarn_document()


@pytest.fixture
def tarn() -> Mapping[str, SubCluster]:
    """The subclusters of the cluster tarn: main and gpu."""
    return parse_cluster(tarn_document(), source="test")[0].sub_clusters


@pytest.fixture
def make_job() -> Callable[..., Job]:
    """Makes a finished, archived job of two hours on two nodes; fields can be given."""

    def make(**changes: object) -> Job:
        nodes = changes.pop("hosts", ("tn0001", "tn0002"))
        assert isinstance(nodes, tuple)
        fields: dict[str, object] = {
            "id": 7,
            "job_id": 4711,
            "cluster": "tarn",
            "sub_cluster": "main",
            "user": "mlindq",
            "project": "chem-102",
            "start_time": START_S,
            "duration": 7200,
            "resources": tuple(Resource(host) for host in nodes),
            "num_nodes": len(nodes),
            "num_hwthreads": 96 * len(nodes),
            "state": JobState.COMPLETED,
            "monitoring_status": MonitoringStatus.ARCHIVED,
            "meta_data": {"jobName": "relax"},
        }
        return Job(**{**fields, **changes})  # type: ignore[arg-type]  # fields by name, as tests give them

    return make


def node_metric(unit: MetricUnit, rows: Mapping[str, Sequence[float]], *, step_s: int = TIMESTEP_S) -> JobMetric:
    """A metric at node scope from rows by host."""
    return JobMetric(unit, step_s, [SampleSeries(host, np.array(row, dtype=np.float32)) for host, row in rows.items()])


@pytest.fixture
def make_data() -> Callable[..., JobData]:
    """Makes samples at node scope: metric name -> host -> values."""
    units = {
        "cpu_load": MetricUnit(""),
        "flops_any": MetricUnit("F/s", "G"),
        "mem_bw": MetricUnit("B/s", "G"),
        "mem_used": MetricUnit("B", "G"),
        "net_bw": MetricUnit("B/s"),
    }

    def make(**metrics: Mapping[str, Sequence[float]]) -> JobData:
        return {
            name: {Scope.NODE: node_metric(units.get(name, MetricUnit("")), rows)} for name, rows in metrics.items()
        }

    return make
