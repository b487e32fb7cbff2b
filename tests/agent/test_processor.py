from __future__ import annotations

import pytest

from cc_agent.processor import FIELD_RULES, STAGES, Processor, ProcessorSettings, TagRule
from cc_agent.rule_input import RuleInput
from cc_common.errors import SettingsError


def _processed(settings: ProcessorSettings, **changes: object) -> RuleInput | None:
    values: dict[str, object] = {
        "name": "mem_used",
        "tags": {"type": "node", "hostname": "n01"},
        "meta": {"unit": "KiB"},
        **changes,
    }
    message = RuleInput(**values)  # type: ignore[arg-type]  # fields of a test
    return message if Processor(settings).process(message) else None


@pytest.mark.parametrize(
    ("settings", "dropped"),
    [
        (ProcessorSettings(), False),
        (ProcessorSettings(drop_messages=("mem_used",)), True),
        (ProcessorSettings(drop_messages=("mem_free",)), False),
        (ProcessorSettings(drop_messages_if=("type == 'node'",)), True),
        (ProcessorSettings(drop_messages_if=("type == 'core'", "name startsWith 'mem'")), True),
        (ProcessorSettings(drop_messages_if=("type == 'core'",)), False),
        (ProcessorSettings(drop_by_message_type=("event", "metric")), True),
        (ProcessorSettings(drop_by_message_type=("event",)), False),
    ],
)
def test_drops(settings: ProcessorSettings, dropped: bool) -> None:  # noqa: FBT001 a column of the table
    assert (_processed(settings) is None) == dropped


def test_renames_and_remembers_the_old_name() -> None:
    message = _processed(ProcessorSettings(rename_messages={"mem_used": "memory"}))
    assert message is not None
    assert (message.name, message.meta["oldname"]) == ("memory", "mem_used")


def test_renames_where_a_condition_holds() -> None:
    settings = ProcessorSettings(rename_messages_if={"type == 'core'": "wrong", "name contains 'used'": "right"})
    message = _processed(settings)
    assert message is not None
    assert message.name == "right"


def test_a_dropped_name_is_free_for_another_metric() -> None:
    settings = ProcessorSettings(drop_messages=("ib_recv",), rename_messages={"ib_recv_bw": "ib_recv"})
    assert _processed(settings, name="ib_recv") is None
    message = _processed(settings, name="ib_recv_bw")
    assert message is not None
    assert message.name == "ib_recv"


def test_tags_and_meta_move_to_the_configured_key() -> None:
    settings = ProcessorSettings(
        add_tags_if=(
            TagRule("cluster", "demo"),
            TagRule("rack", "r1", "hostname == 'n01'"),
            TagRule("no", "x", "false"),
        ),
        delete_tags_if=(TagRule("hostname"),),
        move_tag_to_meta_if=(TagRule("rack", "place"),),
        add_meta_if=(TagRule("group", "Memory"),),
        delete_meta_if=(TagRule("group"),),
        move_meta_to_tag_if=(TagRule("unit", "unit"), TagRule("absent", "x")),
    )
    message = _processed(settings)
    assert message is not None
    assert message.tags == {"type": "node", "cluster": "demo", "unit": "KiB"}
    assert message.meta == {"place": "r1"}


def test_rules_of_a_stage_run_in_the_order_of_the_configuration() -> None:
    settings = ProcessorSettings(
        rename_messages_if={"name == 'mem_used'": "first", "name == 'first'": "second", "name == 'second'": "third"}
    )
    message = _processed(settings)
    assert message is not None
    assert message.name == "third"


@pytest.mark.parametrize(
    ("unit", "prefix", "factor", "written"),
    [
        ("KiB", "G", 1024e-9, "GB"),
        ("kB", "G", 1e-6, "GB"),
        ("B/s", "M", 1e-6, "MB/s"),
        ("MHz", "", 1e6, "Hz"),
        ("B", "Ki", 1 / 1024, "KiB"),
        ("%", "G", 1, "%"),
        ("load", "G", 1, "load"),
        ("", "G", 1, ""),
    ],
)
def test_the_prefix_of_a_unit_changes_the_value_with_it(unit: str, prefix: str, factor: float, written: str) -> None:
    message = _processed(ProcessorSettings(change_unit_prefix={"name == 'mem_used'": prefix}), meta={"unit": unit})
    assert message is not None
    assert message.factor == pytest.approx(factor)
    assert message.meta["unit"] == written


def test_conditions_see_the_value_in_the_present_unit() -> None:
    settings = ProcessorSettings(
        change_unit_prefix={"*": "M"}, drop_messages_if=("value > 100",), stage_order=("change_unit_prefix", "drop_if")
    )
    assert _processed(settings, meta={"unit": "B"}, sample_value=5e6) is not None
    assert _processed(settings, meta={"unit": "B"}, sample_value=5e8) is None


def test_units_are_normalised_on_request() -> None:
    message = _processed(ProcessorSettings(normalize_units=True), meta={"unit": "MBytes/sec"})
    assert message is not None
    assert message.meta["unit"] == "MB/s"


def test_stages_that_are_not_named_do_not_run() -> None:
    settings = ProcessorSettings(
        drop_messages=("mem_used",), rename_messages={"mem_used": "x"}, stage_order=("rename", "drop_by_name")
    )
    message = _processed(settings)
    assert message is not None
    assert message.name == "x"


@pytest.mark.parametrize(
    ("settings", "part"),
    [
        (ProcessorSettings(drop_messages_if=("bogus ==",)), "process_messages.drop_messages_if: unknown name 'bogus'"),
        (ProcessorSettings(add_tags_if=(TagRule("a", "b", "1"),)), "process_messages.add_tags_if: '1' does not yield"),
        (ProcessorSettings(change_unit_prefix={"*": "Q"}), "process_messages.change_unit_prefix: '*': prefix 'Q'"),
        (ProcessorSettings(stage_order=("rename", "shuffle")), "no stage 'shuffle'; stages are drop_by_name, "),
    ],
)
def test_mistakes_name_the_key(settings: ProcessorSettings, part: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Processor(settings)
    assert part in str(caught.value)
    assert caught.value.key.startswith("process_messages.")


def test_a_processor_without_rules_is_false() -> None:
    assert not Processor(ProcessorSettings())
    assert Processor(ProcessorSettings(drop_messages=("x",)))
    assert len(STAGES) == 19
    assert len(FIELD_RULES) == 6
