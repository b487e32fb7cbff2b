import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.taggers.hint_messages import with_hints


def test_hints_are_joined_to_what_people_wrote() -> None:
    first = with_hints({"jobName": "x", "message": "Ask Ann.\nTwice."}, ["low", "high"])
    assert first == {"jobName": "x", "message": "Ask Ann.\nTwice.\nlow\nhigh", "jobClassHints": "low\nhigh"}


def test_the_former_hints_are_taken_back_and_nothing_else() -> None:
    first = with_hints({"message": "Ask Ann."}, ["low", "high"])
    assert with_hints(first, ["other"]) == {"message": "Ask Ann.\nother", "jobClassHints": "other"}
    assert with_hints(first, []) == {"message": "Ask Ann."}
    assert with_hints(with_hints(None, ["low"]), []) is None
    assert with_hints(None, []) is None


def test_what_somebody_wrote_into_a_hint_stays() -> None:
    edited = {"message": "low, see ticket 7\nhigh\nnew line", "jobClassHints": "low\nhigh"}
    assert with_hints(edited, []) == {"message": "low, see ticket 7\nnew line"}


def test_a_line_that_somebody_wrote_is_not_added_again_nor_taken_back() -> None:
    first = with_hints({"message": "low"}, ["low"])
    assert first == {"message": "low"}
    assert with_hints(first, []) == {"message": "low"}


@pytest.mark.parametrize("hints", [[], ["a"], ["a", "a"], ["a\nb", " ", ""]])
def test_again_nothing_changes(hints: list[str]) -> None:
    first = with_hints({"message": "x"}, hints)
    assert with_hints(first, hints) == first


def test_hints_have_a_limit() -> None:
    found = with_hints(None, [f"{number} " + "x" * 1000 for number in range(50)])
    assert found is not None
    assert len(found["jobClassHints"]) == 10_000


TEXTS = st.text(alphabet="ab\n ", max_size=12)


@given(TEXTS, st.lists(TEXTS, max_size=4), st.lists(TEXTS, max_size=4))
def test_whatever_the_hints_were_the_own_text_comes_back(own: str, first: list[str], second: list[str]) -> None:
    before = {"message": own} if own.strip("\n") else None
    there = with_hints(before, first)
    assert with_hints(there, second) == with_hints(before, second)
    assert (with_hints(there, []) or {}).get("message", "") == own.strip("\n")
