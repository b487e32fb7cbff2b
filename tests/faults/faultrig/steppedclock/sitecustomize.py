"""Lets the wall clock of one Python process be set, as an administrator or NTP would set that of the machine.

Python loads this at its start where this folder is in PYTHONPATH. The file that CC_FAULT_CLOCK names says by how many
seconds the clock is wrong; it is read at each look. Clocks that never go back are left alone, as they are by a step.
"""

import datetime  # noqa: ICN001 - its class is replaced
import os
import time

_FILE = os.environ.get("CC_FAULT_CLOCK", "")
_REAL_TIME = time.time
_REAL_DATETIME = datetime.datetime


def _offset_s() -> float:
    try:
        with open(_FILE, encoding="ascii") as file:  # noqa: PTH123 - loaded before all else, kept small
            return float(file.read() or "0")
    except (OSError, ValueError):
        return 0.0


def _time() -> float:
    return _REAL_TIME() + _offset_s()


class _Meta(type):
    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _REAL_DATETIME)


class _Datetime(_REAL_DATETIME, metaclass=_Meta):
    @classmethod
    def now(cls, tz: "datetime.tzinfo | None" = None) -> "datetime.datetime":
        return _REAL_DATETIME.fromtimestamp(_time(), tz)


if _FILE:
    time.time = _time
    datetime.datetime = _Datetime  # type: ignore[misc]  # that is the point
