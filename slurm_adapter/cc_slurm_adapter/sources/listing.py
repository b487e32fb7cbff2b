"""Validation of the JSON output of a Slurm command, its data_parser version, and its records one by one.

The list of jobs can be hundreds of megabytes. All versions print it with line breaks, and a line break in a string is
escaped; so the records can be split without parsing, and an invalid one affects only itself.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Iterator, List, Mapping, NamedTuple, Union

from cc_slurm_adapter.errors import SlurmError
from cc_slurm_adapter.sources.commands import CommandResult
from cc_slurm_adapter.sources.slurm_json import parse_slurm_json

_SHOWN = 160
_VERSION = re.compile(r"v0\.0\.([0-9]{1,4})")
NOTHING_FOUND = 9003  # error number that sacct of 22.05 has for an empty list

_OBJECT_END = re.compile(rb"\n    \}")
_NEXT_OBJECT, _LIST_END = b",\n    {\n", b"\n  ]"

Record = Union[bytes, Mapping[str, Any]]
"""One entry of a list: its JSON text, or the parsed object if the list could not be split."""


class Listing(NamedTuple):
    """The output in two parts: the document with an empty list, and the entries of that list."""

    document: Mapping[str, Any]
    records: Iterator[Record]


def parse_document(result: CommandResult) -> Dict[str, Any]:
    """The JSON object that a command printed.

    Raises SlurmError unless the exit status is 0, the output is one JSON object, and its `errors` are empty: some
    versions print an empty list and succeed while the controller is down.
    """
    return _parse_output(result, result.checked_output())


def _parse_output(result: CommandResult, output: bytes) -> Dict[str, Any]:
    start = output.find(b"{")  # with --cluster some versions print a line before it
    try:
        document = parse_slurm_json(output[start:] if start > 0 else output)
    except (ValueError, RecursionError) as error:
        raise SlurmError(f"{result.command}: the output is not JSON: {str(error)[:_SHOWN]}") from error
    if not isinstance(document, dict):
        raise SlurmError(f"{result.command}: the output is not a JSON object")
    errors = [item for item in _list(document.get("errors")) if not _is_nothing_found(item)]
    if errors:
        raise SlurmError(f"{result.command}: {_error_text(errors[0])}")
    return document


def parse_listing(result: CommandResult, key: str) -> Listing:
    """The document, and the entries of its list `key`.

    Raises SlurmError as `parse_document` does, and if there is no such list, which all versions have.
    """
    output = result.checked_output()
    head = b'\n  "%s": [' % key.encode()
    first = output.find(head + b"\n    {\n") + len(head)
    cuts = _object_ends(output, first) if first >= len(head) else []
    if not cuts:
        document = parse_document(result)
        return Listing(document, iter(list_records(document, key, result.command)))
    document = _parse_output(result, output[:first] + output[cuts[-1] :])
    return Listing(document, _split_records(output, first, cuts))


def _object_ends(output: bytes, first: int) -> List[int]:
    """The end positions of the objects of the list that begins at `first`; empty if its format is unexpected."""
    cuts: List[int] = []
    for match in _OBJECT_END.finditer(output, first):  # three times faster than bytes.find
        end = match.end()
        cuts.append(end)
        if output.startswith(_LIST_END, end):
            return cuts
        if not output.startswith(_NEXT_OBJECT, end):
            return []
    return []


def _split_records(output: bytes, first: int, cuts: List[int]) -> Iterator[bytes]:
    begin = first
    for end in cuts:
        yield output[begin:end]
        begin = end + 1  # the comma


def data_parser_version(document: Mapping[str, Any]) -> int:
    """The last number of the data_parser version: 38 for `v0.0.38`; 0 if the document does not have it.

    It is in meta.plugin.type up to Slurm 23.02 and in meta.plugin.data_parser later.
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
    """The list of objects at a key. Raises SlurmError if it is missing, which all versions have."""
    value = document.get(key)
    if not isinstance(value, list):
        raise SlurmError(f"{command}: the output has no list {key!r}")
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
