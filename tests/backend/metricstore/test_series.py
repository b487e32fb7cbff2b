import threading

import numpy as np
import pytest

from cc_backend.metricstore.model import Identity, Limits, MetricSpec, Part, Reason
from cc_backend.metricstore.series import SeriesTable
from cc_backend.metricstore.spellings import MAX_SPELLING_BYTES, refusal_code, refusal_reason
from cc_backend.metricstore.wirekeys import MAX_SPELLINGS_PER_SERIES

METRICS = {"demo": {"load": MetricSpec(60), "power": MetricSpec(30)}}


def table_with(limits: Limits = Limits()) -> SeriesTable:  # noqa: B008 frozen
    return SeriesTable(METRICS, limits, threading.RLock())


def host(number: int) -> Identity:
    return Identity("demo", f"n{number}", "load")


def test_several_spellings_of_a_key_lead_to_one_series() -> None:
    table = table_with()
    spellings = table.spellings("demo")
    sids = {
        spellings.find(key)
        for key in (
            b"load,cluster=demo,hostname=n1,type=node",
            b"load,hostname=n1,type=node,cluster=demo",
            b"load,hostname=n1",
            b"load,host=n1,unit=GB",
            b"load,hostname=n1,type=node,type-id=0",
        )
    }
    assert len(sids) == 1
    assert table.identity(sids.pop()) == host(1)
    table.validate()


def test_parts_of_a_host_are_series_of_their_own() -> None:
    spellings = table_with().spellings("demo")
    keys = (b"", b",type=core,type-id=1", b",type=core,type-id=2", b",stype=disk,stype-id=sda", b",stype=disk")
    assert len({spellings.find(b"load,hostname=n1" + key) for key in keys}) == 5


def test_batches_with_different_default_clusters_do_not_mix() -> None:
    table = SeriesTable({"a": METRICS["demo"], "b": METRICS["demo"]}, Limits(), threading.RLock())
    sids = [table.spellings(cluster).find(b"load,hostname=n1") for cluster in ("a", "b")]
    assert [table.identity(sid).cluster for sid in sids] == ["a", "b"]
    assert refusal_reason(table.spellings("").find(b"load,hostname=n1")) is Reason.NO_CLUSTER
    assert refusal_reason(table.spellings("c").find(b"load,hostname=n1")) is Reason.UNKNOWN_CLUSTER


def test_default_clusters_that_do_not_exist_share_one_table() -> None:
    table = table_with()
    assert table.spellings("x") is table.spellings("y")


def test_refusal_codes_are_negative_and_lead_back_to_the_reason() -> None:
    for reason in Reason:
        assert refusal_code(reason) < 0
        assert refusal_reason(refusal_code(reason)) is reason


def test_hosts_series_and_series_of_jobs_are_capped() -> None:
    table = table_with(Limits(hosts=2, series=3, job_series=1))
    assert [table.register(host(number)) for number in (1, 2, 1)] == [0, 1, 0]
    assert refusal_reason(table.register(host(3))) is Reason.HOST_LIMIT
    assert table.register(Identity("demo", "n1", "power")) == 2
    assert refusal_reason(table.register(Identity("demo", "n2", "power"))) is Reason.SERIES_LIMIT
    assert table.register(Identity("demo", "n1", "load", Part("job", "17"))) == 3
    assert refusal_reason(table.register(Identity("demo", "n1", "load", Part("job", "18")))) is Reason.SERIES_LIMIT
    table.validate()


def test_what_is_remembered_of_refused_keys_is_bounded() -> None:
    table = table_with(Limits(refused_spellings=10))
    spellings = table.spellings("demo")
    good = spellings.find(b"load,hostname=n1")
    for number in range(100):
        assert spellings.find(b"event_%d,hostname=n1" % number) < 0
    assert table.spelling_count <= 11
    assert spellings.find(b"load,hostname=n1") == good


def test_what_is_remembered_of_spellings_of_one_series_is_bounded() -> None:
    table = table_with()
    spellings = table.spellings("demo")
    for number in range(50):
        assert spellings.find(b"load,hostname=n1,x=%d" % number) == 0
    spellings.find(b"load,hostname=n1,y=" + b"y" * MAX_SPELLING_BYTES)
    assert table.spelling_count == MAX_SPELLINGS_PER_SERIES


def test_there_is_room_again_after_series_are_removed() -> None:
    table = table_with(Limits(hosts=1))
    spellings = table.spellings("demo")
    first = spellings.find(b"load,hostname=n1")
    assert spellings.find(b"load,hostname=n2") < 0
    table.remove(np.array([first]))
    table.validate()
    assert table.clusters == {}
    assert spellings.find(b"load,hostname=n2") == first
    table.validate()


def test_a_number_that_is_used_again_brings_nothing_of_the_old_series() -> None:
    table = table_with()
    sid = table.register(host(1))
    table.put(np.array([sid]), np.array([5], np.float32), 6000)
    table.remove(np.array([sid]))
    assert table.register(host(2)) == sid
    assert table.last_s[sid] == 0
    assert table.host_last_s[0] == 0
    assert np.isnan(table.grids[0].read(table.row_of[[sid]], 100, 1)).all()


def test_silent_series_are_those_without_a_sample_since_then_unless_their_host_is_protected() -> None:
    table = table_with()
    sids = np.array([table.register(host(number)) for number in range(3)])
    table.put(sids, np.ones(3, np.float32), np.array([100, 200, 300]))
    assert table.silent(250, {}).tolist() == [0, 1]
    assert table.silent(250, {"demo": {"n0": 0, "unheard-of": 0}, "elsewhere": {"n1": 0}}).tolist() == [1]


def test_the_newest_time_counts_whatever_the_order() -> None:
    table = table_with()
    sids = np.array([table.register(host(0)), table.register(Identity("demo", "n0", "power"))])
    table.put(sids[[0, 0, 1]], np.ones(3, np.float32), np.array([300, 100, 200]))
    table.put(sids[:1], np.ones(1, np.float32), 50)
    assert table.last_s[sids].tolist() == [300, 200]
    assert table.host_last_s[0] == 300


def test_many_series_are_registered_consistently() -> None:
    table = table_with()
    sids = [
        table.register(Identity("demo", f"n{node}", metric, Part("core", str(core))))
        for node in range(30)
        for metric in ("load", "power")
        for core in range(50)
    ]
    assert sids == list(range(3000))
    table.remove(np.array(sids[::3]))
    table.validate()
    assert len({table.register(host(number)) for number in range(1000, 2200)}) == 1200
    table.validate()


def test_after_a_reload_series_lie_on_the_grid_of_their_new_timestep() -> None:
    table = table_with()
    load, power = table.register(host(1)), table.register(Identity("demo", "n1", "power"))
    for time_s in range(0, 600, 60):
        table.put(np.array([load, power]), np.array([time_s, 1], np.float32), time_s)
    moved = table.reload({"demo": {"load": MetricSpec(120), "power": MetricSpec(30)}})
    assert moved == 1
    grid = table.grids[table.grid_index(120)]
    assert grid.read(table.row_of[[load]], 0, 5)[0].tolist() == [60, 180, 300, 420, 540]
    table.validate()


def test_after_a_reload_keys_are_looked_at_again() -> None:
    table = table_with()
    spellings = table.spellings("demo")
    assert spellings.find(b"event,hostname=n1") < 0
    assert spellings.find(b"load,hostname=n1") == 0
    table.reload({"demo": {"event": MetricSpec(60)}})
    assert table.spellings("demo").find(b"event,hostname=n1") == 1
    assert table.spellings("demo").find(b"load,hostname=n1") < 0
    table.validate()


def test_an_unknown_number_has_no_identity() -> None:
    table = table_with()
    sid = table.register(host(1))
    table.remove(np.array([sid]))
    with pytest.raises(LookupError):
        table.identity(sid)
