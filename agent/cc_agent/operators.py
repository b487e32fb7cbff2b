"""The operators of conditions for values of any type; none of them raises.

Tags hold numbers as strings, so what looks like a number is ordered and calculated as one. Two strings are equal only
if they are the same text, and `+` joins them.
"""

from __future__ import annotations

import operator
from typing import Any, Callable, Dict, Optional, Tuple

TAG_WORDS = {"typeid": "type-id", "stypeid": "stype-id"}
"""Tag names without hyphen, as a condition may write them."""


def arithmetic(sign: str, left: Any, right: Any) -> Any:
    """The result, None if it is undefined; comparisons with None are false."""
    if sign == "+" and isinstance(left, str) and isinstance(right, str):
        return left + right
    numbers = _numbers(left, right)
    if numbers is None:
        return None
    if sign in "/%" and numbers[1] == 0:
        return None
    return _ARITHMETIC[sign](*numbers)


_ARITHMETIC: Dict[str, Callable[[float, float], float]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": operator.mod,
}


def _numbers(left: Any, right: Any) -> Optional[Tuple[float, float]]:
    """Both as numbers, because tags hold numbers as strings; None if one is not a number."""
    try:
        return float(left), float(right)
    except (TypeError, ValueError):
        return None


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, str) and isinstance(right, str):
        return left == right
    numbers = _numbers(left, right)
    return numbers is not None and numbers[0] == numbers[1]


def _ordered(left: Any, right: Any, holds: Callable[[Any, Any], bool]) -> bool:
    numbers = _numbers(left, right)
    if numbers is not None:
        return holds(*numbers)
    return isinstance(left, str) and isinstance(right, str) and holds(left, right)


def _member(left: Any, right: Any) -> bool:
    if isinstance(right, list):
        return any(_equal(left, item) for item in right)
    return isinstance(left, str) and isinstance(right, dict) and TAG_WORDS.get(left, left) in right


def _texts(holds: Callable[[str, str], bool]) -> Callable[[Any, Any], bool]:
    return lambda left, right: isinstance(left, str) and isinstance(right, str) and holds(left, right)


COMPARISONS: Dict[str, Callable[[Any, Any], bool]] = {
    "==": _equal,
    "!=": lambda left, right: not _equal(left, right),
    "<": lambda left, right: _ordered(left, right, lambda a, b: bool(a < b)),
    ">": lambda left, right: _ordered(left, right, lambda a, b: bool(a > b)),
    "<=": lambda left, right: _ordered(left, right, lambda a, b: bool(a <= b)),
    ">=": lambda left, right: _ordered(left, right, lambda a, b: bool(a >= b)),
    "in": _member,
    "contains": _texts(lambda left, right: right in left),
    "startsWith": _texts(str.startswith),
    "endsWith": _texts(str.endswith),
}
