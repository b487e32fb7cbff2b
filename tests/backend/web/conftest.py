"""Made-up jobs, clusters and samples for the pages; and a reader of the HTML they send."""

import json
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import pytest

VOID = frozenset({"meta", "link", "input", "br", "img", "hr", "use", "path", "line", "rect", "circle", "polygon"})


@dataclass
class Element:
    """One element of a page."""

    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass
class Page(HTMLParser):
    """A page, read: its elements, and what would break the content policy."""

    elements: list[Element] = field(default_factory=list)
    inline_scripts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        while self._open:
            if self._open.pop().tag == tag:
                return

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data
        if self._open and self._open[-1].tag == "script" and data.strip():
            self.inline_scripts.append(data)

    def all(self, tag: str, **attributes: str) -> list[Element]:
        """The elements with this tag and these attributes; `data_row` means `data-row`."""
        wanted = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items()}
        return [
            element
            for element in self.elements
            if element.tag == tag and all(element.attributes.get(name) == value for name, value in wanted.items())
        ]

    def with_id(self, id_: str) -> Element:
        """The element with this id."""
        return next(element for element in self.elements if element.attributes.get("id") == id_)


@pytest.fixture
def read_page() -> Callable[[str], Page]:
    """Reads HTML into a Page."""

    def read(html: str) -> Page:
        page = Page()
        page.feed(html)
        return page

    return read


def plots_of(body: bytes) -> dict[str, Any]:
    """The binary form of plots, read as docs/formats.md has it: the document with its curves as lists, gaps as None."""
    magic, version, head_bytes, count = struct.unpack_from("<8sIII", body)
    begin = 20 + head_bytes
    assert (magic, version, begin % 4, len(body)) == (b"CCPLOTS\0", 1, 0, begin + 4 * count)
    document: dict[str, Any] = json.loads(body[20:begin])
    numbers = [None if math.isnan(value) else value for value in struct.unpack_from(f"<{count}f", body, begin)]
    taken = 0

    def curve(place: list[int]) -> list[float | None]:
        nonlocal taken
        first, length = place
        assert first == taken
        taken += length
        return numbers[first:taken]

    for plot in document["plots"].values():
        for line in plot["lines"]:
            line["y"] = curve(line["y"])
        for band in plot["bands"]:
            band["low"], band["high"] = curve(band["low"]), curve(band["high"])
    assert taken == count
    return document


@pytest.fixture(scope="session")
def read_plots() -> Callable[[bytes], dict[str, Any]]:
    """Reads the binary form of plots."""
    return plots_of
