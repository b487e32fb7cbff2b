"""Host lists: `node[001-016,020],login1` and the like.

Parses the host lists of `cluster.json` and of Slurm: terms separated by commas or blanks, with numbers and ranges in
brackets, text after a bracket, and several brackets in a term. Groups (`@name`), set operators and shell characters are
rejected; the number of names is computed, and limited, before the list is expanded.
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Collection, Dict, Iterable, Iterator, List, Tuple, Union

from cc_common.errors import HostlistError

WILDCARD = "*"
MAX_HOSTS = 65536
MAX_TEXT = 1 << 20

_MAX_BRACKETS = 4
_MAX_DIGITS = 15
_MAX_NAME = 255
_SHOWN = 60
_TERM = re.compile(r"(?:[^\s,\[\]]|\[[^\[\]]*\])+")
_PIECE = re.compile(r"([A-Za-z0-9._-]+)|\[([^\[\]]*)\]")
_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+))?")
_LAST_NUMBER = re.compile(r"(.*?)([0-9]{1,15})([^0-9]*)", re.DOTALL)


@dataclass(frozen=True)
class _NumberRange:
    first: int
    last: int
    width: int

    def __iter__(self) -> Iterator[str]:
        for number in range(self.first, self.last + 1):
            yield f"{number:0{self.width}d}"


_Piece = Union[str, Tuple[_NumberRange, ...]]  # a literal, or the alternatives of a bracket


def expand(text: str, *, limit: int = MAX_HOSTS) -> List[str]:
    """All names of a host list in the order written, each once.

    Raises HostlistError with the invalid part for a text that is not a host list, has more than `limit` names, or has
    the wildcard, which cannot be expanded.
    """
    names, wildcard = _expand_terms(text, limit)
    if wildcard:
        raise HostlistError(WILDCARD, f"host list {_excerpt(text)!r}: {WILDCARD!r} cannot be expanded")
    return names


def fold(names: Iterable[str]) -> str:
    """The names as a short host list such as `n[017-020,031],login1`: sorted, each once; `expand` reverses it."""
    groups: Dict[Tuple[str, str], Dict[Tuple[int, int], None]] = {}
    plain: Dict[str, None] = {}
    for name in sorted(set(names)):
        match = _LAST_NUMBER.fullmatch(name)
        if match is None:
            plain[name] = None
        else:
            before, digits, after = match.groups()
            groups.setdefault((before, after), {})[len(digits), int(digits)] = None
    folded = [f"{before}{_folded_numbers(sorted(numbers))}{after}" for (before, after), numbers in groups.items()]
    return ",".join(sorted([*folded, *plain]))


def _folded_numbers(numbers: List[Tuple[int, int]]) -> str:
    """The content of the brackets for ascending (width, number) pairs; a single number without brackets."""
    runs: List[Tuple[Tuple[int, int], Tuple[int, int]]] = []
    for item in numbers:
        if runs and _continues_range(*runs[-1], item):
            runs[-1] = (runs[-1][0], item)
        else:
            runs.append((item, item))
    texts = [
        _padded_number(first) if first == last else f"{_padded_number(first)}-{_padded_number(last)}"
        for first, last in runs
    ]
    return f"[{','.join(texts)}]" if len(numbers) > 1 else texts[0]


def _continues_range(first: Tuple[int, int], last: Tuple[int, int], item: Tuple[int, int]) -> bool:
    """Whether a number continues a range: as wide as the last one, or 10 after 9 where nothing is padded."""
    same_width = item[0] == last[0]
    return item[1] == last[1] + 1 and (same_width or (not _has_leading_zeros(first) and not _has_leading_zeros(item)))


def _has_leading_zeros(item: Tuple[int, int]) -> bool:
    return len(str(item[1])) < item[0]


def _padded_number(item: Tuple[int, int]) -> str:
    return f"{item[1]:0{item[0]}d}"


class HostSet(Collection[str]):
    """A host list as a set: membership in constant time, iteration in the order written, and the wildcard `*`.

    With the wildcard every name is a member; length and iteration cover the names in the list only.
    """

    def __init__(self, text: str, *, limit: int = MAX_HOSTS) -> None:
        self.text = text
        names, self.wildcard = _expand_terms(text, limit)
        self._names = dict.fromkeys(names)

    def __contains__(self, host: object) -> bool:
        return host in self._names or (self.wildcard and isinstance(host, str) and bool(host))

    def __len__(self) -> int:
        return len(self._names)

    def __bool__(self) -> bool:
        return self.wildcard or bool(self._names)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HostSet):
            return NotImplemented
        return self.wildcard == other.wildcard and self._names.keys() == other._names.keys()

    def __hash__(self) -> int:
        return hash((self.wildcard, frozenset(self._names)))

    def __repr__(self) -> str:
        return f"HostSet({_excerpt(self.text)!r})"


def _expand_terms(text: str, limit: int) -> Tuple[List[str], bool]:
    if len(text) > MAX_TEXT:
        raise HostlistError("", f"the host list has {len(text)} characters, more than the {MAX_TEXT} that are read")
    wildcard = False
    budget = limit
    names: Dict[str, None] = {}
    for term in _terms(text):
        if term == WILDCARD:
            wildcard = True
            continue
        pieces = _pieces(term)
        budget -= _count(pieces)
        if budget < 0:
            raise HostlistError(term, f"host list {_excerpt(text)!r} has more than {limit} names")
        names.update(dict.fromkeys(_names(term, pieces)))
    return list(names), wildcard


def _terms(text: str) -> Iterator[str]:
    position = 0
    while position < len(text):
        if text[position] == "," or text[position].isspace():
            position += 1
            continue
        match = _TERM.match(text, position)
        if match is None:
            raise HostlistError(_excerpt(text[position:]), f"host list {_excerpt(text)!r}: bracket does not match")
        position = match.end()
        if position < len(text) and text[position] in "[]":
            raise HostlistError(_excerpt(text[position:]), f"host list {_excerpt(text)!r}: bracket does not match")
        yield match.group()


def _pieces(term: str) -> List[_Piece]:
    pieces: List[_Piece] = []
    position = 0
    while position < len(term):
        match = _PIECE.match(term, position)
        if match is None:
            raise HostlistError(_excerpt(term), f"host list: {_excerpt(term)!r} has the character {term[position]!r}")
        literal, ranges = match.groups()
        pieces.append(literal if ranges is None else _ranges(ranges, term))
        position = match.end()
    if term[0] in ".-":
        raise HostlistError(_excerpt(term), f"host list: {_excerpt(term)!r} starts with {term[0]!r}")
    if sum(isinstance(piece, tuple) for piece in pieces) > _MAX_BRACKETS:
        raise HostlistError(_excerpt(term), f"host list: {_excerpt(term)!r} has more than {_MAX_BRACKETS} brackets")
    return pieces


def _ranges(text: str, term: str) -> Tuple[_NumberRange, ...]:
    return tuple(_range(item.strip(), term) for item in text.split(","))


def _range(item: str, term: str) -> _NumberRange:
    """A range of numbers; padded with zeros if its bounds are equally wide or the lower one has leading zeros."""

    def wrong(problem: str) -> HostlistError:
        return HostlistError(_excerpt(item), f"host list: {_excerpt(item)!r} in {_excerpt(term)!r} {problem}")

    match = _RANGE.fullmatch(item)
    if match is None:
        raise wrong("is neither a number nor a range")
    low, high = match.group(1), match.group(2) or match.group(1)
    if max(len(low), len(high)) > _MAX_DIGITS:
        raise wrong(f"has more than {_MAX_DIGITS} digits")
    if len(low) != len(high) and len(high) > 1 and high[0] == "0":
        raise wrong("has bounds that are padded differently")
    first, last = int(low), int(high)
    if last < first:
        raise wrong("ends before it begins")
    padded = len(low) == len(high) or low[0] == "0"
    return _NumberRange(first, last, len(low) if padded else 1)


def _count(pieces: List[_Piece]) -> int:
    count = 1
    for piece in pieces:
        if isinstance(piece, tuple):
            count *= sum(item.last - item.first + 1 for item in piece)
    return count


def _names(term: str, pieces: List[_Piece]) -> Iterator[str]:
    alternatives: List[Iterable[str]] = [
        [piece] if isinstance(piece, str) else itertools.chain.from_iterable(piece) for piece in pieces
    ]
    for parts in itertools.product(*alternatives):
        name = "".join(parts)
        if len(name) > _MAX_NAME:
            raise HostlistError(
                _excerpt(term), f"host list: {_excerpt(term)!r} has a name longer than {_MAX_NAME} characters"
            )
        yield name


def _excerpt(text: str) -> str:
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."
