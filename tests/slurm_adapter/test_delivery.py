from __future__ import annotations

import contextlib
import json
import random
import shutil
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Set, Tuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from cc_common.delivery import DeliveryOutcome, OutcomeKind
from cc_common.delivery.http_response import HttpResponse
from cc_slurm_adapter.delivery import MAX_JOB_UNKNOWN, EventDelivery
from cc_slurm_adapter.journal import JobRun, Journal
from cc_slurm_adapter.response_decision import make_interpreter
from cc_slurm_adapter.slurm_model import RunKey

JSON = {"content-type": "application/json"}


class Backend:
    """Answers every event with a status that the test chooses; None is no answer at all."""

    def __init__(self) -> None:
        self.sent: List[Tuple[str, str]] = []
        self.choose: Callable[[str, str], Optional[int]] = lambda kind, _body: 201 if kind == "start" else 200
        self.code = ""
        self.headers: Dict[str, str] = JSON

    def sender(self, kind: str) -> Sender:
        return Sender(self, kind)


class Sender:
    peer = "backend"

    def __init__(self, backend: Backend, kind: str) -> None:
        self._backend = backend
        self._kind = kind
        self.closed = False

    def send(self, batch: bytes) -> DeliveryOutcome:
        body = batch.decode().strip('"')
        self._backend.sent.append((self._kind, body))
        status = self._backend.choose(self._kind, body)
        if status is None:
            return DeliveryOutcome(OutcomeKind.RETRY, "no response")
        said = {"error": "because", **({"code": self._backend.code} if self._backend.code else {})}
        answer = HttpResponse(status, self._backend.headers, json.dumps(said).encode())
        return make_interpreter(self._kind)(answer, now_s=0)

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
def delivery(journal: Journal, backend: Backend, clock: Clock) -> EventDelivery:
    senders = {kind: backend.sender(kind) for kind in ("start", "stop")}
    return EventDelivery(journal, senders, clock=clock, source=random.Random(1))  # noqa: S311 pauses are no secret


def fill(journal: Journal, *job_ids: int) -> None:
    for job_id in job_ids:
        key = RunKey("alpha", job_id, 900)
        journal.record_start(JobRun(key), f"{job_id}", now_s=1)  # type: ignore[arg-type]  # a body of one word reads better
        journal.record_stop(key, 950, f"{job_id}", now_s=1)  # type: ignore[arg-type]  # same


def waiting(journal: Journal) -> List[Tuple[str, int]]:
    return [(event.kind, event.key.job_id) for event in journal.waiting()]


def test_everything_is_sent_in_order_and_then_nothing_waits(
    journal: Journal, backend: Backend, delivery: EventDelivery
) -> None:
    fill(journal, 1, 2)
    report = delivery.deliver()
    assert backend.sent == [("start", "1"), ("stop", "1"), ("start", "2"), ("stop", "2")]
    assert (report.starts, report.stops, delivery.wait_s()) == (2, 2, None)


def test_a_rejected_event_is_parked_with_its_stop_and_the_others_go_on(
    journal: Journal, backend: Backend, delivery: EventDelivery
) -> None:
    backend.choose = lambda _kind, body: 400 if body == "1" else 200
    fill(journal, 1, 2)
    assert delivery.deliver().parked == 2
    assert backend.sent == [("start", "1"), ("start", "2"), ("stop", "2")]
    assert journal.newest_parked() == [
        (RunKey("alpha", 1, 900), "stop", "the start of this run was rejected"),
        (RunKey("alpha", 1, 900), "start", "HTTP 400 (because)"),
    ]


def test_what_the_backend_knows_already_is_done(journal: Journal, backend: Backend, delivery: EventDelivery) -> None:
    backend.choose = lambda _kind, _body: 422
    fill(journal, 1)
    delivery.deliver()
    assert (waiting(journal), journal.counts().sent) == ([], 2)


def test_a_stop_of_a_job_that_is_not_known_sends_the_start_again_first(
    journal: Journal, backend: Backend, delivery: EventDelivery
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
    journal: Journal, backend: Backend, delivery: EventDelivery, clock: Clock
) -> None:
    backend.choose = lambda kind, _body: 404 if kind == "stop" else 422
    fill(journal, 1)
    for _ in range(MAX_JOB_UNKNOWN + 1):
        delivery.deliver()
        clock.now_s += 400
    assert (waiting(journal), journal.counts().parked) == ([], 1)


def test_a_new_run_waits_while_the_backend_holds_another_one_open(
    journal: Journal, backend: Backend, delivery: EventDelivery, clock: Clock
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
    journal: Journal, backend: Backend, delivery: EventDelivery, clock: Clock
) -> None:
    """The later run was reported first, while the accounting was unavailable; both orders give the same result."""
    backend.code = "job_running"
    later, older = RunKey("alpha", 1, 2000), RunKey("alpha", 1, 900)
    journal.record_start(JobRun(later), "later", now_s=1)  # type: ignore[arg-type]  # a body of one word reads better
    delivery.deliver()
    journal.record_start(JobRun(older), "older", now_s=1)  # type: ignore[arg-type]  # same
    journal.record_stop(older, 950, "older", now_s=1)  # type: ignore[arg-type]  # same
    backend.choose = lambda _kind, body: 200 if body == "later" or ("stop", "later") in backend.sent else 422
    delivery.deliver()
    delivery.deliver()
    assert waiting(journal) == [("start", 1), ("stop", 1)]
    journal.record_stop(later, 2100, "later", now_s=1)  # type: ignore[arg-type]  # same
    delivery.deliver()
    clock.now_s += 400
    delivery.deliver()
    assert waiting(journal) == []
    assert [kind for kind, body in backend.sent if body == "older"][-2:] == ["start", "stop"]


def test_a_server_error_holds_up_its_own_job_only(
    journal: Journal, backend: Backend, delivery: EventDelivery, clock: Clock
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
    journal: Journal, backend: Backend, delivery: EventDelivery
) -> None:
    backend.choose = lambda _kind, _body: 500
    fill(journal, *range(1, 20))
    delivery.deliver()
    assert len(backend.sent) == 5
    assert delivery.problem


@pytest.mark.parametrize("status", [None, 401, 403, 404, 405, 302, 429, 502, 503, 504])
def test_a_backend_that_takes_nothing_is_left_alone_for_a_while(
    journal: Journal, backend: Backend, delivery: EventDelivery, clock: Clock, status: Optional[int]
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
def test_a_response_that_is_not_the_backends_settles_nothing(
    journal: Journal, backend: Backend, delivery: EventDelivery, status: int
) -> None:
    backend.choose = lambda _kind, _body: status
    backend.headers = {"content-type": "text/html"}
    fill(journal, 1)
    delivery.deliver()
    assert len(waiting(journal)) == 2
    assert journal.counts().parked == 0


def test_a_pass_ends_when_it_should_not_continue(journal: Journal, backend: Backend, clock: Clock) -> None:
    fill(journal, 1, 2)
    senders = {kind: backend.sender(kind) for kind in ("start", "stop")}
    EventDelivery(journal, senders, clock=clock, should_continue=lambda: len(backend.sent) < 1).deliver()
    assert len(backend.sent) == 1


class Crowd:
    """A backend for several threads at once: it remembers what came, and which jobs were in its hands together."""

    peer = "backend"

    def __init__(self, gate: threading.Barrier, outcome: Callable[[str, str], int]) -> None:
        self._gate = gate
        self._outcome = outcome
        self._lock = threading.Lock()
        self._inside: List[str] = []
        self.sent: List[Tuple[str, str]] = []
        self.most = 0

    def sender(self, kind: str) -> Any:
        crowd = self

        class OneKind:
            peer = "backend"

            def send(self, batch: bytes) -> DeliveryOutcome:
                return crowd.send(kind, batch.decode().strip('"'))

            def close(self) -> None:
                """Nothing to close."""

        return OneKind()

    def send(self, kind: str, body: str) -> DeliveryOutcome:
        with self._lock:
            assert body not in self._inside, "two events of one job at a time"
            self._inside.append(body)
            self.most = max(self.most, len(self._inside))
            self.sent.append((kind, body))
        with contextlib.suppress(threading.BrokenBarrierError):
            self._gate.wait(0.2)
        with self._lock:
            self._inside.remove(body)
        return make_interpreter(kind)(HttpResponse(self._outcome(kind, body), JSON, b"{}"), now_s=0)


@pytest.fixture
def crowded(journal: Journal, clock: Clock) -> Iterator[Callable[..., Tuple[Crowd, EventDelivery]]]:
    made: List[EventDelivery] = []

    def make(outcome: Callable[[str, str], int], together: int = 1) -> Tuple[Crowd, EventDelivery]:
        crowd = Crowd(threading.Barrier(together), outcome)
        senders = {kind: crowd.sender(kind) for kind in ("start", "stop")}
        made.append(EventDelivery(journal, senders, clock=clock, workers=4, source=random.Random(1)))  # noqa: S311 no secret
        return crowd, made[-1]

    yield make
    for delivery in made:
        delivery.close()


def test_events_of_different_jobs_go_out_side_by_side(
    journal: Journal, crowded: Callable[..., Tuple[Crowd, EventDelivery]]
) -> None:
    fill(journal, *range(1, 41))
    crowd, delivery = crowded(lambda _kind, _body: 200, together=4)
    report = delivery.deliver()
    assert (report.starts, report.stops, waiting(journal)) == (40, 40, [])
    assert crowd.most == 4


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.integers(1, 12), min_size=1, max_size=60), st.sets(st.integers(1, 12)), st.sets(st.integers(1, 12)))
def test_of_each_job_events_go_out_in_order_whatever_becomes_of_others(
    tmp_path_factory: pytest.TempPathFactory, runs: List[int], refused: Set[int], failing: Set[int]
) -> None:
    journal = Journal(tmp_path_factory.mktemp("journal") / "journal")
    for number, job_id in enumerate(runs):
        key = RunKey("alpha", job_id, 900 + 100 * number)
        journal.record_start(JobRun(key), f"{job_id}", now_s=1)  # type: ignore[arg-type]  # a body of one word reads better
        journal.record_stop(key, key.start_time + 50, f"{job_id}", now_s=1)  # type: ignore[arg-type]  # same

    def answer(kind: str, body: str) -> int:
        return 500 if int(body) in failing else 400 if int(body) in refused and kind == "start" else 200

    crowd = Crowd(threading.Barrier(1), answer)
    senders = {kind: crowd.sender(kind) for kind in ("start", "stop")}
    delivery = EventDelivery(journal, senders, clock=Clock(), workers=4)
    try:
        delivery.deliver()
        for job_id in set(runs):
            kinds = [kind for kind, body in crowd.sent if int(body) == job_id]
            if job_id in failing:
                assert kinds in (["start"], [])
            elif not delivery.problem:
                expected = ["start"] if job_id in refused else ["start", "stop"]
                assert kinds == expected * runs.count(job_id)
        if not failing:
            assert waiting(journal) == []
    finally:
        delivery.close()
        journal.close()


def test_when_the_backend_becomes_unavailable_what_was_taken_is_settled_and_the_rest_waits(
    journal: Journal, crowded: Callable[..., Tuple[Crowd, EventDelivery]]
) -> None:
    fill(journal, *range(1, 101))
    crowd, delivery = crowded(lambda _kind, body: 503 if int(body) > 40 else 200)
    delivery.deliver()
    taken = {(kind, int(body)) for kind, body in crowd.sent if int(body) <= 40}
    left = set(waiting(journal))
    assert taken | left == {(kind, number) for kind in ("start", "stop") for number in range(1, 101)}
    assert not taken & left
    assert sum(int(body) > 40 for _, body in crowd.sent) <= 4, "no more is tried once it is away"
    assert delivery.problem
    crowd.sent.clear()
    delivery.deliver()
    assert crowd.sent == []


def test_a_batch_that_was_sent_but_not_recorded_is_sent_again_and_known(
    tmp_path: Path, crowded: Callable[..., Tuple[Crowd, EventDelivery]], journal: Journal
) -> None:
    """What kill -9 between the answers and the journal leaves behind."""
    fill(journal, 1, 2, 3)
    copied = tmp_path / "copy"
    shutil.copy(tmp_path / "journal", copied)
    shutil.copy(tmp_path / "journal-wal", tmp_path / "copy-wal")
    _, delivery = crowded(lambda _kind, _body: 200)
    delivery.deliver()
    again = Journal(copied)
    crowd = Crowd(threading.Barrier(1), lambda _kind, _body: 422)
    senders = {kind: crowd.sender(kind) for kind in ("start", "stop")}
    second = EventDelivery(again, senders, clock=Clock(), workers=4)
    second.deliver()
    assert (waiting(again), again.counts().sent, again.counts().parked) == ([], 6, 0)
    second.close()
    again.close()


def test_events_whose_time_has_not_come_hold_up_no_others(
    journal: Journal, backend: Backend, delivery: EventDelivery
) -> None:
    fill(journal, *range(1, 21))
    backend.code = "time_in_future"
    backend.choose = lambda _kind, body: 400 if int(body) < 20 else 201
    delivery.deliver()
    assert backend.sent[-2:] == [("start", "20"), ("stop", "20")]
    assert (delivery.problem, len(waiting(journal))) == ("", 38)
