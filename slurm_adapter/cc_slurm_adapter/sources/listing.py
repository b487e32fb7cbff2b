"""Whether an answer of a Slurm command is to be believed, which layout it has, and its records one by one.

The list of jobs can be hundreds of megabytes. All versions print it with line breaks, and a line break in a text is
written as an escape; so the records can be cut out without reading them, and one that cannot be read costs itself only.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Union

from cc_slurm_adapter.errors import SlurmError
from cc_slurm_adapter.sources.commands import CommandResult
from cc_slurm_adapter.sources.slurm_json import parse_slurm_json

_SHOWN = 160
_VERSION = re.compile(r"v0\.0\.([0-9]{1,4})")
NOTHING_FOUND = 9003  # sacct of 22.05 calls an empty list so; nothing is wrong then

_OBJECT_END = re.compile(rb"\n    \}")
_NEXT_OBJECT, _LIST_END = b",\n    {\n", b"\n  ]"

Record = Union[bytes, Mapping[str, Any]]
"""One entry of a list: its text, or what was read already where the list could not be cut."""


class Listing(NamedTuple):
    """An answer in two parts: the document with an empty list, and the entries of that list."""

    document: Mapping[str, Any]
    records: Iterator[Record]


def parse_document(answer: CommandResult) -> Dict[str, Any]:
    """The JSON object that a command printed.

    Raises SlurmError unless the exit status is 0, the output is one JSON object, and its `errors` are empty: some
    versions print an empty list and succeed while the controller is down.
    """
    return _parse_output(answer, answer.checked_output())


def _parse_output(answer: CommandResult, written: bytes) -> Dict[str, Any]:
    start = written.find(b"{")  # with --cluster some versions print a line of text before
    try:
        document = parse_slurm_json(written[start:] if start > 0 else written)
    except (ValueError, RecursionError) as error:
        raise SlurmError(f"{answer.command}: the answer is not JSON: {str(error)[:_SHOWN]}") from error
    if not isinstance(document, dict):
        raise SlurmError(f"{answer.command}: the answer is not a JSON object")
    errors = [item for item in _list(document.get("errors")) if not _is_nothing_found(item)]
    if errors:
        raise SlurmError(f"{answer.command}: {_error_text(errors[0])}")
    return document


def parse_listing(answer: CommandResult, key: str) -> Listing:
    """The document, and the entries of its list `key`.

    Raises SlurmError as `parse_document` does, and where there is no such list, which no version does.
    """
    written = answer.checked_output()
    head = b'\n  "%s": [' % key.encode()
    first = written.find(head + b"\n    {\n") + len(head)
    cuts = _object_ends(written, first) if first >= len(head) else []
    if not cuts:
        document = parse_document(answer)
        return Listing(document, iter(list_records(document, key, answer.command)))
    document = _parse_output(answer, written[:first] + written[cuts[-1] :])
    return Listing(document, _split_records(written, first, cuts))


def _object_ends(written: bytes, first: int) -> List[int]:
    """Where the objects of a list end that begins at `first`; none if it does not end as a list does."""
    cuts: List[int] = []
    for match in _OBJECT_END.finditer(written, first):  # three times as fast as bytes.find
        end = match.end()
        cuts.append(end)
        if written.startswith(_LIST_END, end):
            return cuts
        if not written.startswith(_NEXT_OBJECT, end):
            return []
    return []


def _split_records(written: bytes, first: int, cuts: List[int]) -> Iterator[bytes]:
    begin = first
    for end in cuts:
        yield written[begin:end]
        begin = end + 1  # the comma


def data_parser_version(document: Mapping[str, Any]) -> int:
    """The number of the layout: 38 for `v0.0.38`; 0 if the answer does not say.

    It stands at meta.plugin.type up to 23.02 and at meta.plugin.data_parser later.
    """
    meta = document.get("meta")
    plugin = meta.get("plugin") if isinstance(meta, dict) else None
    if isinstance(plugin, dict):
        for key in ("data_parser", "type", "name"):
            match = _VERSION.search(str(plugin.get(key, "")))
            if match:
                return int(match.group(1))
    return 0


def list_records(document: Mapping[str, Any], key: str, command: str) -> List[Mapping[str, Any]]:
    """The list of objects below a key. Raises SlurmError where it is missing, which no version does."""
    value = document.get(key)
    if not isinstance(value, list):
        raise SlurmError(f"{command}: the answer has no list {key!r}")
    return [item for item in value if isinstance(item, dict)]


def _list(value: Any) -> List[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _is_nothing_found(item: Any) -> bool:
    return isinstance(item, dict) and item.get("error_number", item.get("errno")) == NOTHING_FOUND


def _error_text(item: Any) -> str:
    if isinstance(item, dict):
        parts = [str(item[key]) for key in ("source", "error", "description") if item.get(key)]
        return ": ".join(parts)[:_SHOWN] or "an error without a text"
    return str(item)[:_SHOWN]
