"""Metrics that cluster.json shows to staff only (`restrict`), taken out of what others are told of a job. Pure."""

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from cc_backend.model import Finding, Job

Value = TypeVar("Value")
IsRestricted = Callable[[str], bool]
"""Whether a metric of some job is for staff only."""


@dataclass(frozen=True, slots=True)
class HiddenValues:
    """What somebody may neither filter nor sort by: where these values are, they count as missing."""

    clusters_of: Callable[[str], Collection[str]]
    """The clusters in which a metric is restricted."""
    energy_clusters: Collection[str]
    """The clusters in which a metric that goes into the energy of jobs is restricted."""


def without_restricted(job: Job, is_restricted: IsRestricted) -> Job:
    """The job without values of restricted metrics.

    The energy is the sum of what is left of its parts. A judgement that speaks of a restricted metric, from before the
    metric was restricted, is left out until the job is judged anew.
    """
    energy, parts = job.energy, job.energy_footprint
    if parts is not None and any(map(is_restricted, parts)):
        parts = visible_part(parts, is_restricted)
        energy = sum(parts.values(), 0.0)
    footprint = job.footprint
    if footprint is not None:
        footprint = {key: value for key, value in footprint.items() if not is_restricted(metric_of(key))}
    judgement = job.judgement
    if judgement is not None and judgement.finding is not None and _speaks_of(judgement.finding, is_restricted):
        judgement = None
    return replace(
        job,
        footprint=footprint,
        energy=energy,
        energy_footprint=parts,
        judgement=judgement,
        statistics=None if job.statistics is None else visible_part(job.statistics, is_restricted),
        absences=None if job.absences is None else visible_part(job.absences, is_restricted),
    )


def visible_part(by_metric: Mapping[str, Value], is_restricted: IsRestricted) -> dict[str, Value]:
    """What a mapping has by metric, without restricted ones."""
    return {metric: value for metric, value in by_metric.items() if not is_restricted(metric)}


def metric_of(footprint_key: str) -> str:
    """The metric of a footprint value such as `mem_used_max`."""
    return footprint_key.rpartition("_")[0] or footprint_key


def _speaks_of(finding: Finding, is_restricted: IsRestricted) -> bool:
    return is_restricted(finding.metric) or any(map(is_restricted, _texts(finding.facts)))


def _texts(facts: Any) -> Iterator[str]:
    """All texts in facts, keys included."""
    if isinstance(facts, str):
        yield facts
    elif isinstance(facts, Mapping):
        for key, value in facts.items():
            yield from (*_texts(key), *_texts(value))
    elif isinstance(facts, list | tuple):
        for value in facts:
            yield from _texts(value)
