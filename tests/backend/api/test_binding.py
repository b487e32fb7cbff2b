import pytest

from cc_backend.api.binding import check_batch, check_cluster
from cc_backend.errors import NotAllowed

OWN = b"load,cluster=tern,hostname=tn1 value=1 1760000000\n"


def test_a_token_without_binding_writes_everywhere() -> None:
    check_batch(b"load,cluster=heron,hostname=h1 value=1", default_cluster="", bound=())


def test_lines_of_the_own_cluster_pass() -> None:
    check_batch(OWN * 3, default_cluster="tern", bound=("tern",))


@pytest.mark.parametrize(
    "line",
    [
        b"load,cluster=heron,hostname=tn1 value=1",
        b"load,hostname=tn1,cluster=heron value=1",
        b"load,cluster=tern,hostname=tn1,cluster=heron value=1",
        b"load,cluster=tern2,hostname=tn1 value=1",
        b"load,cluster=tern\\,x,hostname=tn1 value=1",
        b"load,cluster=tern\\ x,hostname=tn1 value=1",
        b"load,cluster=Tern,hostname=tn1 value=1",
        b"load,cluster=heron,hostname=a\\,cluster\\=tern\\,b value=1",
    ],
)
def test_a_line_of_another_cluster_is_refused_however_it_is_written(line: bytes) -> None:
    with pytest.raises(NotAllowed, match="not for cluster"):
        check_batch(OWN + line + b"\n" + OWN, default_cluster="", bound=("tern",))


def test_the_refusal_names_the_clusters_and_counts_the_rest() -> None:
    lines = b"".join(b"load,cluster=c%d,hostname=h value=1\n" % number for number in range(5))
    with pytest.raises(NotAllowed, match="'c0', 'c1', 'c2' and 2 more"):
        check_batch(lines, default_cluster="", bound=("tern",))


def test_the_default_cluster_must_be_the_own_one() -> None:
    with pytest.raises(NotAllowed, match="'heron'"):
        check_batch(b"load,hostname=h value=1", default_cluster="heron", bound=("tern",))


def test_text_that_only_mentions_a_cluster_is_no_foreign_line() -> None:
    check_batch(
        b"load,cluster=tern,hostname=a\\,cluster\\=heron value=1\n# cluster=heron\n",
        default_cluster="",
        bound=("tern",),
    )


def test_one_cluster_is_checked_by_name() -> None:
    check_cluster("tern", ("tern", "heron"))
    with pytest.raises(NotAllowed, match="'wren'"):
        check_cluster("wren", ("tern", "heron"))
