"""No answer names a path of the server, whatever is wrong with its files; the log does."""

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

PASSWORD = "a long password"
STOP = {"jobId": 88412, "cluster": "tern", "stopTime": 1_760_001_000, "jobState": "completed"}
BODIES: tuple[Any, ...] = (None, {}, [], STOP, {"cluster": "tern", "from": 0, "to": 10, "queries": []})


def damaged(folder: Path, names: str) -> None:
    for path in (folder / "job-archive").rglob(names):
        path.write_bytes(b"{")


def without_database(folder: Path) -> None:
    (folder / "job.db").rename(folder / "away.db")
    (folder / "job.db").write_bytes(b"no database")


STATES: dict[str, Callable[[Path], object]] = {
    "nothing is wrong": lambda _: None,
    "samples of jobs are damaged": lambda folder: damaged(folder, "data.json*"),
    "records of jobs are damaged": lambda folder: damaged(folder, "meta.json"),
    "jobs are gone": lambda folder: [shutil.rmtree(path) for path in (folder / "job-archive" / "tern").glob("[0-9]*")],
    "the archive is gone": lambda folder: (folder / "job-archive").rename(folder / "away"),
    "the database is replaced": without_database,
    "the log is gone": lambda folder: (folder / "metric-store").rename(folder / "away"),
}


def addresses(site: Any, id_: int) -> Iterator[tuple[str, str]]:
    """Method and path of every route, with the id of a job where one belongs."""
    for rule in site.app.url_map.iter_rules():
        values: dict[str, Any] = dict.fromkeys(rule.arguments, id_)
        if "metric" in rule.arguments:
            values["metric"] = "mem_used"
        _, path = rule.build({name: str(value) if name != "job_id" else value for name, value in values.items()})
        for method in sorted((rule.methods or {"GET"}) - {"HEAD", "OPTIONS"}):
            if "logout" not in path:
                yield method, f"/{path.lstrip('/')}"


def answers(site: Any, id_: int, who: dict[str, str]) -> Iterator[tuple[str, Any]]:
    browser = site.app.test_client()
    browser.post("/login", data={"username": "root1", "password": PASSWORD})
    for method, path in addresses(site, id_):
        for query in ("", "?all-metrics=true&real-status=true&selector=%5B%5D"):
            for body in BODIES if method != "GET" else (None,):
                yield f"{method} {path}{query}", site.client.open(path + query, method=method, json=body, headers=who)
        yield f"{method} {path} page", browser.open(path, method=method)


@pytest.mark.parametrize("wrong", STATES)
def test_no_answer_of_any_route_names_a_path_of_the_server(
    site: Any, tmp_path: Path, wrong: str, caplog: pytest.LogCaptureFixture
) -> None:
    site.app.testing = False
    id_ = site.archived_job()
    site.user("root1", "admin", password=PASSWORD)
    who = site.headers("admin", "api")
    STATES[wrong](tmp_path)
    seen = 0
    with caplog.at_level(logging.INFO):
        for asked, answer in answers(site, id_, who):
            said = answer.get_data(as_text=True) + str(answer.headers)
            assert str(tmp_path) not in said, asked
            seen += answer.status_code < 400
        site.services.health.check_all()
        assert str(tmp_path) not in site.client.get("/healthz").text
    assert seen, "some routes answered"


def test_what_is_damaged_is_named_by_its_job_and_the_file_in_the_log(
    site: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    id_ = site.archived_job()
    damaged(tmp_path, "data.json*")
    texts = [
        site.client.get(f"/api/jobs/{id_}?all-metrics=true", headers=site.headers()).get_json()["error"],
        site.client.get(f"/api/jobs/metrics/{id_}", headers=site.headers()).get_json()["error"]["message"],
    ]
    assert set(texts) == {
        "the archive of job 88412 of tern, started 1760000400, is missing or damaged; the server's log names the file"
    }
    assert str(tmp_path / "job-archive" / "tern") in caplog.text
