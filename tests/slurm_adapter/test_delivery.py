import json
import random
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Tuple

import pytest

from cc_common.delivery import Kind, Outcome
from cc_common.delivery.answers import Answer
from cc_slurm_adapter.delivery import MAX_MISSING, Delivery
from cc_slurm_adapter.journal import Journal, Run
from cc_slurm_adapter.model import RunKey
from cc_slurm_adapter.verdict import meaning_of

JSON = {"content-type": "application/json"}


class Backend:
    """Answers every event with a status that the test chooses; None is no answer at all."""

    def __init__(self) -> None:
        self.sent: List[Tuple[str, str]] = []
        self.choose: Callable[[str, str], Optional[int]] = lambda kind, _body: 201 if kind == "start" else 200
        self.code = ""
        self.headers: Dict[str, str] = JSON

    def sender(self, kind: str) -> "Sender":
        return Sender(self, kind)


class Sender:
    peer = "backend"

    def __init__(self, backend: Backend, kind: str) -> None:
        self._backend = backend
        self._kind = kind
        self.closed = False

    def send(self, batch: bytes) -> Outcome:
        body = batch.decode().strip('"')
        self._backend.sent.append((self._kind, body))
        status = self._backend.choose(self._kind, body)
        if status is None:
            return Outcome(Kind.KEEP, "no answer")
        said = {"error": "because", **({"code": self._backend.code} if self._backend.code else {})}
        answer = Answer(status, self._backend.headers, json.dumps(said).encode())
        return meaning_of(self._kind)(answer, now_s=0)

    def close(self) -> None:
        self.closed = True


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    opened = Journal(tmp_path / "journal")
    yield opened
    opened.close()


@pytest.fixture
def backend() -> Backend:
    return Backend()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def delivery(journal: Journal, backend: Backend, clock: Clock) -> Delivery:
    senders = {kind: backend.sender(kind) for kind in ("start", "stop")}
    return Delivery(journal, senders, clock=clock, source=random.Random(1))  # noqa: S311 pauses are no secret


def fill(journal: Journal, *job_ids: int) -> None:
    for job_id in job_ids:
        key = RunKey("alpha", job_id, 900)
        journal.started(Run(key), f"{job_id}", now_s=1)  # type: ignore[arg-type]  # a body of one word reads better
        journal.ended(key, 950, f"{job_id}", now_s=1)  # type: ignore[arg-type]  # same


def waiting(journal: Journal) -> List[Tuple[str, int]]:
    return [(event.kind, event.key.job_id) for event in journal.waiting()]


def test_everything_is_sent_in_order_and_then_nothing_waits(
    journal: Journal, backend: Backend, delivery: Delivery
) -> None:
    fill(journal, 1, 2)
    report = delivery.deliver()
    assert backend.sent == [("start", "1"), ("stop", "1"), ("start", "2"), ("stop", "2")]
    assert (report.starts, report.stops, delivery.wait_s()) == (2, 2, None)


def test_a_refused_event_is_parked_with_its_stop_and_the_others_go_on(
    journal: Journal, backend: Backend, delivery: Delivery
) -> None:
    backend.choose = lambda _kind, body: 400 if body == "1" else 200
    fill(journal, 1, 2)
    assert delivery.deliver().parked == 2
    assert backend.sent == [("start", "1"), ("start", "2"), ("stop", "2")]
    assert journal.parked() == [
        (RunKey("alpha", 1, 900), "stop", "the start of this run was refused"),
        (RunKey("alpha", 1, 900), "start", "HTTP 400 (because)"),
    ]


def test_what_the_backend_knows_already_is_done(journal: Journal, backend: Backend, delivery: Delivery) -> None:
    backend.choose = lambda _kind, _body: 422
    fill(journal, 1)
    delivery.deliver()
    assert (waiting(journal), journal.counts().sent) == ([], 2)


def test_a_stop_of_a_job_that_is_not_known_sends_the_start_again_first(
    journal: Journal, backend: Backend, delivery: Delivery
) -> None:
    fill(journal, 1)
    known: List[str] = []

    def forgetful(kind: str, body: str) -> int:
        if kind == "start":
            known.append(body)
            return 201
        return 200 if len(known) == 2 else 404

    backend.choose = forgetful
    delivery.deliver()
    assert waiting(journal) == [("start", 1), ("stop", 1)]
    delivery.deliver()
    assert backend.sent == [("start", "1"), ("stop", "1"), ("start", "1"), ("stop", "1")]
    assert waiting(journal) == []


def test_a_stop_that_is_never_known_is_parked_in_the_end(
    journal: Journal, backend: Backend, delivery: Delivery, clock: Clock
) -> None:
    backend.choose = lambda kind, _body: 404 if kind == "stop" else 422
    fill(journal, 1)
    for _ in range(MAX_MISSING + 1):
        delivery.deliver()
        clock.now_s += 400
    assert (waiting(journal), journal.counts().parked) == ([], 1)


def test_a_new_run_waits_while_the_backend_holds_another_one_open(
    journal: Journal, backend: Backend, delivery: Delivery, clock: Clock
) -> None:
    backend.code = "job_running"
    backend.choose = lambda _kind, body: 422 if body == "1" else 200
    fill(journal, 1, 2)
    delivery.deliver()
    assert waiting(journal) == [("start", 1), ("stop", 1)]
    backend.choose = lambda _kind, _body: 200
    clock.now_s += 400
    delivery.deliver()
    assert waiting(journal) == []


def test_an_older_run_that_comes_late_lets_the_later_one_end_first(
    journal: Journal, backend: Backend, delivery: Delivery, clock: Clock
) -> None:
    """The later run was told first, because the accounting was away; both orders have to come out right."""
    backend.code = "job_running"
    later, older = RunKey("alpha", 1, 2000), RunKey("alpha", 1, 900)
    journal.started(Run(later), "later", now_s=1)  # type: ignore[arg-type]  # a body of one word reads better
    delivery.deliver()
    journal.started(Run(older), "older", now_s=1)  # type: ignore[arg-type]  # same
    journal.ended(older, 950, "older", now_s=1)  # type: ignore[arg-type]  # same
    backend.choose = lambda _kind, body: 200 if body == "later" or ("stop", "later") in backend.sent else 422
    delivery.deliver()
    delivery.deliver()
    assert waiting(journal) == [("start", 1), ("stop", 1)]
    journal.ended(later, 2100, "later", now_s=1)  # type: ignore[arg-type]  # same
    delivery.deliver()
    clock.now_s += 400
    delivery.deliver()
    assert waiting(journal) == []
    assert [kind for kind, body in backend.sent if body == "older"][-2:] == ["start", "stop"]


def test_a_server_error_holds_up_its_own_job_only(
    journal: Journal, backend: Backend, delivery: Delivery, clock: Clock
) -> None:
    backend.choose = lambda _kind, body: 500 if body == "1" else 200
    fill(journal, 1, 2)
    delivery.deliver()
    assert backend.sent == [("start", "1"), ("start", "2"), ("stop", "2")]
    assert waiting(journal) == [("start", 1), ("stop", 1)]
    wait_s = delivery.wait_s()
    assert wait_s is not None
    assert 1.0 <= wait_s <= 2.0
    delivery.deliver()
    assert len(backend.sent) == 3
    clock.now_s += wait_s
    delivery.deliver()
    assert len(backend.sent) == 4


def test_server_errors_one_after_the_other_are_an_ill_backend(
    journal: Journal, backend: Backend, delivery: Delivery
) -> None:
    backend.choose = lambda _kind, _body: 500
    fill(journal, *range(1, 20))
    delivery.deliver()
    assert len(backend.sent) == 5
    assert delivery.problem


@pytest.mark.parametrize("status", [None, 401, 403, 404, 405, 302, 429, 502, 503, 504])
def test_a_backend_that_takes_nothing_is_left_alone_for_a_while(
    journal: Journal, backend: Backend, delivery: Delivery, clock: Clock, status: Optional[int]
) -> None:
    backend.choose = lambda _kind, _body: status
    fill(journal, 1, 2)
    delivery.deliver()
    delivery.deliver()
    assert backend.sent == [("start", "1")]
    assert len(waiting(journal)) == 4
    backend.choose = lambda _kind, _body: 200
    clock.now_s += 3700
    delivery.deliver()
    assert waiting(journal) == []


@pytest.mark.parametrize("status", [400, 404, 422])
def test_an_answer_that_is_not_the_backends_settles_nothing(
    journal: Journal, backend: Backend, delivery: Delivery, status: int
) -> None:
    backend.choose = lambda _kind, _body: status
    backend.headers = {"content-type": "text/html"}
    fill(journal, 1)
    delivery.deliver()
    assert len(waiting(journal)) == 2
    assert journal.counts().parked == 0


def test_the_pass_ends_when_it_is_told_to(journal: Journal, backend: Backend, clock: Clock) -> None:
    fill(journal, 1, 2)
    senders = {kind: backend.sender(kind) for kind in ("start", "stop")}
    Delivery(journal, senders, clock=clock, go_on=lambda: len(backend.sent) < 1).deliver()
    assert len(backend.sent) == 1
