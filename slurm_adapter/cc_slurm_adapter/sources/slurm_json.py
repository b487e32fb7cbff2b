"""Parsing the JSON of Slurm's commands: fast, and with repair if it is not valid JSON.

`orjson` is used if it is installed (the extra `slurm` has it), else the standard library. Both reject `nan` and `-inf`,
which Slurm prints for some doubles, and invalid UTF-8 in names given by users; then the text is repaired and parsed
again: an invalid value becomes null.
"""

from __future__ import annotations

import json
import re
from typing import Any, Callable

MAX_DEPTH = 200

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[^\s,:\[\]{}"]+', re.DOTALL)
_VALUE = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]{0,18})(?:\.[0-9]{1,40})?(?:[eE][+-]?[0-9]{1,3})?")


def _fast_reader() -> Callable[[bytes], Any]:
    try:
        import orjson  # noqa: PLC0415 it may be missing
    except ImportError:
        return json.loads
    return orjson.loads


_fast_parse = _fast_reader()


def parse_slurm_json(raw: bytes) -> Any:
    """The first JSON value of a text. Raises ValueError if there is none, or it is nested more than 200 deep."""
    try:
        return _fast_parse(raw)
    except (ValueError, RecursionError):
        return _parse_repaired(raw)


def _parse_repaired(raw: bytes) -> Any:
    text = raw.decode("utf-8", "replace")
    if _is_too_deep(text):
        raise ValueError(f"nested more than {MAX_DEPTH} deep")
    mended = _TOKEN.sub(_repair_token, text)
    value, _ = json.JSONDecoder(strict=False).raw_decode(mended.lstrip())
    return value


def _repair_token(match: re.Match[str]) -> str:
    token = match.group()
    return token if token[0] == '"' or _VALUE.fullmatch(token) else "null"


def _is_too_deep(text: str) -> bool:
    """Whether brackets, those in strings excluded, are nested too deeply for a recursive parser."""
    if text.count("{") + text.count("[") <= MAX_DEPTH:
        return False
    depth = 0
    for match in re.finditer(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', text, re.DOTALL):
        bracket = match.group()
        depth += 1 if bracket in "[{" else -1 if bracket in "]}" else 0
        if depth > MAX_DEPTH:
            return True
    return False
