import pytest

from cc_backend.web.search_text import ParsedSearch, parse_search


@pytest.mark.parametrize(
    ("typed", "means"),
    [
        ("4711823", ParsedSearch(job_number=4711823, text="4711823")),
        ("relax", ParsedSearch(text="relax")),
        ("user:mlindq", ParsedSearch(filter=("user", "mlindq"))),
        ("username: mlindq", ParsedSearch(filter=("user", "mlindq"))),
        ("jobId:12", ParsedSearch(filter=("jobId", "12"))),
        ("arrayJobId:12", ParsedSearch(filter=("arrayJobId", "12"))),
        ("projectId:chem-102", ParsedSearch(filter=("project", "chem-102"))),
        ("jobName:relax:2", ParsedSearch(filter=("jobName", "relax:2"))),
        ("node:bn08", ParsedSearch(filter=("node", "bn08"))),
        ("name:Brandt", ParsedSearch(real_name="Brandt")),
        ("bn[01-04]", ParsedSearch(filter=("node", "bn[01-04]"))),
        ("si:relax", ParsedSearch(text="si:relax")),
        ("job:relax", ParsedSearch(text="job:relax")),
        ("user:", ParsedSearch(text="user:")),
        ("a [draft]", ParsedSearch(text="a [draft]")),
        ("1" * 30, ParsedSearch(text="1" * 30)),
    ],
)
def test_what_is_typed_means_a_filter_a_number_or_a_text(typed: str, means: ParsedSearch) -> None:
    assert parse_search(typed) == means
