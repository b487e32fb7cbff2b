"""The message processor: rename, drop, tag and convert series by the rules of the configuration.

The keys and the order of the stages are those of cc-metric-collector. Unlike there, rules within a stage run in the
order of the configuration, and a rule that does not use the value or time of a sample runs once per series.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping, Optional, Sequence, Tuple

from cc_agent.errors import ExpressionError
from cc_agent.expression import Condition, compile_condition
from cc_agent.rule_input import RuleInput
from cc_common.errors import SettingsError, UnitError
from cc_common.settings import option, required, sections
from cc_common.units import Unit, convert, parse_unit, prefix_factor, unit_from_object

RuleFunction = Callable[[RuleInput], bool]
"""Changes its input in place; False drops it."""

STAGES = (
    "drop_by_name",
    "drop_by_type",
    "drop_if",
    "add_tag",
    "delete_tag",
    "move_tag_to_meta",
    "move_tag_to_fields",
    "add_meta",
    "delete_meta",
    "move_meta_to_tags",
    "move_meta_to_fields",
    "add_field",
    "delete_field",
    "move_field_to_tags",
    "move_field_to_meta",
    "rename",
    "rename_if",
    "change_unit_prefix",
    "normalize_unit",
)

_FIELD_KEYS = (
    "move_tag_to_field_if",
    "move_meta_to_field_if",
    "add_field_if",
    "delete_field_if",
    "move_field_to_tag_if",
    "move_field_to_meta_if",
)
FIELD_RULES = dict.fromkeys(_FIELD_KEYS, "is left out: a sample carries exactly one number, the field 'value'")
"""Rules of cc-metric-collector that are not supported, each with the text of the warning."""


@dataclass(frozen=True)
class TagRule:
    """Sets, moves or deletes a tag if a condition holds."""

    key: str = required("the tag or meta key", key="key")
    value: str = option("", "the value to set; for moves the new key", key="value")
    condition: str = option("*", "when; `*` is always", key="if")


@dataclass(frozen=True)
class ProcessorSettings:
    """Rules of a message processor."""

    drop_messages: Tuple[str, ...] = option((), "metric names to drop", key="drop_messages")
    drop_by_message_type: Tuple[str, ...] = option((), "message types to drop", key="drop_by_message_type")
    drop_messages_if: Tuple[str, ...] = option((), "conditions that drop", key="drop_messages_if")
    add_tags_if: Tuple[TagRule, ...] = sections(TagRule, "tags to set", key="add_tags_if")
    delete_tags_if: Tuple[TagRule, ...] = sections(TagRule, "tags to delete", key="delete_tags_if")
    move_tag_to_meta_if: Tuple[TagRule, ...] = sections(TagRule, "tags to turn into meta", key="move_tag_to_meta_if")
    add_meta_if: Tuple[TagRule, ...] = sections(TagRule, "meta to set", key="add_meta_if")
    delete_meta_if: Tuple[TagRule, ...] = sections(TagRule, "meta to delete", key="delete_meta_if")
    move_meta_to_tag_if: Tuple[TagRule, ...] = sections(TagRule, "meta to turn into tags", key="move_meta_to_tag_if")
    rename_messages: Mapping[str, str] = option({}, "old metric name -> new name", key="rename_messages")
    rename_messages_if: Mapping[str, str] = option({}, "condition -> new name", key="rename_messages_if")
    change_unit_prefix: Mapping[str, str] = option({}, "condition -> prefix of the unit", key="change_unit_prefix")
    normalize_units: bool = option(False, "write units in their short form", key="normalize_units")
    add_base_env: Mapping[str, Any] = option({}, "constants for conditions", key="add_base_env")
    stage_order: Tuple[str, ...] = option(
        (), "stages to run, in this order; empty means all in the usual order", key="stage_order", choices=()
    )


class Processor:
    """The rules of the settings in the order in which they apply."""

    def __init__(self, settings: ProcessorSettings, *, key: str = "process_messages") -> None:
        """`key` is the dotted path of the settings, for messages. Raises SettingsError for an invalid rule."""
        self._settings = settings
        self._key = key
        unknown = [stage for stage in settings.stage_order if stage not in STAGES]
        if unknown:
            raise SettingsError(
                f"{key}.stage_order", f"{key}.stage_order: no stage {unknown[0]!r}; stages are {', '.join(STAGES)}"
            )
        rules = self._rules()
        self._sequence: List[RuleFunction] = [
            rule for stage in (settings.stage_order or STAGES) for rule in rules.get(stage, ())
        ]

    def __bool__(self) -> bool:
        """Whether there is any rule."""
        return bool(self._sequence)

    def process(self, message: RuleInput) -> bool:
        """Apply all rules in place; False if the input was dropped. May raise NeedsSampleError."""
        return all(rule(message) for rule in self._sequence)

    def _condition(self, key: str, text: str) -> Condition:
        try:
            return compile_condition(text, self._settings.add_base_env)
        except ExpressionError as error:
            raise SettingsError(f"{self._key}.{key}", f"{self._key}.{key}: {error}") from error

    def _rules(self) -> Dict[str, List[RuleFunction]]:
        settings = self._settings
        rules: Dict[str, List[RuleFunction]] = {
            "drop_by_name": [_drop_names(frozenset(settings.drop_messages))] if settings.drop_messages else [],
            "drop_by_type": [_drop_kinds(frozenset(settings.drop_by_message_type))]
            if settings.drop_by_message_type
            else [],
            "drop_if": [_drop_if(self._condition("drop_messages_if", text)) for text in settings.drop_messages_if],
            "rename": [_rename(dict(settings.rename_messages))] if settings.rename_messages else [],
            "rename_if": [
                _rename_if(self._condition("rename_messages_if", text), new)
                for text, new in settings.rename_messages_if.items()
            ],
            "change_unit_prefix": [
                self._prefix_rule(text, prefix) for text, prefix in settings.change_unit_prefix.items()
            ],
            "normalize_unit": [_normalize_unit] if settings.normalize_units else [],
        }
        for stage, key, rule_list, make in (
            ("add_tag", "add_tags_if", settings.add_tags_if, _add_tag),
            ("delete_tag", "delete_tags_if", settings.delete_tags_if, _delete_tag),
            ("move_tag_to_meta", "move_tag_to_meta_if", settings.move_tag_to_meta_if, _move_tag_to_meta),
            ("add_meta", "add_meta_if", settings.add_meta_if, _add_meta),
            ("delete_meta", "delete_meta_if", settings.delete_meta_if, _delete_meta),
            ("move_meta_to_tags", "move_meta_to_tag_if", settings.move_meta_to_tag_if, _move_meta_to_tag),
        ):
            rules[stage] = self._tag_rules(key, rule_list, make)
        return rules

    def _tag_rules(
        self, key: str, rules: Sequence[TagRule], make: Callable[[TagRule, RuleInput], None]
    ) -> List[RuleFunction]:
        return [_conditional_rule(self._condition(key, rule.condition), rule, make) for rule in rules]

    def _prefix_rule(self, text: str, prefix: str) -> RuleFunction:
        condition = self._condition("change_unit_prefix", text)
        try:
            prefix_factor(prefix)
        except UnitError as error:
            key = f"{self._key}.change_unit_prefix"
            raise SettingsError(key, f"{key}: {text!r}: {error}") from error

        def change(message: RuleInput) -> bool:
            if condition(message):
                _change_prefix(message, prefix)
            return True

        return change


def _conditional_rule(condition: Condition, rule: TagRule, act: Callable[[TagRule, RuleInput], None]) -> RuleFunction:
    def apply(message: RuleInput) -> bool:
        if condition(message):
            act(rule, message)
        return True

    return apply


def _drop_names(names: frozenset[str]) -> RuleFunction:
    return lambda message: message.name not in names


def _drop_kinds(kinds: frozenset[str]) -> RuleFunction:
    return lambda message: message.kind not in kinds


def _drop_if(condition: Condition) -> RuleFunction:
    return lambda message: not condition(message)


def _rename(names: Mapping[str, str]) -> RuleFunction:
    def rename(message: RuleInput) -> bool:
        new = names.get(message.name)
        if new:
            _set_name(message, new)
        return True

    return rename


def _rename_if(condition: Condition, new: str) -> RuleFunction:
    def rename(message: RuleInput) -> bool:
        if condition(message):
            _set_name(message, new)
        return True

    return rename


def _set_name(message: RuleInput, new: str) -> None:
    message.meta["oldname"] = message.name
    message.name = new


def _add_tag(rule: TagRule, message: RuleInput) -> None:
    message.tags[rule.key] = rule.value


def _delete_tag(rule: TagRule, message: RuleInput) -> None:
    message.tags.pop(rule.key, None)


def _move_tag_to_meta(rule: TagRule, message: RuleInput) -> None:
    if rule.key in message.tags:
        message.meta[rule.value or rule.key] = message.tags.pop(rule.key)


def _add_meta(rule: TagRule, message: RuleInput) -> None:
    message.meta[rule.key] = rule.value


def _delete_meta(rule: TagRule, message: RuleInput) -> None:
    message.meta.pop(rule.key, None)


def _move_meta_to_tag(rule: TagRule, message: RuleInput) -> None:
    if rule.key in message.meta:
        message.tags[rule.value or rule.key] = message.meta.pop(rule.key)


def _find_unit(message: RuleInput) -> Tuple[Optional[Dict[str, str]], Optional[Unit]]:
    """The mapping that holds the unit, and the parsed unit; None for either that is missing or unknown."""
    for place in (message.meta, message.tags):
        if "unit" in place:
            try:
                return place, parse_unit(place["unit"])
            except UnitError:
                return place, None
    return None, None


def _change_prefix(message: RuleInput, prefix: str) -> None:
    place, unit = _find_unit(message)
    if place is None or unit is None or unit.measure == "%":
        return
    target = unit_from_object(unit.base, prefix)
    message.factor *= convert(1.0, unit, target)
    place["unit"] = str(target)


def _normalize_unit(message: RuleInput) -> bool:
    place, unit = _find_unit(message)
    if place is not None and unit is not None:
        place["unit"] = str(unit)
    return True
