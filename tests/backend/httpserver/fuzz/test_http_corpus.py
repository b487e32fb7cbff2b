"""Heads and chunks, those a fuzzer found worth keeping and made-up ones, are read as h11 reads them, or refused."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

HERE = Path(__file__).resolve().parent
NAMES = ("head", "chunks")
MOST_BYTES = 2048
MOST_FILES = 80

BLANKS = st.sampled_from([b"", b" ", b"\t", b"\r\n", b"\n", b"\r", b"\0", b"\r\n "])
FIELDS = st.tuples(
    st.sampled_from(
        [b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Expect", b"Cookie", b"X_A", b""]
    ),
    BLANKS,
    st.sampled_from([b":", b": ", b"::", b""]),
    st.sampled_from([b"x", b"5", b"0", b"+5", b"5, 5", b"chunked", b"gzip", b"close", b"keep-alive, a", b"\xe4", b""]),
    BLANKS,
).map(b"".join)
FIRST = st.tuples(
    st.sampled_from([b"GET", b"POST", b"HEAD", b"OPTIONS", b"CONNECT", b"g\xff"]),
    st.sampled_from([b" ", b"  ", b"\t"]),
    st.sampled_from([b"/", b"*", b"/a?b", b"/?", b"http://h/x", b"HTTPS://h?q", b"x", b"/\xe4", b"//h/"]),
    st.sampled_from([b" HTTP/1.1", b" HTTP/1.0", b" HTTP/1.9", b" HTTP/2.0", b" http/1.1", b""]),
).map(b"".join)
HEADS = st.tuples(FIRST, st.lists(FIELDS, max_size=5)).map(lambda parts: b"\r\n".join([parts[0], *parts[1]]))
FRAME = st.tuples(
    st.sampled_from([b"1", b"3", b"0003", b"a", b"A", b"0", b"00", b"x", b"-1", b""]),
    st.sampled_from([b"", b";a=b", b" ", b"\t;c", b";\xff", b";\n"]),
    st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"]),
    st.sampled_from([b"abc", b"x", b"0123456789", b"", b"X: y"]),
    st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\r\n\r\n", b"\n", b""]),
).map(b"".join)
GOOD_FRAME = st.binary(min_size=1, max_size=40).map(lambda body: b"%x\r\n%b\r\n" % (len(body), body))
BODIES = st.tuples(
    st.lists(st.one_of(GOOD_FRAME, GOOD_FRAME, FRAME), max_size=6).map(b"".join),
    st.sampled_from([b"0\r\n\r\n", b"0\r\n\r\nGET /", b"0;a\r\nX: y\r\n\r\n", b"0\r\n X: y\r\n\r\n", b"0\r\n\n", b""]),
).map(b"".join)


def _targets() -> Any:
    name = "cockpit_http_fuzz_targets"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, HERE / "http_targets.py")
        assert spec is not None
        assert spec.loader is not None
        sys.modules[name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[name])
    return sys.modules[name].TARGETS


def corpus(name: str) -> list[Path]:
    return sorted((HERE / "corpus" / name).iterdir())


def test_every_target_has_a_small_corpus() -> None:
    assert set(NAMES) == set(_targets()) == {folder.name for folder in (HERE / "corpus").iterdir()}
    for name in NAMES:
        sizes = [path.stat().st_size for path in corpus(name)]
        assert 2 <= len(sizes) <= MOST_FILES
        assert max(sizes) < MOST_BYTES


@pytest.mark.parametrize("name", NAMES)
def test_the_inputs_of_a_corpus_are_read_as_h11_reads_them(name: str) -> None:
    target = _targets()[name]
    for path in corpus(name):
        data = path.read_bytes()
        for at in range(len(data)):
            target(data[:at])
            target(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
        target(data)


@given(HEADS)
def test_heads_are_read_as_h11_reads_them(data: bytes) -> None:
    _targets()["head"](data)


@given(BODIES)
def test_chunks_are_read_as_h11_reads_them(data: bytes) -> None:
    _targets()["chunks"](data)
