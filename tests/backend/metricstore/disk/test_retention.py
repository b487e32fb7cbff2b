import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from cc_backend.metricstore import MetricSpec, MetricStore, Query
from cc_backend.metricstore.disk import retention

METRICS = {"demo": {"load": MetricSpec(60)}}
START = 1_790_000_040
HOUR = 3600
NAMES = ("n1", "n2", "n3")


def opened(folder: Path, hour: int = 0) -> MetricStore:
    return MetricStore.open(folder, METRICS, now_s=START + hour * HOUR)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def store(folder: Path) -> Iterator[MetricStore]:
    """Five hours of three hosts, one sample an hour, one segment an hour; the last is in use."""
    with opened(folder) as store:
        for hour in range(5):
            now_s = START + hour * HOUR
            batch = "\n".join(f"load,cluster=demo,hostname={name} value={hour} {now_s}" for name in NAMES)
            assert store.ingest(batch.encode(), received_s=now_s).durable
        yield store


def segments(folder: Path) -> int:
    return len(list(folder.glob("*.wal")))


def hours(store: MetricStore, host: str) -> list[float]:
    row = store.query("demo", [Query("load", host)], from_s=START - HOUR, to_s=START + 10 * HOUR)[0]
    return [value for series in row for value in series.data.tolist() if value == value]  # noqa: PLR0124 not NaN


def restarted(folder: Path) -> dict[str, list[float]]:
    with opened(folder, 5) as store:
        store.validate()
        return {name: hours(store, name) for name in NAMES}


def test_segments_go_once_all_their_samples_are_too_old(store: MetricStore, folder: Path) -> None:
    assert segments(folder) == 5
    store.free(before_s=START + 2 * HOUR, holds={})
    assert segments(folder) == 3
    store.close()
    assert restarted(folder) == {name: [2, 3, 4] for name in NAMES}


def test_the_segment_in_use_stays(store: MetricStore, folder: Path) -> None:
    store.free(before_s=START + 100 * HOUR, holds={})
    assert segments(folder) == 1


def test_samples_of_protected_hosts_survive_from_their_time_on(store: MetricStore, folder: Path) -> None:
    store.free(before_s=START + 3 * HOUR, holds={"demo": {"n2": START + HOUR, "n3": START + 2 * HOUR}})
    assert segments(folder) == 4
    store.close()
    assert restarted(folder) == {"n1": [3, 4], "n2": [1, 2, 3, 4], "n3": [2, 3, 4]}


def test_a_rewritten_segment_is_not_read_again_while_nothing_changes(
    store: MetricStore, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    protected = {"demo": {"n2": START, "n3": START + 2 * HOUR}}
    store.free(before_s=START + 3 * HOUR, holds=protected)
    monkeypatch.setattr(retention, "rewrite_segment", None)
    store.free(before_s=START + 3 * HOUR, holds=protected)
    assert segments(folder) == 5


def test_when_the_jobs_are_over_the_rest_goes(store: MetricStore, folder: Path) -> None:
    store.free(before_s=START + 3 * HOUR, holds={"demo": {"n2": START, "n3": START}})
    store.free(before_s=START + 3 * HOUR, holds={"demo": {"n3": START}})
    store.free(before_s=START + 3 * HOUR, holds={})
    assert segments(folder) == 2
    assert store.counters().hosts == 3


def test_protection_counts_after_a_restart_too(store: MetricStore, folder: Path) -> None:
    store.close()
    with opened(folder, 5) as again:
        again.free(before_s=START + 4 * HOUR, holds={"demo": {"n1": START}})
        assert hours(again, "n1") == [0, 1, 2, 3, 4]
    assert restarted(folder) == {"n1": [0, 1, 2, 3, 4], "n2": [4], "n3": [4]}


def test_a_damaged_file_is_kept_as_long_as_its_samples_would_be(
    store: MetricStore, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store.close()
    damaged = min(folder.glob("*.wal"))
    damaged.write_bytes(b"nothing to read here")
    os.utime(damaged, (START + 2 * HOUR, START + 2 * HOUR))
    with opened(folder, 5) as again:
        assert f"file={damaged} is damaged: skipped_bytes=20" in caplog.text
        again.free(before_s=START + HOUR, holds={})
        assert damaged.exists()
        again.free(before_s=START + 3 * HOUR, holds={})
        assert not damaged.exists()


def test_a_rewrite_that_fails_leaves_the_file_as_it_was(
    store: MetricStore, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = {path.name: path.read_bytes() for path in folder.glob("*.wal")}
    with monkeypatch.context() as patch:
        patch.setattr(retention, "write_all", full)
        store.free(before_s=START + HOUR, holds={"demo": {"n1": START}})
    assert {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "lock"} == before
    assert "No space left" in caplog.text
    store.free(before_s=START + HOUR, holds={"demo": {"n1": START}})
    assert min(folder.glob("*.wal")).stat().st_size < len(min(before.items())[1])


def test_a_segment_that_cannot_be_read_for_a_moment_keeps_what_a_long_job_needs_of_it(
    store: MetricStore, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def too_many(*_: object) -> bytes:
        raise OSError(errno.EMFILE, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", too_many)
        store.free(before_s=START + 3 * HOUR, holds={"demo": {"n1": START}})
    assert segments(folder) == 5
    assert "cannot be removed although it is too old" in caplog.text
    store.free(before_s=START + 3 * HOUR, holds={"demo": {"n1": START}})
    store.close()
    assert restarted(folder)["n1"] == [0, 1, 2, 3, 4]


def test_leftovers_of_an_interrupted_rewrite_are_removed_at_the_start(store: MetricStore, folder: Path) -> None:
    store.close()
    (folder / "000000000001.tmp").write_bytes(b"half")
    restarted(folder)
    assert not list(folder.glob("*.tmp"))
