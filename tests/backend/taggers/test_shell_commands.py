"""The commands of scripts, and that no script takes long or raises."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.taggers.shell_commands import MAX_SCRIPT_CHARS, script_commands


def words(script: str) -> list[tuple[str, ...]]:
    return [command.words for command in script_commands(script)]


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("a b 'c d' \"e f\"", [("a", "b", "c d", "e f")]),
        ("a;b&&c||d|e&f", [("a",), ("b",), ("c",), ("d",), ("e",), ("f",)]),
        ("a \\\n  b", [("a", "b")]),
        ("a # b\nc", [("a",), ("c",)]),
        ("a#b c#", [("a#b", "c#")]),
        ("X=1 Y=2 a", [("a",)]),
        ("X=1\na $X ${X} $Y ${Z:-4}", [("a", "1", "1", "$Y", "4")]),
        ("X='a b'\n$X \"$X\" '$X'", [("a", "b", "a b", "$X")]),
        ("a > out 2>&1 < in", [("a",)]),
        ("$(which a) b", [("a",), ("which", "a"), ("a", "b")][1:]),
        ("a $(b `c`)", [("c",), ("b", "$()"), ("a", "$()")]),
        ("(a; b)", [("a",), ("b",)]),
        ("if a; then b; elif c; then d; else e; fi", [("a",), ("b",), ("c",), ("d",), ("e",)]),
        ("f() { a; }\nfunction g { b; }", [("a",), ("b",)]),
        ("case a in b|c) d;; (e) f;; esac; g", [("d",), ("f",), ("g",)]),
        ("case a in b) case c in d) e;; esac;; f) g;; esac", [("e",), ("g",)]),
        ("x=(a b c) \n d", [("d",)]),
        ("a $((1 + 2)) b", [("a", "0", "b")]),
        ("a\\ b 'it'\\''s'", [("a b", "it's")]),
        ("a {b,c}", [("a", "{b,c}")]),
        ("", []),
        ("\n\n;;\n", []),
    ],
)
def test_the_words_of_commands_are_those_that_a_shell_sees(script: str, expected: list[tuple[str, ...]]) -> None:
    assert words(script) == expected


def test_a_here_document_is_the_input_of_its_command_and_no_command() -> None:
    (command, last) = script_commands("python - <<'EOF'\nimport x\nEOF\nlast")
    assert (command.words, command.stdin) == (("python", "-"), "import x\n")
    assert last.words == ("last",)
    (piped,) = script_commands("bash <<< 'a b'")
    assert piped.stdin == "a b"


ATTACKS = {
    "open substitutions": "$(",
    "open backticks": "`",
    "open quotes": '"',
    "escaped quotes": '"\\',
    "open single quotes": "'",
    "everything open": "\"'`$(",
    "open braces": "${",
    "open defaults": "${a:-",
    "open arithmetic": "$((",
    "quoted substitutions": '"$("',
    "here-documents": "<<A\n",
    "here-documents on one line": "<<A ",
    "assignments": "A=1 ",
    "growing variables": "A=a$A$A$A;$A;",
    "long variables": 'A=aaaaaaaaaaaaaaaa$A;x $A "$A$A";',
    "cases": "case x in ",
    "ended cases": "case x in esac;",
    "branches": "case x in a) ;;",
    "conditions": "[[",
    "brackets": "(",
    "commands": "gmx mdrun\n",
    "backslashes": "\\",
    "lines": "\n",
    "carriage returns": "\r\n",
    "zeros": "\0",
    "words of a long variable": " $A",
}
SETTING_A = {"words of a long variable": "A='" + "a " * 2000 + "'; x"}


@pytest.mark.parametrize("name", ATTACKS)
def test_no_script_takes_long(name: str) -> None:
    script = SETTING_A.get(name, "") + ATTACKS[name] * (2 * MAX_SCRIPT_CHARS // len(ATTACKS[name]))
    begin = time.process_time()
    script_commands(script)
    assert time.process_time() - begin < 5  # a second or less; a quadratic reader takes minutes


def test_a_script_of_10_mb_is_read_up_to_a_limit() -> None:
    script = "first\n" + "x" * MAX_SCRIPT_CHARS + "\nlast\n" + "y\n" * 5_000_000
    assert [command.words[0][:5] for command in script_commands(script)] == ["first", "xxxxx"]


@given(st.text(alphabet="$(){}[]<>`'\"\\|&;# \n=AEOFcasein-", max_size=200))
def test_any_text_can_be_read(script: str) -> None:
    for command in script_commands(script):
        assert command.words


@given(st.text(max_size=100))
def test_any_character_can_be_read(script: str) -> None:
    script_commands(script)


@given(st.lists(st.text(alphabet="abc $'\"\\#;|\n", min_size=1), min_size=1, max_size=5))
def test_quoted_words_come_back_as_they_were(texts: list[str]) -> None:
    quoted = " ".join("'" + text.replace("'", "'\\''") + "'" for text in ["program", *texts])
    assert words(quoted) == [("program", *texts)]
