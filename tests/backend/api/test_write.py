import errno
import gzip
import os
from pathlib import Path
from typing import Any

import pytest
from flask import Flask

from cc_backend.api.write import write_response
from cc_backend.metricstore import IngestResult, Query
from cc_backend.metricstore.disk.wal import write_ahead_log

NOW_S = 1_760_000_400
GOOD = f"load_one,cluster=tern,hostname=tn01,type=node value=4 {NOW_S}\n"


def post(site: Any, body: str | bytes, query: str = "", **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return site.client.post(f"/api/write{query}", data=body, headers={**site.headers(), **named})


def stored(site: Any, host: str = "tn01", metric: str = "load_one", cluster: str = "tern") -> list[float]:
    (rows,) = site.services.store.query(cluster, [Query(metric, host)], from_s=NOW_S, to_s=NOW_S + 60)
    return [float(value) for row in rows for value in row.data]


def test_samples_are_stored_under_their_own_cluster(site: Any) -> None:
    assert post(site, GOOD).status_code == 200
    assert stored(site) == [4.0]


def test_lines_without_a_cluster_go_to_the_one_of_the_query(site: Any) -> None:
    post(site, f"load_one,hostname=tn01,type=node value=4 {NOW_S}\n", "?cluster=tern")
    assert stored(site) == [4.0]


def test_the_cluster_of_the_query_is_decoded(site: Any) -> None:
    post(site, f"load_one,hostname=tn01,type=node value=4 {NOW_S}\n", "?cluster=%74%65rn")
    assert stored(site) == [4.0]


def test_an_empty_batch_is_fine(site: Any) -> None:
    assert post(site, b"").status_code == 200


def test_a_form_content_type_changes_nothing(site: Any) -> None:
    assert post(site, GOOD, Content_Type="application/x-www-form-urlencoded").status_code == 200
    assert stored(site) == [4.0]


def test_a_compressed_batch_is_taken_and_invited(site: Any) -> None:
    answer = post(site, gzip.compress(GOOD.encode()), Content_Encoding="gzip")
    assert (answer.status_code, answer.headers["Accept-Encoding"]) == (200, "gzip")
    assert stored(site) == [4.0]


def test_a_batch_over_the_limit_is_413(site_of: Any) -> None:
    site = site_of(settings={"main": {"max-batch-bytes": 4096}})
    answer = post(site, GOOD * 100)
    assert (answer.status_code, "4096 bytes" in answer.get_json()["error"]) == (413, True)


def test_a_bomb_is_413(site_of: Any) -> None:
    site = site_of(settings={"main": {"max-batch-bytes": 65536}})
    answer = post(site, gzip.compress(bytes(30_000_000)), Content_Encoding="gzip")
    assert answer.status_code == 413


def test_damaged_gzip_is_400(site: Any) -> None:
    assert post(site, b"\x1f\x8b nonsense", Content_Encoding="gzip").status_code == 400


def test_another_encoding_is_415_and_named(site: Any) -> None:
    answer = post(site, b"x", Content_Encoding="br")
    assert (answer.status_code, "'br'" in answer.get_json()["error"]) == (415, True)


def test_good_lines_are_kept_and_bad_ones_named(site: Any) -> None:
    bad = 'load_one,cluster=tern,hostname=tn02,type=node value="high"\n'
    answer = post(site, f"# comment\n{bad}{GOOD}load_one\n")
    document = answer.get_json()
    assert answer.status_code == 400
    assert (document["status"], document["accepted"], document["rejected"]) == ("Bad Request", 1, 2)
    assert [(error["line"], error["text"]) for error in document["errors"]] == [
        (2, bad.strip()),
        (4, "load_one"),
    ]
    assert all(error["reason"] for error in document["errors"])
    assert stored(site) == [4.0]


def test_many_bad_lines_are_counted_but_not_all_shown(site: Any) -> None:
    document = post(site, "bad\n" * 1000).get_json()
    assert document["rejected"] == 1000
    assert len(document["errors"]) <= 20


def test_bytes_that_are_no_text_are_bad_lines_and_nothing_worse(site: Any) -> None:
    answer = post(site, b"\xff\xfe\x00,cluster=\xff value=1\n" + GOOD.encode())
    assert answer.status_code == 400
    assert stored(site) == [4.0]


def test_what_nobody_here_wants_is_200_and_counted_by_reason(site: Any) -> None:
    lines = f"weather,cluster=tern,hostname=tn01 value=1\nload_one,cluster=heron,hostname=h1 value=1\n{GOOD}"
    assert post(site, lines).status_code == 200
    text = site.client.get("/metrics").text
    assert 'cc_backend_store_lines_total{result="accepted",reason=""} 1' in text
    assert 'cc_backend_store_lines_total{result="rejected",reason="unknown_metric"} 1' in text
    assert 'cc_backend_store_lines_total{result="rejected",reason="unknown_cluster"} 1' in text


class TestNamesThatNobodyConfigured:
    def test_a_batch_that_is_wanted_whole_is_answered_without_a_body(self, site: Any) -> None:
        assert post(site, GOOD).data == b""

    def test_dropped_lines_are_counted_and_named_with_the_nearest_known_name(self, site: Any) -> None:
        lines = f"laod_one,cluster=tern,hostname=tn01 value=1\nload_one,cluster=tren,hostname=h1 value=1\n{GOOD}"
        answer = post(site, lines)
        assert answer.status_code == 200
        assert answer.get_json() == {
            "accepted": 1,
            "dropped": {
                "unknown_metric": {
                    "lines": 1,
                    "names": [{"name": "laod_one", "cluster": "tern", "nearest": "load_one"}],
                },
                "unknown_cluster": {"lines": 1, "names": [{"name": "tren", "nearest": "tern"}]},
            },
        }

    def test_lines_kept_of_a_host_that_no_subcluster_lists_are_told_too(self, site: Any) -> None:
        answer = post(site, f"load_one,cluster=tern,hostname=tn1,type=node value=4 {NOW_S}\n{GOOD}")
        document = answer.get_json()
        assert (answer.status_code, document["accepted"], "dropped" in document) == (200, 2, False)
        assert document["unlisted"]["unknown_host"]["lines"] == 1
        assert document["unlisted"]["unknown_host"]["names"][0]["name"] == "tn1"

    def test_the_answer_to_bad_lines_names_them_too(self, site: Any) -> None:
        document = post(site, f"bad\nload_one,cluster=tren,hostname=h1 value=1\n{GOOD}").get_json()
        assert (document["rejected"], document["dropped"]["unknown_cluster"]["lines"]) == (1, 1)

    def test_the_server_logs_a_new_name_once(self, site: Any, caplog: pytest.LogCaptureFixture) -> None:
        for _ in range(3):
            post(site, "load_one,cluster=tren,hostname=h1 value=1\n")
        assert len([text for text in caplog.messages if "unknown cluster" in text]) == 1


@pytest.mark.parametrize("name", ["../../etc", "a/b", "..", "a\\b", "x\x1fy"])
@pytest.mark.parametrize("place", ["tag", "query"])
def test_names_that_look_like_paths_leave_no_trace(site: Any, tmp_path: Path, name: str, place: str) -> None:
    before = {path for path in tmp_path.rglob("*") if "metric-store" not in path.parts}
    tag = f",cluster={name}" if place == "tag" else ""
    line = f"load_one{tag},hostname={name},type=node value=1 {NOW_S}\n"
    site.client.post(
        "/api/write/", data=line, query_string={"cluster": name} if place == "query" else {}, headers=site.headers()
    )
    assert {path for path in tmp_path.rglob("*") if "metric-store" not in path.parts} == before
    assert site.services.store.hosts("tern") == []


def test_a_token_bound_to_clusters_writes_nothing_elsewhere(site: Any) -> None:
    bound = site.headers("api", scopes=["write"], clusters=["tern"])
    foreign = GOOD.replace("tern", "heron")
    assert site.client.post("/api/write/", data=GOOD, headers=bound).status_code == 200
    answer = site.client.post("/api/write/", data=GOOD.replace(" 4 ", " 5 ") + foreign, headers=bound)
    assert (answer.status_code, "'heron'" in answer.get_json()["error"]) == (403, True)
    answer = site.client.post("/api/write/?cluster=heron", data="load_one,hostname=h1 value=1", headers=bound)
    assert answer.status_code == 403


def test_a_batch_that_the_log_cannot_take_is_503_and_asked_for_again(
    site: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert post(site, GOOD).status_code == 200
    monkeypatch.setattr(write_ahead_log, "write_all", full)
    answer = post(site, GOOD.replace("value=4", "value=5"))
    assert (answer.status_code, answer.get_json()["status"]) == (503, "Service Unavailable")
    assert int(answer.headers["Retry-After"]) > 0
    health, advice = site.client.get("/healthz"), "make room on this file system"
    assert (health.status_code, health.get_json()["faults"]) == (
        503,
        [f"the write-ahead log of the metric store cannot be written: {os.strerror(errno.ENOSPC)}: {advice}"],
    )
    assert "cc_backend_store_log_writable 0" in site.client.get("/metrics").text
    assert stored(site) == [5.0]


def test_a_store_that_is_full_asks_for_the_batch_again_later() -> None:
    result = IngestResult(0, {}, (), durable=False, full=True)
    with Flask("full").test_request_context():
        answer = write_response(result)
        assert answer.status_code == 503
        assert "memory-cap" in answer.get_data(as_text=True)
        assert answer.headers["Retry-After"] == "60"


def test_samples_survive_a_restart(site: Any, app_factory: Any) -> None:
    post(site, GOOD)
    site.services.close()
    store = app_factory().extensions["cockpit"].store
    assert store.wait_restored()
    (rows,) = store.query("tern", [Query("load_one", "tn01")], from_s=NOW_S, to_s=NOW_S + 60)
    assert [list(row.data) for row in rows] == [[4.0]]
