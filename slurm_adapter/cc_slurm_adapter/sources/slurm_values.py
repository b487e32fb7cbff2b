"""Parsing single values of Slurm's output, in the formats of all versions.

No function raises: an invalid value is "unknown", so that it affects only its own field.
"""

from __future__ import annotations

import re
from typing import Any, Dict, FrozenSet, List, Optional, Tuple

NOT_SET_MARKS = frozenset((0xFFFFFFFE, 0xFFFFFFFF))
"""Slurm's 32-bit marks for "not set" and "infinite"; the 16-bit marks are valid job ids."""
MAX_NUMBER = (1 << 53) - 1
"""Larger numbers are invalid: neither a database nor a receiver could hold them."""
MIN_TIME_S, MAX_TIME_S = 946_684_800, 4_102_444_800
"""2000 and 2100 in seconds since the epoch: a time outside is invalid, and receivers reject it."""
MAX_TEXT = 1 << 20
MAX_IDS = 65536

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
# The base state that a flag implies when it hides it; "" if several are possible.
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
_MAX_DIGITS = 15
_AMOUNT = re.compile(r"([0-9]+(?:\.[0-9]+)?)([KMGTP]?)(?:i?B)?[cn]?", re.IGNORECASE)


def parse_number(value: Any) -> Optional[int]:
    """The integer in a number, null, or an object with `set`, `infinite` and `number`; None if it is not set."""
    if isinstance(value, dict):
        if not value.get("set") or value.get("infinite"):
            return None
        value = value.get("number")
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= MAX_NUMBER:
        return None  # comparisons with NaN are false
    whole = int(value)
    return None if whole in NOT_SET_MARKS else whole


def parse_count(value: Any) -> int:
    """As `parse_number`, but 0 if it is not set."""
    return parse_number(value) or 0


def parse_time(value: Any) -> int:
    """A time in seconds since the epoch; 0 if it is not set or outside of 2000 to 2100."""
    seconds = parse_count(value)
    return seconds if MIN_TIME_S <= seconds <= MAX_TIME_S else 0


def parse_string(value: Any) -> str:
    """The string without surrogates and control characters, which receivers reject; "" for any other value."""
    if not isinstance(value, str):
        return ""
    if value.isprintable() and value.isascii():
        return value
    clean = value.encode("utf-8", "replace").decode("utf-8")
    return "".join(char if char.isprintable() or char == "\n" else " " for char in clean)


def parse_state(value: Any) -> Tuple[str, FrozenSet[str]]:
    """Base state and flags from one word or a list of words; an unknown base state is kept as it is."""
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


def parse_tres(value: Any) -> Dict[str, str]:
    """The parts of a TRES text such as `cpu=4,mem=2000M,gres/gpu=2`."""
    parts: Dict[str, str] = {}
    for part in parse_string(value)[:MAX_TEXT].split(","):
        name, separator, amount = part.partition("=")
        if separator:
            parts.setdefault(name.strip().lower(), amount.strip())
    return parts


def parse_megabytes(amount: str) -> int:
    """Megabytes of a text such as 2000M, 62.50G or a plain number of megabytes; 0 for anything else."""
    match = _AMOUNT.fullmatch(amount)
    size = float(match.group(1)[:_MAX_DIGITS]) * _MEGABYTES[match.group(2).upper()] if match else 0.0
    return round(size) if size <= MAX_NUMBER else 0


def parse_integer(amount: str) -> int:
    """The integer in a text of 15 digits at most; 0 for anything else."""
    return int(amount) if amount.isascii() and amount.isdigit() and len(amount) <= _MAX_DIGITS else 0


def parse_ids(text: str) -> Optional[Tuple[int, ...]]:
    """The numbers of a list such as `0-1,8-9`; None if it is invalid, empty, or has more than 65536 numbers."""
    ids: List[int] = []
    for part in text.split(","):
        low, separator, high = part.partition("-")
        if not (low.isascii() and low.isdigit() and len(low) < 8):  # noqa: PLR2004 no machine has that many
            return None
        if separator and not (high.isascii() and high.isdigit() and len(high) < 8):  # noqa: PLR2004 same
            return None
        first, last = int(low), int(high or low)
        if last < first or len(ids) + last - first >= MAX_IDS:
            return None
        ids += range(first, last + 1)
    return tuple(ids)
