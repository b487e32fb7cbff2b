import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.taggers.rule_files import RuleError, parse_rule, read_parameters, read_rules, shipped_rule_files
from cc_backend.taggers.tagger_folder import TaggerFile, TaggerFolder

PARAMETERS = {"gpu_floor": 0.1, "job_min_duration_seconds": 600.0}


def idle_gpu(**changes: Any) -> dict[str, Any]:
    return {
        "name": "Idle GPU",
        "tag": "idlegpu",
        "parameters": ["gpu_floor", "job_min_duration_seconds"],
        "metrics": ["acc_utilization"],
        "requirements": ["job.numAcc > 0", "job.duration > job_min_duration_seconds"],
        "variables": [{"name": "floor_abs", "expr": "acc_utilization.limits.peak * gpu_floor"}],
        "rule": "acc_utilization.avg < floor_abs",
        "hint": "GPU use {{.acc_utilization.avg}} is under {{.floor_abs}}",
        **changes,
    }


def test_a_rule_is_read_with_its_parameters() -> None:
    rule = parse_rule(idle_gpu(), PARAMETERS)
    assert (rule.tag, rule.name, rule.metrics, rule.parameters) == (
        "idlegpu",
        "Idle GPU",
        ("acc_utilization",),
        PARAMETERS,
    )
    assert (len(rule.requirements), len(rule.variables)) == (2, 1)


def test_only_tag_and_rule_are_needed() -> None:
    rule = parse_rule({"tag": "long", "rule": "job.duration > 86400"}, {})
    assert (rule.name, rule.metrics, rule.hint.render({})) == ("long", (), "")


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"tag": ""}, "tag must be a text"),
        ({"tag": "a\nb"}, "'tag' must be 1 to 100 printable characters"),
        ({"tag": 7}, "tag must be a text"),
        ({"rule": None}, "rule must be a text"),
        ({"rule": "acc_utilization.avg"}, "rule: true or false is expected as the result, not a number"),
        ({"rule": "acc_utilization.avg <"}, "rule: position 22: a value is expected, not 'the end'"),
        ({"rule": "acc_utilisation.avg < 1"}, "rule: 'acc_utilisation' is not known; did you mean 'acc_utilization'?"),
        ({"parameters": ["gpu_flor"]},
         "the parameter 'gpu_flor' is not in parameters.json; did you mean 'gpu_floor'?"),
        ({"parameters": "gpu_floor"}, "parameters must be a list of at most 100 entries"),
        ({"metrics": [1]}, "metrics must be a list of texts"),
        ({"metrics": ["a"] * 101}, "metrics must be a list of at most 100 entries"),
        ({"requirements": ["job.numAcc"]},
         "requirements[0]: true or false is expected as the result, not a number"),
        ({"requirements": ["true", "job.numGpu > 0"]}, "requirements[1]: 'numGpu' is not known here"),
        ({"variables": [{"name": "x"}]}, "variables[0].expr must be a text"),
        ({"variables": ["x"]}, "variables[0] must be an object with name and expr"),
        ({"variables": [{"name": "job", "expr": "1"}]}, "variables[0].name: 'job' is taken"),
        ({"variables": [{"name": "a-b", "expr": "1"}]}, "variables[0].name: 'a-b' is not a name"),
        ({"variables": [{"name": "x", "expr": "true"}]},
         "variables[0].expr: a number is expected as the result, not true or false"),
        ({"hint": "{{.floor_ab}}"}, "hint: '.floor_ab' is not known; did you mean 'floor_abs'?"),
        ({"hint": "{{if}}"}, "hint: {{if}}: 'if' is not known here"),
    ],
)  # fmt: skip
def test_a_faulty_rule_is_refused_with_the_key_and_the_fault(changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(RuleError) as caught:
        parse_rule(idle_gpu(**changes), PARAMETERS)
    assert str(caught.value).startswith(problem)


def test_files_are_read_with_the_parameters_beside_them() -> None:
    files = [
        TaggerFile("a.json", json.dumps(idle_gpu())),
        TaggerFile("broken.json", "{"),
        TaggerFile("list.json", "[]"),
        TaggerFile("later.json", json.dumps(idle_gpu(name="Other", comment="x"))),
        TaggerFile("parameters.json", json.dumps({**PARAMETERS, "wrong": "x", "also-wrong": 1, "nan": True})),
    ]
    rules, faults = read_rules(files, {})
    assert [(rule.tag, rule.name) for rule in rules] == [("idlegpu", "Other")]
    assert [fault.partition(": ")[0] for fault in faults] == [*["parameters.json"] * 3, "broken.json", "list.json",
                                                             "later.json"]  # fmt: skip
    assert faults[-1] == "later.json: 'comment' is not a key of a rule; it is ignored"
    assert "must hold a JSON object" in faults[-2]


def test_parameters_that_cannot_be_read_cost_the_rules_that_need_them() -> None:
    files = [TaggerFile("parameters.json", "{]"), TaggerFile("a.json", json.dumps(idle_gpu()))]
    rules, faults = read_rules(files, {})
    assert rules == []
    assert len(faults) == 2
    assert read_parameters(TaggerFile("parameters.json", '{"a": NaN}'))[0] == {}


def test_a_file_that_is_nested_deeply_is_refused() -> None:
    _, faults = read_rules([TaggerFile("a.json", '{"variables":' + "[" * 5000)], {})
    assert "nested deeper than 32 levels" in faults[0]


def test_the_shipped_rules_are_whole() -> None:
    rules, faults = read_rules(shipped_rule_files(), {})
    assert sorted(rule.tag for rule in rules) == [
        "excessiveload",
        "highmemory",
        "lowload",
        "lowutilization",
        "memorybound",
    ]
    assert faults == []


def test_the_rules_of_the_reference_are_read_unchanged(shared_fixtures: Path) -> None:
    files, faults = TaggerFolder(shared_fixtures / "tagger/jobclasses").read()
    rules, wrong = read_rules(files, {})
    assert sorted(rule.tag for rule in rules) == sorted(rule.tag for rule in read_rules(shipped_rule_files(), {})[0])
    assert (faults, wrong) == ([], [])


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=5,
)


@given(st.sampled_from(sorted(idle_gpu())), JSON_VALUES)
def test_any_value_of_a_key_is_read_or_named(key: str, value: Any) -> None:
    with contextlib.suppress(RuleError):
        parse_rule(idle_gpu(**{key: value}), PARAMETERS)
