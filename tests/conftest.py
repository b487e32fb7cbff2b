"""What every test may use."""

import ast
import importlib.util
import logging
import os
import shutil
import socketserver
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

# How long an example takes says how busy the machine is, not whether the code is right.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

ROOT = Path(__file__).resolve().parent.parent
LONG = ("packaging", "integration", "browser")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of several processes none is left with a long file at the end: those come first, the rest stays shuffled."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: not any(item.get_closest_marker(name) for name in LONG))


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A program logs to the standard error of the test that ran it: afterwards there is nothing to write to."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.fixture(scope="session", autouse=True)
def _every_line_is_logged() -> Iterator[None]:
    """A line that cannot be logged is an error, not some text beside whichever test is running then."""
    usual = logging.Handler.handleError
    logging.Handler.handleError = _raise_what_is_wrong
    yield
    logging.Handler.handleError = usual


@pytest.fixture(scope="session", autouse=True)
def _servers_of_tests_fail_loudly() -> Iterator[None]:
    """A test's own server may lose its client at any time; whatever else happens in it is an error."""
    usual = socketserver.BaseServer.handle_error
    socketserver.BaseServer.handle_error = _forgive_lost_clients
    yield
    socketserver.BaseServer.handle_error = usual


def _forgive_lost_clients(*_: object) -> None:
    error = sys.exc_info()[1]
    if error is not None and not isinstance(error, ConnectionError):
        raise error


def _raise_what_is_wrong(_: logging.Handler, record: logging.LogRecord) -> None:
    raise AssertionError(f"a line of {record.name} cannot be logged: {record.msg!r}") from sys.exc_info()[1]


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def code_names(repository: Path) -> frozenset[str]:
    """Modules, classes, functions, constants and members of product code, each also without its first packages."""
    found = set()
    for root in sorted(repository.glob("*/cc_*")):
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root.parent).with_suffix("").parts
            module = parts[:-1] if parts[-1] == "__init__" else parts
            for name in ((), *_names_of(ast.parse(path.read_text("utf-8")).body)):
                whole = (*module, *name)
                found.update(".".join(whole[start:]) for start in range(len(whole)))
    return frozenset(found)


def _names_of(body: list[ast.stmt]) -> Iterator[tuple[str, ...]]:
    for node in body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield (node.name,)
            yield from ((node.name, *name) for name in _names_of(node.body) if isinstance(node, ast.ClassDef))
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from ((target.id,) for target in targets if isinstance(target, ast.Name))


@pytest.fixture(scope="session")
def shared_fixtures() -> Path:
    """Third-party sample data beside the checkout, or where CC_FIXTURES says; skips where it is absent."""
    path = Path(os.environ.get("CC_FIXTURES", ROOT.parent / "shared" / "fixtures"))
    if not path.is_dir():
        pytest.skip(
            "job archives and cluster files of ClusterCockpit sites are not part of this repository; "
            "CC_FIXTURES names a folder that has them"
        )
    return path


@pytest.fixture(scope="session")
def processes() -> Any:
    """The helpers of tests/processes.py: real processes on loopback, and waiting for them."""
    return _load_helper("processes")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Any]:
    """A PostgreSQL server as in tests/postgres_server.py; skips where none is installed."""
    pytest.importorskip("psycopg2", reason="psycopg2 is not installed")
    helper = _load_helper("postgres_server")
    folder = helper.programs()
    if folder is None:
        pytest.skip("no PostgreSQL server here; `make test-deps` installs it")
    with helper.running_server(folder) as server:
        yield server


@pytest.fixture(scope="session")
def nats_servers() -> Any:
    """The helpers of tests/nats_server.py: real NATS servers on loopback; skips where none is installed."""
    pytest.importorskip("nats", reason="nats-py is not installed")
    helper = _load_helper("nats_server")
    if helper.program() is None:
        pytest.skip("no nats-server here; `make test-deps` installs it")
    return helper


@pytest.fixture(scope="session")
def nats_listener(nats_servers: Any) -> Any:
    """What subscribes to all subjects of the server with an address, as a context."""
    return nats_servers.Listener


def _load_helper(name: str) -> Any:
    """A module beside this one."""
    module = f"cockpit_test_{name}"
    if module not in sys.modules:
        spec = importlib.util.spec_from_file_location(module, ROOT / "tests" / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[module] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[module])
    return sys.modules[module]


@pytest.fixture(scope="session")
def reference_files() -> Any:
    """The module tests/backend/referencefile.py: writes job databases as ClusterCockpit 1.5 has them."""
    name = "cockpit_test_referencefile"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, ROOT / "tests/backend/referencefile.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]


CHROMIUM_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """A headless Chromium of this machine, driven by Playwright; skips where there is none."""
    program = shutil.which(os.environ.get("CHROMIUM", "chromium"))
    if program is None:
        pytest.skip("no Chromium here; `make test-deps` installs it, or CHROMIUM names one")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=list(CHROMIUM_ARGUMENTS))
        yield chromium
        chromium.close()
