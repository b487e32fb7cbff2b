"""A backend of its own for each test of real processes."""

import shutil
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def initialised(processes: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a backend as `init` makes it; tests work on copies."""
    folder = tmp_path_factory.mktemp("initialised") / "backend"
    processes.run("cc-backend", "init", folder)
    return folder


@pytest.fixture
def backend(processes: Any, initialised: Path, tmp_path: Path) -> Any:
    """A fresh backend; not yet serving."""
    shutil.copytree(initialised, tmp_path / "backend")
    return processes.Backend(tmp_path / "backend", processes.free_port())


@pytest.fixture
def integration(processes: Any) -> Any:
    """The helpers of tests/processes.py."""
    return processes
