"""Checking single values against the declared type, from JSON and from strings."""

from __future__ import annotations

import collections.abc
import contextlib
import json
import types
import typing
from typing import Any, Callable, Dict, Optional, Tuple, Union

from cc_common.json_values import ValueFault, as_boolean, as_integer, as_number, as_string, show_json
from cc_common.settings.declare import Declaration
from cc_common.settings.durations import parse_duration

_UNION_TYPES = (Union, getattr(types, "UnionType", Union))  # `X | Y` has a type of its own since Python 3.10
_TRUE = frozenset(("true", "yes", "on", "1"))
_FALSE = frozenset(("false", "no", "off", "0"))


class InvalidValue(Exception):
    """A value has the wrong type or range; `where` is the path below the setting, such as "[2]"."""

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message)
        self.where = where


def is_optional(kind: Any) -> bool:
    """Whether None is among the values of a type."""
    return typing.get_origin(kind) in _UNION_TYPES and type(None) in typing.get_args(kind)


def check_value(value: Any, kind: Any, declaration: Declaration, where: str = "") -> Any:
    """The value as the field holds it; `kind` is the type of the field. Raises InvalidValue."""
    if kind is Any:
        return value
    arguments = typing.get_args(kind)
    origin = typing.get_origin(kind)
    if origin in _UNION_TYPES:
        return _check_union(value, arguments, declaration, where)
    if origin is tuple:
        return _check_tuple(value, arguments, declaration, where)
    if origin in (collections.abc.Mapping, dict):
        return _check_mapping(value, arguments, declaration, where)
    if declaration.kind == "duration":
        value = _duration(value, declaration, where)
    else:
        value = _scalar(value, kind, declaration, where)
    _check_limits(value, declaration, where)
    return value


def _check_union(value: Any, arguments: Tuple[Any, ...], declaration: Declaration, where: str) -> Any:
    if value is None and type(None) in arguments:
        return None
    wrong: Optional[InvalidValue] = None
    for argument in arguments:
        if argument is not type(None):
            try:
                return check_value(value, argument, declaration, where)
            except InvalidValue as error:
                wrong = error
    raise wrong if wrong is not None else InvalidValue("must be null", where)


def _check_tuple(value: Any, arguments: Tuple[Any, ...], declaration: Declaration, where: str) -> Tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise _invalid("a list", value, declaration, where)
    return tuple(check_value(item, arguments[0], declaration, f"{where}[{index}]") for index, item in enumerate(value))


def _check_mapping(value: Any, arguments: Tuple[Any, ...], declaration: Declaration, where: str) -> Any:
    if not isinstance(value, collections.abc.Mapping):
        raise _invalid("an object", value, declaration, where)
    return {key: check_value(item, arguments[1], declaration, f"{where}.{key}") for key, item in value.items()}


_CONVERTERS: Dict[Any, Callable[[Any], Any]] = {bool: as_boolean, int: as_integer, float: as_number, str: as_string}


def _scalar(value: Any, kind: Any, declaration: Declaration, where: str) -> Any:
    convert = _CONVERTERS.get(kind)
    if convert is None:
        raise TypeError(f"settings of type {kind!r} are not supported")
    try:
        return convert(value)
    except ValueFault as fault:
        raise _invalid(fault.expected, value, declaration, where) from None


def _invalid(expected: str, value: Any, declaration: Declaration, where: str = "") -> InvalidValue:
    shown = "which the value is not (it is secret and not shown)" if declaration.secret else f"not {show_json(value)}"
    return InvalidValue(f"must be {expected}, {shown}", where)


def _duration(value: Any, declaration: Declaration, where: str) -> float:
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except ValueError as error:
            raise InvalidValue(str(error), where) from None
    try:
        return as_number(value)
    except ValueFault:
        raise _invalid('a number of seconds or a duration such as "90s"', value, declaration, where) from None


def _check_limits(value: Any, declaration: Declaration, where: str) -> None:
    if declaration.choices and value not in declaration.choices:
        choices = ", ".join(json.dumps(choice) for choice in declaration.choices)
        raise _invalid(f"one of {choices}", value, declaration, where)
    if isinstance(value, (int, float)):
        if declaration.minimum is not None and value < declaration.minimum:
            raise _invalid(f"at least {declaration.minimum:g}", value, declaration, where)
        if declaration.maximum is not None and value > declaration.maximum:
            raise _invalid(f"at most {declaration.maximum:g}", value, declaration, where)


def parse_text(text: str, kind: Any, declaration: Declaration) -> Any:
    """The JSON value of a string from environment or command line. Raises InvalidValue.

    Lists are written with commas or as JSON, objects as JSON, booleans as true/false, yes/no, on/off or 1/0.
    """
    origin = typing.get_origin(kind)
    if origin in _UNION_TYPES:
        inner = [argument for argument in typing.get_args(kind) if argument is not type(None)]
        return parse_text(text, inner[0], declaration)
    if origin is tuple and not text.lstrip().startswith("["):
        item = typing.get_args(kind)[0]
        return [parse_text(part.strip(), item, declaration) for part in text.split(",") if part.strip()]
    if kind is Any:
        with contextlib.suppress(ValueError):
            return json.loads(text)
    elif origin is not None:
        return _parse_json(text, declaration)
    elif kind in (bool, int, float):
        return _parse_boolean(text, declaration) if kind is bool else _parse_number(text, kind, declaration)
    return text


def _parse_json(text: str, declaration: Declaration) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise _invalid("JSON", text, declaration) from None


def _parse_boolean(text: str, declaration: Declaration) -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise _invalid("true or false", text, declaration)


def _parse_number(text: str, kind: Any, declaration: Declaration) -> Any:
    try:
        return int(text) if kind is int else float(text)
    except ValueError:
        if declaration.kind == "duration":
            return text
        expected = "an integer" if kind is int else "a number"
        raise _invalid(expected, text, declaration) from None
