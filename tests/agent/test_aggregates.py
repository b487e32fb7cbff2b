"""Metrics computed from others at each tick."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_agent.aggregate_function import AggregateInput, compile_aggregate
from cc_agent.aggregates import AggregateRule, Aggregator, TopologyIndex, left_out_rules
from cc_agent.collectors.base import RawSeries, Reading
from cc_agent.errors import ExpressionError
from cc_agent.options import AgentOptions
from cc_agent.preview import sample_once
from cc_agent.processor import Processor, ProcessorSettings
from cc_agent.router import Router
from cc_agent.settings import load_configuration
from cc_agent.topology import CpuTopology
from cc_common.errors import SettingsError

TOPOLOGY = CpuTopology(
    hwthreads=(0, 1, 2, 3, 4, 5, 6, 7),
    cores=((0, 4), (1, 5), (2, 6), (3, 7)),
    dies=((0, 1, 4, 5), (2, 3, 6, 7)),
    sockets=((0, 1, 4, 5), (2, 3, 6, 7)),
    memory_domains=((0, 4), (1, 5), (2, 6), (3, 7)),
)
CONSTANTS = {"numHWThreads": 8, "numSockets": 2}


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("sum(values)", [1, 2, 3.5], 6.5),
        ("min(values)", [3, 1, 2], 1),
        ("max(values)", [3, 1, 2], 3),
        ("avg(values)", [1, 2, 6], 3),
        ("mean(values)", [1, 2, 6], 3),
        ("median(values)", [9, 1, 2, 8, 7], 7),
        ("median(values)", [1, 2, 3, 10], 2.5),
        ("len(values)", [9, 1, 2], 3),
        ("sum(values) / numHWThreads * 100", [2, 2], 50),
        ("(max(values) - min(values)) / numSockets", [2, 8], 3),
        ("-sum(values) + 1", [2], -1),
        ("endtime - starttime", [1], 10),
        ("sum(values) / 0", [1], None),
    ],
)
def test_a_function_computes_what_it_says(text: str, values: list[float], expected: float | None) -> None:
    assert compile_aggregate(text, CONSTANTS)(AggregateInput(values, 100, 110)) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected a value, found 'the end'"),
        ("sum(", "expected 'values'"),
        ("sum(metrics)", "expected 'values'"),
        ("sum(values) extra", "unexpected 'extra'"),
        ("product(values)", "unknown name 'product'"),
        ("__import__('os')", "unknown name '__import__'"),
        ("values.__class__", "unknown name 'values'"),
        ("(" * 60 + "1", "nested too deeply"),
        ("sum(values" + " " * 5000, "longer than"),
        ("sum(values) §", "unexpected"),
    ],
)
def test_a_function_that_cannot_be_read_is_rejected(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message.replace("(", r"\(")):
        compile_aggregate(text, CONSTANTS)


@given(st.lists(st.floats(allow_nan=False), min_size=1), st.sampled_from(["sum", "avg", "median", "max"]))
def test_no_values_break_an_aggregate(values: list[float], function: str) -> None:
    rule = AggregateRule("new", f"{function}(values)")
    readings = [(RawSeries("m", {"type": "node"}, {}), value) for value in values]
    for _, value in aggregator(rule).add(readings, 10):
        assert math.isfinite(value)


def aggregator(*rules: AggregateRule, keep: int = 1, router: Router | None = None) -> Aggregator:
    rename = (router or Router([], {})).preview
    return Aggregator(rules, TopologyIndex(TOPOLOGY), rename=rename, hostname="n1", keep=keep)


def per_thread(metric: str = "ipc", **meta: str) -> list[Reading]:
    return [(RawSeries(metric, {"type": "hwthread", "type-id": str(cpu)}, meta), float(cpu)) for cpu in range(8)]


def shown(readings: list[Reading]) -> list[tuple[str, dict[str, str], float]]:
    return [(series.metric, dict(series.tags), value) for series, value in readings]


def test_a_rule_of_the_reference_gives_one_value_with_its_tags_and_meta() -> None:
    rule = AggregateRule(
        "temp_cores_avg",
        "avg(values)",
        "match('temp_core_%d+', metric.Name()) && metric.GetTag('type') == 'node'",
        {"type": "node", "source": "<copy>"},
        {"unit": "<copy>", "group": "IPMI"},
    )
    cores = [
        (RawSeries(f"temp_core_{core}", {"type": "node", "source": "x"}, {"unit": "degC"}), 50.0 + core)
        for core in range(3)
    ]
    other: list[Reading] = [(RawSeries("temp_package", {"type": "node"}, {}), 99.0)]
    ((series, value),) = aggregator(rule).add(cores + other, 10)
    assert (series.metric, series.tags, series.meta, value) == (
        "temp_cores_avg",
        {"type": "node", "source": "x"},
        {"unit": "degC", "group": "IPMI"},
        51.0,
    )


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("node", {"": 28.0}),
        ("socket", {"0": 10.0, "1": 18.0}),
        ("die", {"0": 10.0, "1": 18.0}),
        ("memoryDomain", {"0": 4.0, "1": 6.0, "2": 8.0, "3": 10.0}),
        ("core", {"0": 4.0, "1": 6.0, "2": 8.0, "3": 10.0}),
    ],
)
def test_values_of_hardware_threads_are_rolled_up_to_coarser_parts(scope: str, expected: dict[str, float]) -> None:
    found = shown(aggregator(AggregateRule("new", "sum(values)", "name == 'ipc'", scope=scope)).add(per_thread(), 10))
    assert {tags.get("type-id", ""): value for _, tags, value in found} == expected
    assert {tags["type"] for _, tags, _ in found} == {scope}


def test_parts_are_rolled_up_to_what_they_lie_in_only() -> None:
    rule = AggregateRule("new", "sum(values)", scope="socket")
    readings: list[Reading] = [
        (RawSeries("m", {"type": "core", "type-id": "3"}, {}), 1.0),
        (RawSeries("m", {"type": "socket", "type-id": "1"}, {}), 2.0),
        (RawSeries("m", {"type": "node"}, {}), 4.0),
        (RawSeries("m", {"type": "core", "type-id": "99"}, {}), 8.0),
        (RawSeries("m", {"type": "accelerator", "type-id": "0"}, {}), 16.0),
    ]
    assert shown(aggregator(rule).add(readings, 10)) == [("new", {"type": "socket", "type-id": "1"}, 3.0)]


def test_groups_are_made_by_tags() -> None:
    rule = AggregateRule("net", "sum(values)", group_by=("device",))
    readings: list[Reading] = [
        (RawSeries("in", {"type": "node", "device": "eth0"}, {}), 1.0),
        (RawSeries("out", {"type": "node", "device": "eth0"}, {}), 2.0),
        (RawSeries("in", {"type": "node", "device": "eth1"}, {}), 4.0),
        (RawSeries("in", {"type": "node"}, {}), 8.0),
    ]
    assert shown(aggregator(rule).add(readings, 10)) == [
        ("net", {"type": "node", "device": "eth0"}, 3.0),
        ("net", {"type": "node", "device": "eth1"}, 4.0),
        ("net", {"type": "node"}, 8.0),
    ]


def test_conditions_and_units_are_those_after_the_rules_of_the_router() -> None:
    settings = ProcessorSettings(
        rename_messages={"mem": "memory", "gone": "lost"},
        change_unit_prefix={"name == 'memory'": "G"},
        drop_messages_if=("name == 'dropped'",),
    )
    router = Router([Processor(settings)], {"hostname": "n1"})
    readings: list[Reading] = [
        (RawSeries("mem", {"type": "node"}, {"unit": "MB"}), 5000.0),
        (RawSeries("dropped", {"type": "node"}, {}), 7.0),
    ]
    rules = (
        AggregateRule("a", "sum(values)", "name == 'memory' && tags.hostname == 'n1'"),
        AggregateRule("b", "sum(values)", "name == 'mem'"),
        AggregateRule("c", "sum(values)", "name == 'dropped'"),
    )
    found = shown(aggregator(*rules, router=router).add(readings, 10))
    assert [(name, value) for name, _, value in found] == [("a", 5.0), ("c", 7.0)]


def test_a_condition_on_the_value_is_asked_at_each_tick() -> None:
    rule = AggregateRule("busy", "len(values)", "value > 3")
    computed = aggregator(rule)
    readings = per_thread()
    assert shown(computed.add(readings, 10))[0][2] == 4
    assert shown(computed.add([(series, 9.0) for series, _ in readings], 20))[0][2] == 8
    assert computed.add([(series, 0.0) for series, _ in readings], 30) == []


def test_values_of_the_last_intervals_take_part_and_older_ones_do_not() -> None:
    slow, fast = RawSeries("m", {"type": "node", "x": "slow"}, {}), RawSeries("m", {"type": "node"}, {})
    computed = aggregator(AggregateRule("new", "sum(values)"), keep=2)
    results = [
        computed.add(readings, 10 * tick)
        for tick, readings in enumerate([[(slow, 1.0), (fast, 2.0)], [(fast, 3.0)], [(fast, 4.0)], []])
    ]
    assert [[value for _, value in found] for found in results] == [[3.0], [4.0], [4.0], []]


def test_what_is_not_a_number_is_left_out_of_an_aggregate() -> None:
    readings: list[Reading] = [
        (RawSeries("m", {"type": "node", "x": str(number)}, {}), value)
        for number, value in enumerate([1.0, math.nan, math.inf, 2.0])
    ]
    assert shown(aggregator(AggregateRule("new", "sum(values)")).add(readings, 10))[0][2] == 3.0


def test_what_is_left_out_is_said() -> None:
    rule = AggregateRule("a", "sum(values)", "metric.GetTag('type-id') in getCpuListOfType('socket', '0')")
    good = AggregateRule("b", "sum(values)")
    assert "num_cache_intervals is 0" in left_out_rules([good], 0)[0]
    assert left_out_rules([], 0) == left_out_rules([good], 1) == []
    assert "'a' is left out" in left_out_rules([rule, good], 1)[0]
    assert [name for name, _, _ in shown(aggregator(rule, good).add(per_thread(), 10))] == ["b"]


def _configure(folder: Path, rules: Any, **router: Any) -> Any:
    file = folder / "agent.json"
    file.write_text(json.dumps({"router": {"interval_aggregates": rules, **router}}))
    return load_configuration(AgentOptions(config=str(file)), {})


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"function": "sum(values)"}, "name: is required"),
        ({"name": "x"}, "function: is required"),
        ({"name": "x", "function": "sum(values)", "scope": "rack"}, "must be one of"),
        ({"name": "x", "function": "sum()"}, r"interval_aggregates\[0\]\.function: expected 'values'"),
        ({"name": "x", "function": "sum(values)", "if": "name =="}, r"interval_aggregates\[0\]\.if: "),
    ],
)
def test_mistakes_in_aggregates_are_named(tmp_path: Path, rule: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        _configure(tmp_path, [rule], num_cache_intervals=1).make_aggregator()


def test_aggregates_are_off_without_cache_intervals_as_in_the_reference(tmp_path: Path) -> None:
    rule = {"name": "x", "function": "sum(values)", "if": "name == 'cpu_user'", "tags": {"type": "node"}}
    configuration = _configure(tmp_path, [rule])
    assert configuration.make_aggregator() is None
    assert any("num_cache_intervals" in warning for warning in configuration.warnings)
    assert _configure(tmp_path, [rule], num_cache_intervals=1).make_aggregator() is not None


def test_one_set_of_samples_has_the_aggregates_too(tmp_path: Path) -> None:
    file = tmp_path / "agent.json"
    rule = {"name": "loads", "function": "len(values)", "if": "name startsWith 'load_'"}
    router = {"interval_aggregates": [rule], "num_cache_intervals": 1}
    file.write_text(json.dumps({"collectors": {"loadavg": {}}, "router": router}))
    snapshot = sample_once(load_configuration(AgentOptions(config=str(file)), {}), sleep=lambda _: None)
    assert [value for series, value in snapshot.readings if series.metric == "loads"] == [3]
