"""One part after the other goes away while jobs start and end; afterwards every run is there once, as Slurm says."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

pytestmark = pytest.mark.slurm

# the adapter runs two commands per poll, and each takes 3 s to give up on a controller: time for two polls
AWAY_S = 17
STATES = {"COMPLETED": "completed", "FAILED": "failed", "CANCELLED": "cancelled", "REQUEUED": "cancelled"}


@contextmanager
def without(stop: Callable[[str], None], start: Callable[[str], None], name: str) -> Iterator[None]:
    """One part away for as long as the block lasts."""
    stop(name)
    try:
        yield
    finally:
        start(name)


@pytest.fixture
def jobs(slurm: Any) -> Iterator[dict[str, int]]:
    """Jobs that a test submits, by name; what is left of them is cancelled."""
    submitted: dict[str, int] = {}
    yield submitted
    for job_id in submitted.values():
        slurm.command("scancel", job_id)


def running(site: Any, job_id: int) -> bool:
    """Whether the newest run of a job is running."""
    return [row["jobState"] for row in site.rows(job_id)[-1:]] == ["running"]


def check_all(site: Any, slurm: Any, jobs: dict[str, int], *, runs: int = 0) -> None:
    """Wait until the backend has all runs of the jobs, and compare it with what the accounting says."""
    slurm_says = [run for run in slurm.runs(*jobs.values()) if run["NodeList"] != "None assigned"]
    want = sorted(
        (int(run["JobIDRaw"]), int(run["Start"]), int(run["End"]) - int(run["Start"]), STATES[run["State"].split()[0]])
        for run in slurm_says
    )

    def told() -> list[tuple[Any, ...]]:
        rows = [row for row in site.jobs() if row["jobId"] in jobs.values()]
        return sorted((row["jobId"], row["startTime"], row["duration"], row["jobState"]) for row in rows)

    assert len(want) == (runs or len(jobs))
    try:
        site.wait_until("all ends in the backend", lambda: told() == want)
    except pytest.fail.Exception as failure:
        pytest.fail(f"Slurm says {want}, the backend {told()}: {failure}")


def stay_away(processes: Any, seconds: float = AWAY_S) -> None:
    until_s = time.monotonic() + seconds
    processes.wait_for("the end of the outage", lambda: time.monotonic() > until_s, seconds + 5)


def test_no_job_is_stopped_while_the_controller_is_away(
    site: Any, slurm: Any, jobs: dict[str, int], processes: Any
) -> None:
    jobs["stays"] = slurm.submit("--wrap", "sleep 120")
    jobs["ends meanwhile"] = slurm.submit("--wrap", "sleep 5")
    for job_id in jobs.values():
        site.wait_until("the start in the backend", lambda job_id=job_id: running(site, job_id))
    with without(slurm.down, slurm.up, "slurmctld"):
        stay_away(processes)
        site.down("adapter", kill=True)
        site.up("adapter")
        stay_away(processes, 4)
        assert running(site, jobs["stays"]), "a controller that does not answer has not said that all jobs are over"
        assert len(site.rows(jobs["ends meanwhile"])) == 1
    jobs["starts afterwards"] = slurm.submit("--wrap", "sleep 2")
    slurm.wait_for("starts afterwards", jobs["starts afterwards"], "COMPLETED")
    assert running(site, jobs["stays"])
    slurm.command("scancel", jobs["stays"])
    slurm.wait_for("stays", jobs["stays"], "CANCELLED")
    slurm.wait_for("ends meanwhile", jobs["ends meanwhile"], "COMPLETED", 60)
    check_all(site, slurm, jobs)


def test_jobs_that_start_and_end_without_accounting_are_there_afterwards(
    site: Any, slurm: Any, jobs: dict[str, int], processes: Any
) -> None:
    jobs["ends meanwhile"] = slurm.submit("--wrap", "sleep 6")
    jobs["stays"] = slurm.submit("--wrap", "sleep 120")
    for job_id in jobs.values():
        site.wait_until("the start in the backend", lambda job_id=job_id: running(site, job_id))
    with without(slurm.down, slurm.up, "slurmdbd"):
        jobs["starts and ends meanwhile"] = slurm.submit("--wrap", "sleep 3; exit 1")
        jobs["starts meanwhile"] = slurm.submit("--wrap", "sleep 120")
        stay_away(processes, 10)
        assert running(site, jobs["stays"])
    slurm.wait_for("ends meanwhile", jobs["ends meanwhile"], "COMPLETED", 60)
    slurm.wait_for("starts and ends meanwhile", jobs["starts and ends meanwhile"], "FAILED", 60)
    for name in ("stays", "starts meanwhile"):
        slurm.command("scancel", jobs[name])
        slurm.wait_for(name, jobs[name], "CANCELLED")
    check_all(site, slurm, jobs)


def test_what_happens_while_the_backend_is_away_reaches_it_later(site: Any, slurm: Any, jobs: dict[str, int]) -> None:
    jobs["ends meanwhile"] = slurm.submit("--wrap", "sleep 5")
    jobs["stays"] = slurm.submit("--wrap", "sleep 120")
    for job_id in jobs.values():
        site.wait_until("the start in the backend", lambda job_id=job_id: running(site, job_id))
    with without(site.down, site.up, "server"):
        jobs["starts and ends meanwhile"] = slurm.submit("--wrap", "sleep 2; exit 1")
        jobs["starts meanwhile"] = slurm.submit("--wrap", "sleep 120")
        slurm.wait_for("ends meanwhile", jobs["ends meanwhile"], "COMPLETED")
        slurm.wait_for("starts and ends meanwhile", jobs["starts and ends meanwhile"], "FAILED")
        slurm.wait_for("starts meanwhile", jobs["starts meanwhile"], "RUNNING")
    for name in ("stays", "starts meanwhile"):
        site.wait_until("the running jobs in the backend", lambda name=name: running(site, jobs[name]))
        slurm.command("scancel", jobs[name])
        slurm.wait_for(name, jobs[name], "CANCELLED")
    check_all(site, slurm, jobs)


def test_an_adapter_that_was_killed_catches_up_on_what_it_missed(site: Any, slurm: Any, jobs: dict[str, int]) -> None:
    jobs["ends meanwhile"] = slurm.submit("--wrap", "sleep 5")
    jobs["stays"] = slurm.submit("--wrap", "sleep 120")
    jobs["starts anew meanwhile"] = slurm.submit("--requeue", "--wrap", "sleep 120")
    for job_id in jobs.values():
        site.wait_until("the start in the backend", lambda job_id=job_id: running(site, job_id))
    site.down("adapter", kill=True)
    slurm.command("scontrol", "requeue", jobs["starts anew meanwhile"])
    jobs["starts and ends meanwhile"] = slurm.submit("--wrap", "sleep 2; exit 1")
    jobs["starts meanwhile"] = slurm.submit("--wrap", "sleep 120")
    slurm.wait_for("ends meanwhile", jobs["ends meanwhile"], "COMPLETED")
    slurm.wait_for("starts and ends meanwhile", jobs["starts and ends meanwhile"], "FAILED")
    for name in ("starts meanwhile", "starts anew meanwhile"):
        slurm.wait_for(name, jobs[name], "RUNNING")
    site.up("adapter")
    for name in ("stays", "starts meanwhile", "starts anew meanwhile"):
        site.wait_until("the running jobs in the backend", lambda name=name: running(site, jobs[name]))
        slurm.command("scancel", jobs[name])
        slurm.wait_for(name, jobs[name], "CANCELLED")
    check_all(site, slurm, jobs, runs=len(jobs) + 1)


def test_gpus_seen_while_the_backend_was_away_survive_the_end_of_the_adapter(
    site: Any, slurm: Any, jobs: dict[str, int], cluster: dict[str, Any]
) -> None:
    """Slurm forgets the GPU indices when a job ends, so only what the adapter has written down can tell them."""
    site.down("server")
    jobs["gpu"] = slurm.submit("--partition=gpu", "--gres=gpu:1", "--wrap", "sleep 8")
    slurm.wait_for("gpu", jobs["gpu"], "COMPLETED")
    site.down("adapter", kill=True)
    site.up("server")
    site.up("adapter")
    check_all(site, slurm, jobs)
    (found,) = site.rows(jobs["gpu"])
    ((_, start_s),) = [key for key in slurm.allocations if key[0] == jobs["gpu"]]
    (gpu,) = slurm.allocations[jobs["gpu"], start_s].gpus["tbg01"]
    assert found["resources"][0]["accelerators"] == [cluster["subClusters"][1]["topology"]["accelerators"][gpu]["id"]]


def test_after_all_this_no_program_has_said_more_than_it_should(site: Any) -> None:
    for log in (site.directory / "adapter.log", site.backend.log, site.directory / "agent.log"):
        said = log.read_text("utf-8")
        assert "Traceback" not in said
        assert not [token for token in site.tokens.values() if token in said]
