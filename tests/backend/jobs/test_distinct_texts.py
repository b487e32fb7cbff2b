from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.jobs import distinct_texts
from cc_backend.jobs.distinct_texts import DistinctTexts

TEXTS = st.lists(st.text(alphabet="abAB_%\0é", max_size=5), max_size=40)


def filled(texts: Sequence[object]) -> DistinctTexts:
    found = DistinctTexts()
    found.numbers(texts)
    return found


def test_a_text_keeps_its_number() -> None:
    texts = DistinctTexts()
    assert texts.numbers(["b", "a", "b"]).tolist() == [0, 1, 0]
    assert texts.numbers(["c", "a"]).tolist() == [2, 1]
    assert (texts[2], texts.number("a"), texts.number("x"), len(texts)) == ("c", 1, -1, 3)


@pytest.mark.parametrize("value", [None, 5, 5.5, b"a"])
def test_what_is_not_a_text_counts_as_the_empty_text(value: object) -> None:
    texts = DistinctTexts()
    assert texts.numbers([value, ""]).tolist() == [0, 0]
    assert list(texts) == [""]


def test_ranks_are_the_places_when_sorted() -> None:
    assert filled(["b", "c", "a"]).ranks().tolist() == [1, 2, 0]


def test_half_a_surrogate_pair_cannot_be_searched_for() -> None:
    with pytest.raises(UnicodeEncodeError):
        filled(["a"]).containing("\ud800")


@pytest.mark.parametrize("apart", [0, 3, 2000])
@given(
    texts=TEXTS, part=st.text(alphabet="abA_%é", min_size=1, max_size=3), at_start=st.booleans(), at_end=st.booleans()
)
def test_parts_are_found_joined_or_not(
    apart: int, texts: list[str], part: str, *, at_start: bool, at_end: bool
) -> None:
    searched = DistinctTexts()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(distinct_texts, "_MAX_APART", apart)
        for text in texts:  # joined anew in between
            searched.numbers([text])
            searched.containing("a")
        found = [searched[number] for number in searched.containing(part, at_start=at_start, at_end=at_end)]

    def fits(text: str) -> bool:
        folded, wanted = (value.encode().lower() for value in (text, part))
        if at_start or at_end:
            return (not at_start or folded.startswith(wanted)) and (not at_end or folded.endswith(wanted))
        return wanted in folded

    if not (at_start and at_end):
        assert found == [text for text in dict.fromkeys(texts) if fits(text)]
    assert searched.containing(f"{part}\0") == []
