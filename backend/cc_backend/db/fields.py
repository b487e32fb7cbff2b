"""Columns that can be read whatever a hand, another version or a bad disk has left in them.

A value that a column cannot have reads as nothing: None for JSON, 0 for a number. Nothing is what no rights come from:
no roles, a token that has ended, a login that is over.
"""

import logging
import math
from typing import Any

import orjson
import peewee

logger = logging.getLogger(__name__)


class TextField(peewee.TextField):
    """Text; of bytes what is UTF-8 in them."""

    def adapt(self, value: Any) -> str:
        """The text of a value."""
        return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


class _TolerantIntegerField(peewee.Field):
    """Whole numbers; 0 for what is none."""

    def python_value(self, value: Any) -> int | None:
        """What is stored, None for NULL."""
        return None if value is None else stored_integer(value)


class SmallIntegerField(_TolerantIntegerField, peewee.SmallIntegerField):
    """A whole number; 0 for what is none."""


class IntegerField(_TolerantIntegerField, peewee.IntegerField):
    """A whole number; 0 for what is none."""


class BigIntegerField(_TolerantIntegerField, peewee.BigIntegerField):
    """A whole number; 0 for what is none."""


class JSONField(TextField):
    """Lists and objects in, lists and objects out; NULL, and text that is no JSON, are None."""

    def db_value(self, value: Any) -> str | None:
        """The compact JSON text of a value."""
        return None if value is None else orjson.dumps(value).decode()

    def python_value(self, value: Any) -> Any:
        """What the stored text means."""
        return None if value is None else parse_stored_json(value)


def parse_stored_json(stored: Any) -> Any:
    """What a stored text means, None where it is no JSON."""
    try:
        return orjson.loads(stored)
    except (ValueError, TypeError):
        logger.error("a column of the database is damaged: it is no JSON begin=%.40r", stored)  # noqa: TRY400 - its text
        return None


def stored_strings(document: object) -> tuple[str, ...]:
    """The texts of a list, nothing where it is no list of texts."""
    if isinstance(document, list) and all(isinstance(entry, str) for entry in document):
        return tuple(document)
    return ()


def stored_integer(stored: object) -> int:
    """A stored whole number, 0 where it is none."""
    if isinstance(stored, float) and math.isfinite(stored):
        return int(stored)
    return stored if type(stored) is int else 0
