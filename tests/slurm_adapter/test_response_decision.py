import json
from typing import Dict, Optional

import pytest

from cc_common.delivery import Kind, Outcome
from cc_common.delivery.http_response import Answer
from cc_slurm_adapter.response_decision import Verdict, meaning_of, verdict_of

JSON = {"content-type": "application/json"}
HTML = {"content-type": "text/html; charset=utf-8"}


@pytest.mark.parametrize(
    ("kind", "status", "headers", "verdict"),
    [
        ("start", 201, JSON, Verdict.DONE),
        ("stop", 200, JSON, Verdict.DONE),
        ("nodes", 200, {}, Verdict.DONE),
        ("start", 200, HTML, Verdict.AWAY),
        ("start", 422, JSON, Verdict.KNOWN),
        ("stop", 422, JSON, Verdict.KNOWN),
        ("start", 422, HTML, Verdict.AWAY),
        ("stop", 404, JSON, Verdict.MISSING),
        ("stop", 404, HTML, Verdict.AWAY),
        ("start", 404, JSON, Verdict.AWAY),
        ("start", 400, JSON, Verdict.REFUSED),
        ("start", 400, HTML, Verdict.AWAY),
        ("start", 413, JSON, Verdict.REFUSED),
        ("start", 415, JSON, Verdict.REFUSED),
        ("stop", 415, JSON, Verdict.REFUSED),
        ("start", 415, HTML, Verdict.AWAY),
        ("stop", 405, JSON, Verdict.AWAY),
        ("nodes", 404, JSON, Verdict.AWAY),
        ("start", 500, HTML, Verdict.LATER),
        ("start", 500, JSON, Verdict.LATER),
        ("start", 503, JSON, Verdict.AWAY),
        ("start", 429, JSON, Verdict.AWAY),
        ("start", 401, JSON, Verdict.AWAY),
        ("start", 403, JSON, Verdict.AWAY),
        ("start", 302, {"location": "https://elsewhere"}, Verdict.AWAY),
    ],
)
def test_every_answer_has_a_meaning(kind: str, status: int, headers: Dict[str, str], verdict: Verdict) -> None:
    assert verdict_of(meaning_of(kind)(Answer(status, headers, b"{}"), now_s=0)) is verdict


@pytest.mark.parametrize(
    ("status", "alarm"), [(401, True), (403, True), (302, True), (405, True), (503, False), (400, False)]
)
def test_a_person_is_called_where_only_a_person_can_help(status: int, alarm: bool) -> None:  # noqa: FBT001 a table
    assert meaning_of("start")(Answer(status, JSON, b"{}"), now_s=0).alarm is alarm


@pytest.mark.parametrize(("after", "pause"), [("7", 7.0), (None, None), ("soon", None)])
def test_the_pause_that_the_backend_asks_for_is_kept(after: Optional[str], pause: Optional[float]) -> None:
    headers = dict(JSON) if after is None else {**JSON, "retry-after": after}
    assert meaning_of("start")(Answer(503, headers), now_s=0).retry_after_s == pause


@pytest.mark.parametrize(
    ("kind", "status", "code", "verdict"),
    [
        ("start", 422, "job_known", Verdict.KNOWN),
        ("start", 422, "job_running", Verdict.BUSY),
        ("start", 422, "run_overlaps", Verdict.REFUSED),
        ("start", 422, "of_a_later_version", Verdict.REFUSED),
        ("stop", 422, "job_not_running", Verdict.KNOWN),
        ("stop", 422, "job_running", Verdict.REFUSED),
        ("stop", 422, "of_a_later_version", Verdict.REFUSED),
        ("stop", 404, "job_unknown", Verdict.MISSING),
        ("stop", 404, "route_unknown", Verdict.AWAY),
        ("start", 404, "route_unknown", Verdict.AWAY),
        ("start", 400, "unknown_cluster", Verdict.REFUSED),
        ("start", 400, "time_in_future", Verdict.EARLY),
        ("stop", 400, "time_in_future", Verdict.EARLY),
        ("start", 413, "body_too_large", Verdict.REFUSED),
        ("start", 403, "cluster_not_allowed", Verdict.AWAY),
        ("start", 500, "internal_error", Verdict.LATER),
        ("stop", 503, "database_unavailable", Verdict.AWAY),
    ],
)
@pytest.mark.parametrize("text", ["is running already", "cannot start between", "läuft schon"])
def test_the_code_of_an_answer_decides_and_its_text_never(
    kind: str, status: int, code: str, verdict: Verdict, text: str
) -> None:
    body = json.dumps({"status": "x", "code": code, "error": text}).encode()
    assert verdict_of(meaning_of(kind)(Answer(status, JSON, body), now_s=0)) is verdict


@pytest.mark.parametrize("text", ["is running already", "cannot start between", ""])
def test_an_answer_without_a_code_is_read_by_its_status_whatever_its_text(text: str) -> None:
    body = json.dumps({"status": "Unprocessable Entity", "error": text}).encode()
    assert verdict_of(meaning_of("start")(Answer(422, JSON, body), now_s=0)) is Verdict.KNOWN


def test_no_answer_at_all_means_that_the_backend_is_away() -> None:
    assert verdict_of(Outcome(Kind.KEEP, "no answer")) is Verdict.AWAY


def test_a_message_has_the_reason_that_the_backend_gave() -> None:
    body = b'{"status": "Bad Request", "code": "unknown_host", "error": "resources: no such\\n host"}'
    assert meaning_of("start")(Answer(400, JSON, body), now_s=0).message == "HTTP 400 (resources: no such host)"


@pytest.mark.parametrize("status", [302, 404, 405, 418])
def test_messages_do_not_speak_of_samples(status: int) -> None:
    assert "samples" not in meaning_of("start")(Answer(status, JSON, b"{}"), now_s=0).message
