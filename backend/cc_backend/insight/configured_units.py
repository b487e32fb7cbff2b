"""Converts samples to the units of the configuration: an archive may be older than the thresholds."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from cc_backend.clusters.model import MetricConfig
from cc_backend.model import JobData, JobMetric, MetricUnit
from cc_common.errors import UnitError
from cc_common.units import convert, unit_from_object


def conversion_factor(source: MetricUnit, target: MetricUnit) -> float:
    """The factor from `source` to `target`; 1 if the units cannot be converted."""
    if source == target or not source.base:
        return 1.0
    try:
        return convert(1.0, unit_from_object(source.base, source.prefix), unit_from_object(target.base, target.prefix))
    except UnitError:
        return 1.0


def convert_to_configured_units(data: JobData, metrics: Mapping[str, MetricConfig]) -> JobData:
    """The samples, each metric in the unit of its configuration; metrics without a configuration are left out."""
    return {
        name: {scope: _convert(metric, metrics[name].unit) for scope, metric in by_scope.items()}
        for name, by_scope in data.items()
        if name in metrics
    }


def _convert(metric: JobMetric, unit: MetricUnit) -> JobMetric:
    factor = conversion_factor(metric.unit, unit)
    if factor == 1.0:
        return metric if metric.unit == unit else replace(metric, unit=unit)
    series = [replace(row, data=(row.data * np.float32(factor)), statistics=None) for row in metric.series]
    return replace(metric, unit=unit, series=series, statistics_series=None)
