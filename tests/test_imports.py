"""The arrows of the house: who may import whom. docs/architecture.md draws them."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

ROOTS = {
    "cc_common": "common/cc_common",
    "cc_agent": "agent/cc_agent",
    "cc_slurm_adapter": "slurm_adapter/cc_slurm_adapter",
    "cc_backend": "backend/cc_backend",
    "cc_demo": "demo/cc_demo",
}

FRONT = (
    *("cc_backend.api", "cc_backend.web", "cc_backend.maintenance", "cc_backend.app", "cc_backend.cli"),
    "cc_backend.storeservice",
)
MIDDLE = ("cc_backend.jobs", "cc_backend.jobdata.samples", "cc_backend.jobdata.gaps", "cc_backend.auth")
LOWER = ("cc_backend.metricstore", "cc_backend.archive", "cc_backend.clusters")
INSIGHT = ("cc_backend.insight", "cc_backend.wording")
STORE_PARTS = ("lines", "memory", "disk", "answers", "absence")
LINES, MEMORY, DISK, ANSWERS, ABSENCE = (f"cc_backend.metricstore.{name}" for name in STORE_PARTS)
STORE = tuple(f"cc_backend.metricstore.{name}" for name in ("store", "upkeep", "capacity", "checkpoints"))
WEB_AND_DATABASE = ("flask", "werkzeug", "peewee", "playhouse")

# package -> what neither it nor anything below it may import
FORBIDDEN = {
    "cc_common": ("cc_agent", "cc_slurm_adapter", "cc_backend"),
    "cc_agent": ("cc_slurm_adapter", "cc_backend", "numpy", *WEB_AND_DATABASE),
    "cc_slurm_adapter": ("cc_agent", "cc_backend", "numpy", *WEB_AND_DATABASE),
    "cc_backend": ("cc_agent", "cc_slurm_adapter"),
    "cc_backend.model": (*FRONT, *MIDDLE, *LOWER, *INSIGHT, *WEB_AND_DATABASE),
    "cc_backend.metricstore": (
        *FRONT,
        *MIDDLE,
        *INSIGHT,
        "cc_backend.archive",
        "cc_backend.clusters",
        *WEB_AND_DATABASE,
    ),
    "cc_backend.metricstore.model": (LINES, MEMORY, DISK, ANSWERS, ABSENCE, *STORE),
    "cc_backend.metricstore.lines": (MEMORY, DISK, ANSWERS, ABSENCE, *STORE),
    "cc_backend.metricstore.memory": (DISK, ANSWERS, ABSENCE, *STORE),
    "cc_backend.metricstore.disk": (ANSWERS, ABSENCE, *STORE),
    "cc_backend.metricstore.answers": (DISK, ABSENCE, *STORE),
    "cc_backend.metricstore.absence": (DISK, *STORE),
    "cc_backend.archive": (*FRONT, *MIDDLE, *INSIGHT, "cc_backend.metricstore", *WEB_AND_DATABASE),
    "cc_backend.clusters": (
        *FRONT,
        *MIDDLE,
        *INSIGHT,
        "cc_backend.archive",
        "cc_backend.metricstore",
        *WEB_AND_DATABASE,
    ),
    "cc_backend.insight": (*FRONT, *MIDDLE, "cc_backend.archive", *WEB_AND_DATABASE),
    "cc_backend.wording": (*FRONT, *MIDDLE, *LOWER, "cc_backend.insight", *WEB_AND_DATABASE),
    "cc_backend.jobs": (*FRONT, "flask", "werkzeug"),
    "cc_backend.jobdata.samples": (*FRONT, "cc_backend.jobdata.gaps", "flask", "werkzeug"),
    "cc_backend.jobdata.gaps": (*FRONT, "cc_backend.jobs", "cc_backend.auth", *WEB_AND_DATABASE),
    "cc_backend.telemetry.exposition": (*FRONT, *MIDDLE, *LOWER, *WEB_AND_DATABASE),
    "cc_backend.telemetry.store_metrics": (*FRONT, *MIDDLE, *WEB_AND_DATABASE),
    "cc_backend.jobdata.external_store": (*FRONT, *MIDDLE, *WEB_AND_DATABASE),
    "cc_backend.jobdata.store_router": (*FRONT, *MIDDLE, *WEB_AND_DATABASE),
    "cc_backend.storeservice": ("cc_backend.web", "cc_backend.jobs", "cc_backend.archive", "cc_backend.app"),
    "cc_backend.httpserver": (*FRONT, *MIDDLE, *LOWER, "peewee", "playhouse"),
    "cc_backend.maintenance": ("cc_backend.api", "cc_backend.web", "flask", "werkzeug"),
    "cc_backend.auth": (*FRONT, "cc_backend.jobs"),
    "cc_backend.api": ("cc_backend.web",),
    "cc_backend.web": ("cc_backend.api",),
}

# They import what is lazy themselves, and are in turn imported only inside functions.
LAZY_MODULES = ("cc_common.deadline_transport",)
# What the agent's hot path must not load: imported only inside the functions that use it.
LAZY = {
    "cc_agent": ("typer", "httpx", "nats", "pynvml", "cpuinfo", *LAZY_MODULES),
    "cc_slurm_adapter": ("typer", "httpx", "nats", *LAZY_MODULES),
    "cc_common": ("httpx", "nats", *LAZY_MODULES),
    "cc_backend.jobdata.external_store": ("httpx", *LAZY_MODULES),
    "cc_backend.storeservice": ("httpx", *LAZY_MODULES),
}
COMMAND_LINES = ("cc_agent.cli", "cc_slurm_adapter.cli")

# module -> libraries that a process which loads it does without, whatever is imported on the way: they take memory
SPARED = {
    "cc_backend.server": ("flask", "numpy", "peewee", "joserfc", "typer", "ssl"),
    "cc_backend.app": ("httpx", "typer"),
    "cc_backend.maintenance.scheduler": ("httpx", "typer"),
    "cc_backend.storeservice.app": ("peewee", "sqlite3", "argon2", "httpx", "typer"),
    "cc_backend.storeservice.background": ("peewee", "sqlite3", "argon2", "httpx", "typer"),
}


def modules(repository: Path) -> Iterator[tuple[str, Path]]:
    for package, root in ROOTS.items():
        for path in sorted((repository / root).rglob("*.py")):
            parts = path.relative_to(repository / root).with_suffix("").parts
            names = parts[:-1] if parts and parts[-1] == "__init__" else parts
            yield ".".join((package, *names)), path


def imported(nodes: Iterator[ast.AST], module: str, *, is_package: bool) -> Iterator[tuple[int, str]]:
    base = module.split(".")
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            stem = base[: len(base) - node.level + is_package] if node.level else []
            name = ".".join([*stem, *([node.module] if node.module else [])])
            yield node.lineno, name
            yield from ((node.lineno, f"{name}.{alias.name}") for alias in node.names)


def below(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(prefix + ".")


def outside_functions(tree: ast.AST) -> Iterator[ast.AST]:
    for node in ast.iter_child_nodes(tree):
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not is_type_checking(node):
            yield from outside_functions(node)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def wrong_arrows(module: str, source: str, *, is_package: bool = False) -> list[str]:
    found = []
    for line, name in imported(ast.walk(ast.parse(source)), module, is_package=is_package):
        for owner, banned in FORBIDDEN.items():
            if below(module, owner):
                found += [f"{module}:{line} imports {name}" for ban in banned if below(name, ban)]
    return found


def eager_imports(module: str, source: str) -> list[str]:
    if module in COMMAND_LINES or module in LAZY_MODULES:
        return []
    found = []
    for line, name in imported(outside_functions(ast.parse(source)), module, is_package=False):
        for owner, lazy in LAZY.items():
            if below(module, owner):
                found += [f"{module}:{line} imports {name} at load time" for ban in lazy if below(name, ban)]
    return found


def loaded_with(module: str, eager: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """Every name that is imported, directly or on the way, when a module of ours is."""
    found: set[str] = set()
    todo = [module]
    while todo:
        parts = todo.pop().split(".")
        for name in (".".join(parts[:length]) for length in range(1, len(parts) + 1)):
            if name not in found:
                found.add(name)
                todo += eager.get(name, ())
    return frozenset(found)


def test_imports_follow_the_arrows(repository: Path) -> None:
    wrong = []
    for module, path in modules(repository):
        wrong += wrong_arrows(module, path.read_text("utf-8"), is_package=path.name == "__init__.py")
    assert wrong == []


def test_agent_adapter_and_common_load_heavy_libraries_only_where_they_are_used(repository: Path) -> None:
    wrong = []
    for module, path in modules(repository):
        wrong += eager_imports(module, path.read_text("utf-8"))
    assert wrong == []


@pytest.mark.parametrize("module", SPARED)
def test_a_process_does_not_load_what_it_has_no_use_for(repository: Path, module: str) -> None:
    eager = {
        name: frozenset(
            target
            for _, target in imported(
                outside_functions(ast.parse(path.read_text("utf-8"))), name, is_package=path.name == "__init__.py"
            )
        )
        for name, path in modules(repository)
    }
    loaded = loaded_with(module, eager)
    assert [name for name in sorted(loaded) for spared in SPARED[module] if below(name, spared)] == []


def test_what_is_imported_on_the_way_is_seen() -> None:
    eager = {"ours": frozenset({"ours.base"}), "ours.base": frozenset({"heavy.part"}), "ours.top": frozenset()}
    assert loaded_with("ours.top", eager) == {"ours", "ours.top", "ours.base", "heavy", "heavy.part"}


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("cc_common.units", "import cc_agent.loop"),
        ("cc_agent.loop", "from numpy import array"),
        ("cc_backend.metricstore.disk.wal.write_ahead_log", "def f():\n    from cc_backend.jobs import search"),
        ("cc_backend.metricstore.blocks.grid", "from cc_backend.metricstore.disk import wal"),
        ("cc_backend.archive.file_archive", "from .. import jobs"),
        ("cc_backend.jobs.search", "import flask"),
        ("cc_backend.auth.row_rules", "from cc_backend import jobs"),
    ],
)
def test_a_wrong_arrow_is_seen(module: str, source: str) -> None:
    assert wrong_arrows(module, source)


def test_an_import_inside_a_function_counts_as_lazy() -> None:
    assert eager_imports("cc_agent.sinks.http", "def send():\n    import httpx") == []
    assert eager_imports("cc_agent.sinks.http", "import httpx")
