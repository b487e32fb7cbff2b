"""Each kind of job, from sbatch to the backend's record: every field must be what Slurm's own commands say."""

import gzip
import json
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.slurm

CLUSTER = "tbcluster"
LOAD_S = 12
SHORT = "sleep 3"
LONG = "sleep 120"

# keeps every hardware thread busy that Slurm gave the job; with task/affinity Slurm itself would bind the tasks
BURN = """#!/bin/bash
threads=({threads})
ids=$(scontrol show job -d "$SLURM_JOB_ID" | sed -n 's/.* CPU_IDs=\\([0-9,-]*\\).*/\\1/p')
for id in $(tr , '\\n' <<<"$ids" | while IFS=- read -r first last; do seq "$first" "${{last:-$first}}"; done); do
    timeout {seconds} taskset -c "${{threads[id]}}" bash -c 'while :; do :; done' &
done
wait
"""

STATES = {
    "COMPLETED": "completed",
    "FAILED": "failed",
    "CANCELLED": "cancelled",
    "TIMEOUT": "timeout",
    "PREEMPTED": "preempted",
    "NODE_FAIL": "node_fail",
    # the backend knows no such state: a run that Slurm took away to start it anew later
    "REQUEUED": "cancelled",
}


def in_slurm_order(topology: dict[str, Any]) -> list[int]:
    """The hardware thread behind each of Slurm's CPU ids, which count core by core."""
    return [thread for core in topology["core"] for thread in core]


@pytest.fixture(scope="module")
def played(site: Any, slurm: Any, cluster: dict[str, Any]) -> dict[str, int]:
    """Jobs of all kinds, submitted together and seen through to the end; kind -> raw job id."""
    script = slurm.directory / "burn.sh"
    threads = " ".join(map(str, in_slurm_order(cluster["subClusters"][-1]["topology"])))
    script.write_text(BURN.format(threads=threads, seconds=LOAD_S), "utf-8")
    ids = submit_all(slurm, f"{slurm.folder}/{script.name}")
    for kind in ("cancelled", "timed out", "requeued"):
        slurm.wait_for(kind, ids[kind], "RUNNING")
        site.wait_until(f"the start of {kind} in the backend", lambda kind=kind: site.rows(ids[kind]))
    slurm.command("scancel", ids["cancelled"])
    slurm.command("scancel", ids["never started"])
    slurm.command("scontrol", "requeue", ids["requeued"])
    slurm.command("scontrol", "update", f"JobId={ids['timed out']}", f"EndTime={soon()}")
    slurm.command("scontrol", "release", ids["held"])
    waits = {"cancelled": "CANCELLED", "timed out": "TIMEOUT", "failed": "FAILED", "never started": "CANCELLED"}
    for kind, job_id in ids.items():
        slurm.wait_for(kind, job_id, waits.get(kind, "COMPLETED"))
    ids.update(disturb(slurm, site))
    wanted = {(int(run["JobIDRaw"]), int(run["Start"])) for run in ran(slurm, ids)}
    site.wait_until(
        "the end of all jobs in the backend",
        lambda: wanted <= {(row["jobId"], row["startTime"]) for row in site.jobs() if row["jobState"] != "running"},
    )
    return ids


def soon() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() + 1))


def submit_all(slurm: Any, script: str) -> dict[str, int]:
    first_gpu = slurm.submit("--partition=gpu", "--gres=gpu:1", "--wrap", "sleep 6")
    ids = {
        "serial": slurm.submit("-n1", "--time=5", "--job-name=a b=c <i>ü</i>", "--wrap", SHORT),
        "parallel": slurm.submit("-N2", "-n20", "--time=1:30:00", "--wrap", SHORT),
        "array": slurm.submit("--array=1-3", "-n1", "--wrap", SHORT),
        "heterogeneous": slurm.submit("-n1", "--wrap", SHORT, ":", "-n3"),
        "one gpu": first_gpu,
        "gpu": slurm.submit("--partition=gpu", "--gres=gpu:2", "-c5", "--wrap", SHORT, user="tbbob"),
        "cancelled": slurm.submit("--wrap", LONG),
        "timed out": slurm.submit("--time=1", "--wrap", LONG),
        "failed": slurm.submit("--wrap", "sleep 2; exit 3"),
        "requeued": slurm.submit("--requeue", "--wrap", "sleep 7"),
        "held": slurm.submit("--hold", "--wrap", SHORT),
        "never started": slurm.submit("--hold", "--wrap", SHORT),
        "whole node": slurm.submit("--exclusive", "-n1", "--partition=gpu", "--wrap", SHORT, user="tbbob"),
        "loaded": slurm.submit("-n1", "--partition=host", script),
    }
    slurm.look()
    return ids


def disturb(slurm: Any, site: Any) -> dict[str, int]:
    """Jobs to which something happens that needs quiet nodes; kind -> raw job id, all of them over."""
    ids = {
        "preempted": slurm.submit("--partition=scavenge", "--nodelist=tbn01", "-n16", "--wrap", LONG),
        "node lost": slurm.submit("--nodelist=tbn02", "--no-requeue", "--wrap", LONG),
        "node lost, requeued": slurm.submit("--nodelist=tbn02", "--requeue", "--wrap", "sleep 6"),
        "suspended": slurm.submit("--partition=gpu", "--wrap", "sleep 8"),
    }
    for kind, job_id in ids.items():
        site.wait_until(f"the start of {kind} in the backend", lambda job_id=job_id: site.rows(job_id))
    slurm.look()
    ids["urgent"] = slurm.submit("--partition=urgent", "--nodelist=tbn01", "-n16", "--wrap", SHORT)
    slurm.command("scontrol", "suspend", ids["suspended"])
    slurm.lose("tbn02")
    slurm.wait_for("node lost", ids["node lost"], "NODE_FAIL")
    slurm.resume("tbn02")
    slurm.wait_for("preempted", ids["preempted"], "PREEMPTED")
    slurm.wait_for("urgent", ids["urgent"], "COMPLETED")
    assert [row["jobState"] for row in site.rows(ids["suspended"])] == ["running"], "a suspended job is not over"
    slurm.command("scontrol", "resume", ids["suspended"])
    slurm.wait_for("suspended", ids["suspended"], "COMPLETED")
    slurm.wait_for("node lost, requeued", ids["node lost, requeued"], "COMPLETED", 60)
    return ids


def relatives(slurm: Any, job_id: int) -> list[dict[str, str]]:
    """All records that belong to what one sbatch submitted: the tasks of an array, the parts of a heterogeneous job."""
    parts = (f"{job_id}_", f"{job_id}+")
    return [run for run in slurm.runs() if run["JobID"] == str(job_id) or run["JobID"].startswith(parts)]


def ran(slurm: Any, ids: dict[str, int]) -> list[dict[str, str]]:
    runs = [run for job_id in ids.values() for run in relatives(slurm, job_id)]
    return [run for run in runs if run["NodeList"] != "None assigned"]


def expected(run: dict[str, str], allocation: Any, cluster: dict[str, Any]) -> dict[str, Any]:
    """The backend's record of one run, made from the text of sacct and scontrol alone."""
    topologies = {host: sub for sub in cluster["subClusters"] for host in HOSTS[sub["name"]]}
    sub_cluster = next(topologies[host] for host in allocation.cpus)
    start_s, end_s = int(run["Start"]), int(run["End"])
    tres = dict(pair.split("=") for pair in run["AllocTRES"].split(","))
    array_job = run["JobID"].split("_")[0] if "_" in run["JobID"] else "0"
    return {
        "jobId": int(run["JobIDRaw"]),
        "arrayJobId": int(array_job),
        "cluster": CLUSTER,
        "subCluster": sub_cluster["name"],
        "partition": run["Partition"],
        "user": run["User"],
        "project": run["Account"],
        "startTime": start_s,
        "duration": end_s - start_s,
        "submitTime": int(run["Submit"]),
        "walltime": int(run["TimelimitRaw"]) * 60,
        "jobState": STATES[run["State"].split()[0]],
        "numNodes": int(run["NNodes"]),
        "numHwthreads": int(run["AllocCPUS"]),
        "numAcc": int(tres.get("gres/gpu", "0")),
        "resources": [resource(host, allocation, topologies[host]["topology"]) for host in sorted(allocation.cpus)],
        "jobName": run["JobName"],
    }


HOSTS = {"cpu": ("tbn01", "tbn02"), "gpu": ("tbg01",), "host": ("tbh01",)}


def resource(host: str, allocation: Any, topology: dict[str, Any]) -> dict[str, Any]:
    threads = in_slurm_order(topology)
    found: dict[str, Any] = {"hostname": host, "hwthreads": sorted(threads[cpu] for cpu in allocation.cpus[host])}
    if allocation.gpus[host]:
        found["accelerators"] = [topology["accelerators"][gpu]["id"] for gpu in allocation.gpus[host]]
    return found


def told(row: dict[str, Any], keys: Any) -> dict[str, Any]:
    """What the backend says, with the keys that it leaves out when they are 0 or empty."""
    found = {key: row.get(key, 0) for key in keys}
    found["jobName"] = (row["metaData"] or {}).get("jobName")
    found["resources"] = sorted(
        ({**one, "hwthreads": sorted(one.get("hwthreads", []))} for one in row["resources"]),
        key=lambda one: one["hostname"],
    )
    return found


@pytest.fixture
def check(
    site: Any, slurm: Any, cluster: dict[str, Any], played: dict[str, int]
) -> Callable[[str], list[dict[str, str]]]:
    """Compare all runs of one kind of job with the backend's records; returns Slurm's records."""

    def compare(kind: str) -> list[dict[str, str]]:
        runs = relatives(slurm, played[kind])
        for run in runs:
            job_id, start_s = int(run["JobIDRaw"]), int(run["Start"])
            want = expected(run, slurm.allocations[job_id, start_s], cluster)
            rows = [row for row in site.rows(job_id) if row["startTime"] == start_s]
            assert [told(row, want) for row in rows] == [want]
        for job_id in {int(run["JobIDRaw"]) for run in runs}:
            starts = [int(run["Start"]) for run in runs if run["JobIDRaw"] == str(job_id)]
            assert [row["startTime"] for row in site.rows(job_id)] == sorted(starts), "no run twice, none made up"
        return runs

    return compare


@pytest.mark.parametrize(
    ("kind", "states"),
    [
        ("serial", ["COMPLETED"]),
        ("parallel", ["COMPLETED"]),
        ("array", ["COMPLETED"] * 3),
        ("heterogeneous", ["COMPLETED"] * 2),
        ("one gpu", ["COMPLETED"]),
        ("gpu", ["COMPLETED"]),
        ("cancelled", ["CANCELLED"]),
        ("timed out", ["TIMEOUT"]),
        ("failed", ["FAILED"]),
        ("requeued", ["REQUEUED", "COMPLETED"]),
        ("held", ["COMPLETED"]),
        ("whole node", ["COMPLETED"]),
        ("loaded", ["COMPLETED"]),
        ("preempted", ["PREEMPTED"]),
        ("urgent", ["COMPLETED"]),
        ("node lost", ["NODE_FAIL"]),
        ("node lost, requeued", ["NODE_FAIL", "COMPLETED"]),
        ("suspended", ["COMPLETED"]),
    ],
)
def test_the_record_of_a_job_says_what_slurm_says(check: Any, kind: str, states: list[str]) -> None:
    assert [run["State"].split()[0] for run in check(kind)] == states


def test_the_tasks_of_an_array_have_ids_of_their_own_and_name_the_array(
    site: Any, played: dict[str, int], check: Any
) -> None:
    runs = check("array")
    rows = [site.rows(int(run["JobIDRaw"]))[0] for run in runs]
    assert len({row["jobId"] for row in rows}) == 3
    assert {row["arrayJobId"] for row in rows} == {played["array"]}


def test_two_jobs_on_one_gpu_node_have_gpus_of_their_own(site: Any, played: dict[str, int]) -> None:
    gpus = [site.rows(played[kind])[0]["resources"][0]["accelerators"] for kind in ("one gpu", "gpu")]
    assert [len(ids) for ids in gpus] == [1, 2]
    assert not set(gpus[0]) & set(gpus[1])


def test_a_job_that_never_started_is_no_job_of_the_backend(site: Any, played: dict[str, int]) -> None:
    assert site.rows(played["never started"]) == []


def test_only_a_job_that_has_the_whole_node_is_called_unshared(site: Any, played: dict[str, int]) -> None:
    assert site.rows(played["whole node"])[0]["shared"] == "none"
    assert site.rows(played["serial"])[0]["shared"] == "multi_user"


def test_the_load_of_a_job_is_in_its_archive_and_on_its_page(
    site: Any, played: dict[str, int], cluster: dict[str, Any], browser: Any
) -> None:
    (row,) = site.rows(played["loaded"])
    threads = row["resources"][0]["hwthreads"]
    meta, data = site.wait_until("archiving", lambda: archived(site, row))
    assert meta["statistics"]["cpu_user"]["avg"] > 80
    assert meta["footprint"]["cpu_user_avg"] > 80
    cores = cluster["subClusters"][-1]["topology"]["core"]
    scope = "hwthread" if "hwthread" in data["cpu_user"] else "core"
    units = {"hwthread": threads, "core": [index for index, core in enumerate(cores) if set(core) & set(threads)]}
    series = {int(one["id"]): one for one in data["cpu_user"][scope]["series"]}
    assert sorted(series) == sorted(units[scope])
    for one in series.values():
        assert one["hostname"] == "tbh01"
        assert one["statistics"]["avg"] > 80
        assert len([value for value in one["data"] if value is not None and value > 80]) >= LOAD_S - 3
    check_page(site, browser, row)


def archived(site: Any, row: dict[str, Any]) -> Any:
    """meta.json and data.json of a job that is in the archive."""
    number = row["jobId"]
    folder = site.backend.directory / "var/job-archive" / CLUSTER / str(number // 1000) / f"{number % 1000:03d}"
    folder /= str(row["startTime"])
    if not (folder / "meta.json").exists():
        return None
    packed = folder / "data.json.gz"
    data = gzip.decompress(packed.read_bytes()) if packed.exists() else (folder / "data.json").read_bytes()
    return json.loads((folder / "meta.json").read_text("utf-8")), json.loads(data)


def check_page(site: Any, browser: Any, row: dict[str, Any]) -> None:
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    errors: list[str] = []
    page.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
    page.goto(f"{site.backend.url}/login")
    page.fill("input[name=username]", row["user"])
    page.fill("input[name=password]", site.password)
    page.click("main button[type=submit]")
    page.wait_for_url(lambda url: "/login" not in url)
    answer = page.goto(f"{site.backend.url}/monitoring/job/{row['id']}")
    assert answer.status == httpx.codes.OK
    assert str(row["jobId"]) in page.inner_text("main")
    page.wait_for_selector("figure.plot canvas")
    assert page.locator("figure.plot").count() >= 5
    assert errors == []
    page.close()
