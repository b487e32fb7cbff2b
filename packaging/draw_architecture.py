"""Draws docs/images/house.svg and the tree of docs/architecture.md from the imports and the packages as they are.

The floors are those of tests/test_imports.py. An arrow leads from a package to one that it imports; an arrow that
follows from others is left out. A test compares both files with what stands in the tree.
"""

import ast
import runpy
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PICTURE = "docs/images/house.svg"
PAGE = "docs/architecture.md"
BEGIN, END = "<!-- tree: written by `make docs` -->\n", "<!-- end of the tree -->"

Floors = Sequence[Sequence[str]]
Edges = Mapping[str, frozenset[str]]
# A package, or the place at which an arrow passes a floor: where it comes from, where it leads, the floor.
Node = str | tuple[str, str, int]

CHARACTER, BOX, FLOOR, GAP, BEND = 7.3, 26, 52, 16, 12  # pixels: width of a character, heights, distances
SWEEPS = 30
STYLE = """
    svg { --ink: #131920; --line: #7c8896; --sheet: #f5f7f9; --flow: #00647a; color-scheme: light dark }
    @media (prefers-color-scheme: dark) {
      svg { --ink: #e6ebf0; --line: #66727f; --sheet: #181f28; --flow: #56c5d8 }
    }
    text { font: 12px ui-monospace, "SF Mono", "Noto Sans Mono", Consolas, monospace; fill: var(--ink);
           text-anchor: middle }
    .head { font: 600 14px system-ui, -apple-system, "Segoe UI", "Noto Sans", Arial, sans-serif; text-anchor: start }
    rect { fill: var(--sheet); stroke: var(--line) }
    .flow { fill: none; stroke: var(--flow); stroke-width: 1.2; marker-end: url(#tip) }
    #tip path { fill: var(--flow) }
  """


# --- what there is


def import_rules() -> dict[str, Any]:
    """The names of tests/test_imports.py: floors, and how imports are read."""
    return runpy.run_path(str(ROOT / "tests/test_imports.py"))


def imports_below(rules: Mapping[str, Any], package: str, parts: Iterable[str]) -> dict[str, frozenset[str]]:
    """Part of a package -> the parts of it that its modules import."""
    found: dict[str, set[str]] = {part: set() for part in parts}
    prefix = f"{package}." if package else ""
    for module, path in rules["modules"](ROOT):
        part = module.removeprefix(prefix).partition(".")[0]
        if module.startswith(prefix) and part in found:
            tree = ast.parse(path.read_text("utf-8"))
            for _, name in rules["imported"](ast.walk(tree), module, is_package=path.name == "__init__.py"):
                target = name.removeprefix(prefix).partition(".")[0]
                if name.startswith(prefix) and target in found and target != part:
                    found[part].add(target)
    return {part: frozenset(targets) for part, targets in found.items()}


def without_shortcuts(edges: Edges) -> dict[str, frozenset[str]]:
    """The edges without those that follow from others; the edges have no circle."""

    def reached(part: str) -> set[str]:
        return {part}.union(*(reached(target) for target in edges[part]))

    return {
        part: frozenset(b for b in targets if not any(b in reached(a) for a in targets if a != b))
        for part, targets in edges.items()
    }


# --- where it stands in the picture


@dataclass
class Panel:
    """Floors from top to bottom with what stands on each, arrows, and an x for the middle of everything."""

    title: str
    layers: list[list[Node]]
    chains: list[list[Node]]
    x: dict[Node, float]

    @property
    def width(self) -> float:
        """Pixels from the left edge to the right end of the widest floor."""
        return max(self.x[node] + width_of(node) / 2 for node in self.x)

    @property
    def height(self) -> float:
        """Pixels of all floors."""
        return len(self.layers) * FLOOR + 10


def width_of(node: Node) -> float:
    """The width of a box, or of the passage for one arrow."""
    return len(node) * CHARACTER + 18 if isinstance(node, str) else BEND


def make_panel(title: str, floors: Floors, edges: Edges) -> Panel:
    """Floors are given lowest first, as in tests/test_imports.py."""
    layers: list[list[Node]] = [list(floor) for floor in reversed(floors)]
    level = {node: number for number, layer in enumerate(layers) for node in layer}
    chains: list[list[Node]] = []
    for source, targets in edges.items():
        for target in sorted(targets):
            bends: list[Node] = [(source, target, number) for number in range(level[source] + 1, level[target])]
            for bend in bends:
                layers[bend[2]].append(bend)  # type: ignore[index]
            chains.append([source, *bends, target])
    layers = fewest_crossings(layers, chains)
    return Panel(title, layers, chains, coordinates(layers, chains))


def neighbours(chains: Iterable[Sequence[Node]]) -> tuple[dict[Node, list[Node]], dict[Node, list[Node]]]:
    """What stands above and what stands below each node, joined to it by an arrow."""
    above: dict[Node, list[Node]] = {}
    below: dict[Node, list[Node]] = {}
    for chain in chains:
        for upper, lower in pairwise(chain):
            below.setdefault(upper, []).append(lower)
            above.setdefault(lower, []).append(upper)
    return above, below


def fewest_crossings(layers: list[list[Node]], chains: list[list[Node]]) -> list[list[Node]]:
    """The best order of each floor among those that sweeps up and down come by (the barycentre method)."""
    above, below = neighbours(chains)
    best, fewest = layers, crossings(layers, below)
    for sweep in range(SWEEPS):
        side = above if sweep % 2 == 0 else below
        order = [list(layer) for layer in layers]
        for layer in order if sweep % 2 == 0 else reversed(order):
            place = {node: number / len(row) for row in order for number, node in enumerate(row)}
            layer.sort(key=lambda node: mean([place[other] for other in side.get(node, ())], place[node]))
        layers, count = order, crossings(order, below)
        if count < fewest:
            best, fewest = order, count
    return best


def mean(values: list[float], otherwise: float) -> float:
    """The mean, or `otherwise` of no values."""
    return sum(values) / len(values) if values else otherwise


def crossings(layers: list[list[Node]], below: Mapping[Node, list[Node]]) -> int:
    """How many pairs of arrows cross between two floors."""
    count = 0
    for upper, lower in pairwise(layers):
        place = {node: number for number, node in enumerate(lower)}
        lines = [(number, place[other]) for number, node in enumerate(upper) for other in below.get(node, ())]
        count += sum((a[0] - b[0]) * (a[1] - b[1]) < 0 for i, a in enumerate(lines) for b in lines[:i])
    return count


def coordinates(layers: list[list[Node]], chains: list[list[Node]]) -> dict[Node, float]:
    """The middle of each node: as near to its neighbours as the order of its floor allows."""
    above, below = neighbours(chains)
    x: dict[Node, float] = {}
    for layer in layers:
        x.update(zip(layer, apart(layer, [0.0] * len(layer)), strict=True))
    for sweep in range(SWEEPS):
        for layer in layers if sweep % 2 == 0 else reversed(layers):
            wanted = [
                mean([x[other] for other in (*above.get(node, ()), *below.get(node, ()))], x[node]) for node in layer
            ]
            x.update(zip(layer, apart(layer, wanted), strict=True))
    left = min(x[node] - width_of(node) / 2 for node in x)
    return {node: round(value - left, 1) for node, value in x.items()}


def apart(layer: Sequence[Node], wanted: Sequence[float]) -> list[float]:
    """The places nearest to the wanted ones at which nothing overlaps: least squares, by pooling neighbours."""
    offsets, at = [], 0.0
    for number, node in enumerate(layer):
        if number:
            at += (width_of(layer[number - 1]) + width_of(node)) / 2 + GAP
        offsets.append(at)
    pools: list[list[float]] = []
    for value, offset in zip(wanted, offsets, strict=True):
        pools.append([value - offset])
        while len(pools) > 1 and mean(pools[-2], 0) > mean(pools[-1], 0):
            pools[-2:] = [pools[-2] + pools[-1]]
    return [mean(pool, 0) + offset for pool, offset in zip((p for p in pools for _ in p), offsets, strict=True)]


# --- the picture


def draw(panels: Sequence[tuple[float, float, Panel]], width: float, height: float) -> str:
    """The SVG of panels with their left upper corners."""
    parts = [part for left, top, panel in panels for part in drawn(panel, left, top)]
    described_panels = " ".join(described(panel) for _, _, panel in panels)
    return f"""\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" aria-labelledby="title desc">
  <title id="title">Which package imports which</title>
  <desc id="desc">{described_panels}</desc>
  <style>{STYLE}</style>
  <defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7"
    markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0 8 4 0 8z"/></marker></defs>
{"".join(parts)}</svg>
"""


def described(panel: Panel) -> str:
    """The arrows of a panel as a sentence."""
    targets: dict[Node, list[str]] = {}
    for chain in panel.chains:
        targets.setdefault(chain[0], []).append(str(chain[-1]))
    return f"{panel.title}: " + "; ".join(f"{source} to {', '.join(names)}" for source, names in targets.items()) + "."


def drawn(panel: Panel, left: float, top: float) -> Iterator[str]:
    """Arrows first, boxes above them."""
    level = {node: number for number, layer in enumerate(panel.layers) for node in layer}
    yield f'  <text class="head" x="{left:g}" y="{top:g}">{panel.title}</text>\n'
    for chain in panel.chains:
        path = f"M{left + panel.x[chain[0]]:g} {top + 14 + level[chain[0]] * FLOOR + BOX:g}"
        for upper, lower in pairwise(chain):
            x1, y1 = left + panel.x[upper], top + 14 + level[upper] * FLOOR + BOX
            x2, y2 = left + panel.x[lower], top + 14 + level[lower] * FLOOR
            middle = (y1 + y2) / 2
            path += f"V{y1:g}C{x1:g} {middle:g} {x2:g} {middle:g} {x2:g} {y2:g}"
        yield f'  <path class="flow" d="{path}"/>\n'
    for layer in panel.layers:
        for node in layer:
            if isinstance(node, str):
                x, y, width = left + panel.x[node], top + 14 + level[node] * FLOOR, width_of(node)
                yield f'  <rect x="{x - width / 2:g}" y="{y:g}" width="{width:g}" height="{BOX}" rx="4"/>\n'
                yield f'  <text x="{x:g}" y="{y + 17:g}">{node}</text>\n'


def picture() -> str:
    """docs/images/house.svg as it must be."""
    rules = import_rules()
    programs = (("cc_common",), ("cc_agent", "cc_slurm_adapter", "cc_backend"), ("cc_demo",))
    shown = (
        ("The programs", "", programs),
        ("The metric store, cc_backend.metricstore", "cc_backend.metricstore", rules["STORE_FLOORS"]),
        ("The backend, cc_backend", "cc_backend", rules["BACKEND_FLOORS"]),
    )
    panels = []
    for title, package, floors in shown:
        parts = [part for floor in floors for part in floor]
        panels.append(make_panel(title, floors, without_shortcuts(imports_below(rules, package, parts))))
    top, bottom, right = panels
    middle = max(top.width, bottom.width, 300) + 60
    height = max(top.height + bottom.height + 50, right.height + 10) + 30
    placed = [(20, 26, top), (20, 26 + top.height + 44, bottom), (20 + middle, 26, right)]
    return draw(placed, round(40 + middle + right.width), round(height))


# --- the tree


def tree() -> str:
    """Every package with the first line of its docstring, and its modules."""
    lines = ["```"]
    for root in import_rules()["ROOTS"].values():
        for init in sorted((ROOT / root).rglob("__init__.py")):
            folder = init.parent
            depth = len(folder.relative_to(ROOT / root).parts)
            name = f"{folder.relative_to(ROOT)}/" if depth == 0 else f"{'    ' * depth}{folder.name}/"
            says = (ast.get_docstring(ast.parse(init.read_text("utf-8"))) or "").partition("\n")[0].rstrip(".")
            lines += textwrap.wrap(f"{name:<28} {says}", 118, subsequent_indent=" " * 29)
            modules = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("__"))
            indent = "    " * (depth + 1)
            lines += textwrap.wrap("  ".join(modules), 118, initial_indent=indent, subsequent_indent=indent)
    return "\n".join([*lines, "```\n"])


def files() -> dict[str, str]:
    """Path below the repository -> its text as it must be."""
    page = (ROOT / PAGE).read_text("utf-8")
    before, _, rest = page.partition(BEGIN)
    return {PICTURE: picture(), PAGE: f"{before}{BEGIN}{tree()}{END}{rest.partition(END)[2]}"}


def main() -> int:
    """Write both files."""
    for name, text in files().items():
        (ROOT / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {name}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
