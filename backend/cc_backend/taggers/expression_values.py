"""Computes expressions of rules. Pure; each part of an expression is computed once at most.

Numbers are 64-bit integers and floating point as in Go: `/` and `^` give floating point, `%` has the sign of its left
side. A result that is infinite, not a number or beyond 64 bits is an error, so that nothing is judged by it.
"""

import math
import operator
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from cc_backend.taggers.expression_tokens import (
    Binary,
    Comparisons,
    Conditional,
    ListOf,
    Literal,
    Member,
    Name,
    Node,
    RuleExpressionError,
    Unary,
)

Number = int | float
ValueTree = Any
"""A number, text, truth or list, or a mapping of names to such values."""

_MAX_INTEGER = 1 << 63
_MAX_TEXT_CHARS = 10_000
_HALF = 0.5
_COMPARE: Mapping[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, "!=": operator.ne, "<": operator.lt, ">": operator.gt, "<=": operator.le, ">=": operator.ge,
}  # fmt: skip
_ON_TEXTS: Mapping[str, Callable[[str, str], bool]] = {
    "contains": operator.contains, "startsWith": str.startswith, "endsWith": str.endswith,
}  # fmt: skip


def evaluate(node: Node, environment: Mapping[str, ValueTree]) -> Any:  # noqa: PLR0911 one for each kind of node
    """The value of an expression that `expression_types` accepts.

    Raises:
        RuleExpressionError: a value is not there, or a result is undefined.
    """
    if isinstance(node, Literal):
        return node.value
    if isinstance(node, Name):
        return _lookup(node.name, environment)
    if isinstance(node, Member):
        return _lookup(node.name, evaluate(node.owner, environment))
    if isinstance(node, ListOf):
        return [evaluate(item, environment) for item in node.items]
    if isinstance(node, Unary):
        value = evaluate(node.operand, environment)
        return not value if node.sign == "!" else _checked(-value if node.sign == "-" else value)
    if isinstance(node, Binary):
        return _binary(node, environment)
    if isinstance(node, Comparisons):
        return _compare(node, environment)
    if isinstance(node, Conditional):
        return evaluate(node.then if evaluate(node.condition, environment) else node.otherwise, environment)
    return _call(node.function, [evaluate(argument, environment) for argument in node.arguments])


def _lookup(name: str, values: Mapping[str, ValueTree]) -> ValueTree:
    try:
        return values[name]
    except (KeyError, TypeError):
        raise RuleExpressionError(f"{name[:60]!r} is not there") from None


def _binary(node: Binary, environment: Mapping[str, ValueTree]) -> Any:
    left = evaluate(node.left, environment)
    if node.sign in ("&&", "||"):
        return left if left == (node.sign == "||") else evaluate(node.right, environment)
    right = evaluate(node.right, environment)
    if node.sign in _ON_TEXTS:
        return _ON_TEXTS[node.sign](left, right)
    if node.sign == "in":
        return left in right
    return calculate(node.sign, left, right)


def _compare(node: Comparisons, environment: Mapping[str, ValueTree]) -> bool:
    left = evaluate(node.first, environment)
    for sign, other in node.others:
        right = evaluate(other, environment)
        if not _COMPARE[sign](left, right):
            return False
        left = right
    return True


def calculate(sign: str, left: Any, right: Any) -> Any:
    """The result of an arithmetic operator on two numbers, or of `+` on two texts; raises RuleExpressionError."""
    try:
        return _checked(_calculate(sign, left, right))
    except (ZeroDivisionError, OverflowError, ValueError):
        raise RuleExpressionError(f"{_shown(left)} {sign} {_shown(right)} has no result") from None


def _calculate(sign: str, left: Any, right: Any) -> Any:
    if sign == "+":
        return left + right
    if sign == "-":
        return left - right
    if sign == "*":
        return left * right
    if sign == "/":
        return left / right
    if sign == "%":
        rest = abs(left) % abs(right)
        return -rest if left < 0 else rest
    return math.pow(left, right)


def _checked(value: Any) -> Any:
    if isinstance(value, str):
        if len(value) > _MAX_TEXT_CHARS:
            raise RuleExpressionError(f"a text is longer than {_MAX_TEXT_CHARS} characters")
    elif not (math.isfinite(value) and (isinstance(value, float) or -_MAX_INTEGER <= value < _MAX_INTEGER)):
        raise RuleExpressionError("a result is beyond the range of numbers")
    return value


def _shown(value: Any) -> str:
    return repr(value)[:40]


def _call(name: str, arguments: Sequence[Any]) -> Any:
    try:
        return _checked(_FUNCTIONS[name](*arguments))
    except (OverflowError, ValueError):
        raise RuleExpressionError(f"{name}() has no result") from None


def _over_numbers(function: Callable[[list[Number]], Number]) -> Callable[..., Number]:
    """A function over numbers that are given one by one or in lists."""

    def over(*arguments: Any) -> Number:
        numbers: list[Number] = []
        for argument in arguments:
            numbers += argument if isinstance(argument, list) else [argument]
        return function(numbers)

    return over


def _round_half_away(value: Number) -> float:
    below = math.floor(abs(value))
    return math.copysign(below + (abs(value) - below >= _HALF), value)


_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "ceil": lambda value: float(math.ceil(value)),
    "floor": lambda value: float(math.floor(value)),
    "round": _round_half_away,
    "int": int,
    "float": float,
    "max": _over_numbers(max),
    "min": _over_numbers(min),
    "sum": _over_numbers(sum),
    "mean": _over_numbers(statistics.fmean),
    "median": _over_numbers(statistics.median),
    "len": len,
    "lower": str.lower,
    "upper": str.upper,
}
