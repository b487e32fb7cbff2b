"""JSON as bytes: reading with errors that name their source, writing whatever text a job carries."""

from typing import Any

import orjson

from cc_backend.clusters.faults import Faults
from cc_backend.errors import ArchiveError


def parse_json(raw: bytes, source: str) -> object:
    """The document in some bytes; raises ArchiveError that names `source`, line and column."""
    try:
        parsed: object = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ArchiveError(f"{source}: is no JSON, line {error.lineno}, column {error.colno}: {error.msg}") from error
    return parsed


def raise_first_error(findings: Faults, source: str) -> None:
    """Raise ArchiveError for the first error among the findings, if there is one."""
    for finding in findings.errors:
        raise ArchiveError(f"{source}: {finding}")


def json_string(text: str) -> bytes:
    """The text as a JSON string."""
    return orjson.dumps(replace_surrogates(text))


def replace_surrogates(value: Any) -> Any:
    """The same document with every text in it fit for UTF-8."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {replace_surrogates(key): replace_surrogates(item) for key, item in value.items()}
    if isinstance(value, list):
        return [replace_surrogates(item) for item in value]
    return value
