"""Questions about samples that are on disk only: a disk that does not answer holds up nobody else."""

import errno
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cc_backend.metricstore import MetricSpec, MetricStore, Query
from cc_backend.metricstore.blocks.file_slice import SliceFile
from cc_backend.metricstore.blocks.hot_block import WINDOW_SLOTS
from cc_backend.metricstore.gaps.analysis import GapQuery
from cc_backend.model import GapReason

METRICS = {"demo": {"load": MetricSpec(60, "avg"), "flops": MetricSpec(60, "sum")}}
WINDOW_S = 60 * WINDOW_SLOTS
T0 = 1_790_000_040 // WINDOW_S * WINDOW_S
NOW = T0 + 10 * WINDOW_S
CORES = 20
OLD = {"from_s": T0, "to_s": T0 + 180}
TIMEOUT_S = 20


def opened(folder: Path, **more: Any) -> MetricStore:
    return MetricStore.open(folder, METRICS, now_s=NOW, **more)


def put(store: MetricStore, time_s: int, value: float, host: str = "n1", received_s: int = NOW) -> None:
    lines = [f"load,cluster=demo,hostname={host} value={value} {time_s}"]
    lines += [f"flops,cluster=demo,hostname={host},type=core,type-id={n} value={value} {time_s}" for n in range(CORES)]
    assert store.ingest("\n".join(lines).encode(), received_s=received_s).durable


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MetricStore]:
    """Three samples a series in each of two old windows, on disk only, and three new ones in memory."""
    with opened(tmp_path) as store:
        for window in range(3):
            for slot in range(3):
                put(store, T0 + window * WINDOW_S + 60 * slot, 10 * window + slot)
        store.upkeep(NOW, {})
        store.snapshot(NOW)
    with opened(tmp_path, cap_bytes=2) as store:  # the newest window is the only one that comes back into memory
        for slot in range(3):
            put(store, NOW + 60 * slot, slot)
        yield store


def samples(store: MetricStore, query: Query, from_s: int = T0) -> list[list[float]]:
    (rows,) = store.query("demo", [query], from_s=from_s, to_s=from_s + 180)
    return [row.data.tolist() for row in rows]


QUESTIONS: dict[str, tuple[Callable[[MetricStore], Any], Any]] = {
    "samples": (lambda store: samples(store, Query("load", "n1")), [[0, 1, 2]]),
    "of parts": (lambda store: samples(store, Query("flops", "n1", "core", ("0", "7"))), [[0, 1, 2]] * 2),
    "combined": (lambda store: samples(store, Query("flops", "n1")), [[0, CORES, 2 * CORES]]),
    "statistics": (lambda store: store.statistics("demo", [Query("load", "n1")], **OLD)[0][0].max, 2),
    "statistics of a combination": (
        lambda store: store.statistics("demo", [Query("flops", "n1")], **OLD)[0][0].avg,
        CORES,
    ),
    "reasons": (
        lambda store: store.explain_gaps("demo", [GapQuery(Query("load", "n1"), T0, T0 + 600)], now_s=NOW)[0][0].from_s,
        T0 + 180,
    ),
    "inventory": (
        lambda store: (store.inventory(("demo", "n1")) or {})["load"],
        [{"start": T0, "end": NOW + 180, "len": 10 * WINDOW_SLOTS + 3, "samples": 12}],
    ),
}


class SlowDisk:
    """Lets nothing be read until it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked, self.answers = threading.Event(), threading.Event()
        read = SliceFile.read

        def wait(file: SliceFile, offset: int, length: int) -> bytes:
            self.asked.set()
            assert self.answers.wait(2 * TIMEOUT_S)
            return read(file, offset, length)

        monkeypatch.setattr(SliceFile, "read", wait)


@pytest.fixture
def slow_disk(store: MetricStore, monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    disk = SlowDisk(monkeypatch)
    yield disk
    disk.answers.set()


@pytest.fixture
def others(slow_disk: SlowDisk) -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool
        slow_disk.answers.set()


def in_time(work: "Future[Any]") -> Any:
    return work.result(TIMEOUT_S)


@pytest.mark.parametrize("question", QUESTIONS)
def test_while_the_disk_does_not_answer_all_else_goes_on(
    question: str, store: MetricStore, slow_disk: SlowDisk, others: ThreadPoolExecutor
) -> None:
    ask, wanted = QUESTIONS[question]
    answer = others.submit(ask, store)
    assert slow_disk.asked.wait(TIMEOUT_S)
    in_time(others.submit(put, store, NOW + 180, 3))
    assert in_time(others.submit(samples, store, Query("load", "n1"), NOW + 60)) == [[1, 2, 3]]
    there = [GapQuery(Query("load", "n1"), NOW, NOW + 240)]
    assert in_time(others.submit(store.explain_gaps, "demo", there, now_s=NOW + 600)) == [[]]
    assert in_time(others.submit(store.counters)).series == CORES + 1
    assert in_time(others.submit(store.host_health, "demo", "n1", ["load"], now_s=NOW)).healthy == ("load",)
    assert in_time(others.submit(store.free, before_s=T0 - WINDOW_S, holds={})) == 0
    assert not answer.done()
    slow_disk.answers.set()
    assert in_time(answer) == wanted
    in_time(others.submit(store.validate))


@pytest.mark.parametrize("question", QUESTIONS)
def test_samples_that_the_disk_does_not_give_are_missing_and_the_log_says_so(
    question: str, store: MetricStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    ask, wanted = QUESTIONS[question]
    with monkeypatch.context() as patched, caplog.at_level(logging.ERROR):
        patched.setattr(SliceFile, "read", fail)
        found, told = ask(store), len(caplog.records)
        ask(store)
    assert repr(found) != repr(wanted)
    assert 1 <= told == len(caplog.records)
    assert all("Input/output error; its samples are missing" in record.getMessage() for record in caplog.records)
    assert ask(store) == wanted


# What happens while the disk is read


def once(monkeypatch: pytest.MonkeyPatch, action: Callable[[], None]) -> list[str]:
    """Do something the first time that something is read from disk; what was done."""
    read, done = SliceFile.read, list[str]()

    def act(file: SliceFile, offset: int, length: int) -> bytes:
        if not done:
            done.append("done")
            action()
        return read(file, offset, length)

    monkeypatch.setattr(SliceFile, "read", act)
    return done


def write_late(store: MetricStore) -> None:
    put(store, T0 + 60, 99)


def save_anew(store: MetricStore) -> None:
    write_late(store)
    store.upkeep(NOW, {})
    assert store.snapshot(NOW)


def forget(store: MetricStore) -> None:
    store.free(before_s=NOW - WINDOW_S, holds={})


def forget_and_hand_on(store: MetricStore) -> None:
    """Nothing of the host is left, and another one has its numbers and rows."""
    store.free(before_s=NOW + WINDOW_S, holds={})
    assert store.hosts("demo") == []
    for slot in range(3):
        put(store, T0 + 60 * slot, 77, host="n2")


@pytest.mark.parametrize("action", [write_late, save_anew, forget, forget_and_hand_on])
@pytest.mark.parametrize("question", ["samples", "of parts", "combined", "statistics", "statistics of a combination"])
def test_an_answer_is_that_of_the_moment_of_its_question(
    question: str, action: Callable[[MetricStore], None], store: MetricStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask, wanted = QUESTIONS[question]
    done = once(monkeypatch, lambda: action(store))
    assert ask(store) == wanted
    assert done
    store.validate()
    if action is forget_and_hand_on:
        assert samples(store, Query("load", "n1")) == []
        assert samples(store, Query("load", "n2")) == [[77] * 3]
    else:
        expected = [np.nan] * 3 if action is forget else [0, 99, 2]
        np.testing.assert_array_equal(samples(store, Query("load", "n1")), [expected])


def test_between_two_portions_no_host_gets_the_samples_of_another(
    store: MetricStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cc_backend.metricstore.query.series_reader._MAX_BATCH_SERIES", 1)
    queries = [Query("load", "n1"), Query("flops", "n1"), Query("flops", "n2")]
    once(monkeypatch, lambda: forget_and_hand_on(store))
    rows = store.query("demo", queries, **OLD)
    assert [[one.data.tolist() for one in row] for row in rows] == [[[0, 1, 2]], [], [[77 * CORES] * 3]]


def test_between_two_looks_at_a_host_it_does_not_get_the_samples_of_another(
    store: MetricStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the first few of many parts are looked at first."""

    def hand_on() -> None:
        store.free(before_s=NOW + WINDOW_S, holds={})
        for slot in range(10):
            put(store, T0 + 60 * slot, 77, host="n2")

    asked = [GapQuery(Query("flops", "n1"), T0, T0 + 600)]
    done = once(monkeypatch, hand_on)
    ((found,),) = store.explain_gaps("demo", asked, now_s=NOW)
    assert done
    assert (found.reason, found.from_s, found.to_s) == (GapReason.HOST_SILENT, T0 + 180, T0 + 600)


def test_what_is_forgotten_while_the_inventory_is_read_is_not_in_it(
    store: MetricStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    once(monkeypatch, lambda: forget_and_hand_on(store))
    found = store.inventory(("demo", "n1")) or {}
    assert list(found) == ["load"]
    assert found["load"][0]["samples"] == 12


class FailingDisk:
    """Fails to read as long as it is told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails = True
        read = SliceFile.read

        def fail(file: SliceFile, offset: int, length: int) -> bytes:
            if self.fails:
                raise OSError(errno.EIO, "Input/output error")
            return read(file, offset, length)

        monkeypatch.setattr(SliceFile, "read", fail)


@pytest.fixture
def failing_disk(store: MetricStore, monkeypatch: pytest.MonkeyPatch) -> FailingDisk:
    return FailingDisk(monkeypatch)


LATE = T0 + 60 * 4
BEFORE = [0, 1, 2]


def five(store: MetricStore) -> list[float]:
    """The first slots of the oldest window, in which the fourth one is empty and the fifth one came late."""
    (rows,) = store.query("demo", [Query("load", "n1")], from_s=T0, to_s=T0 + 300)
    return [value for value in rows[0].data.tolist() if not np.isnan(value)]


def test_a_late_sample_does_not_take_the_place_of_what_the_disk_does_not_give_at_the_moment(
    store: MetricStore, failing_disk: FailingDisk, tmp_path: Path
) -> None:
    put(store, LATE, 9)
    assert five(store) == [9]
    assert not store.snapshot(NOW)
    failing_disk.fails = False
    assert store.snapshot(NOW)
    assert five(store) == [*BEFORE, 9]
    store.close()
    with opened(tmp_path) as again:
        assert five(again) == [*BEFORE, 9]


def test_the_log_stays_while_the_disk_does_not_give_what_a_snapshot_is_to_hold(
    store: MetricStore, failing_disk: FailingDisk, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    put(store, LATE, 9)
    assert not store.snapshot(NOW)
    assert not store.snapshot(NOW)
    said = [record.message for record in caplog.records if "snapshots in" in record.message]
    assert len(said) == 1
    assert "cannot be read (Input/output error)" in said[0]
    assert "Input/output error" in store.counters().snapshots.fault
    failing_disk.fails = False
    shutil.copytree(tmp_path, tmp_path / "killed")
    with opened(tmp_path / "killed") as again:
        assert five(again) == [*BEFORE, 9]


def test_windows_that_can_be_saved_are_saved_though_another_one_cannot(
    store: MetricStore, failing_disk: FailingDisk, tmp_path: Path
) -> None:
    before = {path.name for path in (tmp_path / "windows").iterdir()}
    put(store, LATE, 9)
    assert not store.snapshot(NOW)
    after = {path.name for path in (tmp_path / "windows").iterdir()}
    assert after - before == {f"60-{NOW}.win1"}


def test_a_later_sample_counts_where_the_disk_has_one_for_the_same_slot(
    store: MetricStore, failing_disk: FailingDisk
) -> None:
    put(store, T0 + 60, 7)
    failing_disk.fails = False
    assert store.snapshot(NOW)
    assert five(store) == [0, 7, 2]


def test_what_the_disk_never_gives_is_given_up_in_the_end(
    store: MetricStore, failing_disk: FailingDisk, caplog: pytest.LogCaptureFixture
) -> None:
    store._disk._writer._give_up_after_s = 0  # type: ignore[union-attr]
    put(store, LATE, 9)
    assert not store.snapshot(NOW)  # the first time that it is seen
    assert store.snapshot(NOW)
    assert five(store) == [9]
    assert "samples that only it has are lost" in caplog.text
    assert store.counters().snapshots.fault == ""


def test_a_fault_that_passed_gives_no_right_to_give_up_at_the_next_one(
    store: MetricStore, failing_disk: FailingDisk
) -> None:
    store._disk._writer._give_up_after_s = 0  # type: ignore[union-attr]
    put(store, LATE, 9)
    assert not store.snapshot(NOW)
    failing_disk.fails = False
    assert store.snapshot(NOW)
    (grid,) = store._table.columns.grids
    grid.windows.compress(NOW // 60, store._memory)
    assert grid.windows.evict(T0 // WINDOW_S) > 0
    failing_disk.fails = True
    put(store, LATE, 10)
    assert not store.snapshot(NOW)
    failing_disk.fails = False
    assert store.snapshot(NOW)
    assert five(store) == [*BEFORE, 10]
