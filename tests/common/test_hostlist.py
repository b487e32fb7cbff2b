"""Host lists of both grammars: what they mean, and what is refused before it can cost anything."""

from __future__ import annotations

import contextlib
from typing import Any, List

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_common.errors import HostlistError
from cc_common.hostlist import MAX_HOSTS, HostSet, expand, fold


@pytest.mark.parametrize(
    ("text", "hosts"),
    [
        ("", []),
        (" , ,\n", []),
        ("k1", ["k1"]),
        ("k[08-11]", ["k08", "k09", "k10", "k11"]),
        ("k[8-11]", ["k8", "k9", "k10", "k11"]),
        ("k[0-10]", [f"k{n}" for n in range(11)]),
        ("k[098-101]", ["k098", "k099", "k100", "k101"]),
        ("k[3,7]", ["k3", "k7"]),
        ("k[007,3]", ["k007", "k3"]),
        ("k[1-2]-ib", ["k1-ib", "k2-ib"]),
        ("k[01-02]x", ["k01x", "k02x"]),
        ("k[1, 3-4]", ["k1", "k3", "k4"]),
        ("r[1-2]n[01-02]", ["r1n01", "r1n02", "r2n01", "r2n02"]),
        ("b,a c\ta", ["b", "a", "c"]),
        ("a.b_c-d", ["a.b_c-d"]),
        ("[1-2]", ["1", "2"]),
        ("k[1-3,2-4]", ["k1", "k2", "k3", "k4"]),
    ],
)
def test_a_host_list_expands_in_the_order_written_without_doubles(text: str, hosts: List[str]) -> None:
    assert expand(text) == hosts


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a[1-2", "[1-2"),
        ("a]", "]"),
        ("a[1-2]]", "]"),
        ("a[[1]]", "[[1]]"),
        ("a[]", ""),
        ("a[1,]", ""),
        ("a[x]", "x"),
        ("a[1-2-3]", "1-2-3"),
        ("a[5-1]", "5-1"),
        ("a[1-010]", "1-010"),
        ("a[1-9999999999999999]", "1-9999999999999999"),
        ("a[\u0661-\u0662]", "\u0661-\u0662"),
        ("@all", "@all"),
        ("a!b", "a!b"),
        ("a&b", "a&b"),
        ("$(reboot)", "$(reboot)"),
        ("a;b", "a;b"),
        ("`id`", "`id`"),
        ("a|b", "a|b"),
        ("../x", "../x"),
        ("a/b", "a/b"),
        ("..", ".."),
        ("-rf", "-rf"),
        ("a\x00b", "a\x00b"),
        ("a*", "a*"),
        ("*", "*"),
        ("a[1][1][1][1][1]", "a[1][1][1][1][1]"),
    ],
)
def test_what_is_not_a_host_list_is_rejected_and_the_part_named(text: str, part: Any) -> None:
    with pytest.raises(HostlistError) as caught:
        expand(text)
    assert caught.value.part == part


@pytest.mark.parametrize(
    "text",
    ["a[1-999999999]", "a[1-999999999999999]", "a[1-1000][1-1000]", "a[1-60000],b[1-60000]", "x," * 600_000, "a" * 300],
)
def test_a_list_that_is_too_large_is_rejected_before_it_is_expanded(text: str) -> None:
    with pytest.raises(HostlistError):
        expand(text)


def test_the_largest_list_that_is_accepted() -> None:
    assert len(expand(f"a[1-{MAX_HOSTS}]")) == MAX_HOSTS
    with pytest.raises(HostlistError, match="more than 3 names"):
        expand("a[1-4]", limit=3)


def test_a_host_set_has_membership_length_and_order() -> None:
    hosts = HostSet("k[08-10],login")
    assert "k09" in hosts
    assert "k9" not in hosts
    assert 5 not in hosts
    assert len(hosts) == 4
    assert list(hosts) == ["k08", "k09", "k10", "login"]


def test_the_wildcard_makes_every_name_a_member() -> None:
    hosts = HostSet("*")
    assert "anything" in hosts
    assert "" not in hosts
    assert hosts
    assert len(hosts) == 0
    assert hosts.wildcard


def test_an_empty_host_set_is_false() -> None:
    assert not HostSet("")


def test_host_sets_compare_by_their_members() -> None:
    assert HostSet("a[1-2]") == HostSet("a2,a1")
    assert hash(HostSet("a[1-2]")) == hash(HostSet("a2,a1"))
    assert HostSet("a") != HostSet("*,a")
    assert HostSet("a") != "a"
    assert repr(HostSet("a")) == "HostSet('a')"


@given(
    st.text("abcXYZ", min_size=1, max_size=5),
    st.integers(0, 2000),
    st.integers(0, 200),
    st.integers(1, 6),
    st.text("-x", max_size=2),
)
def test_a_padded_range_expands_to_what_formatting_gives(
    prefix: bytes, first: Any, count: Any, width: Any, suffix: Any
) -> None:
    last = first + count
    text = f"{prefix}[{first:0{width}d}-{last:0{width}d}]{suffix}"
    assert expand(text) == [f"{prefix}{number:0{width}d}{suffix}" for number in range(first, last + 1)]


@given(st.text(max_size=60))
def test_no_text_raises_anything_but_a_host_list_error(text: str) -> None:
    with contextlib.suppress(HostlistError):
        hosts = expand(text)
        assert len(set(hosts)) == len(hosts)


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ([], ""),
        (["n017"], "n017"),
        (["n019", "n017", "n018"], "n[017-019]"),
        (["n020", "n017", "n018", "n018"], "n[017-018,020]"),
        (["n8", "n9", "n10", "n11"], "n[8-11]"),
        (["n08", "n09", "n010"], "n[08-09,010]"),
        (["n9", "n09", "n10"], "n[9,09-10]"),
        (["login1", "n1", "n2"], "login1,n[1-2]"),
        (["n1-ib", "n2-ib"], "n[1-2]-ib"),
        (["r1n01", "r1n02", "r2n01"], "r1n[01-02],r2n01"),
        (["head"], "head"),
        (["0", "1"], "[0-1]"),
        (["n1234567890123456789", "n1234567890123456790"], "n1234[567890123456789-567890123456790]"),
    ],
)
def test_names_are_folded_into_ranges(names: List[str], text: str) -> None:
    assert fold(names) == text


@given(st.lists(st.from_regex(r"[a-c]{0,2}[0-9]{1,3}[a-c]?", fullmatch=True), max_size=40))
def test_a_folded_list_expands_to_the_same_names(names: List[str]) -> None:
    assert set(expand(fold(names))) == set(names)
