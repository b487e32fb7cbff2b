"""Removes metrics that cluster.json restricts to staff (`restrict`) from jobs for other callers. Pure functions."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from cc_backend.model import Finding, Job

Value = TypeVar("Value")
IsRestricted = Callable[[str], bool]
"""(metric) -> whether it is restricted to staff."""


@dataclass(frozen=True, slots=True)
class HiddenValues:
    """Values that a caller may neither filter nor sort by: they count as missing."""

    clusters_of: Callable[[str], Collection[str]]
    """(metric) -> the clusters that restrict it."""
    energy_clusters: Collection[str]
    """The clusters that restrict a metric from which the energy of jobs is computed."""


def job_without_restricted_metrics(job: Job, is_restricted: IsRestricted) -> Job:
    """The job without values of restricted metrics.

    The energy is the sum of its visible parts. A judgement that mentions a restricted metric, because it is older than
    the restriction, is removed.
    """
    energy, parts = job.energy, job.energy_footprint
    if parts is not None and any(map(is_restricted, parts)):
        parts = drop_restricted(parts, is_restricted)
        energy = sum(parts.values(), 0.0)
    footprint = job.footprint
    if footprint is not None:
        footprint = {key: value for key, value in footprint.items() if not is_restricted(footprint_metric(key))}
    judgement = job.judgement
    if (
        judgement is not None
        and judgement.finding is not None
        and _mentions_restricted(judgement.finding, is_restricted)
    ):
        judgement = None
    return replace(
        job,
        footprint=footprint,
        energy=energy,
        energy_footprint=parts,
        judgement=judgement,
        statistics=None if job.statistics is None else drop_restricted(job.statistics, is_restricted),
        gaps=None if job.gaps is None else drop_restricted(job.gaps, is_restricted),
    )


def drop_restricted(by_metric: Mapping[str, Value], is_restricted: IsRestricted) -> dict[str, Value]:
    """A mapping by metric without the restricted metrics."""
    return {metric: value for metric, value in by_metric.items() if not is_restricted(metric)}


def footprint_metric(footprint_key: str) -> str:
    """The metric of a footprint key such as `mem_used_max`."""
    return footprint_key.rpartition("_")[0] or footprint_key


def _mentions_restricted(finding: Finding, is_restricted: IsRestricted) -> bool:
    return is_restricted(finding.metric) or any(map(is_restricted, _strings_in(finding.facts)))


def _strings_in(facts: Any) -> Iterator[str]:
    """All strings in the facts, including keys."""
    if isinstance(facts, str):
        yield facts
    elif isinstance(facts, Mapping):
        for key, value in facts.items():
            yield from (*_strings_in(key), *_strings_in(value))
    elif isinstance(facts, list | tuple):
        for value in facts:
            yield from _strings_in(value)
