"""Whether an answer of a Slurm command is to be believed, and which layout it has."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, Mapping

from cc_slurm_adapter.errors import SlurmError
from cc_slurm_adapter.sources.commands import Answer

_SHOWN = 160
_VERSION = re.compile(r"v0\.0\.([0-9]{1,4})")
NOTHING_FOUND = 9003  # sacct of 22.05 calls an empty list so; nothing is wrong then


def document_of(answer: Answer) -> Dict[str, Any]:
    """The JSON object that a command printed.

    Raises SlurmError unless the exit status is 0, the output is one JSON object, and its `errors` are empty: some
    versions print an empty list and succeed while the controller is down.
    """
    written = answer.text()
    start = written.find("{")  # with --cluster some versions print a line of text before
    try:
        document, _ = json.JSONDecoder(strict=False).raw_decode(written, max(start, 0))
    except (ValueError, RecursionError) as error:
        raise SlurmError(f"{answer.command}: the answer is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise SlurmError(f"{answer.command}: the answer is not a JSON object")
    errors = [item for item in _list(document.get("errors")) if not _harmless(item)]
    if errors:
        raise SlurmError(f"{answer.command}: {_described(errors[0])}")
    return document


def layout_number(document: Mapping[str, Any]) -> int:
    """The number of the layout: 38 for `v0.0.38`; 0 if the answer does not say.

    It stands at meta.plugin.type up to 23.02 and at meta.plugin.data_parser later.
    """
    meta = document.get("meta")
    plugin = meta.get("plugin") if isinstance(meta, Mapping) else None
    if isinstance(plugin, Mapping):
        for key in ("data_parser", "type", "name"):
            match = _VERSION.search(str(plugin.get(key, "")))
            if match:
                return int(match.group(1))
    return 0


def records(document: Mapping[str, Any], key: str, command: str) -> List[Mapping[str, Any]]:
    """The list of objects below a key. Raises SlurmError where it is missing, which no version does."""
    value = document.get(key)
    if not isinstance(value, list):
        raise SlurmError(f"{command}: the answer has no list {key!r}")
    return [item for item in value if isinstance(item, Mapping)]


def _list(value: Any) -> List[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]


def _harmless(item: Any) -> bool:
    return isinstance(item, Mapping) and item.get("error_number", item.get("errno")) == NOTHING_FOUND


def _described(item: Any) -> str:
    if isinstance(item, Mapping):
        parts = [str(item[key]) for key in ("source", "error", "description") if item.get(key)]
        return ": ".join(parts)[:_SHOWN] or "an error without a text"
    return str(item)[:_SHOWN]
