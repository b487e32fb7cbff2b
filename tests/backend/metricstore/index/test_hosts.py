import numpy as np
import pytest

from cc_backend.metricstore.index.hosts import Host, can_place
from cc_backend.metricstore.index.layout import HostLayout
from cc_backend.metricstore.model import HostPart, MetricSpec

SPECS = {"load": MetricSpec(60), "power": MetricSpec(30)}
CORES = [HostPart("core", str(number)) for number in range(4)]


def host_of(layout: HostLayout, number: int = 0) -> Host:
    return Host(number, "demo", f"n{number}", layout=layout, specs=SPECS, is_configured=True)


def test_a_host_knows_its_series_by_metric_and_part() -> None:
    host = host_of(HostLayout())
    for sid, part in enumerate(CORES, start=10):
        host.add("load", part, sid)
    host.add("power", HostPart(), 7)
    assert host.metrics["load"] == dict(zip(CORES, range(10, 14), strict=True))
    assert host.metrics["power"] == {HostPart(): 7}
    assert list(host.metrics) == ["load", "power"]
    assert len(host.metrics) == 2
    assert host.metrics.get("energy") is None
    assert "energy" not in host.metrics
    assert host.find("load", CORES[1]) == 11
    assert host.find("load", HostPart()) == host.find("energy", HostPart()) == -1
    assert sorted(host.sids().tolist()) == [7, 10, 11, 12, 13]
    assert host.count == 5


def test_hosts_of_one_layout_do_not_see_series_of_each_other() -> None:
    layout = HostLayout()
    first, second = host_of(layout, 1), host_of(layout, 2)
    for sid, part in enumerate(CORES):
        first.add("load", part, sid)
    second.add("load", CORES[3], 9)
    second.add("power", HostPart(), 8)
    assert second.metrics["load"] == {CORES[3]: 9}
    assert second.find("load", CORES[0]) == -1
    assert first.metrics.get("power") is None
    assert list(first.metrics) == ["load"]
    assert second.sids().tolist() == [9, 8]
    assert second.count == 2


def test_a_host_whose_series_stand_far_behind_those_of_others_keeps_them_apart() -> None:
    layout = HostLayout()
    crowded, small = host_of(layout, 1), host_of(layout, 2)
    for number in range(5000):
        crowded.add("load", HostPart("core", str(number)), number)
    small.add("load", HostPart("core", "4999"), 6000)
    small.add("power", HostPart(), 6001)
    assert small.metrics["load"] == {HostPart("core", "4999"): 6000}
    assert small.metrics["power"] == {HostPart(): 6001}
    assert small.find("load", HostPart("core", "4999")) == 6000
    assert sorted(small.sids().tolist()) == [6000, 6001]
    assert small.size_bytes < 2000
    assert crowded.size_bytes > 20_000
    small.remove("load", HostPart("core", "4999"))
    assert small.metrics.get("load") is None
    assert small.count == 1


def test_series_of_jobs_take_no_place_in_the_layout() -> None:
    layout = HostLayout()
    host = host_of(layout)
    for number in range(100):
        host.add("load", HostPart("job", str(number)), number)
    host.add("load", HostPart(), 100)
    assert layout.user_count() == 1
    assert host.metrics["load"][HostPart("job", "42")] == 42
    assert host.metrics["load"][HostPart()] == 100
    assert host.job_sids() == list(range(100))
    assert (host.count, host.job_count) == (101, 100)
    host.remove("load", HostPart("job", "42"))
    host.remove("load", HostPart())
    assert (host.count, host.job_count) == (99, 99)


@pytest.mark.parametrize("part", [HostPart("core", "2"), HostPart("job", "2")])
def test_what_was_removed_is_gone_and_can_come_again(part: HostPart) -> None:
    layout = HostLayout()
    host = host_of(layout)
    host.add("load", part, 5)
    host.remove("load", part)
    assert host.find("load", part) == -1
    assert dict(host.metrics) == {}
    assert host.sids().dtype == np.int64
    assert not len(host.sids())
    assert layout.user_count() == 0
    host.add("load", part, 6)
    assert host.find("load", part) == 6
    with pytest.raises(LookupError):
        host.remove("power", part)


def test_many_series_come_at_once_where_others_have_them() -> None:
    layout = HostLayout()
    first, second = host_of(layout, 1), host_of(layout, 2)
    for sid, part in enumerate(CORES):
        first.add("load", part, sid)
    assert second.find_many(np.array([0, 2])).tolist() == [-1, -1]
    second.add("load", CORES[1], 11)
    second.add_many(np.array([3, 0]), np.array([13, 10]))
    assert second.metrics["load"] == {CORES[0]: 10, CORES[1]: 11, CORES[3]: 13}
    assert second.find_many(np.array([3, 2, -1, 1, 9, 0])).tolist() == [13, -1, -1, 11, -1, 10]
    assert second.count == 3
    assert layout.user_count() == 7
    for part in (CORES[0], CORES[1], CORES[3]):
        second.remove("load", part)
        first.remove("load", part)
    assert layout.user_count() == 1
    assert layout.place_of("load", CORES[3]) == -1


@pytest.mark.parametrize(("jobs", "others"), [(0, 0), (3, 0), (0, 1), (3, 1)])
def test_a_host_says_whether_it_keeps_series_outside_the_layout(jobs: int, others: int) -> None:
    layout = HostLayout()
    crowded, host = host_of(layout, 1), host_of(layout, 2)
    for number in range(5000):
        crowded.add("load", HostPart("core", str(number)), number)
    host.add("load", HostPart("core", "0"), 5000)
    for number in range(jobs):
        host.add("load", HostPart("job", str(number)), 5001 + number)
    for number in range(others):
        host.add("load", HostPart("core", str(4000 + number)), 6000 + number)
    assert host.has_unplaced_series == (others > 0)


@pytest.mark.parametrize("count", [0, 10])
def test_a_host_may_take_the_places_that_it_takes_one_by_one(count: int) -> None:
    layout = HostLayout()
    crowded = host_of(layout, 1)
    for number in range(4000):
        crowded.add("load", HostPart("core", str(number)), number)
    near, far = count, 2048 + 2 * count
    for places in ([far + 1], [far + 2], [near, far + 3], [near, far + 4], [far + 3, near]):
        host = host_of(layout, 2)
        for number in range(count):
            host.add("load", HostPart("core", str(number)), 5000 + number)
        assert not host.has_unplaced_series
        expected = can_place(count, np.array(places))
        for place in places:
            host.add("load", HostPart("core", str(place)), 6000 + place)
        assert host.has_unplaced_series != expected
