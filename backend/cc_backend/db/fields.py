"""Column types that can always be read, whatever manual edits, other versions or a bad disk have left in the database.

An invalid value reads as the empty one: None for JSON, 0 for an integer. An empty value never grants a right: it means
no roles, an expired token, a login that has ended.
"""

import logging
import math
from typing import Any

import orjson
import peewee

logger = logging.getLogger(__name__)


class TextField(peewee.TextField):
    """Text; invalid UTF-8 in stored bytes is replaced."""

    def adapt(self, value: Any) -> str:
        """The value as text."""
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


class _TolerantIntegerField(peewee.Field):
    """Integers; 0 for anything else."""

    def python_value(self, value: Any) -> int | None:
        """The stored integer, None for NULL."""
        return None if value is None else stored_integer(value)


class SmallIntegerField(_TolerantIntegerField, peewee.SmallIntegerField):
    """An integer; 0 for anything else."""


class IntegerField(_TolerantIntegerField, peewee.IntegerField):
    """An integer; 0 for anything else."""


class BigIntegerField(_TolerantIntegerField, peewee.BigIntegerField):
    """An integer; 0 for anything else."""


class JSONField(TextField):
    """Lists and objects stored as JSON text; NULL and invalid JSON read as None."""

    def db_value(self, value: Any) -> str | None:
        """The value as compact JSON text, None for None."""
        return None if value is None else orjson.dumps(value).decode()

    def python_value(self, value: Any) -> Any:
        """The value of a stored JSON text."""
        return None if value is None else parse_stored_json(value)


def parse_stored_json(stored: Any) -> Any:
    """The value of a stored JSON text, None if it is not JSON."""
    try:
        return orjson.loads(stored)
    except (ValueError, TypeError):
        logger.error("a column of the database is damaged: it is not JSON begin=%.40r", stored)  # noqa: TRY400 its text
        return None


def stored_strings(document: object) -> tuple[str, ...]:
    """The strings of a list, empty if it is not a list of strings."""
    if isinstance(document, list) and all(isinstance(entry, str) for entry in document):
        return tuple(document)
    return ()


def stored_integer(stored: object) -> int:
    """A stored integer, 0 if it is not one."""
    if isinstance(stored, float) and math.isfinite(stored):
        return int(stored)
    return stored if type(stored) is int else 0
