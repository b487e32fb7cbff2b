"""Conditions of the router, such as `tags.type == 'hwthread' && name startsWith 'cpu_i'`.

The language is the part of expr-lang that configurations of cc-metric-collector use. A condition is compiled once, by
the recursive descent parser below, into closures; nothing is passed to an interpreter. Precedence, lowest first: or,
and, not, comparison, sum, product, sign. A condition on the value or time of a sample raises NeedsSampleError without
one; all others are evaluated once per series.
"""

from __future__ import annotations

import re
from typing import Any, Callable, List, Mapping, NamedTuple, Optional

from cc_agent.errors import ExpressionError
from cc_agent.operators import COMPARISONS, TAG_WORDS, arithmetic
from cc_agent.rule_input import RuleInput

_MAX_LENGTH = 4096
_MAX_DEPTH = 50

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?|\.[0-9]+)
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<word>s?type-id\b|[A-Za-z_][A-Za-z0-9_]*)
    | (?P<sign>&&|\|\||==|!=|<=|>=|[-<>!+*/%()\[\],.])
    )""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"'}
_BARE_TAGS = ("type", "type-id", "stype", "stype-id", "hostname", "host", "cluster")
_TYPE_WORDS = ("messagetype", "msgtype")


Condition = Callable[[RuleInput], bool]
_Evaluate = Callable[[Any], Any]  # of a RuleInput in a condition, of something else in a function


class _Node(NamedTuple):
    evaluate: _Evaluate
    boolean: bool = False
    literal: Any = None


class _Token(NamedTuple):
    kind: str
    text: str
    position: int


def compile_condition(text: str, constants: Optional[Mapping[str, Any]] = None) -> Condition:
    """The condition as a function; `*` is always true. Raises ExpressionError with the position."""
    if text.strip() == "*":
        return lambda _message: True
    if len(text) > _MAX_LENGTH:
        raise ExpressionError(f"the condition is longer than {_MAX_LENGTH} characters")
    node = _ConditionParser(text, constants or {}).parse()
    if not node.boolean:
        raise ExpressionError(f"{text!r} does not yield true or false; compare it with something")
    evaluate = node.evaluate
    return lambda message: evaluate(message) is True


def compile_function(
    text: str,
    *,
    functions: Mapping[str, _Evaluate],
    names: Mapping[str, _Evaluate],
    constants: Mapping[str, Any],
) -> Callable[[Any], Any]:
    """The value that a text such as `sum(values) / numSockets` has for an input.

    `functions` are those that may stand in front of `(values)`, `names` the words with a value of the input. Raises
    ExpressionError with the position.
    """
    if len(text) > _MAX_LENGTH:
        raise ExpressionError(f"the function is longer than {_MAX_LENGTH} characters")
    return _FunctionParser(text, constants, functions, names).parse().evaluate


def _tokenize(text: str) -> List[_Token]:
    tokens: List[_Token] = []
    position = 0
    end = len(text.rstrip())
    while position < end:
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise ExpressionError(f"unexpected {text[position:].strip()[:20]!r} at position {position + 1} of {text!r}")
        tokens.append(_Token(match.lastgroup, match.group(match.lastgroup), match.start(match.lastgroup)))
        position = match.end()
    tokens.append(_Token("end", "", len(text)))
    return tokens


class _ConditionParser:
    """Recursive descent parser; one method per level of precedence."""

    def __init__(self, text: str, constants: Mapping[str, Any]) -> None:
        self.text = text
        self.constants = constants
        self.tokens = _tokenize(text)
        self.index = 0
        self.depth = 0

    def parse(self) -> _Node:
        node = self.disjunction()
        if self.token.kind != "end":
            raise self.error(f"unexpected {self.token.text!r}")
        return node

    @property
    def token(self) -> _Token:
        return self.tokens[self.index]

    def error(self, problem: str) -> ExpressionError:
        return ExpressionError(f"{problem} at position {self.token.position + 1} of {self.text!r}")

    def accept(self, *texts: str) -> str:
        """Consume the current token if it is one of these and return its text, else ""."""
        if self.token.kind in ("sign", "word") and self.token.text in texts:
            self.index += 1
            return self.tokens[self.index - 1].text
        return ""

    def expect(self, text: str) -> None:
        if not self.accept(text):
            raise self.error(f"expected {text!r}, found {self.token.text or 'the end'!r}")

    def disjunction(self) -> _Node:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self.error("nested too deeply")
        node = self.conjunction()
        while self.accept("||", "or"):
            node = _either(self.require_boolean(node), self.require_boolean(self.conjunction()))
        self.depth -= 1
        return node

    def conjunction(self) -> _Node:
        node = self.negation()
        while self.accept("&&", "and"):
            node = _both(self.require_boolean(node), self.require_boolean(self.negation()))
        return node

    def negation(self) -> _Node:
        count = 0
        while self.accept("not"):
            count += 1
        node = self.comparison()
        return _negated(self.require_boolean(node)) if count % 2 else node

    def require_boolean(self, node: _Node) -> _Node:
        if not node.boolean:
            raise self.error("expected something that is true or false before this")
        return node

    def comparison(self) -> _Node:
        left = self.sum()
        sign = self.accept(
            "==", "!=", "<=", ">=", "<", ">", "in", "contains", "startsWith", "endsWith", "matches", "not"
        )
        if not sign:
            return left
        if sign == "not":
            self.expect("in")
            return _negated(_compared("in", left, self.sum()))
        right = self.sum()
        if sign == "matches":
            return _matched(self.pattern(right.literal), left)
        return _compared(sign, left, right)

    def pattern(self, literal: Any) -> re.Pattern[str]:
        if not isinstance(literal, str):
            raise self.error("expected a pattern in quotes before this")
        try:
            return re.compile(literal)
        except re.error as error:
            raise self.error(f"pattern {literal!r} cannot be read ({error})") from error

    def sum(self) -> _Node:
        node = self.product()
        while True:
            sign = self.accept("+", "-")
            if not sign:
                return node
            node = _computed(sign, node, self.product())

    def product(self) -> _Node:
        node = self.unary()
        while True:
            sign = self.accept("*", "/", "%")
            if not sign:
                return node
            node = _computed(sign, node, self.unary())

    def unary(self) -> _Node:
        exclamations = 0
        while self.accept("!"):
            exclamations += 1
        if exclamations:
            node = self.require_boolean(self.primary())
            return _negated(node) if exclamations % 2 else node
        if self.accept("-"):
            return _computed("-", _literal(0), self.primary())
        return self.primary()

    def primary(self) -> _Node:
        token = self.token
        if self.accept("("):
            node = self.disjunction()
            self.expect(")")
            return node
        if self.accept("["):
            return self.list_literal()
        if token.kind in ("end", "sign"):
            raise self.error(f"expected a value, found {token.text or 'the end'!r}")
        self.index += 1
        if token.kind == "number":
            return _literal(float(token.text))
        if token.kind == "text":
            return _literal(_unquoted(token.text))
        return self.named(token)

    def list_literal(self) -> _Node:
        items: List[_Node] = []
        while not self.accept("]"):
            if items:
                self.expect(",")
            items.append(self.sum())
        functions = [item.evaluate for item in items]
        return _Node(lambda message: [function(message) for function in functions])

    def named(self, token: _Token) -> _Node:
        word = token.text
        if word in ("true", "false"):
            truth = word == "true"
            return _Node(lambda _message: truth, boolean=True)
        if word in self.constants:
            return _literal(self.constants[word])
        if word in ("tag", "tags", "meta", "field", "fields"):
            return self.part_of(word)
        if word in ("msg", "message", "metric"):
            return self.method()
        if word == "match":
            return self.match_call()
        plain = _plain_name(word)
        if plain is None:
            self.index -= 1
            raise self.error(
                f"unknown name {word!r} (known: name, value, time, tags.X, meta.X, {', '.join(_BARE_TAGS)})"
            )
        return _Node(plain)

    def part_of(self, word: str) -> _Node:
        if word in ("tag", "tags", "meta") and not (self.token.kind == "sign" and self.token.text in (".", "[")):
            return _Node(_whole_mapping(word))
        key = self.key()
        if word == "meta":
            return _Node(lambda message: message.meta.get(key, ""))
        if word in ("tag", "tags"):
            return _Node(lambda message: message.tags.get(key, ""))
        if key != "value":
            raise self.error(f"a sample has only the field 'value', not {key!r}")
        return _Node(lambda message: message.value)

    def key(self) -> str:
        if self.accept("["):
            token = self.token
            if token.kind != "text":
                raise self.error("expected a name in quotes")
            self.index += 1
            self.expect("]")
            return _unquoted(token.text)
        self.expect(".")
        token = self.token
        if token.kind != "word":
            raise self.error("expected a name after the dot")
        self.index += 1
        return TAG_WORDS.get(token.text, token.text)

    def method(self) -> _Node:
        self.expect(".")
        word = self.token.text
        if word not in ("HasTag", "HasMeta", "GetTag", "GetMeta", "Name"):
            raise self.error(f"unknown method {word!r} (known: HasTag, HasMeta, GetTag, GetMeta, Name)")
        self.index += 1
        if word == "Name":
            self.expect("(")
            self.expect(")")
            return _Node(lambda message: message.name)
        (argument,) = self.arguments(1)
        key = argument.literal
        if not isinstance(key, str):
            raise self.error(f"{word} needs a name in quotes before this")
        if word == "HasTag":
            return _Node(lambda message: key in message.tags, boolean=True)
        if word == "HasMeta":
            return _Node(lambda message: key in message.meta, boolean=True)
        if word == "GetTag":
            return _Node(lambda message: message.tags.get(key, ""))
        return _Node(lambda message: message.meta.get(key, ""))

    def match_call(self) -> _Node:
        """`match(pattern, text)`, with % for the backslash, which JSON would have to double."""
        pattern, subject = self.arguments(2)
        text = pattern.literal
        return _matched(self.pattern(text.replace("%", "\\") if isinstance(text, str) else text), subject)

    def arguments(self, count: int) -> List[_Node]:
        self.expect("(")
        nodes = [self.sum()]
        while len(nodes) < count:
            self.expect(",")
            nodes.append(self.sum())
        self.expect(")")
        return nodes


class _FunctionParser(_ConditionParser):
    """Sums, products and parentheses as in conditions, with other names."""

    def __init__(
        self,
        text: str,
        constants: Mapping[str, Any],
        functions: Mapping[str, _Evaluate],
        names: Mapping[str, _Evaluate],
    ) -> None:
        super().__init__(text, constants)
        self.functions = functions
        self.names = names

    def parse(self) -> _Node:
        node = self.sum()
        if self.token.kind != "end":
            raise self.error(f"unexpected {self.token.text!r}")
        return node

    def named(self, token: _Token) -> _Node:
        word = token.text
        if word in self.functions:
            for sign in ("(", "values", ")"):
                self.expect(sign)
            return _Node(self.functions[word])
        if word in self.names:
            return _Node(self.names[word])
        if word in self.constants:
            return _literal(self.constants[word])
        self.index -= 1
        known = ", ".join([*(f"{name}(values)" for name in self.functions), *self.names, *self.constants])
        raise self.error(f"unknown name {word!r} (known: {known})")


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", lambda match: _ESCAPES.get(match.group(1), match.group()), text[1:-1])


def _literal(value: Any) -> _Node:
    return _Node(lambda _message: value, boolean=isinstance(value, bool), literal=value)


def _plain_name(word: str) -> Optional[_Evaluate]:
    if word == "name":
        return lambda message: message.name
    if word in _TYPE_WORDS:
        return lambda message: message.kind
    if word == "value":
        return lambda message: message.value
    if word in ("time", "timestamp"):
        return lambda message: message.time_s
    tag = TAG_WORDS.get(word, word)
    if tag in _BARE_TAGS:
        return lambda message: message.tags.get(tag, "")
    return None


def _whole_mapping(word: str) -> _Evaluate:
    if word == "meta":
        return lambda message: message.meta
    return lambda message: message.tags


def _either(left: _Node, right: _Node) -> _Node:
    first, second = left.evaluate, right.evaluate
    return _Node(lambda message: first(message) is True or second(message) is True, boolean=True)


def _both(left: _Node, right: _Node) -> _Node:
    first, second = left.evaluate, right.evaluate
    return _Node(lambda message: first(message) is True and second(message) is True, boolean=True)


def _negated(node: _Node) -> _Node:
    evaluate = node.evaluate
    return _Node(lambda message: evaluate(message) is not True, boolean=True)


def _matched(pattern: re.Pattern[str], subject: _Node) -> _Node:
    evaluate = subject.evaluate

    def matches(message: RuleInput) -> bool:
        text = evaluate(message)
        return isinstance(text, str) and pattern.search(text) is not None

    return _Node(matches, boolean=True)


def _compared(sign: str, left: _Node, right: _Node) -> _Node:
    first, second, compare = left.evaluate, right.evaluate, COMPARISONS[sign]
    return _Node(lambda message: compare(first(message), second(message)), boolean=True)


def _computed(sign: str, left: _Node, right: _Node) -> _Node:
    first, second = left.evaluate, right.evaluate
    return _Node(lambda message: arithmetic(sign, first(message), second(message)))
