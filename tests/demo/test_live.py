"""The demo's folder, plan and history: what a start finds, makes and puts in order."""

import json
import socket
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from cc_backend.app import create_app
from cc_backend.archive.file_archive import FileArchive
from cc_backend.auth.users import Users
from cc_backend.clusters import load_clusters
from cc_backend.errors import Conflict
from cc_backend.jobs.filters import JobFilter
from cc_backend.jobs.job_queries import JobQueries
from cc_backend.jobs.lifecycle import JobLifecycle
from cc_backend.maintenance.tasks import make_archiver
from cc_backend.model import JobKey, JobState, MonitoringStatus, RowRule
from cc_backend.services import EXTENSION
from cc_common.job_events import JobStart, Resource
from cc_demo.live.feed import Feeder
from cc_demo.live.folder import ACCOUNTS, LOCAL, DemoFolder
from cc_demo.live.history import catch_up
from cc_demo.live.plan import SHAPE, Plan
from cc_demo.live.processes import find_free_port

NOW_S = 1_790_000_000
HOUR_S = 3600


def local_cluster() -> dict[str, Any]:
    return {**SHAPE.document(), "name": LOCAL}


@pytest.fixture
def folder(tmp_path: Path) -> DemoFolder:
    made = DemoFolder(tmp_path / "demo")
    assert made.prepare(now_s=NOW_S, local_cluster=local_cluster)
    return made


def jobs_in(folder: DemoFolder) -> dict[int, Any]:
    database = folder.open_database()
    page = JobQueries(database).find(
        JobFilter(clusters=(SHAPE.name,)), RowRule(all_jobs=True), now_s=NOW_S, items_per_page=-1
    )
    database.close_all()
    return {job.job_id: job for job in page.jobs}


def start_all(folder: DemoFolder, plan: Plan) -> None:
    database = folder.open_database()
    clusters, _ = load_clusters(Path(folder.settings().archive.path))
    for job in plan.running:
        JobLifecycle(database, clusters).start(job.start_event(), now_s=NOW_S)
    database.close_all()


def test_ten_jobs_run_at_the_first_start_and_most_kinds_of_fault_are_among_them() -> None:
    plan = Plan.at(NOW_S, anchor_s=NOW_S)
    found = [job.character.name for job in plan.running]
    assert len(found) == 10
    assert {"silent", "imbalance", "hung", "memory_grows", "idle_gpu", "gpu_works", "shared"} <= set(found)
    newest_ten = sorted(plan.running, key=lambda job: -job.start_time)[:9]
    assert "gpu_works" in {job.character.name for job in plan.running if job not in newest_ten}
    assert {"mlindq"} < {job.user for job in plan.running}
    assert len(plan.ended) > 200


def test_the_plan_of_a_later_time_is_the_plan_that_was_followed() -> None:
    followed, later = Plan.at(NOW_S, anchor_s=NOW_S), Plan.at(NOW_S + 5 * HOUR_S, anchor_s=NOW_S)
    started = followed.running + list(followed.starting(NOW_S + 5 * HOUR_S))
    assert {job.job_id for job in later.running} == {
        job.job_id for job in started if job.stop_time > NOW_S + 5 * HOUR_S
    }


def test_accounts_of_all_four_roles_have_passwords_that_only_the_owner_can_read(folder: DemoFolder) -> None:
    database = folder.open_database()
    users = Users(database)
    passwords = folder.passwords()
    for account in ACCOUNTS:
        assert users.verify_password(account.name, passwords[account.name], now_s=NOW_S) is not None
    database.close_all()
    assert [account.role.value for account in ACCOUNTS] == ["user", "manager", "support", "admin"]
    secret = [folder.root / "logins.json", *folder.root.glob("*-token")]
    assert len(secret) == 4
    assert {stat.S_IMODE(path.stat().st_mode) for path in secret} == {0o600}


def test_a_folder_that_is_complete_is_kept_as_it_is(folder: DemoFolder) -> None:
    passwords = folder.passwords()
    folder.mark_complete()
    assert not folder.prepare(now_s=NOW_S + 9, local_cluster=local_cluster)
    assert (folder.passwords(), folder.anchor_s) == (passwords, NOW_S)


class TestAnotherMachine:
    def renew(self, folder: DemoFolder, host: str, threads: set[int]) -> bool:
        return folder.renew_local(host, threads, lambda: {**local_cluster(), "subClusters": [self.described(host)]})

    def described(self, host: str) -> dict[str, Any]:
        return {**local_cluster()["subClusters"][0], "nodes": host}

    def hosts(self, folder: DemoFolder) -> list[str]:
        archive = FileArchive(Path(folder.settings().archive.path))
        return [part["nodes"] for part in archive.load_cluster(LOCAL)["subClusters"]]

    def test_the_same_machine_keeps_its_cluster(self, folder: DemoFolder) -> None:
        self.renew(folder, "this", {0})
        assert not self.renew(folder, "this", {0})

    def test_another_name_gets_a_cluster_of_its_own(self, folder: DemoFolder) -> None:
        assert self.renew(folder, "this", {0})
        assert self.renew(folder, "renamed", {0})
        assert self.hosts(folder) == ["renamed"]

    def test_so_do_more_hardware_threads(self, folder: DemoFolder) -> None:
        self.renew(folder, "this", {0})
        assert self.renew(folder, "this", {0, 9999})

    def test_a_cluster_that_cannot_be_read_is_made_anew(self, folder: DemoFolder) -> None:
        (Path(folder.settings().archive.path) / LOCAL / "cluster.json").write_text("{", "utf-8")
        assert self.renew(folder, "any", {0})


def test_a_folder_whose_making_was_interrupted_is_made_anew(folder: DemoFolder) -> None:
    passwords = folder.passwords()
    assert folder.prepare(now_s=NOW_S + 9, local_cluster=local_cluster)
    assert folder.passwords() != passwords


def test_a_folder_with_something_else_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work", "utf-8")
    with pytest.raises(Conflict, match="choose another --directory"):
        DemoFolder(tmp_path).prepare(now_s=NOW_S, local_cluster=local_cluster)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_first_start_brings_in_the_newest_finished_jobs_archived(folder: DemoFolder) -> None:
    plan = Plan.at(NOW_S, anchor_s=NOW_S)
    assert catch_up(folder, plan, now_s=NOW_S, most=5) == set()
    found = jobs_in(folder)
    assert found.keys() == {job.job_id for job in plan.ended[-5:]}
    archive = FileArchive(Path(folder.settings().archive.path))
    for job in found.values():
        assert job.monitoring_status == MonitoringStatus.ARCHIVED
        assert archive.exists(JobKey(job.cluster, job.job_id, job.start_time))


def test_soon_after_all_jobs_run_on(folder: DemoFolder) -> None:
    plan = Plan.at(NOW_S, anchor_s=NOW_S)
    start_all(folder, plan)
    folder.record_tick(NOW_S)
    known = catch_up(folder, Plan.at(NOW_S + 60, anchor_s=NOW_S), now_s=NOW_S + 60)
    assert known == {job.job_id for job in plan.running}
    assert {job.state for job in jobs_in(folder).values()} == {JobState.RUNNING}


def test_a_day_after_the_jobs_of_the_last_run_ended_as_planned_and_are_archived(folder: DemoFolder) -> None:
    plan, later_s = Plan.at(NOW_S, anchor_s=NOW_S), NOW_S + 24 * HOUR_S
    start_all(folder, plan)
    folder.record_tick(NOW_S)
    assert catch_up(folder, Plan.at(later_s, anchor_s=NOW_S), now_s=later_s, most=5) == set()
    found = jobs_in(folder)
    for made in plan.running:
        job = found.pop(made.job_id)
        assert (str(job.state), job.duration, job.monitoring_status) == (made.state, made.duration, 3)
    assert len(found) == 5
    assert all(job.start_time > NOW_S for job in found.values())


def test_the_job_of_this_machine_that_a_killed_demo_left_is_cancelled_when_it_was_last_seen(folder: DemoFolder) -> None:
    database = folder.open_database()
    clusters, _ = load_clusters(Path(folder.settings().archive.path))
    event = JobStart(LOCAL, "mlindq", 1, NOW_S - 90, 1, (Resource("bn01"),))
    id_ = JobLifecycle(database, clusters).start(event, now_s=NOW_S).id
    folder.record_tick(NOW_S - 30)
    catch_up(folder, Plan.at(NOW_S, anchor_s=NOW_S), now_s=NOW_S, most=0)
    job = JobQueries(database).get(id_, RowRule(all_jobs=True), now_s=NOW_S)
    database.close_all()
    assert (job.state, job.duration) == (JobState.CANCELLED, 60)


def test_a_port_that_is_taken_gives_way_to_the_next(processes: Any) -> None:

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert port < find_free_port(port) < port + 50


def test_the_feed_starts_jobs_sends_their_samples_and_ends_them_in_time(
    folder: DemoFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = NOW_S

    def client(url: str, token_file: Path) -> httpx.Client:
        headers = {"X-Auth-Token": token_file.read_text("utf-8").strip()}
        return httpx.Client(transport=httpx.WSGITransport(app), base_url=url, headers=headers)

    app = create_app(folder.settings(), clock=lambda: now_s)
    services = app.extensions[EXTENSION]
    assert services.store.wait_restored()
    monkeypatch.setattr("cc_demo.live.feed.make_client", client)
    plan = Plan.at(NOW_S, anchor_s=NOW_S)
    before = {job.job_id: job for job in plan.running}
    feed = Feeder("http://demo", folder, plan)
    feed.begin(set(), now_s=NOW_S)
    now_s = NOW_S + HOUR_S
    feed.advance(now_s)
    feed.close()
    archived = make_archiver(services).run_once(now_s=now_s + 600).archived
    found = jobs_in(folder)
    services.close()
    ended = [made for made in before.values() if made.stop_time <= now_s]
    assert ended
    assert len(found) > len(before)
    assert len(archived) >= len(ended)
    for made in ended:
        assert (str(found[made.job_id].state), found[made.job_id].duration) == (made.state, made.duration)
        assert found[made.job_id].footprint["cpu_load_avg"] > 1
    assert {job_id for job_id, job in found.items() if job.state is JobState.RUNNING} == {
        job.job_id for job in plan.running
    }
    assert folder.last_tick_s == now_s // 30 * 30


def test_no_process_outlives_a_demo_that_is_killed(tmp_path: Path, processes: Any) -> None:
    program = (
        "import sys, time\n"
        "from cc_demo.live.processes import run_child\n"
        "with run_child([sys.executable, '-c', 'import time; time.sleep(60)']) as running:\n"
        "    print(running.pid, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        pid = int(killed.stdout.readline())
        killed.kill()
    processes.wait_for("the end of the child", lambda: is_dead(pid))


def is_dead(pid: int) -> bool:
    """Whether nobody but its parent would notice that it is still in the table."""
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text("utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return True


def test_the_configuration_of_the_demo_is_that_of_every_new_backend(folder: DemoFolder) -> None:
    document = json.loads(folder.config.read_text("utf-8"))
    assert set(document) == {"main", "auth", "archive", "metric-store"}
