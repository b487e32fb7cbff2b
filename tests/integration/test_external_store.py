"""A backend whose samples lie in a metric store of its own process: asked, killed, and back again."""

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from cc_backend.metricstore.query.binary_codec import MEDIA_TYPE, decode
from cc_backend.storeservice.retention_holds import RetentionHoldsClient

pytestmark = pytest.mark.integration

FAR, NEAR = "far", "near"
MINUTES = 10


class Store:
    """The metric store as a process."""

    def __init__(self, directory: Path, port: int, integration: Any, main: dict[str, Any]) -> None:
        self.config = directory / "metric-store.json"
        self.url = f"http://127.0.0.1:{port}"
        self.log = directory / "metric-store.log"
        self._integration = integration
        document = {
            "main": {"addr": f"127.0.0.1:{port}", **main},
            "metrics": {"cpu_load": {"frequency": 60, "aggregation": "avg"}},
            "metric-store": {"retention-in-memory": "48h", "memory-cap": 0, "wal": {"directory": "far-samples"}},
        }
        self.config.write_text(json.dumps(document), "utf-8")

    @contextmanager
    def serving(self) -> Iterator[Any]:
        """The process, up and answering."""
        command = (self._integration.BIN / "cc-backend", "metric-store", "--config", self.config)
        with self._integration.process(*command, log=self.log) as running:
            self._integration.wait_for(f"the store's start (see {self.log})", self.is_up)
            yield running

    def is_up(self) -> bool:
        """Whether it answers."""
        try:
            return httpx.get(f"{self.url}/healthz", timeout=2).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False


@pytest.fixture
def site(backend: Any, tmp_path: Path, integration: Any) -> Any:
    """A backend with two clusters, one of which has its samples elsewhere; and that store. Neither serves yet."""
    for cluster in (FAR, NEAR):
        topology = integration.run("cc-agent", "topology", "--cluster", cluster, "--hostname", "n1")
        (tmp_path / "cluster.json").write_text(topology, "utf-8")
        integration.run("cc-backend", "cluster", "add", "--config", backend.config, tmp_path / "cluster.json")
    reader = backend.token("reader", "--role", "api", "--scope", "read")
    main = {
        "jwt-public-key": (backend.directory / "secrets/jwt-public-key").read_text("utf-8").strip(),
        "backend-url": backend.url,
        "backend-token": backend.token("jobs", "--role", "api", "--scope", "jobs"),
    }
    store = Store(tmp_path, integration.free_port(), integration, main)
    document = json.loads(backend.config.read_text("utf-8"))
    document["metric-store-external"] = [{"scope": FAR, "url": store.url, "token": reader}]
    backend.config.write_text(json.dumps(document), "utf-8")
    return {"backend": backend, "store": store, "main": main, "reader": reader}


def lines(cluster: str, start_s: int) -> str:
    return "\n".join(
        f"cpu_load,cluster={cluster},hostname=n1,type=node value={minute + 0.25} {start_s + minute * 60}"
        for minute in range(MINUTES)
    )


def start_job(client: httpx.Client, cluster: str, start_s: int, token: str) -> None:
    event = {"jobId": 1, "cluster": cluster, "user": "u", "project": "p", "startTime": start_s, "numNodes": 1,
             "resources": [{"hostname": "n1"}]}  # fmt: skip
    answer = client.post("/api/jobs/start_job/", json=event, headers={"X-Auth-Token": token})
    assert answer.status_code == 201, answer.text


def samples(client: httpx.Client, job: int, token: str) -> list[float | None]:
    """The load of a job as the backend's REST API gives it; empty if there is none."""
    query = {"metric": "cpu_load"}
    answer = client.get(f"/api/jobs/metrics/{job}", params=query, headers={"X-Auth-Token": token}, timeout=30)
    assert answer.status_code == 200, answer.text
    found = answer.json()["data"]["jobMetrics"]
    return found[0]["metric"]["series"][0]["data"][:MINUTES] if found else []


def test_a_backend_asks_the_store_elsewhere_and_survives_its_death(site: Any, integration: Any) -> None:
    backend, store, jobs = site["backend"], site["store"], site["main"]["backend-token"]
    writer = backend.token("agent", "--role", "api", "--scope", "write")
    start_s = int(time.time()) // 60 * 60 - MINUTES * 60
    expected = [minute + 0.25 for minute in range(MINUTES)]
    with ExitStack() as stack:
        running = stack.enter_context(store.serving())
        stack.enter_context(backend.serving())
        client = stack.enter_context(httpx.Client(base_url=backend.url, timeout=20))
        bearer = {"Authorization": f"Bearer {writer}"}
        for url, cluster in ((store.url, FAR), (backend.url, NEAR)):
            assert client.post(f"{url}/api/write", content=lines(cluster, start_s), headers=bearer).status_code == 200
            start_job(client, cluster, start_s, jobs)
        assert samples(client, 1, jobs) == expected, "what lies elsewhere"
        assert samples(client, 2, jobs) == expected, "what lies here"
        assert RetentionHoldsClient(backend.url, jobs).fetch_or_last(int(time.time())) == {
            FAR: {"n1": 0},
            NEAR: {"n1": 0},
        }
        running.kill()
        running.wait()
        integration.wait_for("the end of the store", lambda: not store.is_up())
        assert samples(client, 1, jobs) == []
        assert samples(client, 2, jobs) == expected, "one store away, the rest still comes"
        assert client.get("/healthz").status_code == 200
        assert "external metric store failed" in backend.log.read_text("utf-8")
        with store.serving():
            integration.wait_for("samples of before the start", lambda: integration.has_restored(store.url))
            whole = integration.wait_for("the samples", lambda: samples(client, 1, jobs))
            assert whole == expected, "nothing acknowledged was lost"


def test_a_body_on_get_passes_the_server_and_so_do_all_routes_of_the_reference(site: Any) -> None:
    backend, store, reader = site["backend"], site["store"], site["reader"]
    tokens = {
        scope: {"Authorization": f"Bearer {backend.token(f'the-{scope}', '--role', role, '--scope', scope)}"}
        for scope, role in (("write", "api"), ("admin", "admin"))
    }
    start_s = int(time.time()) // 60 * 60 - MINUTES * 60
    query = {"cluster": FAR, "from": start_s, "to": start_s + 180, "queries": None, "for-all-nodes": ["cpu_load"]}
    with store.serving(), httpx.Client(base_url=store.url, timeout=20) as client:
        for path in ("/api/write", "/api/write/"):
            answer = client.post(path, content=lines(FAR, start_s), headers=tokens["write"])
            assert (answer.status_code, answer.content) == (200, b"")
        bearer = {"Authorization": f"Bearer {reader}"}
        for method, path in (("GET", "/api/query?version=v2"), ("GET", "/api/query/"), ("POST", "/api/query")):
            answer = client.request(method, path, content=json.dumps(query), headers=bearer)
            assert answer.json()["results"][0][0]["data"] == [0.25, 1.25, 2.25], (method, path)
        chunks = iter([json.dumps(query).encode()[:20], json.dumps(query).encode()[20:]])
        answer = client.request("GET", "/api/query", content=chunks, headers=bearer)
        assert answer.status_code == 200, "a body without a length"
        assert answer.json()["results"][0][0]["data"] == [0.25, 1.25, 2.25]
        answer = client.request(
            "GET", "/api/query", content=json.dumps(query), headers={**bearer, "Accept": MEDIA_TYPE}
        )
        assert decode(answer.content).rows[0][0].avg == 1.25
        health = {"cluster": FAR, "nodes": ["n1", "n9"], "metric-names": ["cpu_load"]}
        states = client.request("GET", "/api/healthcheck", content=json.dumps(health), headers=bearer).json()
        assert {host: found["State"] for host, found in states.items()} == {"n1": "full", "n9": "failed"}
        # the backend that knows the running jobs does not answer: what may be freed is not known
        for method, path, status in (("GET", "/api/debug", 200), ("POST", "/api/free?to=1", 503)):
            assert client.request(method, path, content="[[]]", headers=bearer).status_code == 403
            assert client.request(method, path, content="[[]]").status_code == 401
            assert client.request(method, path, content="[[]]", headers=tokens["admin"]).status_code == status
        assert "cc_backend_store_lines_total" in client.get("/metrics").text


def test_a_store_that_others_could_reach_without_a_token_does_not_start(site: Any, integration: Any) -> None:
    document = json.loads(site["store"].config.read_text("utf-8"))
    document["main"] = {"addr": f"0.0.0.0:{integration.free_port()}"}
    site["store"].config.write_text(json.dumps(document), "utf-8")
    done = integration.attempt("cc-backend", "metric-store", "--config", site["store"].config)
    assert done.returncode == 2
    assert "open-to-all" in done.stderr
    assert "Traceback" not in done.stderr


def test_its_settings_are_shown_without_secrets(site: Any, integration: Any) -> None:
    shown = integration.run("cc-backend", "metric-store", "show-config", "--config", site["store"].config)
    assert "metrics.cpu_load.frequency = 60" in shown
    assert site["main"]["backend-token"] not in shown
    assert site["main"]["jwt-public-key"] not in shown
