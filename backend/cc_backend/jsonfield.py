"""A column that holds JSON text."""

from typing import Any

import orjson
import peewee


class JSONField(peewee.TextField):
    """Lists and objects in, lists and objects out; NULL stays None."""

    def db_value(self, value: Any) -> str | None:
        """The compact JSON text of a value."""
        return None if value is None else orjson.dumps(value).decode()

    def python_value(self, value: str | None) -> Any:
        """What the stored text means."""
        return None if value is None else orjson.loads(value)
