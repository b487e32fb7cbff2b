"""axe-core on all pages: WCAG 2.0 to 2.2 at A and AA, and its best practices, without any violation."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.browser

Visit = Callable[..., Any]
ROOT = Path(__file__).resolve().parents[2]
CACHE = Path(os.environ.get("CC_ASSETS_CACHE", ROOT / ".cache" / "web-assets"))
AXE = CACHE / "node_modules" / "axe-core" / "axe.min.js"
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RUN = """async (rules) => {
  const found = await axe.run(document, { runOnly: { type: "tag", values: rules }, resultTypes: ["violations"] });
  const places = (nodes) => nodes.slice(0, 3).map((node) => node.html).join(" ");
  return found.violations.map((one) => `${one.id}: ${one.help}: ${places(one.nodes)}`);
}"""
PAGES = {
    "start": "/",
    "list": "/monitoring/jobs/",
    "table": "/monitoring/jobs/?view=table",
    "nothing found": "/monitoring/jobs/?q=nowhere&numNodes=3&durration=5",
    "job": "/monitoring/jobs/?q=4711823",
    "job at sockets": "/monitoring/job/{id}?scope=socket&axis=clock",
    "series": "/monitoring/job/{id}/series/cpu_load",
    "bad request": "/monitoring/jobs/?numNodes=many",
    "not found": "/monitoring/job/999999",
}


@pytest.fixture(scope="session")
def axe() -> str:
    """The script of axe-core."""
    if not AXE.is_file():
        pytest.skip("axe-core is missing: run `make assets`")
    return AXE.read_text(encoding="utf-8")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390, 320])
def test_no_page_has_a_violation(visit: Visit, axe: str, job_ids: dict[int, int], width: int, theme: str) -> None:
    visitor = visit(width, theme=theme)
    found = {}
    for name, path in PAGES.items():
        page = visitor.go(path.format(id=job_ids[4711823]))
        page.evaluate(axe)
        found[name] = page.evaluate(RUN, RULES)
        if name == "list":
            page.keyboard.press("f")
            found["filter"] = page.evaluate(RUN, RULES)
    visitor.complaints = [text for text in visitor.complaints if "404" not in text and "400" not in text]
    assert {name: violations for name, violations in found.items() if violations} == {}


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_form_has_no_violation(visit: Visit, axe: str, theme: str) -> None:
    page = visit(390, theme=theme, known=False).go("/login")
    page.evaluate(axe)
    assert page.evaluate(RUN, RULES) == []
