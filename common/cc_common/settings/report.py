"""The list of effective settings with their origin, and the reference page."""

from __future__ import annotations

import collections.abc
import dataclasses
import json
import re
import typing
from typing import Any, Iterator, List, Mapping, Sequence, Tuple

from cc_common.settings.declare import NAMED_SECTIONS, OPTION, SECTION, SECTIONS, Setting, settings_of
from cc_common.settings.durations import format_duration
from cc_common.settings.loader import DEFAULT, LoadedSettings

_HIDDEN = "***"
_SECRET_NAME = re.compile(r"passw|secret|token|jwt|credential|api.?key|private.?key", re.IGNORECASE)
_URL_PASSWORD = re.compile(r"(://[^/@:\s]*):[^/@\s]*@")


def format_settings(loaded: LoadedSettings[Any]) -> str:
    """One line for each setting: dotted key, value as JSON, origin; secrets are masked as ***, nested ones too."""
    rows = [
        (dotted, text, loaded.origins.get(dotted, DEFAULT))
        for dotted, text in _rows(type(loaded.value), loaded.value, "")
    ]
    return "".join(f"{dotted} = {text}   ({origin})\n" for dotted, text, origin in rows)


def _rows(cls: type, value: Any, path: str) -> Iterator[Tuple[str, str]]:
    for setting in settings_of(cls):
        dotted = f"{path}{setting.key}"
        held = getattr(value, setting.name)
        shape, inner = setting.declaration.shape, setting.declaration.cls
        if shape == OPTION or inner is None:
            yield dotted, _format_value(setting, held)
        elif shape == SECTION:
            if held is not None:
                yield from _rows(inner, held, f"{dotted}.")
        elif shape == SECTIONS:
            for index, item in enumerate(held):
                yield from _rows(inner, item, f"{dotted}[{index}].")
        else:
            for name, item in held.items():
                yield from _rows(inner, item, f"{dotted}.{name}.")


def _format_value(setting: Setting, value: Any) -> str:
    if setting.declaration.secret:
        return _HIDDEN if value else '""'
    if setting.declaration.kind == "duration" and isinstance(value, (int, float)):
        return format_duration(value)
    return json.dumps(_without_secrets(value), ensure_ascii=False, default=str)


def _without_secrets(value: Any) -> Any:
    """Mask values whose key looks like a secret's, and passwords in URLs: objects may hold other programs' settings."""
    if isinstance(value, str):
        return _URL_PASSWORD.sub(rf"\1:{_HIDDEN}@", value)
    if isinstance(value, collections.abc.Mapping):
        return {
            key: _HIDDEN if item and _SECRET_NAME.search(str(key)) else _without_secrets(item)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_without_secrets(item) for item in value]
    return value


def reference_page(cls: type, *, title: str, more: Sequence[Tuple[type, str, str]] = ()) -> str:
    """A Markdown page of all settings of a class: key, type, default and meaning, with a heading for each section.

    `more` has classes of objects that a setting may hold, each with its heading and help text; their options are
    listed, nested sections are not.
    """
    parts = [f"# {title}\n"]
    parts.extend(_section_page(cls, "", ""))
    for other, heading, help_text in more:
        parts.extend([f"## `{heading}`\n\n{help_text}\n", *_options_table(other, "")])
    return "\n".join(parts)


def _section_page(cls: type, path: str, help_text: str) -> List[str]:
    settings = settings_of(cls)
    page: List[str] = []
    if path:
        page.append(f"## `{path}`\n\n{_sentence(help_text)}\n")
    page.extend(_options_table(cls, path))
    for setting in settings:
        inner = setting.declaration.cls
        if setting.declaration.shape != OPTION and inner is not None:
            suffix = {SECTIONS: "[]", NAMED_SECTIONS: ".<name>"}.get(setting.declaration.shape, "")
            dotted = f"{path}.{setting.key}{suffix}" if path else f"{setting.key}{suffix}"
            page.extend(_section_page(inner, dotted, setting.declaration.help))
    return page


def _options_table(cls: type, path: str) -> List[str]:
    rows = [_reference_row(setting, path) for setting in settings_of(cls) if setting.declaration.shape == OPTION]
    return [f"| Key | Type | Default | Meaning |\n|---|---|---|---|\n{''.join(rows)}"] if rows else []


def _reference_row(setting: Setting, path: str) -> str:
    declaration = setting.declaration
    notes = [_sentence(declaration.help)]
    if declaration.choices:
        notes.append("One of " + ", ".join(f"`{json.dumps(choice)}`" for choice in declaration.choices) + ".")
    if declaration.minimum is not None:
        notes.append(f"At least {declaration.minimum:g}.")
    if declaration.maximum is not None:
        notes.append(f"At most {declaration.maximum:g}.")
    if declaration.env and "[]" not in path and "<" not in path:
        notes.append(f"Environment: `{declaration.env}`.")
    if declaration.secret:
        notes.append(f"Secret; `{setting.file_key}` may name a file with it instead.")
    dotted = f"{path}.{setting.key}" if path else setting.key
    cells = [f"`{dotted}`", _type_cell(setting), _default_cell(setting), " ".join(notes)]
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |\n"


def _sentence(text: str) -> str:
    """The text, with a full stop unless it ends in a punctuation mark."""
    return text if not text or text[-1] in ".!?:" else f"{text}."


def _default_cell(setting: Setting) -> str:
    if setting.declaration.required:
        return "required"
    if setting.declaration.kind == "duration" and isinstance(setting.default, (int, float)):
        return f"`{format_duration(setting.default)}`"
    if setting.default is None:
        return "none"
    return f"`{json.dumps(setting.default, ensure_ascii=False, default=_to_json)}`"


def _to_json(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    return dict(value) if isinstance(value, Mapping) else str(value)


def _type_cell(setting: Setting) -> str:
    if setting.declaration.kind:
        return setting.declaration.kind
    return _type_name(setting.type)


def _type_name(kind: Any) -> str:
    names = {str: "string", int: "integer", float: "number", bool: "boolean", Any: "anything"}
    if kind in names:
        return names[kind]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is tuple:
        return f"list of {_type_name(arguments[0])}"
    if origin in (collections.abc.Mapping, dict):
        return f"object of {_type_name(arguments[1])}"
    return " or ".join(_type_name(argument) for argument in arguments if argument is not type(None))
