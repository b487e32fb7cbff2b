"""Judging a value against the thresholds of its metric."""

import math
from dataclasses import dataclass

from cc_backend.clusters.model import MetricConfig
from cc_backend.model import Level

# Lengths of queues: their peak is what the machine can serve at a time, and more can wait.
_QUEUES = frozenset({"cpu_load", "load_one", "load_five", "load_fifteen"})
_QUEUE_TOLERANCE = 1.1
_COUNTER_TOLERANCE = 1.02

BAD_LEVELS = frozenset({Level.ALERT, Level.CAUTION})
"""The levels that ask for somebody's attention."""


def worst_level(levels: "list[Level]") -> Level:
    """The worst of the levels; OK of none."""
    return min(levels, key=lambda level: level.order, default=Level.OK)


@dataclass(frozen=True, slots=True)
class Thresholds:
    """The thresholds of a metric, in the unit and for the share of the node that is shown."""

    peak: float
    normal: float
    caution: float
    alert: float
    lower_is_better: bool = False
    can_exceed_peak: bool = False

    @classmethod
    def from_config(cls, config: MetricConfig, factor: float = 1.0) -> "Thresholds":
        """The thresholds of a metric configuration, each multiplied by `factor`.

        A metric whose alert lies above its caution is taken as one where lower is better, as its author meant.
        """
        lower = config.lower_is_better or 0 < config.caution < config.alert
        values = (config.peak, config.normal, config.caution, config.alert)
        peak, normal, caution, alert = (value * factor for value in values)
        return cls(peak, normal, caution, alert, lower, config.name in _QUEUES)

    def scaled(self, factor: float) -> "Thresholds":
        """The thresholds in another unit, each multiplied by `factor`."""
        return Thresholds(
            self.peak * factor,
            self.normal * factor,
            self.caution * factor,
            self.alert * factor,
            self.lower_is_better,
            self.can_exceed_peak,
        )

    @property
    def can_judge(self) -> bool:
        """Whether the thresholds are in order: only then can values be judged by them."""
        if self.lower_is_better:
            return 0 < self.caution <= self.alert <= self.peak
        return 0 < self.caution <= self.normal <= self.peak and 0 <= self.alert <= self.caution

    @property
    def zones(self) -> list[tuple[float, float, Level]]:
        """From, to and level of each zone, upwards; empty if the thresholds cannot judge."""
        if not self.can_judge:
            return []
        if self.lower_is_better:
            edges = [(0.0, self.caution, Level.OK), (self.caution, self.alert, Level.CAUTION)]
            edges.append((self.alert, self.peak, Level.ALERT))
        else:
            edges = [(0.0, self.alert, Level.ALERT), (self.alert, self.caution, Level.CAUTION)]
            edges += [(self.caution, self.normal, Level.OK), (self.normal, self.peak, Level.HIGH)]
        return [(low, high, level) for low, high, level in edges if high > low]

    def exceeds_peak(self, value: float) -> bool:
        """Whether a value exceeds the peak by more than its tolerance: 2 %, of queue lengths 10 %."""
        return value > self.peak * (_QUEUE_TOLERANCE if self.can_exceed_peak else _COUNTER_TOLERANCE)

    def zone_level(self, value: float | None) -> Level | None:
        """The level of the zone that a value lies in; None for a value beyond all zones."""
        level = self.level_of(value)
        return None if value is None or self.exceeds_peak(value) else level

    def level_of(self, value: float | None) -> Level | None:
        """The level of a value; None without a value, or if the thresholds cannot judge.

        Source of the edges: higher is better has 0 <= alert < caution < normal < peak, each edge belonging to the
        zone below it; lower is better has 0 < caution < alert < peak, each edge belonging to the zone above it.
        """
        if value is None or not math.isfinite(value) or not self.can_judge:
            return None
        if value < 0 or self.exceeds_peak(value):
            return Level.CAUTION if self.can_exceed_peak and value > 0 else Level.ARTEFACT
        if self.lower_is_better:
            return Level.ALERT if value >= self.alert else Level.CAUTION if value >= self.caution else Level.OK
        if value <= self.alert:
            return Level.ALERT
        if value <= self.caution:
            return Level.CAUTION
        return Level.HIGH if value > self.normal and self.normal < self.peak else Level.OK
