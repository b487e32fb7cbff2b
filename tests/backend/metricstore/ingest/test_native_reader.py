"""The C kernel accepts, counts and names what the Python kernel does; its numbers are those of the specification."""

import math
import subprocess
import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cc_backend.metricstore.index.series_table import SeriesTable
from cc_backend.metricstore.ingest import native_reader
from cc_backend.metricstore.ingest.batch import DecodedBatch, Rejections
from cc_backend.metricstore.ingest.decode import decode, decode_slow_lines, describe_rejections
from cc_backend.metricstore.ingest.key_cache import DictKeyCache, KeyCache
from cc_backend.metricstore.ingest.native_reader import HAS_NATIVE, KernelName, NativeKeyCache
from cc_backend.metricstore.model import Limits, MetricSpec
from cc_common.errors import LineProtocolError
from cc_common.line_protocol import parse_time, parse_value

needs_c = pytest.mark.skipif(not HAS_NATIVE, reason="the C kernel was not built")

METRICS = {"demo": {"load": MetricSpec(60), "power": MetricSpec(30)}, "other": {"load": MetricSpec(60)}}
NOW = 1_790_000_040


def table(name: KernelName, limits: Limits | None = None) -> SeriesTable:
    return SeriesTable(METRICS, limits or Limits(), threading.RLock(), kernel=name)


@needs_c
def test_the_c_kernel_is_taken_where_it_is_there() -> None:
    assert isinstance(table("c").keys.cache_for("demo"), NativeKeyCache)
    assert isinstance(SeriesTable(METRICS, Limits(), threading.RLock()).keys.cache_for("demo"), NativeKeyCache)
    assert isinstance(table("python").keys.cache_for("demo"), DictKeyCache)


def test_without_the_extension_python_is_taken_and_c_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native_reader, "HAS_NATIVE", False)
    assert isinstance(SeriesTable(METRICS, Limits(), threading.RLock()).keys.cache_for("demo"), DictKeyCache)
    with pytest.raises(ImportError, match="was not built"):
        table("c").keys.cache_for("demo")


# Numbers

single_precision = st.floats(width=32, allow_nan=False, allow_infinity=False)


def between(lower: float) -> Decimal:
    """The number half way to the next one of single precision, exactly."""
    with np.errstate(over="ignore"):
        upper = float(np.nextafter(np.float32(lower), np.float32(np.inf)))
    half = (Fraction(lower) + Fraction(upper)) / 2 if math.isfinite(upper) else Fraction(lower)
    return Decimal(half.numerator) / Decimal(half.denominator)


decimals = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    single_precision.map(repr),
    single_precision.map(lambda number: f"{number:.9g}"),
    single_precision.map(lambda number: f"{between(number):f}"[:40]),
    single_precision.map(lambda number: f"{between(number):.17e}"),
    single_precision.map(lambda number: f"{between(number):.19e}"),
    st.from_regex(r"\A[+-]?[0-9]{1,22}(\.[0-9]{0,22})?([eE][+-]?[0-9]{1,3})?\Z"),
    st.from_regex(r"\A[+-]?0{0,22}\.[0-9]{1,22}\Z"),
    st.from_regex(r"\A[+-]?[0-9]{1,21}[iu]\Z"),
    st.from_regex(r"\A[0-9.eE+-iu]{1,12}\Z"),
)


@needs_c
@settings(max_examples=1000, deadline=None)
@given(text=decimals)
@example(text="1.00000017881393432617187500")  # half way between two of single precision
@example(text="1.00000017881393432617187499")
@example(text="1.00000017881393432617187501")
@example(text="102834.7539062500046")  # rounded in two steps, these would be the other neighbour
@example(text="1.811139166355133069")
@example(text="0.1235189549624919908")
@example(text="16777217")
@example(text="9007199254740993")
@example(text="3.4028235677973366e38")
@example(text="340282356779733661637539395458142568448")
@example(text="7.006492321624085e-46")
@example(text="1e-400")
@example(text="0e9999")
@example(text="9223372036854775807i")
@example(text="9223372036854775808i")
@example(text="-9223372036854775808i")
@example(text="-9223372036854775809i")
@example(text="9999999999999999999u")
@example(text="18446744073709551615u")
@example(text="18446744073709551616u")
@example(text="-0i")
@example(text="-0")
@example(text="0" * 62 + "5i")
@example(text="0" * 63 + "5i")
def test_a_number_is_that_of_the_specification_to_the_last_bit(text: str) -> None:
    faults = Rejections()
    found = decode(
        b"load,hostname=a value=%b 17" % text.encode(),
        table("c").keys.cache_for("demo"),
        received_s=NOW,
        rejections=faults,
    )
    try:
        expected = parse_value(b"value=%b" % text.encode())
    except LineProtocolError:
        assert len(found.values) == 0
        assert faults.counts
        return
    with np.errstate(over="ignore"):
        assert found.values.tobytes() == np.array([expected], np.float64).astype(np.float32).tobytes()


@needs_c
@pytest.mark.parametrize(
    "text",
    ["0", "1", "-1.5", "+7", "1234.5678", "8444.218515250481", "0.1", "100", "1e3", "2.5E-7", "1e22", "311i", "-5i",
     "7u", "0.00012345678901234567", "9999999999999999999", "3.4e22", "1.7976931348623157e30", ".5", "5.", "007"],
)  # fmt: skip
@pytest.mark.parametrize("time", [b"", b" 17", b" 1790000000", b" 1790000000123", b"  -1 ", b" 1790000000\r"])
def test_common_numbers_and_times_are_read_in_c(text: str, time: bytes) -> None:
    cache = table("c").keys.cache_for("demo")
    assert isinstance(cache, NativeKeyCache)
    line = b"load,hostname=a value=%b%b" % (text.encode(), time)
    for _ in range(2):
        read = cache.read_batch(line + b"\n" + line, NOW)
        assert not read.slow
        assert (
            np.frombuffer(read.values, np.float32).tolist() == [np.float32(parse_value(b"value=" + text.encode()))] * 2
        )
        assert read.times_s == parse_time(time.strip(), received_s=NOW)


@needs_c
@given(number=st.integers(-(10**20), 10**20), zeros=st.integers(0, 4))
@example(number=10**11, zeros=0)
@example(number=10**11 - 1, zeros=0)
@example(number=10**14, zeros=0)
@example(number=10**17, zeros=0)
@example(number=10**19 - 1, zeros=0)
@example(number=-(10**11), zeros=0)
@example(number=-(10**11) - 1, zeros=0)
@example(number=-(10**17) - 1, zeros=0)
def test_a_time_is_that_of_the_specification(number: int, zeros: int) -> None:
    raw = b"%b%b%d" % (b"-" if number < 0 else b"", b"0" * zeros, abs(number))
    faults = Rejections()
    found = decode(
        b"load,hostname=a value=1 " + raw, table("c").keys.cache_for("demo"), received_s=NOW, rejections=faults
    )
    try:
        expected = parse_time(raw, received_s=NOW)
    except LineProtocolError:
        assert faults.counts
        return
    assert found.times_s == expected


# Batches

keys = st.sampled_from(
    [
        *(b"load,hostname=n%d" % number for number in range(6)),
        b"power,cluster=demo,hostname=n1,type=core,type-id=1",
        b"power,cluster=demo,hostname=n1,type-id=1,type=core",
        *(b"load,hostname=n1,x=%d" % number for number in range(6)),
        b"event,hostname=n1",
        b"load",
        b"load,hostname=n1\\ ",
        b"load,hostname=n1\\ \\",
        b"load,hostname=n\\ 1",
        b"load,hostname=n1\\",
        b"load,hostname=n1=",
        b"#load,hostname=n1",
        b" load,hostname=n1",
        b"load,hostname=" + b"n" * 2100,
        b"load,hostname=n1,x=" + b"n" * 2040,
        b"\xfe,hostname=n1",
        b"",
    ]
)
numbers = st.one_of(
    decimals.map(str.encode),
    st.sampled_from([b"1", b"2.5", b"x", b"", b"5i", b"nan", b"1,value=2", b'"a b"', b"1\\", b"1\t", b"1e39"]),
)
times = st.sampled_from(
    [b"17", b"17", b"17", b"18", b"1790000000", b"1790000000000", b"-1", b"", b"x", b"17 ", b"17\r", b"17 7", b"17\t"]
)
blanks = st.sampled_from([b" "] * 10 + [b"  ", b"\t", b"", b"\\ ", b" \t"])
lines = st.builds(
    lambda key, first, prefix, number, second, time: key + first + prefix + number + second + time,
    keys, blanks, st.sampled_from([b"value="] * 8 + [b"", b"Value=", b"value"]), numbers, blanks, times,
)  # fmt: skip
batches = st.lists(st.one_of(lines, lines, lines, st.binary(max_size=12)), max_size=12).flatmap(
    lambda batch: st.sampled_from([b"\n".join(batch), b"\r\n".join(batch), b"\n".join(batch) + b"\n"])
)


def by_specification(batch: bytes, cache: KeyCache, *, received_s: int, rejections: Rejections) -> DecodedBatch:
    return decode_slow_lines(list(enumerate(batch.split(b"\n"))), cache, received_s, rejections)


def outcome(
    series: SeriesTable, batch: bytes, default_cluster: str, read: Callable[..., DecodedBatch] = decode
) -> tuple[object, ...]:
    """All that a batch leads to: samples with identities and bits, counts, names, and what is remembered after it."""
    rejections = Rejections()
    cache = series.keys.cache_for(default_cluster)
    found = read(batch, cache, received_s=NOW, rejections=rejections)
    times_s = np.broadcast_to(found.times_s, found.sids.shape).tolist()
    return (
        [series.identity(sid) for sid in found.sids.tolist()],
        found.values.astype(np.float32).tobytes(),
        times_s,
        found.positions.tolist(),
        rejections.counts,
        describe_rejections(batch, rejections, cache),
        len(cache),
        sorted(series.identity(sid) for sid in cache.sids().tolist()),
    )


@needs_c
@settings(max_examples=600, deadline=None)
@given(batches=st.lists(batches, min_size=1, max_size=3), default=st.sampled_from(["demo", "", "?"]))
@example(batches=[b"load,hostname=n1 \nload,hostname=n1\\  \nevent,hostname=n1 \t"], default="demo")
@example(batches=[b"load,hostname=n1 value=1 17\nload,hostname=n2 value=1 179"], default="demo")
@example(batches=[b"load,hostname=n1 value=-0 17\nload,hostname=n1 value=-0.0 17"], default="demo")
def test_both_kernels_accept_count_and_name_the_same(batches: list[bytes], default: str) -> None:
    by_c, by_python = table("c"), table("python")
    for batch in batches * 2:  # again, since now keys are known
        assert outcome(by_c, batch, default) == outcome(by_python, batch, default)


@needs_c
@settings(max_examples=400, deadline=None)
@given(batches=st.lists(batches, min_size=1, max_size=3))
@example(batches=[b"\n".join(b"e%d,hostname=a value=1 17" % number for number in range(9))])
@example(batches=[b"\n".join(b" load,hostname=n%d value=x 17" % number for number in range(9))])
def test_where_limits_are_reached_it_is_line_by_line_as_the_specification_has_it(batches: list[bytes]) -> None:
    limits = Limits(hosts=3, series=5, rejected_keys=3)
    by_c, by_line = table("c", limits), table("c", limits)
    for batch in batches * 2:
        assert outcome(by_c, batch, "demo")[:-2] == outcome(by_line, batch, "demo", by_specification)[:-2]


@needs_c
def test_a_large_batch_is_read_as_a_small_one_is_whatever_its_order() -> None:
    series = table("c", Limits(hosts=10_000))
    known = [b"load,hostname=n%d,type=core,type-id=%d" % divmod(number, 16) for number in range(20_000)]
    orders = [known, known[::-1], known[::2] + known[1::2], known[:3] * 2000]
    for order in orders:
        batch = b"\n".join(b"%b value=%d.25 %d" % (key, at, NOW + at % 3) for at, key in enumerate(order))
        faults = Rejections()
        found = decode(batch, series.keys.cache_for("demo"), received_s=NOW, rejections=faults)
        assert not faults.counts
        assert found.values.tolist() == [at + 0.25 for at in range(len(order))]
        assert isinstance(found.times_s, np.ndarray)
        assert found.times_s.tolist() == [NOW + at % 3 for at in range(len(order))]
        sids = [series.keys.cache_for("demo").find(key) for key in order]
        assert found.sids.tolist() == sids
    assert len(series.keys.cache_for("demo")) == len(known)
    assert len(set(sids)) == 3


WITHOUT_MEMORY = """
import resource
from cc_backend.metricstore import _kernel

table = _kernel.Table(bytes(16))
table.remember(b"a", 7)
batch = b"a value=1\\n" * 2_000_000
with open("/proc/self/statm", encoding="ascii") as file:
    pages = int(file.read().split()[0])
limit = pages * resource.getpagesize() + (40 << 20)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
for _ in range(3):
    try:
        table.decode(batch, 17, None)
        print("no limit")
    except MemoryError:
        print("no memory")
    codes, _, time_s, *_ = table.decode(batch[:30], 17, None)
    print(len(codes), time_s, len(table))
"""


@needs_c
def test_without_memory_a_batch_fails_and_the_next_one_does_not() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_MEMORY], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["no memory", "24 17 1"] * 3
