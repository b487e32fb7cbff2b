"""JSON from outside: one bounded value, and typed fields of an object with an error that names the field.

The reading rules are those of the existing clients' counterpart: keys match without regard to case, an absent key or
null is the zero value, only the first JSON value of a body is read. Unknown keys are reported, not refused.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from typing import Any, Callable, Dict, Generic, List, Mapping, NoReturn, Optional, Tuple, TypeVar

from cc_common.errors import PayloadError

T = TypeVar("T")

INT32 = (-(2**31), 2**31 - 1)
INT64 = (-(2**63), 2**63 - 1)

_MAX_DIGITS = 400
_MAX_KEY_SHOWN = 80
# a string is skipped whole; an unclosed one matches up to the end, so that it is not tried again at each of its quotes
_STRUCTURE = re.compile(rb'"(?:[^"\\]+|\\.)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class ParsedPayload(Generic[T]):
    """What was read, and the paths of the keys that nobody knows."""

    value: T
    ignored: Tuple[str, ...]


def parse_json(body: bytes, *, max_bytes: int, max_depth: int = 32) -> Any:
    """The first JSON value of a body; what follows it is not looked at.

    Control characters inside strings are let through, bytes that are not UTF-8 and halves of surrogate pairs become
    the replacement character. Raises PayloadError for what is too large, nested deeper than `max_depth`, no JSON, or
    holds NaN or an infinity.
    """
    if len(body) > max_bytes:
        raise PayloadError("", f"the body has {len(body)} bytes, more than the {max_bytes} that are accepted")
    _check_depth(body, max_depth)
    text = body.decode("utf-8", errors="replace").lstrip("\ufeff \t\r\n")
    decoder = json.JSONDecoder(
        strict=False, parse_constant=_reject_constant, parse_int=_parse_int, parse_float=_parse_float
    )
    try:
        value, _ = decoder.raw_decode(text)
    except json.JSONDecodeError as error:
        raise PayloadError(
            "", f"the body is not JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        ) from error
    except RecursionError:
        raise PayloadError("", f"the body is nested deeper than {max_depth} levels") from None
    return _replace_surrogates(value) if _SURROGATE.search(text) else value


def _check_depth(body: bytes, max_depth: int) -> None:
    depth = 0
    for match in _STRUCTURE.finditer(body):
        mark = match.group()
        if mark in (b"[", b"{"):
            depth += 1
            if depth > max_depth:
                raise PayloadError("", f"the body is nested deeper than {max_depth} levels")
        elif mark in (b"]", b"}"):
            depth -= 1
            if depth <= 0:
                return


def _reject_constant(name: str) -> NoReturn:
    raise PayloadError("", f"the body holds {name}, which is not JSON")


def _parse_int(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:
        raise PayloadError("", f"the body holds a number of {len(digits)} digits")
    return int(digits)


def _parse_float(digits: str) -> float:
    value = float(digits)
    if math.isinf(value):
        raise PayloadError("", f"the body holds a number that is too large: {digits[:40]}")
    return value


def _replace_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_replace_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_replace_surrogates(key): _replace_surrogates(item) for key, item in value.items()}
    return value


class ObjectReader:
    """Typed access to the fields of one JSON object; `path` is where it stands, empty for the whole payload.

    Every accessor gives the zero value, or the given default, for an absent key or null, and raises PayloadError with
    the path of the field for anything of the wrong type or range.
    """

    def __init__(self, document: Any, path: str = "", *, ignored: Optional[List[str]] = None) -> None:
        if not isinstance(document, Mapping):
            raise PayloadError(path, f"{path or 'the payload'}: must be an object, not {json_type(document)}")
        self._path = path
        self._document = document
        self._by_lower: Dict[str, str] = {}
        for key in document:
            self._by_lower.setdefault(str(key).lower(), key)
        self._read: Dict[str, None] = {}
        self._ignored: List[str] = [] if ignored is None else ignored

    def path_of(self, key: str) -> str:
        """The path of a field for messages, such as `resources[0].hostname`."""
        return f"{self._path}.{key}" if self._path else key

    def raw(self, *keys: str) -> Any:
        """The first of the keys that is there and not null, unchecked; None if there is none."""
        found = None
        for key in keys:
            actual = key if key in self._document else self._by_lower.get(key.lower())
            if actual is not None:
                self._read[actual] = None
                found = self._document[actual] if found is None else found
        return found

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self.raw(key) is not None

    def string(self, *keys: str, default: str = "") -> str:
        """A text of any content."""
        value = self.raw(*keys)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.wrong(keys[0], f"must be text, not {json_type(value)}")
        return value

    def name(self, *keys: str, default: str = "") -> str:
        """A text that names something: without control characters."""
        value = self.string(*keys, default=default)
        if _CONTROL.search(value):
            raise self.wrong(keys[0], "has a control character")
        return value

    def integer(self, key: str, limits: Tuple[int, int] = INT64, default: int = 0) -> int:
        """A whole number within inclusive limits; 5.0 is one, 5.5 is not."""
        value = self.raw(key)
        return default if value is None else _integer(value, self.path_of(key), limits)

    def number(self, key: str, default: float = 0.0) -> float:
        """A finite number."""
        value = self.raw(key)
        return default if value is None else read_finite(value, self.path_of(key))

    def items(self, key: str, read: Callable[[Any, str], T]) -> Tuple[T, ...]:
        """A list, each element read by a function that gets the element and its path."""
        value = self.raw(key)
        if value is None:
            return ()
        if not isinstance(value, (list, tuple)):
            raise self.wrong(key, f"must be a list, not {json_type(value)}")
        return tuple(read(item, f"{self.path_of(key)}[{index}]") for index, item in enumerate(value))

    def mapping(self, key: str, read: Callable[[Any, str], T]) -> Optional[Dict[str, T]]:
        """An object with free keys, or None where it is absent; each value read as in `items`."""
        value = self.raw(key)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise self.wrong(key, f"must be an object, not {json_type(value)}")
        return {str(name): read(item, f"{self.path_of(key)}.{name}") for name, item in value.items()}

    def child(self, document: Any, path: str) -> ObjectReader:
        """A reader of an object inside this one, with the same list of ignored keys."""
        return ObjectReader(document, path, ignored=self._ignored)

    def finish(self, *known: str) -> Tuple[str, ...]:
        """The paths of all keys that were neither read nor are `known`, those of children first."""
        for key in known:
            self.raw(key)
        self._ignored += [self.path_of(str(key)[:_MAX_KEY_SHOWN]) for key in self._document if key not in self._read]
        return tuple(self._ignored)

    def wrong(self, key: str, problem: str) -> PayloadError:
        """The error for a field of this object."""
        return PayloadError(self.path_of(key), f"{self.path_of(key)}: {problem}")


def read_string(value: Any, path: str) -> str:
    """An element that must be text; null is the empty text."""
    if value is not None and not isinstance(value, str):
        raise PayloadError(path, f"{path}: must be text, not {json_type(value)}")
    return value or ""


def read_int32(value: Any, path: str) -> int:
    """An element that must be a whole number of 32 bits; null is 0."""
    return 0 if value is None else _integer(value, path, INT32)


def read_finite(value: Any, path: str) -> float:
    """An element that must be a finite number; null is 0."""
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise PayloadError(path, f"{path}: must be a number, not {json_type(value)}")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise PayloadError(path, f"{path}: must be a finite number")
    return number


def _integer(value: Any, path: str, limits: Tuple[int, int]) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise PayloadError(path, f"{path}: must be a whole number, not {json_type(value)}")
    if not limits[0] <= value <= limits[1]:
        raise PayloadError(path, f"{path}: must be between {limits[0]} and {limits[1]}")
    return value


def json_type(value: Any) -> str:
    """The JSON type of a value in words, or the value itself where it is null, true or false."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, float):
        return f"the number {value!r}"
    names = {str: "text", int: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)
