import threading

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import cc_backend.metricstore.ingest.decode as decode_module
from cc_backend.metricstore.index.series_table import SeriesTable
from cc_backend.metricstore.ingest.batch import Accepted, DecodedBatch, Rejections
from cc_backend.metricstore.ingest.decode import decode, decode_slow_lines, describe_rejections, validate
from cc_backend.metricstore.ingest.key_cache import KeyCache
from cc_backend.metricstore.ingest.native_reader import HAS_NATIVE, KernelName
from cc_backend.metricstore.model import Limits, MetricSpec, RejectReason
from cc_common.line_protocol import decode as specified

METRICS = {"demo": {"load": MetricSpec(60), "power": MetricSpec(30)}, "other": {"load": MetricSpec(60)}}
NOW = 1_790_000_040


pytestmark = pytest.mark.parametrize(
    "kernel",
    ["python", pytest.param("c", marks=pytest.mark.skipif(not HAS_NATIVE, reason="the C kernel was not built"))],
)


def cache(kernel: KernelName, default_cluster: str = "demo") -> KeyCache:
    return SeriesTable(METRICS, Limits(), threading.RLock(), kernel=kernel).keys.cache_for(default_cluster)


def decoded(batch: bytes, known: KeyCache) -> tuple[DecodedBatch, Rejections]:
    faults = Rejections()
    return decode(batch, known, received_s=NOW, rejections=faults), faults


def plainly(found: DecodedBatch) -> list[tuple[int, float, int, int]]:
    times = np.broadcast_to(found.times_s, found.sids.shape)
    columns = (found.sids, found.values, times, found.positions)
    return list(zip(*(column.tolist() for column in columns), strict=True))


GOOD = b"load,hostname=a"

# Each line, and what it gives: value and time, or the reason why it gives nothing, or None where it is no line at all.
LINES: list[tuple[bytes, tuple[float, int] | RejectReason | None]] = [
    (b"load,hostname=a value=1.5 1790000000", (1.5, 1790000000)),
    (b"load,hostname=a,cluster=demo,type=node value=5 1790000000", (5, 1790000000)),
    (b"load,hostname=a value=5i 1790000000", (5, 1790000000)),
    (b"load,hostname=a value=-5i 1790000000", (-5, 1790000000)),
    (b"load,hostname=a value=5u 1790000000", (5, 1790000000)),
    (b"load,hostname=a value=-5u 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a value=9223372036854775807i 1790000000", (2.0**63, 1790000000)),
    (b"load,hostname=a value=9223372036854775808i 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a value=1.5i 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a value=i 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a value=-i 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a value=.5 1790000000", (0.5, 1790000000)),
    (b"load,hostname=a value=5. 1790000000", (5, 1790000000)),
    (b"load,hostname=a value=+5 1790000000", (5, 1790000000)),
    (b"load,hostname=a value=007 1790000000", (7, 1790000000)),
    (b"load,hostname=a value=1e3 1790000000", (1000, 1790000000)),
    (b"load,hostname=a value=1E+3 1790000000", (1000, 1790000000)),
    (b"load,hostname=a value=18446744073709551616 1790000000", (2.0**64, 1790000000)),
    (b"load,hostname=a value=-0 1790000000", (0, 1790000000)),
    (b"load,hostname=a value=1_0 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a value=0x10 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a value=nan 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a value=NaN 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a value=inf 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a value=-Infinity 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a value=1e400 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a value=true 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a value=null 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a value=[1] 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a value=1,2 1790000000", RejectReason.SYNTAX),
    (b'load,hostname=a value="5" 1790000000', RejectReason.SYNTAX),
    (b'load,hostname=a value="5 5" 1790000000', RejectReason.SYNTAX),
    (b'load,hostname=a value="5 1790000000', RejectReason.SYNTAX),
    (b"load,hostname=a value= 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a value 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a 5 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a other=5 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a value=1,value=2 1790000000", (2, 1790000000)),
    (b"load,hostname=a value=value=2 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a value=1,other=2 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a= 1.5 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a value=5 1790000000000", (5, 1790000000)),
    (b"load,hostname=a value=5 1790000000123456", (5, 1790000000)),
    (b"load,hostname=a value=5 1790000000123456789", (5, 1790000000)),
    (b"load,hostname=a value=5", (5, NOW)),
    (b"load,hostname=a value=5 ", (5, NOW)),
    (b"load,hostname=a  value=5  1790000000", (5, 1790000000)),
    (b" load,hostname=a value=5 1790000000", (5, 1790000000)),
    (b"load,hostname=a value=5 1790000000\r", (5, 1790000000)),
    (b"\tload,hostname=a value=5 1790000000\t", (5, 1790000000)),
    (b"load,hostname=a value=5\t 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a value=5 17x", RejectReason.SYNTAX),
    (b"load,hostname=a value=5 1.7e9", RejectReason.SYNTAX),
    (b"load,hostname=a value=5 1790000000 7", RejectReason.SYNTAX),
    (b"load,hostname=a value=5 99999999999999999999", RejectReason.SYNTAX),
    (b"load", RejectReason.SYNTAX),
    (b"load,hostname value=5 1790000000", RejectReason.SYNTAX),
    (b"load,hostname= value=5 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a,x=\xff value=5 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a\x01 value=5 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a,x=\\  value=5 1790000000", (5, 1790000000)),
    (b"load,hostname=a\\ value=5 1790000000", RejectReason.SYNTAX),
    (b"load,hostname=a,type=core,type-id=a\\ b value=5 1790000000", (5, 1790000000)),
    (b"load,hostname=a\\,b value=5 1790000000", (5, 1790000000)),
    (b"load,hostname=a\\b value=5 1790000000", RejectReason.BAD_NAME),
    (b"load,hostname=../../etc value=5 1790000000", RejectReason.BAD_NAME),
    (b"load,type=node value=5 1790000000", RejectReason.NO_HOST),
    (b"load,cluster=nowhere,hostname=a value=5 1790000000", RejectReason.UNKNOWN_CLUSTER),
    (b"event,hostname=a value=5 1790000000", RejectReason.UNKNOWN_METRIC),
    (b'event,hostname=a event="job \\"1\\" started" 1790000000', RejectReason.UNKNOWN_METRIC),
    (b'event,hostname=a event="never closed 1790000000', RejectReason.UNKNOWN_METRIC),
    (b"event,hostname=a value=x y z", RejectReason.UNKNOWN_METRIC),
    (b"#load,hostname=a value=5 1790000000", None),
    (b"  # a comment", None),
    (b"", None),
    (b"   ", None),
    (b"\r", None),
]


@pytest.mark.parametrize("around", [b"%b", GOOD + b" value=1 17\n%b\n" + GOOD + b" value=2 18\n"])
@pytest.mark.parametrize(("line", "expected"), LINES)
def test_a_line_gives_a_sample_or_a_reason_wherever_it_stands(
    line: bytes, expected: tuple[float, int] | RejectReason | None, around: bytes, kernel: KernelName
) -> None:
    found, faults = decoded(around % line, cache(kernel))
    others = [1.0, 2.0] if around != b"%b" else []
    if isinstance(expected, RejectReason) or expected is None:
        assert found.values.tolist() == others
        assert faults.counts == ({} if expected is None else {expected: 1})
    else:
        value, time_s = expected
        assert found.values.tolist() == [*others[:1], value, *others[1:]]
        assert np.broadcast_to(found.times_s, found.sids.shape)[len(others[:1])] == time_s
        assert faults.counts == {}


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
@pytest.mark.parametrize("last", [b"", b"\n", b"\r\n", b"\n\n"])
def test_line_ends_of_both_kinds_are_read_and_the_last_may_be_missing(
    ending: bytes, last: bytes, kernel: KernelName
) -> None:
    found, faults = decoded(ending.join([GOOD + b" value=1 17", GOOD + b" value=2 17"]) + last, cache(kernel))
    assert found.values.tolist() == [1, 2]
    assert found.times_s == 17
    assert not faults.counts


def test_an_empty_batch_gives_nothing(kernel: KernelName) -> None:
    assert plainly(decoded(b"", cache(kernel))[0]) == []
    assert plainly(decoded(b"\n\n", cache(kernel))[0]) == []


def test_pieces_that_happen_to_count_up_do_not_shift_lines(kernel: KernelName) -> None:
    batch = b"load,hostname=a value=1\nfoo\nload,hostname=a value=2 17\nload,hostname=a value=3 18 19"
    found, faults = decoded(batch, cache(kernel))
    assert plainly(found) == [(0, 1.0, NOW, 0), (0, 2.0, 17, 2)]
    assert sorted(position for position, _ in faults.first_faulty) == [1, 3]


def test_unknown_metrics_keep_a_batch_on_the_fast_path(monkeypatch: pytest.MonkeyPatch, kernel: KernelName) -> None:
    monkeypatch.setattr(decode_module, "decode_slow_lines", None)
    lines = [b"event,hostname=a value=%d 17" % number for number in range(50)]
    lines[20:20] = [GOOD + b" value=7 17"]
    found, faults = decoded(b"\n".join(lines), cache(kernel))
    assert plainly(found) == [(0, 7.0, 17, 20)]
    assert faults.counts == {RejectReason.UNKNOWN_METRIC: 50}
    assert not faults.first_faulty


def test_few_bad_lines_do_not_make_the_others_slow(monkeypatch: pytest.MonkeyPatch, kernel: KernelName) -> None:
    slow: list[int] = []

    def spy(lines: list[tuple[int, bytes]], *rest: object) -> DecodedBatch:
        slow.extend(position for position, _ in lines)
        return decode_slow_lines(lines, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(decode_module, "decode_slow_lines", spy)
    lines = [GOOD + b" value=%d 17" % number for number in range(100)]
    lines[3] = GOOD + b" value=x 17"
    lines[5] = GOOD + b" value=5 x"
    lines[7] = b"# comment"
    lines[9] = GOOD + b" value=9"
    found, _ = decoded(b"\n".join(lines), cache(kernel))
    assert slow == ([3, 5] if kernel == "c" else [3, 5, 7, 9])
    assert found.values.tolist() == [float(n) for n in range(100) if n not in (3, 5, 7)]
    assert np.all(np.diff(found.positions) > 0)


keys = st.sampled_from(
    [
        b"load,hostname=a",
        b"load,cluster=demo,hostname=b,type=core,type-id=1",
        b"load,hostname=b,cluster=demo,type-id=1,type=core",
        b"power,host=a",
        b"event,hostname=a",
        b"load",
        b"load,cluster=nowhere,hostname=a",
        b"load,hostname=a\\ b",
        b"load,hostname=a\\",
        b'load,hostname="a',
        b"load,hostname=a=",
        b"load,hostname=a,",
        b"#load,hostname=a",
        b"\xfe,hostname=a",
    ]
)
numbers = st.one_of(
    st.floats(allow_nan=True).map(repr),
    st.integers(-(10**20), 10**20).map(str),
    st.integers(-(2**64), 2**65).map(lambda n: f"{n}i"),
    st.sampled_from(
        ["5u", "1_0", "0x1", ".5", "5.", "+1", "007", "true", "", "1,value=2", '"a b"', "1\\", "--1", "1e", "e1"]
    ),
).map(str.encode)
fields = st.one_of(numbers.map(lambda number: b"value=" + number), st.sampled_from([b"event=1", b"5", b"value", b"=1"]))
times = st.one_of(
    st.sampled_from([b"1790000000", b"1790000060"]),
    st.integers(-(10**20), 10**20).map(lambda n: b"%d" % n),
    st.sampled_from([b"", b"x", b"1.5", b"1790000000000", b"1_0", b"-1", b"17\r"]),
)
blanks = st.sampled_from([b" "] * 12 + [b"  ", b"\t", b"", b"\\ ", b"\n"])
plain_lines = st.builds(lambda *pieces: b"".join(pieces), keys, blanks, fields, blanks, times)
lines = st.one_of(plain_lines, plain_lines, plain_lines, st.binary(max_size=20), st.sampled_from([b"", b"# x y z"]))
batches = st.lists(lines, max_size=12).map(b"\n".join)


@settings(max_examples=400, deadline=None)
@given(batch=batches)
@example(batch=b"load,hostname=a value=1\nfoo\nload,hostname=a value=2 17")
@example(batch=b"event,hostname=a value=1\nfoo\nload,hostname=a value=2 17")
@example(batch=b"load,hostname=a value=1,value=2 17\nload,hostname=a 5 17")
@example(batch=b"load,hostname=a value=1,value=2,3 17\nload,hostname=a value=value=5 17")
@example(batch=b"load,hostname=a\nvalue=1 17")
@example(batch=b"load,hostname=a  1790000000")
@example(batch=b"event,hostname=a  ")
@example(batch=b"load,hostname=b \t 17\nevent,hostname=a \t\nload,hostname=a\\  \r")
def test_the_fast_path_gives_what_the_slow_path_gives(batch: bytes, kernel: KernelName) -> None:
    fast_table, slow_table = (SeriesTable(METRICS, Limits(), threading.RLock(), kernel=kernel) for _ in range(2))
    fast_known, slow_known = fast_table.keys.cache_for("demo"), slow_table.keys.cache_for("demo")
    slow_faults = Rejections()
    slow = decode_slow_lines(list(enumerate(batch.split(b"\n"))), slow_known, NOW, slow_faults)
    fast, fast_faults = decoded(batch, fast_known)
    assert [(fast_table.identity(sid), *rest) for sid, *rest in plainly(fast)] == [
        (slow_table.identity(sid), *rest) for sid, *rest in plainly(slow)
    ]
    assert len(fast_known) == len(slow_known)
    assert fast_faults.counts == slow_faults.counts
    assert describe_rejections(batch, fast_faults, fast_known) == describe_rejections(batch, slow_faults, slow_known)
    again, _ = decoded(batch, fast_known)
    assert plainly(again) == plainly(fast)


@settings(max_examples=200, deadline=None)
@given(batch=batches)
def test_the_slow_path_agrees_with_the_line_protocol(batch: bytes, kernel: KernelName) -> None:
    points, errors = specified(batch, received_s=NOW)
    wanted = [point for point in points if point.metric in METRICS["demo"] and "nowhere" not in point.tags.values()]
    faults = Rejections()
    found = decode_slow_lines(list(enumerate(batch.split(b"\n"))), cache(kernel), NOW, faults)
    have_host = [point for point in wanted if {"host", "hostname"} & point.tags.keys()]
    good = [point for point in have_host if "\\" not in point.tags.get("hostname", "")]
    with np.errstate(over="ignore"):
        assert found.values.tolist() == [float(np.float32(point.value)) for point in good]
    assert faults.counts.get(RejectReason.SYNTAX, 0) <= len(errors)


@pytest.mark.parametrize("end", [b" ", b"  ", b" \t", b" \r"])
def test_a_key_alone_is_no_line_also_where_it_is_known_to_be_refused(end: bytes, kernel: KernelName) -> None:
    known = cache(kernel)
    for _ in range(2):
        _, faults = decoded(b"other,hostname=a value=1 17", known)
        assert faults.counts == {RejectReason.UNKNOWN_METRIC: 1}
        _, faults = decoded(b"other,hostname=a" + end, known)
        assert faults.counts == {RejectReason.SYNTAX: 1}


def screened(batch: bytes, kernel: KernelName) -> tuple[Accepted, Rejections]:
    found, faults = decoded(batch, cache(kernel))
    return validate(found, time_range=(NOW, NOW), retention_s=3600, rejections=faults), faults


@pytest.mark.parametrize(
    ("time_s", "reason"),
    [
        (NOW, None),
        (NOW + 600, None),
        (NOW + 601, RejectReason.FUTURE),
        (NOW + 10**9, RejectReason.FUTURE),
        (NOW - 3600, None),
        (NOW - 3601, RejectReason.TOO_OLD),
        (0, RejectReason.TOO_OLD),
        (-5, RejectReason.TOO_OLD),
    ],
)
@pytest.mark.parametrize("alone", [True, False])
def test_times_ahead_and_out_of_date_are_refused(
    time_s: int,
    reason: RejectReason | None,
    alone: bool,  # noqa: FBT001 a parameter
    kernel: KernelName,
) -> None:
    other = b"" if alone else b"\n" + GOOD + b" value=2 %d" % NOW
    kept, faults = screened(GOOD + b" value=1 %d" % time_s + other, kernel)
    assert faults.counts == ({} if reason is None else {reason: 1})
    assert kept.values.tolist() == ([] if reason else [1]) + ([] if alone else [2])
    assert [position for position, _ in faults.first_faulty] == ([] if reason is None else [0])


def test_a_sample_out_of_bounds_costs_none_that_is_just_within(kernel: KernelName) -> None:
    times_s = (NOW - 3601, NOW - 3600, NOW + 600, NOW + 601)
    kept, faults = screened(b"\n".join(GOOD + b" value=%d %d" % (at, time) for at, time in enumerate(times_s)), kernel)
    assert kept.values.tolist() == [1, 2]
    assert faults.counts == {RejectReason.FUTURE: 1, RejectReason.TOO_OLD: 1}


def test_values_that_single_precision_cannot_hold_are_refused(kernel: KernelName) -> None:
    kept, faults = screened(GOOD + b" value=1e39 %d\n" % NOW + GOOD + b" value=-3e38 %d" % NOW, kernel)
    assert kept.values.tolist() == [np.float32(-3e38)]
    assert faults.counts == {RejectReason.VALUE_RANGE: 1}


def test_different_times_of_one_second_become_one_time(kernel: KernelName) -> None:
    kept, _ = screened(GOOD + b" value=1 %d000\n" % NOW + GOOD + b" value=2 %d001" % NOW, kernel)
    assert kept.times_s == NOW


def test_the_first_twenty_errors_are_named_in_line_order_with_text_and_reason(kernel: KernelName) -> None:
    lines = [GOOD + b" value=1 17", b"load value=1 17", GOOD + b" value=x 17", b"load,hostname=a/b value=1 17"]
    batch = b"\n".join(lines * 10)
    known = cache(kernel)
    _, faults = decoded(batch, known)
    errors = describe_rejections(batch, faults, known)
    assert len(errors) == 20
    assert [error.line_number for error in errors] == [n for n in range(1, 28) if n % 4 != 1]
    assert errors[0] == (2, "there is no hostname tag", "load value=1 17")
    assert errors[1] == (3, "value 'x' is not a number", "load,hostname=a value=x 17")
    assert "path" in errors[2].reason
    assert sum(faults.counts.values()) == 30


def test_quiet_reasons_are_counted_but_not_named(kernel: KernelName) -> None:
    known = cache(kernel)
    batch = b"event,hostname=a value=1 17\nload,cluster=nowhere,hostname=a value=1 17"
    _, faults = decoded(batch, known)
    assert sum(faults.counts.values()) == 2
    assert describe_rejections(batch, faults, known) == ()
