"""Pattern files of a site: one text file for each application, one regular expression a line, in the dialect of RE2.

The engine is RE2, whose time grows with the length of the text only, so that no pattern of a file and no script of a
user can hold up the server. Upper and lower case are the same. A pattern matches anywhere in a script, but not behind a
`#` of its line.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from cc_backend.taggers.shell_commands import MAX_SCRIPT_CHARS
from cc_backend.taggers.tagger_folder import TaggerFile, is_tag_name

MAX_PATTERNS = 1000
MAX_PATTERN_CHARS = 1000
_MAX_PROGRAM_BYTES = 1 << 20
_GUARD = r"(?m)^[^#\n]*(?:{})"


@dataclass(frozen=True, slots=True)
class PatternFile:
    """The patterns of one application; without patterns the application is not searched for."""

    tag: str
    patterns: tuple[Any, ...] = field(default=(), repr=False)

    def matches(self, script: str) -> bool:
        """Whether a pattern matches in the first 256 Ki characters of a script."""
        text = script[:MAX_SCRIPT_CHARS].encode("utf-8", "replace")
        return any(pattern.search(text) is not None for pattern in self.patterns)


def read_pattern_file(file: TaggerFile) -> tuple[PatternFile | None, list[str]]:
    """The patterns of a file, whose name without ending is the tag, and what is wrong with single lines of it.

    None if the name is not fit for a tag, or if RE2 is not installed.
    """
    tag = Path(file.name).stem
    if not is_tag_name(tag):
        return None, [f"{file.name}: the name of the file cannot be that of a tag"]
    lines = [(number, line.strip("\r")) for number, line in enumerate(file.text.split("\n"), 1) if line.strip()]
    if not lines:
        return PatternFile(tag), []
    engine = _load_engine()
    if engine is None:
        return None, [f"{file.name}: patterns need the package google-re2, which is not installed"]
    faults = []
    if len(lines) > MAX_PATTERNS:
        faults.append(f"{file.name}: has more than {MAX_PATTERNS} patterns; the others are left out")
    patterns = []
    for number, line in lines[:MAX_PATTERNS]:
        try:
            patterns.append(_compile(engine, line))
        except ValueError as error:
            faults.append(f"{file.name}, line {number}: {error}; the line is left out")
    return PatternFile(tag, tuple(patterns)), faults


def _compile(engine: ModuleType, pattern: str) -> Any:
    if len(pattern) > MAX_PATTERN_CHARS:
        raise ValueError(f"the pattern is longer than {MAX_PATTERN_CHARS} characters")
    options = engine.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.max_mem = _MAX_PROGRAM_BYTES
    try:
        engine.compile(pattern.encode(), options=options)  # alone first: `a)|(b` must not close the group of the guard
        return engine.compile(_GUARD.format(pattern).encode(), options=options)
    except engine.error as error:
        reason = error.args[0] if error.args else ""
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise ValueError(f"the pattern {pattern[:80]!r} cannot be read: {text}") from None


def _load_engine() -> ModuleType | None:
    """RE2, loaded where patterns are used for the first time; None if it is not installed."""
    try:
        import re2  # noqa: PLC0415 only sites with pattern files need it
    except ImportError:
        return None
    module: ModuleType = re2
    return module


def matching_tags(files: Sequence[PatternFile], script: str) -> list[str]:
    """The tags of the files that match a script."""
    return [file.tag for file in files if script and file.matches(script)]
