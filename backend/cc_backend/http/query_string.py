"""Query strings into values, each checked once, with errors that name the parameter."""

import difflib
from collections.abc import Collection, Iterator
from typing import Protocol

from cc_backend.errors import InvalidInput
from cc_backend.model import Scope
from cc_common.error_codes import ErrorCode

# Whole numbers beyond 64 bit fit no column and no clock.
_HIGHEST = 2**63 - 1
_TRUE = frozenset({"", "1", "true", "yes", "on"})
_FALSE = frozenset({"0", "false", "no", "off"})
_SHOWN_CHARACTERS = 60


class Arguments(Protocol):
    """The part of a parsed query string that is read here."""

    def get(self, key: str, /) -> str | None:
        """The first value of `key`, or None."""

    def getlist(self, key: str, /) -> list[str]:
        """All values of `key`."""

    def __iter__(self) -> Iterator[str]: ...


def refuse_unknown(arguments: Arguments, known: Collection[str]) -> None:
    """Raise InvalidInput for a name that is not in `known`, with the nearest one that is."""
    for name in arguments:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            advice = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(sorted(known))}"
            raise InvalidInput(f"unknown query parameter {_shown(name)}; {advice}", code=ErrorCode.INVALID_PARAMETER)


def first(arguments: Arguments, *names: str) -> tuple[str, str] | None:
    """Name and value of the first of these spellings that was given."""
    for name in names:
        value = arguments.get(name)
        if value is not None:
            return name, value
    return None


def whole_number(name: str, text: str, *, minimum: int = 0, maximum: int = _HIGHEST) -> int:
    """The number in `text`; only ASCII digits with an optional minus. Raises InvalidInput."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= len(str(_HIGHEST))):
        raise InvalidInput(f"{name} must be a whole number, not {_shown(text)}", code=ErrorCode.INVALID_PARAMETER)
    value = int(text)
    if not minimum <= value <= maximum:
        raise InvalidInput(
            f"{name} must be between {minimum} and {maximum}, not {value}", code=ErrorCode.INVALID_PARAMETER
        )
    return value


def optional_number(
    arguments: Arguments, *names: str, minimum: int = 0, maximum: int = _HIGHEST, default: int | None = None
) -> int | None:
    """The number given under one of the spellings, else `default`."""
    given = first(arguments, *names)
    return default if given is None else whole_number(*given, minimum=minimum, maximum=maximum)


def flag(arguments: Arguments, name: str) -> bool:
    """A boolean parameter: absent is false, present without a value is true. Raises InvalidInput."""
    text = arguments.get(name)
    if text is None or text.lower() in _FALSE:
        return False
    if text.lower() in _TRUE:
        return True
    raise InvalidInput(f"{name} must be true or false, not {_shown(text)}", code=ErrorCode.INVALID_PARAMETER)


def time_range(name: str, text: str) -> tuple[int, int]:
    """`<from>-<to>` in Unix seconds, both included. Raises InvalidInput."""
    start, separator, end = text.partition("-")
    if not separator:
        raise InvalidInput(
            f"{name} must be <from>-<to> in Unix seconds, not {_shown(text)}", code=ErrorCode.INVALID_PARAMETER
        )
    return whole_number(name, start), whole_number(name, end)


def scopes(arguments: Arguments) -> list[Scope] | None:
    """The repeatable parameter `scope`; None if it was not given. Raises InvalidInput."""
    names = arguments.getlist("scope")
    try:
        return [Scope(name) for name in names] or None
    except ValueError:
        known = ", ".join(Scope)
        raise InvalidInput(
            f"scope must be one of {known}, not {', '.join(map(_shown, names))}", code=ErrorCode.INVALID_PARAMETER
        ) from None


def _shown(text: str) -> str:
    return repr(text if len(text) <= _SHOWN_CHARACTERS else text[:_SHOWN_CHARACTERS] + "...")
