"""What clients of ClusterCockpit 1.5 need of the REST interface, check by check, asked of a real server."""

import gzip
import itertools
import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.integration

CLUSTER = "tern"
TIMESTEP_S = 60
ADAPTER_LIST = "/api/jobs/?state=running&items-per-page=9999999&page=1&with-metadata=false"
UNITS = {"load_one": "", "mem_used": "G|B", "flops_any": "G|F/s"}


def cluster_document() -> dict[str, Any]:
    """cluster.json of `tern`: twenty nodes of four hardware threads, with metrics of nodes and of hardware threads."""
    node_metric = {"scope": "node", "timestep": TIMESTEP_S, "aggregation": "avg"}
    limits = {"peak": 100, "normal": 80, "caution": 20, "alert": 10}
    gigaflops = {"unit": {"base": "F/s", "prefix": "G"}, "value": 100}
    return {
        "name": CLUSTER,
        "metricConfig": [
            {"name": "load_one", "unit": {"base": ""}, "footprint": "avg", **node_metric, **limits},
            {"name": "mem_used", "unit": {"base": "B", "prefix": "G"}, "footprint": "max", **node_metric, **limits},
            {
                "name": "flops_any",
                "unit": {"base": "F/s", "prefix": "G"},
                **node_metric,
                **limits,
                "scope": "hwthread",
                "aggregation": "sum",
            },
        ],
        "subClusters": [
            {
                "name": "std",
                "nodes": "tn[01-20]",
                "processorType": "Example",
                "socketsPerNode": 1,
                "coresPerSocket": 2,
                "threadsPerCore": 2,
                "flopRateScalar": gigaflops,
                "flopRateSimd": gigaflops,
                "memoryBandwidth": {"unit": {"base": "B/s", "prefix": "G"}, "value": 100},
                "topology": {
                    "node": [0, 1, 2, 3],
                    "socket": [[0, 1, 2, 3]],
                    "memoryDomain": [[0, 1, 2, 3]],
                    "core": [[0, 2], [1, 3]],
                },
            }
        ],
    }


@dataclass
class Site:
    """A server that runs, tokens as ClusterCockpit 1.5 issues them, and jobs of which none has the id of another."""

    backend: Any
    client: httpx.Client
    tokens: dict[str, str]
    job_ids: Iterator[int] = field(default_factory=lambda: itertools.count(88_412))

    def send(self, method: str, path: str, *, caller: str = "service", **more: Any) -> httpx.Response:
        """The answer to a request with the token of a caller."""
        return self.client.request(method, path, headers={"X-Auth-Token": self.tokens[caller]}, **more)

    def start_document(self, **changes: Any) -> dict[str, Any]:
        """What the Slurm adapter of ClusterCockpit 1.5 sends for a started job, empty keys included."""
        return {
            "cluster": CLUSTER,
            "subCluster": "",
            "partition": "day",
            "project": "hydro7",
            "user": "mlindqv",
            "shared": "multi_user",
            "jobState": "",
            "tags": None,
            "resources": [{"hostname": "tn01", "hwthreads": [0, 2]}],
            "energyFootprint": None,
            "footprint": None,
            "metaData": {"jobName": "relax", "slurmInfo": "JobId=88412", "submitTime": "1760000300"},
            "concurrentJobs": {"items": None, "count": 0},
            "energy": 0,
            "walltime": 7200,
            "jobId": next(self.job_ids),
            "duration": 0,
            "numHwthreads": 2,
            "numNodes": 1,
            "statistics": None,
            "startTime": int(time.time()) - 1,
            **changes,
        }

    def start(self, **changes: Any) -> dict[str, Any]:
        """A job that was started: the document as sent, with its database id as `id`."""
        document = self.start_document(**changes)
        answer = self.send("POST", "/api/jobs/start_job/", json=document)
        assert answer.status_code == 201, answer.text
        return {**document, "id": answer.json()["id"]}

    def stop(self, job: dict[str, Any], **changes: Any) -> httpx.Response:
        """The answer to a stop as the adapter sends it: without a start time."""
        body = {"jobId": job["jobId"], "cluster": CLUSTER, "jobState": "completed", "stopTime": int(time.time())}
        return self.send("POST", "/api/jobs/stop_job/", json={**body, **changes})

    def write(self, host: str, *, from_s: int, to_s: int, skip: int | None = None) -> None:
        """Samples of a host, one a minute of each metric; none in the minute `skip`."""
        lines = []
        for minute, time_s in enumerate(range(from_s, to_s, TIMESTEP_S)):
            if minute != skip:
                where = f"cluster={CLUSTER},hostname={host}"
                lines += [f"load_one,{where},type=node value={4 + minute / 3} {time_s}"]
                lines += [f"mem_used,{where},type=node value={10 + minute} {time_s}"]
                lines += [f"flops_any,{where},type=hwthread,type-id={at} value=1.005 {time_s}" for at in range(4)]
        answer = self.send("POST", "/api/write/", content="\n".join(lines))
        assert (answer.status_code, answer.content) == (200, b"")

    def finished(self, host: str, *, skip: int | None = None, **changes: Any) -> dict[str, Any]:
        """A job of ten minutes on a host that has sent samples until now, stopped; the archiver may take it at once."""
        now_s = int(time.time())
        start_s = now_s // TIMESTEP_S * TIMESTEP_S - 900
        job = self.start(startTime=start_s, resources=[{"hostname": host, "hwthreads": [0, 1, 2, 3]}], **changes)
        self.write(host, from_s=start_s, to_s=now_s, skip=skip)
        answer = self.stop(job, stopTime=start_s + 600)
        assert answer.status_code == 200, answer.text
        return job

    def folder_of(self, job: dict[str, Any]) -> Path:
        """Where the archive has a job."""
        number = job["jobId"]
        place = f"{CLUSTER}/{number // 1000}/{number % 1000:03d}/{job['startTime']}"
        return Path(self.backend.directory / "var/job-archive" / place)

    def meta_json(self, job: dict[str, Any]) -> Any:
        """The job's meta.json as it is now."""
        return json.loads((self.folder_of(job) / "meta.json").read_text("utf-8"))


TOKENS = {
    "service": ("--role", "api"),
    "ada": ("--role", "admin", "--role", "api"),
    "sam": ("--role", "support", "--role", "api"),
    "mlindqv": ("--role", "user", "--role", "api"),
    "pagesonly": ("--role", "user"),
}


@pytest.fixture(scope="module")
def site(processes: Any, initialised: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("acceptance") / "backend"
    shutil.copytree(initialised, folder)
    backend = processes.Backend(folder, processes.free_port())
    (folder / "tern.json").write_text(json.dumps(cluster_document()), "utf-8")
    processes.run("cc-backend", "cluster", "add", "--config", backend.config, folder / "tern.json")
    tokens = {name: backend.token(name, *roles, "--scope", "all") for name, roles in TOKENS.items()}
    tokens["reader"] = backend.token("reader", "--role", "api", "--scope", "read")
    with backend.serving(), httpx.Client(base_url=backend.url, timeout=20) as client:
        yield Site(backend, client, tokens)


@pytest.fixture
def archived(site: Site, processes: Any) -> Any:
    """Waits until the archive has a job."""

    def wait(job: dict[str, Any]) -> dict[str, Any]:
        processes.wait_for("archiving", (site.folder_of(job) / "meta.json").exists)
        return job

    return wait


def test_check_1_the_adapters_list_has_a_job_that_started_a_second_ago(site: Site) -> None:
    job = site.start(startTime=int(time.time()) - 1)
    headers = {"X-AUTH-TOKEN": site.tokens["service"], "accept": "application/ld+json"}
    answer = site.client.get(ADAPTER_LIST, headers={**headers, "content-type": "application/json"})
    assert answer.status_code == 200
    (found,) = (one for one in answer.json()["jobs"] if one["jobId"] == job["jobId"])
    assert (found["cluster"], found["jobState"], found["id"]) == (CLUSTER, "running", job["id"])
    assert found["metaData"] is None


def test_check_2_a_start_with_the_adapters_empty_keys_is_201_and_its_repetition_422(site: Site) -> None:
    document = site.start_document()
    first = site.send("POST", "/api/jobs/start_job/", json=document)
    again = site.send("POST", "/api/jobs/start_job/", json=document)
    assert (first.status_code, first.json()["msg"]) == (201, "success")
    assert again.status_code == 422


def test_check_3_a_stop_without_start_time_gives_the_job_then_422_and_404_if_it_is_unknown(site: Site) -> None:
    job = site.start(startTime=int(time.time()) - 3600)
    stop_s = job["startTime"] + 3590
    first, again = (site.stop(job, jobState="timeout", stopTime=stop_s) for _ in range(2))
    unknown = site.stop({**job, "jobId": 1}, stopTime=stop_s)
    stopped = first.json()
    assert (first.status_code, again.status_code, unknown.status_code) == (200, 422, 404)
    assert (stopped["jobState"], stopped["duration"], stopped["id"]) == ("timeout", 3590, job["id"])


@pytest.mark.parametrize(
    ("path", "memory"), [("/api/nodestate/", 8000), ("/api/nodestate", 8001), ("/api/healthcheck/", 8002)]
)
def test_check_4_node_states_in_upper_case_are_200_and_stored(site: Site, path: str, memory: int) -> None:
    node = {"hostname": "tn04", "states": ["MIXED", "DRAIN"], "cpusAllocated": 2, "memoryAllocated": memory}
    body = {"cluster": CLUSTER, "nodes": [{**node, "gpusAllocated": 0, "jobsRunning": 0}]}
    answer = site.send("POST", path, json=body)
    assert answer.status_code == 200
    assert (answer.json()["accepted"], answer.json()["unknownHosts"]) == (1, [])
    node = site.send("GET", f"/api/nodes/{CLUSTER}/tn04/").json()["node"]
    assert (node["state"], node["cpusAllocated"], node["memoryAllocated"]) == ("mixed", 2, memory)


def test_check_5_tokens_are_taken_from_both_headers_and_api_alone_passes_but_user_alone_does_not(site: Site) -> None:
    token = site.tokens["service"]
    for headers in ({"X-Auth-Token": token}, {"x-auth-token": token}, {"Authorization": f"Bearer {token}"}):
        assert site.client.get("/api/jobs/", headers=headers).status_code == 200
    refused = site.send("GET", "/api/jobs/", caller="pagesonly")
    assert (refused.status_code, refused.json()["status"]) == (401, "Unauthorized")


def test_check_6_error_bodies_are_status_and_error_and_unknown_paths_are_404_in_json(site: Site) -> None:
    answers = {
        401: site.client.get("/api/jobs/"),
        404: site.client.get("/api/nothing/here"),
        400: site.send("GET", "/api/jobs/?state=lazy"),
        422: site.send("GET", "/api/jobs/999999999"),
        405: site.send("DELETE", "/api/jobs/start_job/"),
        403: site.send("POST", "/api/jobs/start_job/", caller="reader", json={}),
    }
    answers_of_other_prefixes = [site.client.get(f"/{prefix}/no/thing") for prefix in ("userapi", "frontend", "config")]
    assert [answer.status_code for answer in answers_of_other_prefixes] == [404, 404, 404]
    for status, answer in [*answers.items(), *((404, answer) for answer in answers_of_other_prefixes)]:
        assert answer.status_code == status
        assert answer.headers["Content-Type"] == "application/json"
        assert isinstance(answer.json()["error"], str)
        assert answer.json()["status"] == httpx.codes.get_reason_phrase(status)


@pytest.mark.parametrize(
    ("path", "host"), [("/api/write", "tn05"), ("/api/write/", "tn06"), ("/metricstore/write", "tn07")]
)
def test_check_7_a_write_is_200_with_an_empty_body_with_and_without_slash(site: Site, path: str, host: str) -> None:
    lines = f"load_one,hostname={host},type=node value=1 {int(time.time())}\n"
    answer = site.send("POST", f"{path}?cluster={CLUSTER}", content=lines)
    assert (answer.status_code, answer.content, answer.headers["Content-Type"]) == (200, b"", "application/json")
    assert host in site.send("GET", f"/api/debug/?selector={CLUSTER}").text


def test_check_8_one_job_is_meta_and_data_and_metrics_are_data_job_metrics(site: Site) -> None:
    start_s = int(time.time()) // TIMESTEP_S * TIMESTEP_S - 600
    job = site.start(startTime=start_s, resources=[{"hostname": "tn08"}])
    site.write("tn08", from_s=start_s, to_s=start_s + 600)
    plain = site.send("GET", f"/api/jobs/{job['id']}").json()
    whole = site.send("GET", f"/api/jobs/{job['id']}?all-metrics=true").json()
    named = site.send("POST", f"/api/jobs/{job['id']}", json=["mem_used"]).json()
    metrics = site.send("GET", f"/api/jobs/metrics/{job['id']}?metric=mem_used&metric=load_one").json()
    assert (plain["Meta"]["jobId"], plain["Data"]) == (job["jobId"], None)
    assert plain["Meta"]["metaData"] == job["metaData"]
    assert set(whole["Data"]) == {"load_one", "mem_used", "flops_any"}
    assert set(whole["Data"]["flops_any"]) == {"core"}
    assert [(entry["name"], entry["scope"]) for entry in named["Data"]] == [("mem_used", "node")]
    assert metrics["error"] is None
    assert {entry["name"] for entry in metrics["data"]["jobMetrics"]} == {"mem_used", "load_one"}


def test_check_9_samples_have_two_decimals_and_gaps_are_null_from_store_and_archive(site: Site, archived: Any) -> None:
    job = site.finished("tn09", skip=2)
    from_store = site.send("GET", f"/api/jobs/metrics/{job['id']}?metric=load_one").text
    archived(job)
    from_archive = site.send("GET", f"/api/jobs/{job['id']}?all-metrics=true").text
    packed = (site.folder_of(job) / "data.json.gz").read_bytes() if _is_packed(site.folder_of(job)) else None
    file = gzip.decompress(packed).decode() if packed else (site.folder_of(job) / "data.json").read_text("utf-8")
    for text in (from_store, from_archive, file):
        arrays = re.findall(r'"data":\[([^\[\]{}]+)\]', text)
        assert arrays
        for values in (array.split(",") for array in arrays):
            assert values[2] == "null"
            assert all(value == "null" or re.fullmatch(r"-?\d+\.\d\d", value) for value in values)
        statistics = re.search(r'"statistics":\{"min":\d+\.\d\d,"avg":\d+\.\d\d,"max":\d+\.\d\d\}', text)
        assert statistics


def test_check_12_addresses_outside_the_list_are_401_a_role_is_401_at_the_door_and_403_inside(
    site: Site, backend: Any
) -> None:
    at_the_door = site.send("GET", "/api/jobs/", caller="mlindqv")
    inside = site.send("POST", "/api/jobs/start_job/", caller="reader", json=site.start_document())
    assert (at_the_door.status_code, inside.status_code) == (401, 403)
    assert site.send("GET", "/userapi/jobs/", caller="mlindqv").status_code == 200
    settings = json.loads(backend.config.read_text("utf-8"))
    settings["main"]["api-allowed-ips"] = ["192.0.2.0/24"]
    backend.config.write_text(json.dumps(settings), "utf-8")
    headers = {"X-Auth-Token": backend.token("service", "--role", "api", "--scope", "all")}
    with backend.serving():
        spoofed = {**headers, "X-Real-Ip": "192.0.2.1", "X-Forwarded-For": "192.0.2.1"}
        answers = [httpx.get(f"{backend.url}/api/jobs/", headers=sent) for sent in (headers, spoofed)]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(401, "address_refused")] * 2


def tagged(answer: httpx.Response) -> set[tuple[str, str]]:
    """Name and scope of the tags of a job that was answered."""
    assert answer.status_code == 200, answer.text
    return {(tag["name"], tag["scope"]) for tag in answer.json().get("tags", [])}


@pytest.mark.parametrize(
    ("caller", "scope", "status"),
    [
        ("ada", "", 200),
        ("ada", "admin", 200),
        ("ada", "ada", 200),
        ("ada", "mlindqv", 403),
        ("service", "global", 200),
        ("service", "admin", 200),
        ("service", "nobody", 403),
        ("mlindqv", "mlindqv", 401),  # may not enter this class of routes
        ("sam", "global", 401),
    ],
)
def test_check_13_who_may_attach_tags_of_which_scope(site: Site, caller: str, scope: str, status: int) -> None:
    job = site.start()
    tag = {"type": "check", "name": f"n{job['jobId']}", "scope": scope}
    for method in ("POST", "PATCH"):
        answer = site.send(method, f"/api/jobs/tag_job/{job['id']}", caller=caller, json=[tag])
        assert answer.status_code == status


def test_check_13_who_sees_tags_of_which_scope(site: Site) -> None:
    job = site.start()
    path = f"/api/jobs/tag_job/{job['id']}"
    site.send("POST", path, json=[{"type": "check", "name": "a", "scope": "admin"}])
    site.send("POST", path, caller="ada", json=[{"type": "check", "name": "p", "scope": "ada"}])
    site.send("POST", path, json=[{"type": "check", "name": "g", "scope": "global"}])

    def seen(caller: str) -> set[str]:
        tags = site.send("GET", f"/userapi/jobs/{job['id']}", caller=caller).json()["Meta"].get("tags", [])
        return {tag["name"] for tag in tags}

    assert {caller: seen(caller) for caller in ("ada", "sam", "mlindqv")} == {
        "ada": {"a", "p", "g"},
        "sam": {"a", "g"},
        "mlindqv": {"g"},
    }


def test_check_13_tags_and_meta_data_of_a_finished_job_change_in_its_archive_too(
    site: Site, archived: Any, processes: Any
) -> None:
    job = archived(site.finished("tn13"))
    wave, lake = ({"type": "check", "name": name, "scope": "global"} for name in ("wave", "lake"))
    private = {"type": "check", "name": "mine", "scope": "ada"}
    path = f"/api/jobs/tag_job/{job['id']}"
    site.send("POST", path, json=[wave, lake])
    assert tagged(site.send("POST", path, caller="ada", json=[private])) >= {("wave", "global"), ("mine", "ada")}

    def kept() -> set[tuple[str, str]]:
        return {(tag["name"], tag["scope"]) for tag in site.meta_json(job).get("tags", [])}

    every = {("wave", "global"), ("lake", "global"), ("mine", "ada")}
    processes.wait_for("tags of all scopes in the archive", lambda: kept() == every)
    assert tagged(site.send("DELETE", path, json=[wave])) == {("lake", "global")}
    processes.wait_for("the detached tag to leave the archive", lambda: kept() == every - {("wave", "global")})
    removed = site.send("DELETE", "/api/tags/", json=[lake])
    assert (removed.status_code, "1 of 1" in removed.text) == (200, True)
    processes.wait_for("the removed tag to leave the archive", lambda: kept() == {("mine", "ada")})
    edited = site.send("PATCH", f"/api/jobs/edit_meta/{job['id']}", json={"key": "message", "value": "of GPU 0"})
    assert edited.json()["metaData"]["message"] == "of GPU 0"
    changed = {**job["metaData"], "message": "of GPU 0"}
    processes.wait_for("the meta data in the archive", lambda: site.meta_json(job)["metaData"] == changed)


@pytest.mark.parametrize("body", [{"key": "note", "value": "x"}, {"note": "x"}], ids=["of 1.5", "of the manual"])
@pytest.mark.parametrize("method", ["PATCH", "POST"])
def test_check_14_meta_data_is_edited_as_the_release_and_as_the_manual_say(
    site: Site, method: str, body: dict[str, str]
) -> None:
    job = site.start()
    by_id = site.send(method, f"/api/jobs/edit_meta/{job['id']}", json=body)
    assert (by_id.status_code, by_id.json()["metaData"]["note"]) == (200, "x")
    named = {"jobId": job["jobId"], "cluster": CLUSTER, "payload": {"key": "note", "value": "y"}}
    by_request = site.send(method, "/api/jobs/edit_meta/", json=named)
    assert (by_request.status_code, by_request.json()["metaData"]["note"]) == (200, "y")


def test_check_14_jobs_are_removed_by_id_by_request_and_by_time_and_running_ones_are_spared(site: Site) -> None:
    long_ago_s = 1_500_000_000
    first, second, old, running = (
        site.start(startTime=long_ago_s + at, user="removed1", monitoringStatus=0) for at in range(4)
    )
    for job in (first, second, old):
        site.stop(job, stopTime=long_ago_s + 60)
    assert site.send("DELETE", f"/api/jobs/delete_job/{first['id']}").status_code == 200
    assert site.send("DELETE", f"/api/jobs/delete_job/{first['id']}").status_code == 404
    named = {"jobId": second["jobId"], "cluster": CLUSTER, "startTime": second["startTime"]}
    assert site.send("DELETE", "/api/jobs/delete_job/", json=named).status_code == 200
    assert site.send("DELETE", "/api/jobs/delete_job/", json=named).status_code == 422
    answer = site.send("DELETE", f"/api/jobs/delete_job_before/{long_ago_s + 1000}?omit-tagged=user")
    assert (answer.status_code, answer.json()["deleted"]) == (200, 1)
    left = site.send("GET", "/api/jobs/?user=removed1").json()["jobs"]
    assert [job["jobId"] for job in left] == [running["jobId"]]


def test_check_14_a_stop_by_database_id_and_the_id_in_the_answer_to_a_start_as_scripts_for_1_3_expect(
    site: Site,
) -> None:
    job = site.start(startTime=int(time.time()) - 100)
    body = {"stopTime": job["startTime"] + 50, "jobState": "failed"}
    answer = site.send("PUT", f"/api/jobs/stop_job/{job['id']}", json=body)
    assert (answer.status_code, answer.json()["jobId"], answer.json()["duration"]) == (200, job["jobId"], 50)


def test_check_14_keys_of_older_releases_and_of_the_manual_are_taken_in_events(site: Site) -> None:
    document = site.start_document(exclusive=1, startTime=int(time.time()) - 100)
    del document["shared"]
    assert site.send("POST", "/api/jobs/start_job", json=document).status_code == 201
    body = {"jobId": document["jobId"], "cluster": CLUSTER, "state": "failed", "stopTime": int(time.time())}
    stopped = site.send("POST", "/api/jobs/stop_job", json=body)
    assert (stopped.json()["shared"], stopped.json()["jobState"]) == ("none", "failed")


def test_check_14_the_list_takes_the_parameters_of_the_manual(site: Site) -> None:
    start_s = int(time.time()) - 5000
    names = ({"user": "nobody1"}, {"user": "nobody1"}, {"user": "nobody2"})
    jobs = [site.start(startTime=start_s + 10 * at, **name) for at, name in enumerate(names)]

    def found(query: str) -> list[int]:
        answer = site.send("GET", f"/api/jobs/?{query}")
        assert answer.status_code == 200, answer.text
        return [job["jobId"] for job in answer.json()["jobs"]]

    assert found("user=nobody1") == [jobs[1]["jobId"], jobs[0]["jobId"]]
    assert found(f"user=nobody1&startTime[from]={start_s + 5}&startTime[to]={start_s + 15}") == [jobs[1]["jobId"]]
    assert found("user=nobody1&items_per_page=1&page=2") == [jobs[0]["jobId"]]
    assert found("user=nobody1&numNodes[from]=2") == []


@pytest.mark.parametrize(("digits", "host"), [(10, "tn17"), (13, "tn18"), (16, "tn19"), (19, "tn20")])
def test_check_14_samples_are_taken_with_times_in_seconds_to_nanoseconds(site: Site, digits: int, host: str) -> None:
    now_s = int(time.time())
    line = f"load_one,hostname={host},type=node value=7.5 {now_s}{'0' * (digits - 10)}"
    assert site.send("POST", f"/api/write/?cluster={CLUSTER}", content=line).status_code == 200
    query = {"metric": "load_one", "host": host}
    body = {"cluster": CLUSTER, "from": now_s - TIMESTEP_S, "to": now_s + TIMESTEP_S, "queries": [query]}
    ((series,),) = site.send("POST", "/api/query/", json=body).json()["results"]
    assert [value for value in series["data"] if value is not None] == [7.5]


def test_job_bodies_of_the_reference_give_what_they_say(site: Site, fritz: Path) -> None:
    start = json.loads((fritz / "payloads/startJobPayload.json").read_text("utf-8"))
    stop = json.loads((fritz / "payloads/stopJobPayload.json").read_text("utf-8"))
    started = site.send("POST", "/api/jobs/start_job/", json=start)
    again = site.send("POST", "/api/jobs/start_job/", json=start)
    (listed,) = site.send("GET", "/api/jobs/?state=running&cluster=fritz&with-metadata=true").json()["jobs"]
    stopped = site.send("POST", "/api/jobs/stop_job/", json=stop)
    assert (started.status_code, again.status_code, stopped.status_code) == (201, 422, 200)
    same = start.keys() - {"numAcc"}  # a zero, which is left out
    assert {key: listed[key] for key in same} == {key: start[key] for key in same}
    assert (stopped.json()["jobState"], stopped.json()["duration"]) == ("completed", 40_027)


def test_a_cluster_file_of_the_reference_gives_its_numbers(site: Site, fritz: Path) -> None:
    (cluster,) = site.send("GET", "/api/clusters/?cluster=fritz").json()["clusters"]
    numbers = {
        part["name"]: (len(part["metricConfig"]), len(part["footprint"]), part["energyFootprint"])
        for part in cluster["subClusters"]
    }
    energy = ["cpu_power", "mem_power"]
    assert numbers == {"main": (19, 4, energy), "spr1tb": (15, 3, energy), "spr2tb": (14, 2, energy)}


@pytest.fixture(scope="module")
def fritz(site: Site, processes: Any, shared_fixtures: Path) -> Path:
    """Third-party files; the server knows the cluster that they are about."""
    document = shared_fixtures / "job-archive/fritz/cluster.json"
    processes.run("cc-backend", "cluster", "add", "--config", site.backend.config, document)
    processes.wait_for("the cluster", lambda: "fritz" in site.send("GET", "/api/clusters/").text)
    return shared_fixtures


def _is_packed(folder: Path) -> bool:
    return (folder / "data.json.gz").exists()
