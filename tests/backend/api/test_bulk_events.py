"""Many job events in one request: each is stored or refused by itself, and nothing is stored by halves."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cc_backend.api.bulk_events import MAX_EVENTS
from cc_backend.jobs import lifecycle

PATH = "/api/jobs/events/"


def send(site: Any, *events: Any, headers: dict[str, str] | None = None) -> Any:
    return site.client.post(PATH, json={"events": events}, headers=headers or site.headers())


def start(site: Any, **changes: Any) -> dict[str, Any]:
    return {"event": "start_job", **site.start_document(**changes)}


def stop(site: Any, job_id: int, **more: Any) -> dict[str, Any]:
    return {"event": "stop_job", "jobId": job_id, "cluster": "tern", "stopTime": int(site.clock()), **more}


def jobs(site: Any) -> dict[int, str]:
    """Job id -> state of all jobs."""
    listed = site.client.get("/api/jobs/?items-per-page=1000", headers=site.headers()).get_json()["jobs"]
    return {job["jobId"]: job["jobState"] for job in listed}


def test_starts_and_stops_are_stored_in_their_order_each_with_its_result(site: Any) -> None:
    answer = send(site, start(site, jobId=1), start(site, jobId=2), stop(site, 1, jobState="failed"))
    results = answer.get_json()["results"]
    assert (answer.status_code, [result["status"] for result in results]) == (200, [201, 201, 200])
    assert results[2]["id"] == results[0]["id"] != results[1]["id"]
    assert jobs(site) == {1: "failed", 2: "running"}


def test_a_refused_event_says_why_and_costs_no_other(site: Any) -> None:
    site.start_job(jobId=5)
    answer = send(
        site,
        start(site, jobId=5),
        start(site, jobId=6, user=7),
        start(site, jobId=7, numNodes=2),
        stop(site, 99),
        stop(site, 5, jobState="running"),
        stop(site, 5, stopTime=int(site.clock()) - 60),
        {"event": "start_job"},
        start(site, jobId=8),
    )
    told = [(result["status"], result.get("code")) for result in answer.get_json()["results"]]
    assert told == [
        (422, "job_known"),
        (400, "invalid_field"),
        (400, "invalid_job"),
        (404, "job_unknown"),
        (400, "invalid_job"),
        (400, "invalid_job"),
        (400, "unknown_cluster"),
        (201, None),
    ]
    assert answer.get_json()["results"][1]["field"] == "user"
    assert jobs(site) == {5: "running", 8: "running"}


def test_a_stop_before_its_start_is_unknown_also_in_one_request(site: Any) -> None:
    results = send(site, stop(site, 1), start(site, jobId=1)).get_json()["results"]
    assert [result["status"] for result in results] == [404, 201]


def test_a_requeued_job_may_stop_and_start_again_in_one_request(site: Any) -> None:
    now_s = int(site.clock())
    again = start(site, jobId=1)
    first = start(site, jobId=1, startTime=now_s - 600)
    results = send(site, first, stop(site, 1, jobState="preempted", stopTime=now_s - 60), again).get_json()["results"]
    assert [result["status"] for result in results] == [201, 200, 201]
    assert results[0]["id"] != results[2]["id"]


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        "start_job",
        7,
        {},
        {"event": None},
        {"event": "delete_job"},
        {"event": ["start_job"]},
        {"event": "start_job", "resources": "tn01"},
        {"event": "stop_job"},
        {"event": "stop_job", "jobId": 2**80, "stopTime": 1},
        {"event": "stop_job", "jobId": 1, "cluster": "te\u0000rn", "stopTime": 1_760_000_400},
        {"event": "stop_job", "jobId": 2**63 - 1, "startTime": 2**63 - 1, "stopTime": 1_760_000_400},
    ],
)
def test_an_event_that_is_none_is_refused_alone(site: Any, event: Any) -> None:
    results = send(site, event, start(site, jobId=3)).get_json()["results"]
    assert results[0]["status"] in (400, 404)
    assert results[0]["error"]
    assert results[1]["status"] == 201


@pytest.mark.parametrize("body", [{}, [], None, {"events": None}, {"events": {}}, {"events": "x"}, {"Events": 5}])
def test_a_body_without_a_list_of_events_is_400(site: Any, body: Any) -> None:
    assert site.client.post(PATH, json=body, headers=site.headers()).status_code == 400


def test_no_events_are_no_results(site: Any) -> None:
    assert send(site).get_json() == {"results": []}


def test_too_many_events_are_413_and_none_is_stored(site: Any) -> None:
    answer = send(site, *[start(site, jobId=job_id) for job_id in range(1, MAX_EVENTS + 2)])
    assert (answer.status_code, answer.get_json()["code"]) == (413, "too_large")
    assert str(MAX_EVENTS) in answer.get_json()["error"]
    assert jobs(site) == {}


def test_a_token_of_other_clusters_reports_none_of_their_events(site: Any) -> None:
    site.start_job(jobId=5)
    foreign = site.headers("api", clusters=["heron"])
    nameless = {key: value for key, value in stop(site, 5).items() if key != "cluster"}
    results = send(site, start(site, jobId=6), stop(site, 5), nameless, headers=foreign).get_json()["results"]
    assert [(result["status"], result["code"]) for result in results] == [
        (403, "cluster_not_allowed"),
        (403, "cluster_not_allowed"),
        (400, "invalid_job"),
    ]
    assert jobs(site) == {5: "running"}


def test_a_token_that_may_not_report_jobs_is_refused_whole(site: Any) -> None:
    answer = send(site, start(site), headers=site.headers("api", scopes=["read"]))
    assert (answer.status_code, answer.get_json()["code"]) == (403, "scope_missing")


def test_a_tag_that_may_not_be_attached_leaves_nothing_of_its_job_and_all_of_the_others(site: Any) -> None:
    tags = [{"type": "app", "name": "lbm"}, {"type": "note", "name": "mine", "scope": "ada"}]
    results = send(site, start(site, jobId=1), start(site, jobId=2, tags=tags), start(site, jobId=3)).get_json()
    assert [result["status"] for result in results["results"]] == [201, 403, 201]
    assert jobs(site) == {1: "running", 3: "running"}
    assert site.services.database.first_row("SELECT COUNT(*) FROM tag") == (0,)


def test_a_fault_in_the_middle_leaves_nothing_of_the_request(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    insert, calls = lifecycle.insert_jobs, []

    def fail(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 2:
            raise RuntimeError("the inside")
        return insert(*arguments)

    monkeypatch.setattr(lifecycle, "insert_jobs", fail)
    site.app.testing = False
    answer = send(site, start(site, jobId=1), start(site, jobId=2), stop(site, 1), start(site, jobId=3))
    assert len(calls) == 2
    assert (answer.status_code, "inside" in answer.text) == (500, False)
    assert jobs(site) == {}
    assert site.services.database.first_row("SELECT COUNT(*) FROM job_host") == (0,)


def test_ignored_keys_of_all_events_are_counted(site: Any) -> None:
    send(site, start(site, jobId=1, color="red"), stop(site, 1, colour="red"), stop(site, 1))
    assert "cc_backend_payload_ignored_keys_total 2" in site.client.get("/metrics").text


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"events":' + b"[" * 5000, 400),
        (b'{"events":[{"event":"stop_job","jobId":' + b"9" * 5000 + b"}]}", 400),
        (b'{"events":[{"event":"stop_job","jobId":1e400}]}', 400),
        (b'{"events":[{"event":"stop_job","jobId":NaN}]}', 400),
        (b'{"events":[]}{"events":[1]}', 200),
        (b'{"events":[1],"events":[]}', 200),
        (b'{"events":[{"event":"stop_job","jobId":1,"stopTime":1760000400,"cluster":"\\ud800"}]}', 200),
        (b'{"events":[{"event":"stop_job","jobId":1,"stopTime":1760000400,"cluster":"\xff\xfe"}]}', 200),
    ],
)
def test_hostile_json_is_refused_or_read_as_json_is(site: Any, body: bytes, status: int) -> None:
    answer = site.client.post(PATH, data=body, headers=site.headers())
    assert answer.status_code == status, answer.text


@pytest.mark.parametrize("key", ["user", "project", "cluster", "partition"])
def test_a_name_of_a_megabyte_is_refused_in_few_words(site: Any, key: str) -> None:
    (result,) = send(site, start(site, **{key: "x" * 1_000_000})).get_json()["results"]
    assert result["status"] == 400
    assert len(result["error"]) < 300


EVENTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["event", "jobId", "cluster", "resources", "hostname", "startTime", "stopTime", "tags"]),
            inner | st.sampled_from(["start_job", "stop_job", "tern", 1_760_000_400]),
            max_size=5,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(events=st.lists(EVENTS, max_size=4))
def test_no_events_whatsoever_are_a_500_and_each_has_a_result(site: Any, events: list[Any]) -> None:
    answer = site.client.post(PATH, data=json.dumps({"events": events}), headers=site.headers())
    assert answer.status_code == 200, answer.text
    assert len(answer.get_json()["results"]) == len(events)
