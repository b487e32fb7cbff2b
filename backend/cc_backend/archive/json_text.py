"""JSON of the archive: parsing with errors that name their source, encoding of any text that a job may have."""

from typing import Any

import orjson

from cc_backend.clusters.faults import Faults
from cc_backend.errors import ArchiveError


def parse_json(raw: bytes, source: str) -> object:
    """The parsed document; raises ArchiveError that names `source`, line and column."""
    try:
        parsed: object = orjson.loads(raw)
    except orjson.JSONDecodeError as error:
        raise ArchiveError(f"{source}: is not JSON, line {error.lineno}, column {error.colno}: {error.msg}") from error
    return parsed


def raise_first_error(findings: Faults, source: str) -> None:
    """Raise ArchiveError for the first error among the faults, if there is one."""
    for finding in findings.errors:
        raise ArchiveError(f"{source}: {finding}")


def json_string(text: str) -> bytes:
    """The text as a JSON string."""
    return orjson.dumps(replace_surrogates(text))


def replace_surrogates(value: Any) -> Any:
    """A copy of the document in which characters that UTF-8 cannot encode are question marks."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {replace_surrogates(key): replace_surrogates(item) for key, item in value.items()}
    if isinstance(value, list):
        return [replace_surrogates(item) for item in value]
    return value
