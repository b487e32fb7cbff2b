"""What the pages write, whatever they show: no line may end between a number and its unit."""

import html
import re
from collections.abc import Iterator

import pytest
from flask.testing import FlaskClient

from cc_backend.services import EXTENSION
from cc_demo.site_jobs import EDGE_CASES, EVERYDAY_JOBS
from cc_demo.site_server import PASSWORD, USER, demo_app

_NOT_SET = re.compile(
    r"<(script|style|text|pre|option|select|title)\b.*?</\1>", re.DOTALL
)  # keep their lines by themselves
_INLINE = re.compile(r"</?(?:a|b|i|small|span|strong|time|use|wbr)\b[^>]*>")
_TAG = re.compile(r"<[^>]*>")
_UNITS = (
    r"%|°C|[kMGTPE]?(?:B|Flop|Wh?|J|Hz|packets|IO)(?:/s|/byte)?|s|min|h|d|cores?|nodes?|GPUs?|samples?|jobs?|checks?"
)
_BREAKS = re.compile(rf"\d +(?:{_UNITS})(?![\w/])")
_SPAN_BREAKS = re.compile(r"\d\u00a0(?:d|h|min) \d+\u00a0(?:h|min|s)\b")


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlaskClient]:
    """Somebody of the support staff before the made-up site."""
    app = demo_app(tmp_path_factory.mktemp("site"), (*EVERYDAY_JOBS, *EDGE_CASES))
    found = app.test_client()
    assert found.post("/login", data={"username": USER, "password": PASSWORD, "redirect": "/"}).status_code == 303
    yield found
    app.extensions[EXTENSION].close()


def places_to_break(page: str) -> list[str]:
    """Where a browser may end a line between a number and its unit, or within a span of time."""
    text = html.unescape(_TAG.sub("\n", _INLINE.sub("", _NOT_SET.sub("\n", page))))
    return [
        line[max(0, found.start() - 20) : found.end()]
        for line in text.split("\n")
        for pattern in (_BREAKS, _SPAN_BREAKS)
        for found in pattern.finditer(line)
    ]


def test_the_reader_of_these_tests_sees_a_place_to_break() -> None:
    assert places_to_break("<p>about <b>39</b> % of <span>4\u00a0cores</span></p>") == ["about 39 %"]
    assert places_to_break("<p>3\u00a0h 31\u00a0min</p>") == ["3\u00a0h 31\u00a0min"]
    assert places_to_break("<p>39\u00a0%</p><pre>sleep 3 min</pre><p>20</p> <p>nodes</p>") == []


@pytest.mark.parametrize(
    "address",
    [
        "/",
        "/monitoring/jobs/",
        "/monitoring/jobs/?view=table&per=100",
        "/monitoring/jobs/?duration=30min-2h&energy=1-2&state=running",
        "/monitoring/jobs/?user=nobody",
    ],
)
def test_lists_keep_numbers_and_units_together(client: FlaskClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 200
    assert places_to_break(answer.text) == []


def test_job_pages_and_tables_keep_numbers_and_units_together(client: FlaskClient) -> None:
    listed = client.get("/monitoring/jobs/?view=table&per=100").text
    ids = sorted(set(re.findall(r'data-row="(\d+)"', listed)), key=int)
    assert len(ids) == len((*EVERYDAY_JOBS, *EDGE_CASES))
    found = {}
    for id_ in ids:
        for path in ("", "?axis=clock", "/series/cpu_load"):
            answer = client.get(f"/monitoring/job/{id_}{path}")
            assert answer.status_code == 200
            found[f"{id_}{path}"] = places_to_break(answer.text)
    assert {where: what for where, what in found.items() if what} == {}
