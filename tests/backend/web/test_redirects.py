import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.web.redirects import safe_redirect_path


@pytest.mark.parametrize(
    "address",
    ["/", "/monitoring/jobs/", "/monitoring/jobs/?state=running&page=2", "/monitoring/job/5#m-cpu_load", "/a%2f%2fb"],
)
def test_plain_paths_pass(address: str) -> None:
    assert safe_redirect_path(address) == address


@pytest.mark.parametrize(
    "address",
    [
        None,
        "",
        "monitoring/jobs",
        "http://evil.example/",
        "//evil.example/",
        "///evil.example/",
        "/\\evil.example",
        "\\\\evil.example",
        "/\t/evil.example",
        "/\n/evil.example",
        "/ok\r\nSet-Cookie: a=b",
        "/\u2028/x",
        "/a\\b",
        "javascript:alert(1)",
        "data:text/html,x",
        " /jobs",
        "/jöbs",
        "/" + "a" * 5000,
        "/login",
        "/login?redirect=/x",
        "/logout",
        "//",
    ],
)
def test_everything_else_leads_home(address: str | None) -> None:
    assert safe_redirect_path(address) == "/"


@given(st.text(alphabet="/\\:@.?#abc \t\r\n%", max_size=12))
def test_what_passes_is_one_slash_and_no_backslash(address: str) -> None:
    path = safe_redirect_path(address)
    assert path.startswith("/")
    assert not path.startswith("//")
    assert "\\" not in path
    assert path.isprintable()
