"""Real processes that are killed, cut off and starved; afterwards everything acknowledged is counted by value."""

import contextlib
import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent
for folder in (str(HERE), str(HERE.parent)):  # faultrig lies here, processes.py one above
    if folder not in sys.path:
        sys.path.insert(0, folder)

from faultrig.site import Site, make_site  # noqa: E402 - needs the path


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A backend's folder with a cluster and tokens, made once; tests work on copies."""
    return make_site(tmp_path_factory.mktemp("site") / "backend")


@pytest.fixture
def site(template: Site, tmp_path: Path) -> Site:
    """A backend of its own, not yet serving."""
    return template.copy(tmp_path / "backend")


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> str:
    """The kind of job database that `site_on_engine` has."""
    return str(request.param)


@pytest.fixture
def site_on_engine(site: Site, engine: str, request: pytest.FixtureRequest) -> Iterator[Site]:
    """A backend of its own with a job database of either kind, not yet serving."""
    if engine == "sqlite":
        yield site
        return
    server: Any = request.getfixturevalue("postgres_server")
    name = server.new_database()
    site.use_database(server.url(name))
    yield site
    site.stop()
    server.drop_database(name)


@pytest.fixture
def chance() -> random.Random:
    """Random moments that can be had again: a failing test prints the seed, CC_FAULT_SEED sets it."""
    seed = int(os.environ.get("CC_FAULT_SEED", random.SystemRandom().randrange(1 << 30)))
    print(f"CC_FAULT_SEED={seed}")  # noqa: T201 - pytest shows it where a test fails
    return random.Random(seed)  # noqa: S311 - not for secrets


@pytest.fixture(autouse=True)
def _no_orphans() -> Iterator[None]:
    """Each test leaves the machine as it found it; the database server that tests share stays."""
    import psutil  # noqa: PLC0415 - only here

    here = psutil.Process()
    before = {child.pid for child in here.children()}
    yield
    left = [child for child in here.children() if child.pid not in before and child.name() != "postgres"]
    names = []
    for process in [child for parent in left for child in (*parent.children(recursive=True), parent)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            names.append(process.name())
            process.kill()
    assert not [name for name in names if name.startswith("cc-")], "processes were left behind"
