"""A restart: samples come back from the log and from snapshots, the newest first, while the store is in use."""

import logging
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cc_backend.metricstore import MetricSpec, MetricStore, Query
from cc_backend.metricstore.blocks.hot_block import WINDOW_SLOTS
from cc_backend.metricstore.disk import restore_wal
from cc_backend.metricstore.disk.restore_snapshots import SnapshotRestorer
from cc_backend.metricstore.disk.snapshot.window_file import WindowName
from cc_backend.metricstore.disk.wal.write_ahead_log import Segment

METRICS = {"demo": {"load": MetricSpec(60, "avg"), "temp": MetricSpec(60), "power": MetricSpec(10, "sum")}}
WINDOW_S = 60 * WINDOW_SLOTS
T0 = 1_790_000_040 // WINDOW_S * WINDOW_S
HOSTS = [f"n{number}" for number in range(20)]
SLOTS = 3 * WINDOW_SLOTS + 17
NOW = T0 + 60 * SLOTS


def opened(folder: Path | None, now_s: int = NOW, **more: object) -> MetricStore:
    return MetricStore.open(folder, METRICS, now_s=now_s, **more)  # type: ignore[arg-type]  # settings of the test


def value(host: int, slot: int) -> float:
    return float(np.float32(host + slot / 7))


def batch(slot: int, *, hosts: range | None = None, change: float = 0) -> bytes:
    numbers = range(len(HOSTS)) if hosts is None else hosts
    return "\n".join(f"load,cluster=demo,hostname=n{h} value={value(h, slot) + change!r} {T0 + 60 * slot}"
                     for h in numbers).encode()  # fmt: skip


def write(store: MetricStore, slots: range, **more: object) -> None:
    for slot in slots:
        assert store.ingest(batch(slot, **more), received_s=T0 + 60 * slot).durable  # type: ignore[arg-type]


def load(store: MetricStore, host: int = 3, slots: int = SLOTS) -> np.ndarray:
    (series,) = store.query("demo", [Query("load", f"n{host}")], from_s=T0, to_s=T0 + 60 * slots)[0]
    return series.data


def assert_whole(store: MetricStore, slots: int = SLOTS) -> None:
    for host in range(len(HOSTS)):
        expected = np.array([value(host, slot) for slot in range(slots)], np.float32)
        np.testing.assert_array_equal(load(store, host, slots), expected)
    store.validate()


def segments(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.wal"))


def windows(folder: Path) -> list[Path]:
    return sorted((folder / "windows").iterdir())


@pytest.fixture(scope="module")
def three_windows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a snapshot of three windows and a begun one, and nothing in the log."""
    folder = tmp_path_factory.mktemp("store")
    with opened(folder) as store:
        write(store, range(SLOTS))
        assert store.snapshot(NOW)
    return folder


@pytest.fixture
def folder(three_windows: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(three_windows, tmp_path / "store"))


def test_all_samples_come_back_from_snapshots_alone(folder: Path) -> None:
    assert segments(folder) == []
    assert len(windows(folder)) == 4
    with opened(folder) as store:
        assert_whole(store)
        restored = store.counters().restore
        assert (restored.windows, restored.chunks, restored.chunks_adopted) == (4, 4, 4)
        assert restored.restored_bytes > 0
        assert store.last_seen_s("demo", "n3") == NOW - 60


def test_what_came_after_the_snapshot_comes_back_from_the_log(folder: Path) -> None:
    with opened(folder) as store:
        write(store, range(SLOTS, SLOTS + 5))
    with opened(folder) as store:
        assert_whole(store, SLOTS + 5)
        assert store.counters().restore.samples == 5 * len(HOSTS)


def test_a_series_keeps_its_row_so_that_compressed_blocks_fit(folder: Path) -> None:
    with opened(folder) as store:
        write(store, range(SLOTS, SLOTS + 1))
        store.ingest(b"load,cluster=demo,hostname=new value=1 %d" % NOW, received_s=NOW)
        assert store.snapshot(NOW)
    with opened(folder) as store:
        assert_whole(store, SLOTS + 1)
        restored = store.counters().restore
        assert restored.chunks_adopted == restored.chunks == 4


def test_the_last_sample_of_a_slot_counts_wherever_it_is(folder: Path) -> None:
    with opened(folder) as store:
        for change in (1, 2, 3):
            store.ingest(batch(7, change=change), received_s=NOW)
    with opened(folder) as store:
        assert load(store)[7] == value(3, 7) + 3
        assert store.snapshot(NOW)
    with opened(folder) as store:
        assert load(store)[7] == value(3, 7) + 3
        write(store, range(7, 8), change=4)
        store.snapshot(NOW)
        write(store, range(7, 8), change=5)
    with opened(folder) as store:
        assert load(store)[7] == value(3, 7) + 5
        assert np.delete(load(store), 7).tolist() == [value(3, slot) for slot in range(SLOTS) if slot != 7]


class Paused:
    """A store whose restore stands still, after the log and before the snapshots, until it is let go."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self._go = threading.Event()
        real = SnapshotRestorer.restore

        def after_the_signal(restorer: SnapshotRestorer, name: WindowName) -> None:
            self._go.wait()
            real(restorer, name)

        patch.setattr(SnapshotRestorer, "restore", after_the_signal)
        self.store = opened(folder, background=True)
        self.store.ingest(b"", received_s=NOW)  # comes back once series have their rows

    def go_on(self) -> None:
        self._go.set()
        assert self.store.wait_restored()


@pytest.fixture
def paused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Paused]:
    paused = Paused(folder, monkeypatch)
    yield paused
    paused.go_on()
    paused.store.close()


def test_the_store_is_in_use_while_it_restores(paused: Paused) -> None:
    store = paused.store
    assert store.restoring
    assert store.hosts("demo") == sorted(HOSTS), "series are known at once"
    assert np.isnan(load(store)).all()
    write(store, range(SLOTS, SLOTS + 2))
    assert load(store, slots=SLOTS + 2)[SLOTS] == value(3, SLOTS)
    progress = store.counters().restore
    assert progress.running
    assert progress.restored_bytes < progress.total_bytes
    paused.go_on()
    assert not store.restoring
    assert_whole(store, SLOTS + 2)
    progress = store.counters().restore
    assert not progress.running
    assert progress.chunks_adopted == progress.chunks - 1, "the window in use was already begun"


def test_what_comes_in_while_restoring_counts_before_what_was_stored(paused: Paused) -> None:
    store = paused.store
    write(store, range(20, 30), change=0.5)
    paused.go_on()
    expected = [value(3, slot) + (0.5 if 20 <= slot < 30 else 0) for slot in range(SLOTS)]
    np.testing.assert_array_equal(load(store), np.array(expected, np.float32))
    store.validate()


def test_nothing_is_freed_and_no_snapshot_is_taken_while_restoring(paused: Paused, folder: Path) -> None:
    store = paused.store
    write(store, range(SLOTS, SLOTS + 1))
    before = windows(folder)
    assert store.free(before_s=NOW + 10 * WINDOW_S, holds={}) == 0
    assert store.upkeep(NOW + 10 * WINDOW_S, {}) == 0
    assert not store.snapshot(NOW)
    assert windows(folder) == before
    assert len(segments(folder)) == 1
    paused.go_on()
    assert_whole(store, SLOTS + 1)


def test_a_restore_that_is_given_up_costs_nothing(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        paused = Paused(folder, patch)
        write(paused.store, range(SLOTS, SLOTS + 1))
        closing = threading.Thread(target=paused.store.close)
        closing.start()
        paused.go_on()
        closing.join()
        assert not paused.store.snapshot(NOW), "memory is not whole, so the log must stay"
    with opened(folder) as store:
        assert_whole(store, SLOTS + 1)


def test_new_series_take_no_rows_of_old_ones_while_restoring(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(folder) as store:
        write(store, range(SLOTS, SLOTS + 1), hosts=range(10))
    paused = Paused(folder, monkeypatch)
    store = paused.store
    for number in range(40):
        store.ingest(b"load,cluster=demo,hostname=new%d value=1 %d" % (number, NOW), received_s=NOW)
    write(store, range(SLOTS, SLOTS + 1))
    paused.go_on()
    assert_whole(store, SLOTS + 1)
    assert store.counters().restore.chunks_adopted == 3
    store.close()


def test_a_metric_that_is_no_longer_configured_leaves_no_samples_behind(folder: Path) -> None:
    with opened(folder) as store:
        for slot in range(SLOTS):
            lines = [f"{metric},cluster=demo,hostname=n1 value=5 {T0 + 60 * slot}" for metric in ("power", "temp")]
            store.ingest("\n".join(lines).encode(), received_s=NOW)
        assert store.snapshot(NOW)
    others = ["other", *(f"other{number}" for number in range(20))]
    two_less = {"demo": {"load": MetricSpec(60, "avg"), **{name: MetricSpec(60) for name in others}}}
    with MetricStore.open(folder, two_less, now_s=NOW) as store:
        assert store.counters().restore.skipped_samples == 2 * SLOTS
        for name in others:  # one of them takes the row
            store.ingest(f"{name},cluster=demo,hostname=n1 value=1 {NOW}".encode(), received_s=NOW)
            (series,) = store.query("demo", [Query(name, "n1")], from_s=T0, to_s=NOW + 60)[0]
            assert np.flatnonzero(~np.isnan(series.data)).tolist() == [SLOTS]
        assert_whole(store)
        assert store.counters().restore.chunks_adopted == store.counters().restore.chunks


def test_samples_of_a_metric_that_was_not_configured_for_a_while_stay_on_disk(folder: Path) -> None:
    with MetricStore.open(folder, {"demo": {"power": MetricSpec(10, "sum")}}, now_s=NOW) as store:
        assert store.hosts("demo") == []
        store.upkeep(NOW, {})
        assert store.snapshot(NOW)
    with opened(folder) as store:
        assert_whole(store)


@pytest.mark.parametrize("portion", [1, 7, 10**6])
def test_large_segments_come_back_in_portions_from_the_last_to_the_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, portion: int
) -> None:
    with opened(tmp_path) as store:
        for change in range(5):
            write(store, range(3), change=change)
    monkeypatch.setattr(restore_wal, "_SAMPLES_AT_ONCE", portion)
    with opened(tmp_path) as store:
        assert load(store, slots=3).tolist() == [np.float32(value(3, slot) + 4) for slot in range(3)]


@pytest.mark.parametrize("timestep_s", [30, 120, 7])
def test_a_changed_timestep_keeps_what_was_there(folder: Path, timestep_s: int) -> None:
    metrics = {"demo": {"load": MetricSpec(timestep_s, "avg")}}

    def stored(store: MetricStore) -> dict[int, float]:
        (series,) = store.query("demo", [Query("load", "n3")], from_s=T0, to_s=NOW)[0]
        times = series.from_s + timestep_s * np.flatnonzero(~np.isnan(series.data))
        return dict(zip(times.tolist(), series.data[~np.isnan(series.data)].tolist(), strict=True))

    expected = {(T0 + 60 * slot) // timestep_s * timestep_s: value(3, slot) for slot in range(SLOTS)}
    if timestep_s == 7:
        expected = {time_s: v for time_s, v in expected.items() if time_s >= T0 // 7 * 7}
    with MetricStore.open(folder, metrics, now_s=NOW) as store:
        assert stored(store) == expected
        assert store.snapshot(NOW)
        store.validate()
    with MetricStore.open(folder, metrics, now_s=NOW) as store:
        assert stored(store) == expected


def test_a_host_that_is_back_after_others_took_its_place_gets_its_samples(folder: Path) -> None:
    """Its rows belong to others now: the old files say whose they were then."""
    late_s = NOW + 40 * 3600
    line = b"load,cluster=demo,hostname=late%d value=%d %d"
    with opened(folder, late_s) as store:
        for number in range(40):
            store.ingest(line % (number, number, late_s), received_s=late_s)
        store.free(before_s=late_s - 100, holds={})
        assert store.hosts("demo") == sorted(f"late{number}" for number in range(40))
        for number in range(40, 60):
            store.ingest(line % (number, number, late_s), received_s=late_s)
        store.snapshot(late_s)
    for path in folder.glob("windows/*"):
        if str(T0) in path.name:
            pytest.fail("what was freed must not stay on disk")
    with opened(folder, late_s) as store:
        for number in range(60):
            (series,) = store.query("demo", [Query("load", f"late{number}")], from_s=late_s - 60, to_s=late_s + 60)[0]
            assert series.data[~np.isnan(series.data)].tolist() == [number]
        store.validate()


def test_files_of_a_store_without_snapshots_are_read_as_before(tmp_path: Path) -> None:
    with opened(tmp_path, segment_bytes=3000) as store:
        write(store, range(50))
    assert len(segments(tmp_path)) > 1
    with opened(tmp_path) as store:
        assert_whole(store, 50)
    assert not (tmp_path / "windows").exists()


def test_progress_and_outcome_are_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO), opened(folder):
        pass
    assert (
        f"restore began segments=0 windows=4 size_bytes={sum(p.stat().st_size for p in windows(folder))}" in caplog.text
    )
    assert "restored files=0 samples=0 windows=4 chunks=4 as_they_are=4 series=20" in caplog.text


def test_a_defect_that_one_file_brings_to_light_costs_only_that_file(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with opened(folder) as store:
        for slot in range(SLOTS, SLOTS + 4):
            write(store, range(slot, slot + 1))
            store.snapshot(NOW, budget_s=0)  # begins a new segment
    real = restore_wal.WalRestorer.restore
    broken = segments(folder)[1]

    def breaking(restorer: restore_wal.WalRestorer, segment: Segment) -> None:
        if segment.path == broken:
            raise IndexError("a defect")
        real(restorer, segment)

    with monkeypatch.context() as patch:
        patch.setattr(restore_wal.WalRestorer, "restore", breaking)
        with opened(folder) as store:
            assert np.flatnonzero(np.isnan(load(store, slots=SLOTS + 4))).tolist() == [SLOTS + 1]
            assert store.snapshot(NOW)
            assert segments(folder) == [broken], "what is not in memory stays on disk"
    assert "could not be restored because of a bug" in caplog.text
    with opened(folder) as store:
        assert_whole(store, SLOTS + 4)
