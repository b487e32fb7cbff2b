"""New series of a batch are registered together; whatever the batch, it leads to what one after the other leads to."""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import permutations
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cc_backend.errors import BackendError
from cc_backend.metricstore import Limits, MetricSpec, MetricStore
from cc_backend.metricstore.disk.wal.wal_format import encode_key
from cc_backend.metricstore.index import hosts, series_table
from cc_backend.metricstore.index.series_table import SeriesTable
from cc_backend.metricstore.ingest import key_resolver, new_keys
from cc_backend.metricstore.ingest.host_config import ClusterHosts, HostTable
from cc_backend.metricstore.ingest.native_reader import HAS_NATIVE
from cc_backend.metricstore.ingest.new_keys import NewKeys, NewSeries, SeriesKinds
from cc_backend.metricstore.model import HostPart, Identity, Int64Array

T0 = 1_790_000_040
METRICS = {
    "tern": {"load": MetricSpec(60), "flops": MetricSpec(60, "sum"), "power": MetricSpec(30), "lo,ad": MetricSpec(60)},
    "heron": {"load": MetricSpec(60), "mem": MetricSpec(60)},
}
LOAD_ONLY, NOT_IN_CLUSTER = {"load": MetricSpec(60)}, {"load": MetricSpec(60), "mem": MetricSpec(60)}
HOSTS: HostTable = {
    "tern": ClusterHosts({"n1": "cpu", "n2": "gpu"}, subcluster_metrics={"cpu": LOAD_ONLY, "gpu": NOT_IN_CLUSTER})
}

KERNELS = ["python", pytest.param("c", marks=pytest.mark.skipif(not HAS_NATIVE, reason="the C kernel was not built"))]

heads = st.sampled_from(
    [*[b"load"] * 4, *[b"flops"] * 2, *[b"mem"] * 2, b"power", b"nosuch", b"lo\\ad", b"\xff", b"lo\\,ad", b"load,ad"]
)
hostnames = st.sampled_from([*[b"n1"] * 3, *[b"n2"] * 3, b"n3", b"..", b"n\\ 4"])
clusters = st.sampled_from([b"", *[b",cluster=tern"] * 3, b",cluster=heron", b",cluster=gull"])
parts = st.sampled_from(
    [
        *(b"", b",type=node", b",unit=x", b",type=core,type-id=0", b",type=core,type-id=1", b",type-id=1,type=core"),
        *(b",type=job,type-id=7", b",type=job,type-id=8", b",type=core,type-id=1,unit=x", b",stype=disk,stype-id=sda"),
        *(b",x", b",y="),
    ]
)
ends = st.sampled_from([b" value=%d %d"] * 6 + [b" value=%d %d1", b" value=x%d %d", b" value=%d 1%d", b" valu=%d %d"])
lines = st.tuples(heads, clusters, hostnames, parts, st.integers(1, 9), st.integers(0, 2), ends)
batches = st.integers(0, 60).flatmap(lambda count: st.lists(lines, min_size=count, max_size=count))
limits = st.builds(
    Limits,
    hosts=st.sampled_from([1, 2, 100, 100]),
    unknown_hosts=st.sampled_from([0, 1, 100, 100]),
    strict_hosts=st.sampled_from([False, False, True]),
    series=st.sampled_from([3, 8, 1000, 1000, 1000]),
    host_series=st.sampled_from([2, 5, 1000]),
    job_series=st.sampled_from([1, 100]),
)


def batch_of(given: list[tuple[bytes, bytes, bytes, bytes, int, int, bytes]]) -> bytes:
    return b"".join(
        b"%b%b,hostname=%b%b" % (head, cluster, host, part) + end % (value, T0 + 60 * slot) + b"\n"
        for head, cluster, host, part, value, slot, end in given
    )


def one_by_one(table: SeriesTable, series: NewSeries) -> Int64Array:
    numbers = zip(series.host_of.tolist(), series.kind_of.tolist(), strict=True)
    return np.array([table.register(Identity(*series.hosts[host], *series.kinds[kind])) for host, kind in numbers])


@contextmanager
def without_batches() -> Iterator[None]:
    """Meanwhile each key is parsed and each series registered by itself."""
    with (
        patch.object(SeriesTable, "register_new", one_by_one),
        patch.object(NewKeys, "find", lambda keys, series: keys._keys.get(series)),
        patch.object(key_resolver.KeyResolver, "_remember_many", remembered_one_by_one),
    ):
        yield


def remembered_one_by_one(resolver: Any, cache: Any, keys: list[bytes], sids: Int64Array) -> None:
    for series, sid in zip(keys, sids.tolist(), strict=True):
        resolver._remember(cache, series, sid)


def outcome(store: MetricStore, batch: bytes, bound: tuple[str, ...], default_cluster: str) -> Any:
    """All that a batch leads to, and all that it leaves behind."""
    result: Any = None
    try:
        result = store.ingest(batch, received_s=T0, allowed_clusters=bound, default_cluster=default_cluster)
    except BackendError as error:
        result = repr(error)
    store.validate()
    table = store._table
    live = np.flatnonzero(table.columns.row_of >= 0)
    identities = {sid: table.identity(sid) for sid in live.tolist()}
    assert table.encoded_names(live, b"\0") == [encode_key(identity) for identity in identities.values()]
    samples = {
        identities[sid]: grid.read(table.columns.rows_of(live[where])[[at]], T0 // grid.timestep_s, 8).tolist()
        for grid, where in (table.columns.group_by_grid(live) if len(live) else [])
        for at, sid in enumerate(live[where].tolist())
    }
    cached = {
        scope: sorted(identities[sid] for sid in cache.sids().tolist()) for scope, cache in table.keys._caches.items()
    }
    counters = store.counters()
    by_series = sorted(
        (identity, int(table.columns.last_s[sid]), int(table.keys._keys_per_series[sid]))
        for sid, identity in identities.items()
    )
    counted = counters.hosts, counters.cached_keys, counters.unknown_hosts
    return result, repr(sorted(samples.items())), cached, by_series, counted


@pytest.mark.parametrize("kernel", KERNELS)
@settings(max_examples=100, deadline=None)
@given(
    given=st.lists(st.tuples(batches, st.sampled_from([(), ("tern",), ("heron", "tern")]), st.booleans()), max_size=3),
    limits=limits,
    with_hosts=st.booleans(),
    bounds=st.tuples(
        st.sampled_from([1, 2, 16]),
        st.sampled_from([0, 2048]),
        st.sampled_from([0, 20_000]),
        st.sampled_from([1, 2, 4]),
    ),
)
def test_a_batch_leads_to_what_its_keys_lead_to_one_by_one(
    kernel: Any,
    given: list[tuple[list[Any], tuple[str, ...], bool]],
    limits: Limits,
    with_hosts: bool,  # noqa: FBT001 a parameter
    bounds: tuple[int, int, int, int],
) -> None:
    min_bulk_keys, max_empty_places, max_kinds, max_keys = bounds
    table = HOSTS if with_hosts else None
    batched, single = (
        MetricStore.open(None, METRICS, now_s=T0, kernel=kernel, limits=limits, host_table=table) for _ in range(2)
    )
    for lines, bound, has_default in given:
        batch, default = batch_of(lines), "tern" if has_default else ""
        with (
            patch.object(series_table, "_MIN_BULK_KEYS", min_bulk_keys),
            patch.object(hosts, "_MAX_EMPTY_PLACES", max_empty_places),
            patch.object(key_resolver, "MAX_KINDS", max_kinds),
            patch.object(key_resolver, "MAX_KEYS_PER_SERIES", max_keys),
        ):
            found = outcome(batched, batch, bound, default)
            with without_batches():
                assert found == outcome(single, batch, bound, default)


@pytest.mark.parametrize("kernel", KERNELS)
def test_what_a_batch_leaves_behind_does_not_mislead_the_next_one(kernel: Any) -> None:
    """Numbers of kinds outlive a batch, but not a change of the configuration or the last host of a cluster."""
    store = MetricStore.open(None, METRICS, now_s=T0, kernel=kernel)
    text = b"".join(
        b"%b,cluster=tern,hostname=%%b,type=core,type-id=%d value=1 %%d\n" % (metric, core)
        for metric in (b"load", b"flops", b"power")
        for core in range(20)
    )

    def take(host: bytes, time_s: int) -> int:
        batch = text.replace(b"%b", host).replace(b"%d", b"%d" % time_s)
        accepted = store.ingest(batch, received_s=time_s).accepted
        store.validate()
        return accepted

    assert take(b"n1", T0) == take(b"n2", T0) == 60
    store.free(before_s=T0 + 10**6, holds={})
    assert store.clusters() == []
    assert take(b"n3", T0) == 60
    store.reload({"tern": {"load": MetricSpec(10), "power": MetricSpec(30)}})
    assert take(b"n4", T0) == 40
    assert {grid.timestep_s for grid in store._table.columns.grids if grid.rows} == {10, 30, 60}
    assert store.last_seen_s("tern", "n4") == T0


def test_tags_that_were_resolved_say_nothing_of_a_metric_that_is_not_kept_there() -> None:
    keys = NewKeys(SeriesKinds())
    load = Identity("tern", "n1", "load", HostPart("core", "0"))
    known = {"cluster_metrics": ("load", "flops", "mem", "lo,ad"), "host_metrics": ("load", "flops", "power", "lo,ad")}
    first = keys.add(b"load,a", load, **known)
    keys.add(b"flops,b", load._replace(metric="flops", host="n2"), **known)
    for metric in ("power", "mem"):
        keys.add(b"%b,b" % metric.encode(), load._replace(metric=metric, host="n2"), **known)
    keys.add(b"lo\\,ad,a", load._replace(metric="lo,ad"), **known)
    assert keys.find(b"load,a") == first
    assert keys.find(b"flops,a") == new_keys.FIRST_NEW_CODE + 5
    assert keys.find(b"power,a") is None
    assert keys.find(b"mem,a") is None
    assert keys.find(b"load,ad,a") is None
    assert keys.find(b"load,c") is None
    assert keys.find(b"flop,a") is None
    assert keys.find(b"load") is None
    codes = np.array([first, new_keys.FIRST_NEW_CODE + 5])
    series = keys.series(codes)
    assert [series.hosts[host] for host in series.host_of.tolist()] == [("tern", "n1")] * 2
    assert [series.kinds[kind] for kind in series.kind_of.tolist()] == [
        ("load", load.part),
        ("flops", load.part),
    ]
    texts, positions = keys.keys_of(codes)
    assert (texts, positions.tolist()) == ([b"load,a", b"flops,a"], [0, 1])


@pytest.mark.parametrize("kernel", KERNELS)
def test_of_a_node_whose_tags_another_node_had_one_key_is_parsed(kernel: Any) -> None:
    store = MetricStore.open(None, METRICS, now_s=T0, kernel=kernel)
    table = store._table

    def parsed(host: bytes, tags: bytes = b",type=core,type-id=%d,unit=x", **more: Any) -> int:
        batch = b"".join(
            b"%b,cluster=tern,hostname=%b%b value=1 %d\n" % (metric, host, tags % core if b"%" in tags else tags, T0)
            for metric in (b"load", b"flops")
            for core in range(4)
        )
        with patch.object(key_resolver, "parse_series", wraps=key_resolver.parse_series) as parse:
            store.ingest(batch, received_s=T0, **more)
        store.validate()
        return parse.call_count

    assert parsed(b"n1") == 5  # each part, and the second metric
    assert parsed(b"n2") == 1
    assert parsed(b"n3", b",type=core,type-id=%d") == 4
    assert parsed(b"n4", default_cluster="heron") == 4
    assert parsed(b"n5", default_cluster="heron") == 1
    (first, *others) = (sorted(host.sids().tolist()) for host in table.clusters["tern"].values())
    parts = [{table.identity(sid)[2:] for sid in sids} for sids in (first, *others)]
    assert all(part == parts[0] and len(part) == 8 for part in parts)


ODD_TAGS = (
    b",cluster=tern,hostname=n1",
    b",cluster=tern,hostname=n2",
    b",cluster=tern,hostname=n1,host=n2",
    b",cluster=tern,host=n2,host=n1",
    b",cluster=tern,hostname=n2,type=core,type-id=1",
    b",cluster=tern,hostname=n1,host=n2,type=core,type-id=1",
    b",cluster=heron,hostname=n1,type=core,type-id=1",
    b",hostname=n1,type=core,type-id=1",
    b",hostname=n2",
    b",cluster=tern,myhost=n1,hostname=n2",
    b",cluster=tern,hostname=n\\,1",
    b",cluster=tern,hostname=n\\,2",
)


@pytest.mark.parametrize("default", ["", "tern", "heron"])
def test_tags_of_another_host_are_read_as_the_parser_reads_them(default: str) -> None:
    for first, second in permutations(ODD_TAGS, 2):
        batched, single = (MetricStore.open(None, METRICS, now_s=T0) for _ in range(2))
        third = (b",cluster=tern,hostname=n3", first.replace(b"n1", b"n3"), second)
        for metric, several in ((b"load", (first,)), (b"flops", (second, first)), (b"load", third)):
            batch = b"".join(b"%b%b value=%d %d\n" % (metric, tags, at, T0) for at, tags in enumerate(several))
            found = outcome(batched, batch, (), default)
            with without_batches():
                assert found == outcome(single, batch, (), default)


@pytest.mark.parametrize("kernel", KERNELS)
def test_too_many_new_keys_end_a_batch_also_where_their_tags_are_known(kernel: Any) -> None:
    store = MetricStore.open(None, METRICS, now_s=T0, kernel=kernel)
    batch = b"".join(
        b"%b,cluster=tern,hostname=n%d value=1 %d\n" % (metric, host, T0)
        for metric in (b"load", b"flops")
        for host in range(6)
    )
    with patch.object(new_keys, "MAX_NEW_KEYS", 11), pytest.raises(BackendError, match="more than 11"):
        store.ingest(batch, received_s=T0)
    assert store.clusters() == []
    with patch.object(new_keys, "MAX_NEW_KEYS", 12):
        assert store.ingest(batch, received_s=T0).accepted == 12
    assert store.counters().series == 12
