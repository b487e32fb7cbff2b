"""What every test may use."""

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_fixtures() -> Path:
    """Third-party sample data beside the checkout, or where CC_FIXTURES says; skips where it is absent."""
    path = Path(os.environ.get("CC_FIXTURES", ROOT.parent / "shared" / "fixtures"))
    if not path.is_dir():
        pytest.skip(f"sample data is not at {path}; set CC_FIXTURES to its folder")
    return path
