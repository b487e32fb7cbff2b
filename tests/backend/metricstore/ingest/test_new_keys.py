"""Batches whose lines are refused leave nothing behind, and a sender that is bound to clusters reaches no other one."""

from collections.abc import Collection
from typing import Any

import pytest

from cc_backend.errors import NotAllowed, TooLarge
from cc_backend.metricstore import Limits, MetricSpec, MetricStore, Query
from cc_backend.metricstore.ingest import key_resolver, new_keys
from cc_backend.metricstore.ingest.batch import MAX_BATCH_LINES, MAX_SLOW_LINES
from cc_backend.metricstore.ingest.native_reader import HAS_NATIVE

METRICS = {
    "tern": {"load": MetricSpec(60, "avg"), "flops": MetricSpec(60, "sum")},
    "heron": {"load": MetricSpec(60, "avg")},
}
T0 = 1_790_000_040
OWN = b"load,cluster=tern,hostname=n1 value=1 %d\n" % T0

KERNELS = ["python", pytest.param("c", marks=pytest.mark.skipif(not HAS_NATIVE, reason="the C kernel was not built"))]


@pytest.fixture(params=KERNELS)
def store(request: pytest.FixtureRequest) -> MetricStore:
    return opened(kernel=request.param)


def opened(**more: Any) -> MetricStore:
    return MetricStore.open(None, METRICS, now_s=T0, **more)


def ingest(store: MetricStore, batch: bytes, bound: Collection[str] = ()) -> Any:
    return store.ingest(batch, received_s=T0, allowed_clusters=bound)


def held(store: MetricStore) -> tuple[int, int, int, list[str]]:
    counters = store.counters()
    store.validate()
    return counters.hosts, counters.series, counters.cached_keys, store.clusters()


NOTHING = (0, 0, 0, [])


@pytest.mark.parametrize(
    "rest",
    [
        b"value=1 12x",
        b"value=x %d" % T0,
        b"value=1x %d" % T0,
        b'value="text" %d' % T0,
        b"value= %d" % T0,
        b"val=1 %d" % T0,
        b"value=1 %d 1" % T0,
        b"value=1e39 %d" % T0,
        b"value=nan %d" % T0,
        b"value=1 12",
        b"value=1 -5",
        b"value=1 %d" % (T0 + 10_000),
        b"value=1 99999999999999999999",
        b"",
    ],
)
@pytest.mark.parametrize("key", [b"load,cluster=tern,hostname=ghost", b"load,cluster=tern,hostname=gh\\ ost"])
def test_a_line_that_is_refused_leaves_no_host_no_series_and_no_key(
    store: MetricStore, key: bytes, rest: bytes
) -> None:
    result = ingest(store, key + b" " + rest + b"\n")
    assert (result.accepted, result.faulty_lines) == (0, 1)
    assert held(store) == NOTHING


def test_many_refused_hosts_take_no_places_of_others(store: MetricStore) -> None:
    bad = b"".join(b"load,cluster=tern,hostname=ghost%d value=1 12x\n" % number for number in range(2000))
    assert ingest(store, bad).faulty_lines == 2000
    assert held(store) == NOTHING


def test_of_a_new_key_with_good_and_bad_lines_the_good_ones_are_kept(store: MetricStore) -> None:
    lines = [
        b"value=1 %d" % T0,
        b"value=2 12",
        b"value=x %d" % T0,
        b"value=3 %d" % (T0 + 60),
        b"value=4 %d" % (T0 + 60),
    ]
    result = ingest(store, b"".join(b"load,cluster=tern,hostname=n1 %b\n" % line for line in lines))
    assert (result.accepted, result.rejected) == (3, {"too_old": 1, "syntax": 1})
    (row,) = store.query("tern", [Query("load", "n1")], from_s=T0, to_s=T0 + 120)[0]
    assert row.data.tolist() == [1, 4]
    assert held(store) == (1, 1, 1, ["tern"])


def test_two_keys_of_a_series_in_one_batch_lead_to_one_series(store: MetricStore) -> None:
    result = ingest(
        store,
        b"load,cluster=tern,hostname=n1 value=1 %d\nload,hostname=n1,cluster=tern value=2 %d\n" % (T0, T0 + 60),
    )
    assert result.accepted == 2
    assert held(store) == (1, 1, 2, ["tern"])
    again = ingest(store, b"load,hostname=n1,cluster=tern value=3 %d\n" % (T0 + 120))
    assert again.accepted == 1
    assert held(store) == (1, 1, 2, ["tern"])


def test_hosts_of_two_clusters_with_one_name_have_the_metrics_of_their_own_cluster(store: MetricStore) -> None:
    result = ingest(
        store,
        b"load,cluster=heron,hostname=n1 value=1 %d\nload,cluster=tern,hostname=n1 value=2 %d\n" % (T0, T0)
        + b"load,cluster=heron,hostname=n2 value=3 %d\nload,cluster=tern,hostname=n2 value=4 %d\n" % (T0, T0)
        + b"flops,cluster=tern,hostname=n2 value=5 %d\nflops,cluster=heron,hostname=n1 value=6 %d\n" % (T0, T0),
    )
    assert result.accepted == 5  # heron has no flops
    assert held(store)[:2] == (4, 5)
    for cluster, host, value in (("heron", "n1", 1), ("tern", "n1", 2), ("heron", "n2", 3), ("tern", "n2", 4)):
        (row,) = store.query(cluster, [Query("load", host)], from_s=T0, to_s=T0 + 60)[0]
        assert row.data.tolist() == [value]


@pytest.mark.parametrize("kernel", KERNELS)
def test_hosts_beyond_the_limit_are_counted_and_the_others_kept(kernel: str) -> None:
    store = opened(kernel=kernel, limits=Limits(hosts=2))
    batch = b"".join(b"load,cluster=tern,hostname=n%d value=%d %d\n" % (n % 4, n, T0 + 60 * (n // 4)) for n in range(8))
    for _ in range(2):
        result = ingest(store, batch)
        assert (result.accepted, result.rejected, result.errors) == (4, {"host_limit": 4}, ())
        assert store.hosts("tern") == ["n0", "n1"]
    store.validate()


@pytest.mark.parametrize(
    "line",
    [
        b"load,cluster=heron,hostname=h1 value=1 %d" % T0,
        b"load,hostname=h1,cluster=heron value=1 %d" % T0,
        b"load,cluster=heron,hostname=h1 value=1",
        b"load,cluster=heron,hostname=h1 value=1 12x",
        b"load,cluster=heron,hostname=h1 value=x",
        b"load,cluster=heron,hostname=h1 value=1 12",
        b"load,cluster=heron,hostname=h1 value=1e39 %d" % T0,
        b"load,cluster=heron value=1 %d" % T0,
        b"nosuch,cluster=heron,hostname=h1 value=1 %d" % T0,
        b"load,cluster=tern,hostname=n1,cluster=heron value=1 %d" % T0,
        b"load,cluster=tern2,hostname=n1 value=1 %d" % T0,
        b"load,cluster=Tern,hostname=n1 value=1 %d" % T0,
        b"load,cluster=tern\\,x,hostname=n1 value=1 %d" % T0,
        b"load,cluster=tern\\ x,hostname=n1 value=1 %d" % T0,
        b"load,cluster=heron,hostname=a\\,cluster\\=tern\\,b value=1 %d" % T0,
        b"  load,cluster=heron,hostname=h1 value=1 %d  \r" % T0,
        b"load,cluster=heron,hostname=" + b"x" * 300 + b" value=1 %d" % T0,
    ],
)
def test_a_line_of_another_cluster_ends_a_bound_batch_and_nothing_of_it_is_kept(
    store: MetricStore, line: bytes
) -> None:
    with pytest.raises(NotAllowed, match="not for cluster"):
        ingest(store, OWN + line + b"\n" + OWN, bound=("tern",))
    assert held(store) == NOTHING


def test_what_others_send_does_not_open_their_cluster_to_a_bound_sender(store: MetricStore) -> None:
    theirs = b"load,cluster=heron,hostname=h1 value=%d %d\n"
    assert ingest(store, theirs % (1, T0)).accepted == 1
    before = held(store)
    for host in (b"h1", b"h2", b"n1"):  # n1 is a host of the sender's own cluster
        with pytest.raises(NotAllowed, match="'heron'"):
            ingest(store, OWN + b"load,cluster=heron,hostname=%b value=2 %d\n" % (host, T0), bound=("tern",))
    assert held(store) == before
    (row,) = store.query("heron", [Query("load", "h1")], from_s=T0, to_s=T0 + 60)[0]
    assert row.data.tolist() == [1]
    assert ingest(store, theirs % (3, T0), bound=("heron",)).accepted == 1
    assert ingest(store, theirs % (4, T0), bound=("heron", "tern")).accepted == 1


def test_a_bound_sender_writes_to_its_clusters(store: MetricStore) -> None:
    for _ in range(3):
        assert ingest(store, OWN * 3, bound=("tern",)).accepted == 3
    mentions = b"load,cluster=tern,hostname=a\\,cluster\\=heron value=1 %d\n# cluster=heron\n" % T0
    assert ingest(store, mentions, bound=("tern",)).accepted == 1
    nowhere = ingest(store, b"load,hostname=n1 value=1 %d\n" % T0, bound=("tern",))
    assert nowhere.rejected == {"no_cluster": 1}


def test_a_bound_sender_is_told_no_names_of_other_clusters(store: MetricStore) -> None:
    only_there = {"tern": METRICS["tern"], "heron": {"secretmetric": MetricSpec(60, "avg")}}
    store.reload(only_there)
    result = ingest(store, b"secretmetrik,hostname=n1 value=1 %d\n" % T0, bound=("tern",))
    assert "secretmetric" not in repr(result)


def test_refused_batches_of_a_bound_sender_grow_no_memory(store: MetricStore) -> None:
    before = store._table.size_bytes
    for number in range(50):
        lines = (b"load,cluster=c%d,hostname=%b value=1\n" % (number, b"x" * 200) for _ in range(20))
        with pytest.raises(NotAllowed):
            ingest(store, b"".join(lines), bound=("tern",))
    assert store._table.size_bytes - before < 20_000


def test_long_keys_that_are_refused_grow_no_memory(store: MetricStore) -> None:
    ingest(store, b"nosuch,cluster=tern,hostname=n1 value=1\n")
    before = store.counters().cached_keys, store._table.size_bytes
    for number in range(20):
        lines = (b"nosuch,cluster=tern,hostname=n%d,tag=%b value=1\n" % (at, b"x" * 600) for at in range(number * 20))
        assert ingest(store, b"".join(lines)).rejected.get("unknown_metric", 0) == number * 20
    assert (store.counters().cached_keys, store._table.size_bytes) == before


def test_senders_with_many_different_bindings_get_a_bounded_number_of_tables(
    store: MetricStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_resolver, "MAX_CACHES", 8)
    for number in range(50):
        assert ingest(store, OWN, bound=("tern", f"c{number}")).accepted == 1
        store.validate()
    assert store.counters().cached_keys <= key_resolver.MAX_KEYS_PER_SERIES


def test_a_batch_with_too_many_new_keys_is_refused_whole(store: MetricStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_keys, "MAX_NEW_KEYS", 10)
    keys = b"".join(b"load,cluster=tern,hostname=n%d value=1 %d\n" % (number, T0) for number in range(11))
    with pytest.raises(TooLarge, match="smaller parts") as refused:
        ingest(store, keys)
    assert refused.value.status == 413
    assert held(store) == NOTHING
    first, second = keys.splitlines(keepends=True)[:6], keys.splitlines(keepends=True)[6:]
    assert ingest(store, b"".join(first)).accepted == 6
    assert ingest(store, b"".join(first + second)).accepted == 11


@pytest.mark.parametrize("line", [b"x\n", b"load,cluster=tern,hostname=n1 value=x\n"])
def test_a_batch_with_too_many_odd_lines_is_refused_whole(store: MetricStore, line: bytes) -> None:
    with pytest.raises(TooLarge, match="smaller parts"):
        ingest(store, OWN + line * (MAX_SLOW_LINES + 1))
    assert held(store) == NOTHING


def test_a_batch_with_too_many_lines_is_refused_whole(store: MetricStore) -> None:
    with pytest.raises(TooLarge, match="lines"):
        ingest(store, OWN + b"# \n" * MAX_BATCH_LINES)
    assert held(store) == NOTHING
