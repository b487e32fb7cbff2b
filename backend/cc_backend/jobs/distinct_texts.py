"""The distinct texts of a column, numbered, and the search for a part of one without reading each by itself."""

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

_SEPARATOR = b"\0"
_MAX_APART = 2000
"""Texts that are searched one by one, before all of them are joined anew."""


class DistinctTexts:
    """Texts with numbers from 0, in the order in which they came; other values count as the empty text."""

    def __init__(self) -> None:
        self._numbers = _Numbers()
        self._joined = b""
        self._begins: list[int] = []

    def __len__(self) -> int:
        return len(self._numbers.texts)

    def __getitem__(self, number: int) -> str:
        return self._numbers.texts[number]

    def __iter__(self) -> Any:
        return iter(self._numbers.texts)

    def numbers(self, values: Iterable[Any]) -> npt.NDArray[np.int64]:
        """The numbers of these texts, new ones are added."""
        known = self._numbers
        return np.array([known[value] for value in values], np.int64)

    def number(self, text: str) -> int:
        """The number of a text, -1 if there is none."""
        return self._numbers.get(text, -1)

    def numbers_of(self, texts: Iterable[str]) -> list[int]:
        """The numbers of those of the texts that there are."""
        return [number for text in texts if (number := self.number(text)) >= 0]

    def ranks(self) -> npt.NDArray[np.int64]:
        """The place of each text when sorted."""
        ranks = np.zeros(len(self), np.int64)
        ranks[sorted(range(len(self)), key=self._numbers.texts.__getitem__)] = np.arange(len(self))
        return ranks

    def containing(self, text: str, *, at_start: bool = False, at_end: bool = False) -> list[int]:
        """The numbers of the texts that have this part, upper and lower case of ASCII letters being the same.

        Raises:
            UnicodeEncodeError: the part has half a surrogate pair.
        """
        part = text.encode().lower()
        if _SEPARATOR in part:
            return []
        self._join()
        needle = _SEPARATOR * at_start + part + _SEPARATOR * at_end
        found = []
        place = self._joined.find(needle)
        while place >= 0:
            number = bisect_right(self._begins, place + at_start) - 1
            if number >= len(self._begins) - 1:
                break
            found.append(number)
            place = self._joined.find(needle, self._begins[number + 1] - at_start)
        behind = range(max(0, len(self._begins) - 1), len(self))
        return found + [number for number in behind if needle in (_SEPARATOR + _folded(self[number]) + _SEPARATOR)]

    def _join(self) -> None:
        """Join the texts, each behind a separator, unless only few are new."""
        if len(self) - max(0, len(self._begins) - 1) <= _MAX_APART:
            return
        folded = [_folded(text) for text in self]
        self._joined = _SEPARATOR + _SEPARATOR.join(folded) + _SEPARATOR
        ends = np.cumsum([len(text) + 1 for text in folded])
        self._begins = [1, *(1 + ends).tolist()]


class _Numbers(dict[Any, int]):
    """Text -> number, which a text gets when it is first looked up."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def __missing__(self, value: Any) -> int:
        if type(value) is not str:
            return self[""]
        number = self[value] = len(self.texts)
        self.texts.append(value)
        return number


def _folded(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass").lower().replace(_SEPARATOR, b" ")
