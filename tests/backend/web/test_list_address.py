from datetime import UTC
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from werkzeug.datastructures import MultiDict

from cc_backend.errors import InvalidInput
from cc_backend.jobs.filter_parameters import FILTER_NAMES
from cc_backend.model import JobState
from cc_backend.web.filter_labels import label_filter
from cc_backend.web.list_address import (
    KNOWN_PARAMETERS,
    MAX_PARAMETERS,
    PAGE_SIZES,
    SORTS,
    TIME_RANGES,
    VIEWS,
    ListAddress,
    is_canonical,
    parse_list_address,
    suggest_parameter,
)

names = st.text(st.characters(codec="utf-8", categories=("L", "N", "P")), min_size=1, max_size=20).filter(
    lambda text: text == text.strip() and text.isprintable() and not text.isdigit()
)
states = st.lists(st.sampled_from(list(JobState)), unique=True).map(lambda s: tuple(x for x in JobState if x in s))
times = st.one_of(st.none(), st.integers(1, 4_000_000_000))


EXAMPLES = {
    "duration": ["3600-7200", "lessthan-300", "morethan-1h", "30min-2h", "0-60"],
    "numNodes": ["2-8", "4", "morethan-2"],
    "numHWThreads": ["0-0"],
    "numAccelerators": ["morethan-1", "1-"],
    "energy": ["0.5-2", "lessthan-100"],
    "stat": ["cpu_load_avg-0-10", "mem_used_max-morethan-100"],
    "tag": ["3", "code:cp2k", "17"],
    "shared": ["none", "multi_user"],
    "schedule": ["interactive", "batch"],
    "overdue": ["yes"],
    "dbId": ["1", "2", "3"],
    "jobId": ["4711", "4712"],
    "arrayJobId": ["99"],
    "jobName": ["relax, again"],
    "node": ["tn[01-04]", "tn09,tn10"],
    "user": ["mlindq", "hbrandt"],
    "project": ["chem-102", "bio"],
}
REPEATED = ("stat", "tag", "shared", "dbId", "jobId", "node", "user", "project")


@st.composite
def filter_pairs(draw: st.DrawFn) -> tuple[tuple[str, str], ...]:
    out = []
    for name in FILTER_NAMES:
        if name in EXAMPLES and draw(st.booleans()):
            most = len(EXAMPLES[name]) if name in REPEATED else 1
            out += [(name, v) for v in draw(st.lists(st.sampled_from(EXAMPLES[name]), max_size=most, unique=True))]
    return tuple(out)


filters = filter_pairs()


@st.composite
def queries(draw: st.DrawFn) -> ListAddress:
    text = st.one_of(st.just(""), names)
    started = draw(st.sampled_from(["", *TIME_RANGES]))
    bounds = sorted([draw(st.integers(1, 4_000_000_000)), draw(st.integers(1, 4_000_000_000))])
    return ListAddress(
        states=draw(states),
        cluster=draw(text),
        sub_cluster=draw(text),
        partition=draw(text),
        text=draw(text),
        ran_at_s=draw(times),
        filters=draw(filters),
        unknown=draw(st.sampled_from([(), (("durration", "5"),), (("x", "1"), ("y", "2"))])),
        started=started,
        from_s=None if started or draw(st.booleans()) else bounds[0],
        to_s=None if started or draw(st.booleans()) else bounds[1],
        sort=draw(st.sampled_from(list(SORTS))),
        page=draw(st.integers(1, 1000)),
        per=draw(st.sampled_from(PAGE_SIZES)),
        view=draw(st.sampled_from(VIEWS)),
    )


def read(address: str) -> ListAddress:
    return parse_list_address(MultiDict(parse_qsl(urlsplit(address).query)), UTC)


@given(queries())
def test_a_query_survives_its_address(query: ListAddress) -> None:
    assert read(query.to_address("/monitoring/jobs/")) == query


def test_the_plain_list_has_a_plain_address() -> None:
    assert ListAddress().to_address("/monitoring/jobs/") == "/monitoring/jobs/"


def test_names_of_the_reference_are_read_as_well() -> None:
    query = read("?jobName=relax&subCluster=main&startTime=last7d&jobId=12&arrayJobId=3")
    assert (query.sub_cluster, query.started) == ("main", "7d")
    assert query.filters == (("jobId", "12"), ("arrayJobId", "3"), ("jobName", "relax"))
    assert read("?startTime=1000-2000") == ListAddress(from_s=1000, to_s=2000)
    assert read("?startTime=1000-") == ListAddress(from_s=1000)
    assert read("?job=12&array=3").filters == (("jobId", "12"), ("arrayJobId", "3"))


def test_every_filter_of_the_reference_is_understood() -> None:
    """The parameters that the pages of ClusterCockpit 1.5 write into their addresses."""
    reference = (
        "cluster subCluster partition state shared schedule startTime duration numNodes numHWThreads numAccelerators "
        "energy stat tag node nodeMatch project projectMatch user userMatch jobId arrayJobId jobName dbId"
    )
    assert set(reference.split(" ")) <= set(KNOWN_PARAMETERS)


def test_what_is_repeated_is_kept_once_each() -> None:
    query = read("?user=a&user=b&user=a&jobId=1&jobId=2&dbId=7&dbId=8&tag=1&tag=2")
    assert (query.values("user"), query.values("jobId"), query.values("dbId"), query.values("tag")) == (
        ["a", "b"],
        ["1", "2"],
        ["7", "8"],
        ["1", "2"],
    )
    assert read("?user=a,b").values("user") == ["a", "b"]


def test_the_ends_of_a_range_that_a_form_sends_become_one_value() -> None:
    assert read("?numNodes[from]=2&numNodes[to]=8").filters == (("numNodes", "2-8"),)
    assert read("?duration[from]=30min&energy[to]=4.5").filters == (
        ("duration", "morethan-30min"),
        ("energy", "lessthan-4.5"),
    )
    assert not is_canonical(MultiDict({"numNodes[from]": "2"}))
    assert is_canonical(MultiDict({"numNodes": "2-8"}))


def test_how_names_are_compared_is_only_kept_where_it_matters() -> None:
    assert read("?user=ml&userMatch=contains&projectMatch=contains&nodeMatch=eq").filters == (("user", "ml"),)
    assert read("?user=ml&userMatch=eq").filters == (("user", "ml"), ("userMatch", "eq"))
    assert read("?user=a&user=b&userMatch=eq").filters == (("user", "a"), ("user", "b"))


def test_how_tags_are_combined_is_only_kept_where_it_matters() -> None:
    assert read("?tag=1&tagMatch=all").filters == (("tag", "1"),)
    assert read("?tag=1&tag=2&tagMatch=any").filters == (("tag", "1"), ("tag", "2"))
    both = (("tag", "1"), ("tag", "2"), ("tagMatch", "all"), ("noTag", "3"))
    assert read("?noTag=3&tag=1&tag=2&tagMatch=all").filters == both


def test_filters_by_tags_are_worded() -> None:
    names = {1: "app: vasp", 2: "app: gromacs"}
    assert label_filter("tag", ["1", "2"], "", names) == ("tag", "app: vasp or app: gromacs")
    assert label_filter("tag", ["1", "2"], "all", names) == ("tag", "app: vasp and app: gromacs")
    assert label_filter("noTag", ["2"], "", names) == ("without tag", "app: gromacs")


@pytest.mark.parametrize(
    ("name", "known"),
    [("durration", "duration"), ("NUMNODES", "numNodes"), ("stats", "stat"), ("partiton", "partition"), ("zzz", "")],
)
def test_what_is_not_understood_is_kept_with_the_nearest_known_name(name: str, known: str) -> None:
    query = read(f"?{name}=5&cluster=tarn")
    assert query.unknown == ((name, "5"),)
    assert suggest_parameter(name) == known
    assert read(query.to_address("/")).unknown == query.unknown


def test_bounds_of_the_start_beside_a_named_range_are_told_to_be_useless() -> None:
    query = read("?started=7d&from=2026-03-12&to=2026-03-13")
    assert (query.started, query.from_s, query.unused) == ("7d", None, ("from", "to"))
    assert read("?started=7d").unused == ()


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
        ("?from=0001-01-01T00:00%2B14:00", "from"),
        ("?from=0001-01-01", "from"),
        ("?to=9999-12-31T23:59-14:00", "to"),
        ("?to=9999-12-31", "to"),
        ("?from=1969-12-31T23:00Z", "from"),
        ("?startTime=0001-01-01T00:00%2B14:00-0", "startTime"),
        ("?job=abc", "jobId"),
        ("?duration=soon", "duration"),
        ("?duration=9-3", "duration"),
        ("?numNodes=1.5", "numNodes"),
        ("?numNodes=-3", "numNodes"),
        ("?numNodes=1-2-3", "numNodes"),
        ("?energy=inf", "energy"),
        ("?energy=nan-3", "energy"),
        ("?stat=cpu_load-1-2", "stat"),
        ("?tag=code", "tag"),
        ("?shared=all", "shared"),
        ("?schedule=never", "schedule"),
        ("?node=tn[01-", "node"),
        ("?node=tn[0001-9999],tx[0001-9999]", "node"),
        ("?nodeMatch=like&node=a", "nodeMatch"),
        ("?dbId=1x", "dbId"),
        ("?numNodes=1&numNodes=2", "numNodes"),
        ("?ran=then", "ran"),
        ("?" + "&".join(f"stat=a_avg-{i}" for i in range(20)), "stat"),
        ("?" + "&".join(f"dbId={i}" for i in range(1100)), "dbId"),
        ("?" + "x" * 100 + "=1", "x"),
        ("?user=a%00b", "user"),
        ("?q=" + "x" * 300, "q"),
        ("?job=%EF%BC%91", "jobId"),
    ],
)
def test_what_cannot_be_is_refused_by_name(address: str, name: str) -> None:
    with pytest.raises(InvalidInput, match=f"'{name}"):
        read(address)


def test_changing_a_filter_goes_back_to_page_one() -> None:
    query = ListAddress(page=7, cluster="tarn")
    assert query.with_changes(view="table").page == 1
    assert query.with_changes(page=8).page == 8


def test_an_address_has_a_bounded_number_of_parameters() -> None:
    with pytest.raises(InvalidInput, match=f"{MAX_PARAMETERS} is the most"):
        read("?" + "&".join(f"x{i}=1" for i in range(MAX_PARAMETERS + 1)))
    assert len(read("?" + "&".join(f"x{i}=1" for i in range(MAX_PARAMETERS))).unknown) == 20


def test_a_named_range_moves_with_the_time() -> None:
    query = ListAddress(started="24h")
    assert query.started_window(100_000) == (100_000 - 86400, None)
    assert ListAddress(from_s=5, to_s=6).started_window(100_000) == (5, 6)
