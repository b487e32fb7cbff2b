"""Several servers on one PostgreSQL database and one archive: here they are applications of one process."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cc_backend.archive.file_archive import FileArchive
from cc_backend.errors import BackendError
from cc_backend.maintenance.tasks import periodic_tasks
from cc_backend.model import Job, JobData, MonitoringStatus
from cc_backend.services import Services

EXTERNAL = [{"scope": "*", "url": "http://127.0.0.1:9", "token": "none"}]
StartServer = Callable[..., Any]


@pytest.fixture
def database_url(postgres_database_url: str) -> str:
    return postgres_database_url


@pytest.fixture
def start_server(site_of: Callable[..., Any], database_url: str, tmp_path: Path) -> StartServer:
    """Starts a server with a folder of samples of its own; with `external` it asks another one for them."""

    def start(name: str, *, external: Any = ()) -> Any:
        (tmp_path / name).mkdir()
        return site_of(
            settings={
                "main": {"db": database_url},
                "metric-store": {"wal": {"directory": name, "fsync": "never"}},
                "metric-store-external": list(external),
            }
        )

    return start


def run_task(services: Services, name: str) -> None:
    (task,) = (task for task in periodic_tasks(services, threading.Event()) if task.name == name)
    task.run()


def test_a_second_server_with_samples_of_its_own_is_refused(start_server: StartServer) -> None:
    start_server("first")
    with pytest.raises(BackendError, match="another process with a metric store of its own"):
        start_server("second")


def test_an_archive_of_a_server_with_an_sqlite_file_is_not_shared(
    site_of: StartServer, start_server: StartServer
) -> None:
    site_of()
    with pytest.raises(BackendError, match=r"job archive .* is in use by another process"):
        start_server("first")


def test_jobs_accounts_and_tokens_are_the_same_in_each(start_server: StartServer) -> None:
    first, second = start_server("first"), start_server("second", external=EXTERNAL)
    id_ = second.start_job()
    assert first.stop_job()["id"] == id_
    token = first.token("api", name="revoked")
    headers = {"X-Auth-Token": token}
    assert second.client.get("/api/jobs/", headers=headers).status_code == 200
    (record,) = first.services.tokens.list("revoked")
    second.services.tokens.revoke(record.jti, now_s=first.clock())
    assert first.client.get("/api/jobs/", headers=headers).status_code == 401


def test_the_leader_alone_archives(start_server: StartServer) -> None:
    first, second = start_server("first"), start_server("second", external=EXTERNAL)
    id_ = first.start_job()
    first.write_node("tn01", from_s=int(first.clock()), minutes=11)
    first.clock.advance(600)
    second.stop_job()
    first.clock.advance(600)
    for site, expected in (
        (second, MonitoringStatus.RUNNING_OR_ARCHIVING),
        (first, MonitoringStatus.ARCHIVED),
    ):
        run_task(site.services, "archive")
        finished = site.services.archive_queue.find_finished(id_)
        assert finished is not None
        assert finished.monitoring_status == expected
    assert finished.footprint


def test_a_leader_that_leads_no_more_leaves_the_rest_of_its_round_to_the_next(
    start_server: StartServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = start_server("first"), start_server("second", external=EXTERNAL)
    for job_id in (1, 2, 3):
        first.start_job(jobId=job_id)
        first.stop_job(job_id=job_id)
    first.clock.advance(1200)
    store = FileArchive.store

    def store_and_lose_the_lead(archive: FileArchive, job: Job, data: JobData) -> None:
        store(archive, job, data)
        first.services.database_watch.close()  # as when its connection is cut

    monkeypatch.setattr(FileArchive, "store", store_and_lose_the_lead)
    run_task(first.services, "archive")
    waiting = [job.job_id for job in second.services.archive_queue.queued_jobs()]
    assert waiting == [2, 3]
