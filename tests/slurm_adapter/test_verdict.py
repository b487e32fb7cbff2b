from typing import Dict, Optional

import pytest

from cc_common.delivery import Kind, Outcome
from cc_common.delivery.answers import Answer
from cc_slurm_adapter.verdict import Verdict, meaning_of, verdict_of

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


def test_a_run_that_cannot_start_because_another_is_open_is_told_apart() -> None:
    body = b'{"error": "the job 7 of alpha is running already, since 900"}'
    assert verdict_of(meaning_of("start")(Answer(422, JSON, body), now_s=0)) is Verdict.BUSY
    assert verdict_of(meaning_of("stop")(Answer(422, JSON, body), now_s=0)) is Verdict.KNOWN


def test_no_answer_at_all_means_that_the_backend_is_away() -> None:
    assert verdict_of(Outcome(Kind.KEEP, "no answer")) is Verdict.AWAY


def test_messages_speak_of_events() -> None:
    assert "samples" not in meaning_of("start")(Answer(404, JSON, b"{}"), now_s=0).message
