import json
from typing import Dict, Optional

import pytest

from cc_common.delivery import DeliveryOutcome, OutcomeKind
from cc_common.delivery.http_response import HttpResponse
from cc_slurm_adapter.response_decision import DeliveryDecision, decision_of, make_interpreter

JSON = {"content-type": "application/json"}
HTML = {"content-type": "text/html; charset=utf-8"}


@pytest.mark.parametrize(
    ("kind", "status", "headers", "verdict"),
    [
        ("start", 201, JSON, DeliveryDecision.ACCEPTED),
        ("stop", 200, JSON, DeliveryDecision.ACCEPTED),
        ("nodes", 200, {}, DeliveryDecision.ACCEPTED),
        ("start", 200, HTML, DeliveryDecision.UNAVAILABLE),
        ("start", 422, JSON, DeliveryDecision.ALREADY_KNOWN),
        ("stop", 422, JSON, DeliveryDecision.ALREADY_KNOWN),
        ("start", 422, HTML, DeliveryDecision.UNAVAILABLE),
        ("stop", 404, JSON, DeliveryDecision.JOB_UNKNOWN),
        ("stop", 404, HTML, DeliveryDecision.UNAVAILABLE),
        ("start", 404, JSON, DeliveryDecision.UNAVAILABLE),
        ("start", 400, JSON, DeliveryDecision.REJECTED),
        ("start", 400, HTML, DeliveryDecision.UNAVAILABLE),
        ("start", 413, JSON, DeliveryDecision.REJECTED),
        ("start", 415, JSON, DeliveryDecision.REJECTED),
        ("stop", 415, JSON, DeliveryDecision.REJECTED),
        ("start", 415, HTML, DeliveryDecision.UNAVAILABLE),
        ("stop", 405, JSON, DeliveryDecision.UNAVAILABLE),
        ("nodes", 404, JSON, DeliveryDecision.UNAVAILABLE),
        ("start", 500, HTML, DeliveryDecision.RETRY_LATER),
        ("start", 500, JSON, DeliveryDecision.RETRY_LATER),
        ("start", 503, JSON, DeliveryDecision.UNAVAILABLE),
        ("start", 429, JSON, DeliveryDecision.UNAVAILABLE),
        ("start", 401, JSON, DeliveryDecision.UNAVAILABLE),
        ("start", 403, JSON, DeliveryDecision.UNAVAILABLE),
        ("start", 302, {"location": "https://elsewhere"}, DeliveryDecision.UNAVAILABLE),
    ],
)
def test_every_response_has_a_meaning(
    kind: str, status: int, headers: Dict[str, str], verdict: DeliveryDecision
) -> None:
    assert decision_of(make_interpreter(kind)(HttpResponse(status, headers, b"{}"), now_s=0)) is verdict


@pytest.mark.parametrize(
    ("status", "alarm"), [(401, True), (403, True), (302, True), (405, True), (503, False), (400, False)]
)
def test_a_person_is_called_where_only_a_person_can_help(status: int, alarm: bool) -> None:  # noqa: FBT001 a table
    assert make_interpreter("start")(HttpResponse(status, JSON, b"{}"), now_s=0).needs_operator is alarm


@pytest.mark.parametrize(("after", "pause"), [("7", 7.0), (None, None), ("soon", None)])
def test_the_pause_that_the_backend_asks_for_is_kept(after: Optional[str], pause: Optional[float]) -> None:
    headers = dict(JSON) if after is None else {**JSON, "retry-after": after}
    assert make_interpreter("start")(HttpResponse(503, headers), now_s=0).retry_after_s == pause


@pytest.mark.parametrize(
    ("kind", "status", "code", "verdict"),
    [
        ("start", 422, "job_known", DeliveryDecision.ALREADY_KNOWN),
        ("start", 422, "job_running", DeliveryDecision.OTHER_RUN_OPEN),
        ("start", 422, "run_overlaps", DeliveryDecision.REJECTED),
        ("start", 422, "of_a_later_version", DeliveryDecision.REJECTED),
        ("stop", 422, "job_not_running", DeliveryDecision.ALREADY_KNOWN),
        ("stop", 422, "job_running", DeliveryDecision.REJECTED),
        ("stop", 422, "of_a_later_version", DeliveryDecision.REJECTED),
        ("stop", 404, "job_unknown", DeliveryDecision.JOB_UNKNOWN),
        ("stop", 404, "route_unknown", DeliveryDecision.UNAVAILABLE),
        ("start", 404, "route_unknown", DeliveryDecision.UNAVAILABLE),
        ("start", 400, "unknown_cluster", DeliveryDecision.REJECTED),
        ("start", 400, "time_in_future", DeliveryDecision.TOO_EARLY),
        ("stop", 400, "time_in_future", DeliveryDecision.TOO_EARLY),
        ("start", 413, "body_too_large", DeliveryDecision.REJECTED),
        ("start", 403, "cluster_not_allowed", DeliveryDecision.UNAVAILABLE),
        ("start", 500, "internal_error", DeliveryDecision.RETRY_LATER),
        ("stop", 503, "database_unavailable", DeliveryDecision.UNAVAILABLE),
    ],
)
@pytest.mark.parametrize("text", ["is running already", "cannot start between", "läuft schon"])
def test_the_code_of_a_response_decides_and_its_text_never(
    kind: str, status: int, code: str, verdict: DeliveryDecision, text: str
) -> None:
    body = json.dumps({"status": "x", "code": code, "error": text}).encode()
    assert decision_of(make_interpreter(kind)(HttpResponse(status, JSON, body), now_s=0)) is verdict


@pytest.mark.parametrize("text", ["is running already", "cannot start between", ""])
def test_a_response_without_a_code_is_read_by_its_status_whatever_its_text(text: str) -> None:
    body = json.dumps({"status": "Unprocessable Entity", "error": text}).encode()
    assert (
        decision_of(make_interpreter("start")(HttpResponse(422, JSON, body), now_s=0)) is DeliveryDecision.ALREADY_KNOWN
    )


def test_no_response_at_all_means_that_the_backend_is_unavailable() -> None:
    assert decision_of(DeliveryOutcome(OutcomeKind.RETRY, "no response")) is DeliveryDecision.UNAVAILABLE


def test_a_message_has_the_reason_that_the_backend_gave() -> None:
    body = b'{"status": "Bad Request", "code": "unknown_host", "error": "resources: no such\\n host"}'
    assert (
        make_interpreter("start")(HttpResponse(400, JSON, body), now_s=0).message
        == "HTTP 400 (resources: no such host)"
    )


@pytest.mark.parametrize("status", [302, 404, 405, 418])
def test_messages_do_not_speak_of_samples(status: int) -> None:
    assert "samples" not in make_interpreter("start")(HttpResponse(status, JSON, b"{}"), now_s=0).message
