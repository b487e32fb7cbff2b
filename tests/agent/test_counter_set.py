from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_agent.collectors.base import MetricFilter, SeriesPool, Tick
from cc_agent.collectors.counter_set import Counter, CounterForms, CounterSet, InstanceTags

COUNTERS = (
    Counter("read", "B", "bytes read", rate="read_bw", difference="read_diff", scale=4),
    Counter("written", "B", "bytes written", rate="written_bw", scale=4),
    Counter("total", "B", "bytes read and written", rate="total_bw", sum_of=("read", "written")),
)
DEVICES = InstanceTags(stype="disk")

Counts = Mapping[str, Mapping[str, int]]


def _read(
    *steps: Counts, forms: CounterForms | None = None, tags: InstanceTags = DEVICES, **more: Any
) -> list[dict[str, float]]:
    """What is sent at each step, ten seconds apart, by metric and instance."""
    counters = CounterSet(COUNTERS, forms or CounterForms(rates=True), more.pop("choice", MetricFilter()), tags, **more)
    pool = SeriesPool(counters.metrics, source="Test", group="Test")
    sent = []
    for number, counts in enumerate(steps):
        readings = counters.readings(Tick(10 * number, 100.0 + 10 * number, 10.0), counts, pool)
        names = [
            series.metric + series.tags.get("stype-id", "") + series.tags.get("type-id", "") for series, _ in readings
        ]
        assert len(set(names)) == len(names)
        sent.append(dict(zip(names, (value for _, value in readings))))  # noqa: B905 Python 3.9 has no strict
    return sent


def test_rates_are_units_per_second_of_each_instance_and_of_all() -> None:
    first, second = _read(
        {"a": {"read": 5, "written": 0}, "b": {"read": 0, "written": 10}},
        {"a": {"read": 30, "written": 0}, "b": {"read": 100, "written": 15}},
    )
    assert first == {}
    assert second == {
        "read_bwa": 10.0, "read_bwb": 40.0, "read_bw": 50.0,
        "written_bwa": 0.0, "written_bwb": 2.0, "written_bw": 2.0,
        "total_bwa": 10.0, "total_bwb": 42.0, "total_bw": 52.0,
    }  # fmt: skip


def test_counters_are_sent_at_once_in_units() -> None:
    (only,) = _read({"a": {"read": 5, "written": 1}}, forms=CounterForms(absolute=True), tags=InstanceTags())
    assert only == {"read": 20, "written": 4, "total": 24}


def test_differences_are_not_divided_by_time() -> None:
    _, second = _read(
        {"a": {"read": 5}}, {"a": {"read": 30}}, forms=CounterForms(differences=True), tags=InstanceTags()
    )
    assert second == {"read_diff": 100}


def test_a_reset_instance_costs_its_rates_and_the_totals_of_one_reading() -> None:
    steps = [{"a": {"read": count}, "b": {"read": 10 * number}} for number, count in enumerate((90, 100, 3, 13))]
    _, second, third, fourth = _read(*steps)
    assert second["read_bw"] == 8.0
    assert third == {"read_bwb": 4.0}
    assert fourth["read_bw"] == 8.0


def test_a_new_instance_counts_from_its_second_reading() -> None:
    _, second, third = _read(
        {"a": {"read": 0}}, {"a": {"read": 10}, "b": {"read": 10**9}}, {"a": {"read": 20}, "b": {"read": 10**9 + 10}}
    )
    assert second["read_bw"] == 4.0
    assert "read_bwb" not in second
    assert third["read_bw"] == 8.0


def test_when_all_instances_are_new_there_is_no_total() -> None:
    assert _read({"a": {"read": 0}}, {"b": {"read": 10}})[1] == {}


def test_without_any_instance_the_total_is_zero() -> None:
    first, second, third = _read({}, {}, {"a": {"read": 10}})
    assert first == {}
    assert second["read_bw"] == second["total_bw"] == 0
    assert third == {}


def test_a_counter_that_an_instance_lacks_is_left_out_with_its_sums() -> None:
    _, second = _read({"a": {"read": 0}}, {"a": {"read": 10}})
    assert second == {"read_bw": 4.0, "read_bwa": 4.0}


@given(st.integers(1, 2**61), st.integers(1, 2**61))
def test_a_wrap_is_followed(below: int, above: int) -> None:
    before, now = 2**64 - below, above - 1
    _, second = _read({"a": {"read": before}}, {"a": {"read": now}}, wrap_bits=64)
    assert second["read_bw"] == pytest.approx((now + below) * 4 / 10)


@pytest.mark.parametrize(("before", "now"), [(2**63, 5), (2**64 - 1, 2**63), (10, 5)])
def test_another_fall_is_a_reset(before: int, now: int) -> None:
    assert _read({"a": {"read": before}}, {"a": {"read": now}}, wrap_bits=64)[1] == {}


def test_instances_may_be_parts_of_the_node() -> None:
    _, second = _read({"0": {"read": 0}}, {"0": {"read": 10}}, tags=InstanceTags("memoryDomain"))
    assert second == {"read_bw0": 4.0}


def test_only_what_is_wanted_is_described_and_sent() -> None:
    choice = MetricFilter(include_metrics=("total_bw",))
    _, second = _read(
        {"a": {"read": 0, "written": 0}}, {"a": {"read": 10, "written": 5}}, choice=choice, tags=InstanceTags()
    )
    assert second == {"total_bw": 6.0}
