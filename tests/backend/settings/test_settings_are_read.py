"""Every setting that is declared does something: a setting that no code reads is a promise that nobody keeps."""

import ast
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest

from cc_backend.settings import BackendSettings
from cc_backend.storeservice.settings import StoreServiceSettings
from cc_common.settings.declare import settings_of

SPEC = importlib.util.find_spec("cc_backend")
assert SPEC is not None
assert SPEC.submodule_search_locations is not None
PACKAGE = Path(SPEC.submodule_search_locations[0])


def declared(cls: type, path: str = "") -> Iterator[tuple[str, str]]:
    """Dotted key and field name of every setting of a class and of its sections."""
    for setting in settings_of(cls):
        yield f"{path}{setting.key}", setting.name
        if setting.declaration.cls is not None:
            yield from declared(setting.declaration.cls, f"{path}{setting.key}.")


def read_names(sources: Iterator[str]) -> set[str]:
    """The names that are read as attributes anywhere."""
    return {
        node.attr
        for source in sources
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }


@pytest.mark.parametrize("cls", [BackendSettings, StoreServiceSettings])
def test_every_declared_setting_is_read_somewhere(cls: type) -> None:
    files = (path for path in PACKAGE.rglob("*.py") if path.name != "settings.py")
    names = read_names(path.read_text("utf-8") for path in files)
    assert [key for key, name in declared(cls) if name not in names] == []


def test_a_setting_that_is_only_declared_or_written_is_found() -> None:
    assert read_names(iter(["class A:\n    cache: int = 1\n\nA.cache = 2\n"])) == set()
    assert read_names(iter(["print(settings.main.cache)"])) == {"main", "cache"}
