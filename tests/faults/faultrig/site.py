"""A backend that can be started, killed and asked."""

import http.client
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from processes import BIN, Backend, new_backend, run, wait_for

CLUSTER = "here"
NODES = "n[1-9]"
METRICS = ("cpu_load", "mem_used", "net_bw", "disk_read_bw", "disk_write_bw")
ENDS = 3
_SOON_S = 0.02


@dataclass
class Site:
    """The folder of a backend with a cluster of nine nodes, one sample a second, and two tokens."""

    backend: Backend
    write_token: str
    jobs_token: str
    host: str = "127.0.0.1"
    environment: dict[str, str] = field(default_factory=dict)
    admin_token: str = ""
    running: "subprocess.Popen[bytes] | None" = None

    @property
    def port(self) -> int:
        """Where it listens."""
        return self.backend.port

    @property
    def directory(self) -> Path:
        """Its folder."""
        return self.backend.directory

    @property
    def log(self) -> str:
        """What it said."""
        return self.backend.log.read_text("utf-8") if self.backend.log.exists() else ""

    def copy(self, directory: Path) -> "Site":
        """The same in another folder, on another port."""
        from processes import free_port  # noqa: PLC0415 - beside its only use

        shutil.copytree(self.directory, directory)
        return Site(Backend(directory, free_port()), self.write_token, self.jobs_token)

    def use_database(self, address: str) -> None:
        """Keep jobs and tokens in an empty PostgreSQL database; the token for jobs is a new one."""
        document = json.loads(self.backend.config.read_text("utf-8"))
        document["main"]["db"] = address
        self.backend.config.write_text(json.dumps(document), "utf-8")
        self.jobs_token = self.backend.token("jobs", "--scope", "jobs")

    def start(self, *, wait: bool = True) -> None:
        """Begin to serve; with `wait` it answers when this returns."""
        command = [BIN / "cc-backend", "serve", "--config", self.backend.config]
        environment = {**os.environ, "CC_BACKEND_ADDR": f"{self.host}:{self.port}", **self.environment}
        with self.backend.log.open("ab") as output:
            self.running = subprocess.Popen(
                command, stdout=output, stderr=output, env=environment, start_new_session=True
            )
        if wait:
            self.wait_until_up()

    def wait_until_up(self) -> None:
        """Return when it answers; as systemd would, starts it again where it ended, unless that happens thrice."""
        ends = 0

        def up() -> bool:
            nonlocal ends
            assert self.running is not None
            if self.running.poll() is None:
                return self.is_up()
            ends += 1
            assert ends < ENDS, f"the backend ended: {self.log[-2000:]}"
            self.start(wait=False)
            return False

        soon("the backend's start", up)

    def is_up(self) -> bool:
        """Whether it answers and is well."""
        try:
            return self.ask("GET", "/healthz")[0] == http.client.OK
        except (OSError, http.client.HTTPException):
            return False

    def kill(self) -> None:
        """SIGKILL; returns when it is gone."""
        assert self.running is not None
        self.running.kill()
        self.running.wait()
        self.running = None

    def stop(self) -> None:
        """End it as systemd would, if it runs."""
        if self.running is None:
            return
        self.running.terminate()
        try:
            self.running.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self.running.kill()
            self.running.wait()
        self.running = None

    @contextmanager
    def serving(self) -> Iterator["Site"]:
        """Up inside the block."""
        self.start()
        try:
            yield self
        finally:
            self.stop()

    def ask(
        self, method: str, path: str, body: bytes = b"", *, token: str = "", headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Status and body of one request on a connection of its own. Raises OSError or HTTPException."""
        connection = http.client.HTTPConnection(self.host, self.port, timeout=20)
        try:
            given = {"Authorization": f"Bearer {token}"} if token else {}
            connection.request(method, path, body or None, {**given, **(headers or {})})
            answer = connection.getresponse()
            if answer.status == http.client.SERVICE_UNAVAILABLE and path != "/healthz":
                assert answer.headers["Retry-After"], f"{path}: 503 without Retry-After"
            return answer.status, answer.read()
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        """A JSON answer of the REST API, asked for with the token for jobs."""
        status, body = self.ask("GET", path, token=self.jobs_token)
        assert status == http.client.OK, f"{path}: {status} {body[:500]!r}"
        return json.loads(body)

    def post_job(self, event: str, document: Mapping[str, Any]) -> tuple[int, bytes]:
        """Status and body of the answer to `start_job` or `stop_job`. Raises OSError or HTTPException."""
        return self.ask("POST", f"/api/jobs/{event}/", json.dumps(document).encode(), token=self.jobs_token)

    def write(self, batch: bytes) -> int:
        """Status of the answer to a batch of samples. Raises OSError or HTTPException."""
        return self.ask("POST", "/api/write", batch, token=self.write_token)[0]

    def jobs(self) -> list[dict[str, Any]]:
        """All jobs there are."""
        found: list[dict[str, Any]] = self.get("/api/jobs/?items-per-page=1000000")["jobs"]
        return found

    def is_whole(self) -> bool:
        """Whether samples of before its start are back; it answers before that."""
        return b"\ncc_backend_store_restoring 0\n" in self.ask("GET", "/metrics")[1]

    def samples(self, database_id: int, metric: str) -> dict[int, float]:
        """Time -> value of the node samples of a job with one host."""
        soon("samples of before its start", self.is_whole)
        answer = self.get(f"/api/jobs/metrics/{database_id}/?metric={metric}&scope=node")
        assert answer["error"] is None, answer
        row = next(row for row in self.jobs() if row["id"] == database_id)
        for found in answer["data"]["jobMetrics"]:
            assert found["metric"]["timestep"] == 1, "the job is too long to be answered sample by sample"
            (series,) = found["metric"]["series"]
            pairs = enumerate(series["data"], start=row["startTime"])
            return {time_s: value for time_s, value in pairs if value is not None}
        return {}

    def archived(self, job_id: int, start_s: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """meta.json and data.json of a job."""
        import gzip  # noqa: PLC0415 - beside its only use

        folder = self.directory / "var/job-archive" / CLUSTER / str(job_id // 1000) / f"{job_id % 1000:03d}"
        folder /= str(start_s)
        packed = folder / "data.json.gz"
        data = gzip.decompress(packed.read_bytes()) if packed.exists() else (folder / "data.json").read_bytes()
        return json.loads((folder / "meta.json").read_text("utf-8")), json.loads(data)


def make_site(directory: Path) -> Site:
    """A new backend that knows a cluster of nine nodes like this machine. Nothing is waited for in it."""
    backend = new_backend(directory)
    document = json.loads(run("cc-agent", "topology", "--cluster", CLUSTER, "--hostname", "n1", "--interval", "1s"))
    document["subClusters"][0]["nodes"] = NODES
    described = directory / "cluster.json"
    described.write_text(json.dumps(document), "utf-8")
    run("cc-backend", "cluster", "add", "--config", backend.config, described)
    write_token = backend.token("agents", "--scope", "write")
    jobs_token = backend.token("jobs", "--scope", "jobs")
    return Site(backend, write_token, jobs_token)


def soon(what: str, probe: Callable[[], Any], timeout_s: float = 60.0) -> Any:
    """As `wait_for`, asking more often and longer: kill rounds are to be short, and machines may be busy."""
    deadline_s = time.monotonic() + min(timeout_s, 5.0)
    while time.monotonic() < deadline_s:
        answer = probe()
        if answer:
            return answer
        time.sleep(_SOON_S)
    return wait_for(what, probe, timeout_s)
