"""CONTRIBUTING.md names what is there, and what its recipes say is complete."""

import re
from pathlib import Path

import pytest

from cc_agent.collectors.registry import CollectorsSettings
from cc_backend.insight import sentences
from cc_backend.insight.findings import FindingCode
from cc_common.settings.declare import settings_of

_PATH = re.compile(r"`([\w./-]+/[\w./-]*)`")
_NAME = re.compile(r"`([A-Za-z_][\w.]*)`")
_NOT_NAMES = {"open", "read", "close", "start", "put", "choices", "code", "scontrol", "_s", "_bytes", "__all__"}


@pytest.fixture(scope="module")
def guide(repository: Path) -> str:
    return (repository / "CONTRIBUTING.md").read_text("utf-8")


def test_every_file_that_a_recipe_names_exists(guide: str, repository: Path) -> None:
    paths = _PATH.findall(guide)
    assert len(paths) > 50
    assert [path for path in paths if not (repository / path).exists()] == []


def test_every_name_that_a_recipe_names_exists(guide: str, code_names: frozenset[str], repository: Path) -> None:
    tests = "".join(path.read_text("utf-8") for path in (repository / "tests").rglob("*.py"))
    names = {name for name in _NAME.findall(guide[guide.index("## Recipes") :]) if name not in _NOT_NAMES}
    assert len(names) > 25
    assert [name for name in names if name not in code_names and not re.search(rf"\b{name}\b", tests)] == []


def test_every_make_target_that_is_named_exists(guide: str, repository: Path) -> None:
    makefile = (repository / "Makefile").read_text("utf-8")
    assert [target for target in re.findall(r"`make ([a-z-]+)`", guide) if f"\n{target}:" not in makefile] == []


def test_every_collector_keeps_the_contract_of_all(repository: Path) -> None:
    contract = (repository / "tests/agent/test_collector_contract.py").read_text("utf-8")
    names = [setting.key for setting in settings_of(CollectorsSettings)]
    assert [name for name in names if not re.search(rf'^    "{name}[",]', contract, re.MULTILINE)] == []


def test_every_finding_has_words_and_is_described(repository: Path) -> None:
    said = {*FindingCode} - {FindingCode.NOT_JUDGED}
    assert said == {*sentences._RULES}
    table = (repository / "docs/web.md").read_text("utf-8")
    assert [code for code in said - {FindingCode.NOTHING_FOUND} if f"\n| `{code}` |" not in table] == []
