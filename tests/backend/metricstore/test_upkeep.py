"""What gives way when the store may not take more memory: nothing is lost as long as there is a disk."""

import errno
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from cc_backend.metricstore import MetricSpec, MetricStore, Query
from cc_backend.metricstore.blocks.hot_block import WINDOW_SLOTS
from cc_backend.metricstore.capacity import Step
from cc_backend.metricstore.disk.snapshot.snapshot_folder import SnapshotFolder
from cc_backend.metricstore.store import RETENTION_S

METRICS = {"demo": {"load": MetricSpec(60, "avg")}}
WINDOW_S = 60 * WINDOW_SLOTS
T0 = 1_790_000_040 // WINDOW_S * WINDOW_S
WINDOWS = 6
NOW = T0 + (WINDOWS - 1) * WINDOW_S + 600
HOSTS, CORES = 32, 64  # two chunks
QUIET: dict[str, dict[str, int]] = {}


def noise(window: int) -> np.ndarray:
    """Samples of all series in some slots of a window, in full precision so that they do not shrink to nothing."""
    return np.random.default_rng(window).normal(100, 10, (HOSTS * CORES, 5)).astype(np.float32)


def fill(store: MetricStore) -> None:
    for window in range(WINDOWS):
        samples = noise(window)
        for slot in range(samples.shape[1]):
            time_s = T0 + window * WINDOW_S + 60 * slot
            lines = [
                f"load,cluster=demo,hostname=n{row // CORES},type=core,type-id={row % CORES} value={v!r} {time_s}"
                for row, v in enumerate(samples[:, slot].tolist())
            ]
            assert store.ingest("\n".join(lines).encode(), received_s=NOW).accepted == HOSTS * CORES


def held(store: MetricStore, host: int) -> list[int]:
    """The windows of which all samples of a host are there and right."""
    query = Query("load", f"n{host}", "core", tuple(map(str, range(CORES))))
    (rows,) = store.query("demo", [query], from_s=T0, to_s=T0 + WINDOWS * WINDOW_S)
    found = []
    for window in range(WINDOWS):
        data = np.array([row.data[window * WINDOW_SLOTS : window * WINDOW_SLOTS + 5] for row in rows])
        if np.isnan(data).all():
            continue
        np.testing.assert_array_equal(data, noise(window)[host * CORES : (host + 1) * CORES])
        found.append(window)
    return found


def opened(folder: Path | None, cap_bytes: int) -> MetricStore:
    return MetricStore.open(folder, METRICS, now_s=NOW, cap_bytes=cap_bytes, hot_s=100 * WINDOW_S)


@pytest.fixture(scope="module")
def full_bytes() -> int:
    """What all samples take, and the tables beside them."""
    with opened(None, 0) as store:
        fill(store)
        return store.capacity(0).memory.hot_bytes


@pytest.fixture(scope="module")
def table_bytes() -> int:
    with opened(None, 0) as store:
        fill(store)
        return store.capacity(0).memory.table_bytes


@pytest.fixture
def store(full_bytes: int, table_bytes: int, tmp_path: Path) -> Iterator[MetricStore]:
    """With a disk, and a cap of what two of six windows take."""
    with opened(tmp_path / "store", table_bytes + full_bytes // 3) as store:
        fill(store)
        yield store


def test_without_a_cap_nothing_gives_way(full_bytes: int, tmp_path: Path) -> None:
    with opened(tmp_path, 0) as store:
        fill(store)
        assert store.upkeep(NOW, QUIET) == 0
        assert store.capacity(0).memory.hot_bytes == full_bytes


def test_over_the_cap_ended_windows_are_compressed_first(store: MetricStore, caplog: pytest.LogCaptureFixture) -> None:
    assert store.upkeep(NOW, QUIET) > 0
    memory = store.capacity(0).memory
    assert memory.cap_step == Step.COMPRESS
    assert memory.hot_bytes + memory.cold_bytes + memory.table_bytes < memory.cap_bytes
    assert held(store, 7) == list(range(WINDOWS))
    assert "near memory-cap step=compress" in caplog.text
    store.upkeep(NOW, QUIET)
    assert caplog.text.count("near memory-cap") == 1
    store.validate()


def test_then_they_are_left_on_disk_only_and_nothing_is_lost(
    full_bytes: int, table_bytes: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cap_bytes = table_bytes + full_bytes // WINDOWS + 60_000
    with opened(tmp_path, cap_bytes) as store:
        fill(store)
        store.upkeep(NOW, QUIET)
        assert store.capacity(0).memory.cap_step == Step.TO_DISK
        assert "step=to_disk" in caplog.text
        assert held(store, 7) == list(range(WINDOWS))
        store.validate()
        store.snapshot(NOW)
        before_bytes = store.capacity(0).memory.hot_bytes + store.capacity(0).memory.cold_bytes
    with opened(tmp_path, cap_bytes) as again:
        assert again.capacity(0).memory.cold_bytes <= before_bytes
        assert held(again, 7) == list(range(WINDOWS))
    with opened(tmp_path, 1000) as again:
        assert again.capacity(0).memory.cold_bytes < 50_000, "with little room the restore leaves samples on disk"
        assert again.counters().restore.chunks_adopted == again.counters().restore.chunks
        assert held(again, 7) == list(range(WINDOWS))


def test_without_a_disk_the_oldest_samples_go_those_of_running_jobs_last(full_bytes: int, table_bytes: int) -> None:
    protected = {"demo": {"n0": T0}}
    with opened(None, table_bytes + full_bytes // WINDOWS + 150_000) as store:
        fill(store)
        store.upkeep(NOW, protected)
        assert store.capacity(0).memory.cap_step == Step.DROP
        assert held(store, 0) == list(range(WINDOWS))
        assert held(store, HOSTS - 1)[-1] == WINDOWS - 1
        assert len(held(store, HOSTS - 1)) < WINDOWS
        store.validate()


def test_in_the_end_samples_of_running_jobs_go_and_then_new_ones_are_refused(table_bytes: int) -> None:
    protected = {"demo": {f"n{host}": T0 for host in range(HOSTS)}}
    line = b"load,cluster=demo,hostname=n0,type=core,type-id=0 value=1 %d"
    with opened(None, table_bytes + 100_000) as store:
        fill(store)
        store.upkeep(NOW, protected)
        assert store.capacity(0).memory.cap_step == Step.REFUSE
        assert held(store, 0) == [WINDOWS - 1], "what is still being filled stays"
        refused = store.ingest(line % NOW, received_s=NOW)
        assert (refused.full, refused.durable, refused.accepted) == (True, False, 0)
        assert store.capacity(0).memory.refusing
        later_s = NOW + 2 * WINDOW_S
        store.upkeep(later_s, QUIET)
        assert not store.capacity(0).memory.refusing
        assert store.ingest(line % later_s, received_s=later_s).accepted == 1


def test_what_could_not_be_saved_goes_from_memory_and_stays_in_the_log(
    tmp_path: Path, full_bytes: int, table_bytes: int
) -> None:
    """The disk takes no snapshots, so that there is nothing to leave the samples to."""
    (tmp_path / "windows").write_text("in the way of the folder")
    with opened(tmp_path, table_bytes + full_bytes // WINDOWS + 150_000) as store:
        fill(store)
        store.upkeep(NOW, QUIET)
        assert store.capacity(0).memory.cap_step == Step.DROP
        assert len(held(store, 1)) < WINDOWS
        assert store.counters().snapshots.fault
        assert list(tmp_path.glob("*.wal")), "the log stays, where more memory finds the samples again"


def test_what_goes_from_memory_stays_on_disk_as_far_as_it_was_saved_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, full_bytes: int, table_bytes: int
) -> None:
    late = b"load,cluster=demo,hostname=n%d,type=core,type-id=0 value=1 %d"

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with opened(tmp_path, table_bytes + full_bytes // WINDOWS + 150_000) as store:
        fill(store)
        assert store.snapshot(NOW)
        for window in range(WINDOWS - 1):
            for host in range(HOSTS):
                time_s = T0 + window * WINDOW_S + 60 * 100
                assert store.ingest(late % (host, time_s), received_s=NOW).durable
        monkeypatch.setattr(SnapshotFolder, "write_temporary", full)
        store.upkeep(NOW, QUIET)
        assert store.capacity(0).memory.cap_step == Step.DROP
        assert len(held(store, 1)) < WINDOWS
    with opened(tmp_path, 0) as again:
        assert held(again, 1) == list(range(WINDOWS))


def test_series_that_are_forgotten_do_not_count_for_the_forecast() -> None:
    line = b"load,cluster=demo,hostname=%s value=1 %d"
    with opened(None, 0) as store:
        store.ingest(line % (b"old", T0), received_s=T0)
        store.ingest(line % (b"new", NOW), received_s=NOW)
        assert store.capacity(NOW).series == 2
        store.free(before_s=NOW - 60, holds=QUIET)
        found = store.capacity(NOW)
    assert (found.series, found.samples_per_s) == (1, pytest.approx(1 / 60))


def test_samples_go_by_one_time_and_the_sign_of_life_is_of_another(tmp_path: Path) -> None:
    trusted_s = NOW + 10 * RETENTION_S
    with opened(tmp_path, cap_bytes=1) as store:  # so little that a snapshot is part of the upkeep
        store.ingest(b"load,cluster=demo,hostname=n0 value=1 %d" % T0, received_s=NOW)
        store.upkeep(NOW, QUIET, trusted_s=trusted_s)
        assert store.hosts("demo") == ["n0"]
    with opened(tmp_path, 0) as store:
        assert store.last_heartbeat_s == trusted_s


def test_an_outage_is_remembered_for_two_retentions(tmp_path: Path) -> None:
    """As long as a job that was archived late may ask why its samples are missing."""
    retention_s = 3600
    with MetricStore.open(tmp_path, METRICS, now_s=T0, retention_s=retention_s) as first:
        first.upkeep(T0, {})
    with MetricStore.open(tmp_path, METRICS, now_s=T0 + 600, retention_s=retention_s) as second:
        (outage,) = second.downtimes()
        assert outage[1] == T0 + 600
        for after_s, remembered in ((retention_s + 1, True), (2 * retention_s, True), (2 * retention_s + 1, False)):
            second.upkeep(outage[1] + after_s, {})
            assert (second.downtimes() == [outage]) is remembered
