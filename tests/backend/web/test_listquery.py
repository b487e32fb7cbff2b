from datetime import UTC
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from cc_backend.errors import InvalidInput
from cc_backend.model import JobState
from cc_backend.web.listquery import PAGE_SIZES, RANGES, SORTS, VIEWS, ListQuery, read_query

names = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=20).filter(
    lambda text: text == text.strip() and text.isprintable() and not text.isdigit()
)
states = st.lists(st.sampled_from(list(JobState)), unique=True).map(lambda s: tuple(x for x in JobState if x in s))
times = st.one_of(st.none(), st.integers(1, 4_000_000_000))


@st.composite
def queries(draw: st.DrawFn) -> ListQuery:
    text = st.one_of(st.just(""), names)
    started = draw(st.sampled_from(["", *RANGES]))
    bounds = sorted([draw(st.integers(1, 4_000_000_000)), draw(st.integers(1, 4_000_000_000))])
    return ListQuery(
        states=draw(states),
        cluster=draw(text),
        sub_cluster=draw(text),
        partition=draw(text),
        user=draw(text),
        project=draw(text),
        node=draw(text),
        text=draw(text),
        job_id=draw(st.one_of(st.none(), st.integers(0, 10**17))),
        array_job_id=draw(st.one_of(st.none(), st.integers(0, 10**17))),
        started=started,
        from_s=None if started or draw(st.booleans()) else bounds[0],
        to_s=None if started or draw(st.booleans()) else bounds[1],
        sort=draw(st.sampled_from(list(SORTS))),
        page=draw(st.integers(1, 1000)),
        per=draw(st.sampled_from(PAGE_SIZES)),
        view=draw(st.sampled_from(VIEWS)),
    )


def read(address: str) -> ListQuery:
    return read_query(MultiDict(parse_qsl(urlsplit(address).query)), UTC)


@given(queries())
def test_a_query_survives_its_address(query: ListQuery) -> None:
    assert read(query.address("/monitoring/jobs/")) == query


def test_the_plain_list_has_a_plain_address() -> None:
    assert ListQuery().address("/monitoring/jobs/") == "/monitoring/jobs/"


def test_names_of_the_reference_are_read_as_well() -> None:
    query = read("?jobName=relax&subCluster=main&startTime=last7d&jobId=12&arrayJobId=3")
    assert (query.text, query.sub_cluster, query.started, query.job_id, query.array_job_id) == (
        "relax",
        "main",
        "7d",
        12,
        3,
    )
    assert read("?startTime=1000-2000") == ListQuery(from_s=1000, to_s=2000)
    assert read("?startTime=1000-") == ListQuery(from_s=1000)


def test_a_number_in_the_search_field_is_a_job_number() -> None:
    assert read("?q=4711823") == ListQuery(job_id=4711823)
    assert read("?q=4711823x").text == "4711823x"


def test_days_mean_whole_days() -> None:
    query = read("?from=2026-03-12&to=2026-03-12")
    assert query.from_s is not None
    assert query.to_s is not None
    assert query.to_s - query.from_s == 86399


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("?state=sleeping", "state"),
        ("?page=-1", "page"),
        ("?page=1e3", "page"),
        ("?page=" + "9" * 40, "page"),
        ("?per=7", "per"),
        ("?sort=size", "sort"),
        ("?view=cards", "view"),
        ("?started=soon", "started"),
        ("?from=tomorrow", "from"),
        ("?from=2026-13-45", "from"),
        ("?from=2000&to=1000", "to"),
        ("?job=abc", "job"),
        ("?user=a%00b", "user"),
        ("?q=" + "x" * 300, "q"),
        ("?job=%EF%BC%91", "job"),
    ],
)
def test_what_cannot_be_is_refused_by_name(address: str, name: str) -> None:
    with pytest.raises(InvalidInput, match=f"'{name}'"):
        read(address)


def test_changing_a_filter_goes_back_to_page_one() -> None:
    query = ListQuery(page=7, cluster="tarn")
    assert query.with_(view="table").page == 1
    assert query.with_(page=8).page == 8


def test_each_pill_removes_its_own_filter() -> None:
    query = read("?state=running&state=failed&cluster=tarn&user=mlindq&started=7d&page=3")
    pills = {label: (value, without) for label, value, without in query.pills()}
    assert pills["state"][0] == "failed, running"
    assert pills["started"][0] == "last 7 days"
    assert pills["user"][1].user == ""
    assert pills["user"][1].cluster == "tarn"
    assert query.without_filters() == ListQuery()


def test_a_named_range_moves_with_the_time() -> None:
    query = ListQuery(started="24h")
    assert query.started_window(100_000) == (100_000 - 86400, None)
    assert ListQuery(from_s=5, to_s=6).started_window(100_000) == (5, 6)
