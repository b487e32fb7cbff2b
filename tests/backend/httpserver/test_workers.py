"""Threads that do what waits: strangers leave most of the processor to others, whatever they ask for."""

import threading
import time

from cc_backend.httpserver.fair_queue import Sender, WorkItem
from cc_backend.httpserver.workers import WorkerPool

STRANGER, KNOWN = Sender("192.0.2.1", is_known=False), Sender("ada", is_known=True)
TAKES_S = 0.05


class Computing:
    """Work that takes the processor for a while, and when it began and ended."""

    def __init__(self, times: int) -> None:
        self.spans: list[tuple[float, float]] = []
        self.done = threading.Semaphore(0)
        self._times = times

    def run(self) -> None:
        began_s, used_s = time.monotonic(), time.thread_time()
        while time.thread_time() < used_s + TAKES_S:
            pass
        self.spans.append((began_s, time.monotonic()))
        self.done.release()

    def by(self, sender: Sender, workers: WorkerPool) -> list[float]:
        """Pauses between one and the next, if this sender wants it done so often."""
        for _ in range(self._times):
            workers.submit(WorkItem(sender, self.run, lambda: None))
        assert all(self.done.acquire(timeout=20) for _ in range(self._times))
        ends = [end_s for _, end_s in self.spans]
        return [began_s - end_s for (began_s, _), end_s in zip(self.spans[1:], ends, strict=False)]


def test_after_work_for_a_stranger_comes_a_rest_as_long() -> None:
    workers = WorkerPool("test", 4, max_waiting=10, max_running=1)
    assert min(Computing(3).by(STRANGER, workers)) >= TAKES_S * 0.9
    workers.stop()


def test_a_defect_in_one_work_costs_neither_the_thread_nor_the_turns_of_its_sender() -> None:
    def fail() -> None:
        raise RuntimeError("a defect")

    workers, done = WorkerPool("test", 1, max_waiting=10, max_running=1), threading.Event()
    for run in (fail, fail, done.set):
        workers.submit(WorkItem(KNOWN, run, lambda: None))
    assert done.wait(20)
    workers.stop()


def test_workers_that_are_told_to_stop_do_what_waits_and_end() -> None:
    done: list[int] = []
    workers = WorkerPool("ending", 2, max_waiting=10, max_running=1)
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("ending-")]
    for number in range(5):
        workers.submit(WorkItem(KNOWN, lambda number=number: done.append(number), lambda: None))
    workers.stop()
    for thread in threads:
        thread.join(20)
    assert sorted(done) == [0, 1, 2, 3, 4]
    assert not any(thread.is_alive() for thread in threads)
