import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.metricstore.lines.clustertags import only_clusters
from cc_backend.metricstore.lines.kernel import HAS_NATIVE
from cc_common import lineprotocol

OWN = b"load,cluster=tern,hostname=a value=1 17\nload,hostname=a,cluster=tern value=1 17\n"

pytestmark = pytest.mark.parametrize(
    "native",
    [False, pytest.param(True, marks=pytest.mark.skipif(not HAS_NATIVE, reason="the C kernel was not built"))],
    ids=["python", "c"],
)


@pytest.mark.parametrize("filling", [b"", b"# " + b"x" * 61 + b"\n", b"load,hostname=cc=c=cluste value=1\n"])
@pytest.mark.parametrize(
    ("tail", "only"),
    [
        (b"", True),
        (b"load,hostname=a value=1 17", True),
        (b"load,cluster=heron,hostname=a value=1", True),
        (b"load,cluster=terns,hostname=a value=1", False),
        (b"load,cluster=ter,hostname=a value=1", False),
        (b"load,cluster=tern", False),
        (b"load,cluster=", False),
        (b"load,mycluster=tern,hostname=a value=1", False),
        (b"load,cluster=wren,hostname=a value=1", False),
        (b"load,hostname=a value=1\ncluster=tern value=1", False),
    ],
)
def test_every_cluster_tag_must_have_one_of_the_names_exactly(
    tail: bytes,
    only: bool,  # noqa: FBT001 a parameter
    filling: bytes,
    native: bool,  # noqa: FBT001 a parameter
) -> None:
    assert only_clusters(filling + OWN + filling + tail, ["tern", "heron"], native=native) is only


@pytest.mark.parametrize("name", ["a-b", "a_b", "a.b", "1a", "ä"])
def test_usual_names_are_seen(name: str, native: bool) -> None:  # noqa: FBT001 a parameter
    batch = f"load,cluster={name},hostname=a value=1 17\n".encode()
    assert only_clusters(batch, [name], native=native)
    assert not only_clusters(batch + OWN, [name], native=native)


@pytest.mark.parametrize("name", ["a b", "a,b", "a=b", "a\\b", "a\n", ""])
def test_names_that_can_be_written_in_several_ways_are_not_seen(name: str, native: bool) -> None:  # noqa: FBT001 a parameter
    assert not only_clusters(f"load,cluster={name},hostname=a value=1".encode(), [name], native=native)
    assert not only_clusters(OWN, [], native=native)


pieces = st.sampled_from(
    [
        b"load",
        b",cluster=",
        b"cluster=",
        b"tern-1",
        b"tern",
        b"heron",
        b",",
        b" ",
        b"\n",
        b"=",
        b"\\",
        b",hostname=a",
        b" value=1 17\n",
    ]
)


@given(parts=st.lists(pieces, max_size=40))
def test_what_is_said_to_be_of_own_clusters_only_is(parts: list[bytes], native: bool) -> None:  # noqa: FBT001 a parameter
    batch = b"".join(parts)
    if only_clusters(batch, ["tern", "tern-1"], native=native):
        points, _ = lineprotocol.decode(batch, received_s=0)
        assert {point.tags.get("cluster", "tern") for point in points} <= {"tern", "tern-1"}
