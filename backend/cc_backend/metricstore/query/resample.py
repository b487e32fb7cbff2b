"""Downsampling for plots: pure functions over the last axis of an array, one series or a matrix of series.

`step` samples become one. All functions return floor(n / step) samples.
"""

from collections.abc import Callable

import numpy as np

from cc_backend.errors import InvalidInput
from cc_backend.metricstore.query.lttb import Array, bucket_edges, pick_samples

MINIMUM_POINTS = 1000
"""Shorter series are not resampled."""


def simple(values: Array, step: int) -> Array:
    """Every step-th sample from the first on."""
    return values[..., : values.shape[-1] // step * step : step]


def average(values: Array, step: int) -> Array:
    """The mean of the samples in each block of `step` slots, NaN for an empty block; a shorter tail is dropped."""
    blocks = _blocks(values, step)
    present = ~np.isnan(blocks)
    count = np.count_nonzero(present, axis=-1)
    total = np.sum(blocks, axis=-1, where=present, dtype=np.float64)
    means = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
    result: Array = means.astype(values.dtype)
    return result


def minmax(values: Array, step: int) -> Array:
    """Min and max of each block of 2 * `step` slots, in the order of time: no peak is lost.

    If the number of resulting samples is odd, the last one is the max of the last block of `step`.
    """
    number = values.shape[-1] // step
    result = np.full((*values.shape[:-1], number), np.nan, values.dtype)
    pairs = number // 2
    if pairs:
        blocks = _blocks(values[..., : pairs * 2 * step], 2 * step)
        min_at = np.argmin(np.where(np.isnan(blocks), np.inf, blocks), axis=-1)
        max_at = np.argmax(np.where(np.isnan(blocks), -np.inf, blocks), axis=-1)
        first, second = np.minimum(min_at, max_at), np.maximum(min_at, max_at)
        result[..., 0 : pairs * 2 : 2] = np.take_along_axis(blocks, first[..., None], -1)[..., 0]
        result[..., 1 : pairs * 2 : 2] = np.take_along_axis(blocks, second[..., None], -1)[..., 0]
    if number % 2:
        result[..., -1] = np.fmax.reduce(values[..., (number - 1) * step : number * step], axis=-1)
    return result


def lttb(values: Array, step: int) -> Array:
    """Largest triangle, three buckets: the samples that shape the curve most, the first and the last among them.

    Where the area of a triangle is NaN, the last such sample is picked, so that gaps stay visible.
    """
    length = values.shape[-1]
    number = length // step
    if step <= 1 or number >= length:
        return values
    if number < 3:  # noqa: PLR2004 first, middle and last
        return simple(values, step)
    picked = pick_samples(values.reshape(-1, length), bucket_edges(length, number))
    return picked.reshape(*values.shape[:-1], number)


ALGORITHMS: dict[str, Callable[[Array, int], Array]] = {
    "lttb": lttb,
    "average": average,
    "simple": simple,
    "minmax": minmax,
}


def resample(
    values: Array,
    timestep_s: int,
    resolution_s: int,
    *,
    algorithm: str = "lttb",
    minimum_points: int = MINIMUM_POINTS,
) -> tuple[Array, int]:
    """Samples and their timestep, at the requested resolution where that makes the series shorter.

    With a resolution up to the timestep, or fewer than `minimum_points` samples, the series is unchanged.
    Raises InvalidInput for a resolution that is not a multiple of the timestep, or an unknown algorithm.
    """
    if algorithm not in ALGORITHMS:
        raise InvalidInput(f"resampling {algorithm!r} is not known; known are {', '.join(sorted(ALGORITHMS))}")
    if resolution_s <= timestep_s:
        return values, timestep_s
    if resolution_s % timestep_s:
        raise InvalidInput(f"resolution {resolution_s} s is not a multiple of the timestep of {timestep_s} s")
    step = resolution_s // timestep_s
    if values.shape[-1] < minimum_points or values.shape[-1] < step:
        return values, timestep_s
    return ALGORITHMS[algorithm](values, step), resolution_s


def _blocks(values: Array, step: int) -> Array:
    number = values.shape[-1] // step
    return values[..., : number * step].reshape(*values.shape[:-1], number, step)
