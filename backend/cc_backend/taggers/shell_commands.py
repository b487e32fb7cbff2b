"""The commands that a job script would run, read from its text; nothing is executed.

Comments, quoted text, data of here-documents, patterns of `case` and conditions are not commands. Variables that the
script sets itself are filled in, so that `$EXE` is what it was set to. Reading is approximate and bounded: what is
longer, deeper or more than the limits below is left out, and no text makes it fail.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

MAX_SCRIPT_CHARS = 1 << 17
"""Longer scripts are read up to here."""

_MAX_COMMANDS = 5000
_MAX_VARIABLES = 500
_MAX_WORD_CHARS = 4096
_MAX_WORDS = 2000
_MAX_EXPANDED_CHARS = 1 << 17
_MAX_DEPTH = 4

_SPLIT = "\x1f"  # stands for white space of an expanded variable, where the word is to be split
_PLAIN = re.compile(r"[^\s;&|()<>'\"\\`$#]+|#")
_BLANK = re.compile(r"[ \t\r\f\v]+|\\\r?\n")
_SINGLE_QUOTED = re.compile(r"\$?'([^']*)'")
_DOUBLE_QUOTED = re.compile(r'"((?>[^"\\]+|\\.)*)"', re.DOTALL)
_BACKTICKS = re.compile(r"`([^`]*)(?:`|\Z)")
_VARIABLE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([^}\n]*)\}?|([0-9@*#?$!-]))")
_IN_BRACES = re.compile(r"([A-Za-z_]\w*)(?::?[-=]([^}]*))?")
_REDIRECTION = re.compile(r"[0-9]*(?:<<<|<<-?|<>|<&|>&|>>|>\||<|>)|&>>?")
_OPERATOR = re.compile(r";;&|;;|;&|;|&&|\|\||\|&|\||&|\n|\(|\)")
_FUNCTION = re.compile(r"\([ \t]*\)")
_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)\+?=")
_BRACKETS = re.compile(r"[()]")
_SPECIAL_IN_QUOTES = re.compile(r"[\\$`]")
_ESAC = re.compile(r"\s*esac\b")

_BEFORE_COMMANDS = frozenset({"if", "then", "elif", "else", "do", "while", "until", "!", "{", "time", "coproc"})
_AFTER_COMMANDS = frozenset({"fi", "done", "esac", "}", "end", "endif"})
_SETTERS = frozenset({"export", "declare", "typeset", "local", "readonly", "set", "setenv"})
_WHERE_IS = {"which": 1, "realpath": 1, "readlink": 1, "command": 1, "type": 1}


@dataclass(frozen=True, slots=True)
class ScriptCommand:
    """A command: its words, the program first, and the text that the script writes to its standard input."""

    words: tuple[str, ...]
    stdin: str = ""


def script_commands(script: str) -> list[ScriptCommand]:
    """The commands of a shell script, those inside substitutions before the command that they are part of."""
    return _Reader(script[:MAX_SCRIPT_CHARS], _Shell()).read()


@dataclass(slots=True)
class _Shell:
    """What a script and all that is nested in it have in common."""

    variables: dict[str, str] = field(default_factory=dict)
    commands: list[ScriptCommand] = field(default_factory=list)
    expanded_chars: int = 0

    def set(self, name: str, value: str) -> None:
        if name in self.variables or len(self.variables) < _MAX_VARIABLES:
            self.variables[name] = value

    def set_each(self, words: list[str]) -> None:
        for word in words:
            if assignment := _ASSIGNMENT.match(word):
                self.set(assignment[1], word[assignment.end() :])

    def value_of(self, variable: re.Match[str]) -> str:
        """The value of a variable, the default that the script names for it, or the text as it stands."""
        name, default = variable[1], None
        if variable[2] is not None and (braces := _IN_BRACES.match(variable[2])):
            name, default = braces[1], braces[2]
        value = self.variables.get(name or "", variable[0] if default is None else default)
        self.expanded_chars += len(value)
        return value if self.expanded_chars <= _MAX_EXPANDED_CHARS else ""


@dataclass(slots=True)
class _Reader:
    """Reads one script."""

    text: str
    shell: _Shell
    depth: int = 0
    at: int = 0
    words: list[str] = field(default_factory=list)
    is_literal: list[bool] = field(default_factory=list)  # whether quotes keep the word from being a keyword
    stdin: str = ""
    jump_from: int = -1  # the end of a line on which here-documents begin
    jump_to: int = -1
    in_pattern: bool = False
    open_cases: int = 0

    def read(self) -> list[ScriptCommand]:
        while self.at < len(self.text) and len(self.shell.commands) < _MAX_COMMANDS:
            self._read_next()
        self._finish_command()
        return self.shell.commands

    def _read_next(self) -> None:
        if blank := _BLANK.match(self.text, self.at):
            self.at = blank.end()
        elif self.text[self.at] == "#":
            self.at = self._line_end(self.at)
        elif self.in_pattern:
            self._skip_pattern()
        elif redirection := _REDIRECTION.match(self.text, self.at):
            self._redirect(redirection[0].lstrip("0123456789"), redirection.end())
        elif operator := _OPERATOR.match(self.text, self.at):
            self._take_operator(operator[0])
        else:
            self._take_word()

    def _take_word(self) -> None:
        start = self.at
        word = self._read_word()
        if not self.words and self.at - start == len(word):
            if word == "[[":
                self._skip_behind("]]")
                return
            if word == "function":
                self._read_blank()
                self._read_word()
                return
            if word in _BEFORE_COMMANDS or word in _AFTER_COMMANDS:
                if word == "esac" and self.open_cases:
                    self.open_cases -= 1
                return
        for part in [word.replace(_SPLIT, " ")] if _ASSIGNMENT.match(word) else word.split(_SPLIT):
            if (part or word == "") and len(self.words) < _MAX_WORDS:
                self.words.append(part)
        if word == "in" and self.words[0] == "case":
            self.words.clear()
            self.in_pattern = True
            self.open_cases += 1

    def _take_operator(self, operator: str) -> None:
        if operator == "(":
            if function := _FUNCTION.match(self.text, self.at):
                self.words.clear()
                self.at = function.end()
                return
            if self.text.startswith("((", self.at) and not self.words:
                self._skip_behind("))")
                return
        if operator == "\n" and self.at == self.jump_from:
            self.at, self.jump_from = self.jump_to, -1
        else:
            self.at += len(operator)
        self._finish_command()
        if operator in (";;", ";&", ";;&") and self.open_cases:
            self.in_pattern = True

    def _skip_pattern(self) -> None:
        """Leave out the pattern of a branch of `case`, up to its bracket; at `esac` the case ends."""
        self.in_pattern = False
        if esac := _ESAC.match(self.text, self.at):
            self.open_cases -= 1
            self.at = esac.end()
        else:
            end = self.text.find(")", self.at)
            self.at = len(self.text) if end < 0 else end + 1

    def _skip_behind(self, end: str) -> None:
        """Go on behind the next `end`, or at the end of the line if it has none."""
        line_end = self._line_end(self.at)
        found = self.text.find(end, self.at, line_end)
        self.at = line_end if found < 0 else found + len(end)

    def _line_end(self, start: int) -> int:
        found = self.text.find("\n", start)
        return len(self.text) if found < 0 else found

    def _read_blank(self) -> None:
        while blank := _BLANK.match(self.text, self.at):
            self.at = blank.end()

    def _redirect(self, sign: str, end: int) -> None:
        self.at = end
        self._read_blank()
        target = self._read_word(expand=not sign.startswith("<<") or sign == "<<<")
        if sign == "<<<":
            self.stdin = target
        elif sign.startswith("<<"):
            self.stdin = self._take_here_document(target, strip_tabs=sign == "<<-")

    def _take_here_document(self, delimiter: str, *, strip_tabs: bool) -> str:
        """The text of a here-document, which begins on the next line or behind another one; reading jumps over it."""
        if self.jump_from < 0:
            self.jump_from = self._line_end(self.at)
            self.jump_to = min(self.jump_from + 1, len(self.text))
        start = at = self.jump_to
        while at < len(self.text):
            end = self._line_end(at)
            line = self.text[at:end].rstrip("\r")
            if (line.lstrip("\t") if strip_tabs else line) == delimiter:
                self.jump_to = min(end + 1, len(self.text))
                return self.text[start:at]
            at = end + 1
        self.jump_to = len(self.text)
        return self.text[start:]

    def _read_word(self, *, expand: bool = True) -> str:
        """The word at the present place, without its quotes; empty at an operator."""
        parts: list[str] = []
        while self.at < len(self.text) and self.text[self.at] not in " \t\r\f\v\n;&|()<>":
            parts.append(self._read_part(expand=expand))
            if self.text.startswith("(", self.at) and _ASSIGNMENT.fullmatch("".join(parts)):
                self._read_brackets(self.at + 1)  # the list of an array
        return "".join(parts)[:_MAX_WORD_CHARS]

    def _read_part(self, *, expand: bool) -> str:  # noqa: PLR0911 one for each kind of part
        text, at = self.text, self.at
        if plain := _PLAIN.match(text, at):
            self.at = plain.end()
            return plain[0]
        if single := _SINGLE_QUOTED.match(text, at):
            self.at = single.end()
            return single[1]
        if double := _DOUBLE_QUOTED.match(text, at):
            self.at = double.end()
            return self._expand_quoted(double[1]) if expand else double[1]
        if text[at] == "\\":
            self.at = min(at + 2, len(text))
            return "" if text.startswith("\n", at + 1) else text[at + 1 : at + 2]
        if expand and (inner := self._read_substitution()) is not None:
            return self._substitute(inner)
        if variable := _VARIABLE.match(text, at):
            self.at = variable.end()
            return re.sub(r"\s+", _SPLIT, self.shell.value_of(variable)) if expand else variable[0]
        self.at = at + 1
        return text[at]

    def _read_substitution(self) -> str | None:
        """The script inside `$(...)` or backticks at the present place, None if there is none."""
        if self.text.startswith("$(", self.at):
            return self._read_brackets(self.at + 2)
        if backticks := _BACKTICKS.match(self.text, self.at):
            self.at = backticks.end()
            return backticks[1]
        return None

    def _read_brackets(self, start: int) -> str:
        """The text from here to the bracket that closes it, or to the end; reading goes on behind it."""
        depth = 1
        for bracket in _BRACKETS.finditer(self.text, start):
            depth += 1 if bracket[0] == "(" else -1
            if not depth:
                self.at = bracket.end()
                return self.text[start : bracket.start()]
        self.at = len(self.text)
        return self.text[start:]

    def _substitute(self, script: str) -> str:
        """What a substitution most likely gives: the program that it asks for, else a mark for something unknown."""
        if script.startswith("("):  # arithmetic
            return "0"
        inner = self._read_nested(script)
        if inner and inner[0].words[0] in _WHERE_IS:
            names = [word for word in inner[0].words[1:] if not word.startswith("-")]
            return names[0] if names else "$()"
        return "$()"

    def _read_nested(self, script: str) -> list[ScriptCommand]:
        """The commands of a script inside this one, which are commands of this one as well."""
        if self.depth >= _MAX_DEPTH:
            return []
        before = len(self.shell.commands)
        return _Reader(script, self.shell, self.depth + 1).read()[before:]

    def _expand_quoted(self, text: str) -> str:
        if "$" not in text and "`" not in text and "\\" not in text:
            return text
        return "".join(_Reader(text, self.shell, self.depth).quoted_parts())

    def quoted_parts(self) -> Iterator[str]:
        """The parts of a double-quoted text, expanded."""
        while self.at < len(self.text):
            mark = self.text[self.at]
            if mark == "\\":
                yield self.text[self.at + 1 : self.at + 2].strip("\n")
                self.at += 2
            elif (inner := self._read_substitution()) is not None:
                yield self._substitute(inner)
            elif variable := _VARIABLE.match(self.text, self.at):
                self.at = variable.end()
                yield self.shell.value_of(variable)
            else:
                end = _SPECIAL_IN_QUOTES.search(self.text, self.at + 1)
                yield self.text[self.at : end.start() if end else len(self.text)]
                self.at = end.start() if end else len(self.text)

    def _finish_command(self) -> None:
        words, stdin = self.words, self.stdin
        self.words, self.stdin = [], ""
        first = next((index for index, word in enumerate(words) if not _ASSIGNMENT.match(word)), len(words))
        if first == len(words):  # before a command they are for that command only
            self.shell.set_each(words)
        words = words[first:]
        if not words or words[0] in ("for", "foreach", "select", "case"):
            return
        if words[0] not in _SETTERS:
            self.shell.commands.append(ScriptCommand(tuple(words), stdin))
            return
        if words[0] == "setenv" and len(words) > 2:  # noqa: PLR2004 setenv NAME VALUE
            self.shell.set(words[1], words[2])
        if words[0] == "set" and len(words) > 3 and words[2] == "=":  # noqa: PLR2004 set NAME = VALUE
            self.shell.set(words[1], words[3])
        self.shell.set_each(words[1:])
