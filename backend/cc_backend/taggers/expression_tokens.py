"""Expressions of rules: the syntax tree, and the tokens of its text. The language is a part of expr-lang.

Source of the syntax: the language definition of expr-lang (github.com/expr-lang/expr).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from cc_backend.errors import BackendError

MAX_EXPRESSION_CHARS = 4096

_TOKEN = re.compile(
    r"""(?P<blank>\s+|//[^\n]*|/\*.*?\*/)
      | (?P<number>0[xX][0-9a-fA-F_]+|0[oO][0-7_]+|0[bB][01_]+
                  |(?:[0-9][0-9_]*(?:\.(?!\.)[0-9_]*)?|\.[0-9][0-9_]*)(?:[eE][+-]?[0-9]+)?)
      | (?P<text>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|`[^`]*`)
      | (?P<word>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<sign>\*\*|&&|\|\||==|!=|<=|>=|[-+*/%^<>!?:.,()\[\]])
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_UNCHANGED = frozenset("\\'\"`/")


class RuleExpressionError(BackendError):
    """An expression or template that cannot be read or computed; the text says where and why."""


@dataclass(frozen=True, slots=True)
class Literal:
    """A number, a text, true or false."""

    value: bool | int | float | str


@dataclass(frozen=True, slots=True)
class Name:
    """A value of the environment."""

    name: str


@dataclass(frozen=True, slots=True)
class Member:
    """A member of a value: `owner.name`, or `owner["name"]`."""

    owner: "Node"
    name: str


@dataclass(frozen=True, slots=True)
class ListOf:
    """A list of values."""

    items: tuple["Node", ...]


@dataclass(frozen=True, slots=True)
class Unary:
    """A sign before a value: `-`, `+` or `!`."""

    sign: str
    operand: "Node"


@dataclass(frozen=True, slots=True)
class Binary:
    """An operator between two values; `and` and `or` are `&&` and `||`, `**` is `^`."""

    sign: str
    left: "Node"
    right: "Node"


@dataclass(frozen=True, slots=True)
class Comparisons:
    """One comparison or more in a chain: `a < b <= c` is `a < b && b <= c`."""

    first: "Node"
    others: tuple[tuple[str, "Node"], ...]


@dataclass(frozen=True, slots=True)
class Conditional:
    """`condition ? then : otherwise`."""

    condition: "Node"
    then: "Node"
    otherwise: "Node"


@dataclass(frozen=True, slots=True)
class Call:
    """A call of one of the functions of the language."""

    function: str
    arguments: tuple["Node", ...]


Node = Literal | Name | Member | ListOf | Unary | Binary | Comparisons | Conditional | Call


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of an expression: `kind` is number, text, word, sign or end, `at` its place in the text, from 1."""

    kind: str
    text: str
    at: int


def split_tokens(text: str) -> list[Token]:
    """The tokens of an expression, and the end; raises RuleExpressionError at a sign that is none."""
    if len(text) > MAX_EXPRESSION_CHARS:
        raise RuleExpressionError(f"the expression is longer than {MAX_EXPRESSION_CHARS} characters")
    return [*_tokens(text), Token("end", "", len(text) + 1)]


def _tokens(text: str) -> Iterator[Token]:
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            raise RuleExpressionError(f"position {at + 1}: {text[at : at + 10]!r} cannot be read")
        if match.lastgroup != "blank":
            yield Token(match.lastgroup, match[0], at + 1)
        at = match.end()


def read_number(token: Token) -> int | float:
    """The value of a number; raises RuleExpressionError beyond 64 bits or the range of floating point."""
    text = token.text.replace("_", "")
    try:
        if text[:2].lower() in ("0x", "0o", "0b") or text.isdigit():
            value: int | float = int(text, 10 if text.isdigit() else 0)
            fits = value < 1 << 63
        else:
            value = float(text)
            fits = value < float("inf")
    except ValueError:
        raise RuleExpressionError(f"position {token.at}: {token.text[:40]!r} is not a number") from None
    if not fits:
        raise RuleExpressionError(f"position {token.at}: the number {token.text[:40]!r} is too large")
    return value


def read_text(token: Token) -> str:
    """The value of a text in quotes."""
    inner = token.text[1:-1]
    if token.text[0] == "`":
        return inner

    def unescape(match: re.Match[str]) -> str:
        if match[1]:
            return chr(int(match[1], 16))
        if match[2] in _ESCAPES:
            return _ESCAPES[match[2]]
        if match[2] in _UNCHANGED:
            return match[2]
        raise RuleExpressionError(f"position {token.at}: \\{match[2]} is not an escape")

    return _ESCAPE.sub(unescape, inner)
