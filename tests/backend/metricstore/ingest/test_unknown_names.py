"""Names on lines that the configuration does not have: told once, with the nearest known one, at a bounded cost."""

import logging
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.metricstore.ingest.host_config import ClusterHosts, HostConfig
from cc_backend.metricstore.ingest.unknown_names import (
    MAX_LOGGED_NAMES,
    MAX_NAMES_PER_REASON,
    MAX_SEARCHES_PER_SECOND,
    SEARCHED_BATCH_BYTES,
    UnknownNames,
)
from cc_backend.metricstore.model import MetricSpec, RejectReason, UnknownName

NOW_S = 1_790_000_000
SPEC = MetricSpec(60)
METRICS = {"tern": {"load_one": SPEC, "mem_used": SPEC, "power": SPEC}, "heron": {"load_one": SPEC}}
NODES = {
    "tern": ClusterHosts({f"tn{at:02}": "cpu" for at in range(1, 40)}, subcluster_metrics={"cpu": {"load_one": SPEC}})
}


def names_of(
    known: UnknownNames, *lines: str, reason: RejectReason, default: str = "", at_s: int = NOW_S
) -> list[UnknownName]:
    quiet = [(reason, position) for position in range(len(lines))]
    found = known.find_in_lines("\n".join(lines).encode(), quiet, default_cluster=default, received_s=at_s)
    return list(found.get(reason, ()))


@pytest.fixture(name="known")
def known_names() -> UnknownNames:
    return UnknownNames(METRICS, HostConfig(METRICS, NODES))


@pytest.mark.parametrize(
    ("line", "reason", "name"),
    [
        ("load_one,cluster=trn,hostname=tn01 value=1", RejectReason.UNKNOWN_CLUSTER, UnknownName("trn", "", "tern")),
        ("load_one,cluster=TERN,hostname=tn01 value=1", RejectReason.UNKNOWN_CLUSTER, UnknownName("TERN", "", "tern")),
        ("load_one,cluster=xyz,hostname=tn01 value=1", RejectReason.UNKNOWN_CLUSTER, UnknownName("xyz")),
        (
            "memused,cluster=tern,hostname=tn01 value=1",
            RejectReason.UNKNOWN_METRIC,
            UnknownName("memused", "tern", "mem_used"),
        ),
        ("memused,hostname=tn01 value=1", RejectReason.UNKNOWN_METRIC, UnknownName("memused", "", "mem_used")),
        (
            "power,cluster=tern,hostname=tn01 value=1",
            RejectReason.UNKNOWN_METRIC,
            UnknownName("power", "tern", configured_elsewhere=True),
        ),
        ("load_one,cluster=tern,hostname=tn1 value=1", RejectReason.UNKNOWN_HOST, UnknownName("tn1", "tern", "tn01")),
        (
            "load_one,cluster=tern,hostname=tn07.example.org value=1",
            RejectReason.UNKNOWN_HOST,
            UnknownName("tn07.example.org", "tern", "tn07"),
        ),
        ("load_one,cluster=tern,hostname=www value=1", RejectReason.UNKNOWN_HOST, UnknownName("www", "tern")),
    ],
)
def test_a_name_is_told_with_the_nearest_known_one(
    known: UnknownNames, line: str, reason: RejectReason, name: UnknownName
) -> None:
    assert names_of(known, line, reason=reason) == [name]


def test_a_name_is_told_once_a_batch_however_many_lines_have_it(known: UnknownNames) -> None:
    lines = [f"load_one,cluster=trn,hostname=tn{at} value=1" for at in range(20)]
    assert names_of(known, *lines, reason=RejectReason.UNKNOWN_CLUSTER) == [UnknownName("trn", "", "tern")]


def test_only_the_first_names_are_told(known: UnknownNames) -> None:
    lines = [f"m{at},cluster=tern,hostname=tn01 value=1" for at in range(20)]
    assert [name.name for name in names_of(known, *lines, reason=RejectReason.UNKNOWN_METRIC)] == [
        f"m{at}" for at in range(MAX_NAMES_PER_REASON)
    ]


def test_the_default_cluster_counts_where_the_line_has_none(known: UnknownNames) -> None:
    line = "load_one,hostname=tn01 value=1"
    assert names_of(known, line, reason=RejectReason.UNKNOWN_CLUSTER, default="trn") == [UnknownName("trn", "", "tern")]
    assert names_of(known, line, reason=RejectReason.UNKNOWN_CLUSTER, default="hern") == [
        UnknownName("hern", "", "heron")
    ]


def test_a_name_is_logged_once(known: UnknownNames, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        names_of(known, "load_one,cluster=trn,hostname=tn01 value=1", reason=RejectReason.UNKNOWN_CLUSTER)
    assert [record.getMessage() for record in caplog.records] == [
        "samples came with an unknown cluster names='trn' (nearest known: 'tern')"
    ]
    assert [(reason, name.name) for reason, name in known.observed()] == [(RejectReason.UNKNOWN_CLUSTER, "trn")]


def test_what_its_subcluster_leaves_out_on_purpose_is_not_logged(
    known: UnknownNames, caplog: pytest.LogCaptureFixture
) -> None:
    names_of(known, "power,cluster=tern,hostname=tn01 value=1", reason=RejectReason.UNKNOWN_METRIC)
    assert (caplog.records, known.observed()) == ([], [])


def test_the_log_is_not_flooded(known: UnknownNames, caplog: pytest.LogCaptureFixture) -> None:
    for at in range(MAX_LOGGED_NAMES + 200):
        names_of(known, f"load_one,cluster=c{at},hostname=tn01 value=1", reason=RejectReason.UNKNOWN_CLUSTER)
    assert len(known.observed()) == MAX_LOGGED_NAMES
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == MAX_LOGGED_NAMES + 1


def test_names_that_become_known_are_no_longer_told(known: UnknownNames) -> None:
    line = "load_one,cluster=trn,hostname=tn01 value=1"
    names_of(known, line, reason=RejectReason.UNKNOWN_CLUSTER)
    metrics = {**METRICS, "trn": {"load_one": SPEC}}
    known.reload(metrics, HostConfig(metrics))
    assert names_of(known, line, reason=RejectReason.UNKNOWN_CLUSTER) == []
    assert known.observed() == []


def test_a_name_that_cannot_be_printed_is_cut_and_cleaned(known: UnknownNames) -> None:
    (name,) = names_of(
        known, f"m\u202e{'x' * 200},cluster=tern,hostname=tn01 value=1", reason=RejectReason.UNKNOWN_METRIC
    )
    assert name.name == "m?" + "x" * 98


def test_hosts_whose_samples_were_kept_are_told_too(known: UnknownNames, caplog: pytest.LogCaptureFixture) -> None:
    hosts = [("tern", f"tn{at}") for at in range(1, 30)]
    assert known.describe_hosts(hosts, received_s=NOW_S)[0] == UnknownName("tn1", "tern", "tn01")
    assert len(known.describe_hosts(hosts, received_s=NOW_S)) == MAX_NAMES_PER_REASON
    assert len(caplog.records) == 1


class TestBounds:
    def test_names_beyond_the_begin_of_a_batch_are_not_looked_for(self, known: UnknownNames) -> None:
        filler = b"#" * SEARCHED_BATCH_BYTES
        batch = filler + b"\nload_one,cluster=trn,hostname=tn01 value=1"
        found = known.find_in_lines(batch, [(RejectReason.UNKNOWN_CLUSTER, 1)], default_cluster="", received_s=NOW_S)
        assert found == {}

    def test_only_so_many_names_a_second_are_compared(self, known: UnknownNames) -> None:
        def nearest(at: int, at_s: int) -> str:
            line = f"mem_use{at},cluster=tern,hostname=tn01 value=1"
            (name,) = names_of(known, line, reason=RejectReason.UNKNOWN_METRIC, at_s=at_s)
            return name.nearest

        assert {nearest(at, NOW_S) for at in range(MAX_SEARCHES_PER_SECOND)} == {"mem_used"}
        assert nearest(1000, NOW_S) == ""
        assert nearest(1001, NOW_S + 1) == "mem_used"

    def test_many_known_hosts_are_no_burden(self) -> None:
        nodes = {"tern": ClusterHosts({f"node{at:05}": "cpu" for at in range(20_000)})}
        known = UnknownNames(METRICS, HostConfig(METRICS, nodes))
        began = time.process_time()
        for at in range(MAX_SEARCHES_PER_SECOND):
            known.describe_hosts([("tern", f"node{at:04}x")], received_s=NOW_S)
        assert time.process_time() - began < 2

    def test_keys_that_were_seen_are_not_read_again(self, known: UnknownNames) -> None:
        lines = [f"m{at},cluster=tern,hostname=tn01 value=1" for at in range(20)]

        def seconds() -> float:
            began = time.perf_counter()
            for _ in range(20):
                names_of(known, *lines, reason=RejectReason.UNKNOWN_METRIC)
            return time.perf_counter() - began

        first = UnknownNames(METRICS, HostConfig(METRICS, NODES))
        began = time.perf_counter()
        names_of(first, *lines, reason=RejectReason.UNKNOWN_METRIC)
        once = time.perf_counter() - began
        seconds()
        assert min(seconds() for _ in range(5)) < 20 * once

    @given(st.binary(max_size=400), st.lists(st.tuples(st.sampled_from(RejectReason), st.integers(0, 30)), max_size=20))
    def test_no_batch_stops_it(self, batch: bytes, quiet: list[tuple[RejectReason, int]]) -> None:
        known = UnknownNames(METRICS, HostConfig(METRICS, NODES))
        for names in known.find_in_lines(batch, quiet, default_cluster="tern", received_s=NOW_S).values():
            assert all(name.name.isprintable() and len(name.name) <= 100 for name in names)
