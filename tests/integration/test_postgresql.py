"""Real servers on one real PostgreSQL database and one archive."""

import json
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.integration

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
