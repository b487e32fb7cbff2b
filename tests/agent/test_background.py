from __future__ import annotations

import threading

import pytest

from cc_agent.collectors.background import BackgroundReader


class Source:
    """A source that answers when it is let."""

    def __init__(self) -> None:
        self.release = threading.Event()
        self.error: Exception | None = None
        self.reads = 0

    def read(self) -> int:
        self.release.wait(10)
        self.reads += 1
        if self.error is not None:
            raise self.error
        return self.reads


def _finish(source: Source) -> None:
    readers = [thread for thread in threading.enumerate() if thread.name == "slow"]
    source.release.set()
    for thread in readers:
        thread.join(10)


def test_nothing_is_there_before_a_reading_returned_and_each_result_is_given_once() -> None:
    source = Source()
    reader = BackgroundReader("slow", source.read)
    assert reader.start()
    assert reader.take() is None
    _finish(source)
    assert reader.take() == 1
    assert reader.take() is None
    assert not reader.running


def test_a_source_that_hangs_is_not_asked_again_meanwhile() -> None:
    source = Source()
    reader = BackgroundReader("slow", source.read)
    assert [reader.start() for _ in range(3)] == [True, False, False]
    _finish(source)
    assert source.reads == 1
    assert reader.start()


def test_a_failure_is_raised_where_the_result_is_taken() -> None:
    source = Source()
    source.error = OSError("no BMC")
    reader = BackgroundReader("slow", source.read)
    reader.start()
    _finish(source)
    with pytest.raises(OSError, match="no BMC"):
        reader.take()
    assert reader.take() is None


def test_what_a_closed_reader_was_still_reading_is_dropped() -> None:
    source = Source()
    reader = BackgroundReader("slow", source.read)
    reader.start()
    reader.close()
    _finish(source)
    assert reader.take() is None
    assert not reader.running


def test_whoever_waits_gets_a_reading_that_returns_in_time() -> None:
    source = Source()
    reader = BackgroundReader("slow", source.read)
    assert reader.wait(0.0), "nothing was begun"
    reader.start()
    assert not reader.wait(0.001)
    _finish(source)
    assert reader.wait(30.0)
    assert reader.take() is not None
