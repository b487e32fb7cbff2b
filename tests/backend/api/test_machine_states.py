from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest

PATH = "/api/machine_state/tern/tn01"


@pytest.fixture
def machines(site_of: Any) -> Any:
    return site_of(settings={"main": {"machine-state-dir": "machines", "max-json-bytes": 2000}})


@pytest.mark.parametrize("method", ["PUT", "POST"])
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_document_is_stored_and_comes_back_with_its_time(machines: Any, method: str, slash: str) -> None:
    body = b'{"load": [1, 2]} \xff not even JSON'
    stored = machines.client.open(PATH + slash, method=method, data=body, headers=machines.headers())
    shown = machines.client.get(PATH + slash, headers=machines.headers())
    assert (stored.status_code, stored.data) == (201, b"")
    assert (shown.status_code, shown.data, shown.content_type) == (200, body, "application/json")
    age_s = (datetime.now(UTC) - parsedate_to_datetime(shown.headers["Last-Modified"])).total_seconds()
    assert -2 < age_s < 60


def test_what_did_not_change_is_304(machines: Any) -> None:
    machines.client.put(PATH, data=b"1", headers=machines.headers())
    first = machines.client.get(PATH, headers=machines.headers())
    again = machines.client.get(PATH, headers={**machines.headers(), "If-None-Match": first.headers["ETag"]})
    since = machines.client.get(
        PATH, headers={**machines.headers(), "If-Modified-Since": first.headers["Last-Modified"]}
    )
    assert [(answer.status_code, answer.data) for answer in (again, since)] == [(304, b""), (304, b"")]
    machines.client.put(PATH, data=b"2", headers=machines.headers())
    changed = machines.client.get(PATH, headers={**machines.headers(), "If-None-Match": first.headers["ETag"]})
    assert (changed.status_code, changed.data) == (200, b"2")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/api/machine_state/tern/tn02", 404, "not_found"),
        ("/api/machine_state/skua/tn01", 400, "unknown_cluster"),
        ("/api/machine_state/../tn01", 400, "unknown_cluster"),
        ("/api/machine_state/tern/..", 400, "invalid_input"),
        ("/api/machine_state/tern/..%5c..%5cx", 400, "invalid_input"),
        ("/api/machine_state/tern/.hidden", 400, "invalid_input"),
        ("/api/machine_state/tern/" + "x" * 300, 400, "invalid_input"),
        ("/api/machine_state/tern/a%00", 400, "invalid_input"),
        ("/api/machine_state/tern/..%2f..%2fjob.db", 404, "route_unknown"),
        ("/api/machine_state/tern", 404, "route_unknown"),
    ],
)
def test_no_path_leads_out_of_the_folder(machines: Any, path: str, status: int, code: str, tmp_path: Any) -> None:
    shown = machines.client.get(path, headers=machines.headers())
    assert (shown.status_code, shown.get_json()["code"]) == (status, code)
    if code != "not_found":
        stored = machines.client.put(path, data=b"x", headers=machines.headers())
        assert (stored.status_code, stored.get_json()["code"]) == (status, code)
    assert not (tmp_path / "machines").exists()


def test_a_document_over_the_limit_is_413_and_not_stored(machines: Any) -> None:
    answer = machines.client.put(PATH, data=b"x" * 2001, headers=machines.headers())
    assert (answer.status_code, answer.get_json()["code"]) == (413, "body_too_large")
    assert machines.client.get(PATH, headers=machines.headers()).status_code == 404


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
def test_without_the_setting_there_is_nothing(site: Any, method: str) -> None:
    answer = site.client.open(PATH, method=method, headers=site.headers())
    assert (answer.status_code, answer.get_json()["code"]) == (404, "route_unknown")


def test_a_token_for_another_cluster_neither_reads_nor_writes(machines: Any) -> None:
    machines.client.put(PATH, data=b"secret", headers=machines.headers())
    headers = machines.headers("api", clusters=["skua"])
    for method in ("GET", "PUT"):
        answer = machines.client.open(PATH, method=method, data=b"x", headers=headers)
        assert (answer.status_code, answer.get_json()["code"]) == (403, "cluster_not_allowed")
    assert machines.client.get(PATH, headers=machines.headers()).data == b"secret"


def test_a_user_with_the_scope_read_sees_no_machines(machines: Any) -> None:
    machines.client.put(PATH, data=b"secret", headers=machines.headers())
    headers = machines.headers("user", name="ada", scopes=["read"])
    assert machines.client.get(PATH, headers=headers).status_code == 403
