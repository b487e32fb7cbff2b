"""Reading the configuration file and the files it refers to as one document.

Two layouts are supported: that of cc-metric-collector, with `main` and, for each component, the component itself or
`<component>-file` with a path; and its older one, with `interval` at the top level and paths in place of components.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple

from cc_common.errors import SettingsError
from cc_common.settings import read_json

COMPONENTS = ("collectors", "router", "sinks", "receivers")
_MAIN_KEYS = ("interval", "duration")


class AssembledDocument(NamedTuple):
    """The content of the files, warnings for the operator, and the files that hold components."""

    content: Dict[str, Any]
    warnings: List[str]
    files: Dict[str, Path]


def read_document(path: Path) -> AssembledDocument:
    """The document of a configuration file, its component files included. Raises SettingsError."""
    return assemble(read_json(path), path)


def assemble(content: Mapping[str, Any], path: Path) -> AssembledDocument:
    """The document with the component files it refers to; relative paths start at the folder of `path`."""
    document = AssembledDocument({}, [], {})
    for key, value in content.items():
        component = key.removesuffix("-file")
        if key in _MAIN_KEYS:
            document.content.setdefault("main", {})[key] = value
            document.warnings.append(f"{path}: {key}: old layout; write it inside 'main'")
        elif key == "main" and isinstance(value, dict):
            document.content["main"] = {**document.content.get("main", {}), **value}
        elif component in COMPONENTS and isinstance(value, str):
            _put_component(document, component, _read_component(document, path, key, value), key, path)
        else:
            _put_component(document, key, value, key, path)
    return document


def _put_component(document: AssembledDocument, component: str, value: Any, key: str, path: Path) -> None:
    if component in document.content:
        raise SettingsError(key, f"{path}: {key}: {component!r} is given twice; keep one")
    document.content[component] = value


def _read_component(document: AssembledDocument, path: Path, key: str, name: str) -> Dict[str, Any]:
    component = key.removesuffix("-file")
    target = path.parent / name
    beside = path.parent / Path(name).name
    if not target.exists() and beside.exists():
        document.warnings.append(f"{path}: {key}: {target} does not exist; {beside} is used")
        target = beside
    document.files[component] = target
    return read_json(target)
