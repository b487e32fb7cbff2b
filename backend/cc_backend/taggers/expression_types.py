"""Checks an expression before it is used: names that it may read, and the kind of each value. Pure."""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from cc_backend.taggers.expression_tokens import (
    Binary,
    Call,
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
from cc_common.nearest_name import did_you_mean


class Kind(StrEnum):
    """The kind of a value."""

    NUMBER = "a number"
    TEXT = "a text"
    TRUTH = "true or false"
    LIST_OF_NUMBERS = "a list of numbers"
    LIST_OF_TEXTS = "a list of texts"


KindTree = Kind | Mapping[str, "KindTree"]
"""The kind of a value, or those of its members by name."""

_TEXT_OPERATORS = ("contains", "startsWith", "endsWith")
_LISTS = {Kind.NUMBER: Kind.LIST_OF_NUMBERS, Kind.TEXT: Kind.LIST_OF_TEXTS}
_ROUNDING = ("abs", "ceil", "floor", "round", "int", "float")
_OVER_NUMBERS = ("max", "min", "sum", "mean", "median")
FUNCTIONS = (*_ROUNDING, *_OVER_NUMBERS, "len", "lower", "upper")
"""The functions of the language."""


def kind_of(  # noqa: C901, PLR0911 one for each kind of node
    node: Node, environment: Mapping[str, KindTree]
) -> KindTree:
    """The kind of an expression's value; raises RuleExpressionError where it could not be computed."""
    if isinstance(node, Literal):
        return _kind_of_literal(node)
    if isinstance(node, Name):
        return _lookup(node.name, environment, "")
    if isinstance(node, Member):
        owner = kind_of(node.owner, environment)
        if isinstance(owner, Kind):
            raise RuleExpressionError(f"{owner} has no member {node.name!r}")
        return _lookup(node.name, owner, " here")
    if isinstance(node, ListOf):
        return _kind_of_list(node, environment)
    if isinstance(node, Unary):
        wanted = Kind.TRUTH if node.sign == "!" else Kind.NUMBER
        return _require(kind_of(node.operand, environment), wanted, f"behind {node.sign!r}")
    if isinstance(node, Binary):
        return _kind_of_binary(node, environment)
    if isinstance(node, Comparisons):
        return _kind_of_comparisons(node, environment)
    if isinstance(node, Conditional):
        _require(kind_of(node.condition, environment), Kind.TRUTH, "before '?'")
        then = kind_of(node.then, environment)
        if not isinstance(then, Kind):
            raise RuleExpressionError("a value is expected behind '?', not something with members")
        return _require(kind_of(node.otherwise, environment), then, "behind ':'")
    return _kind_of_call(node, environment)


def require_kind(node: Node, wanted: Kind, environment: Mapping[str, KindTree]) -> None:
    """Raise RuleExpressionError unless an expression gives a value of this kind."""
    _require(kind_of(node, environment), wanted, "as the result")


def _kind_of_literal(node: Literal) -> Kind:
    if isinstance(node.value, bool):
        return Kind.TRUTH
    return Kind.TEXT if isinstance(node.value, str) else Kind.NUMBER


def _lookup(name: str, known: Mapping[str, KindTree], where: str) -> KindTree:
    try:
        return known[name]
    except KeyError:
        hint = did_you_mean(name, list(known))
        raise RuleExpressionError(f"{name[:60]!r} is not known{where}{hint}") from None


def _require(found: KindTree, wanted: Kind, where: str) -> Kind:
    if found != wanted:
        shown = found if isinstance(found, Kind) else "something with members"
        raise RuleExpressionError(f"{wanted} is expected {where}, not {shown}")
    return wanted


def _kind_of_list(node: ListOf, environment: Mapping[str, KindTree]) -> Kind:
    kinds = {kind for item in node.items if isinstance(kind := kind_of(item, environment), Kind)}
    if len(kinds) != 1 or (kind := kinds.pop()) not in _LISTS:
        raise RuleExpressionError("a list must have values, all numbers or all texts")
    return _LISTS[kind]


def _kind_of_binary(node: Binary, environment: Mapping[str, KindTree]) -> Kind:
    sign, left, right = node.sign, kind_of(node.left, environment), kind_of(node.right, environment)
    if sign == "in":
        if not isinstance(left, Kind) or left not in _LISTS:
            raise RuleExpressionError("a number or a text is expected before 'in'")
        _require(right, _LISTS[left], "behind 'in'")
        return Kind.TRUTH
    wanted = result = Kind.NUMBER
    if sign in ("&&", "||"):
        wanted = result = Kind.TRUTH
    elif sign in _TEXT_OPERATORS:
        wanted, result = Kind.TEXT, Kind.TRUTH
    elif sign == "+" and left == Kind.TEXT:
        wanted = result = Kind.TEXT
    _require(left, wanted, f"before {sign!r}")
    _require(right, wanted, f"behind {sign!r}")
    return result


def _kind_of_comparisons(node: Comparisons, environment: Mapping[str, KindTree]) -> Kind:
    left = kind_of(node.first, environment)
    for sign, right in node.others:
        if not isinstance(left, Kind) or (sign not in ("==", "!=") and left not in (Kind.NUMBER, Kind.TEXT)):
            raise RuleExpressionError(f"a number or a text is expected before {sign!r}")
        _require(kind_of(right, environment), left, f"behind {sign!r}")
    return Kind.TRUTH


def _kind_of_call(node: Call, environment: Mapping[str, KindTree]) -> Kind:
    name = node.function
    if name not in FUNCTIONS:
        raise RuleExpressionError(f"the function {name[:60]!r} is not known{did_you_mean(name, FUNCTIONS)}")
    if name in _OVER_NUMBERS and node.arguments:
        for argument in node.arguments:
            if (kind := kind_of(argument, environment)) != Kind.LIST_OF_NUMBERS:
                _require(kind, Kind.NUMBER, f"in {name}()")
        return Kind.NUMBER
    if len(node.arguments) != 1:
        raise RuleExpressionError(f"{name}() takes one value, not {len(node.arguments)}")
    found = kind_of(node.arguments[0], environment)
    allowed: Sequence[Kind] = (Kind.NUMBER,)
    if name == "len":
        allowed = (Kind.TEXT, Kind.LIST_OF_NUMBERS, Kind.LIST_OF_TEXTS)
    elif name in ("lower", "upper"):
        allowed = (Kind.TEXT,)
    if found not in allowed:
        raise RuleExpressionError(f"{name}() takes {' or '.join(allowed)}")
    return Kind.TEXT if name in ("lower", "upper") else Kind.NUMBER
