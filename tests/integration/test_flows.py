"""The three flows with real processes: this machine's numbers, a real load, a job, the archive, a page in Chromium."""

import gzip
import json
import os
import shutil
import socket
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.integration

CLUSTER = "here"
INTERVAL_S = 1
LOAD_S = 12
HOST = socket.gethostname().split(".")[0]
BURN = "import os,sys\nos.sched_setaffinity(0,{int(sys.argv[1])})\nwhile True: pass"


def archived(directory: Path, job_id: int, start_s: int) -> tuple[dict[str, Any], dict[str, Any]] | None:
    folder = directory / "var/job-archive" / CLUSTER / str(job_id // 1000) / f"{job_id % 1000:03d}" / str(start_s)
    if not (folder / "meta.json").exists():
        return None
    packed = folder / "data.json.gz"
    data = gzip.decompress(packed.read_bytes()) if packed.exists() else (folder / "data.json").read_bytes()
    return json.loads((folder / "meta.json").read_text("utf-8")), json.loads(data)


@pytest.fixture
def finished(backend: Any, tmp_path: Path, integration: Any) -> Any:
    """A job that loaded one hardware thread of this machine, seen through to the archive; the backend still serves."""
    thread = max(os.sched_getaffinity(0))
    topology = integration.run("cc-agent", "topology", "--cluster", CLUSTER, "--interval", f"{INTERVAL_S}s")
    (tmp_path / "cluster.json").write_text(topology, "utf-8")
    integration.run("cc-backend", "cluster", "add", "--config", backend.config, tmp_path / "cluster.json")
    password = "a good long password"
    for name, role in (("ada", "user"), ("eve", "user")):
        arguments = ("user", "add", name, "--config", backend.config, "--role", role)
        integration.run("cc-backend", *arguments, given=password)
    writer = backend.token("agent", "--role", "api", "--scope", "write")
    (tmp_path / "token").write_text(writer, "utf-8")
    (tmp_path / "token").chmod(0o600)
    jobs = backend.token("jobs", "--role", "api", "--scope", "jobs")
    with ExitStack() as running:
        running.enter_context(backend.serving())
        options = ["--url", backend.url, "--token-file", tmp_path / "token", "--cluster", CLUSTER]
        agent = [integration.BIN / "cc-agent", "run", *options, "--interval", f"{INTERVAL_S}s"]
        running.enter_context(integration.process(*agent, log=tmp_path / "agent.log"))
        client = running.enter_context(httpx.Client(base_url=backend.url, headers={"X-Auth-Token": jobs}, timeout=20))
        job_id, start_s = 4_711_823, int(time.time())
        event = {
            "jobId": job_id,
            "cluster": CLUSTER,
            "user": "ada",
            "project": "engines",
            "startTime": start_s,
            "numNodes": 1,
            "numHwthreads": 1,
            "shared": "single_user",
            "resources": [{"hostname": HOST, "hwthreads": [thread]}],
            "metaData": {"jobName": "<b>burn</b>"},
        }
        answer = client.post("/api/jobs/start_job/", json=event)
        assert answer.status_code == 201, answer.text
        with integration.process(sys.executable, "-c", BURN, thread, log=tmp_path / "load.log"):
            until_s = start_s + LOAD_S
            integration.wait_for("the load", lambda: time.time() > until_s)
        stop = {"jobId": job_id, "cluster": CLUSTER, "jobState": "completed", "stopTime": until_s}
        answer = client.post("/api/jobs/stop_job/", json=stop)
        assert answer.status_code == 200, answer.text
        found = integration.wait_for("archiving", lambda: archived(backend.directory, job_id, start_s))
        row = client.get("/api/jobs/").json()["jobs"][0]
        yield {
            "meta": found[0],
            "data": found[1],
            "row": row,
            "client": client,
            "backend": backend,
            "thread": thread,
            "password": password,
        }


@pytest.mark.alone
def test_a_job_goes_from_the_kernel_to_the_archive_and_to_a_page(finished: Any, browser: Any) -> None:
    check_archive(finished)
    check_rest(finished)
    check_page(finished, browser)


def check_archive(finished: Any) -> None:
    meta, data = finished["meta"], finished["data"]
    assert meta["jobState"] == "completed"
    assert meta["duration"] == LOAD_S
    assert meta["monitoringStatus"] == 3
    assert meta["statistics"]["cpu_user"]["avg"] > 80
    assert meta["footprint"]["cpu_user_avg"] > 80
    (series,) = (
        data["cpu_user"]["hwthread"]["series"] if "hwthread" in data["cpu_user"] else data["cpu_user"]["core"]["series"]
    )
    assert series["hostname"] == HOST
    assert series["statistics"]["avg"] > 80
    values = [value for value in series["data"] if value is not None]
    # the first sample may reach back to before the start
    assert min(values[1:]) > 80
    assert len(values) >= LOAD_S - 2


def check_rest(finished: Any) -> None:
    client, row = finished["client"], finished["row"]
    assert row["monitoringStatus"] == 3
    one = client.get(f"/api/jobs/{row['id']}").json()
    assert one["Meta"]["jobId"] == finished["meta"]["jobId"]
    metrics = client.get(f"/api/jobs/metrics/{row['id']}", params={"metric": "cpu_user"}).json()
    (metric,) = metrics["data"]["jobMetrics"]
    assert metric["metric"]["series"][0]["statistics"]["avg"] > 80


def check_page(finished: Any, browser: Any) -> None:
    address = f"{finished['backend'].url}/monitoring/job/{finished['row']['id']}"
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(f"{finished['backend'].url}/login")
    sign_in(page, "ada", finished["password"])
    page.goto(address)
    text = page.inner_text("main")
    assert "4711823" in text
    assert "<b>burn</b>" in text, "the job's name is text, not markup"
    assert page.locator("figure.plot").count() >= 5
    page.wait_for_selector("figure.plot canvas")
    assert errors == []
    other = browser.new_context().new_page()
    other.goto(f"{finished['backend'].url}/login")
    sign_in(other, "eve", finished["password"])
    answer = other.goto(address)
    assert answer is not None
    assert answer.status == 404, "another user's job is as good as not there"


def sign_in(page: Any, name: str, password: str) -> None:
    page.fill("input[name=username]", name)
    page.fill("input[name=password]", password)
    page.click("main button[type=submit]")
    page.wait_for_url(lambda url: "/login" not in url)


def test_a_wrong_setting_is_refused_at_start_with_the_nearest_key(backend: Any, integration: Any) -> None:
    document = json.loads(backend.config.read_text("utf-8"))
    document["main"]["adr"] = "localhost:1"
    backend.config.write_text(json.dumps(document), "utf-8")
    done = integration.attempt("cc-backend", "serve", "--config", backend.config)
    assert done.returncode == 2
    assert "main.adr" in done.stderr
    assert "'addr'" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_running_server_sees_a_cluster_that_is_added(backend: Any, integration: Any, tmp_path: Path) -> None:
    line = f"cpu_user,cluster=late,hostname={HOST} value=1 {int(time.time())}\n"
    headers = {"X-Auth-Token": backend.token("agents", "--scope", "write")}
    refused = 'reason="unknown_cluster"} 1'
    accepted = 'result="accepted",reason=""} 1'
    with backend.serving(), httpx.Client(base_url=backend.url, headers=headers) as client:
        assert client.post("/api/write/", content=line).status_code == 200
        assert refused in client.get("/metrics").text
        topology = integration.run("cc-agent", "topology", "--cluster", "late")
        (tmp_path / "late.json").write_text(topology, "utf-8")
        said = integration.run("cc-backend", "cluster", "add", "--config", backend.config, tmp_path / "late.json")
        assert "within seconds" in said

        def is_taken() -> bool:
            client.post("/api/write/", content=line)
            return accepted in client.get("/metrics").text

        integration.wait_for("that samples of the new cluster are taken", is_taken)


def test_no_secret_is_readable_by_others_and_none_is_a_sample(backend: Any, integration: Any, tmp_path: Path) -> None:
    open_to_others = [
        path
        for path in backend.directory.rglob("*")
        if path.is_file() and path.stat().st_mode & 0o077 and "key" in path.name
    ]
    assert open_to_others == []
    integration.run("cc-backend", "init", tmp_path / "another")
    first = (backend.directory / "secrets/jwt-private-key").read_text("utf-8")
    assert first != (tmp_path / "another/secrets/jwt-private-key").read_text("utf-8")


def test_killed_at_any_moment_the_backend_keeps_what_it_acknowledged(
    backend: Any, tmp_path: Path, integration: Any
) -> None:
    topology = integration.run("cc-agent", "topology", "--cluster", CLUSTER, "--hostname", "n1")
    (tmp_path / "cluster.json").write_text(topology, "utf-8")
    integration.run("cc-backend", "cluster", "add", "--config", backend.config, tmp_path / "cluster.json")
    writer = backend.token("agent", "--role", "api", "--scope", "write")
    jobs = backend.token("jobs", "--role", "api", "--scope", "jobs")
    start_s = int(time.time()) // 60 * 60 - 1800
    kept: dict[int, float] = {}
    for round_number in range(3):
        with backend.serving() as server, httpx.Client(base_url=backend.url, timeout=20) as client:
            if round_number == 0:
                event = {
                    "jobId": 1,
                    "cluster": CLUSTER,
                    "user": "u",
                    "project": "p",
                    "startTime": start_s,
                    "numNodes": 1,
                    "resources": [{"hostname": "n1"}],
                }
                started = client.post("/api/jobs/start_job/", json=event, headers={"X-Auth-Token": jobs})
                assert started.status_code == 201
            for slot in range(round_number * 5, round_number * 5 + 5):
                time_s, value = start_s + slot * 60, 10.0 + slot
                line = f"cpu_load,cluster={CLUSTER},hostname=n1,type=node value={value} {time_s}"
                answer = client.post("/api/write", content=line, headers={"Authorization": f"Bearer {writer}"})
                assert answer.status_code == 200, answer.text
                kept[time_s] = value
            server.kill()
            server.wait()
            integration.wait_for("the end of the serving process", lambda: refused(backend.url))
    with backend.serving(), httpx.Client(base_url=backend.url, headers={"X-Auth-Token": jobs}) as client:
        integration.wait_for("samples of before the start", lambda: integration.has_restored(backend.url))
        answer = client.get("/api/jobs/metrics/1", params={"metric": "cpu_load"}).json()
        data = answer["data"]["jobMetrics"][0]["metric"]["series"][0]["data"]
    assert data[: len(kept)] == list(kept.values())


def refused(url: str) -> bool:
    try:
        httpx.get(f"{url}/healthz", timeout=20)
    except httpx.TimeoutException:
        return False
    except httpx.TransportError:
        return True
    return False


def test_a_full_disk_under_the_log_is_said_and_survived(backend: Any, tmp_path: Path, integration: Any) -> None:
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("a small file system can be mounted by root only")
    topology = integration.run("cc-agent", "topology", "--cluster", CLUSTER, "--hostname", "n1")
    (tmp_path / "cluster.json").write_text(topology, "utf-8")
    integration.run("cc-backend", "cluster", "add", "--config", backend.config, tmp_path / "cluster.json")
    writer = backend.token("agent", "--role", "api", "--scope", "write")
    log_folder = backend.directory / "var/metric-store"
    log_folder.mkdir(parents=True, exist_ok=True)
    with integration.small_disk(log_folder), backend.serving():
        ballast = log_folder / "ballast"
        with httpx.Client(base_url=backend.url, headers={"Authorization": f"Bearer {writer}"}, timeout=20) as client:
            assert post_samples(client, 1.0).status_code == 200
            fill(ballast)
            full = post_samples(client, 2.0)
            assert full.status_code == 503
            assert int(full.headers["Retry-After"]) > 0
            assert client.get("/healthz").status_code == 503
            ballast.unlink()
            assert integration.wait_for("the recovery", lambda: post_samples(client, 3.0).status_code == 200)
            assert client.get("/healthz").status_code == 200
    said = backend.log.read_text("utf-8")
    assert "No space left" in said or "disk is full" in said
    assert "Traceback" not in said


def post_samples(client: httpx.Client, value: float) -> httpx.Response:
    """More than fits into what is left of the last page of the log."""
    now_s = int(time.time())
    line = f"cpu_load,cluster={CLUSTER},hostname=n1,type=node value={value}"
    return client.post("/api/write", content="\n".join(f"{line} {now_s - minute * 60}" for minute in range(1000)))


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        for size in (65536, 4096, 512, 1):
            try:
                while True:
                    file.write(b"\0" * size)
            except OSError:
                continue
