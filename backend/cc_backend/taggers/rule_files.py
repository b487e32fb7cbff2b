"""Rules of job classes: files of JSON, checked when they are read. Pure.

A rule names the metrics and parameters that it reads, conditions that must hold first (`requirements`), values to be
computed (`variables`), the condition of the class (`rule`), and a `hint` for the user.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

from cc_backend.taggers.expression_parser import parse_expression
from cc_backend.taggers.expression_tokens import Node, RuleExpressionError
from cc_backend.taggers.expression_types import Kind, KindTree, require_kind
from cc_backend.taggers.hint_template import HintTemplate, parse_hint
from cc_backend.taggers.tagger_folder import MAX_FILE_BYTES, TaggerFile, is_tag_name
from cc_common.errors import PayloadError
from cc_common.json_reader import parse_json
from cc_common.nearest_name import did_you_mean

PARAMETERS = "parameters.json"
MAX_ENTRIES = 100
"""Most requirements, variables, metrics and parameters of a rule."""

JOB_KINDS: Mapping[str, KindTree] = {
    "shared": Kind.TEXT,
    "jobState": Kind.TEXT,
    **dict.fromkeys(("duration", "numCores", "numNodes", "numAcc", "smt"), Kind.NUMBER),
}
"""What rules read of a job; `numCores` is its number of hardware threads, as in ClusterCockpit 1.5."""

LIMITS = ("peak", "normal", "caution", "alert")
_METRIC_KINDS: Mapping[str, KindTree] = {
    **dict.fromkeys(("min", "max", "avg"), Kind.NUMBER),
    "limits": dict.fromkeys(LIMITS, Kind.NUMBER),
}
_KEYS = ("name", "tag", "parameters", "metrics", "requirements", "variables", "rule", "hint")


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule that can be applied; its expressions are those of the file, parsed and checked."""

    tag: str
    name: str
    metrics: tuple[str, ...]
    parameters: Mapping[str, float]
    requirements: tuple[Node, ...]
    variables: tuple[tuple[str, Node], ...]
    condition: Node
    hint: HintTemplate


class RuleError(Exception):
    """A rule that cannot be used; the text names the key and the fault."""


def read_rules(files: Iterable[TaggerFile], parameters: Mapping[str, float]) -> tuple[list[Rule], list[str]]:
    """The rules of the files, a later one in place of an earlier one with its tag, and what is wrong with others.

    `parameters` are known beside those of the file `parameters.json`, which come first.
    """
    rules: dict[str, Rule] = {}
    faults: list[str] = []
    rule_files = []
    known = dict(parameters)
    for file in files:
        if file.name == PARAMETERS:
            found, wrong = read_parameters(file)
            known.update(found)
            faults += wrong
        else:
            rule_files.append(file)
    for file in rule_files:
        try:
            document = _parse_object(file)
            rule = parse_rule(document, known)
        except RuleError as error:
            faults.append(f"{file.name}: {error}; the rule is left out")
            continue
        faults += [
            f"{file.name}: {key[:60]!r} is not a key of a rule{did_you_mean(key, _KEYS)}; it is ignored"
            for key in document
            if key not in _KEYS
        ]
        rules[rule.tag] = rule
    return list(rules.values()), faults


def shipped_rule_files() -> list[TaggerFile]:
    """The rules that come with the program, with their parameters."""
    folder = resources.files("cc_backend.taggers").joinpath("rules")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".json"))
    return [TaggerFile(name, folder.joinpath(name).read_text("utf-8")) for name in names]


def read_parameters(file: TaggerFile) -> tuple[dict[str, float], list[str]]:
    """The numbers of a `parameters.json`, and what is wrong with others."""
    try:
        document = _parse_object(file)
    except RuleError as error:
        return {}, [f"{file.name}: {error}; its parameters are left out"]
    numbers = {name: value for name, value in document.items() if _is_number(value) and name.isidentifier()}
    wrong = [name[:60] for name in document if name not in numbers]
    return numbers, [f"{file.name}: {name!r} is not a name with a number; it is left out" for name in wrong]


def parse_rule(document: Mapping[str, Any], parameters: Mapping[str, float]) -> Rule:
    """The rule of a JSON object; raises RuleError for the first fault. Unknown keys are ignored."""
    tag = _text(document, "tag")
    if not is_tag_name(tag):
        raise RuleError("'tag' must be 1 to 100 printable characters")
    metrics = _texts(document, "metrics")
    wanted = _texts(document, "parameters")
    environment: dict[str, KindTree] = {"job": JOB_KINDS}
    for name in wanted:
        if name not in parameters:
            raise RuleError(f"the parameter {name[:60]!r} is not in {PARAMETERS}{did_you_mean(name, parameters)}")
        environment[name] = Kind.NUMBER
    environment.update(dict.fromkeys(metrics, _METRIC_KINDS))
    requirements = tuple(
        _expression(text, Kind.TRUTH, environment, f"requirements[{index}]")
        for index, text in enumerate(_texts(document, "requirements"))
    )
    variables = []
    for index, entry in enumerate(_list(document, "variables")):
        name, node = _variable(entry, environment, f"variables[{index}]")
        environment[name] = Kind.NUMBER
        variables.append((name, node))
    return Rule(
        tag=tag,
        name=_text(document, "name", default=tag),
        metrics=metrics,
        parameters={name: parameters[name] for name in wanted},
        requirements=requirements,
        variables=tuple(variables),
        condition=_expression(_text(document, "rule"), Kind.TRUTH, environment, "rule"),
        hint=_hint(_text(document, "hint", default=""), environment),
    )


def _variable(entry: Any, environment: Mapping[str, KindTree], where: str) -> tuple[str, Node]:
    if not isinstance(entry, dict):
        raise RuleError(f"{where} must be an object with name and expr")
    name = _text(entry, "name", where=f"{where}.")
    if not name.isidentifier() or name in environment:
        raise RuleError(f"{where}.name: {name[:60]!r} is {'taken' if name in environment else 'not a name'}")
    return name, _expression(_text(entry, "expr", where=f"{where}."), Kind.NUMBER, environment, f"{where}.expr")


def _expression(text: str, kind: Kind, environment: Mapping[str, KindTree], where: str) -> Node:
    try:
        node = parse_expression(text)
        require_kind(node, kind, environment)
    except RuleExpressionError as error:
        raise RuleError(f"{where}: {error}") from None
    return node


def _hint(text: str, environment: Mapping[str, KindTree]) -> HintTemplate:
    try:
        hint = parse_hint(text)
        hint.check(environment)
    except RuleExpressionError as error:
        raise RuleError(f"hint: {error}") from None
    return hint


def _parse_object(file: TaggerFile) -> dict[str, Any]:
    try:
        document = parse_json(file.text.encode("utf-8", "replace"), max_bytes=2 * MAX_FILE_BYTES)
    except PayloadError as error:
        raise RuleError(str(error)) from None
    if not isinstance(document, dict):
        raise RuleError("must hold a JSON object")
    return document


def _text(document: Mapping[str, Any], key: str, *, default: str | None = None, where: str = "") -> str:
    value = document.get(key, default)
    if not isinstance(value, str) or (default is None and not value.strip()):
        raise RuleError(f"{where}{key} must be a text")
    return value


def _list(document: Mapping[str, Any], key: str) -> list[Any]:
    value = document.get(key)
    value = [] if value is None else value
    if not isinstance(value, list) or len(value) > MAX_ENTRIES:
        raise RuleError(f"{key} must be a list of at most {MAX_ENTRIES} entries")
    return value


def _texts(document: Mapping[str, Any], key: str) -> tuple[str, ...]:
    values = _list(document, key)
    if not all(isinstance(value, str) and value for value in values):
        raise RuleError(f"{key} must be a list of texts")
    return tuple(values)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
