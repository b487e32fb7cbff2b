"""Real servers on one real PostgreSQL database and one archive."""

import json
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.integration

THREADS = [0, 1, 2, 3]
LEADS = "leads the periodic work"


@pytest.fixture
def database_name(postgres_server: Any) -> Iterator[str]:
    name = postgres_server.new_database()
    yield name
    postgres_server.drop_database(name)


@pytest.fixture
def configured(backend: Any, postgres_server: Any, database_name: str, tmp_path: Path) -> Callable[..., Any]:
    """Backends on that database, each in a folder of its own, with the archive and the keys of the first one."""

    def configure(name: str, processes: Any, **changes: Any) -> Any:
        directory = tmp_path / name
        shutil.copytree(backend.directory, directory)
        password = directory / "secrets" / "db-password"
        password.touch(mode=0o600)
        password.write_text("p@ss:w/rd\n")
        document = json.loads((directory / "config.json").read_text())
        document["main"]["db"] = postgres_server.url(database_name, with_password=False)
        document["main"]["db-password-file"] = "secrets/db-password"
        document["archive"]["path"] = str(backend.directory / "var" / "job-archive")
        (directory / "config.json").write_text(json.dumps(document | changes))
        return processes.Backend(directory, processes.free_port())

    return configure


def asks(first: Any, token: str) -> Mapping[str, Any]:
    """The setting of a server that has no samples of its own."""
    return {"metric-store-external": [{"scope": "*", "url": first.url, "token": token}]}


def cluster_document() -> dict[str, Any]:
    """cluster.json of one node."""
    limits = {"peak": 100, "normal": 80, "caution": 20, "alert": 10}
    metric = {"name": "load_one", "unit": {"base": ""}, "scope": "node", "timestep": 60, "aggregation": "avg", **limits}
    flops = {"unit": {"base": "F/s", "prefix": "G"}, "value": 100}
    shape = {"socketsPerNode": 1, "coresPerSocket": 4, "threadsPerCore": 1, "processorType": "Example"}
    speeds = {"flopRateScalar": flops, "flopRateSimd": flops}
    bandwidth = {"unit": {"base": "B/s", "prefix": "G"}, "value": 100}
    topology = {"node": THREADS, "socket": [THREADS], "memoryDomain": [THREADS], "core": [[at] for at in THREADS]}
    sub_cluster = {
        "name": "std",
        "nodes": "tn01",
        **shape,
        **speeds,
        "memoryBandwidth": bandwidth,
        "topology": topology,
    }
    return {"name": "tern", "metricConfig": [metric], "subClusters": [sub_cluster]}


def status(server: Any, path: str, token: str = "") -> int:
    headers = {"X-Auth-Token": token} if token else {}
    return httpx.get(f"{server.url}{path}", headers=headers, timeout=20).status_code


def test_two_servers_share_a_database_and_the_second_leads_when_the_first_is_killed(
    configured: Callable[..., Any], integration: Any
) -> None:
    first = configured("first", integration)
    token = first.token("reader", "--scope", "read")
    with first.serving() as leader:
        second = configured("second", integration, **asks(first, token))
        with second.serving():
            assert LEADS in first.log.read_text()
            assert LEADS not in second.log.read_text()
            assert [status(server, "/api/jobs/", token) for server in (first, second)] == [200, 200]
            leader.send_signal(signal.SIGKILL)
            leader.wait(20)
            integration.wait_for("the second server's lead", lambda: LEADS in second.log.read_text())
            assert status(second, "/api/jobs/", token) == 200


def test_what_one_server_has_acknowledged_the_other_shows_at_once_and_a_keyed_event_is_stored_once(
    configured: Callable[..., Any], integration: Any
) -> None:
    first = configured("first", integration)
    described = first.directory / "tern.json"
    described.write_text(json.dumps(cluster_document()), "utf-8")
    integration.run("cc-backend", "cluster", "add", "--config", first.config, described)
    token = first.token("jobs", "--scope", "all")
    second = configured("second", integration, **asks(first, token))
    with (
        first.serving(),
        second.serving(),
        httpx.Client(headers={"X-Auth-Token": token}, timeout=20) as client,
        ThreadPoolExecutor(2) as pool,
    ):

        def start(server: Any, job_id: int) -> httpx.Response:
            resources = [{"hostname": "tn01"}]
            body = {"cluster": "tern", "user": "u", "jobId": job_id, "numNodes": 1, "resources": resources}
            headers = {"Idempotency-Key": f"start-{job_id}"}
            path = f"{server.url}/api/jobs/start_job/"
            return client.post(path, json={**body, "startTime": 1_760_000_000 + job_id}, headers=headers)

        for job_id in range(1, 11):
            here, there = (first, second) if job_id % 2 else (second, first)
            answers = list(pool.map(start, (first, second), (job_id, job_id)))
            assert [answer.status_code for answer in answers] == [201, 201]
            (id_,) = {answer.json()["id"] for answer in answers}
            assert client.get(f"{there.url}/api/jobs/").json()["total"] == job_id
            tagged = client.post(f"{here.url}/api/jobs/tag_job/{id_}", json=[{"type": "t", "name": "x"}])
            assert tagged.status_code == 200
            assert client.get(f"{there.url}/api/jobs/?tag=t:x").json()["total"] == job_id
            stop = {"stopTime": 1_760_000_100 + job_id, "jobState": "failed"}
            assert client.put(f"{here.url}/api/jobs/stop_job/{id_}", json=stop).status_code == 200
            assert client.get(f"{there.url}/api/jobs/?state=failed&duration=100").json()["total"] == job_id
            statistics = client.get(f"{there.url}/api/jobs/statistics/").json()["statistics"]
            assert (statistics["totalJobs"], statistics["runningJobs"]) == (job_id, 0)


def test_a_second_server_with_samples_of_its_own_ends_with_one_line(
    configured: Callable[..., Any], integration: Any
) -> None:
    first = configured("first", integration)
    with first.serving():
        second = configured("second", integration)
        ended = integration.attempt(
            "cc-backend", "serve", "--config", second.config, "--addr", second.url.removeprefix("http://")
        )
    assert ended.returncode == 1
    assert ended.stderr.count("cc-backend: ") == 1, ended.stderr
    assert "another process with a metric store of its own uses the database postgresql://cockpit@" in ended.stderr


def test_a_server_goes_on_after_a_restart_of_postgresql(
    configured: Callable[..., Any], integration: Any, postgres_server: Any
) -> None:
    server = configured("first", integration)
    token = server.token("reader", "--scope", "read")
    with server.serving():
        assert status(server, "/api/jobs/", token) == 200
        postgres_server.stop(kill=True)
        try:
            integration.wait_for("the fault", lambda: status(server, "/healthz") == 503)
            assert "the database cannot be reached" in httpx.get(f"{server.url}/healthz").text
            assert status(server, "/api/jobs/", token) == 503
        finally:
            postgres_server.start()
        integration.wait_for("the end of the fault", lambda: status(server, "/healthz") == 200)
        assert status(server, "/api/jobs/", token) == 200
    assert "Traceback" not in server.log.read_text()


def test_a_command_says_in_one_line_what_is_wrong_with_the_login(
    configured: Callable[..., Any], integration: Any
) -> None:
    server = configured("first", integration)
    (server.directory / "secrets" / "db-password").write_text("another one\n")
    for command in (("user", "list"), ("serve",)):
        ended = integration.attempt("cc-backend", *command, "--config", server.config)
        assert ended.returncode == 1
        assert "password authentication failed for user" in ended.stderr
        assert "another one" not in ended.stderr
        assert ended.stderr.count("\n") <= 2, ended.stderr
