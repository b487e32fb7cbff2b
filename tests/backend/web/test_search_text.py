import pytest

from cc_backend.web.search_text import SearchText, read_search


@pytest.mark.parametrize(
    ("typed", "means"),
    [
        ("4711823", SearchText(number=4711823, text="4711823")),
        ("relax", SearchText(text="relax")),
        ("user:mlindq", SearchText(filter=("user", "mlindq"))),
        ("username: mlindq", SearchText(filter=("user", "mlindq"))),
        ("jobId:12", SearchText(filter=("jobId", "12"))),
        ("arrayJobId:12", SearchText(filter=("arrayJobId", "12"))),
        ("projectId:chem-102", SearchText(filter=("project", "chem-102"))),
        ("jobName:relax:2", SearchText(filter=("jobName", "relax:2"))),
        ("node:bn08", SearchText(filter=("node", "bn08"))),
        ("name:Brandt", SearchText(real_name="Brandt")),
        ("bn[01-04]", SearchText(filter=("node", "bn[01-04]"))),
        ("si:relax", SearchText(text="si:relax")),
        ("job:relax", SearchText(text="job:relax")),
        ("user:", SearchText(text="user:")),
        ("a [draft]", SearchText(text="a [draft]")),
        ("1" * 30, SearchText(text="1" * 30)),
    ],
)
def test_what_is_typed_means_a_filter_a_number_or_a_text(typed: str, means: SearchText) -> None:
    assert read_search(typed) == means
