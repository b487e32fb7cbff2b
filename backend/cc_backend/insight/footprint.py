"""The footprint of a job: the values that say how it ran, each judged by the thresholds of its metric. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cc_backend.clusters.model import MetricConfig
from cc_backend.insight.job_curves import MIN_JUDGED_S, JobCurveSet, MetricCurves
from cc_backend.insight.rating import BAD_LEVELS, Thresholds, worst_level
from cc_backend.insight.threshold_share import footprint_factor
from cc_backend.model import Job, Level
from cc_backend.wording.format import format_exact_number, format_number, readable_unit
from cc_backend.wording.labels import STATISTIC_WORDS, metric_name


@dataclass(frozen=True, slots=True)
class FootprintValue:
    """One value of the footprint, in the unit it is shown in; `value` None means it was not measured.

    `has_enough_samples` says whether it is made of as many samples as a judgement takes.
    """

    metric: str
    statistic: str
    value: float | None
    unit: str
    thresholds: Thresholds
    has_enough_samples: bool = True

    @property
    def name(self) -> str:
        """What people call the metric."""
        return metric_name(self.metric)

    @property
    def statistic_word(self) -> str:
        """The statistic in a word."""
        return STATISTIC_WORDS.get(self.statistic, self.statistic)

    @property
    def level(self) -> Level | None:
        """The level of the value, if there are enough samples; a maximum that reached its limit counts at once."""
        level = self.thresholds.level_of(self.value)
        reached = self.statistic == "max" and self.thresholds.lower_is_better and level in BAD_LEVELS
        return level if self.has_enough_samples or reached else None

    @property
    def label(self) -> str:
        """The value in words, for those who cannot see the gauge."""
        if self.value is None:
            return f"{self.name}: not measured"
        word = f", {self.level.word}" if self.level else ""
        unit = f" {self.unit}" if self.unit else ""
        value, peak = format_number(self.value), format_exact_number(self.thresholds.peak)
        return f"{self.name}, {self.statistic_word}: {value}{unit} of {peak}{word}"


def footprint_values(
    job: Job, metrics: Mapping[str, MetricConfig], curves: JobCurveSet | None = None, *, node_threads: int = 0
) -> list[FootprintValue]:
    """The footprint of a job, worst first and what is not judged last.

    Values are those of the job record. Those of `curves` count for a running job, whose record may be old or empty, and
    where nodes sent nothing, which the means of the record count as zero. On shared nodes thresholds shrink, see
    `footprint_factor`.
    """
    out = []
    running = job.state.value == "running"
    for name, config in metrics.items():
        if not config.footprint:
            continue
        recorded = (job.footprint or {}).get(f"{name}_{config.footprint}")
        found = curves.get(name) if curves else None
        measured = found.statistic(config.footprint) if found else None
        trusted = running or recorded is None or _lacks_nodes(job, found)
        value = measured if measured is not None and trusted else recorded
        factor, unit = readable_unit(config.unit, config.peak)
        out.append(
            FootprintValue(
                name,
                config.footprint,
                None if value is None else value * factor,
                unit,
                Thresholds.from_config(config, factor * footprint_factor(job, config, node_threads)),
                has_enough_samples=found.has_enough_samples
                if found and found.measured
                else job.duration >= MIN_JUDGED_S,
            )
        )
    return sorted(out, key=lambda item: ((item.level or Level.OK).order, item.level is None))


def _lacks_nodes(job: Job, found: MetricCurves | None) -> bool:
    return found is not None and int(np.count_nonzero(np.isfinite(found.row_means))) < job.num_nodes


def worst_footprint_level(items: list[FootprintValue]) -> Level | None:
    """The worst level of the footprint; None if nothing could be judged."""
    levels = [item.level for item in items if item.level is not None]
    return worst_level(levels) if levels else None
