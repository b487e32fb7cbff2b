"""Reads expressions of rules into a syntax tree, by precedence as in expr-lang; nothing is passed to an interpreter.

Precedence, lowest first: `?:`; `or ||`; `and &&`; comparisons, `in`, `contains`, `startsWith`, `endsWith`; `+ -`;
`not !`; `* / %`; signs; `^ **` (from the right).
"""

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
    Token,
    Unary,
    read_number,
    read_text,
    split_tokens,
)

MAX_DEPTH = 40
MAX_HEIGHT = 100
_UNARY = {"not": 50, "!": 50, "-": 90, "+": 90}
_COMPARISONS = frozenset({"==", "!=", "<", ">", "<=", ">="})
_TEXT_OPERATORS = frozenset({"in", "contains", "startsWith", "endsWith"})
_BINARY = {
    "or": 10, "||": 10, "and": 15, "&&": 15, **dict.fromkeys(_COMPARISONS | _TEXT_OPERATORS, 20), "+": 30, "-": 30,
    "*": 60, "/": 60, "%": 60, "**": 100, "^": 100,
}  # fmt: skip
_SAME = {"or": "||", "and": "&&", "**": "^", "not": "!"}
_KEYWORDS = frozenset({"or", "and", "not", *_TEXT_OPERATORS, "matches", "let", "nil"})
_MAX_ITEMS = 100


def parse_expression(text: str) -> Node:
    """The syntax tree of an expression; raises RuleExpressionError with the position, counted from 1."""
    parser = _ExpressionParser(split_tokens(text))
    node = parser.expression(0)
    if parser.token.kind != "end":
        raise parser.error(f"{parser.token.text[:40]!r} is not expected")
    _require_low(node)
    return node


def _require_low(node: Node) -> None:
    """Raise RuleExpressionError for a tree that is too high to be walked: a long sum is a high tree as well."""
    level = [node]
    for _ in range(MAX_HEIGHT):
        level = [part for above in level for part in _parts(above)]
        if not level:
            return
    raise RuleExpressionError(f"more than {MAX_HEIGHT} operations build on each other")


def _parts(node: Node) -> tuple[Node, ...]:  # noqa: PLR0911 one for each kind of node
    if isinstance(node, Member):
        return (node.owner,)
    if isinstance(node, ListOf):
        return node.items
    if isinstance(node, Unary):
        return (node.operand,)
    if isinstance(node, Binary):
        return (node.left, node.right)
    if isinstance(node, Comparisons):
        return (node.first, *(other for _, other in node.others))
    if isinstance(node, Conditional):
        return (node.condition, node.then, node.otherwise)
    return node.arguments if isinstance(node, Call) else ()


class _ExpressionParser:
    def __init__(self, tokens: list[Token]) -> None:
        self._tokens = tokens
        self._index = 0
        self._depth = 0

    @property
    def token(self) -> Token:
        return self._tokens[self._index]

    def error(self, problem: str, token: Token | None = None) -> RuleExpressionError:
        return RuleExpressionError(f"position {(token or self.token).at}: {problem}")

    def expression(self, precedence: int) -> Node:
        """The expression up to an operator that binds less than `precedence`."""
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self.error(f"nested deeper than {MAX_DEPTH} levels")
        node = self._primary()
        while (sign := self._operator()) and _BINARY[sign] >= precedence:
            node = self._binary(node, sign)
        if precedence == 0 and self._accept("?"):
            then = self.expression(0)
            self._expect(":")
            node = Conditional(node, then, self.expression(0))
        self._depth -= 1
        return node

    def _operator(self) -> str:
        """The binary operator at the present place, "" if there is none; `not in` counts as `in`."""
        token = self.token
        if token.kind == "word" and token.text == "not":
            following = self._tokens[self._index + 1]
            return following.text if following.kind == "word" and following.text in _TEXT_OPERATORS else ""
        return token.text if token.kind in ("sign", "word") and token.text in _BINARY else ""

    def _binary(self, left: Node, sign: str) -> Node:
        negated = self._accept("not")
        self._index += 1
        precedence = _BINARY[sign]
        if sign in _COMPARISONS:
            others = [(sign, self.expression(precedence + 1))]
            while self.token.kind == "sign" and self.token.text in _COMPARISONS:
                sign = self._take().text
                others.append((sign, self.expression(precedence + 1)))
            return Comparisons(left, tuple(others))
        right = self.expression(precedence if sign in ("^", "**") else precedence + 1)
        node = Binary(_SAME.get(sign, sign), left, right)
        return Unary("!", node) if negated else node

    def _primary(self) -> Node:  # noqa: PLR0911 one for each kind of value
        token = self._take()
        if token.kind in ("sign", "word") and token.text in _UNARY:
            return self._members(Unary(_SAME.get(token.text, token.text), self.expression(_UNARY[token.text])))
        if token.kind == "number":
            return Literal(read_number(token))
        if token.kind == "text":
            return Literal(read_text(token))
        if token.kind == "word" and token.text in ("true", "false"):
            return Literal(token.text == "true")
        if token.kind == "word" and token.text not in _KEYWORDS:
            return self._members(self._name(token))
        if token.text == "(":
            node = self.expression(0)
            self._expect(")")
            return self._members(node)
        if token.text == "[":
            return ListOf(self._items("]"))
        raise self.error(f"a value is expected, not {token.text[:40] or 'the end'!r}", token)

    def _name(self, token: Token) -> Node:
        return Call(token.text, self._items(")")) if self._accept("(") else Name(token.text)

    def _items(self, end: str) -> tuple[Node, ...]:
        items: list[Node] = []
        while not self._accept(end):
            if items:
                self._expect(",")
            if len(items) == _MAX_ITEMS:
                raise self.error(f"more than {_MAX_ITEMS} values")
            items.append(self.expression(0))
        return tuple(items)

    def _members(self, node: Node) -> Node:
        """The value, or the member that is taken of it."""
        depth = 0
        while sign := self._accept(".", "["):
            depth += 1
            if depth > MAX_DEPTH:
                raise self.error(f"more than {MAX_DEPTH} members of members")
            wanted = self._take()
            if wanted.kind != ("word" if sign == "." else "text"):
                raise self.error("the name of a member is expected" + (" in quotes" if sign == "[" else ""), wanted)
            node = Member(node, wanted.text if sign == "." else read_text(wanted))
            if sign == "[":
                self._expect("]")
        return node

    def _take(self) -> Token:
        token = self.token
        if token.kind != "end":
            self._index += 1
        return token

    def _accept(self, *texts: str) -> str:
        """Take the present token if it is one of these, and return it; else ""."""
        if self.token.kind in ("sign", "word") and self.token.text in texts:
            return self._take().text
        return ""

    def _expect(self, text: str) -> None:
        if not self._accept(text):
            raise self.error(f"{text!r} is expected, not {self.token.text[:40] or 'the end'!r}")
