"""Numbers of JSON answers have no digits that their 32-bit samples do not have."""

import math
import re
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.runtime.float32 import shortest_float32
from cc_backend.web.job_plots import round_to_five_digits

NUMBER = re.compile(r"-?[0-9]+\.[0-9]+(?:[eE][-+]?[0-9]+)?")
START_S = 1_760_000_400


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (26.628000259399414, 26.628),
        (0.1 + 0.2, 0.3),
        (16_777_217.0, 16_777_216.0),
        (1 / 3, 0.33333334),
        (0.0, 0.0),
        (1e300, 1e300),  # no 32-bit float
        (1e-60, 1e-60),
    ],
)
def test_the_fewest_digits_that_are_the_same_float(value: float, written: float) -> None:
    assert shortest_float32(value) == written


@given(value=st.floats(width=32))
def test_a_sample_stays_what_it_is(value: float) -> None:
    found = shortest_float32(value)
    assert math.isnan(found) if math.isnan(value) else np.float32(found) == np.float32(value)
    if math.isfinite(value):
        assert significant(repr(found)) <= significant(repr(value))


@given(values=st.lists(st.floats(width=32), max_size=20))
def test_numbers_of_curves_have_five_digits_and_no_more(values: list[float]) -> None:
    written = orjson.dumps(
        round_to_five_digits(np.array(values, np.float64)), option=orjson.OPT_SERIALIZE_NUMPY
    ).decode()
    assert [number for number in NUMBER.findall(written) if significant(number) > 5] == []
    for value, found in zip(values, orjson.loads(written), strict=True):
        assert found is None or math.isclose(found, value, rel_tol=1e-4, abs_tol=2e-45)


def significant(number: str) -> int:
    """How many digits of a number say something."""
    return len(number.lower().partition("e")[0].replace(".", "").strip("-0"))


def long_numbers(text: str) -> list[str]:
    """The numbers of a text with more digits than a 32-bit float has; nine tell any two floats apart."""
    return [number for number in NUMBER.findall(text) if significant(number) > 9]


def fill_and_stop(site: Any) -> None:
    """A job of ten minutes whose samples are no round numbers."""
    site.start_job()
    for minute in range(11):
        where, time_s = "cluster=tern,hostname=tn01", START_S + 60 * minute
        site.write(f"load_one,{where},type=node value={26.628 + minute / 7} {time_s}")
        site.write(f"cpu_power,{where},type=socket,type-id=0 value=120.123 {time_s}")
        site.write(*(f"flops_any,{where},type=hwthread,type-id={i} value={3.3285 + i / 3} {time_s}" for i in range(8)))
    site.clock.advance(600)
    site.stop_job()


def test_no_answer_has_digits_that_no_sample_has(site: Any) -> None:
    """Of each route that answers with samples or statistics."""
    fill_and_stop(site)
    asked = {
        "cluster": "tern",
        "from": START_S,
        "to": START_S + 600,
        "queries": [{"metric": "load_one", "host": "tn01"}, {"metric": "flops_any", "host": "tn01", "scale-by": 0.001}],
    }
    seen = 0
    for _ in range(2):
        answers = [
            site.client.get(path, headers=site.headers())
            for path in (
                "/api/jobs/",
                "/api/jobs/1?all-metrics=true",
                "/api/jobs/metrics/1",
                "/api/jobs/metrics/1?scope=core",
            )
        ]
        answers += [
            site.client.post("/api/query/", json=asked | more, headers=site.headers("api"))
            for more in ({}, {"with-data": False})
        ]
        for answer in answers:
            assert answer.status_code == 200
            seen += len(NUMBER.findall(answer.text))
            assert long_numbers(answer.text) == [], answer.request.path
        site.archive()
    assert seen > 100
    for file in site.services.archive.root.rglob("meta.json"):
        assert not re.search(r"[0-9]\.[0-9]{10}", file.read_text("utf-8"))


@pytest.mark.parametrize("scope", ["node", "socket", "core"])
def test_the_plots_of_a_page_have_no_such_digits_either(site: Any, scope: str) -> None:
    """Curves, axes, zones and thresholds, in JSON and in the head of the binary form."""
    fill_and_stop(site)
    site.user("hbrandt", "support", password="a long enough one")
    site.client.post("/login", data={"username": "hbrandt", "password": "a long enough one", "redirect": "/"})
    for media_type in ("application/json", "application/vnd.clustercockpit.plots"):
        answer = site.client.get(f"/monitoring/job/1/data?scope={scope}", headers={"Accept": media_type})
        text = answer.data.decode("utf-8", "replace")
        assert answer.status_code == 200
        assert len(NUMBER.findall(text)) > 20
        assert long_numbers(text) == [], media_type
