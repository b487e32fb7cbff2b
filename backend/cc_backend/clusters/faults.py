"""Faults of a JSON document, collected while it is read, and a reader that names the place of each."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from math import isfinite
from typing import Any, cast

from cc_common.json_reader import ObjectReader
from cc_common.json_values import ValueFault, as_integer, as_list


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


class DocumentReader(ObjectReader):
    """A JSON object of a configuration or archive file: keys match exactly, and faults are collected."""

    __slots__ = ("faults",)

    def __init__(self, document: Any, path: str, faults: Faults) -> None:
        super().__init__(document, path, on_fault=faults.error)
        self.faults = faults

    def raw(self, key: str) -> Any:
        """The value of a key, unchecked; None where it is absent or null."""
        return self._document.get(key)

    def child(self, document: Any, path: str) -> "DocumentReader":
        """A reader of an object inside this one, with the same list of faults."""
        return DocumentReader(document, path, self.faults)

    def objects(self, key: str) -> tuple["DocumentReader", ...]:
        """A list of objects, each as a reader of its own; what is not an object is left out."""
        return cast("tuple[DocumentReader, ...]", super().objects(key))

    def integer(self, key: str, limits: tuple[int | None, int | None] = (None, None), default: int = 0) -> int:
        """An integer within inclusive limits, None for no limit."""
        return self._typed(key, lambda value: as_integer(value, *limits), default)

    def choice(self, key: str, choices: Sequence[str], *, default: str = "") -> str:
        """One of the choices; the default with a warning for anything else."""
        value = self.raw(key)
        if value is None or value == "":
            return default
        if value not in choices:
            text = f"must be one of {', '.join(choices)}, not {quoted_value(value)}; left empty"
            self.faults.warn(self.path_of(key), text)
            return default
        return str(value)

    def thread_ids(self, key: str) -> tuple[int, ...]:
        """A list of non-negative integers; empty with a fault if one of them is something else."""
        return self._thread_ids(self.raw(key), self.path_of(key))

    def thread_id_lists(self, key: str) -> tuple[tuple[int, ...], ...]:
        """A list of lists of non-negative integers, each as by `thread_ids`."""
        return tuple(
            self._thread_ids(item, f"{self.path_of(key)}[{index}]") for index, item in enumerate(self.list(key))
        )

    def _thread_ids(self, value: Any, path: str) -> tuple[int, ...]:
        if value is None:
            return ()
        try:
            return tuple(as_integer(item, 0) for item in as_list(value))
        except ValueFault:
            self.faults.error(path, f"must be a list of non-negative integers, not {quoted_value(value)}")
            return ()

    def warn_if_missing(self, *keys: str, taken_as: object) -> None:
        """Warn of each of the keys that is absent or null."""
        for key in keys:
            if not self.has(key):
                self.faults.warn(self.path_of(key), f"is missing, taken as {taken_as}")


def is_number(value: Any) -> bool:
    """Whether this is a finite JSON number; true and false are not."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and isfinite(value)


def quoted_value(value: Any) -> str:
    """A value as messages quote it: shortened to 60 characters."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."  # noqa: PLR2004  a message is read in one line
