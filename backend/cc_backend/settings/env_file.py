"""Reads the variables of a `.env` file, in which installations of ClusterCockpit 1.5 keep their keys."""

import re
import stat
from collections.abc import Mapping
from pathlib import Path

from cc_common.errors import SettingsError

FILE_NAME = ".env"
MAX_BYTES = 65536

_KEY = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_.]*)\s*[=:][ \t]*", re.ASCII)
_COMMENT = re.compile(r"(?<=\s)#")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


def merge_env_file(
    config: Path, environment: Mapping[str, str], *, unused: Mapping[str, str] | None = None
) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """The environment with the `.env` beside a configuration file, the source of each added variable, and warnings.

    Variables that the environment already has take precedence. The warnings include the `unused` variables of the file,
    with advice.
    """
    path = config.resolve().parent / FILE_NAME
    variables, warnings = read_env(path)
    own = {name: value for name, value in variables.items() if not environment.get(name)}
    warnings += [f"{path}: {name}: {advice}" for name, advice in (unused or {}).items() if own.get(name)]
    return {**environment, **own}, dict.fromkeys(own, str(path)), warnings


def read_env(path: Path) -> tuple[dict[str, str], list[str]]:
    """The variables in a file, and warnings about it; both empty if the file does not exist.

    Raises:
        SettingsError: the file cannot be read, is too large, or a line of it is not an assignment.
    """
    try:
        with path.open("rb") as file:
            mode, raw = stat.S_IMODE(path.stat().st_mode), file.read(MAX_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return {}, []
    except OSError as error:
        raise SettingsError("", f"{path}: cannot be read: {error.strerror}") from error
    if len(raw) > MAX_BYTES:
        raise SettingsError("", f"{path}: is larger than {MAX_BYTES} bytes")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SettingsError("", f"{path}: is not UTF-8 (byte {error.start})") from error
    values = parse_env(text, source=str(path))
    if mode & stat.S_IROTH and any(values.values()):
        return values, [f"{path}: everybody on this machine can read it; chmod 0600 it"]
    return values, []


def parse_env(text: str, *, source: str) -> dict[str, str]:
    """Name -> value of `NAME=value` lines; if a name is repeated, the last one wins. `$` has no special meaning.

    Values in double quotes may have backslash escapes, values in single quotes are literal; both may span several
    lines. An unquoted value ends at a blank before `#`.

    Raises:
        SettingsError: a line is not an assignment; the text names the line.
    """
    values: dict[str, str] = {}
    at = 0
    while at < len(text):
        end = _line_end(text, at)
        line = text[at:end].strip()
        if line and not line.startswith("#"):
            match = _KEY.match(text, at, end)
            if match is None:
                raise _syntax_error(text, at, source, "is not of the form NAME=value")
            value, end = _value(text, match.end(), source)
            values[match[1]] = value
        at = end + 1
    return values


def _value(text: str, at: int, source: str) -> tuple[str, int]:
    """The value that starts at `at`, and the end of its last line."""
    quote = text[at : at + 1]
    if quote not in ("'", '"'):
        end = _line_end(text, at)
        comment = _COMMENT.search(text, at, end)
        return text[at : comment.start() if comment else end].strip(), end
    close = at + 1
    while close < len(text) and text[close] != quote:
        close += 2 if quote == '"' and text[close] == "\\" else 1
    if close >= len(text):
        raise _syntax_error(text, at, source, f"has an opening {quote} that is never closed")
    end = _line_end(text, close)
    rest = text[close + 1 : end].strip()
    if rest and not rest.startswith("#"):
        raise _syntax_error(text, close, source, f"has something after the closing {quote}")
    inner = text[at + 1 : close]
    return (inner if quote == "'" else _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), inner)), end


def _line_end(text: str, at: int) -> int:
    end = text.find("\n", at)
    return len(text) if end < 0 else end


def _syntax_error(text: str, at: int, source: str, problem: str) -> SettingsError:
    return SettingsError("", f"{source}:{text.count(chr(10), 0, at) + 1}: {problem}")
