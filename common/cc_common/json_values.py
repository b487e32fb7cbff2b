"""Checks of single JSON values: the value of a type, or a fault that says what is expected and what is there."""

from __future__ import annotations

import json
import math
from typing import Any, Mapping, Optional, Sequence

_MAX_VALUE_SHOWN = 60


class ValueFault(ValueError):
    """A value is not what it must be; `expected` says what that is, the text also shows the value."""

    def __init__(self, expected: str, value: Any) -> None:
        super().__init__(f"must be {expected}, not {show_json(value)}")
        self.expected = expected


def show_json(value: Any) -> str:
    """A value as a message quotes it: as JSON, on one line, 60 characters at most; lists and objects by their type."""
    if isinstance(value, (list, tuple, Mapping)):
        return json_type(value)
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _MAX_VALUE_SHOWN else f"{text[: _MAX_VALUE_SHOWN - 3]}..."


def json_type(value: Any) -> str:
    """What a JSON value is, without showing it: "a string", "a list", "null"."""
    if isinstance(value, bool):
        return "a boolean"
    if value is None:
        return "null"
    if isinstance(value, Mapping):
        return "an object"
    names = {str: "a string", int: "a number", float: "a number", list: "a list", tuple: "a list"}
    return names.get(type(value), type(value).__name__)


def as_string(value: Any) -> str:
    """The value if it is a string. Raises ValueFault."""
    if isinstance(value, str):
        return value
    raise ValueFault("a string", value)


def as_boolean(value: Any) -> bool:
    """The value if it is true or false. Raises ValueFault."""
    if isinstance(value, bool):
        return value
    raise ValueFault("true or false", value)


def as_integer(value: Any, minimum: Optional[int] = None, maximum: Optional[int] = None) -> int:
    """The value if it is an integer within inclusive limits; 5.0 is one, 5.5 and true are not. Raises ValueFault."""
    if type(value) is int and (minimum is None or minimum <= value) and (maximum is None or value <= maximum):
        return value
    number = int(value) if isinstance(value, float) and value.is_integer() else value
    if not isinstance(number, int) or isinstance(number, bool):
        # limits on both sides are mostly those of a format, which help nobody who wrote a string
        raise ValueFault("an integer" if maximum is not None else f"an integer{_limits(minimum, None)}", value)
    if (minimum is not None and number < minimum) or (maximum is not None and number > maximum):
        raise ValueFault(f"an integer{_limits(minimum, maximum)}", value)
    return number


def as_number(value: Any) -> float:
    """The value as a float if it is a finite number. Raises ValueFault."""
    if type(value) is float and math.isfinite(value):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
        raise ValueFault("a finite number", value)
    raise ValueFault("a number", value)


def as_list(value: Any) -> Sequence[Any]:
    """The value if it is a list. Raises ValueFault."""
    if isinstance(value, (list, tuple)):
        return value
    raise ValueFault("a list", value)


def as_object(value: Any) -> Mapping[str, Any]:
    """The value if it is an object. Raises ValueFault."""
    if type(value) is dict or isinstance(value, Mapping):
        return value
    raise ValueFault("an object", value)


def _limits(minimum: Optional[int], maximum: Optional[int]) -> str:
    if minimum is not None and maximum is not None:
        return f" from {minimum} to {maximum}"
    if minimum is not None:
        return f" of at least {minimum}"
    return "" if maximum is None else f" of at most {maximum}"
