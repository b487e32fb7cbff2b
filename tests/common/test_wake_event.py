import signal
import threading
import time
from contextlib import closing

from cc_common.wake_event import WakeEvent

LONG_S = 30.0


def test_waiting_ends_after_its_time() -> None:
    with closing(WakeEvent()) as event:
        event.wait(0.0)
        event.wait(-1.0)


def test_a_wait_ends_when_another_thread_sets_it() -> None:
    with closing(WakeEvent()) as event:
        waiter = threading.Thread(target=event.wait, args=(LONG_S,))
        waiter.start()
        event.set()
        waiter.join(LONG_S / 2)
        assert not waiter.is_alive()


def test_what_was_set_before_ends_the_next_wait_and_only_that() -> None:
    with closing(WakeEvent()) as event:
        event.set()
        event.set()
        begun_s = time.monotonic()
        event.wait(LONG_S)
        assert time.monotonic() - begun_s < LONG_S / 2
        begun_s = time.monotonic()
        event.wait(0.05)
        assert time.monotonic() - begun_s >= 0.05


def test_a_full_pipe_does_not_block() -> None:
    with closing(WakeEvent()) as event:
        for _ in range(100_000):
            event.set()
        event.wait(LONG_S)


def test_a_signal_handler_can_set_it() -> None:
    with closing(WakeEvent()) as event:
        before = signal.signal(signal.SIGUSR1, lambda *_: event.set())
        try:
            signal.raise_signal(signal.SIGUSR1)
            event.wait(LONG_S)
        finally:
            signal.signal(signal.SIGUSR1, before)


def test_after_its_end_no_wait_takes_any_time() -> None:
    with closing(WakeEvent()) as event:
        event.end()
        begun_s = time.monotonic()
        event.wait(LONG_S)
        event.wait(LONG_S)
        assert time.monotonic() - begun_s < LONG_S / 2
        assert event.ended


def test_a_signal_that_comes_after_the_end_changes_nothing() -> None:
    event = WakeEvent()
    event.close()
    event.set()
    event.end()
    event.wait(LONG_S)
