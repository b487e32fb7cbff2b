import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest

from cc_backend.metricstore.blocks.file_slice import FileSlice
from cc_backend.metricstore.blocks.grid import Grid
from cc_backend.metricstore.blocks.hot_block import CHUNK_ROWS, WINDOW_SLOTS
from cc_backend.metricstore.capacity import (
    HOT_SLOT_BYTES,
    SERIES_BYTES,
    NodeKind,
    Step,
    WindowRef,
    capacity_report,
    enforce,
    forecast,
    format_forecast,
    format_report,
    format_size,
)
from cc_backend.metricstore.model import MemoryState

WINDOW_S = WINDOW_SLOTS * 60
HOT_BYTES = CHUNK_ROWS * WINDOW_SLOTS * 4
NONE = np.empty(0, np.int64)


@dataclass
class Store:
    """A grid of two blocks a window; the rows of the second one belong to a protected host."""

    windows_filled: int
    calls: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.grid = Grid(60)
        self.grid.allocate_many(1, 2 * CHUNK_ROWS)
        chance = np.random.default_rng(1)
        for slot in range(self.windows_filled * WINDOW_SLOTS):
            noise = chance.normal(100, 10, 2 * CHUNK_ROWS).astype(np.float32)
            self.grid.scatter(np.arange(2 * CHUNK_ROWS), slot, noise)
        self.now_s = (self.windows_filled - 1) * WINDOW_S + 5

    def save(self) -> None:
        """As a snapshot does it; the files are not read here."""
        for window in self.grid.windows.numbers():
            for chunk in self.grid.windows.chunks(window):
                content = self.grid.windows.block_content(window, chunk)
                assert content is not None
                self.grid.windows.mark_saved(window, chunk, content.version, FileSlice(None, 0, 0))  # type: ignore[arg-type]

    def used_bytes(self) -> int:
        return self.grid.windows.sample_bytes

    def compress(self) -> int:
        self.calls.append("compress")
        return self.grid.windows.compress(self.now_s // 60, threading.RLock())

    def windows(self) -> Sequence[WindowRef]:
        return [WindowRef(0, state.window, state.end_s) for state in reversed(self.grid.windows.window_states())]

    def evict(self, use: WindowRef) -> int:
        self.calls.append(f"to disk {use.window}")
        return self.grid.windows.evict(use.window)

    def drop(self, use: WindowRef, *, protected: bool) -> int:
        self.calls.append(f"drop {use.window}{' protected' if protected else ''}")
        rows = NONE if protected else np.array([CHUNK_ROWS])
        return self.grid.windows.free(use.end_s, rows, np.zeros(len(rows), np.int64))


def test_a_cap_of_nothing_is_none() -> None:
    store = Store(2)
    assert enforce(store, cap_bytes=0, now_s=store.now_s) == Step.NOTHING
    assert store.calls == []


def test_a_store_that_fits_is_left_alone() -> None:
    store = Store(2)
    assert enforce(store, cap_bytes=4 * HOT_BYTES, now_s=store.now_s) == Step.NOTHING
    assert store.calls == []


def test_at_first_what_has_ended_is_compressed() -> None:
    store = Store(3)
    assert enforce(store, cap_bytes=int(5.5 * HOT_BYTES), now_s=store.now_s) == Step.COMPRESS
    assert [state.hot_bytes for state in store.grid.windows.window_states()] == [0, 0, 2 * HOT_BYTES]


def test_a_window_has_ended_at_its_last_second() -> None:
    store = Store(2)
    assert enforce(store, cap_bytes=1, now_s=2 * WINDOW_S - 1) == Step.REFUSE
    assert [state.window for state in store.grid.windows.window_states()] == [1]
    assert enforce(store, cap_bytes=1, now_s=2 * WINDOW_S) == Step.DROP_PROTECTED
    assert store.grid.windows.window_states() == []


def test_then_saved_windows_leave_for_the_disk_the_oldest_first() -> None:
    store = Store(3)
    store.compress()
    store.save()
    before = store.grid.windows.window_states()
    cold_bytes = before[0].cold_bytes
    cap_bytes = int((2 * HOT_BYTES + cold_bytes) / 0.95) + 5000  # windows differ by a little
    store.calls.clear()
    assert enforce(store, cap_bytes=cap_bytes, now_s=store.now_s) == Step.TO_DISK
    assert store.calls == ["compress", "to disk 0"]
    assert [state.cold_bytes for state in store.grid.windows.window_states()] == [0, before[1].cold_bytes, 0]


def test_what_is_not_saved_cannot_leave_and_is_dropped_the_oldest_first() -> None:
    store = Store(3)
    store.compress()
    cold_bytes = store.grid.windows.window_states()[0].cold_bytes
    store.calls.clear()
    cap_bytes = int((2 * HOT_BYTES + 1.5 * cold_bytes) / 0.95) + 5000  # windows differ by a little
    assert enforce(store, cap_bytes=cap_bytes, now_s=store.now_s) == Step.DROP
    assert store.calls == ["compress", "to disk 0", "to disk 1", "drop 0"]
    assert [store.grid.windows.chunks(window) for window in store.grid.windows.numbers()] == [[1], [0, 1], [0, 1]]


def test_protected_hosts_give_way_last() -> None:
    store = Store(3)
    store.compress()
    cold_bytes = store.grid.windows.window_states()[0].cold_bytes
    cap_bytes = int((2 * HOT_BYTES + 0.5 * cold_bytes) / 0.95) + 5000  # windows differ by a little
    assert enforce(store, cap_bytes=cap_bytes, now_s=store.now_s) == Step.DROP_PROTECTED
    assert store.calls[-4:] == ["to disk 1", "drop 0", "drop 1", "drop 0 protected"]
    assert [state.window for state in store.grid.windows.window_states()] == [1, 2]


def test_when_only_what_is_being_filled_is_left_samples_are_refused() -> None:
    store = Store(3)
    assert enforce(store, cap_bytes=HOT_BYTES, now_s=store.now_s) == Step.REFUSE
    assert [(state.window, state.hot_bytes) for state in store.grid.windows.window_states()] == [(2, 2 * HOT_BYTES)]


def test_a_store_that_fits_in_the_end_is_not_refused_for_the_room_that_is_wanted_besides() -> None:
    store = Store(3)
    assert enforce(store, cap_bytes=2 * HOT_BYTES, now_s=store.now_s) == Step.DROP_PROTECTED


# Sizing


def test_a_forecast_counts_whole_windows() -> None:
    found = forecast([NodeKind(1, 1)], retention_s=2 * WINDOW_S, hot_s=2 * WINDOW_S)
    assert found.memory_bytes == int(SERIES_BYTES + 3 * WINDOW_SLOTS * HOT_SLOT_BYTES)
    assert found.memory_decimal_bytes == found.memory_bytes
    assert found.samples == 2 * WINDOW_SLOTS
    later = forecast([NodeKind(1, 1)], retention_s=2 * WINDOW_S + 1, hot_s=0)
    assert later.memory_bytes == int(SERIES_BYTES + WINDOW_SLOTS * HOT_SLOT_BYTES + 3 * WINDOW_SLOTS * 3.1)


def test_kinds_of_nodes_add_up() -> None:
    kinds = [NodeKind(100, 10), NodeKind(10, 10, timestep_s=10)]
    both = forecast(kinds, retention_s=172_800, hot_s=7200)
    one, other = (forecast([kind], retention_s=172_800, hot_s=7200) for kind in kinds)
    assert both.memory_bytes == pytest.approx(one.memory_bytes + other.memory_bytes, abs=1)
    assert both.samples_per_s == pytest.approx(1000 / 60 + 10)
    assert both.log_bytes == pytest.approx(3600 * both.samples_per_s * 8.1, rel=1e-6)


def test_the_sheet_s_thousand_nodes_fit_into_eight_gigabytes() -> None:
    found = forecast([NodeKind(1000, 44 + 10 * 72 + 6 * 2)], retention_s=172_800, hot_s=7200)
    assert found.series == 776_000
    assert 4e9 < found.memory_decimal_bytes < found.memory_bytes < 9e9
    text = format_forecast(found)
    assert "series            776000" in text
    assert f"memory at most    {found.memory_bytes / 1e9:.1f} GB" in text


def test_a_forecast_is_no_less_than_what_a_grid_takes() -> None:
    grid = Grid(60)
    rows = grid.allocate_many(1, CHUNK_ROWS)
    chance = np.random.default_rng(1)
    lock = threading.RLock()
    most = 0
    for slot in range(40, 1500):
        grid.scatter(rows, slot, chance.normal(100, 10, CHUNK_ROWS).astype(np.float32))
        if slot % 20 == 0:
            grid.windows.free((slot - 720) * 60, NONE, NONE)
            grid.windows.compress(slot - 120, lock)
            most = max(most, grid.windows.sample_bytes)
    found = forecast([NodeKind(CHUNK_ROWS, 1)], retention_s=12 * 3600, hot_s=2 * 3600)
    assert 0.7 * found.memory_bytes < most < found.memory_bytes


# Report


def test_a_report_says_what_the_whole_retention_will_take() -> None:
    memory = MemoryState(hot_bytes=10_000_000, cold_bytes=20_000_000, table_bytes=1_000_000, cap_bytes=100_000_000)
    found = capacity_report(memory, series=60_000, samples_per_s=1000, retention_s=50_000, hot_s=10_000, kept_s=20_000)
    assert found.used_bytes == 31_000_000
    assert found.full_bytes == 91_000_000
    assert found.fits
    text = format_report(found)
    assert "when_full=91.0MB cap=100.0MB" in text
    assert "raise" not in text


def test_a_report_tells_a_cap_that_will_not_do() -> None:
    memory = MemoryState(hot_bytes=10_000_000, cold_bytes=20_000_000, cap_bytes=50_000_000)
    found = capacity_report(memory, series=60_000, samples_per_s=1000, retention_s=50_000, hot_s=10_000, kept_s=20_000)
    assert not found.fits
    assert "raise memory-cap" in format_report(found)


@pytest.mark.parametrize(("rate", "kept_s"), [(0.0, 20_000), (1000.0, 5000)])
def test_a_report_promises_nothing_before_something_tells(rate: float, kept_s: int) -> None:
    found = capacity_report(
        MemoryState(hot_bytes=5), series=1, samples_per_s=rate, retention_s=50_000, hot_s=10_000, kept_s=kept_s
    )
    assert found.full_bytes is None
    assert found.fits
    assert "when_full" not in format_report(found)
    assert "cap" not in format_report(found)


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2.5e6, "2.5 MB"), (3.21e9, "3.2 GB"), (4e12, "4.0 TB")],
)
def test_sizes_are_in_decimal_units(size: float, text: str) -> None:
    assert format_size(size) == text
