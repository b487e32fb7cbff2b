"""The samples of a made-up job as a function of job, metric, node, part and time: any one without the others."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from cc_backend.clusters import MetricConfig
from cc_backend.model import Scope
from cc_demo.characters import IDLE_LEVELS, JobCharacter, MetricProfile, Placement
from cc_demo.cluster_shape import SubClusterShape, make_topology
from cc_demo.hashed_random import Keys, Values, hash_key, smooth_noise, uniform_grid
from cc_demo.job_stream import GeneratedJob

Times = npt.NDArray[np.int64]
Parts = tuple[str | None, ...]

_PERIOD_S = 1200
"""How often a program writes its results or waits for others."""
_DIP_S = 90
_WANDER_SLOTS = 16
_UNLIKE = 0.012
"""The difference between two equal parts, as a share."""
_GROWN_AT = 0.97
_SMALLEST_STEP = 1e-3
_ZERO = np.zeros(1, np.int64)


def generate_samples(job: GeneratedJob, config: MetricConfig, parts: Parts, times_s: Times) -> Values:
    """All nodes of a job by all their parts by all times; NaN where nothing was sent.

    `parts` are ids at the metric's own scope, (None,) for the node. Summed metrics are shared out among all parts of
    a node, so that a job on some of its threads gets their share.
    """
    profile = job.character.profile_of(config.name)
    hosts = job.lane.hosts
    elapsed_s = times_s - job.start_time
    slots = times_s // config.timestep_s
    whole = _is_node_of_several(job, config)
    # what is measured of a whole node that several jobs share is the same for all of them
    keys = _keys(job.seed, 0 if whole else job.job_id, hosts, config.name, parts)
    level = _levels_over_time(profile, elapsed_s, job.duration)
    if not whole:
        level = level * _dips(profile, elapsed_s)
    noise = 1 + profile.spread * (1.2 * smooth_noise(keys, slots, _WANDER_SLOTS) + (uniform_grid(keys, slots) - 0.5))
    noise *= 1 + _UNLIKE * (2 * uniform_grid(keys, _ZERO) - 1)
    values = (level * noise).reshape(len(hosts), len(parts), len(times_s))
    _put_to_rest(job.character, config, values, noise.reshape(values.shape), elapsed_s / max(job.duration, 1))
    np.clip(values, 0.0, 1.0, out=values)
    values *= config.peak / _parts_sharing(job.lane.node, config)
    _remove_missing(job.character, config, values, elapsed_s / max(job.duration, 1))
    return values


def _put_to_rest(character: JobCharacter, config: MetricConfig, values: Values, noise: Values, run: Values) -> None:
    """Sets nodes and GPUs without work to what an idle one shows; `run` is the part of the run at each time."""
    idle = IDLE_LEVELS.get(config.name, 0.0) * noise
    first = len(values) - int(len(values) * character.slack_share)
    values[first:] = np.where(run >= character.slack_from, idle[first:], values[first:])
    if character.idle_gpus and config.scope is Scope.ACCELERATOR:
        values[-1, -character.idle_gpus :] = idle[-1, -character.idle_gpus :]


def _remove_missing(character: JobCharacter, config: MetricConfig, values: Values, run: Values) -> None:
    """Sets what is not sent to NaN."""
    if character.silent_from is not None:
        values[-1, :, run > character.silent_from] = np.nan
    if character.gap is not None:
        values[:, :, (run >= character.gap[0]) & (run < character.gap[1])] = np.nan
    if config.name in character.absent:
        values[:] = np.nan


def generate_idle_samples(
    node: SubClusterShape, config: MetricConfig, hosts: tuple[str, ...], parts: Parts, times_s: Times
) -> Values:
    """The samples of nodes without a job, in the same shape: nodes by parts by times."""
    keys = _keys(0, 0, hosts, config.name, parts)
    noise = 1 + 0.2 * (uniform_grid(keys, times_s // config.timestep_s) - 0.5)
    values: Values = IDLE_LEVELS.get(config.name, 0.0) * config.peak / _parts_sharing(node, config) * noise
    return values.reshape(len(hosts), len(parts), len(times_s))


@lru_cache(maxsize=1 << 12)
def part_ids(node: SubClusterShape, config: MetricConfig, threads: tuple[int, ...] = ()) -> Parts:
    """The ids at which a metric is measured on a node; with threads only those that have one of them."""
    match config.scope:
        case Scope.NODE:
            return (None,)
        case Scope.ACCELERATOR:
            return node.gpu_ids()
        case Scope.HWTHREAD:
            return tuple(str(thread) for thread in threads or range(node.hwthreads))
        case scope:
            wanted = set(threads)
            units = make_topology(node)[scope.value]
            return tuple(str(i) for i, unit in enumerate(units) if not wanted or not wanted.isdisjoint(unit))


@lru_cache(maxsize=1 << 14)
def _keys(seed: int, owner: int, hosts: tuple[str, ...], metric: str, parts: Parts) -> Keys:
    return np.array([hash_key(seed, owner, host, metric, part or "") for host in hosts for part in parts], np.uint64)


def _is_node_of_several(job: GeneratedJob, config: MetricConfig) -> bool:
    return job.lane.place is Placement.PART and config.scope is Scope.NODE


def _parts_sharing(node: SubClusterShape, config: MetricConfig) -> int:
    """Among how many parts of a node the value of the node is divided."""
    return 1 if config.aggregation != "sum" or config.scope is Scope.NODE else max(1, len(part_ids(node, config)))


def _levels_over_time(profile: MetricProfile, elapsed_s: Times, duration_s: int) -> Values:
    level = np.full(len(elapsed_s), profile.level)
    if profile.then is not None:
        level[elapsed_s > profile.then_from_s] = profile.then
    if profile.grows_to is not None:
        part = np.clip(elapsed_s / (_GROWN_AT * max(duration_s, 1)), 0.0, 1.0)
        level += (profile.grows_to - profile.level) * part
    return level


def _dips(profile: MetricProfile, elapsed_s: Times) -> Values | float:
    """A dip at the end of every period, as programs show that write results or exchange data."""
    if profile.dip < _SMALLEST_STEP:
        return 1.0
    into = elapsed_s % _PERIOD_S - (_PERIOD_S - _DIP_S)
    return np.asarray(1 - profile.dip * np.where(into > 0, np.sin(np.pi * np.maximum(into, 0) / _DIP_S), 0.0))
