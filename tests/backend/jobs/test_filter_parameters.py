import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.errors import InvalidInput
from cc_backend.jobs.filter_parameters import (
    parse_duration,
    parse_duration_range,
    parse_filters,
    parse_integer_range,
    parse_number_range,
    parse_tags,
    range_ends,
)
from cc_backend.jobs.filters import FootprintRange, JobFilter


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("3600-7200", (3600, 7200)),
        ("lessthan-300", (None, 300)),
        ("morethan-300", (300, None)),
        ("0-60", (0, 60)),
        ("30min-2h", (1800, 7200)),
        ("1:30-2:00:01", (5400, 7201)),
        ("1d", (86400, 86400)),
        ("1.5h-", (5400, None)),
    ],
)
def test_a_span_of_run_times(text: str, bounds: tuple[int | None, int | None]) -> None:
    assert parse_duration_range("duration", text) == bounds


@pytest.mark.parametrize("name", ["tag", "noTag"])
@pytest.mark.parametrize("text", ["x", ":", "a:", ":b", "1.5", "-1"])
def test_a_tag_that_cannot_be_is_refused_with_the_name_of_its_parameter(name: str, text: str) -> None:
    with pytest.raises(InvalidInput, match=f"'{name}'"):
        parse_filters([(name, text)])


@pytest.mark.parametrize("text", ["some", "ALL", "and"])
def test_how_tags_are_combined_is_one_of_two_words(text: str) -> None:
    with pytest.raises(InvalidInput, match="tagMatch"):
        parse_filters([("tag", "a:b"), ("tagMatch", text)])


@given(st.integers(0, 10**12 - 1))
def test_seconds_are_spans(seconds: int) -> None:
    assert parse_duration("duration", str(seconds)) == seconds


@given(st.text(max_size=30))
def test_whatever_is_no_range_is_refused_by_its_name(text: str) -> None:
    for read in (parse_number_range, parse_integer_range, parse_duration_range):
        try:
            low, high = read("energy", text)
        except InvalidInput as error:
            assert "'energy'" in str(error)  # noqa: PT017 - both ways are right
        else:
            assert low is None or high is None or low <= high
            assert (low, high) != (None, None)


def test_all_filters_together() -> None:
    pairs = [
        ("duration", "60-120"), ("numNodes", "2-4"), ("numHWThreads", "lessthan-96"), ("numAccelerators", "morethan-1"),
        ("energy", "0.5-2.5"), ("stat", "cpu_load_avg-0-10"), ("stat", "mem_used_max-morethan-100"), ("shared", "none"),
        ("shared", "multi_user"), ("schedule", "batch"), ("dbId", "7"), ("dbId", "8"), ("jobId", "4711"),
        ("arrayJobId", "99"), ("jobName", "relax"), ("node", "tn[01-03]"), ("node", "tx1"), ("user", "ml"),
        ("project", "a"), ("project", "b"), ("tag", "3"), ("cluster", "left to others"),
    ]  # fmt: skip
    assert parse_filters(pairs, JobFilter(clusters=("tarn",))) == JobFilter(
        clusters=("tarn",),
        duration_from_s=60,
        duration_to_s=120,
        nodes_from=2,
        nodes_to=4,
        threads_to=96,
        accelerators_from=1,
        energy_from=0.5,
        energy_to=2.5,
        footprint=(FootprintRange("cpu_load_avg", 0, 10), FootprintRange("mem_used_max", 100, None)),
        shared=("none", "multi_user"),
        interactive=False,
        ids=(7, 8),
        job_ids=(4711,),
        array_job_id=99,
        name="relax",
        hosts=("tn01", "tn02", "tn03", "tx1"),
        user_contains="ml",
        projects=("a", "b"),
    )


@pytest.mark.parametrize(
    ("pairs", "wanted"),
    [
        ([("user", "ml"), ("userMatch", "eq")], JobFilter(users=("ml",))),
        ([("user", "a"), ("user", "b")], JobFilter(users=("a", "b"))),
        ([("project", "chem")], JobFilter(projects=("chem",))),
        ([("project", "chem"), ("projectMatch", "contains")], JobFilter(project_contains="chem")),
        ([("node", "n1"), ("nodeMatch", "contains")], JobFilter(host_contains="n1")),
        ([("schedule", "interactive")], JobFilter(interactive=True)),
    ],
)
def test_names_are_compared_as_a_whole_or_in_part(pairs: list[tuple[str, str]], wanted: JobFilter) -> None:
    assert parse_filters(pairs) == wanted


def test_tags_are_ids_or_type_and_name() -> None:
    (first, second) = parse_tags(["17", "code: gromacs:2"])
    assert first.id == 17
    assert (second.id, second.type, second.name) == (None, "code", "gromacs:2")


@pytest.mark.parametrize(
    ("text", "both"), [("2-8", ("2", "8")), ("lessthan-8", ("", "8")), ("morethan-2", ("2", "")), ("4", ("4", "4"))]
)
def test_the_ends_of_a_range_as_a_form_shows_them(text: str, both: tuple[str, str]) -> None:
    assert range_ends(text) == both
