"""The curves of a job page, from the bytes of the server to the canvas. No test may leave anything in the console."""

import json
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Page, Route

from cc_backend.web.plots_binary import MEDIA_TYPE, CurveBlock

pytestmark = pytest.mark.browser

Visit = Callable[..., Any]
JOB = "/monitoring/jobs/?q=4711823"
DATA = "**/monitoring/job/*/data*"
ALL_DRAWN = "() => [...document.querySelectorAll('[data-plot]')].every((box) => box.querySelector('canvas'))"

# Keeps every uPlot by the metric that it shows.
WATCH = """
window.drawn = {};
let original;
Object.defineProperty(window, "uPlot", {
  get: () => original && new Proxy(original, {
    construct(target, [options, data, box]) {
      return (window.drawn[box.dataset.plot] = new target(options, data, box));
    },
  }),
  set: (library) => { original = library; },
});
"""
# Gives each plot the columns that `plots.js` would make of a document, and says in which the picture changed.
REDRAW = """async (plots) => {
  const changed = [];
  for (const [metric, plot] of Object.entries(window.drawn)) {
    const { bands, lines } = plots[metric];
    const canvas = plot.root.querySelector("canvas");
    const before = canvas.toDataURL();
    plot.setData([plot.data[0], ...bands.flatMap((band) => [band.high, band.low]), ...lines.map((line) => line.y)]);
    await new Promise(requestAnimationFrame);
    if (canvas.toDataURL() !== before) changed.push(metric);
  }
  return changed;
}"""
# What each of these bodies is read as; the name of the error for those that are refused.
DECODE = """async (bodies) => {
  const scripts = document.querySelector("script[src*='/js/plots.js']").src;
  const { decode } = await import(scripts.replace("plots.js", "plotsbinary.js"));
  return bodies.map((body) => {
    try {
      return decode(new Uint8Array(body).buffer);
    } catch (error) {
      return error.constructor.name;
    }
  });
}"""
TWO_FRAMES = "() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


def encoded(document: dict[str, Any]) -> bytes:
    """A document as the JSON form has it, in binary form."""
    block = CurveBlock()

    def place(curve: list[float | None]) -> list[int]:
        return block.add_curve(np.array(curve, np.float64))

    plots = {
        metric: {
            **plot,
            "lines": [{**line, "y": place(line["y"])} for line in plot["lines"]],
            "bands": [{**band, "low": place(band["low"]), "high": place(band["high"])} for band in plot["bands"]],
        }
        for metric, plot in document["plots"].items()
    }
    return block.encode({**document, "plots": plots})


def changed(document: dict[str, Any], change: Callable[[list[Any]], list[Any]]) -> dict[str, Any]:
    """The document with other curves."""
    copy: dict[str, Any] = json.loads(json.dumps(document))
    for plot in copy["plots"].values():
        for line in plot["lines"]:
            line["y"] = change(line["y"])
        for band in plot["bands"]:
            band["low"], band["high"] = change(band["low"]), change(band["high"])
    return copy


def whole(curve: list[float | None]) -> list[float | None]:
    """The curve in whole numbers, which both forms have exactly."""
    return [None if value is None else round(value) for value in curve]


def bridged(curve: list[float | None]) -> list[float | None]:
    """The curve with its gaps filled."""
    return [0 if value is None else value for value in curve]


def curves_of(document: dict[str, Any]) -> dict[str, list[list[float | None]]]:
    """By metric all curves."""
    return {
        metric: [line["y"] for line in plot["lines"]]
        + [band[edge] for band in plot["bands"] for edge in ("low", "high")]
        for metric, plot in document["plots"].items()
    }


def plain_document(page: Page) -> dict[str, Any]:
    """The numbers of the page's plots in the JSON form."""
    address = page.get_attribute("[data-plots]", "data-plots")
    answer = page.request.get(f"{page.url.split('/monitoring')[0]}{address}", headers={"Accept": "application/json"})
    document: dict[str, Any] = answer.json()
    return document


def answered(page: Page, body: bytes) -> None:
    """Let the server's numbers be these bytes from now on."""

    def fulfil(route: Route) -> None:
        assert route.request.headers["accept"] == MEDIA_TYPE
        route.fulfill(status=200, content_type=MEDIA_TYPE, body=body)

    page.route(DATA, fulfil)


def read(page: Page, *bodies: bytes) -> list[Any]:
    """What the module of the page reads in each of these answers; a word for those that it refuses."""
    found: list[Any] = page.evaluate(DECODE, [list(body) for body in bodies])
    return found


def draw_all(page: Page) -> None:
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": 1280, "height": height})
    page.wait_for_function(ALL_DRAWN)


def test_what_the_browser_reads_is_what_the_json_form_says(visit: Visit) -> None:
    page = visit(script=True).go(JOB)
    address = page.get_attribute("[data-plots]", "data-plots")
    answer = page.request.get(f"{page.url.split('/monitoring')[0]}{address}", headers={"Accept": MEDIA_TYPE})
    assert answer.headers["content-type"] == MEDIA_TYPE
    found, expected = read(page, answer.body())[0], plain_document(page)
    numbers, wanted = curves_of(found), curves_of(expected)
    gaps = sum(value is None for curves in wanted.values() for curve in curves for value in curve)
    assert gaps > 100
    assert {metric: len(curves) for metric, curves in numbers.items()} == {
        metric: len(curves) for metric, curves in wanted.items()
    }
    for metric, curves in wanted.items():
        for curve, plain in zip(numbers[metric], curves, strict=True):
            assert curve == [None if value is None else pytest.approx(value, rel=6e-5) for value in plain]


def test_the_curves_are_drawn_as_from_the_json_form_with_gaps_as_gaps(visit: Visit) -> None:
    document = changed(plain_document(visit().go(JOB)), whole)
    page = visit().page
    page.add_init_script(WATCH)
    answered(page, encoded(document))
    page.goto(visit().url + JOB)
    draw_all(page)
    assert sorted(page.evaluate("Object.keys(window.drawn)")) == sorted(document["plots"])
    assert page.evaluate(REDRAW, document["plots"]) == []
    assert sorted(page.evaluate(REDRAW, changed(document, bridged)["plots"])) == sorted(document["plots"])


def test_nothing_is_read_from_less_or_more_than_the_whole_answer(visit: Visit) -> None:
    plot = {"lines": [{"y": [1.5, None]}, {"y": []}], "bands": [{"low": [0], "high": [2]}]}
    document = {"plots": {"ipc": plot}}
    body = encoded(document)
    found = read(visit().go(JOB), body, body + b"\0", *(body[:end] for end in range(len(body))))
    assert found[0] == document
    assert [length for length, one in enumerate(found[1:], -1) if not isinstance(one, str)] == []


@pytest.mark.parametrize("size", [0, 4])
def test_a_head_that_does_not_fit_its_numbers_is_refused(visit: Visit, size: int) -> None:
    heads = [
        b"",
        b"{}",
        b"[]",
        b"null",
        b'{"plots":',
        b'{"plots":null}',
        b'{"plots":{"ipc":{}}}',
        b'{"plots":{"ipc":{"lines":[{}],"bands":[]}}}',
        b'{"plots":{"ipc":{"lines":[{"y":null}],"bands":[]}}}',
        b'{"plots":{"ipc":{"lines":[{"y":[0,5]}],"bands":[]}}}',
        b'{"plots":{"ipc":{"lines":[{"y":[5,0]}],"bands":[]}}}',
        b'{"plots":{"ipc":{"lines":[{"y":[-1,1]}],"bands":[]}}}',
        b'{"plots":{"ipc":{"lines":[{"y":[1,-1]}],"bands":[]}}}',
        b'{"plots":{"ipc":{"lines":[{"y":[0.5,1]}],"bands":[]}}}',
        b'{"plots":{"ipc":{"lines":[],"bands":[{"low":[0,0],"high":["0","0"]}]}}}',
        b'{"plots":{"\xff":{"lines":[],"bands":[]}}}',
    ]
    bodies = []
    for head in heads:
        padded = head + b" " * (-len(head) % 4)
        bodies.append(b"CCPLOTS\0" + struct.pack("<III", 1, len(padded), size) + padded + bytes(4 * size))
    accepted = [
        head for head, found in zip(heads, read(visit().go(JOB), *bodies), strict=True) if not isinstance(found, str)
    ]
    assert accepted == []


BROKEN: dict[str, Callable[[bytes], bytes]] = {
    "one byte less": lambda body: body[:-1],
    "half": lambda body: body[: len(body) // 2],
    "header only": lambda body: body[:20],
    "empty": lambda _: b"",
    "one byte more": lambda body: body + b"\0",
    "version 2": lambda body: body[:8] + b"\2" + body[9:],
    "JSON": lambda _: b'{"plots": {}}',
    "HTML": lambda _: b"<!doctype html>",
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_answer_leaves_the_pictures_that_are_there(visit: Visit, how: str) -> None:
    visitor = visit()
    body = encoded(plain_document(visitor.go(JOB)))
    answered(visitor.page, BROKEN[how](body))
    with visitor.page.expect_response(DATA) as response:
        page = visitor.go(JOB)
    response.value.finished()
    page.evaluate(TWO_FRAMES)
    assert page.locator("[data-plot] canvas").count() == 0
    assert page.locator("[data-plot] svg path.ln").count() >= 9
    page.unroute(DATA)
    page.reload()
    draw_all(page)


def test_without_an_answer_the_pictures_stay_and_nothing_is_thrown(visit: Visit) -> None:
    visitor = visit()
    visitor.page.route(DATA, lambda route: route.abort())
    with visitor.page.expect_event("requestfailed"):
        page = visitor.go(JOB)
    page.evaluate(TWO_FRAMES)
    assert page.locator("[data-plot] svg path.ln").count() >= 9
    assert [text for text in visitor.complaints if "net::ERR_FAILED" not in text] == []
    visitor.complaints.clear()


def test_a_broken_answer_to_a_running_job_leaves_the_curves_that_are_drawn(visit: Visit) -> None:
    visitor = visit()
    page = visitor.go(JOB)
    draw_all(page)
    document = plain_document(page)
    ask = "document.dispatchEvent(new CustomEvent('cockpit:refreshed'))"
    picture = "document.querySelector('#m-flops_any canvas').toDataURL()"
    before = page.evaluate(picture)
    answered(page, encoded(document)[:-4])
    with page.expect_response(DATA) as response:
        page.evaluate(ask)
    response.value.finished()
    page.evaluate(TWO_FRAMES)
    assert page.evaluate(picture) == before
    page.unroute(DATA)
    answered(page, encoded(changed(document, lambda curve: [0.0] * len(curve))))
    page.evaluate(ask)
    page.wait_for_function(f"(before) => {picture} !== before", arg=before)
