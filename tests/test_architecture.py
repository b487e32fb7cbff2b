"""Tree and picture of the packages are those of the tree."""

import re
import runpy
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def script(repository: Path) -> dict[str, Any]:
    return runpy.run_path(str(repository / "packaging/draw_architecture.py"))


def test_tree_and_picture_are_up_to_date(script: dict[str, Any], repository: Path) -> None:
    drawn = script["files"]()
    written = {name: (repository / name).read_text("utf-8") for name in drawn}
    assert [name for name in drawn if drawn[name] != written[name]] == [], "run `make docs`"


def test_the_picture_is_small_and_has_every_package_of_the_backend(script: dict[str, Any]) -> None:
    text = script["picture"]()
    assert len(text) < 20_000
    shown = re.findall(r"<text [^>]*>([^<]*)</text>", text)
    assert {part for floor in script["import_rules"]()["BACKEND_FLOORS"] for part in floor} <= set(shown)


def test_no_two_boxes_overlap_and_no_arrow_passes_through_one(script: dict[str, Any]) -> None:
    floors = (("e",), ("c", "d"), ("b",), ("a",))
    edges = {"a": frozenset("bcde"), "b": frozenset("c"), "c": frozenset("e"), "d": frozenset(), "e": frozenset()}
    panel = script["make_panel"]("", floors, edges)
    for layer in panel.layers:
        for left, right in pairwise(layer):
            apart = (script["width_of"](left) + script["width_of"](right)) / 2
            assert panel.x[right] - panel.x[left] >= apart


def test_an_arrow_that_follows_from_others_is_left_out(script: dict[str, Any]) -> None:
    edges = {"a": frozenset("bc"), "b": frozenset("c"), "c": frozenset()}
    assert script["without_shortcuts"](edges) == {"a": frozenset("b"), "b": frozenset("c"), "c": frozenset()}


def test_every_name_of_the_flows_exists(code_names: frozenset[str], repository: Path) -> None:
    text = (repository / "docs/architecture.md").read_text("utf-8")
    flows = text[text.index("\n## Three flows\n") : text.index("\n## Decisions\n")]
    names = re.findall(r"`([\w.]+)`", flows)
    assert len(names) > 30
    assert [name for name in names if name not in code_names and not name.endswith(".json")] == []
