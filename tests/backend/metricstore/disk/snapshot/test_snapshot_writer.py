"""A pass while series come, go to another timestep, or are no longer configured."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cc_backend.metricstore import MetricSpec, MetricStore, Query
from cc_backend.metricstore.blocks.codec import choose_codec, decode_all
from cc_backend.metricstore.blocks.hot_block import CHUNK_ROWS, WINDOW_SLOTS
from cc_backend.metricstore.disk.snapshot.snapshot_folder import SnapshotFolder
from cc_backend.metricstore.disk.snapshot.snapshot_format import read_keys, read_payload
from cc_backend.metricstore.disk.snapshot.window_file import open_reader, read_window_entries
from cc_backend.metricstore.model import MetricTable

METRICS = {"demo": {"load": MetricSpec(60, "avg"), "power": MetricSpec(60, "sum"), "temp": MetricSpec(120)}}
SLOWER = {"demo": {**METRICS["demo"], "load": MetricSpec(120, "avg")}}
WINDOW_S = 60 * WINDOW_SLOTS
T0 = 1_790_000_040 // (2 * WINDOW_S) * 2 * WINDOW_S
SLOTS = range(0, 3 * WINDOW_SLOTS, 2)
NOW = T0 + 3 * WINDOW_S


def opened(folder: Path, metrics: MetricTable = METRICS) -> MetricStore:
    return MetricStore.open(folder, metrics, now_s=NOW)


def send(store: MetricStore, slots: range, metrics: tuple[str, ...] = ("power", "load", "temp")) -> None:
    for slot in slots:
        lines = [f"{metric},cluster=demo,hostname=n1 value={slot} {T0 + 60 * slot}" for metric in metrics]
        assert store.ingest("\n".join(lines).encode(), received_s=NOW).durable


def values(store: MetricStore, metric: str, host: str = "n1", part: str = "") -> list[float]:
    query = Query(metric, host, "core", (part,)) if part else Query(metric, host)
    rows = store.query("demo", [query], from_s=T0, to_s=NOW)[0]
    return [value for row in rows for value in row.data.tolist() if value == value]  # noqa: PLR0124 not NaN


def assert_whole(folder: Path, metrics: MetricTable) -> None:
    with opened(folder, metrics) as store:
        for metric in METRICS["demo"]:
            assert values(store, metric) == list(SLOTS), metric
        store.validate()


def assert_no_samples_are_nobodys(folder: Path) -> None:
    files = SnapshotFolder(folder / "windows")
    for name in files.windows():
        with open_reader(files.path(name)) as (read, size_bytes):
            for entry in read_window_entries(read, size_bytes, name)[0]:
                there = ~np.isnan(decode_all(choose_codec(), read_payload(read, entry))).all(axis=1)
                assert all(key for key, has_samples in zip(read_keys(read, entry), there, strict=True) if has_samples)


def after_each_file(monkeypatch: pytest.MonkeyPatch, then: Callable[[int], object]) -> None:
    """Have something done, with a number from 1, when a file has come to its place."""
    real = SnapshotFolder.publish
    numbers = iter(range(1, 1000))

    def put_in_place(self: SnapshotFolder, *arguments: Any) -> None:
        real(self, *arguments)
        then(next(numbers))

    monkeypatch.setattr(SnapshotFolder, "publish", put_in_place)


@pytest.mark.parametrize("reloaded_at", [0, 1, 2, 3])
def test_no_moment_of_a_pass_in_which_series_get_another_timestep_is_a_bad_one_to_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reloaded_at: int
) -> None:
    """A file of the old timestep is written without the series, so those of the new one must be there by then."""
    folder = tmp_path / "store"
    images: list[Path] = []
    with opened(folder) as store:
        send(store, SLOTS[:150])
        assert store.snapshot(NOW)
        send(store, SLOTS[150:])

        def then(number: int) -> None:
            if number == reloaded_at:
                store.reload(SLOWER)
            images.append(shutil.copytree(folder, tmp_path / str(number), ignore=shutil.ignore_patterns("lock")))

        if reloaded_at == 0:
            store.reload(SLOWER)
        with monkeypatch.context() as patch:
            after_each_file(patch, then)
            send(store, SLOTS[-1:])
            send(store, SLOTS[:1])
            send(store, SLOTS[80:81])
            assert store.snapshot(NOW)
        assert not list(folder.glob("*.wal"))
        assert len(images) > 3
    for image in (*images, folder):
        assert_whole(image, SLOWER)


def test_a_series_that_comes_during_a_pass_is_in_the_next_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = "load,cluster=demo,hostname=n1,type=core,type-id=7 value=1 "
    with opened(tmp_path) as store:
        send(store, SLOTS)

        def then(number: int) -> None:
            if number == 1:
                batch = "\n".join(line + str(T0 + 60 * slot) for slot in SLOTS).encode()
                assert store.ingest(batch, received_s=NOW).durable

        with monkeypatch.context() as patch:
            after_each_file(patch, then)
            assert store.snapshot(NOW)
        assert_no_samples_are_nobodys(tmp_path)
        assert store.snapshot(NOW)
        assert not list(tmp_path.glob("*.wal"))
    with opened(tmp_path) as store:
        assert values(store, "load", part="7") == [1] * len(SLOTS)


def test_samples_that_another_configuration_keeps_stay_in_the_file(tmp_path: Path) -> None:
    cores = CHUNK_ROWS + 10
    batch = "\n".join(
        f"load,cluster=demo,hostname=n1,type=core,type-id={core} value={core} {T0}" for core in range(cores)
    )
    only_power = {"demo": {"power": METRICS["demo"]["power"]}}
    with opened(tmp_path) as store:
        assert store.ingest(batch.encode(), received_s=NOW).durable
        send(store, range(1), ("power",))
        assert store.snapshot(NOW)
    with opened(tmp_path, only_power) as store:
        send(store, range(2, 3), ("power",))
        assert store.snapshot(NOW)
    with opened(tmp_path) as store:
        assert values(store, "power") == [0, 2]
        assert values(store, "load", part="0") == [0]
        assert values(store, "load", part=str(CHUNK_ROWS - 1)) == [CHUNK_ROWS - 1]


def test_no_moment_of_the_first_pass_after_a_start_with_a_new_timestep_is_a_bad_one_to_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "store"
    images: list[Path] = []
    with opened(folder) as store:
        send(store, SLOTS, ("power", "load"))
        assert store.snapshot(NOW)

    def then(number: int) -> None:
        images.append(shutil.copytree(folder, tmp_path / str(number), ignore=shutil.ignore_patterns("lock")))

    with opened(folder, SLOWER) as store, monkeypatch.context() as patch:
        after_each_file(patch, then)
        send(store, SLOTS[-1:], ("power",))
        assert store.snapshot(NOW)
    assert len(images) > 2
    for image in (*images, folder):
        with opened(image, SLOWER) as store:
            assert values(store, "load") == values(store, "power") == list(SLOTS)
