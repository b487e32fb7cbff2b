import threading
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.metricstore.blocks.hot_block import WINDOW_SLOTS
from cc_backend.metricstore.gaps.presence import SeriesLookup, host_presence, series_presence
from cc_backend.metricstore.index.series_table import SeriesTable
from cc_backend.metricstore.model import HostPart, Identity, Limits, MetricSpec
from cc_backend.metricstore.query.series_reader import SlotRange

METRICS = {
    "demo": {
        "load": MetricSpec(60, "avg"),
        "flops": MetricSpec(60, "sum"),
        "power": MetricSpec(10, "sum"),
        "disk": MetricSpec(600, ""),
    }
}
NODE = HostPart()
LOCK = threading.RLock()
FIRST = 30_000_000  # a slot of 60 s that begins a slot of 600 s
SPAN = SlotRange(FIRST, 10, 60)


@pytest.fixture
def table() -> SeriesTable:
    return SeriesTable(METRICS, Limits(), threading.RLock())


def put(table: SeriesTable, metric: str, times_s: Iterable[int], part: HostPart = NODE, host: str = "n1") -> int:
    sid = table.register(Identity("demo", host, metric, part))
    for time_s in times_s:
        table.columns.store_samples(np.array([sid]), np.array([1.0], np.float32), time_s)
    return sid


def minutes(*slots: int, step_s: int = 60) -> list[int]:
    return [FIRST * 60 + slot * step_s for slot in slots]


def of_host(table: SeriesTable, span: SlotRange = SPAN) -> list[int]:
    return np.flatnonzero(host_presence(table, LOCK, "demo", "n1", span)).tolist()


def test_a_host_is_present_where_any_of_its_series_is(table: SeriesTable) -> None:
    put(table, "load", minutes(0, 1))
    put(table, "flops", minutes(3), HostPart("hwthread", "7"))
    assert of_host(table) == [0, 1, 3]


def test_samples_of_other_hosts_and_from_outside_the_span_do_not_count(table: SeriesTable) -> None:
    put(table, "load", minutes(-1, 10))
    put(table, "load", minutes(4), host="n2")
    assert of_host(table) == []


def test_series_that_come_more_often_count_for_the_whole_slot(table: SeriesTable) -> None:
    put(table, "load", minutes(0))
    put(table, "power", minutes(11, 12, 53, step_s=10))
    assert of_host(table) == [0, 1, 2, 8]


def test_series_that_come_more_seldom_say_nothing_about_single_slots(table: SeriesTable) -> None:
    put(table, "load", minutes(0, 9))
    put(table, "disk", minutes(0))
    assert of_host(table) == [0, 9]


def test_where_there_are_no_others_a_seldom_sample_covers_all_of_its_slot(table: SeriesTable) -> None:
    put(table, "disk", minutes(0))
    assert of_host(table) == list(range(10))
    assert of_host(table, SlotRange(FIRST + 8, 10, 60)) == [0, 1]


def test_a_single_late_sample_among_many_series_is_found(table: SeriesTable) -> None:
    for thread in range(40):
        put(table, "flops", minutes(0), HostPart("hwthread", str(thread)))
    put(table, "flops", minutes(5, 9), HostPart("hwthread", "39"))
    assert of_host(table) == [0, 5, 9]


def test_the_span_may_cover_many_windows(table: SeriesTable) -> None:
    put(table, "load", minutes(0, 3 * WINDOW_SLOTS))
    put(table, "load", minutes(2 * WINDOW_SLOTS), HostPart("socket", "1"))
    assert of_host(table, SlotRange(FIRST, 4 * WINDOW_SLOTS, 60)) == [0, 2 * WINDOW_SLOTS, 3 * WINDOW_SLOTS]


def test_no_series_are_never_present(table: SeriesTable) -> None:
    assert not series_presence(table, LOCK, SeriesLookup(table, lambda: np.empty(0, np.int64)), SPAN).any()
    assert of_host(table) == []


@given(
    st.lists(
        st.tuples(st.sampled_from(["load", "flops", "power"]), st.integers(0, 12), st.integers(-100, 900)),
        min_size=1,
        max_size=60,
    )
)
def test_presence_is_what_reading_every_sample_would_say(samples: list[tuple[str, int, int]]) -> None:
    table = SeriesTable(METRICS, Limits(), threading.RLock())
    for metric, number, offset_s in samples:
        put(table, metric, [FIRST * 60 + offset_s], HostPart("socket", str(number)))
    often = [one for one in samples if METRICS["demo"][one[0]].timestep_s <= 60]
    assert of_host(table) == sorted({offset_s // 60 for _, _, offset_s in often if 0 <= offset_s < 600})
