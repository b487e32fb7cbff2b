from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cc_backend.errors import InvalidInput, TooLarge
from cc_backend.metricstore import Limits, MetricSpec, MetricStore, Query, StoredSeries
from cc_backend.metricstore.blocks.grid import Grid
from cc_backend.metricstore.blocks.hot_block import WINDOW_SLOTS
from cc_backend.metricstore.blocks.two_phase_read import PendingRead
from cc_backend.metricstore.model import HostPart, Int64Array
from cc_backend.metricstore.query.series_reader import select_series, slot_range
from cc_backend.model import Samples

METRICS = {
    "demo": {
        "load": MetricSpec(60, "avg"),
        "flops": MetricSpec(60, "sum"),
        "temp": MetricSpec(30, ""),
    }
}
T0 = 1_790_000_040
NAN = float("nan")


@pytest.fixture
def store() -> MetricStore:
    return MetricStore.open(None, METRICS, now_s=T0)


def put(store: MetricStore, metric: str, tags: str, *values: float, step_s: int = 60) -> None:
    """Values one timestep after another from T0; NaN leaves a gap."""
    lines = [
        f"{metric},cluster=demo,hostname=n1{tags} value={value!r} {T0 + at * step_s}"
        for at, value in enumerate(values)
        if value == value  # noqa: PLR0124 not NaN
    ]
    assert store.ingest("\n".join(lines).encode(), received_s=T0 + 3600).accepted == len(lines)


def part(kind: str, number: object, below: str = "") -> str:
    return f",type={kind},type-id={number}{below}"


def ask(store: MetricStore, query: Query, slots: int = 3) -> list[StoredSeries]:
    return store.query("demo", [query], from_s=T0, to_s=T0 + slots * 60)[0]


def data(series: list[StoredSeries]) -> list[list[float]]:
    return [[-1 if value != value else value for value in one.data.tolist()] for one in series]  # noqa: PLR0124 NaN


@pytest.mark.parametrize(
    ("from_s", "to_s", "first", "slots"),
    [(0, 60, 0, 1), (59, 61, 0, 2), (60, 120, 1, 1), (60, 60, 1, 0), (61, 61, 1, 1), (-1, 1, -1, 2), (61, 119, 1, 1)],
)
def test_a_range_is_widened_to_the_slots_it_touches(from_s: int, to_s: int, first: int, slots: int) -> None:
    assert slot_range(from_s, to_s, 60) == (first, slots, 60)


def test_the_whole_range_comes_back_with_nan_where_nothing_is(store: MetricStore) -> None:
    put(store, "load", "", NAN, 1, NAN, 3)
    (series,) = store.query("demo", [Query("load", "n1")], from_s=T0 - 90, to_s=T0 + 400)[0]
    assert (series.from_s, series.timestep_s, series.id, series.error) == (T0 - 120, 60, None, None)
    assert data([series]) == [[-1, -1, -1, 1, -1, 3, -1, -1, -1]]
    assert series.data.dtype == np.float32


def test_series_of_different_timesteps_are_answered_in_one_go_in_order(store: MetricStore) -> None:
    put(store, "load", "", 1, 2)
    put(store, "temp", "", 50, 51, 52, step_s=30)
    rows = store.query("demo", [Query("temp", "n1"), Query("load", "n1"), Query("temp", "n1")], from_s=T0, to_s=T0 + 90)
    assert [row[0].timestep_s for row in rows] == [30, 60, 30]
    assert [data(row) for row in rows] == [[[50, 51, 52]], [[1, 2]], [[50, 51, 52]]]


def test_what_was_never_written_is_an_empty_row(store: MetricStore) -> None:
    put(store, "load", "", 1)
    assert ask(store, Query("load", "n2")) == []
    assert ask(store, Query("flops", "n1")) == []
    assert ask(store, Query("load", "n1", "core", ("0",))) == []
    assert store.query("demo", [], from_s=0, to_s=1) == []


def test_what_is_not_configured_is_an_error_of_its_own_row(store: MetricStore) -> None:
    put(store, "load", "", 1)
    rows = store.query("demo", [Query("nope", "n1"), Query("load", "n1")], from_s=T0, to_s=T0 + 60)
    assert rows[0][0].error == "metric 'nope' is not configured for cluster 'demo'"
    assert rows[1][0].error is None
    assert (
        store.query("else", [Query("load", "n1")], from_s=T0, to_s=T0)[0][0].error == "cluster 'else' is not configured"
    )


def test_parts_come_in_the_order_asked_for_with_their_ids_and_missing_ones_are_left_out(store: MetricStore) -> None:
    for core in (0, 2, 10):
        put(store, "flops", part("core", core), core)
    found = ask(store, Query("flops", "n1", "core", ("10", "7", "0")), 1)
    assert [(one.id, one.data[0]) for one in found] == [("10", 10), ("0", 0)]


def test_without_ids_all_parts_come_in_natural_order(store: MetricStore) -> None:
    for core in (10, 2, 0):
        put(store, "flops", part("core", core), core)
    assert [one.id for one in ask(store, Query("flops", "n1", "core"))] == ["0", "2", "10"]


def test_a_combination_is_nan_only_where_all_are_missing_and_tells_its_coverage(store: MetricStore) -> None:
    put(store, "flops", part("core", 0), 1, 2, NAN)
    put(store, "flops", part("core", 1), 10, NAN, NAN)
    (series,) = ask(store, Query("flops", "n1", "core", ("0", "1", "2"), aggregate=True))
    assert data([series]) == [[11, 2, -1]]
    assert series.coverage is not None
    assert series.coverage.tolist() == [2, 1, 0]
    assert (series.members, series.id) == (2, None)


def test_the_mean_is_over_what_is_there(store: MetricStore) -> None:
    put(store, "load", part("core", 0), 1, 2, NAN)
    put(store, "load", part("core", 1), 10, NAN, NAN)
    assert data(ask(store, Query("load", "n1"))) == [[5.5, 2, -1]]


def test_the_host_as_a_whole_is_its_own_series_if_there_is_one(store: MetricStore) -> None:
    put(store, "flops", "", 7)
    put(store, "flops", part("core", 0), 1)
    for kind in (None, "node", ""):
        assert data(ask(store, Query("flops", "n1", kind), 1)) == [[7]]


def test_else_it_is_the_coarsest_level_and_nothing_counts_twice(store: MetricStore) -> None:
    put(store, "flops", part("hwthread", 0), 100)
    put(store, "flops", part("socket", 0), 1)
    put(store, "flops", part("socket", 1), 2)
    put(store, "flops", part("job", 17), 1000)
    assert data(ask(store, Query("flops", "n1"), 1)) == [[3]]


def test_parts_of_a_part_stand_for_it_if_it_has_no_series(store: MetricStore) -> None:
    put(store, "flops", part("accelerator", 0, ",stype=mig,stype-id=0"), 1)
    put(store, "flops", part("accelerator", 0, ",stype=mig,stype-id=1"), 2)
    put(store, "flops", part("accelerator", 1), 4)
    found = ask(store, Query("flops", "n1", "accelerator"), 1)
    assert [(one.id, one.data[0], one.members) for one in found] == [("0", 3, 2), ("1", 4, 1)]
    assert data(ask(store, Query("flops", "n1"), 1)) == [[7]]


def test_subtypes_are_found_by_name_below_a_part_and_below_the_host(store: MetricStore) -> None:
    put(store, "flops", part("accelerator", 0, ",stype=mig,stype-id=1"), 2)
    put(store, "flops", ",stype=disk,stype-id=sdb", 8)
    put(store, "flops", ",stype=disk,stype-id=sda", 7)
    (mig,) = ask(store, Query("flops", "n1", "accelerator", ("0",), subtype="mig", subtype_ids=("1", "2")), 1)
    assert (mig.id, mig.subtype_id, mig.data[0]) == ("0", "1", 2)
    disks = ask(store, Query("flops", "n1", subtype="disk"), 1)
    assert [(one.id, one.subtype_id, one.data[0]) for one in disks] == [(None, "sda", 7), (None, "sdb", 8)]
    assert data(ask(store, Query("flops", "n1"), 1)) == [[15]]


def test_without_aggregation_several_parts_cannot_be_combined_but_one_can(store: MetricStore) -> None:
    put(store, "temp", part("core", 0), 50)
    assert data(ask(store, Query("temp", "n1"), 1)) == [[50, -1]]
    put(store, "temp", part("core", 1), 60)
    for query in (Query("temp", "n1"), Query("temp", "n1", "core", ("0", "1"), aggregate=True)):
        (series,) = ask(store, query)
        assert series.error == "metric 'temp' has no aggregation: parts of 'n1' cannot be combined"
    assert len(ask(store, Query("temp", "n1", "core"))) == 2


def test_values_are_scaled_if_asked_for(store: MetricStore) -> None:
    put(store, "flops", part("core", 0), 2)
    put(store, "flops", part("core", 1), 3)
    assert data(ask(store, Query("flops", "n1", scale_by=10), 1)) == [[50]]
    assert data(ask(store, Query("flops", "n1", "core", scale_by=-2), 1)) == [[-4], [-6]]
    assert data(ask(store, Query("flops", "n1", "core", scale_by=0), 1)) == [[2], [3]]


def test_a_range_that_ends_before_it_begins_is_refused(store: MetricStore) -> None:
    with pytest.raises(InvalidInput, match="after its end"):
        store.query("demo", [], from_s=5, to_s=4)


def test_an_answer_that_is_too_large_is_refused_before_anything_is_allocated() -> None:
    store = MetricStore.open(None, METRICS, now_s=T0, limits=Limits(query_samples=1000))
    put(store, "load", "", 1)
    with pytest.raises(TooLarge, match="1000"):
        store.query("demo", [Query("load", "n1")], from_s=0, to_s=2**60)
    with pytest.raises(TooLarge):
        store.query("demo", [Query("load", "n1")] * 500, from_s=T0, to_s=T0 + 180)
    assert store.statistics("demo", [Query("load", "n1")], from_s=0, to_s=2**60)[0][0].max == 1


def test_many_queries_are_answered_in_order_whatever_portions_they_are_read_in(
    store: MetricStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cc_backend.metricstore.query.series_reader._MAX_BATCH_SAMPLES", 7)
    for core in range(20):
        put(store, "flops", part("core", core), core, core)
    queries = [Query("flops", "n1", "core", (str(n % 20),), aggregate=bool(n % 3)) for n in range(600)]
    rows = store.query("demo", queries, from_s=T0, to_s=T0 + 120)
    assert [row[0].data[1] for row in rows] == [n % 20 for n in range(600)]


def test_statistics_are_those_of_the_samples(store: MetricStore) -> None:
    values = [float(n * 37 % 101) for n in range(200)]
    values[60:70] = [NAN] * 10
    lines = [f"load,cluster=demo,hostname=n1 value={v} {T0 + 60 * at}" for at, v in enumerate(values) if v == v]  # noqa: PLR0124
    store.ingest("\n".join(lines).encode(), received_s=T0 + 60 * 200)
    (one,) = store.statistics("demo", [Query("load", "n1", scale_by=2)], from_s=T0 + 300, to_s=T0 + 60 * 190)[0]
    there = [v for v in values[5:190] if v == v]  # noqa: PLR0124
    assert (one.min, one.max, one.count) == (2 * min(there), 2 * max(there), len(there))
    assert one.avg == pytest.approx(2 * sum(there) / len(there))
    store.validate()


def test_statistics_of_combinations_are_those_of_the_combined_samples(store: MetricStore) -> None:
    put(store, "flops", part("core", 0), 1, 5, NAN)
    put(store, "flops", part("core", 1), 10, 1, NAN)
    (one,) = store.statistics("demo", [Query("flops", "n1")], from_s=T0, to_s=T0 + 180)[0]
    assert (one.min, one.avg, one.max, one.count) == (6, 8.5, 11, 2)


def test_statistics_without_samples_are_none(store: MetricStore) -> None:
    put(store, "load", "", 1)
    (one,) = store.statistics("demo", [Query("load", "n1")], from_s=T0 + 600, to_s=T0 + 900)[0]
    assert (one.min, one.avg, one.max, one.count) == (None, None, None, 0)
    assert store.statistics("demo", [Query("nope", "n1")], from_s=T0, to_s=T0)[0][0].error is not None
    assert store.statistics("demo", [Query("load", "n9")], from_s=T0, to_s=T0) == [[]]


def test_a_negative_scale_swaps_least_and_highest(store: MetricStore) -> None:
    put(store, "load", "", 1, 3)
    (one,) = store.statistics("demo", [Query("load", "n1", scale_by=-1)], from_s=T0, to_s=T0 + 180)[0]
    assert (one.min, one.avg, one.max) == (-3, -2, -1)


class Walked(dict[HostPart, int]):
    """Counts how often all parts are gone through."""

    walks = 0

    def items(self) -> Any:
        self.walks += 1
        return super().items()

    def __iter__(self) -> Any:
        self.walks += 1
        return super().__iter__()


@pytest.mark.parametrize("more", [{}, {"aggregate": True}, {"subtype": "mig", "subtype_ids": ("1",)}])
def test_ids_that_are_not_there_do_not_walk_all_parts_each(more: dict[str, Any]) -> None:
    """The store's lock is held meanwhile: 10,000 ids on a host of 512 threads stop ingest for a second."""
    parts = Walked({HostPart("hwthread", str(number)): number for number in range(512)})
    host: Any = SimpleNamespace(metrics={"flops_any": parts})
    select_series(host, Query("flops_any", "n1", "hwthread", tuple(f"x{number}" for number in range(1000)), **more))
    assert parts.walks <= 4


def test_statistics_of_a_combination_cost_only_the_time_in_which_there_is_something(
    store: MetricStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        put(store, "flops", part("hwthread", number), 1, 2)
    asked: list[int] = []
    samples = Grid.start_read

    def counted(grid: Grid, rows: Int64Array, first_slot: int, count: int) -> PendingRead[Samples]:
        asked.append(count)
        return samples(grid, rows, first_slot, count)

    monkeypatch.setattr(Grid, "start_read", counted)
    for from_s, to_s in ((0, T0 + 10**9), (T0, T0 + 120), (T0 + 10**8, T0 + 10**9), (0, 10**9), (-(10**9), 0)):
        ((found,),) = store.statistics("demo", [Query("flops", "n1")], from_s=from_s, to_s=to_s)
        there = from_s <= T0 <= to_s
        assert (found.min, found.max, found.count) == ((4, 8, 2) if there else (None, None, 0))
    assert max(asked) <= 2 * WINDOW_SLOTS
