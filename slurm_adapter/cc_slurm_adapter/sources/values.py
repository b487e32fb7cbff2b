"""Single values of Slurm's answers; every version writes them in another way, and all ways are read."""

from __future__ import annotations

import math
import re
from typing import Any, Dict, FrozenSet, List, Mapping, Optional, Tuple

NO_VALUES = frozenset((0xFFFFFFFE, 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFE, 0xFFFFFFFFFFFFFFFF))
"""Slurm's marks for "not set" and "without end" in 32 and 64 bits; those in 16 bits are job ids, too."""

BASE_STATES = frozenset(
    (
        "PENDING",
        "RUNNING",
        "SUSPENDED",
        "COMPLETED",
        "CANCELLED",
        "FAILED",
        "TIMEOUT",
        "NODE_FAIL",
        "PREEMPTED",
        "BOOT_FAIL",
        "DEADLINE",
        "OUT_OF_MEMORY",
    )
)
# where a flag hides the base state, this is what it can only have been; "" if it can have been several
_BASE_OF_FLAG = {
    "CONFIGURING": "RUNNING",
    "POWER_UP_NODE": "RUNNING",
    "RESIZING": "RUNNING",
    "SIGNALING": "RUNNING",
    "STOPPED": "RUNNING",
    "REQUEUED": "PENDING",
    "REQUEUE_HOLD": "PENDING",
    "REQUEUE_FED": "PENDING",
    "RESV_DEL_HOLD": "PENDING",
    "SPECIAL_EXIT": "PENDING",
    "COMPLETING": "",
    "STAGE_OUT": "",
    "LAUNCH_FAILED": "",
    "RECONFIG_FAIL": "",
    "REVOKED": "",
    "EXPEDITING": "PENDING",
}
_MEGABYTES = {"": 1.0, "K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2, "P": 1024.0**3}
_LONGEST = 15
_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMGTP]?)")


def number(value: Any) -> Optional[int]:
    """A whole number from a number, null, or an object with `set`, `infinite` and `number`; None for not set."""
    if isinstance(value, Mapping):
        if not value.get("set") or value.get("infinite"):
            return None
        value = value.get("number")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        return None
    whole = int(value)
    return None if whole in NO_VALUES or whole < 0 else whole


def count(value: Any) -> int:
    """As `number`, 0 for not set."""
    return number(value) or 0


def text(value: Any) -> str:
    """A text; anything else is the empty one."""
    return value if isinstance(value, str) else ""


def state_of(value: Any) -> Tuple[str, FrozenSet[str]]:
    """Base state and flags from one word or a list of words; a base state that nobody knows is kept as it is."""
    words = [word for item in _items(value) for word in item.upper().split()[:1]]
    bases = [word for word in words if word in BASE_STATES]
    flags = frozenset(word for word in words if word not in BASE_STATES)
    if bases:
        return bases[0], flags
    for word in words:
        if word not in _BASE_OF_FLAG:
            return word, flags - {word}
    hidden = [_BASE_OF_FLAG[word] for word in words if _BASE_OF_FLAG[word]]
    return (hidden[0] if hidden else ""), flags


def _items(value: Any) -> List[str]:
    if isinstance(value, str):
        return value.split("+")
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else []


def resources(written: Any) -> Dict[str, str]:
    """The parts of a text such as `cpu=4,mem=2000M,gres/gpu=2`."""
    parts: Dict[str, str] = {}
    for part in text(written).split(","):
        name, separator, amount = part.partition("=")
        if separator:
            parts.setdefault(name.strip(), amount.strip())
    return parts


def megabytes(amount: str) -> int:
    """The amount of memory that Slurm writes as 2000M, 62.50G or a plain number of megabytes; 0 for anything else."""
    match = _AMOUNT.fullmatch(amount)
    return round(float(match.group(1)[:_LONGEST]) * _MEGABYTES[match.group(2)]) if match else 0


def whole(amount: str) -> int:
    """A count that Slurm writes as text; 0 for anything else."""
    return int(amount) if amount.isascii() and amount.isdigit() and len(amount) <= _LONGEST else 0
