"""When to sample and when to send; pure, the time is an argument."""

from __future__ import annotations

import hashlib
import math

SEND_SPREAD = 0.4
"""Nodes spread their sending over this part of the interval, so that the server is not hit by all at once."""

MAX_LATENESS_FRACTION = 0.5
"""A tick that is missed by more than this part of the interval is left out."""


def next_tick(now_s: float, interval_s: int) -> int:
    """The first multiple of the interval after `unix_now_s`, in seconds since the epoch."""
    return (math.floor(now_s / interval_s) + 1) * interval_s


def is_too_late(now_s: float, tick_s: int, interval_s: int) -> bool:
    """Whether it is too late to sample for this tick; the next one will be on time, nothing is caught up."""
    return now_s - tick_s > MAX_LATENESS_FRACTION * interval_s


def clock_was_set_back(now_s: float, tick_s: int, interval_s: int) -> bool:
    """Whether the tick is further away than one interval, which only a step of the wall clock can bring about."""
    return tick_s - now_s > interval_s


def send_delay_s(hostname: str, interval_s: float) -> float:
    """How long after the tick this host sends: always the same, evenly spread over all hosts."""
    digest = hashlib.blake2b(hostname.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64 * SEND_SPREAD * interval_s
