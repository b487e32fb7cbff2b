import threading

import pytest

from cc_common.deadline import DeadlineCalls


def _join(name: str) -> None:
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(5)


def test_a_call_that_blocks_is_left_behind_and_not_made_again() -> None:
    release = threading.Event()
    made: list[str] = []

    def call(key: str) -> str:
        made.append(key)
        if key == "blocks":
            release.wait(10)
        return key

    calls = DeadlineCalls("test-left-behind", 0.05, max_blocked=4)
    assert calls.run("blocks", lambda: call("blocks")) is None
    assert calls.run("fine", lambda: call("fine")) == "fine"
    assert calls.run("blocks", lambda: call("blocks")) is None
    assert calls.blocked == ("blocks",)
    assert made == ["blocks", "fine"]
    calls.close()
    release.set()
    _join("test-left-behind")
    assert calls.blocked == ()
    assert calls.run("blocks", lambda: call("blocks"), timeout_s=5) == "blocks"
    calls.close()


def test_threads_do_not_pile_up() -> None:
    release = threading.Event()
    made: list[int] = []

    def call(number: int) -> None:
        made.append(number)
        release.wait(10)

    calls = DeadlineCalls("test-pile", 0.01, max_blocked=4)
    for number in range(8):
        assert calls.run(str(number), lambda number=number: call(number)) is None
    assert len(calls.blocked) == len(made) == 4
    release.set()
    calls.close()


def test_what_a_call_raises_is_raised_in_the_calling_thread() -> None:
    calls = DeadlineCalls("test-raises", 5, max_blocked=1)
    with pytest.raises(ZeroDivisionError):
        calls.run("a", lambda: 1 // 0)
    assert calls.run("a", lambda: 1) == 1
    calls.close()
