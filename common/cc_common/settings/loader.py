"""Loading settings from a document, the environment and the command line, each value with its origin."""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import fnmatch
import json
import stat
import types
from pathlib import Path
from typing import Any, Callable, Dict, Generic, List, Mapping, Optional, Set, Tuple, Type, TypeVar

from cc_common.errors import SettingsError
from cc_common.json_values import json_type
from cc_common.nearest_name import did_you_mean
from cc_common.settings.declare import NAMED_SECTIONS, OPTION, SECTION, Setting, settings_of
from cc_common.settings.secret_file import read_secret
from cc_common.settings.values import InvalidValue, check_value, is_optional, parse_text

T = TypeVar("T")

DEFAULT, COMMAND_LINE = "default", "command line"

_NOTHING: Mapping[str, Any] = types.MappingProxyType({})
_MAX_FILE_BYTES = 16 << 20
_MAX_KEYS_NAMED = 10


@dataclasses.dataclass(frozen=True)
class LoadedSettings(Generic[T]):
    """Settings, the origin of the value of each dotted key, and warnings for the operator."""

    value: T
    origins: Mapping[str, str]
    warnings: Tuple[str, ...]


def read_json(path: Path) -> Dict[str, Any]:
    """The object in a JSON file. Raises SettingsError with file, line and column of what is wrong."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE_BYTES + 1)
        if len(raw) > _MAX_FILE_BYTES:
            raise SettingsError("", f"{path}: is larger than {_MAX_FILE_BYTES >> 20} MiB")
        text = raw.decode("utf-8-sig")
    except OSError as error:
        raise SettingsError("", f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError("", f"{path}: is not UTF-8 (byte {error.start})") from error
    try:
        document = json.loads(text, object_pairs_hook=_reject_duplicate_keys)
    except json.JSONDecodeError as error:
        raise SettingsError("", f"{path}:{error.lineno}:{error.colno}: is not JSON: {error.msg}") from error
    except (_DuplicateKey, ValueError) as error:
        raise SettingsError("", f"{path}: {error}") from error
    except RecursionError:
        raise SettingsError("", f"{path}: is nested too deeply") from None
    if not isinstance(document, dict):
        raise SettingsError("", f"{path}: must hold an object {{...}}, not a {type(document).__name__}")
    return document


class _DuplicateKey(Exception):
    pass


def _reject_duplicate_keys(pairs: List[Tuple[str, Any]]) -> Dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise _DuplicateKey(f"key {twice!r} is given twice in the same object; keep one")
    return document


def load(
    cls: Type[T],
    document: Mapping[str, Any],
    *,
    source: str,
    base_directory: Optional[Path] = None,
    environment: Mapping[str, str] = _NOTHING,
    overrides: Mapping[str, Any] = _NOTHING,
    legacy: Mapping[str, str] = _NOTHING,
    other_sources: Mapping[str, str] = _NOTHING,
    env_sources: Mapping[str, str] = _NOTHING,
    file: Optional[Path] = None,
) -> LoadedSettings[T]:
    """The settings of a class from a document; `source` names the document in messages and origins.

    `file` is the file that holds the document, for the question who can read its secrets; without it that is `source`.
    `overrides` maps dotted keys to values or strings of the command line; None means not given. An empty environment
    variable counts as not set. `legacy` maps dotted keys of older systems (with * and ?) to advice: a document that has
    one gets a warning. `other_sources` maps sections to their source where that is not `source`, `env_sources` the
    variables that come from a file. Raises SettingsError with the dotted key for any other unknown key, a wrong type or
    a value out of range.
    """
    origins = _Origins(source, other_sources, env_sources, file)
    reader = _SettingsReader(origins, base_directory, environment, dict(overrides), legacy)
    value = reader.section(cls, document, "", in_list=False)
    reader.reject_unused_overrides(cls)
    return LoadedSettings(value, reader.origins, tuple(reader.warnings))


@dataclasses.dataclass(frozen=True)
class _Origins:
    """The origins of values, as shown to the operator."""

    source: str
    other_sources: Mapping[str, str]
    env_sources: Mapping[str, str]
    path: Optional[Path]

    def file(self, dotted: str) -> str:
        """The file that a setting comes from."""
        return self.other_sources.get(dotted.split(".", 1)[0].split("[", 1)[0], self.source)

    def variable(self, name: str) -> str:
        """The environment variable, with the file that sets it if there is one."""
        return f"{self.env_sources[name]}, {name}" if name in self.env_sources else f"environment {name}"


class _SettingsReader:
    def __init__(
        self,
        origin: _Origins,
        base_directory: Optional[Path],
        environment: Mapping[str, str],
        overrides: Dict[str, Any],
        legacy: Mapping[str, str],
    ) -> None:
        self.origin = origin
        self.base_directory = base_directory
        self.environment = environment
        self.overrides = {key: value for key, value in overrides.items() if value is not None}
        self.legacy = legacy
        self.origins: Dict[str, str] = {}
        self.warnings: List[str] = []
        self._used: Set[str] = set()

    def error(self, key: str, problem: str, origin: str = "") -> SettingsError:
        return SettingsError(key, f"{origin or self.origin.file(key)}: {key or 'the whole'}: {problem}")

    def section(self, cls: Type[T], document: Any, path: str, *, in_list: bool) -> T:
        if not isinstance(document, collections.abc.Mapping):
            raise self.error(path, f"must be an object, not {json_type(document)}")
        settings = settings_of(cls)
        self._reject_unknown_keys(document, path, settings)
        values = {setting.name: self._value(setting, document, path, in_list=in_list) for setting in settings}
        try:
            return cls(**values)
        except SettingsError as error:  # a check across several keys in __post_init__ knows only its own section
            raise self.error(_join(path, error.key), str(error)) from error

    def _value(self, setting: Setting, document: Mapping[str, Any], path: str, *, in_list: bool) -> Any:
        dotted = _join(path, setting.key)
        shape = setting.declaration.shape
        if shape == OPTION:
            return self._option(setting, document, dotted, in_list=in_list)
        inner = setting.declaration.cls
        if inner is None:
            raise TypeError(f"{dotted}: a section needs a class")
        given = document.get(setting.key)
        if shape == SECTION:
            if given is None and setting.declaration.optional and not self._overridden_below(dotted):
                return None
            return self.section(inner, {} if given is None else given, dotted, in_list=in_list)
        if shape == NAMED_SECTIONS:
            return self._named_sections(inner, {} if given is None else given, dotted)
        if not isinstance(given, (list, type(None))):
            raise self.error(dotted, f"must be a list of objects, not {json_type(given)}")
        return tuple(
            self.section(inner, item, f"{dotted}[{index}]", in_list=True) for index, item in enumerate(given or ())
        )

    def _named_sections(self, inner: type, given: Any, dotted: str) -> Mapping[str, Any]:
        if not isinstance(given, collections.abc.Mapping):
            raise self.error(dotted, f"must be an object of objects, not {json_type(given)}")
        names = list(given)
        for key in self._overridden_below(dotted):
            name = key[len(dotted) + 1 :].split(".", 1)[0]
            if not any(key.startswith(f"{dotted}.{known}.") for known in names):
                names.append(name)
        return {
            name: self.section(inner, {} if given.get(name) is None else given[name], f"{dotted}.{name}", in_list=True)
            for name in names
        }

    def _overridden_below(self, dotted: str) -> List[str]:
        return [key for key in self.overrides if key.startswith(f"{dotted}.")]

    def _option(self, setting: Setting, document: Mapping[str, Any], dotted: str, *, in_list: bool) -> Any:
        declaration = setting.declaration
        variable = declaration.env if declaration.env and not in_list else None
        if dotted in self.overrides:
            self._used.add(dotted)
            return self._checked(setting, self.overrides[dotted], dotted, COMMAND_LINE)
        if variable and self.environment.get(variable):
            return self._checked(setting, self.environment[variable], dotted, self.origin.variable(variable))
        if declaration.secret and document.get(setting.file_key) is not None:
            return self._secret_file(setting, document, dotted)
        value = document.get(setting.key)
        if value is None and not (setting.key in document and is_optional(setting.type)):
            return self._default(setting, dotted)
        if declaration.secret and value:
            self._warn_if_world_readable(dotted)
        return self._checked(setting, value, dotted, self.origin.file(dotted))

    def _default(self, setting: Setting, dotted: str) -> Any:
        if setting.declaration.required:
            others = [f"{setting.file_key!r}"] if setting.declaration.secret else []
            others += [f"environment variable {setting.declaration.env}"] if setting.declaration.env else []
            hint = f" (or {', or '.join(others)})" if others else ""
            raise self.error(dotted, f"is required and missing{hint}: {setting.declaration.help}")
        self.origins[dotted] = DEFAULT
        return self._resolved(setting, setting.default)

    def _checked(self, setting: Setting, value: Any, dotted: str, origin: str) -> Any:
        try:
            if isinstance(value, str) and origin != self.origin.file(dotted):
                value = parse_text(value, setting.type, setting.declaration)
            value = check_value(value, setting.type, setting.declaration)
        except InvalidValue as error:
            raise self.error(dotted + error.where, str(error), origin) from None
        self.origins[dotted] = origin
        return value if origin == COMMAND_LINE else self._resolved(setting, value)

    def _resolved(self, setting: Setting, value: Any) -> Any:
        if setting.declaration.kind != "path" or self.base_directory is None:
            return value
        base = self.base_directory
        return _map_strings(value, lambda text: str(base / text) if text and "://" not in text else text)

    def _secret_file(self, setting: Setting, document: Mapping[str, Any], dotted: str) -> Any:
        file_key = dotted[: len(dotted) - len(setting.key)] + setting.file_key
        name = document[setting.file_key]
        if document.get(setting.key) is not None:
            raise self.error(file_key, f"and {setting.key!r} are both given; keep one")
        if not isinstance(name, str) or not name:
            raise self.error(file_key, "must be the name of a file")
        path = self.base_directory / name if self.base_directory else Path(name)
        try:
            secret = read_secret(path)
        except ValueError as error:
            raise self.error(file_key, str(error)) from error
        return self._checked(setting, secret, dotted, f"file {path}")

    def _warn_if_world_readable(self, dotted: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            if (self.origin.path or Path(self.origin.file(dotted))).stat().st_mode & stat.S_IROTH:
                self.warnings.append(
                    f"{self.origin.file(dotted)}: {dotted}: is secret, but everybody on this machine can read it"
                )

    def _reject_unknown_keys(self, document: Mapping[str, Any], path: str, settings: List[Setting]) -> None:
        known = [setting.key for setting in settings]
        known += [setting.file_key for setting in settings if setting.declaration.secret]
        strange = []
        for key in document:
            if key in known:
                continue
            dotted = _join(path, key)
            advice = self._legacy_advice(dotted)
            if advice is None:
                strange.append(key)
            else:
                self.warnings.append(f"{self.origin.file(dotted)}: {dotted}: {advice}")
        if strange:
            more = "".join(
                f"; {_join(path, key)}: neither{did_you_mean(key, known)}" for key in strange[1:_MAX_KEYS_NAMED]
            )
            more += f"; and {len(strange) - _MAX_KEYS_NAMED} more" if len(strange) > _MAX_KEYS_NAMED else ""
            raise self.error(
                _join(path, strange[0]), f"there is no such setting{did_you_mean(strange[0], known)}{more}"
            )

    def _legacy_advice(self, dotted: str) -> Optional[str]:
        if dotted in self.legacy:
            return self.legacy[dotted]
        return next((advice for key, advice in self.legacy.items() if fnmatch.fnmatchcase(dotted, key)), None)

    def reject_unused_overrides(self, cls: type) -> None:
        for key in self.overrides:
            if key not in self._used:
                known = [*self.origins, *(setting.key for setting in settings_of(cls))]
                raise self.error(key, f"there is no such setting{did_you_mean(key, known)}", COMMAND_LINE)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path and key else path or key


def _map_strings(value: Any, change: Callable[[str], str]) -> Any:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, tuple):
        return tuple(_map_strings(item, change) for item in value)
    if isinstance(value, collections.abc.Mapping):
        return {key: _map_strings(item, change) for key, item in value.items()}
    return value
