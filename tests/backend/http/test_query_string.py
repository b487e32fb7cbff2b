import pytest
from werkzeug.datastructures import MultiDict

from cc_backend.errors import InvalidInput
from cc_backend.http.query_string import (
    optional_integer,
    parse_flag,
    parse_integer,
    parse_job_id,
    parse_scopes,
    parse_time_range,
    reject_unknown,
)
from cc_backend.model import Scope


def test_a_misspelt_name_is_answered_with_the_nearest_known_one() -> None:
    with pytest.raises(InvalidInput, match="'clutser'; did you mean 'cluster'"):
        reject_unknown(MultiDict({"clutser": "tern"}), ("cluster", "state"))


def test_a_name_like_no_other_is_answered_with_all_known_ones() -> None:
    with pytest.raises(InvalidInput, match="known are cluster, state"):
        reject_unknown(MultiDict({"zzz": "1"}), ("state", "cluster"))


def test_a_long_unknown_name_is_cut_in_the_answer() -> None:
    with pytest.raises(InvalidInput) as caught:
        reject_unknown(MultiDict({"z" * 5000: "1"}), ("state",))
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize(("text", "value"), [("0", 0), ("25", 25), ("9223372036854775807", 2**63 - 1), ("007", 7)])
def test_whole_numbers_are_read(text: str, value: int) -> None:
    assert parse_integer("page", text) == value


@pytest.mark.parametrize("text", ["", " 1", "1.0", "1e3", "0x10", "1_000", "٣", "-", "--1", "+1", "9" * 5000, "1;drop"])
def test_what_is_no_whole_number_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInput, match="page must be an integer"):
        parse_integer("page", text)


def test_a_route_in_place_of_a_job_id_is_named() -> None:
    assert parse_job_id("17") == 17
    with pytest.raises(InvalidInput, match="did you mean /api/jobs/start_job/"):
        parse_job_id("start")
    with pytest.raises(InvalidInput, match="id must be an integer, not 'x'"):
        parse_job_id("x")


@pytest.mark.parametrize("text", ["0", "-5", "9223372036854775808"])
def test_a_number_out_of_range_is_refused_with_the_range(text: str) -> None:
    with pytest.raises(InvalidInput, match="between 1 and"):
        parse_integer("page", text, minimum=1)


def test_the_first_spelling_that_was_given_counts() -> None:
    arguments = MultiDict([("items_per_page", "7")])
    assert optional_integer(arguments, "items-per-page", "items_per_page", default=25) == 7


def test_a_number_that_was_not_given_is_the_default() -> None:
    assert optional_integer(MultiDict(), "page", default=1) == 1


@pytest.mark.parametrize(
    ("text", "value"),
    [("", True), ("true", True), ("True", True), ("1", True), ("false", False), ("FALSE", False), ("0", False)],
)
def test_a_flag_is_read_as_what_it_says(text: str, value: bool) -> None:  # noqa: FBT001  parametrised value
    assert parse_flag(MultiDict({"with-metadata": text}), "with-metadata") is value


def test_an_absent_flag_is_false() -> None:
    assert parse_flag(MultiDict(), "with-metadata") is False


def test_a_flag_that_is_neither_is_refused() -> None:
    with pytest.raises(InvalidInput, match="with-metadata must be true or false, not 'maybe'"):
        parse_flag(MultiDict({"with-metadata": "maybe"}), "with-metadata")


def test_a_time_range_is_two_numbers() -> None:
    assert parse_time_range("start-time", "1760000000-1760003600") == (1760000000, 1760003600)


@pytest.mark.parametrize("text", ["", "5", "5-", "-5", "a-b", "1-2-3", "1.5-2"])
def test_half_a_time_range_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="start-time must be"):
        parse_time_range("start-time", text)


def test_scopes_are_read_in_order() -> None:
    assert parse_scopes(MultiDict([("scope", "core"), ("scope", "node")])) == [Scope.CORE, Scope.NODE]


def test_no_scope_is_none() -> None:
    assert parse_scopes(MultiDict()) is None


def test_an_unknown_scope_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InvalidInput, match="scope must be one of node, socket"):
        parse_scopes(MultiDict({"scope": "rack"}))
