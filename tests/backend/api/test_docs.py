"""docs/api.md promises what the code does: every route and every parameter stands in it."""

import re
from pathlib import Path

import pytest

from cc_backend.api.job_list_query import PARAMETERS
from cc_backend.api.nodes import LIST_PARAMETERS, NODE_PARAMETERS, SHARE_PARAMETERS
from cc_backend.api.routes import ROUTES
from cc_backend.http.routing import Route


def documented_path(route: Route) -> str:
    return re.sub("<([a-z_]+)>", r"{\1}", route.path.replace("<job_id>", "<id>"))


@pytest.fixture
def text(repository: Path) -> str:
    return (repository / "docs/api.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("method", "path"),
    [(method, documented_path(route)) for route in ROUTES for method in route.methods],
)
def test_every_route_is_described(text: str, method: str, path: str) -> None:
    assert re.search(rf"^\| .*\b{method}\b[^`]*`{re.escape(path)}`", text, re.MULTILINE)


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_parameter_of_the_job_list_is_described(text: str, name: str) -> None:
    assert f"`{name}`" in text


@pytest.mark.parametrize("name", sorted({*LIST_PARAMETERS, *NODE_PARAMETERS, *SHARE_PARAMETERS}))
def test_every_parameter_of_nodes_is_described(text: str, name: str) -> None:
    assert f"`{name}`" in text.partition("## Clusters and nodes")[2].partition("\n## ")[0]


def test_no_route_is_described_that_does_not_exist(text: str) -> None:
    described = set(re.findall(r"^\| [A-Z, ]+ `(/[^`]*)`", text, re.MULTILINE))
    assert described == {documented_path(route) for route in ROUTES}
