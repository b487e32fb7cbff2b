from collections.abc import Mapping

import pytest

from cc_agent.collectors.base import Collector, MetricDescription, RawSeries, Reading, Tick
from cc_agent.derived import DerivedMetrics, derived_descriptions

NODE = {"type": "node"}


class _Named:
    """A collector of which only the name matters."""

    metrics: tuple[MetricDescription, ...] = ()

    def __init__(self, name: str) -> None:
        self.name = name

    def open(self) -> None: ...

    def read(self, _tick: Tick) -> list[Reading]:
        return []

    def close(self) -> None: ...


def _derive(values: Mapping[str, float], *collectors: str, absent: tuple[str, ...] = ()) -> dict[str, float]:
    made: list[Collector] = [_Named(name) for name in collectors]
    readings: list[Reading] = [(RawSeries(name, NODE, {}), value) for name, value in values.items()]
    sent = DerivedMetrics(made).extend(readings, absent)
    names = [series.metric for series, _ in sent]
    assert len(set(names)) == len(names)
    assert all(series.tags == NODE for series, _ in sent)
    return {series.metric: value for series, value in sent if series.metric not in values or series.metric == "net_bw"}


INFINIBAND = {"ib_recv_bw": 10.0, "ib_xmit_bw": 20.0, "ib_recv_pkts_bw": 1.0, "ib_xmit_pkts_bw": 2.0}


def test_the_fast_network_has_the_names_of_the_job_schema_and_is_the_network() -> None:
    assert _derive({**INFINIBAND, "net_bw": 500.0}, "ibstat", "netstat") == {
        "ic_read_bw": 10.0,
        "ic_write_bw": 20.0,
        "ic_rcv_packets": 1.0,
        "ic_send_packets": 2.0,
        "net_bw": 30.0,
    }


def test_what_goes_over_roce_adds_to_what_goes_through_the_kernel() -> None:
    roce = {"roce_recv_bw": 10.0, "roce_xmit_bw": 20.0}
    assert _derive({**INFINIBAND, **roce, "net_bw": 500.0}, "ibstat", "netstat")["net_bw"] == 530.0
    assert "net_bw" not in _derive({**INFINIBAND, **roce}, "ibstat", "netstat")
    assert _derive({**INFINIBAND, **roce}, "ibstat")["net_bw"] == 30.0


def test_without_a_fast_network_the_network_is_what_netstat_says() -> None:
    assert _derive({"net_bw": 500.0}, "netstat") == {"net_bw": 500.0}
    assert _derive({"net_bw": 500.0}, "ibstat", "netstat", absent=("ibstat",)) == {"net_bw": 500.0}


def test_the_network_does_not_change_its_meaning_while_the_fast_one_is_silent() -> None:
    assert _derive({"net_bw": 500.0}, "ibstat", "netstat") == {}


FILES = {"lustre_read_bw": 1.0, "lustre_write_bw": 2.0, "nfsio_nfsread_bw": 4.0, "nfsio_nfswrite_bw": 8.0}
DISKS = {"disk_read_bw": 16.0, "disk_write_bw": 32.0}


def test_file_bandwidth_is_the_sum_over_the_file_systems_of_this_machine() -> None:
    collectors = ("lustrestat", "nfsiostat", "iostat", "gpfs")
    assert _derive({**FILES, **DISKS}, *collectors, absent=("gpfs",)) == {"file_bw": 63.0}
    assert _derive(DISKS, "iostat") == {"file_bw": 48.0}


def test_a_part_that_is_missing_at_this_tick_leaves_the_sum_out() -> None:
    assert _derive(DISKS, "lustrestat", "iostat") == {}
    assert _derive({**DISKS, "lustre_read_bw": 1.0}, "lustrestat", "iostat") == {}


def test_without_any_part_there_is_no_sum() -> None:
    assert _derive({"cpu_user": 1.0}, "cpustat") == {}
    assert _derive({}, "iostat", absent=("iostat",)) == {}


def test_values_of_single_devices_are_not_added() -> None:
    readings: list[Reading] = [(RawSeries(name, NODE, {}), value) for name, value in DISKS.items()]
    readings.append((RawSeries("disk_read_bw", {**NODE, "stype": "disk", "stype-id": "sda"}, {}), 16.0))
    derived = DerivedMetrics([_Named("iostat")]).extend(readings, ())
    assert [value for series, value in derived if series.metric == "file_bw"] == [48.0]


def test_series_are_made_once() -> None:
    derived = DerivedMetrics([_Named("iostat")])
    readings: list[Reading] = [(RawSeries(name, NODE, {}), value) for name, value in DISKS.items()]
    first, second = (derived.extend(list(readings), ())[-1][0] for _ in range(2))
    assert first is second


@pytest.mark.parametrize(
    ("available", "names"),
    [
        ({"iostat": ["disk_read_bw", "disk_write_bw"]}, {"file_bw"}),
        ({"iostat": ["disk_read_bw"]}, set()),
        ({"netstat": ["net_bw"]}, set()),
        ({"ibstat": ["ib_recv_bw", "ib_xmit_bw"]}, {"ic_read_bw", "ic_write_bw", "net_bw"}),
        ({"lustrestat": ["lustre_open_diff"], "iostat": ["disk_read_bw", "disk_write_bw"]}, set()),
    ],
)
def test_a_machine_is_described_with_what_it_will_send(available: dict[str, list[str]], names: set[str]) -> None:
    described = derived_descriptions(available)
    assert {metric.name for metric, _ in described} == names
    assert all(set(collectors) <= available.keys() for _, collectors in described)
