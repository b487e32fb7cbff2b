"""Hints of rules: text with placeholders such as `{{.mem_bw.avg}}`, a part of the templates of Go. Pure.

In braces stand a value (`.metric.member`, `.name`), a text or number, a call (`printf "%.1f" .mem_bw.avg`, `print`,
`round .x`), or several joined by `|`, each given the result before it. Numbers are shown with at most two decimals.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cc_backend.taggers.expression_tokens import RuleExpressionError, Token, read_number, read_text
from cc_backend.taggers.expression_types import Kind, KindTree
from cc_common.nearest_name import did_you_mean

MAX_TEMPLATE_CHARS = 4096
MAX_HINT_CHARS = 2000
_MAX_WIDTH = 100
_MAX_DECIMALS = 15

_BRACES = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_COMMENT = re.compile(r"/\*.*?\*/", re.DOTALL)
_PIECE = re.compile(
    r"""[ \t\n]*(?:(?P<path>(?:\.[A-Za-z_][A-Za-z0-9_]*)+) | (?P<text>"(?:[^"\\\n]|\\.)*"|`[^`]*`)
      | (?P<number>-?[0-9]+(?:\.[0-9]+)?) | (?P<word>[A-Za-z_][A-Za-z0-9_]*) | (?P<pipe>\|))[ \t\n]*""",
    re.VERBOSE,
)
_VERB = re.compile(r"%(?P<flags>[-+0 ]*)(?P<width>[0-9]*)(?:\.(?P<decimals>[0-9]*))?(?P<verb>.?)", re.DOTALL)
_FUNCTIONS = ("printf", "print", "println", "round", "len")


@dataclass(frozen=True, slots=True)
class _Argument:
    """A text, a number, or the names on the way to a value."""

    value: str | float | None = None
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Step:
    """A part of a pipe: a function, or "" for a value alone."""

    function: str
    arguments: tuple[_Argument, ...]


@dataclass(frozen=True, slots=True)
class HintTemplate:
    """A hint: texts, and between them what is filled in."""

    parts: tuple[str | tuple[_Step, ...], ...]

    def render(self, values: Mapping[str, Any]) -> str:
        """The hint with its values, at most 2000 characters; raises RuleExpressionError where a value is not there."""
        return "".join(part if isinstance(part, str) else _run(part, values) for part in self.parts)[:MAX_HINT_CHARS]

    def check(self, environment: Mapping[str, KindTree]) -> None:
        """Raise RuleExpressionError for a placeholder that names nothing."""
        for part in self.parts:
            for step in () if isinstance(part, str) else part:
                for argument in step.arguments:
                    _check_path(argument.path, environment)


def parse_hint(text: str) -> HintTemplate:
    """The template of a hint; raises RuleExpressionError that quotes what cannot be read."""
    if len(text) > MAX_TEMPLATE_CHARS:
        raise RuleExpressionError(f"the hint is longer than {MAX_TEMPLATE_CHARS} characters")
    parts: list[str | tuple[_Step, ...]] = []
    at, trims = 0, False
    for braces in _BRACES.finditer(text):
        before, inner = text[at : braces.start()], braces[1]
        before = before.lstrip() if trims else before
        parts.append(before.rstrip() if inner.startswith("- ") else before)
        at, trims = braces.end(), inner.endswith(" -")
        inner = inner.removeprefix("- ").removesuffix(" -").strip()
        if not _COMMENT.fullmatch(inner):
            parts.append(_parse_pipe(inner))
    rest = text[at:]
    if "{{" in rest:
        raise RuleExpressionError(f"{rest[rest.index('{{') :][:40]!r} has no closing braces")
    parts.append(rest.lstrip() if trims else rest)
    return HintTemplate(tuple(part for part in parts if part))


def _parse_pipe(text: str) -> tuple[_Step, ...]:
    steps: list[list[re.Match[str]]] = [[]]
    at = 0
    while at < len(text):
        piece = _PIECE.match(text, at)
        if piece is None:
            raise RuleExpressionError(f"{{{{{text[:60]}}}}} cannot be read; known are .name, .metric.avg and printf")
        at = piece.end()
        if piece["pipe"]:
            steps.append([])
        else:
            steps[-1].append(piece)
    return tuple(_parse_step(pieces, text, is_first=not index) for index, pieces in enumerate(steps))


def _parse_step(pieces: list[re.Match[str]], text: str, *, is_first: bool) -> _Step:
    function = pieces[0]["word"] or "" if pieces else ""
    if function and function not in _FUNCTIONS:
        hint = did_you_mean(function, _FUNCTIONS)
        raise RuleExpressionError(f"{{{{{text[:60]}}}}}: {function[:40]!r} is not known here{hint}")
    arguments = pieces[1:] if function else pieces
    if any(piece["word"] for piece in arguments) or (not function and (len(arguments) != 1 or not is_first)):
        raise RuleExpressionError(f"{{{{{text[:60]}}}}} cannot be read; known are .name, .metric.avg and printf")
    return _Step(function, tuple(map(_parse_argument, arguments)))


def _parse_argument(piece: re.Match[str]) -> _Argument:
    if piece["path"]:
        return _Argument(path=tuple(piece["path"].split(".")[1:]))
    if piece["text"]:
        return _Argument(read_text(Token("text", piece["text"], piece.start() + 1)))
    sign = -1 if piece["number"].startswith("-") else 1
    return _Argument(sign * read_number(Token("number", piece["number"].lstrip("-"), piece.start() + 1)))


def _check_path(path: tuple[str, ...], environment: Mapping[str, KindTree]) -> None:
    here: KindTree = environment
    for name in path:
        if isinstance(here, Kind) or name not in here:
            hint = "" if isinstance(here, Kind) else did_you_mean(name, list(here))
            raise RuleExpressionError(f"'.{'.'.join(path)[:80]}' is not known{hint}")
        here = here[name]
    if path and not isinstance(here, Kind):
        raise RuleExpressionError(f"'.{'.'.join(path)[:80]}' is not a value; name a member of it")


def _run(steps: tuple[_Step, ...], values: Mapping[str, Any]) -> str:
    piped: list[Any] = []
    for step in steps:
        arguments = [_look_up(argument, values) for argument in step.arguments] + piped
        piped = [_apply(step.function, arguments)]
    return show_value(piped[0])


def _look_up(argument: _Argument, values: Mapping[str, Any]) -> Any:
    if not argument.path:
        return argument.value
    here: Any = values
    for name in argument.path:
        try:
            here = here[name]
        except (KeyError, TypeError):
            raise RuleExpressionError(f"'.{'.'.join(argument.path)[:80]}' is not there") from None
    return round(here, 2) if isinstance(here, float) else here


def _apply(function: str, arguments: list[Any]) -> Any:
    if function == "printf" and arguments and isinstance(arguments[0], str):
        return _format(arguments[0], arguments[1:])
    if function in ("print", "println"):
        return " ".join(map(show_value, arguments))
    if len(arguments) == 1:
        value = arguments[0]
        if function == "":
            return value
        if function == "len" and isinstance(value, str):
            return len(value)
        if function == "round" and isinstance(value, int | float):
            return round(value)
    raise RuleExpressionError(f"{function} is given values that it cannot use")


def show_value(value: Any) -> str:
    """A value as people read it: numbers with at most two decimals, without exponent."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        text = f"{value:.2f}".rstrip("0").rstrip(".")
        return "0" if text == "-0" else text
    return str(value)


def _format(template: str, values: list[Any]) -> str:
    left = list(values)

    def fill(match: re.Match[str]) -> str:
        if match["verb"] == "%":
            return "%"
        if not left:
            raise RuleExpressionError(f"printf: {match[0]!r} has no value")
        return _format_value(match, left.pop(0))

    return _VERB.sub(fill, template)


def _format_value(match: re.Match[str], value: Any) -> str:
    verb, flags = match["verb"], match["flags"]
    width, decimals = int(match["width"][:6] or 0), int((match["decimals"] or "0")[:6])
    if width > _MAX_WIDTH or decimals > _MAX_DECIMALS:
        raise RuleExpressionError(f"printf: {match[0][:40]!r} asks for too many digits")
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if verb in ("v", "s"):
        text = show_value(value)
    elif verb == "d" and is_number:
        text = str(round(value))
    elif verb in ("f", "e", "g") and is_number:
        text = format(float(value), f"{'.' + str(decimals) if match['decimals'] is not None else ''}{verb}")
    else:
        raise RuleExpressionError(f"printf: {match[0][:40]!r} does not fit {show_value(value)[:40]!r}")
    if "+" in flags and is_number and not text.startswith("-"):
        text = f"+{text}"
    if "-" in flags:
        return text.ljust(width)
    return text.zfill(width) if "0" in flags and is_number else text.rjust(width)
