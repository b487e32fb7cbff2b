from collections.abc import Callable, Mapping

import pytest

from cc_backend.clusters import SubCluster
from cc_backend.insight.configured_units import conversion_factor, convert_to_configured_units
from cc_backend.model import JobData, MetricUnit, Scope


@pytest.mark.parametrize(
    ("source", "target", "factor"),
    [
        (MetricUnit("B/s", "M"), MetricUnit("B/s", "G"), 1e-3),
        (MetricUnit("F/s", "G"), MetricUnit("Flops/s", "G"), 1),
        (MetricUnit(""), MetricUnit("B/s", "G"), 1),
        (MetricUnit("B", "G"), MetricUnit("W"), 1),
        (MetricUnit("strange", "G"), MetricUnit("strange", "M"), 1000),
        (MetricUnit("B", "?"), MetricUnit("B", "G"), 1),
    ],
)
def test_the_factor_between_two_units(source: MetricUnit, target: MetricUnit, factor: float) -> None:
    assert conversion_factor(source, target) == pytest.approx(factor)


def test_old_samples_come_in_the_unit_of_the_thresholds(
    make_data: Callable[..., JobData], tarn: Mapping[str, SubCluster]
) -> None:
    data = make_data(mem_bw={"tn0001": [80_000.0]}, unheard={"tn0001": [1.0]})
    data["mem_bw"][Scope.NODE].unit = MetricUnit("B/s", "M")
    found = convert_to_configured_units(data, tarn["main"].metrics)
    assert found["mem_bw"][Scope.NODE].series[0].data.tolist() == [80]
    assert found["mem_bw"][Scope.NODE].unit == MetricUnit("B/s", "G")
    assert "unheard" not in found
