from collections.abc import Callable, Mapping

import pytest

from cc_backend.clusters import SubCluster
from cc_backend.insight.configured_units import in_configured_units, unit_factor
from cc_backend.model import JobData, Scope, Unit


@pytest.mark.parametrize(
    ("source", "target", "factor"),
    [
        (Unit("B/s", "M"), Unit("B/s", "G"), 1e-3),
        (Unit("F/s", "G"), Unit("Flops/s", "G"), 1),
        (Unit(""), Unit("B/s", "G"), 1),
        (Unit("B", "G"), Unit("W"), 1),
        (Unit("strange", "G"), Unit("strange", "M"), 1000),
        (Unit("B", "?"), Unit("B", "G"), 1),
    ],
)
def test_the_factor_between_two_units(source: Unit, target: Unit, factor: float) -> None:
    assert unit_factor(source, target) == pytest.approx(factor)


def test_old_samples_come_in_the_unit_of_the_thresholds(
    make_data: Callable[..., JobData], tarn: Mapping[str, SubCluster]
) -> None:
    data = make_data(mem_bw={"tn0001": [80_000.0]}, unheard={"tn0001": [1.0]})
    data["mem_bw"][Scope.NODE].unit = Unit("B/s", "M")
    found = in_configured_units(data, tarn["main"].metrics)
    assert found["mem_bw"][Scope.NODE].series[0].data.tolist() == [80]
    assert found["mem_bw"][Scope.NODE].unit == Unit("B/s", "G")
    assert "unheard" not in found
