"""Random numbers that depend on their coordinates only, not on earlier calls.

Source: SplitMix64 (G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", 2014), used as
a hash of a counter.
"""

import zlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Keys = npt.NDArray[np.uint64]
Values = npt.NDArray[np.float64]
T = TypeVar("T")

_GAMMA, _FIRST, _SECOND = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB
_MASK = (1 << 64) - 1
_TOP = 1 << 53


def hash_key(*coordinates: int | str) -> int:
    """A 64-bit number for some coordinates; text counts by its CRC-32, so that it is the same in every process."""
    state = 0
    for coordinate in coordinates:
        number = zlib.crc32(coordinate.encode()) if isinstance(coordinate, str) else coordinate
        state = _splitmix64((state ^ number) & _MASK)
    return state


def uniform_at(*coordinates: int | str) -> float:
    """A number from 0 up to 1 at the coordinates."""
    return (hash_key(*coordinates) >> 11) / _TOP


def choice_at(items: Sequence[T], *coordinates: int | str) -> T:
    """One of the items."""
    return items[int(uniform_at(*coordinates) * len(items))]


def uniform_grid(keys: Keys, counters: npt.NDArray[np.int64]) -> Values:
    """Numbers from 0 up to 1 for every key (rows) at every counter (columns)."""
    state = keys[:, None] ^ (counters.astype(np.uint64) * np.uint64(_FIRST))[None, :]
    state = state + np.uint64(_GAMMA)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(_FIRST)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(_SECOND)
    state ^= state >> np.uint64(31)
    return np.asarray((state >> np.uint64(11)) / _TOP, np.float64)


def smooth_noise(keys: Keys, counters: npt.NDArray[np.int64], every: int) -> Values:
    """Numbers from -1 to 1 that wander: chance at each `every`-th counter, straight lines between."""
    lattice = counters // every
    part = (counters - lattice * every) / every
    first = int(lattice.min()) if lattice.size else 0
    posts = np.arange(first, (int(lattice.max()) if lattice.size else 0) + 2)
    heights = uniform_grid(keys, posts) * 2 - 1
    at = lattice - first
    wandering: Values = heights[:, at] * (1 - part) + heights[:, at + 1] * part
    return wandering


def _splitmix64(state: int) -> int:
    state = (state + _GAMMA) & _MASK
    state = ((state ^ (state >> 30)) * _FIRST) & _MASK
    state = ((state ^ (state >> 27)) * _SECOND) & _MASK
    return state ^ (state >> 31)
