"""Declaration of settings: fields of a dataclass with their description as metadata."""

from __future__ import annotations

import dataclasses
import functools
import typing
from typing import Any, Dict, List, Mapping, NoReturn, Optional, Sequence, Tuple

OPTION, SECTION, SECTIONS, NAMED_SECTIONS = "option", "section", "sections", "named sections"

_METADATA = "cc_common.settings"


@dataclasses.dataclass(frozen=True)
class Declaration:
    """The description of one field; `cls` is the dataclass of a section, None for an option."""

    shape: str
    help: str
    key: Optional[str] = None
    kind: Optional[str] = None
    env: Optional[str] = None
    choices: Tuple[Any, ...] = ()
    minimum: Optional[float] = None
    maximum: Optional[float] = None
    secret: bool = False
    required: bool = False
    optional: bool = False
    cls: Optional[type] = None


@dataclasses.dataclass(frozen=True)
class Setting:
    """One field of a settings class as the loader needs it; `type` is resolved for options only."""

    name: str
    key: str
    type: Any
    default: Any
    declaration: Declaration

    @property
    def file_key(self) -> str:
        """The key that names a file holding this secret."""
        return self.key + ("_file" if "_" in self.key else "-file")


def option(
    default: Any,
    help: str,  # noqa: A002 the natural keyword at a declaration
    *,
    key: Optional[str] = None,
    kind: Optional[str] = None,
    env: Optional[str] = None,
    choices: Sequence[Any] = (),
    minimum: Optional[float] = None,
    maximum: Optional[float] = None,
    secret: bool = False,
) -> Any:
    """A setting with a default; the annotation of the field is the type that is accepted.

    Types: str, int, float, bool, Optional[...], Tuple[T, ...], Mapping[str, T]; Any is not checked.
    `key` defaults to the field name with "-" for "_". `kind="duration"`: the field holds seconds, the file a number of
    seconds or a string such as "1h30m". `kind="path"`: relative paths are resolved from the folder of the file;
    an address, with "://", stays as it is.
    `env` names an environment variable. A `secret` is never shown, and may be in a file named by "<key>-file".
    """
    declaration = Declaration(
        OPTION, help, key, kind, env, tuple(choices), minimum, maximum, secret, required=default is dataclasses.MISSING
    )
    if declaration.required:
        held: Any = {"default_factory": _missing_required}
    else:
        held = {"default_factory": lambda: dict(default)} if isinstance(default, Mapping) else {"default": default}
    return dataclasses.field(**held, repr=not secret, metadata={_METADATA: declaration})


def _missing_required() -> NoReturn:
    raise TypeError("a required setting was not given")


required = functools.partial(option, dataclasses.MISSING)
"""A setting without default: loading raises SettingsError if it is absent. Otherwise as `option`."""


def section(
    cls: type,
    help: str,  # noqa: A002 the natural keyword at a declaration
    *,
    key: Optional[str] = None,
    optional: bool = False,
) -> Any:
    """A nested object of settings; if absent, its defaults, or None if `optional`."""
    declaration = Declaration(SECTION, help, key, optional=optional, cls=cls)
    if optional:
        return dataclasses.field(default=None, metadata={_METADATA: declaration})
    return dataclasses.field(default_factory=cls, metadata={_METADATA: declaration})


def sections(
    cls: type,
    help: str,  # noqa: A002 the natural keyword at a declaration
    *,
    key: Optional[str] = None,
) -> Any:
    """A list of objects; the field holds a tuple of `cls`, empty if absent."""
    return dataclasses.field(default=(), metadata={_METADATA: Declaration(SECTIONS, help, key, cls=cls)})


def named_sections(
    cls: type,
    help: str,  # noqa: A002 the natural keyword at a declaration
    *,
    key: Optional[str] = None,
) -> Any:
    """An object of objects with arbitrary names; the field holds a mapping from name to `cls`, empty if absent."""
    return dataclasses.field(
        default_factory=dict, metadata={_METADATA: Declaration(NAMED_SECTIONS, help, key, cls=cls)}
    )


def settings_of(cls: type) -> List[Setting]:
    """The declared settings of a class in order. Raises TypeError if a field is declared in another way."""
    local_names: Dict[str, Any] = {}
    for field in _fields(cls):
        inner = _declaration(cls, field).cls
        if inner is not None:
            local_names[inner.__name__] = inner
    types = typing.get_type_hints(cls, localns=local_names)
    return [_setting(cls, field, types) for field in _fields(cls)]


def _fields(cls: type) -> Tuple[dataclasses.Field[Any], ...]:
    if not dataclasses.is_dataclass(cls):
        raise TypeError(f"{cls.__name__} is not a dataclass")
    return dataclasses.fields(cls)


def _setting(cls: type, field: dataclasses.Field[Any], types: Mapping[str, Any]) -> Setting:
    declaration = _declaration(cls, field)
    default = field.default
    if declaration.required:
        default = dataclasses.MISSING
    elif field.default_factory is not dataclasses.MISSING and declaration.shape != SECTION:
        default = field.default_factory()
    key = field.name.replace("_", "-") if declaration.key is None else declaration.key
    return Setting(field.name, key, types[field.name], default, declaration)


def _declaration(cls: type, field: dataclasses.Field[Any]) -> Declaration:
    declaration = field.metadata.get(_METADATA)
    if not isinstance(declaration, Declaration):
        raise TypeError(f"{cls.__name__}.{field.name} is not declared by option(), required() or section()")
    return declaration
