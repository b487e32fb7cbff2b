"""Expressions of rules: read with the precedence of expr-lang, printed and read again, and never more than an error."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.taggers.expression_parser import parse_expression
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


def printed(node: Node) -> str:  # noqa: C901, PLR0911 one for each kind of node
    """An expression with a bracket around each part, which reads back as the same tree."""
    if isinstance(node, Literal):
        if isinstance(node.value, bool):
            return str(node.value).lower()
        if isinstance(node.value, str):
            return "'" + node.value.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"
        return repr(node.value)
    if isinstance(node, Name):
        return node.name
    if isinstance(node, Member):
        return f"({printed(node.owner)}).{node.name}"
    if isinstance(node, ListOf):
        return f"[{', '.join(map(printed, node.items))}]"
    if isinstance(node, Unary):
        return f"({node.sign}({printed(node.operand)}))"
    if isinstance(node, Binary):
        return f"(({printed(node.left)}) {node.sign} ({printed(node.right)}))"
    if isinstance(node, Comparisons):
        return f"(({printed(node.first)}){''.join(f' {sign} ({printed(other)})' for sign, other in node.others)})"
    if isinstance(node, Conditional):
        return f"({printed(node.condition)} ? {printed(node.then)} : {printed(node.otherwise)})"
    return f"{node.function}({', '.join(map(printed, node.arguments))})"


NAMES = st.sampled_from(["a", "b_1", "job", "mem_bw", "notes", "inner", "orders", "truer"])
LEAVES = st.one_of(
    st.booleans().map(Literal),
    st.integers(0, 2**63 - 1).map(Literal),
    st.floats(0, 1e300, allow_nan=False).map(Literal),
    st.text(max_size=10).map(Literal),
    NAMES.map(Name),
)


def larger(nodes: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
    many = st.lists(nodes, max_size=3).map(tuple)
    comparison = st.tuples(st.sampled_from(["==", "!=", "<", ">", "<=", ">="]), nodes)
    signs = st.sampled_from(["+", "-", "*", "/", "%", "^", "&&", "||", "in", "contains", "startsWith", "endsWith"])
    return st.one_of(
        st.builds(Member, nodes, NAMES),
        st.builds(ListOf, many),
        st.builds(Unary, st.sampled_from(["-", "+", "!"]), nodes),
        st.builds(Binary, signs, nodes, nodes),
        st.builds(Comparisons, nodes, st.lists(comparison, min_size=1, max_size=3).map(tuple)),
        st.builds(Conditional, nodes, nodes, nodes),
        st.builds(Call, NAMES, many),
    )


@given(st.recursive(LEAVES, larger, max_leaves=8))
def test_a_printed_expression_reads_back_as_the_same_tree(node: Node) -> None:
    assert parse_expression(printed(node)) == node


@pytest.mark.parametrize(
    ("text", "brackets"),
    [
        ("a + b * c", "a + (b * c)"),
        ("a - b - c", "(a - b) - c"),
        ("a ** b ** c", "a ^ (b ^ c)"),
        ("-a ^ b", "-(a ^ b)"),
        ("-a * b", "(-a) * b"),
        ("!a && b", "(!a) && b"),
        ("not a == b", "(!a) == b"),
        ("!a * b", "!(a * b)"),
        ("a or b and c", "a || (b && c)"),
        ("a < b && c >= d", "(a < b) && (c >= d)"),
        ("a + b < c * d", "(a + b) < (c * d)"),
        ("a ? b : c ? d : e", "a ? b : (c ? d : e)"),
        ("a not in b", "!(a in b)"),
        ("a in b && c", "(a in b) && c"),
        ("a.b.c", "((a).b).c"),
        ('a["b"]', "a.b"),
        ("a /* b */ + // c\n d", "a + d"),
        ("job.duration>1", "job.duration > 1"),
    ],
)
def test_operators_bind_as_in_expr_lang(text: str, brackets: str) -> None:
    assert parse_expression(text) == parse_expression(brackets)


def test_a_chain_of_comparisons_is_one_node() -> None:
    assert parse_expression("a < b <= c") == Comparisons(Name("a"), (("<", Name("b")), ("<=", Name("c"))))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("42", 42),
        ("1_000", 1000),
        ("0x2A", 42),
        ("0o52", 42),
        ("0b101010", 42),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("2.5E-1", 0.25),
        ('"a\\"b\\n\\u00e4"', 'a"b\nä'),
        ("'it\\'s'", "it's"),
        ("`raw\\n`", "raw\\n"),
        ("true", True),
    ],
)
def test_literals(text: str, value: object) -> None:
    found = parse_expression(text)
    assert isinstance(found, Literal)
    assert (type(found.value), found.value) == (type(value), value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "position 1: a value is expected, not 'the end'"),
        ("a +", "position 4: a value is expected, not 'the end'"),
        ("a b", "position 3: 'b' is not expected"),
        ("(a", "position 3: ')' is expected, not 'the end'"),
        ("a ? b", "position 6: ':' is expected, not 'the end'"),
        ("a.", "position 3: the name of a member is expected"),
        ("a[1]", "position 3: the name of a member is expected in quotes"),
        ("f(a,", "position 5: a value is expected, not 'the end'"),
        ("'open", 'position 1: "\'open" cannot be read'),
        ("a @ b", "position 3: '@ b' cannot be read"),
        ("a; b", "position 2: '; b' cannot be read"),
        ("let x", "position 1: a value is expected, not 'let'"),
        ("a matches 'b'", "position 3: 'matches' is not expected"),
        ("a | b", "position 3: '| b' cannot be read"),
        ("1..3", "position 2: '.' is not expected"),
        ("99999999999999999999", "position 1: the number '99999999999999999999' is too large"),
        ("1e999", "position 1: the number '1e999' is too large"),
        ("'\\q'", "position 1: \\q is not an escape"),
        ("0x_", "position 1: '0x_' is not a number"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_place(text: str, problem: str) -> None:
    with pytest.raises(RuleExpressionError) as caught:
        parse_expression(text)
    assert str(caught.value) == problem


@pytest.mark.parametrize(
    "text",
    [
        "(" * 1000,
        "[" * 1000,
        "-" * 1000 + "1",
        "!" * 1000 + "a",
        "not " * 1000 + "a",
        "a" + ".b" * 1000,
        "a" + "['b']" * 500,
        "1" + "+1" * 1000,
        "2" + "^2" * 1000,
        "a" + " ? a : a" * 400,
        "f(" * 500,
        "[" + "1," * 2000 + "]",
        "a" * 5000,
        "/*" * 2000,
        '"' * 4001,
        "0" * 4000,
    ],
)
def test_what_is_too_long_or_too_deep_is_an_error_at_once(text: str) -> None:
    begin = time.process_time()
    try:
        parse_expression(text)
    except RuleExpressionError:
        pass
    else:
        assert text == "0" * 4000
    assert time.process_time() - begin < 2


@given(st.text(alphabet="ab1.+-*/%^<>=!&|?:()[]'\"\\`, notin", max_size=60))
def test_any_text_is_an_expression_or_an_error(text: str) -> None:
    try:
        node = parse_expression(text)
    except RuleExpressionError:
        return
    assert parse_expression(printed(node)) == node
