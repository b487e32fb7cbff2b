"""The worker: order, back-off, splitting, and what it remembers, with a peer and a clock that do as reported."""

from __future__ import annotations

import logging
import random
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_common.delivery import Backoff, DeliveryOutcome, DeliveryWorker, Outbox, OutcomeKind
from cc_common.delivery.batch_split import MAX_BISECTED_LINES, send_splitting

OK = DeliveryOutcome(OutcomeKind.DELIVERED)
AWAY = DeliveryOutcome(OutcomeKind.RETRY, "no response")


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Middle(random.Random):
    """A source of chance that always draws the middle."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


class Peer:
    """A sender that answers as the list says, then always delivers."""

    peer = "test"

    def __init__(self, *answers: DeliveryOutcome) -> None:
        self.answers = list(answers)
        self.got = []
        self.closed = False

    def send(self, batch: bytes) -> DeliveryOutcome:
        answer = self.answers.pop(0) if self.answers else OK
        self.got.append(batch)
        return answer

    def close(self) -> None:
        self.closed = True


class Strict(Peer):
    """A peer that refuses any batch with a bad line and does not say which, and any batch over a size."""

    def __init__(self, bad: bytes = b"bad", limit: int = 10**9) -> None:
        super().__init__()
        self.bad, self.limit, self.kept = bad, limit, []

    def send(self, batch: bytes) -> DeliveryOutcome:
        self.got.append(batch)
        if len(batch) > self.limit:
            return DeliveryOutcome(OutcomeKind.TOO_LARGE, "too large")
        if self.bad in batch:
            return DeliveryOutcome(OutcomeKind.BAD_BATCH, "somewhere")
        self.kept += batch.splitlines()
        return OK


def worker_for(peer: Any, outbox: Any = None, clock: Any = None, **more: Any) -> DeliveryWorker:
    clock = clock or Clock()
    return DeliveryWorker(
        Outbox() if outbox is None else outbox,
        peer,
        backoff=Backoff(Middle()),
        clock=clock,
        **more,
    )


def test_batches_are_sent_oldest_first() -> None:
    peer = Peer()
    worker = worker_for(peer)
    worker.put(b"1")
    worker.put(b"2")
    assert [worker.step(), worker.step(), worker.step()] == [0.0, 0.0, None]
    assert peer.got == [b"1", b"2"]


def test_after_a_failure_nothing_is_tried_before_the_pause_is_over() -> None:
    peer, clock = Peer(AWAY), Clock()
    worker = worker_for(peer, clock=clock)
    worker.put(b"1")
    assert worker.step() == 0.5
    assert worker.step() == 0.5
    assert len(peer.got) == 1
    clock.now_s += 0.5
    worker.step()
    assert peer.got == [b"1", b"1"]
    assert worker.step() is None


def test_a_failed_batch_and_all_that_follow_go_to_disk(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    worker = worker_for(Peer(AWAY), outbox)
    worker.put(b"1")
    worker.step()
    assert (outbox.stats().queued, outbox.stats().spooled) == (0, 1)
    worker.put(b"2")
    worker.step()
    assert (outbox.stats().queued, outbox.stats().spooled) == (0, 2)
    worker.stop(0)


def test_a_new_worker_sends_what_the_last_one_left(tmp_path: Path) -> None:
    first = worker_for(Peer(AWAY), Outbox(tmp_path))
    for batch in (b"1", b"2"):
        first.put(batch)
    first.step()
    first.stop(0)
    peer = Peer()
    second = worker_for(peer, Outbox(tmp_path))
    second.put(b"3")
    while second.step() is not None:
        pass
    second.stop(0)
    assert peer.got == [b"1", b"2", b"3"]


def test_the_pause_the_peer_asks_for_is_kept_and_spread() -> None:
    worker = worker_for(Peer(DeliveryOutcome(OutcomeKind.RETRY, "busy", retry_after_s=60.0)))
    worker.put(b"1")
    assert worker.step() == 60.5


def test_a_token_that_is_rejected_keeps_everything_and_needs_the_operator(caplog: pytest.LogCaptureFixture) -> None:
    outbox = Outbox()
    worker = worker_for(Peer(DeliveryOutcome(OutcomeKind.UNAUTHORISED, "HTTP 401", needs_operator=True)), outbox)
    worker.put(b"1")
    with caplog.at_level(logging.WARNING):
        worker.step()
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert "HTTP 401" in caplog.text
    assert len(outbox) == 1


def test_an_outage_is_logged_at_its_start_and_its_end_and_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    peer, clock = Peer(*[AWAY] * 20), Clock()
    worker = worker_for(peer, clock=clock)
    worker.put(b"1")
    with caplog.at_level(logging.INFO):
        while peer.answers:
            clock.now_s += worker.step()
        worker.step()
    messages = [record.getMessage().split(" peer")[0] for record in caplog.records]
    assert messages[0] == "cannot deliver"
    assert messages[-1] == "delivering again"
    assert 2 < len(messages) < 15


def test_lines_that_the_peer_rejects_are_counted_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    worker = worker_for(
        Peer(DeliveryOutcome(OutcomeKind.DELIVERED_PARTLY, "some", rejected=2, errors=("line 1: x",)), OK)
    )
    for batch in (b"1", b"2"):
        worker.put(batch)
        worker.step()
    [said] = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert "count=2" in said
    assert "line 1: x" in said


def test_a_batch_that_is_too_large_is_split_at_line_ends() -> None:
    peer = Strict(limit=8)
    worker = worker_for(peer)
    worker.put(b"aa\nbb\ncc\ndd\n")
    worker.step()
    assert peer.kept == [b"aa", b"bb", b"cc", b"dd"]
    assert all(batch.endswith(b"\n") for batch in peer.got)


def test_a_bad_line_is_found_dropped_counted_and_reported() -> None:
    reported = []
    peer = Strict()
    worker = worker_for(peer, on_rejected_line=lambda line, reason: reported.append((line, reason)))
    lines = [b"line%d" % number for number in range(64)]
    worker.put(b"\n".join([*lines[:40], b"bad", *lines[40:]]))
    worker.step()
    assert peer.kept == lines
    assert reported == [(b"bad\n", "somewhere")]
    assert len(peer.got) < 20


def test_a_single_line_that_is_too_large_is_dropped() -> None:
    reported = []
    peer = Strict(limit=4)
    worker = worker_for(peer, on_rejected_line=lambda line, _: reported.append(line))
    worker.put(b"aaaaaaaa\nbb\n")
    worker.step()
    assert peer.kept == [b"bb"]
    assert reported == [b"aaaaaaaa\n"]


def test_the_search_for_bad_lines_ends() -> None:
    peer = Strict()
    report = send_splitting(b"bad\n" * 4096, peer.send)
    assert report.dropped_lines == 4096
    assert len(report.rejected_parts) >= MAX_BISECTED_LINES
    assert len(peer.got) < 100


def test_when_the_peer_becomes_unavailable_in_the_middle_only_the_rest_is_kept(tmp_path: Path) -> None:
    peer = Peer(DeliveryOutcome(OutcomeKind.TOO_LARGE), OK, AWAY)
    worker = worker_for(peer, Outbox(tmp_path))
    worker.put(b"1\n2\n")
    worker.step()
    worker.stop(0)
    again = Outbox(tmp_path)
    assert again.lease().batch == b"2\n"
    again.close()


@given(st.lists(st.sampled_from([b"a", b"bb", b"bad", b"c" * 30]), min_size=1, max_size=40), st.booleans())
def test_splitting_never_loses_or_doubles_a_good_line(lines: Any, last_newline: Any) -> None:
    peer = Strict(limit=25)
    report = send_splitting(b"\n".join(lines) + (b"\n" if last_newline else b""), peer.send)
    if len(report.rejected_parts) < MAX_BISECTED_LINES:
        assert peer.kept == [line for line in lines if line in (b"a", b"bb")]
    assert report.rest == b""


@given(
    st.lists(st.binary(min_size=1, max_size=5).map(lambda raw: raw.replace(b"\n", b"x")), min_size=1, max_size=20),
    st.lists(st.sampled_from([OK, AWAY, DeliveryOutcome(OutcomeKind.TOO_LARGE)]), max_size=10),
)
def test_what_was_not_delivered_is_the_rest(lines: Any, answers: Any) -> None:
    batch = b"".join(line + b"\n" for line in lines)
    delivered = []

    def send(part: bytes) -> DeliveryOutcome:
        answer = answers.pop(0) if answers else OK
        if answer is OK:
            delivered.append(part)
        return answer

    report = send_splitting(batch, send)
    if not report.rejected_parts:
        assert b"".join(delivered) + report.rest == batch


def test_stop_interrupts_between_parts_and_keeps_the_rest() -> None:
    sent = []
    report = send_splitting(
        b"1\n2\n3\n4\n",
        lambda part: sent.append(part) or (DeliveryOutcome(OutcomeKind.TOO_LARGE) if part.count(b"\n") > 1 else OK),
        should_continue=lambda: b"1\n" not in sent,
    )
    assert report.rest == b"2\n3\n4\n"


def test_back_off_doubles_up_to_the_cap_and_starts_anew_after_a_success() -> None:
    schedule = Backoff(Middle(), first_s=1.0, max_s=300.0)
    pauses = [schedule.record_failure(0.0) for _ in range(12)]
    assert pauses == [0.5, 1, 2, 4, 8, 16, 32, 64, 128, 150, 150, 150]
    schedule.record_success()
    assert schedule.wait_s(0.0) == 0.0
    assert schedule.record_failure(0.0) == 0.5


@given(st.integers(0, 2**32), st.integers(1, 2000))
def test_pauses_are_drawn_from_the_whole_range(seed: Any, failures: Any) -> None:
    schedule = Backoff(random.Random(seed))  # noqa: S311 a repeatable source
    schedule.failures = failures
    assert 0.0 <= schedule.record_failure(5.0) <= 300.0
    assert schedule.wait_s(1e9) == 0.0


def test_the_thread_delivers_what_is_put_and_stop_says_that_all_was_sent() -> None:
    peer = Peer()
    worker = DeliveryWorker(Outbox(), peer)
    worker.start()
    for number in range(20):
        worker.put(b"%d" % number)
    assert worker.flush(30)
    assert worker.stop(30)
    assert peer.got == [b"%d" % number for number in range(20)]
    assert peer.closed


def test_flush_tries_at_once_and_gives_up_after_a_failure() -> None:
    peer = Peer(*[AWAY] * 1000)
    worker = DeliveryWorker(Outbox(), peer, backoff=Backoff(Middle(), first_s=1e6, max_s=1e6))
    worker.start()
    worker.put(b"1")
    assert not worker.flush(30)
    tried = len(peer.got)
    assert not worker.flush(30)
    assert len(peer.got) == tried + 1
    assert not worker.stop(30)


def test_stop_does_not_wait_for_a_peer_that_hangs(tmp_path: Path) -> None:
    release = threading.Event()

    class Hanging(Peer):
        def send(self, batch: bytes) -> DeliveryOutcome:
            release.wait(30)
            return super().send(batch)

    worker = DeliveryWorker(Outbox(tmp_path), Hanging())
    worker.start()
    worker.put(b"1")
    assert not worker.stop(0)
    assert len(list(tmp_path.glob("*.batch"))) == 1
    release.set()
    worker._thread.join(30)


def test_put_never_waits_for_the_peer() -> None:
    release, entered = threading.Event(), threading.Event()

    class Slow(Peer):
        def send(self, batch: bytes) -> DeliveryOutcome:
            entered.set()
            release.wait(30)
            return super().send(batch)

    outbox = Outbox()
    worker = DeliveryWorker(outbox, Slow())
    worker.start()
    worker.put(b"1")
    assert entered.wait(30)
    worker.put(b"2")
    assert len(outbox) == 2
    release.set()
    assert worker.stop(30)


def test_a_thread_that_ended_by_a_defect_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    ended = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: ended.set())

    class Defective(Peer):
        def send(self, batch: bytes) -> DeliveryOutcome:
            if not ended.is_set():
                raise ZeroDivisionError
            return super().send(batch)

    peer = Defective()
    worker = DeliveryWorker(Outbox(), peer)
    worker.start()
    worker.put(b"1")
    assert ended.wait(30)
    worker._thread.join(30)
    worker.put(b"2")
    assert worker.stop(30)
    assert peer.got == [b"1", b"2"]


@pytest.mark.parametrize("pause_s", [0.0, 0.25])
def test_a_pause_between_batches_can_be_requested(pause_s: Any) -> None:
    worker = worker_for(Peer(), replay_pause_s=pause_s)
    worker.put(b"1")
    assert worker.step() == pause_s


def test_the_first_batch_that_was_taken_is_logged_and_no_other(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    worker = DeliveryWorker(Outbox(None), Peer())
    for _ in range(3):
        worker.put(b"a 1\n")
        worker.step()
    assert [record.getMessage() for record in caplog.records] == ["first batch delivered peer=test"]


def test_lines_that_are_not_wanted_are_logged_once_however_many_come(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    unwanted = [
        DeliveryOutcome(OutcomeKind.DELIVERED, unwanted=(f"{count} lines are thrown away: unknown cluster 'x'",))
        for count in range(5)
    ]
    worker = DeliveryWorker(Outbox(None), Peer(*unwanted))
    for _ in range(5):
        worker.put(b"a 1\n")
        worker.step()
    assert [record.getMessage() for record in caplog.records] == [
        "lines not wanted peer=test what=\"0 lines are thrown away: unknown cluster 'x'\""
    ]
