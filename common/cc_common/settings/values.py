"""Checks of single values against the declared type, from JSON and from text."""

from __future__ import annotations

import collections.abc
import contextlib
import json
import math
import types
import typing
from typing import Any, Optional, Tuple, Union

from cc_common.settings.declare import Declaration
from cc_common.settings.durations import parse_duration

_UNION_TYPES = (Union, getattr(types, "UnionType", Union))  # `X | Y` has a type of its own since Python 3.10
_TRUE = frozenset(("true", "yes", "on", "1"))
_FALSE = frozenset(("false", "no", "off", "0"))


class InvalidValue(Exception):
    """A value does not fit; `where` is the path below the setting, such as "[2]", the text starts with "must be"."""

    def __init__(self, message: str, where: str = "") -> None:
        super().__init__(message)
        self.where = where


def is_optional(kind: Any) -> bool:
    """Whether None is among the values of a type."""
    return typing.get_origin(kind) in _UNION_TYPES and type(None) in typing.get_args(kind)


def json_type_name(value: Any) -> str:
    """What a JSON value is, in words, without showing it."""
    if isinstance(value, bool):
        return "a truth value"
    names = {str: "text", int: "a number", float: "a number", list: "a list", dict: "an object", type(None): "null"}
    return names.get(type(value), f"a {type(value).__name__}")


def check_value(value: Any, kind: Any, declaration: Declaration, where: str = "") -> Any:
    """The value as the field holds it; raises Wrong. `kind` is the type of the field."""
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
        raise InvalidValue(f"must be a list, {_but_got(value, declaration)}", where)
    return tuple(check_value(item, arguments[0], declaration, f"{where}[{index}]") for index, item in enumerate(value))


def _check_mapping(value: Any, arguments: Tuple[Any, ...], declaration: Declaration, where: str) -> Any:
    if not isinstance(value, collections.abc.Mapping):
        raise InvalidValue(f"must be an object, {_but_got(value, declaration)}", where)
    return {key: check_value(item, arguments[1], declaration, f"{where}.{key}") for key, item in value.items()}


def _scalar(value: Any, kind: Any, declaration: Declaration, where: str) -> Any:
    if kind is bool:
        if isinstance(value, bool):
            return value
        raise InvalidValue(f"must be true or false, {_but_got(value, declaration)}", where)
    if kind is int:
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        raise InvalidValue(f"must be a whole number, {_but_got(value, declaration)}", where)
    if kind is float:
        return _number(value, "a number", declaration, where)
    if kind is str:
        if isinstance(value, str):
            return value
        raise InvalidValue(f"must be text, {_but_got(value, declaration)}", where)
    raise TypeError(f"settings of type {kind!r} are not supported")


def _number(value: Any, expected: str, declaration: Declaration, where: str) -> float:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            if math.isfinite(value):
                return float(value)
    raise InvalidValue(f"must be {expected}, {_but_got(value, declaration)}", where)


def _duration(value: Any, declaration: Declaration, where: str) -> float:
    if isinstance(value, str):
        try:
            return parse_duration(value)
        except ValueError as error:
            raise InvalidValue(str(error), where) from None
    return _number(value, 'a number of seconds or a duration such as "90s"', declaration, where)


def _check_limits(value: Any, declaration: Declaration, where: str) -> None:
    if declaration.choices and value not in declaration.choices:
        choices = ", ".join(json.dumps(choice) for choice in declaration.choices)
        raise InvalidValue(f"must be one of {choices}, {_but_got(value, declaration)}", where)
    if isinstance(value, (int, float)):
        if declaration.minimum is not None and value < declaration.minimum:
            raise InvalidValue(f"must be at least {declaration.minimum:g}, {_but_got(value, declaration)}", where)
        if declaration.maximum is not None and value > declaration.maximum:
            raise InvalidValue(f"must be at most {declaration.maximum:g}, {_but_got(value, declaration)}", where)


def _but_got(value: Any, declaration: Declaration) -> str:
    if declaration.secret:
        return "which the value is not (it is secret and not shown)"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return f"not {text if len(text) <= 60 else text[:57] + '...'}"  # noqa: PLR2004 about half a line


def parse_text(text: str, kind: Any, declaration: Declaration) -> Any:
    """The JSON value that a text from environment or command line stands for; raises Wrong.

    Lists are written with commas or as JSON, objects as JSON, truth values as true/false, yes/no, on/off or 1/0.
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
        raise InvalidValue(f"must be JSON, {_but_got(text, declaration)}") from None


def _parse_boolean(text: str, declaration: Declaration) -> bool:
    word = text.strip().lower()
    if word in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise InvalidValue(f"must be true or false, {_but_got(text, declaration)}")


def _parse_number(text: str, kind: Any, declaration: Declaration) -> Any:
    try:
        return int(text) if kind is int else float(text)
    except ValueError:
        if declaration.kind == "duration":
            return text
        expected = "a whole number" if kind is int else "a number"
        raise InvalidValue(f"must be {expected}, {_but_got(text, declaration)}") from None
