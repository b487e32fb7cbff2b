import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.metricstore.disk.key_reader import KeyReader
from cc_backend.metricstore.disk.wal.wal_format import decode_key, encode_key
from cc_backend.metricstore.index.bulk_keys import NO_KEY, UNREADABLE_KEY, BulkKeys
from cc_backend.metricstore.model import HostPart, Identity

NAMES = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=5)
FEW = st.sampled_from(["", "a", "b", "ab"])
IDENTITIES = st.builds(Identity, NAMES | FEW, NAMES | FEW, FEW, st.builds(HostPart, FEW, NAMES | FEW, FEW, FEW))
SNIPPETS = st.lists(st.sampled_from([b"\0", b"a", b"b", b"\xff", "ö".encode()[:1]]), max_size=12).map(b"".join)
LOAD = b"demo\0n1\0load\0\0\0\0"


def found(keys: BulkKeys) -> list[Identity | None]:
    readable = np.flatnonzero(keys.kinds >= 0)
    identities: list[Identity | None] = [None] * len(keys)
    for at, identity in zip(readable.tolist(), keys.identities(readable), strict=True):
        identities[at] = identity
    return identities


@given(st.lists(st.lists(IDENTITIES.map(encode_key) | SNIPPETS, max_size=10), max_size=4))
def test_many_keys_are_read_as_each_is_alone(batches: list[list[bytes]]) -> None:
    reader = KeyReader()
    for keys in batches:
        read = reader.read(keys * 2)
        assert found(read) == [decode_key(key) for key in keys] * 2
        assert np.array_equal(read.hosts < 0, read.kinds < 0)


@pytest.mark.parametrize(
    "key",
    [
        b"a",
        b"a\0b",
        b"a\0b\0",
        b"a\0b\0c",
        b"demo\0n1\0",
        b"demo\0n1\0load\0\0\0\0\0",
        b"\xff\0n1\0load\0\0\0\0",
        b"demo\0n\xff\0load\0\0\0\0",
        b"demo\0n1\0load\0\0\xff\0\0",
    ],
)
def test_what_is_no_key_is_none_also_among_others(key: bytes) -> None:
    reader = KeyReader()
    for _ in range(2):
        keys = reader.read([LOAD, key, LOAD])
        assert found(keys) == [Identity("demo", "n1", "load"), None, Identity("demo", "n1", "load")]
        assert (keys.hosts[1], keys.kinds[1]) == (UNREADABLE_KEY, UNREADABLE_KEY)


def test_no_key_is_something_else_than_one_that_cannot_be_read() -> None:
    keys = KeyReader().read([b"", LOAD, b"", b"x", b""])
    assert keys.kinds.tolist() == [NO_KEY, 0, NO_KEY, UNREADABLE_KEY, NO_KEY]
    assert keys.hosts.tolist() == [NO_KEY, 0, NO_KEY, UNREADABLE_KEY, NO_KEY]
    assert len(KeyReader().read([])) == 0


def test_hosts_share_the_numbers_of_what_they_have_in_common() -> None:
    reader = KeyReader()
    hosts = ["n1", "n10", "n1", "n2"]
    keys = reader.read([f"demo\0{host}\0{metric}\0\0\0\0".encode() for host in hosts for metric in ("load", "temp")])
    assert keys.hosts.tolist() == [0, 0, 1, 1, 0, 0, 2, 2]
    assert keys.kinds.tolist() == [0, 1] * 4
    assert reader.names.hosts == [("demo", "n1"), ("demo", "n10"), ("demo", "n2")]
    assert reader.names.kinds == [("load", HostPart()), ("temp", HostPart())]
    assert reader.read([b"demo\0n2\0temp\0\0\0\0"]).kinds.tolist() == [1]
