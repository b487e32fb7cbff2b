"""JSON from outside: one size-limited value, and typed fields of an object whose faults name their place.

Keys match without regard to case, an exact match first; an absent key or null is the default; only the first JSON value
of a body is read. A fault is raised at once, or handed to a function that collects: then the field has its default.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from dataclasses import dataclass
from typing import (
    AbstractSet,
    Any,
    Callable,
    Dict,
    Generic,
    List,
    Mapping,
    NoReturn,
    Optional,
    Sequence,
    Set,
    Tuple,
    TypeVar,
)

from cc_common.errors import PayloadError
from cc_common.json_values import ValueFault, as_boolean, as_integer, as_list, as_number, as_object, as_string

__all__ = [
    "INT32",
    "INT64",
    "FaultHandler",
    "ObjectReader",
    "ParsedPayload",
    "ValueFault",
    "parse_json",
    "raise_payload_error",
]

T = TypeVar("T")

INT32 = (-(2**31), 2**31 - 1)
INT64 = (-(2**63), 2**63 - 1)

_MAX_DIGITS = 400
_MAX_KEY_SHOWN = 80
# A string is skipped whole; an unclosed one matches up to the end, so that it is not tried again at each of its quotes.
_STRUCTURE = re.compile(rb'"(?:[^"\\]+|\\.)*(?:"|\\?\Z)|[\[\]{}]', re.DOTALL)
_DIGITS = b"0123456789"
_DIGITS_AS_ZERO = bytes.maketrans(_DIGITS, b"0" * len(_DIGITS))
_LONG_INTEGER = b"0" * 19
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_ABSENT: Any = object()
_EMPTY: Sequence[Any] = ()
_INT_ONLY, _STR_ONLY = {int}, {str}
_CONTAINERS = {dict, list}


@dataclass(frozen=True)
class ParsedPayload(Generic[T]):
    """What was read, and the paths of the keys that were ignored."""

    value: T
    ignored: Tuple[str, ...]


def parse_json(
    body: bytes, *, max_bytes: int, max_depth: int = 32, strict: Optional[Callable[[bytes], Any]] = None
) -> Any:
    """The first JSON value of a body; what follows it is not looked at.

    Control characters inside strings are let through; bytes that are not UTF-8 and halves of surrogate pairs become
    the replacement character. Raises PayloadError for a body that is larger than `max_bytes`, nested deeper than
    `max_depth`, not JSON, or that holds NaN, an infinity or a number of more than 400 digits.

    `strict` may be a faster parser that raises ValueError for whatever is not JSON to the letter, or is nested too
    deeply for itself, such as that of orjson; it is asked first, unless integers may have more than 64 bits.
    """
    if len(body) > max_bytes:
        raise PayloadError("", f"the body has {len(body)} bytes, more than the {max_bytes} that are accepted")
    may_be_deep = body.count(b"{") + body.count(b"[") > max_depth
    if strict is not None and _LONG_INTEGER not in body.translate(_DIGITS_AS_ZERO):
        with contextlib.suppress(ValueError):
            value = strict(body)
            if may_be_deep:
                _check_depth_of(value, max_depth)
            return value
    if may_be_deep:
        _check_depth(body, max_depth)
    text = body.decode("utf-8", errors="replace").lstrip("\ufeff \t\r\n")
    decoder = _CHECKING_DECODER if _has_long_number(body) else _DECODER
    try:
        value, _ = decoder.raw_decode(text)
    except json.JSONDecodeError as error:
        raise PayloadError(
            "", f"the body is not JSON: line {error.lineno}, column {error.colno}: {error.msg}"
        ) from error
    except RecursionError:
        raise _too_deep(max_depth) from None
    return _replace_surrogates(value) if _SURROGATE.search(text) else value


def _check_depth_of(value: Any, max_depth: int) -> None:
    """As `_check_depth`, of what was read; level by level, as most lists hold no more of them."""
    level, depth = [value] if type(value) in _CONTAINERS else [], 0
    while level:
        depth += 1
        if depth > max_depth:
            raise _too_deep(max_depth)
        inner: List[Any] = []
        for container in level:
            items = container.values() if type(container) is dict else container
            if not _CONTAINERS.isdisjoint(map(type, items)):
                inner += [item for item in items if type(item) in _CONTAINERS]
        level = inner


def _too_deep(max_depth: int) -> PayloadError:
    return PayloadError("", f"the body is nested deeper than {max_depth} levels")


def _check_depth(body: bytes, max_depth: int) -> None:
    depth = 0
    for match in _STRUCTURE.finditer(body):
        mark = match.group()
        if mark in (b"[", b"{"):
            depth += 1
            if depth > max_depth:
                raise _too_deep(max_depth)
        elif mark in (b"]", b"}"):
            depth -= 1
            if depth <= 0:
                return


def _has_long_number(body: bytes) -> bool:
    """Whether more than 400 digits follow each other, in a string or not."""
    step = _MAX_DIGITS + 1  # such a run has a byte at an index that is a multiple of it, less one
    for index in range(_MAX_DIGITS, len(body), step):
        if body[index] in _DIGITS:
            before, after = body[index - _MAX_DIGITS : index], body[index : index + step]
            digits_before = len(before) - len(before.rstrip(_DIGITS))
            if digits_before + len(after) - len(after.lstrip(_DIGITS)) > _MAX_DIGITS:
                return True
    return False


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


_DECODER = json.JSONDecoder(strict=False, parse_constant=_reject_constant, parse_float=_parse_float)
_CHECKING_DECODER = json.JSONDecoder(
    strict=False, parse_constant=_reject_constant, parse_float=_parse_float, parse_int=_parse_int
)
"""As `_DECODER`, for bodies with long runs of digits: a Python call for each integer costs more than all the rest."""


def _replace_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_replace_surrogates(item) for item in value]
    if isinstance(value, dict):
        return {_replace_surrogates(key): _replace_surrogates(item) for key, item in value.items()}
    return value


def _upper(limits: Tuple[int, Optional[int]]) -> float:
    return math.inf if limits[1] is None else limits[1]


FaultHandler = Callable[[str, str], None]
"""Gets the path of a field and what is wrong with it; raises, or collects."""


def raise_payload_error(path: str, problem: str) -> NoReturn:
    """The fault handler of payloads: PayloadError with the path."""
    raise PayloadError(path, f"{path or 'the payload'}: {problem}")


class ObjectReader:
    """Typed access to the fields of one JSON object; `path` is where it stands, empty for the whole document.

    Each accessor gives the default for an absent key or null. What has the wrong type or range goes to `on_fault`, with
    the path of the field; if that returns, the accessor gives the default too.
    """

    __slots__ = ("_document", "_ignored", "_is_exact", "_lower_keys", "_on_fault", "_read", "path")

    def __init__(
        self,
        document: Any,
        path: str = "",
        *,
        on_fault: FaultHandler = raise_payload_error,
        ignored: Optional[List[str]] = None,
        known_keys: Optional[AbstractSet[str]] = None,
    ) -> None:
        """`known_keys` makes reading faster: among these no key is looked for in another case.

        All of them are read or known to `finish`.
        """
        self.path = path
        self._on_fault = on_fault
        self._ignored: List[str] = [] if ignored is None else ignored
        self._read: Set[str] = set()
        self._lower_keys: Optional[Dict[str, str]] = None
        if type(document) is dict or isinstance(document, Mapping):  # `isinstance` alone takes longer than the rest
            self._document: Mapping[str, Any] = document
            self._is_exact = known_keys is not None and document.keys() <= known_keys
        else:
            self._document, self._is_exact = {}, False
            on_fault(path, str(ValueFault("an object", document)))

    def path_of(self, key: str) -> str:
        """The path of a field for messages, such as `resources[0].hostname`."""
        return f"{self.path}.{key}" if self.path else key

    def fault(self, key: str, problem: str) -> None:
        """Report that something is wrong with a field of this object."""
        self._on_fault(self.path_of(key), problem)

    def raw(self, key: str) -> Any:
        """The value of a key, unchecked; None where it is absent or null."""
        value = self._document.get(key, _ABSENT)
        if value is _ABSENT:
            return None if self._is_exact else self._raw_ignoring_case(key)
        self._read.add(key)
        return value

    def _raw_ignoring_case(self, key: str) -> Any:
        if self._lower_keys is None:
            self._lower_keys = {}
            for name in self._document:
                self._lower_keys.setdefault(str(name).lower(), name)
        actual = self._lower_keys.get(key.lower())
        if actual is None:
            return None
        self._read.add(actual)
        return self._document[actual]

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self.raw(key) is not None

    def _typed(self, key: str, convert: Callable[[Any], T], default: T) -> T:
        if self._is_exact and key not in self._document:
            return default
        value = self.raw(key)
        return default if value is None else self._converted(self.path_of(key), value, convert, default)

    def _converted(self, path: str, value: Any, convert: Callable[[Any], T], default: T) -> T:
        try:
            return convert(value)
        except ValueFault as fault:
            self._on_fault(path, str(fault))
            return default

    def list(self, key: str) -> Sequence[Any]:
        """A list of any content."""
        return self._typed(key, as_list, _EMPTY)

    def string(self, key: str, *, default: str = "", required: bool = False) -> str:
        """A string of any content; absent, null or empty is a fault if it is required."""
        value = self._document.get(key, _ABSENT)  # not through `_typed`: most fields are strings
        if type(value) is str and (value or not required):
            self._read.add(key)
            return value
        if value is _ABSENT and self._is_exact and not required:
            return default
        value = self.raw(key)
        if required and value in (None, ""):
            self.fault(key, "is missing")
        if value is None:
            return default
        if isinstance(value, str):
            return value
        self.fault(key, str(ValueFault("a string", value)))
        return default

    def name(self, key: str, *, default: str = "") -> str:
        """A string that names something: without control characters."""
        value = self.string(key, default=default)
        if value and _CONTROL.search(value):
            self.fault(key, "has a control character")
            return default
        return value

    def choice(self, key: str, choices: Sequence[str], *, default: str = "") -> str:
        """One of these strings; absent, null and the empty string are the default."""
        value = self.string(key)
        if not value or value in choices:
            return value or default
        self.fault(key, str(ValueFault(f"one of {', '.join(choices)}", value)))
        return default

    def integer(self, key: str, limits: Tuple[int, Optional[int]] = INT64, default: int = 0) -> int:
        """An integer within inclusive limits, no upper one where it is None; 5.0 is one, 5.5 is not."""
        value = self.raw(key)
        if value is None:
            return default
        if type(value) is int and limits[0] <= value and (limits[1] is None or value <= limits[1]):
            return value
        return self._converted(self.path_of(key), value, lambda number: as_integer(number, *limits), default)

    def number(self, key: str, default: float = 0.0) -> float:
        """A finite number."""
        return self._typed(key, as_number, default)

    def boolean(self, key: str, *, default: bool = False) -> bool:
        """True or false."""
        return self._typed(key, as_boolean, default)

    def integers(self, key: str, limits: Tuple[int, Optional[int]] = INT64) -> Tuple[int, ...]:
        """A list of integers within inclusive limits; null in it is 0, and what is wrong is left out."""
        return self._integers(self.list(key), self.path_of(key), limits)

    def integer_lists(self, key: str, limits: Tuple[int, Optional[int]] = INT64) -> Tuple[Tuple[int, ...], ...]:
        """A list of lists of integers, each as `integers` reads it; null in it is the empty list."""
        lists = self._items(
            self.list(key), self.path_of(key), lambda value: _EMPTY if value is None else as_list(value)
        )
        return tuple([self._integers(values, f"{self.path_of(key)}[{i}]", limits) for i, values in enumerate(lists)])

    def _integers(self, values: Sequence[Any], path: str, limits: Tuple[int, Optional[int]]) -> Tuple[int, ...]:
        if set(map(type, values)) == _INT_ONLY and limits[0] <= min(values) and max(values) <= _upper(limits):
            return tuple(values)
        return self._items(values, path, lambda value: 0 if value is None else as_integer(value, *limits))

    def strings(self, key: str) -> Tuple[str, ...]:
        """A list of strings; null in it is the empty string, and what is wrong is left out."""
        values = self.list(key)
        if not values or set(map(type, values)) == _STR_ONLY:
            return tuple(values)
        return self._items(values, self.path_of(key), lambda value: "" if value is None else as_string(value))

    def _items(self, values: Sequence[Any], path: str, convert: Callable[[Any], T]) -> Tuple[T, ...]:
        items = [self._converted(f"{path}[{i}]", value, convert, _ABSENT) for i, value in enumerate(values)]
        return tuple([item for item in items if item is not _ABSENT])

    def object(self, key: str) -> Optional[ObjectReader]:
        """A reader of a nested object; None if it is absent."""
        value: Optional[Mapping[str, Any]] = self._typed(key, as_object, None)
        return None if value is None else self.child(value, self.path_of(key))

    def objects(self, key: str) -> Tuple[ObjectReader, ...]:
        """A list of objects, each as a reader of its own; what is not an object is left out."""
        path = self.path_of(key)
        readers = []
        for index, item in enumerate(self.list(key)):
            if isinstance(item, Mapping):
                readers.append(self.child(item, f"{path}[{index}]"))
            else:
                self._on_fault(f"{path}[{index}]", str(ValueFault("an object", item)))
        return tuple(readers)

    def objects_of(self, key: str, known_keys: AbstractSet[str]) -> Tuple[ObjectReader, ...]:
        """As `objects`, for readers with these known keys."""
        readers = self.objects(key)
        for reader in readers:
            reader.expect(known_keys)
        return readers

    def expect(self, known_keys: AbstractSet[str]) -> None:
        """Read faster if the object has no other keys, as the constructor says."""
        self._is_exact = self._document.keys() <= known_keys

    def mapping(self, key: str, convert: Callable[[Any], T], zero: T) -> Optional[Dict[str, T]]:
        """An object with arbitrary keys, None if it is absent; null in it is `zero`, what is wrong is left out."""
        found: Optional[Mapping[str, Any]] = self._typed(key, as_object, None)
        if found is None:
            return None
        path = self.path_of(key)
        items = {
            str(name): zero if value is None else self._converted(f"{path}.{name}", value, convert, _ABSENT)
            for name, value in found.items()
        }
        return {name: value for name, value in items.items() if value is not _ABSENT}

    def child(self, document: Any, path: str) -> ObjectReader:
        """A reader of an object inside this one, with the same fault handler and list of ignored keys."""
        return ObjectReader(document, path, on_fault=self._on_fault, ignored=self._ignored)

    def finish(self, *known: str) -> Tuple[str, ...]:
        """The paths of all keys that were neither read nor are `known`, those of children first."""
        if self._is_exact:
            return tuple(self._ignored)
        for key in known:
            self.raw(key)
        if self._document.keys() - self._read:
            self._ignored += [
                self.path_of(str(key)[:_MAX_KEY_SHOWN]) for key in self._document if key not in self._read
            ]
        return tuple(self._ignored)
