"""When to sample and when to send; pure functions of the time."""

from __future__ import annotations

import hashlib
import math

SEND_SPREAD = 0.4
"""Fraction of the interval over which nodes spread their sending, so that they do not all send at once."""

MAX_LATENESS_FRACTION = 0.5
"""A tick that is late by more than this fraction of the interval is skipped."""


def next_tick(now_s: float, interval_s: int) -> int:
    """The first multiple of the interval after `now_s`, in seconds since the epoch."""
    return (math.floor(now_s / interval_s) + 1) * interval_s


def is_too_late(now_s: float, tick_s: int, interval_s: int) -> bool:
    """Whether it is too late to sample for this tick; a skipped tick is not made up for."""
    return now_s - tick_s > MAX_LATENESS_FRACTION * interval_s


def clock_was_set_back(now_s: float, tick_s: int, interval_s: int) -> bool:
    """Whether the tick is more than one interval away, which only a backward step of the wall clock can cause."""
    return tick_s - now_s > interval_s


def send_delay_s(hostname: str, interval_s: float) -> float:
    """Seconds between the tick and sending: constant for a host, evenly distributed over hosts."""
    digest = hashlib.blake2b(hostname.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 * SEND_SPREAD * interval_s


def reading_interval_s(wanted_s: float, tick_interval_s: float) -> float:
    """Seconds between the readings of a collector that wants this many: a multiple of those between ticks."""
    return max(math.ceil(wanted_s / tick_interval_s), 1) * tick_interval_s
