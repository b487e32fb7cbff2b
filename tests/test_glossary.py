"""One word for one thing: docs/glossary.md has the words, and those that were given up do not come back."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

# A part of an identifier, in lower case -> what to write.
IN_NAMES = {
    "absence": "gap, DataGap",
    "absences": "gaps",
    "beneath": "pending disk part",
    "courier": "DeliveryWorker",
    "fence": "CircuitBreaker",
    "highest": "max, maximum",
    "least": "min, minimum",
    "look": "snapshot (what was seen), poll (the act)",
    "looks": "snapshots, polls",
    "poison": "rejected lines",
    "rhythm": "retry timer",
    "spelling": "cached key",
    "spellings": "cached keys, KeyCache",
    "stranger": "unknown host, anonymous caller",
    "strangers": "unknown hosts, anonymous callers",
    "told": "reported, logged",
    "whose": "the noun: owners, hosts, callers",
}
# A whole identifier -> what to write.
WHOLE_NAMES = {"one": "the noun: job, series, row"}
# What must not stand in docstrings, comments and messages -> what to write.
IN_PROSE = {
    r"(?i)\babsences?\b": "gap",
    r"(?i)\bbeneath\b": "below, pending disk part",
    r"(?i)\bcouriers?\b": "delivery worker",
    r"(?i)\bfenc(?:es?|ed|ing)\b": "circuit breaker",
    r"(?i)\bhighest\b": "maximum, largest",
    r"(?i)\bleast\b(?! (?:recently|privilege))": "minimum, smallest",
    r"(?i)\b(?:an?|the|each|every|one|first|next|last|new|per|whole|good) looks?\b(?!-)(?! up\b)": "poll, snapshot",
    r"(?i)\brhythms?\b": "interval, retry timer",
    r"(?i)\bspellings?\b": "cached key, form",
    r"(?i)\bsteady clock\b": "monotonic clock",
    r"(?i)\bstrangers?\b": "unknown hosts, anonymous callers",
    r"(?i)\btold\b(?! (?:apart|from|to)\b)": "reported, logged, given",
    r"(?i)\bwhole numbers?\b": "integer",
    r"(?i)(?<!there )(?<!it )\bis no (?!longer\b|more\b|fault of\b)": "is not a",
    r"\bWhose\b": "begin with the noun",
}
AT_THE_BEGINNING = {r"The same\b": "say what the caller gets"}

_WORDS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_STRINGS = {tokenize.STRING, *(getattr(tokenize, name) for name in ("FSTRING_MIDDLE",) if hasattr(tokenize, name))}


@dataclass(frozen=True)
class RetiredWord:
    line: int
    word: str
    instead: str


def retired_words(source: str) -> Iterator[RetiredWord]:
    """Retired words in the names, comments, docstrings and texts of a Python source, in the order of its lines."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            yield from _in_name(token.string, token.start[0])
        elif token.type == tokenize.COMMENT or token.type in _STRINGS:
            yield from _in_prose(token.string, token.start[0])
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node) or ""
            line = getattr(node, "lineno", 1)
            for pattern, instead in AT_THE_BEGINNING.items():
                if re.match(pattern, text):
                    yield RetiredWord(line, text.partition("\n")[0], instead)


def _in_name(name: str, line: int) -> Iterator[RetiredWord]:
    if name in WHOLE_NAMES:
        yield RetiredWord(line, name, WHOLE_NAMES[name])
    words = [word.lower() for word in _WORDS.findall(name)]
    for number, word in enumerate(words):
        after = words[number + 1] if number + 1 < len(words) else ""
        before = words[number - 1] if number else ""
        if word in IN_NAMES and (word, after) != ("look", "up") and (before, word) != ("at", "least"):
            yield RetiredWord(line, name, IN_NAMES[word])


def _in_prose(text: str, line: int) -> Iterator[RetiredWord]:
    for pattern, instead in IN_PROSE.items():
        for match in re.finditer(pattern, text):
            if match[0].casefold() == "least" and re.search(r"(?i)\bat\s+$", text[: match.start()]):
                continue  # "at least", maybe over the end of a line
            yield RetiredWord(line + text.count("\n", 0, match.start()), match[0].strip(), instead)


# (package/file, word) -> why it may stand there
JUSTIFIED: dict[tuple[str, str], str] = {
    ("cc_backend.insight/findings.py", "highest"): "a key of stored findings",
    ("cc_backend.insight/sentences.py", "highest"): "a key of stored findings; a word of pages",
    ("cc_backend.web/job_heatmap.py", "highest"): "a word of pages",
    ("cc_backend.web/job_plots.py", "absences"): "a key of the document that pages read",
    ("cc_backend.web/series_table.py", "highest"): "a word of pages",
    ("cc_backend.wording/labels.py", "highest"): "a word of pages",
    ("cc_slurm_adapter/journal.py", "absences"): "a column of the journal",
}


def sources(repository: Path) -> Iterator[tuple[str, Path]]:
    """Each file of product code with the name of its package."""
    for root in sorted(repository.glob("*/cc_*")):
        for path in sorted(root.rglob("*.py")):
            yield ".".join(path.parent.relative_to(root.parent).parts), path


@pytest.fixture(scope="module")
def found(repository: Path) -> dict[str, list[str]]:
    """For each package, `file:line: word (what to write)` of every word that was given up."""
    words: dict[str, list[str]] = {}
    for package, path in sources(repository):
        lines = words.setdefault(package, [])
        for retired in retired_words(path.read_text("utf-8")):
            if (f"{package}/{path.name}", retired.word) not in JUSTIFIED:
                lines.append(f"{path.relative_to(repository)}:{retired.line}: {retired.word!r} ({retired.instead})")
    return words


def test_a_name_of_a_class_is_given_once(repository: Path) -> None:
    places: dict[str, list[str]] = {}
    for package, path in sources(repository):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(f"{package}/{path.name}")
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def test_words_that_were_given_up_do_not_come_back(found: dict[str, list[str]]) -> None:
    lines = [line for package in sorted(found) for line in found[package]]
    assert not lines, "\n".join(lines)


def test_every_justified_word_still_stands_where_the_list_says(repository: Path) -> None:
    files = {f"{package}/{path.name}": path.read_text("utf-8") for package, path in sources(repository)}
    assert [key for key in JUSTIFIED if key[1] not in {found.word for found in retired_words(files[key[0]])}] == []


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("class HostAbsences: pass", ["HostAbsences"]),
        ("def look_up(lookup): pass", []),
        ("at_least = 1; least_s = 2", ["least_s"]),
        ("x = 1  # at least 1, never the least of them", ["least"]),
        ('"""So many at\n    least."""', []),
        ('raise ValueError("x is no number, there is no such thing")', ["is no"]),
        ('def f():\n    """The same for rows."""', ["The same for rows."]),
        ("# The same is true here", []),
        ("for one in rows: pass", ["one"]),
        ('"""Told apart from what was\n\ntold before."""', ["told"]),
    ],
)
def test_a_word_that_was_given_up_is_found_where_it_stands(source: str, words: list[str]) -> None:
    assert [found.word for found in retired_words(source)] == words


# --- docs/glossary.md


@pytest.fixture(scope="module")
def terms(repository: Path) -> dict[str, list[str]]:
    """Word of the glossary -> its names in the code."""
    text = (repository / "docs/glossary.md").read_text("utf-8")
    rows = re.findall(r"^\| ([^|]+) \| [^|]+ \| ([^|]+) \|$", text, re.MULTILINE)[1:]
    assert len(rows) == text.count("\n| ") - 1
    return {word: re.findall(r"`([^`]+)`", code) for word, code in rows}


def test_the_glossary_is_in_order(terms: dict[str, list[str]]) -> None:
    assert [*terms] == sorted(terms, key=str.casefold)


def test_every_word_of_the_glossary_is_in_the_code_under_its_name(
    terms: dict[str, list[str]], code_names: frozenset[str]
) -> None:
    assert [word for word, names in terms.items() if not names] == ["reference"]
    assert [(word, name) for word, names in terms.items() for name in names if name not in code_names] == []


def test_every_name_of_the_glossary_is_used_in_the_code(terms: dict[str, list[str]], repository: Path) -> None:
    text = "\n".join(path.read_text("utf-8") for _, path in sources(repository))
    names = {name.rpartition(".")[2] for names in terms.values() for name in names}
    assert [name for name in names if len(re.findall(rf"\b{name}\b", text)) < 2] == []


def test_every_word_of_the_glossary_is_used_in_a_page_or_names_something_in_the_code(
    terms: dict[str, list[str]], repository: Path
) -> None:
    pages = [*repository.glob("*.md"), *(page for page in repository.glob("docs/**/*.md") if page.stem != "glossary")]
    text = " ".join(" ".join(page.read_text("utf-8").casefold() for page in pages).split())
    unused = [word for word in terms if re.sub(r" of a .*|, .*", "", word).casefold() not in text]
    names = {word: re.sub(r"[_ ]", "", " ".join(terms[word])).casefold() for word in unused}
    assert [word for word in unused if re.sub(r"[- ]", "", word).casefold() not in names[word]] == []
