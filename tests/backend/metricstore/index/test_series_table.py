import gc
import random
import threading
import tracemalloc
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_backend.metricstore.disk.key_reader import KeyReader
from cc_backend.metricstore.disk.wal.wal_format import decode_key, encode_key
from cc_backend.metricstore.index import hosts, series_table
from cc_backend.metricstore.index.bulk_keys import BulkKeys
from cc_backend.metricstore.index.series_table import JOB_SILENCE_S, SeriesTable
from cc_backend.metricstore.ingest.host_config import ClusterHosts
from cc_backend.metricstore.ingest.key_cache import MAX_CACHED_KEY_BYTES, rejection_code, rejection_reason
from cc_backend.metricstore.ingest.key_resolver import MAX_KEYS_PER_SERIES
from cc_backend.metricstore.model import HostPart, Identity, Int64Array, Limits, MetricSpec, MetricTable, RejectReason

METRICS = {"demo": {"load": MetricSpec(60), "power": MetricSpec(30)}}


def table_with(limits: Limits = Limits()) -> SeriesTable:  # noqa: B008 frozen
    return SeriesTable(METRICS, limits, threading.RLock())


def host(number: int) -> Identity:
    return Identity("demo", f"n{number}", "load")


def test_several_keys_lead_to_one_series() -> None:
    table = table_with()
    cache = table.keys.cache_for("demo")
    sids = {
        cache.find(key)
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
    cache = table_with().keys.cache_for("demo")
    keys = (b"", b",type=core,type-id=1", b",type=core,type-id=2", b",stype=disk,stype-id=sda", b",stype=disk")
    assert len({cache.find(b"load,hostname=n1" + key) for key in keys}) == 5


def test_batches_with_different_default_clusters_do_not_mix() -> None:
    table = SeriesTable({"a": METRICS["demo"], "b": METRICS["demo"]}, Limits(), threading.RLock())
    sids = [table.keys.cache_for(cluster).find(b"load,hostname=n1") for cluster in ("a", "b")]
    assert [table.identity(sid).cluster for sid in sids] == ["a", "b"]
    assert rejection_reason(table.keys.cache_for("").find(b"load,hostname=n1")) is RejectReason.NO_CLUSTER
    assert rejection_reason(table.keys.cache_for("c").find(b"load,hostname=n1")) is RejectReason.UNKNOWN_CLUSTER


def test_default_clusters_that_do_not_exist_share_one_table() -> None:
    table = table_with()
    assert table.keys.cache_for("x") is table.keys.cache_for("y")


def test_what_is_remembered_can_be_counted_while_a_new_default_cluster_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches hold another lock than those who ask how the store is doing."""
    table = table_with()
    for name in ("demo", ""):
        table.keys.cache_for(name)
    kind = type(table.keys.cache_for("demo"))
    real = kind.__len__

    def counted(cache: Any) -> int:
        table.keys.cache_for("other")
        return real(cache)

    monkeypatch.setattr(kind, "__len__", counted)
    assert len(table.keys) == 0


def test_refusal_codes_are_negative_and_lead_back_to_the_reason() -> None:
    for reason in RejectReason:
        assert rejection_code(reason) < 0
        assert rejection_reason(rejection_code(reason)) is reason


def test_hosts_series_and_series_of_jobs_are_capped() -> None:
    table = table_with(Limits(hosts=2, series=3, job_series=1))
    assert [table.register(host(number)) for number in (1, 2, 1)] == [0, 1, 0]
    assert rejection_reason(table.register(host(3))) is RejectReason.HOST_LIMIT
    assert table.register(Identity("demo", "n1", "power")) == 2
    assert rejection_reason(table.register(Identity("demo", "n2", "power"))) is RejectReason.SERIES_LIMIT
    assert table.register(Identity("demo", "n1", "load", HostPart("job", "17"))) == 3
    assert (
        rejection_reason(table.register(Identity("demo", "n1", "load", HostPart("job", "18"))))
        is RejectReason.SERIES_LIMIT
    )
    table.validate()


def test_of_rejected_keys_a_bounded_number_is_cached() -> None:
    table = table_with(Limits(rejected_keys=10))
    cache = table.keys.cache_for("demo")
    good = cache.find(b"load,hostname=n1")
    for number in range(100):
        assert cache.find(b"event_%d,hostname=n1" % number) < 0
    assert len(table.keys) <= 11
    assert cache.find(b"load,hostname=n1") == good


def test_of_one_series_a_bounded_number_of_keys_is_cached() -> None:
    table = table_with()
    cache = table.keys.cache_for("demo")
    for number in range(50):
        assert cache.find(b"load,hostname=n1,x=%d" % number) == 0
    cache.find(b"load,hostname=n1,y=" + b"y" * MAX_CACHED_KEY_BYTES)
    assert len(table.keys) == MAX_KEYS_PER_SERIES


def test_there_is_room_again_after_series_are_removed() -> None:
    table = table_with(Limits(hosts=1))
    cache = table.keys.cache_for("demo")
    first = cache.find(b"load,hostname=n1")
    assert cache.find(b"load,hostname=n2") < 0
    table.remove(np.array([first]))
    table.validate()
    assert table.clusters == {}
    assert cache.find(b"load,hostname=n2") == first
    table.validate()


def test_a_number_that_is_used_again_brings_nothing_of_the_old_series() -> None:
    table = table_with()
    sid = table.register(host(1))
    table.columns.store_samples(np.array([sid]), np.array([5], np.float32), 6000)
    table.remove(np.array([sid]))
    assert table.register(host(2)) == sid
    assert table.columns.last_s[sid] == 0
    assert table.columns.host_last_s[0] == 0
    assert np.isnan(table.columns.grids[0].read(table.columns.rows_of(np.array([sid])), 100, 1)).all()


def test_silent_series_are_those_without_a_sample_since_then_unless_their_host_is_protected() -> None:
    table = table_with()
    sids = np.array([table.register(host(number)) for number in range(3)])
    table.columns.store_samples(sids, np.ones(3, np.float32), np.array([100, 200, 300]))
    assert table.find_silent(250, {}).tolist() == [0, 1]
    assert table.find_silent(250, {"demo": {"n0": 0, "unheard-of": 0}, "elsewhere": {"n1": 0}}).tolist() == [1]


def test_the_newest_time_counts_whatever_the_order() -> None:
    table = table_with()
    sids = np.array([table.register(host(0)), table.register(Identity("demo", "n0", "power"))])
    table.columns.store_samples(sids[[0, 0, 1]], np.ones(3, np.float32), np.array([300, 100, 200]))
    table.columns.store_samples(sids[:1], np.ones(1, np.float32), 50)
    assert table.columns.last_s[sids].tolist() == [300, 200]
    assert table.columns.host_last_s[0] == 300


def test_many_series_are_registered_consistently() -> None:
    table = table_with()
    sids = [
        table.register(Identity("demo", f"n{node}", metric, HostPart("core", str(core))))
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
        table.columns.store_samples(np.array([load, power]), np.array([time_s, 1], np.float32), time_s)
    moved = table.reload({"demo": {"load": MetricSpec(120), "power": MetricSpec(30)}})
    assert moved == 1
    grid = table.columns.grids[table.columns.grid_index(120)]
    assert grid.read(table.columns.rows_of(np.array([load])), 0, 5)[0].tolist() == [60, 180, 300, 420, 540]
    table.validate()


def test_after_a_reload_keys_are_looked_at_again() -> None:
    table = table_with()
    cache = table.keys.cache_for("demo")
    assert cache.find(b"event,hostname=n1") < 0
    assert cache.find(b"load,hostname=n1") == 0
    table.reload({"demo": {"event": MetricSpec(60)}})
    assert table.keys.cache_for("demo").find(b"event,hostname=n1") == 1
    assert table.keys.cache_for("demo").find(b"load,hostname=n1") < 0
    table.validate()


def test_an_unknown_number_has_no_identity() -> None:
    table = table_with()
    sid = table.register(host(1))
    table.remove(np.array([sid]))
    with pytest.raises(LookupError):
        table.identity(sid)


def parts_of_a_node(metrics: int, threads: int) -> list[tuple[str, HostPart]]:
    return [(f"m{metric}", HostPart("hwthread", str(thread))) for metric in range(metrics) for thread in range(threads)]


def of_many_hosts(hosts: int, parts: list[tuple[str, HostPart]]) -> list[Identity]:
    return [Identity("demo", f"node{number:04d}", metric, part) for number in range(hosts) for metric, part in parts]


def metrics_of(count: int, timestep_s: int = 60) -> MetricTable:
    return {"demo": {f"m{number}": MetricSpec(timestep_s) for number in range(count)}}


def keys_of(identities: Sequence[Identity | None], reader: KeyReader | None = None) -> BulkKeys:
    return (reader or KeyReader()).read([b"x" if identity is None else encode_key(identity) for identity in identities])


class TestManyAtOnce:
    def test_they_get_the_numbers_that_each_alone_would_get(self) -> None:
        identities = [host(1), host(2), host(1), Identity("demo", "n1", "power"), Identity("demo", "n1", "unheard-of")]
        alone, together = table_with(), table_with()
        assert together.register_many(identities).tolist() == [alone.register(one) for one in identities]
        assert together.register_many(identities).tolist() == [0, 1, 0, 2, rejection_code(RejectReason.UNKNOWN_METRIC)]
        assert [together.identity(sid) for sid in range(3)] == [alone.identity(sid) for sid in range(3)]
        together.validate()

    def test_none_at_all_are_none(self) -> None:
        assert table_with().register_many([]).tolist() == []

    def test_limits_hold(self) -> None:
        table = table_with(Limits(series=2))
        limit = rejection_code(RejectReason.SERIES_LIMIT)
        assert table.register_many([host(number) for number in range(4)]).tolist() == [0, 1, limit, limit]
        table.validate()

    def test_series_of_a_host_lie_side_by_side(self) -> None:
        table = SeriesTable(metrics_of(2), Limits(), threading.RLock())
        identities = of_many_hosts(3, parts_of_a_node(2, 40))
        sids = table.register_many(identities[::2] + identities[1::2])
        rows = table.columns.rows_of(sids)
        hosts = table.columns.host_of[sids]
        assert all(np.ptp(rows[hosts == number]) < 2 * 80 for number in range(3))

    def test_a_cluster_that_is_not_configured_is_refused(self) -> None:
        unknown = rejection_code(RejectReason.UNKNOWN_CLUSTER)
        assert table_with().register_many([Identity("nowhere", "n1", "load")]).tolist() == [unknown]


class TestOldRows:
    def test_new_series_get_the_rows_they_had(self) -> None:
        table = table_with()
        sids = table.register_keys(keys_of([host(1), host(2), host(3)]), 60, np.array([500, 3, 77]))
        assert table.columns.rows_of(sids).tolist() == [500, 3, 77]
        assert table.register_many([host(2)]).tolist() == [sids[1]]
        table.validate()
        others = table.register_many([Identity("demo", f"x{number}", "load") for number in range(600)])
        assert not set(table.columns.rows_of(others).tolist()) & {500, 3, 77}
        table.validate()

    def test_a_row_that_is_taken_a_series_that_is_known_and_another_timestep_lie_where_they_lie(self) -> None:
        table = table_with()
        known = table.register(host(1))
        row = int(table.columns.row_of[known])
        identities = [host(1), host(2), Identity("demo", "n3", "power"), host(4), host(5)]
        sids = table.register_keys(keys_of(identities), 60, np.array([row + 9, row, 900, 901, 901]))
        assert sids[0] == known
        rows = table.columns.rows_of(sids).tolist()
        assert rows[0] == row
        assert rows[1] != row
        assert rows[2] != 900
        assert rows[3] == 901
        assert rows[4] != 901
        assert table.columns.grids[table.columns.grid_of[sids[2]]].timestep_s == 30
        table.validate()

    def test_rows_that_no_grid_can_have_are_not_taken(self) -> None:
        table = table_with(Limits(series=10, job_series=10))
        sids = table.register_keys(keys_of([host(1), host(2), host(3)]), 60, np.array([-1, 10**9, -5]))
        assert (table.columns.rows_of(sids) < 100).all()
        table.validate()

    def test_what_is_not_configured_any_more_is_refused(self) -> None:
        sids = table_with().register_keys(keys_of([Identity("demo", "n1", "gone"), host(1)]), 60, np.array([0, 1]))
        assert sids.tolist() == [rejection_code(RejectReason.UNKNOWN_METRIC), 0]


NODE = [("load", HostPart())] + [(metric, HostPart("core", str(n))) for metric in ("load", "power") for n in range(20)]


def of_node(name: str, kinds: Sequence[tuple[str, HostPart]] = NODE) -> list[Identity]:
    return [Identity("demo", name, metric, part) for metric, part in kinds]


class TestKeysOfWholeHosts:
    """Hosts with the series of another one are registered at once, and nobody can tell."""

    def test_they_get_what_each_alone_would_get(self) -> None:
        table = table_with()
        identities = [one for number in range(5) for one in of_node(f"n{number}")]
        sids = table.register_keys(keys_of(identities))
        assert sorted(sids.tolist()) == list(range(len(identities)))
        assert [table.identity(sid) for sid in sids.tolist()] == identities
        assert table.register_many(identities).tolist() == sids.tolist()
        table.validate()

    def test_rows_they_had_are_theirs_though_hosts_take_turns(self) -> None:
        table = SeriesTable(metrics_of(1), Limits(), threading.RLock())
        parts = parts_of_a_node(1, 40)
        identities = of_many_hosts(3, parts)
        mixed = identities[::3] + identities[1::3] + identities[2::3]
        sids = table.register_keys(keys_of(mixed), 60, np.arange(len(mixed)) + 7)
        assert table.columns.rows_of(sids).tolist() == list(range(7, 7 + len(mixed)))
        assert [table.identity(sid) for sid in sids.tolist()] == mixed
        table.validate()

    def test_a_metric_of_another_timestep_lies_on_its_own_grid(self) -> None:
        table = table_with()
        table.register_keys(keys_of(of_node("n1")), 60, np.arange(len(NODE)))
        sids = table.register_keys(keys_of(of_node("n2")), 60, np.arange(len(NODE)) + 100)
        there = [table.columns.grids[grid].timestep_s == 60 for grid in table.columns.grid_of[sids].tolist()]
        assert there == [metric == "load" for metric, _ in NODE]
        assert table.columns.rows_of(sids)[there].tolist() == (np.arange(len(NODE)) + 100)[there].tolist()
        table.validate()

    def test_keys_that_cannot_be_read_or_are_none_are_refused(self) -> None:
        table = table_with()
        table.register_keys(keys_of(of_node("n1")))
        reader = KeyReader()
        keys = [encode_key(identity) for identity in of_node("n2")]
        sids = table.register_keys(reader.read([b"", *keys[:20], b"demo\0n2\0", *keys[20:], b""]))
        syntax = rejection_code(RejectReason.SYNTAX)
        assert (sids[[0, 21, -1]] == syntax).all()
        assert np.count_nonzero(sids < 0) == 3
        assert table.register_keys(reader.read([b"", b"x"])).tolist() == [syntax, syntax]
        assert table.register_keys(reader.read([])).tolist() == []
        table.validate()

    def test_numbers_that_are_free_are_given_again_and_bring_nothing_of_the_old_series(self) -> None:
        table = table_with()
        table.register_keys(keys_of(of_node("n1")))
        old = table.register_keys(keys_of(of_node("n2", NODE[:30])))
        table.columns.store_samples(old, np.ones(30, np.float32), 6000)
        table.remove(old)
        sids = table.register_keys(keys_of(of_node("n3")))
        assert set(old.tolist()) < set(sids.tolist())
        assert not table.columns.last_s[sids].any()
        assert [table.identity(sid) for sid in sids.tolist()] == of_node("n3")
        table.validate()

    @pytest.mark.parametrize("number", [25, 60])  # 25 need room for just one more than there is
    def test_the_table_grows_with_them(self, number: int) -> None:
        table = table_with()
        identities = [one for node in range(number) for one in of_node(f"n{node}")]
        assert (table.register_keys(keys_of(identities)) >= 0).all()
        table.validate()

    @pytest.mark.parametrize(
        "limits",
        [
            Limits(series=len(NODE) + 50),
            Limits(hosts=2),
            Limits(unknown_hosts=2),
            Limits(job_series=2),
            Limits(host_series=30),
        ],
        ids=["series", "hosts", "unlisted", "jobs", "host"],
    )
    def test_limits_meet_those_that_come_last(self, limits: Limits) -> None:
        nodes = {"demo": ClusterHosts({})}
        quick, plain = (SeriesTable(METRICS, limits, threading.RLock(), nodes) for _ in range(2))
        reader = KeyReader()
        keys_of([*of_node("n3"), *of_node("n2"), *of_node("n1")], reader)  # numbers them in another order
        jobs = [("load", HostPart("job", str(number))) for number in range(2)]
        for identities in (of_node("n0"), [*of_node("n1", NODE + jobs), *of_node("n2", NODE + jobs), *of_node("n3")]):
            expected = [plain.register(one) for one in identities]
            sids = quick.register_keys(keys_of(identities, reader))
            assert (sids < 0).tolist() == [sid < 0 for sid in expected]
            assert sids[sids < 0].tolist() == [sid for sid in expected if sid < 0]
            quick.validate()
        assert min(expected) < 0

    def test_a_host_keeps_apart_what_stands_far_behind_and_finds_it_again(self) -> None:
        table = SeriesTable(metrics_of(1), Limits(), threading.RLock())
        crowded = of_many_hosts(1, parts_of_a_node(1, 3000))
        table.register_keys(keys_of(crowded))
        few = [one._replace(host="small") for one in crowded[-30:]]
        more = [one._replace(host="small") for one in crowded[:1000]] + few
        reader = KeyReader()
        apart = table.register_keys(keys_of(few, reader))
        small = table.host("demo", "small")
        assert small is not None
        assert small.has_unplaced_series
        sids = table.register_keys(keys_of(more, reader))
        assert sids[-30:].tolist() == apart.tolist()
        assert small.count == len(more)
        table.validate()

    def test_a_reader_may_know_more_than_the_table_keeps(self) -> None:
        table, reader = table_with(), KeyReader()
        sids = table.register_keys(keys_of(of_node("n1"), reader))
        table.remove(sids)
        others = of_node("n9", NODE[::-1])
        table.register_keys(keys_of(others, KeyReader()))  # gives places and numbers of parts to other series
        again = table.register_keys(keys_of(of_node("n1"), reader))
        assert [table.identity(sid) for sid in again.tolist()] == of_node("n1")
        table.validate()


CLUSTERS = {
    "demo": {"load": MetricSpec(60), "power": MetricSpec(30)},
    "other": {"load": MetricSpec(60)},
}
NODES = {
    "demo": ClusterHosts(
        {"n1": "", "n2": "", "n3": "small", "n4": "quick"},
        subcluster_metrics={
            "small": {"power": MetricSpec(30)},
            "quick": {"load": MetricSpec(10), "power": MetricSpec(60)},
        },
    )
}
PARTS = [HostPart(), *(HostPart("core", str(n)) for n in range(4)), *(HostPart("job", str(n)) for n in range(2))]
KINDS = [(metric, part) for metric in ("load", "power", "gone") for part in PARTS]


LIMITS = [
    *[Limits()] * 4,
    *(Limits(series=number) for number in (10, 60)),
    *(Limits(host_series=number) for number in (3, 14)),
    *(Limits(hosts=number, unknown_hosts=2) for number in (2, 4)),
    Limits(unknown_hosts=1),
    Limits(job_series=5),
]


@st.composite
def keys_of_hosts(draw: st.DrawFn) -> list[Identity | None]:
    """Stretches of keys of one host, some in the order of others, with keys twice and keys that cannot be read."""
    found: list[Identity | None] = []
    for _ in range(draw(st.integers(1, 6))):
        cluster = draw(st.sampled_from(["demo", "demo", "demo", "other", "nowhere"]))
        name = draw(st.sampled_from(["n1", "n2", "n3", "n4", "n5"]))
        kinds = draw(st.just(KINDS) | st.just(KINDS[:7]) | st.lists(st.sampled_from(KINDS), max_size=12))
        found += [Identity(cluster, name, *kind) for kind in kinds]
        found += [None] * draw(st.integers(0, 1))
    return found


def outcome(table: SeriesTable, sids: Int64Array) -> list[Identity | int]:
    return [table.identity(sid) if sid >= 0 else sid for sid in sids.tolist()]


def numbers(table: SeriesTable) -> tuple[int, ...]:
    return table.series_count, table.job_count, table.host_count, table.unknown_host_count


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(keys_of_hosts(), st.integers(0, 40), st.randoms(use_true_random=False)), min_size=1, max_size=4),
    st.sampled_from(LIMITS),
    st.sampled_from([2, 6, 2048]),
)
def test_hosts_at_once_end_as_one_by_one(
    calls: list[tuple[list[Identity | None], int, random.Random]], limits: Limits, room: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hosts, "_MAX_EMPTY_PLACES", room)
        plain, quick, slow = (SeriesTable(CLUSTERS, limits, threading.RLock(), NODES) for _ in range(3))
        reader, other_reader = KeyReader(), KeyReader()
        for number, (identities, distance, chance) in enumerate(calls):
            rows = np.array([chance.randrange(-1, len(identities) + distance) for _ in identities], np.int64)
            patch.setattr(series_table, "_MIN_BULK_KEYS", 2)
            sids = quick.register_keys(keys_of(identities, reader), 60, rows)
            patch.setattr(series_table, "_MIN_BULK_KEYS", 10**9)
            slow_sids = slow.register_keys(keys_of(identities, other_reader), 60, rows)
            syntax = rejection_code(RejectReason.SYNTAX)
            expected = [syntax if one is None else plain.register(one) for one in identities]
            assert outcome(quick, sids) == outcome(plain, np.array(expected, np.int64))
            assert outcome(slow, slow_sids) == outcome(quick, sids)
            for table in (quick, slow):
                assert numbers(table) == numbers(plain)
                table.validate()
            if not number:
                assert having(quick, sids, rows) == having(slow, slow_sids, rows), "those that got their rows"
            gone = chance.sample(identities, chance.randrange(len(identities) + 1) if chance.random() < 0.5 else 0)
            for table in (plain, quick, slow):
                table.remove(
                    np.array(sorted({sid for one in gone if one and (sid := find(table, one)) >= 0}), np.int64)
                )
                table.validate()


def find(table: SeriesTable, identity: Identity) -> int:
    known = table.host(identity.cluster, identity.host)
    return -1 if known is None else known.find(identity.metric, identity.part)


def having(table: SeriesTable, sids: Int64Array, rows: Int64Array) -> set[tuple[Identity, int]]:
    """The series that are in the grid and the row that they were to get."""
    kept = np.flatnonzero((sids >= 0) & (rows >= 0))
    there = [at for at in kept.tolist() if table.columns.grids[table.columns.grid_of[sids[at]]].timestep_s == 60]
    return {
        (table.identity(int(sids[at])), int(rows[at])) for at in there if table.columns.row_of[sids[at]] == rows[at]
    }


@given(st.data())
def test_whatever_comes_and_goes_the_table_agrees_with_itself(data: st.DataObject) -> None:
    table = table_with(Limits(hosts=4, series=12, job_series=4))
    expected: dict[Identity, int] = {}
    identities = st.builds(
        Identity,
        st.just("demo"),
        st.sampled_from(["n1", "n2", "n3", "n4", "n5"]),
        st.sampled_from(["load", "power", "unheard-of"]),
        st.sampled_from(
            [HostPart(), HostPart("core", "1"), HostPart("core", "2"), HostPart("job", "1"), HostPart("job", "2")]
        ),
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
        assert table.series_count + table.job_count == len(expected)


@pytest.mark.parametrize(
    ("hosts", "parts"),
    [
        (20, parts_of_a_node(10, 72)),
        (1000, [(f"m{number}", HostPart()) for number in range(20)]),
        (4, [("m0", HostPart("job", str(number))) for number in range(3000)]),
    ],
    ids=["threads", "nodes", "jobs"],
)
def test_the_bytes_it_says_it_takes_are_those_it_takes(hosts: int, parts: list[tuple[str, HostPart]]) -> None:
    identities = of_many_hosts(hosts, parts)
    table_with().register_many([host(1)])  # what is imported on the first use is not the table's
    gc.collect()
    tracemalloc.start()
    table = SeriesTable(metrics_of(20), Limits(), threading.RLock())
    for begin in range(0, len(identities), 1024):
        # as they come from a file: texts of their own
        portion = identities[begin : begin + 1024]
        table.register_many([decode_key(encode_key(identity)) or identity for identity in portion])
    gc.collect()
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    grids = sum(grid.size_bytes for grid in table.columns.grids)
    assert table.size_bytes + grids == pytest.approx(taken, rel=0.15)


def test_a_series_of_a_node_takes_less_than_60_bytes() -> None:
    table = SeriesTable(metrics_of(10), Limits(), threading.RLock())
    count = len(table.register_many(of_many_hosts(100, parts_of_a_node(10, 72))))
    assert table.size_bytes / count < 60


def test_bytes_are_given_back_when_series_go() -> None:
    table = SeriesTable(metrics_of(10), Limits(), threading.RLock())
    jobs = [Identity("demo", "n1", "m0", HostPart("job", f"{number:020d}")) for number in range(1000)]
    table.register(Identity("demo", "n1", "m0"))
    before = table.size_bytes
    sids = table.register_many(jobs)
    assert table.size_bytes > before + 1000 * 60
    table.remove(sids)
    assert table.size_bytes < before + 60_000
    table.validate()


def test_one_host_alone_cannot_take_all_places() -> None:
    table = table_with(Limits(host_series=3))
    flood = [Identity("demo", "n1", "load", HostPart("device", str(number))) for number in range(10)]
    jobs = [Identity("demo", "n1", "load", HostPart("job", str(number))) for number in range(10)]
    assert (table.register_many(jobs) >= 0).all()
    assert np.count_nonzero(table.register_many(flood) >= 0) == 3
    assert (table.register_many([host(2), host(3)]) >= 0).all()
    table.remove(table.register_many(flood[:1]))
    assert table.register(flood[9]) >= 0
    table.validate()


class TestSeriesOfJobs:
    def test_a_flood_of_them_leaves_room_for_nodes(self) -> None:
        table = table_with(Limits(series=100, job_series=50))
        flood = [Identity("demo", "n1", "load", HostPart("job", str(number))) for number in range(200)]
        assert np.count_nonzero(table.register_many(flood) >= 0) == 50
        assert (table.register_many([host(number) for number in range(100)]) >= 0).all()
        assert table.job_count == 50
        table.validate()

    def test_they_are_forgotten_with_their_last_sample_like_all_others(self) -> None:
        table = table_with(Limits(job_series=10))
        sids = table.register_many(
            [Identity("demo", "n1", "load", HostPart("job", str(number))) for number in range(3)]
        )
        table.columns.store_samples(sids, np.ones(3, np.float32), np.array([1000, 50_000, 90_000]))
        assert table.find_silent(20_000, {}).tolist() == [sids[0]]

    def test_those_long_silent_make_room_when_there_are_many(self) -> None:
        table = table_with(Limits(job_series=10))
        sids = table.register_many(
            [Identity("demo", "n1", "load", HostPart("job", str(number))) for number in range(10)]
        )
        node = table.register(host(1))
        limit = rejection_code(RejectReason.SERIES_LIMIT)
        fresh = Identity("demo", "n1", "load", HostPart("job", "fresh"))
        assert table.register(fresh) == limit
        times_s = np.array([100_000 - 1000 * number for number in range(10)])
        table.columns.store_samples(sids, np.ones(10, np.float32), times_s)
        table.columns.store_samples(np.array([node]), np.ones(1, np.float32), 90_000)
        silent = table.find_silent(20_000, {})
        assert silent.tolist() == sids[times_s < 100_000 - JOB_SILENCE_S].tolist()
        table.remove(silent)
        assert table.register(fresh) >= 0
        assert table.register(host(1)) == node
        table.validate()

    def test_those_that_are_needed_stay(self) -> None:
        table = table_with(Limits(job_series=2))
        sids = table.register_many(
            [Identity("demo", "n1", "load", HostPart("job", str(number))) for number in range(2)]
        )
        table.columns.store_samples(sids, np.ones(2, np.float32), np.array([50_000, 60_000]))
        table.columns.store_samples(np.array([table.register(host(2))]), np.ones(1, np.float32), 100_000)
        assert table.find_silent(20_000, {"demo": {"n1": 55_000}}).tolist() == [sids[0]]
        assert table.find_silent(20_000, {"demo": {"n1": 10_000}}).tolist() == []


def test_what_was_silent_before_a_job_began_is_not_kept_for_it() -> None:
    table = table_with()
    sids = table.register_many([host(1), Identity("demo", "n1", "power")])
    table.columns.store_samples(sids, np.ones(2, np.float32), np.array([100, 300]))
    assert table.find_silent(1000, {"demo": {"n1": 200}}).tolist() == [sids[0]]
    assert table.find_silent(200, {"demo": {"n1": 1000}}).tolist() == [sids[0]]


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


class TestWhereInTheirSlotsSamplesLie:
    """Senders keep to their rhythm: from the newest samples it is known where in its slot each one lies."""

    def sent(self, times_s: list[int], *, hosts: int = 1) -> tuple[SeriesTable, Int64Array]:
        table = table_with()
        sids = table.register_many(host(number) for number in range(hosts))
        for time_s in times_s:
            table.columns.store_samples(sids, np.ones(hosts, np.float32), time_s)
        return table, sids

    @pytest.mark.parametrize(
        ("times_s", "offset_s"),
        [
            ([50], 50),
            ([50, 110, 170], 50),
            ([0, 60, 120], 0),
            ([50, 109, 171], 51),  # a sender that is a second early or late
            ([0, 10, 20], 50),  # several in a slot: the last one stays
            ([3, 18], 48),
            ([0, 30, 60], 30),
            ([0, 300, 600], 0),  # more seldom than the slots
            ([50, 110, 50], 50),  # what comes late changes nothing
            ([], -1),
        ],
    )
    def test_it_is_that_of_the_sample_which_stays_in_the_slot(self, times_s: list[int], offset_s: int) -> None:
        table, sids = self.sent([6_000_000 + time_s for time_s in times_s])
        assert table.columns.slot_offsets(sids, 60).tolist() == [offset_s]

    def test_large_batches_are_looked_at_now_and_then(self) -> None:
        table, sids = self.sent([6_000_000 + 10 * tick for tick in range(200)], hosts=100)
        assert table.columns.slot_offsets(sids, 60).tolist() == [50] * 100

    @pytest.mark.parametrize("senders", [16, 17, 64, 1000])
    def test_none_of_many_senders_in_turn_is_hidden(self, senders: int) -> None:
        table = table_with()
        seen = {turn % senders for turn in range(senders * 300) if table.columns._is_spacing_due()}
        assert len(seen) == senders

    def test_a_series_that_takes_the_place_of_another_knows_nothing(self) -> None:
        table, sids = self.sent([6_000_050])
        table.remove(sids)
        (again,) = table.register_many([host(7)]).tolist()
        assert again == sids[0]
        assert table.columns.slot_offsets(np.array([again]), 60).tolist() == [-1]
