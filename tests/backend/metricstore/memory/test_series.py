import gc
import threading
import tracemalloc
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.metricstore.disk.walformat import identity_of, key_of
from cc_backend.metricstore.lines.spellings import MAX_SPELLING_BYTES, refusal_code, refusal_reason
from cc_backend.metricstore.lines.wirekeys import MAX_SPELLINGS_PER_SERIES
from cc_backend.metricstore.memory.series import JOB_SILENCE_S, SeriesTable
from cc_backend.metricstore.model import Identity, Limits, MetricSpec, MetricTable, Part, Reason

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


def test_what_is_remembered_can_be_counted_while_a_new_default_cluster_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches hold another lock than those who ask how the store is doing."""
    table = table_with()
    for name in ("demo", ""):
        table.spellings(name)
    kind = type(table.spellings("demo"))
    real = kind.__len__

    def counted(spellings: Any) -> int:
        table.spellings("other")
        return real(spellings)

    monkeypatch.setattr(kind, "__len__", counted)
    assert table.spelling_count == 0


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
    assert np.isnan(table.grids[0].read(table.rows(np.array([sid])), 100, 1)).all()


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
    assert grid.read(table.rows(np.array([load])), 0, 5)[0].tolist() == [60, 180, 300, 420, 540]
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


def parts_of_a_node(metrics: int, threads: int) -> list[tuple[str, Part]]:
    return [(f"m{metric}", Part("hwthread", str(thread))) for metric in range(metrics) for thread in range(threads)]


def of_many_hosts(hosts: int, parts: list[tuple[str, Part]]) -> list[Identity]:
    return [Identity("demo", f"node{number:04d}", metric, part) for number in range(hosts) for metric, part in parts]


def metrics_of(count: int, timestep_s: int = 60) -> MetricTable:
    return {"demo": {f"m{number}": MetricSpec(timestep_s) for number in range(count)}}


class TestManyAtOnce:
    def test_they_get_the_numbers_that_each_alone_would_get(self) -> None:
        identities = [host(1), host(2), host(1), Identity("demo", "n1", "power"), Identity("demo", "n1", "unheard-of")]
        alone, together = table_with(), table_with()
        assert together.register_many(identities).tolist() == [alone.register(one) for one in identities]
        assert together.register_many(identities).tolist() == [0, 1, 0, 2, refusal_code(Reason.UNKNOWN_METRIC)]
        assert [together.identity(sid) for sid in range(3)] == [alone.identity(sid) for sid in range(3)]
        together.validate()

    def test_none_at_all_are_none(self) -> None:
        assert table_with().register_many([]).tolist() == []

    def test_limits_hold(self) -> None:
        table = table_with(Limits(series=2))
        limit = refusal_code(Reason.SERIES_LIMIT)
        assert table.register_many([host(number) for number in range(4)]).tolist() == [0, 1, limit, limit]
        table.validate()

    def test_series_of_a_host_lie_side_by_side(self) -> None:
        table = SeriesTable(metrics_of(2), Limits(), threading.RLock())
        identities = of_many_hosts(3, parts_of_a_node(2, 40))
        sids = table.register_many(identities[::2] + identities[1::2])
        rows = table.rows(sids)
        hosts = table.host_of[sids]
        assert all(np.ptp(rows[hosts == number]) < 2 * 80 for number in range(3))

    def test_a_cluster_that_is_not_configured_is_refused(self) -> None:
        unknown = refusal_code(Reason.UNKNOWN_CLUSTER)
        assert table_with().register_many([Identity("nowhere", "n1", "load")]).tolist() == [unknown]


class TestOldRows:
    def test_new_series_get_the_rows_they_had(self) -> None:
        table = table_with()
        sids = table.register_at([host(1), host(2), host(3)], 60, [500, 3, 77])
        assert table.rows(sids).tolist() == [500, 3, 77]
        assert table.register_many([host(2)]).tolist() == [sids[1]]
        table.validate()
        others = table.register_many([Identity("demo", f"x{number}", "load") for number in range(600)])
        assert not set(table.rows(others).tolist()) & {500, 3, 77}
        table.validate()

    def test_a_row_that_is_taken_a_series_that_is_known_and_another_timestep_lie_where_they_lie(self) -> None:
        table = table_with()
        known = table.register(host(1))
        row = int(table.row_of[known])
        identities = [host(1), host(2), Identity("demo", "n3", "power"), host(4), host(5)]
        sids = table.register_at(identities, 60, [row + 9, row, 900, 901, 901])
        assert sids[0] == known
        rows = table.rows(sids).tolist()
        assert rows[0] == row
        assert rows[1] != row
        assert rows[2] != 900
        assert rows[3] == 901
        assert rows[4] != 901
        assert table.grids[table.grid_of[sids[2]]].timestep_s == 30
        table.validate()

    def test_rows_that_no_grid_can_have_are_not_taken(self) -> None:
        table = table_with(Limits(series=10, job_series=10))
        sids = table.register_at([host(1), host(2)], 60, [-1, 10**9])
        assert (table.rows(sids) < 100).all()
        table.validate()

    def test_what_is_not_configured_any_more_is_refused(self) -> None:
        sids = table_with().register_at([Identity("demo", "n1", "gone"), host(1)], 60, [0, 1])
        assert sids.tolist() == [refusal_code(Reason.UNKNOWN_METRIC), 0]


@given(st.data())
def test_whatever_comes_and_goes_the_table_agrees_with_itself(data: st.DataObject) -> None:
    table = table_with(Limits(hosts=4, series=12, job_series=4))
    expected: dict[Identity, int] = {}
    identities = st.builds(
        Identity,
        st.just("demo"),
        st.sampled_from(["n1", "n2", "n3", "n4", "n5"]),
        st.sampled_from(["load", "power", "unheard-of"]),
        st.sampled_from([Part(), Part("core", "1"), Part("core", "2"), Part("job", "1"), Part("job", "2")]),
    )
    for _ in range(data.draw(st.integers(1, 8))):
        removing: bool = data.draw(st.booleans())
        if removing and expected:
            gone = data.draw(st.lists(st.sampled_from(sorted(expected)), unique=True))
            table.remove(np.array([expected.pop(identity) for identity in gone], np.int64))
        else:
            batch = data.draw(st.lists(identities, max_size=6))
            sids = table.register_many(batch).tolist()
            expected.update({one: sid for one, sid in zip(batch, sids, strict=True) if sid >= 0})
        table.validate()
        assert {table.identity(sid): sid for sid in expected.values()} == expected
        assert table.count + table.job_count == len(expected)


@pytest.mark.parametrize(
    ("hosts", "parts"),
    [
        (20, parts_of_a_node(10, 72)),
        (1000, [(f"m{number}", Part()) for number in range(20)]),
        (4, [("m0", Part("job", str(number))) for number in range(3000)]),
    ],
    ids=["threads", "nodes", "jobs"],
)
def test_the_bytes_it_says_it_takes_are_those_it_takes(hosts: int, parts: list[tuple[str, Part]]) -> None:
    identities = of_many_hosts(hosts, parts)
    table_with().register_many([host(1)])  # what is imported on the first use is not the table's
    gc.collect()
    tracemalloc.start()
    table = SeriesTable(metrics_of(20), Limits(), threading.RLock())
    for begin in range(0, len(identities), 1024):
        # as they come from a file: texts of their own
        portion = identities[begin : begin + 1024]
        table.register_many([identity_of(key_of(identity)) or identity for identity in portion])
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    grids = sum(grid.size_bytes for grid in table.grids)
    assert table.size_bytes + grids == pytest.approx(taken, rel=0.15)


def test_a_series_of_a_node_takes_less_than_60_bytes() -> None:
    table = SeriesTable(metrics_of(10), Limits(), threading.RLock())
    count = len(table.register_many(of_many_hosts(100, parts_of_a_node(10, 72))))
    assert table.size_bytes / count < 60


def test_bytes_are_given_back_when_series_go() -> None:
    table = SeriesTable(metrics_of(10), Limits(), threading.RLock())
    jobs = [Identity("demo", "n1", "m0", Part("job", f"{number:020d}")) for number in range(1000)]
    table.register(Identity("demo", "n1", "m0"))
    before = table.size_bytes
    sids = table.register_many(jobs)
    assert table.size_bytes > before + 1000 * 60
    table.remove(sids)
    assert table.size_bytes < before + 60_000
    table.validate()


def test_one_host_alone_cannot_take_all_places() -> None:
    table = table_with(Limits(host_series=3))
    flood = [Identity("demo", "n1", "load", Part("device", str(number))) for number in range(10)]
    jobs = [Identity("demo", "n1", "load", Part("job", str(number))) for number in range(10)]
    assert (table.register_many(jobs) >= 0).all()
    assert np.count_nonzero(table.register_many(flood) >= 0) == 3
    assert (table.register_many([host(2), host(3)]) >= 0).all()
    table.remove(table.register_many(flood[:1]))
    assert table.register(flood[9]) >= 0
    table.validate()


class TestSeriesOfJobs:
    def test_a_flood_of_them_leaves_room_for_nodes(self) -> None:
        table = table_with(Limits(series=100, job_series=50))
        flood = [Identity("demo", "n1", "load", Part("job", str(number))) for number in range(200)]
        assert np.count_nonzero(table.register_many(flood) >= 0) == 50
        assert (table.register_many([host(number) for number in range(100)]) >= 0).all()
        assert table.job_count == 50
        table.validate()

    def test_they_are_forgotten_with_their_last_sample_like_all_others(self) -> None:
        table = table_with(Limits(job_series=10))
        sids = table.register_many([Identity("demo", "n1", "load", Part("job", str(number))) for number in range(3)])
        table.put(sids, np.ones(3, np.float32), np.array([1000, 50_000, 90_000]))
        assert table.silent(20_000, {}).tolist() == [sids[0]]

    def test_those_long_silent_make_room_when_there_are_many(self) -> None:
        table = table_with(Limits(job_series=10))
        sids = table.register_many([Identity("demo", "n1", "load", Part("job", str(number))) for number in range(10)])
        node = table.register(host(1))
        limit = refusal_code(Reason.SERIES_LIMIT)
        fresh = Identity("demo", "n1", "load", Part("job", "fresh"))
        assert table.register(fresh) == limit
        times_s = np.array([100_000 - 1000 * number for number in range(10)])
        table.put(sids, np.ones(10, np.float32), times_s)
        table.put(np.array([node]), np.ones(1, np.float32), 90_000)
        silent = table.silent(20_000, {})
        assert silent.tolist() == sids[times_s < 100_000 - JOB_SILENCE_S].tolist()
        table.remove(silent)
        assert table.register(fresh) >= 0
        assert table.register(host(1)) == node
        table.validate()

    def test_those_that_are_needed_stay(self) -> None:
        table = table_with(Limits(job_series=2))
        sids = table.register_many([Identity("demo", "n1", "load", Part("job", str(number))) for number in range(2)])
        table.put(sids, np.ones(2, np.float32), np.array([50_000, 60_000]))
        table.put(np.array([table.register(host(2))]), np.ones(1, np.float32), 100_000)
        assert table.silent(20_000, {"demo": {"n1": 55_000}}).tolist() == [sids[0]]
        assert table.silent(20_000, {"demo": {"n1": 10_000}}).tolist() == []


def test_what_was_silent_before_a_job_began_is_not_kept_for_it() -> None:
    table = table_with()
    sids = table.register_many([host(1), Identity("demo", "n1", "power")])
    table.put(sids, np.ones(2, np.float32), np.array([100, 300]))
    assert table.silent(1000, {"demo": {"n1": 200}}).tolist() == [sids[0]]
    assert table.silent(200, {"demo": {"n1": 1000}}).tolist() == [sids[0]]


def test_changes_and_removals_are_counted() -> None:
    table = table_with()
    seen = [(table.changes, table.removals)]
    sids = table.register_many([host(1), host(2)])
    seen.append((table.changes, table.removals))
    table.register_many([host(1), host(2)])
    assert (table.changes, table.removals) == seen[-1]
    table.reload({"demo": {"load": MetricSpec(10)}})
    seen.append((table.changes, table.removals))
    table.remove(sids[:1])
    seen.append((table.changes, table.removals))
    assert [changes > before for (before, _), (changes, _) in pairwise(seen)] == [True, True, True]
    assert [removals for _, removals in seen] == [0, 0, 0, 1]
