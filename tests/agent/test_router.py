from __future__ import annotations

import logging

import pytest

from cc_agent.collectors.base import RawSeries
from cc_agent.processor import Processor, ProcessorSettings, TagRule
from cc_agent.router import Router, RouterSettings, build_router
from cc_common.line_protocol import decode

NODE = RawSeries("load_one", {"type": "node"}, {"unit": "load"})
THREAD = RawSeries("cpu_user", {"type": "hwthread", "type-id": "3"}, {"unit": "%"})


def _router(settings: RouterSettings | None = None) -> Router:
    return build_router(settings or RouterSettings(), hostname="n01", cluster="demo")


def test_lines_carry_tags_value_and_the_shared_time() -> None:
    batch = _router().encode([(NODE, 0.5), (THREAD, 12)], 1700000000)
    assert batch.samples == 2
    assert batch.lines == (
        b"load_one,cluster=demo,hostname=n01,type=node value=0.5 1700000000\n"
        b"cpu_user,cluster=demo,hostname=n01,type=hwthread,type-id=3 value=12 1700000000\n"
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, b"0"),
        (0.0, b"0"),
        (-0.5, b"-0.5"),
        (12345678901234, b"12345678901234"),
        (100 / 3, b"33.3333333"),
        (1e-7, b"1e-07"),
        (1e300, b"1e+300"),
        ((1 << 64) - 1, b"18446744073709551615"),
        (10**100, b"1e+100"),
    ],
)
def test_numbers_are_short_and_whole_ones_exact(value: float, text: bytes) -> None:
    line = _router().encode([(NODE, value)], 7).lines
    assert line.split(b"value=")[1] == text + b" 7\n"
    assert decode(line, received_s=0)[0][0].value == pytest.approx(value)


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), float("-inf"), 10**400], ids=["NaN", "inf", "-inf", "huge"]
)
def test_what_is_no_number_is_left_out(value: float) -> None:
    assert _router().encode([(NODE, value), (THREAD, 1)], 7).samples == 1


def test_an_integer_beyond_all_floats_costs_only_its_sample_where_units_change() -> None:
    settings = RouterSettings(change_unit_prefix={"mem_used": "G"})
    memory = RawSeries("mem_used", {"type": "node"}, {"unit": "B"})
    assert _router(settings).encode([(memory, 10**400), (THREAD, 1)], 7).samples == 1
    assert _router(settings).encode_received([(memory, 10**400, 7), (THREAD, 1, 7)]).samples == 1


def test_a_node_never_carries_an_id() -> None:
    settings = RouterSettings(add_tags=(TagRule("type-id", "0"),))
    assert b"type-id" not in _router(settings).encode([(NODE, 1)], 7).lines


def test_tags_of_a_rule_win_over_the_base_tags() -> None:
    settings = RouterSettings(add_tags=(TagRule("cluster", "other", "*"),), hostname_tag="host")
    line = _router(settings).encode([(NODE, 1)], 7).lines
    assert line == b"load_one,cluster=other,host=n01,type=node value=1 7\n"


def test_old_and_new_forms_are_one_list_of_rules_in_the_order_of_the_stages() -> None:
    settings = RouterSettings(
        drop_metrics=("net_bytes_in",),
        rename_metrics={"load_one": "cpu_load"},
        change_unit_prefix={"mem_used": "G"},
        drop_metrics_if=("type == 'core'",),
        delete_tags=(TagRule("stype", "", "*"),),
        process_messages=ProcessorSettings(
            rename_messages={"net_bytes_in_bw": "net_bytes_in"}, change_unit_prefix={"name == 'net_bytes_in'": "M"}
        ),
    )
    readings = [
        (NODE, 1),
        (RawSeries("net_bytes_in", {"type": "node"}, {"unit": "B"}), 999),
        (RawSeries("net_bytes_in_bw", {"type": "node", "stype": "network"}, {"unit": "B/s"}), 2_000_000),
        (RawSeries("mem_used", {"type": "node"}, {"unit": "KiB"}), 1_000_000),
        (RawSeries("x", {"type": "core", "type-id": "0"}, {}), 1),
    ]
    points, errors = decode(_router(settings).encode(readings, 7).lines, received_s=0)
    assert not errors
    assert [(point.metric, point.value) for point in points] == [
        ("cpu_load", 1),
        ("net_bytes_in", 2),
        ("mem_used", pytest.approx(1.024)),
    ]


def test_old_names_with_quotes_are_taken_literally() -> None:
    settings = RouterSettings(change_unit_prefix={"it's \\ odd": "M"})
    router = _router(settings)
    series = RawSeries("it's \\ odd", {"type": "node"}, {"unit": "B"})
    assert b"value=2 7" in router.encode([(series, 2_000_000)], 7).lines


def test_rules_run_once_for_a_series(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    original = Processor.process
    monkeypatch.setattr(Processor, "process", lambda self, message: runs.append(message) or original(self, message))
    router = _router(RouterSettings(drop_metrics=("cpu_user",)))
    for time_s in range(5):
        router.encode([(NODE, 1), (THREAD, 2)], time_s)
    assert len(runs) == 2


def test_rules_about_values_run_for_each_sample_of_the_series_they_concern() -> None:
    settings = RouterSettings(
        process_messages=ProcessorSettings(
            drop_messages_if=("name == 'cpu_user' && value < 5",), rename_messages={"cpu_user": "busy"}
        )
    )
    router = _router(settings)
    assert router.encode([(NODE, 1), (THREAD, 4)], 7).samples == 1
    assert b"busy" in router.encode([(NODE, 1), (THREAD, 6)], 8).lines
    assert router.preview(THREAD) is None
    assert router.preview(NODE) is not None


def test_a_name_that_cannot_be_sent_costs_only_its_series(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    router = _router()
    nameless = RawSeries("", {"type": "node"}, {})
    for time_s in range(3):
        assert router.encode([(nameless, 1), (NODE, 1)], time_s).samples == 1
    assert len(caplog.records) == 1
    assert "metric name is empty" in caplog.text


def test_series_of_devices_that_are_gone_are_forgotten() -> None:
    router = _router()
    for number in range(9000):
        router.encode([(RawSeries("x", {"type": "node", "stype-id": str(number)}, {}), 1)], 7)
    assert len(router._routes) < 5000


def test_a_preview_shows_name_unit_and_tags_as_sent() -> None:
    router = _router(RouterSettings(rename_metrics={"load_one": "cpu_load"}, drop_metrics=("cpu_user",)))
    sent = router.preview(NODE)
    assert sent is not None
    assert (sent.name, sent.meta["oldname"], sent.tags["cluster"]) == ("cpu_load", "load_one", "demo")
    assert router.preview(THREAD) is None
