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


def job_without_restricted_metrics(job: Job, is_restricted: IsRestricted) -> Job:
    """The job without values of restricted metrics.

    The energy is the sum of what is left of its parts. A judgement that speaks of a restricted metric, from before the
    metric was restricted, is left out until the job is judged anew.
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
    """What a mapping has by metric, without restricted ones."""
    return {metric: value for metric, value in by_metric.items() if not is_restricted(metric)}


def footprint_metric(footprint_key: str) -> str:
    """The metric of a footprint value such as `mem_used_max`."""
    return footprint_key.rpartition("_")[0] or footprint_key


def _mentions_restricted(finding: Finding, is_restricted: IsRestricted) -> bool:
    return is_restricted(finding.metric) or any(map(is_restricted, _strings_in(finding.facts)))


def _strings_in(facts: Any) -> Iterator[str]:
    """All texts in facts, keys included."""
    if isinstance(facts, str):
        yield facts
    elif isinstance(facts, Mapping):
        for key, value in facts.items():
            yield from (*_strings_in(key), *_strings_in(value))
    elif isinstance(facts, list | tuple):
        for value in facts:
            yield from _strings_in(value)
