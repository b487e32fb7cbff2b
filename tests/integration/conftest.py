"""A backend of its own for each test of real processes."""

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def backend(processes: Any, tmp_path: Path) -> Any:
    """A fresh backend; not yet serving."""
    return processes.new_backend(tmp_path / "backend")


@pytest.fixture
def integration(processes: Any) -> Any:
    """The helpers of tests/processes.py."""
    return processes
