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

# The floors of the backend, lowest first: a package imports from lower floors only.
BACKEND_FLOORS = (
    ("errors", "model"),
    ("runtime", "settings", "wording", "httpserver"),
    ("clusters", "db", "metricstore"),
    ("archive", "auth", "insight", "taggers"),
    ("jobs",),
    ("jobdata", "migrations"),
    ("startup", "services"),
    ("telemetry", "exports"),
    ("http",),
    ("api", "web", "maintenance"),
    ("app",),
    ("server",),
    ("storeservice",),
    ("cli",),
    ("__main__",),
)
STORE_FLOORS = (
    ("self_metrics",),
    ("model",),
    ("ingest",),
    ("blocks",),
    ("index",),
    ("query", "disk"),
    ("gaps", "capacity"),
    ("upkeep",),
    ("store",),
    ("migrate",),
)
FLOORS = {"cc_backend": BACKEND_FLOORS, "cc_backend.metricstore": STORE_FLOORS}

WEB_AND_DATABASE = ("flask", "werkzeug", "peewee", "playhouse")
WEB = ("flask", "werkzeug")
# package -> what neither it nor anything below it may import
FORBIDDEN = {
    "cc_common": ("cc_agent", "cc_slurm_adapter", "cc_backend", "cc_demo", "numpy", *WEB_AND_DATABASE),
    "cc_agent": ("cc_slurm_adapter", "cc_backend", "cc_demo", "numpy", *WEB_AND_DATABASE),
    "cc_slurm_adapter": ("cc_agent", "cc_backend", "cc_demo", "numpy", *WEB_AND_DATABASE),
    "cc_backend": ("cc_agent", "cc_slurm_adapter", "cc_demo"),
    "cc_backend.model": WEB_AND_DATABASE,
    "cc_backend.metricstore": WEB_AND_DATABASE,
    "cc_backend.archive": WEB_AND_DATABASE,
    "cc_backend.clusters": WEB_AND_DATABASE,
    "cc_backend.taggers": WEB_AND_DATABASE,
    "cc_backend.insight": ("cc_backend.archive", *WEB_AND_DATABASE),
    "cc_backend.wording": WEB_AND_DATABASE,
    "cc_backend.jobs": WEB,
    "cc_backend.jobdata": WEB_AND_DATABASE,
    "cc_backend.httpserver": ("peewee", "playhouse"),
    "cc_backend.maintenance": WEB,
    "cc_backend.exports": WEB,
    "cc_backend.storeservice": ("cc_backend.jobs", "cc_backend.archive", "cc_backend.app", "cc_backend.web"),
}

# They import what is lazy themselves, and are in turn imported only inside functions.
LAZY_MODULES = ("cc_common.deadline_transport",)
# What the agent's hot path must not load: imported only inside the functions that use it.
LAZY = {
    "cc_agent": ("httpx", "nats", "pynvml", "cpuinfo", *LAZY_MODULES),
    "cc_slurm_adapter": ("httpx", "nats", *LAZY_MODULES),
    "cc_common": ("httpx", "nats", *LAZY_MODULES),
    "cc_backend.jobdata.external_store": ("httpx", *LAZY_MODULES),
    "cc_backend.storeservice": ("httpx", *LAZY_MODULES),
    "cc_backend.taggers": ("re2",),
    "cc_backend.exports": ("pyarrow",),
}

# module -> libraries that a process which loads it does without, whatever is imported on the way: they take memory
SPARED = {
    "cc_agent.agent": ("asyncio", "http.server", "httpx", "nats", "ssl", "statistics"),
    "cc_backend.server": ("flask", "numpy", "peewee", "joserfc", "typer", "ssl"),
    "cc_backend.app": ("httpx", "typer"),
    "cc_backend.maintenance.tasks": ("httpx", "typer"),
    "cc_backend.storeservice.app": ("peewee", "sqlite3", "argon2", "httpx", "typer"),
    "cc_backend.storeservice.tasks": ("peewee", "sqlite3", "argon2", "httpx", "typer"),
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


def floor_of(name: str, package: str) -> int | None:
    """The number of the floor of a package that a module is on; `package` itself has none."""
    part = name.removeprefix(package + ".").partition(".")[0] if below(name, package) and name != package else None
    return next((number for number, floor in enumerate(FLOORS[package]) if part in floor), None)


def goes_up(module: str, name: str) -> bool:
    """Whether an import leads to a higher floor, or to a neighbour on its own."""
    for package in FLOORS:
        here, there = floor_of(module, package), floor_of(name, package)
        if here is not None and there is not None:
            parts = len(package.split(".")) + 1
            is_same = module.split(".")[:parts] == name.split(".")[:parts]
            if here < there or (here == there and not is_same):
                return True
    return False


def wrong_arrows(module: str, source: str, *, is_package: bool = False) -> list[str]:
    found = []
    for line, name in imported(ast.walk(ast.parse(source)), module, is_package=is_package):
        for owner, banned in FORBIDDEN.items():
            if below(module, owner):
                found += [f"{module}:{line} imports {name}" for ban in banned if below(name, ban)]
        if goes_up(module, name):
            found.append(f"{module}:{line} imports {name} from above")
    return found


def shut_doors(module: str, source: str, doors: Mapping[str, frozenset[str]], *, is_package: bool = False) -> list[str]:
    """Imports that pass a package's front door: what others may use of a package, it says by `__all__`."""
    own = module if is_package else module.rpartition(".")[0]
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            targets = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        else:
            continue
        for target in targets:
            parts = target.split(".")
            for length in range(1, len(parts)):
                package = ".".join(parts[:length])
                if package in doors and not below(own, package) and parts[length] not in doors[package]:
                    found.append(f"{module}:{node.lineno} imports {target}, which {package} does not offer")
    return found


def front_doors(repository: Path) -> dict[str, frozenset[str]]:
    """What each package offers, by its `__all__`; the backend itself has no users."""
    found = {}
    for module, path in modules(repository):
        if path.name == "__init__.py" and module not in {"cc_backend", "cc_demo", "cc_agent", "cc_slurm_adapter"}:
            names: tuple[str, ...] = ()
            for node in ast.parse(path.read_text("utf-8")).body:
                if isinstance(node, ast.Assign) and any(
                    isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets
                ):
                    names = tuple(ast.literal_eval(node.value))
            found[module] = frozenset(names)
    return found


def eager_imports(module: str, source: str) -> list[str]:
    if module in LAZY_MODULES:
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


def test_packages_are_entered_by_their_front_doors(repository: Path) -> None:
    doors = front_doors(repository)
    wrong = []
    for module, path in modules(repository):
        wrong += shut_doors(module, path.read_text("utf-8"), doors, is_package=path.name == "__init__.py")
    assert wrong == []


def test_a_front_door_that_is_passed_is_seen() -> None:
    doors = {"cc_backend.db": frozenset({"fields"})}
    assert shut_doors("cc_backend.jobs.tables", "from cc_backend.db.fields import JSONField", doors) == []
    assert shut_doors("cc_backend.db.fields", "from cc_backend.db.database import Database", doors) == []
    assert shut_doors("cc_backend.jobs.tables", "from cc_backend.db.database import Database", doors) != []
    assert shut_doors("cc_backend.jobs.tables", "from cc_backend.db import database", doors) != []
    assert shut_doors("cc_backend.jobs.tables", "import cc_backend.db.database", doors) != []


def test_every_module_of_the_backend_is_on_a_floor(repository: Path) -> None:
    homeless = [
        module
        for module, _ in modules(repository)
        for package in FLOORS
        if below(module, package) and module != package and floor_of(module, package) is None
    ]
    assert homeless == []


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
        ("cc_backend.jobs.job_queries", "import flask"),
        ("cc_backend.auth.row_rules", "from cc_backend import jobs"),
        ("cc_backend.api.jobs", "from cc_backend.web import job_page"),
        ("cc_backend.app", "from cc_demo import lines"),
    ],
)
def test_a_wrong_arrow_is_seen(module: str, source: str) -> None:
    assert wrong_arrows(module, source)


def test_an_import_inside_a_function_counts_as_lazy() -> None:
    assert eager_imports("cc_agent.sinks.http", "def send():\n    import httpx") == []
    assert eager_imports("cc_agent.sinks.http", "import httpx")
