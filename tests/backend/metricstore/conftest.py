"""What the tests of the metric store share."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def reference() -> Any:
    """The helpers of checkpoint_writer.py: files as the reference's metric store writes them."""
    name = "cockpit_checkpoint_writer"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / "checkpoint_writer.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name]
