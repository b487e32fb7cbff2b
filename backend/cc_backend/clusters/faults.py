"""Faults of a JSON document, collected while it is read, and a reader that names the place of each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite
from typing import Any


class Severity(StrEnum):
    """Severity of a fault: an error means that the document cannot be used."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault of a document; `path` is the place in it, such as `metricConfig[2].unit`."""

    severity: Severity
    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


@dataclass(slots=True)
class Faults:
    """Faults in the order in which they were found."""

    items: list[Fault] = field(default_factory=list)

    def error(self, path: str, message: str) -> None:
        """Add a fault that makes the document unusable."""
        self.items.append(Fault(Severity.ERROR, path, message))

    def warn(self, path: str, message: str) -> None:
        """Add a fault that was read in another way than it was probably meant."""
        self.items.append(Fault(Severity.WARNING, path, message))

    @property
    def errors(self) -> list[Fault]:
        """The faults that make the document unusable."""
        return [finding for finding in self.items if finding.severity is Severity.ERROR]

    @property
    def warnings(self) -> list[Fault]:
        """The faults despite which the document can be used."""
        return [finding for finding in self.items if finding.severity is Severity.WARNING]


@dataclass(frozen=True, slots=True)
class FaultCollectingReader:
    """A JSON object inside a document; each getter adds a fault for an invalid value and returns its default."""

    values: Mapping[str, Any]
    path: str
    faults: Faults

    def path_of(self, key: str) -> str:
        """The path of one key of this object."""
        return f"{self.path}.{key}" if self.path else key

    def get(self, key: str) -> Any:
        """The raw value, None where it is absent."""
        return self.values.get(key)

    def has(self, key: str) -> bool:
        """Whether the key is there with something other than null."""
        return self.values.get(key) is not None

    def text(self, key: str, *, needed: bool = False) -> str:
        """A string; absent or null is empty, and an error if it is needed."""
        value = self.values.get(key)
        if value is None or value == "":
            if needed:
                self.faults.error(self.path_of(key), "is missing")
            return ""
        if not isinstance(value, str):
            self.faults.error(self.path_of(key), f"must be text, not {quoted_value(value)}")
            return ""
        return value

    def integer(self, key: str, *, default: int, minimum: int | None = None) -> int:
        """An integer of at least `minimum`; absent or null is the default."""
        value = self.values.get(key)
        if value is None:
            return default
        number = as_integer(value)
        if number is None or (minimum is not None and number < minimum):
            limit = "" if minimum is None else f" of at least {minimum}"
            self.faults.error(self.path_of(key), f"must be an integer{limit}, not {quoted_value(value)}")
            return default
        return number

    def warn_if_missing(self, *keys: str, taken_as: object) -> None:
        """Warn of each of the keys that is absent or null."""
        for key in keys:
            if not self.has(key):
                self.faults.warn(self.path_of(key), f"is missing, taken as {taken_as}")

    def number(self, key: str) -> float:
        """A finite number; absent is 0."""
        value = self.values.get(key)
        if value is None:
            return 0.0
        if not is_number(value):
            self.faults.error(self.path_of(key), f"must be a number, not {quoted_value(value)}")
            return 0.0
        return float(value)

    def flag(self, key: str) -> bool:
        """A yes or no; absent is no."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            self.faults.error(self.path_of(key), f"must be true or false, not {quoted_value(value)}")
            return False
        return bool(value)

    def choice(self, key: str, choices: Sequence[str]) -> str:
        """One of the choices; empty if absent or null, and empty with a warning for anything else."""
        value = self.values.get(key)
        if value is None or value == "":
            return ""
        if value not in choices:
            self.faults.warn(
                self.path_of(key), f"must be one of {', '.join(choices)}, not {quoted_value(value)}; left empty"
            )
            return ""
        return str(value)

    def objects(self, key: str) -> list["FaultCollectingReader"]:
        """The objects of an array; absent or null is none."""
        value = self.values.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.faults.error(self.path_of(key), f"must be an array, not {quoted_value(value)}")
            return []
        parts = []
        for index, item in enumerate(value):
            path = f"{self.path_of(key)}[{index}]"
            if isinstance(item, Mapping):
                parts.append(FaultCollectingReader(item, path, self.faults))
            else:
                self.faults.error(path, f"must be an object, not {quoted_value(item)}")
        return parts

    def integers(self, key: str) -> tuple[int, ...]:
        """An array of non-negative integers; empty if absent or null."""
        return self._integers(self.values.get(key), self.path_of(key))

    def integer_lists(self, key: str) -> tuple[tuple[int, ...], ...]:
        """An array of arrays of non-negative integers; empty if absent or null."""
        value = self.values.get(key)
        if value is None:
            return ()
        if not isinstance(value, list):
            self.faults.error(self.path_of(key), f"must be an array of arrays, not {quoted_value(value)}")
            return ()
        return tuple(self._integers(item, f"{self.path_of(key)}[{index}]") for index, item in enumerate(value))

    def _integers(self, value: Any, path: str) -> tuple[int, ...]:
        if value is None:
            return ()
        numbers = [as_integer(item) for item in value] if isinstance(value, list) else [None]
        read = tuple(number for number in numbers if number is not None and number >= 0)
        if len(read) != len(numbers):
            self.faults.error(path, f"must be an array of non-negative integers, not {quoted_value(value)}")
            return ()
        return read


def is_number(value: Any) -> bool:
    """Whether this is a finite JSON number; true and false are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def as_integer(value: Any) -> int | None:
    """The value as an int if it is a JSON number without a fraction, otherwise None."""
    if not is_number(value) or value != int(value):
        return None
    return int(value)


def quoted_value(value: Any) -> str:
    """A value as messages quote it: shortened to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004  a message is read in one line
