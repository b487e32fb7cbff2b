"""Parses and validates query strings, with errors that name the parameter."""

import difflib
from collections.abc import Collection

from werkzeug.datastructures import MultiDict

from cc_backend.errors import InvalidInput
from cc_backend.model import Scope
from cc_common.error_codes import ErrorCode

# Larger integers fit no column and no clock.
_MAX_INTEGER = 2**63 - 1
_TRUE = frozenset({"", "1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
ROUTES_BESIDE_IDS = (
    *("start_job", "stop_job", "change_job", "events", "tag_job", "edit_meta", "delete_job", "delete_job_before"),
    *("metrics", "statistics", "used_nodes", "export"),
)
"""Words that stand in the place of a job's id below /api/jobs/."""
_MAX_QUOTED = 60


def reject_unknown(arguments: MultiDict[str, str], known: Collection[str]) -> None:
    """Raise InvalidInput for a name that is not in `known`, with the most similar known one."""
    for name in arguments:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
            raise InvalidInput(f"unknown query parameter {_quoted(name)}; {advice}", code=ErrorCode.INVALID_PARAMETER)


def first_given(arguments: MultiDict[str, str], *names: str) -> tuple[str, str] | None:
    """Name and value of the first of these names that was given, None if none was."""
    for name in names:
        value = arguments.get(name)
        if value is not None:
            return name, value
    return None


def parse_integer(name: str, text: str, *, minimum: int = 0, maximum: int = _MAX_INTEGER) -> int:
    """The integer in `text`: ASCII digits with an optional minus. Raises InvalidInput."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= len(str(_MAX_INTEGER))):
        raise InvalidInput(f"{name} must be an integer, not {_quoted(text)}", code=ErrorCode.INVALID_PARAMETER)
    value = int(text)
    if not minimum <= value <= maximum:
        raise InvalidInput(
            f"{name} must be between {minimum} and {maximum}, not {value}", code=ErrorCode.INVALID_PARAMETER
        )
    return value


def parse_job_id(text: str) -> int:
    """The database id of a job in a path. Raises InvalidInput, with the route that was probably meant, if any."""
    near = difflib.get_close_matches(text.lower(), ROUTES_BESIDE_IDS, n=1)
    if near:
        advice = f"; did you mean /api/jobs/{near[0]}/?"
        raise InvalidInput(f"there is no job with the id {_quoted(text)}{advice}", code=ErrorCode.INVALID_PARAMETER)
    return parse_integer("id", text)


def optional_integer(
    arguments: MultiDict[str, str],
    *names: str,
    minimum: int = 0,
    maximum: int = _MAX_INTEGER,
    default: int | None = None,
) -> int | None:
    """The integer given under one of these names, otherwise `default`."""
    given = first_given(arguments, *names)
    return default if given is None else parse_integer(*given, minimum=minimum, maximum=maximum)


def parse_flag(arguments: MultiDict[str, str], name: str) -> bool:
    """A boolean parameter: False if absent, True if present without a value. Raises InvalidInput."""
    text = arguments.get(name)
    if text is None or text.lower() in _FALSE:
        return False
    if text.lower() in _TRUE:
        return True
    raise InvalidInput(f"{name} must be true or false, not {_quoted(text)}", code=ErrorCode.INVALID_PARAMETER)


def parse_time_range(name: str, text: str) -> tuple[int, int]:
    """The range of a text `<from>-<to>` in Unix seconds, inclusive. Raises InvalidInput."""
    start, separator, end = text.partition("-")
    if not separator:
        raise InvalidInput(
            f"{name} must be <from>-<to> in Unix seconds, not {_quoted(text)}", code=ErrorCode.INVALID_PARAMETER
        )
    return parse_integer(name, start), parse_integer(name, end)


def parse_scopes(arguments: MultiDict[str, str]) -> list[Scope] | None:
    """The scopes of the repeatable parameter `scope`; None if it was not given. Raises InvalidInput."""
    names = arguments.getlist("scope")
    try:
        return [Scope(name) for name in names] or None
    except ValueError:
        known = ", ".join(Scope)
        raise InvalidInput(
            f"scope must be one of {known}, not {', '.join(map(_quoted, names))}", code=ErrorCode.INVALID_PARAMETER
        ) from None


def _quoted(text: str) -> str:
    return repr(text if len(text) <= _MAX_QUOTED else text[:_MAX_QUOTED] + "...")
