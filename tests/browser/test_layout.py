"""How the pages lie on screens and on paper, with jobs that are hard to show. Names have no place to break."""

import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

from cc_demo import site_jobs
from cc_demo.site_jobs import EDGE_CASES, EVERYDAY_JOBS, HARDLY_USED
from cc_demo.site_server import PASSWORD, USER, served

pytestmark = pytest.mark.browser

VENDOR = Path(__file__).resolve().parents[2] / "backend" / "cc_backend" / "web" / "static" / "vendor"
LIST = "/monitoring/jobs/"
JOB = "/monitoring/jobs/?q={}"
DRAWN = "() => [...document.querySelectorAll('[data-plot]')].every((box) => box.querySelector('canvas'))"
# What sticks out of the window to the right and is not cut or scrolled by an element around it.
STICKS_OUT = """() => [...document.querySelectorAll("body *")].filter((one) => {
  const box = one.getBoundingClientRect();
  if (!box.width || box.right <= innerWidth + 1 || one.closest("svg, canvas, dialog:not([open])")) return false;
  for (let up = one; up && up !== document.body; up = up.parentElement) {
    const style = getComputedStyle(up);
    if (style.overflowX !== "visible" || style.position === "fixed" || style.clipPath !== "none") return false;
  }
  return true;
}).map((one) => one.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def edge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a site with the jobs that are hard to show."""
    if not VENDOR.is_dir():
        pytest.skip("the front-end libraries are missing: run `make assets`")
    hardly_used = [job for job in EVERYDAY_JOBS if job.job_id == HARDLY_USED]
    with served(tmp_path_factory.mktemp("edge"), (*EDGE_CASES, *hardly_used)) as address:
        yield address


@pytest.fixture
def open_page(browser: Browser, edge: str) -> Iterator[Callable[..., Page]]:
    """Opens a page of that site at a width, signed in."""
    contexts = []

    def one(path: str, width: int = 1440, **more: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": 900}, **more)
        contexts.append(context)
        page = context.new_page()
        page.goto(f"{edge}/login")
        page.fill("#username", USER)
        page.fill("#password", PASSWORD)
        page.click("button[type=submit]")
        page.wait_for_url(f"{edge}/")
        page.goto(edge + path)
        return page

    yield one
    for context in contexts:
        context.close()


def show_all(page: Page, width: int) -> None:
    """Makes the window as high as the page, so that all plots are drawn."""
    page.set_viewport_size({"width": width, "height": page.evaluate("document.documentElement.scrollHeight")})
    page.wait_for_function(DRAWN)


PATHS = {
    "start": "/",
    "list": LIST,
    "table": f"{LIST}?view=table",
    "filtered": f"{LIST}?user={'u' * 150}&q={'x' * 190}&project={'p' * 150}&node=tn[0001-0900]&{'k' * 50}={'v' * 190}",
    "idle node": JOB.format(site_jobs.IDLE_NODE),
    "GPUs": JOB.format(site_jobs.GPUS),
    "twelve nodes": JOB.format(site_jobs.TWELVE_NODES),
    "one minute": JOB.format(site_jobs.ONE_MINUTE),
    "array": JOB.format(site_jobs.ARRAY),
    "long names": JOB.format(site_jobs.LONG_NAMES),
    "bad request": f"{LIST}?sort={'z' * 190}",
}


@pytest.mark.parametrize("width", [1440, 390, 320])
def test_no_name_makes_a_page_wider_than_its_window(open_page: Callable[..., Page], edge: str, width: int) -> None:
    page = open_page("/", width)
    found = {}
    for name, path in PATHS.items():
        page.goto(edge + path)
        show_all(page, width)
        overflow = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        found[name] = (overflow, page.evaluate(STICKS_OUT))
        if name in ("list", "long names"):
            page.evaluate("document.querySelectorAll('header details.menu').forEach((one) => { one.open = true; })")
            found[f"{name}, menu"] = (0, page.evaluate(STICKS_OUT))
        if name == "filtered":
            page.keyboard.press("f")
            found["filter"] = (0, page.evaluate(STICKS_OUT))
    assert {name: what for name, what in found.items() if what != (0, [])} == {}


@pytest.mark.parametrize("width", [390, 320])
def test_the_page_of_the_api_fits_a_phone(open_page: Callable[..., Page], width: int) -> None:
    page = open_page("/api/docs", width)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 0


@pytest.mark.parametrize("width", [1440, 1024, 390, 320])
def test_the_cells_of_the_checks_hold_their_words(open_page: Callable[..., Page], width: int) -> None:
    page = open_page(JOB.format(HARDLY_USED), width)
    assert page.locator(".annun li[data-v=alert]").count() == 3
    cut = "(all) => all.filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.textContent)"
    assert page.locator(".annun li").evaluate_all(cut) == []


def test_a_table_shows_its_last_column_whatever_the_names_are(open_page: Callable[..., Page]) -> None:
    page = open_page(f"{LIST}?view=table")
    box = page.locator(".scroll table").bounding_box()
    assert box is not None
    assert box["width"] <= 1440


# Texts of a figure that lie over each other, and dots under the name of a limit.
OVERLAPS = """() => {
  const meet = (a, b, from, to, by) => a[from] < b[to] - by && b[from] < a[to] - by;
  const over = (a, b, by) => meet(a, b, "left", "right", 0.5) && meet(a, b, "top", "bottom", by);
  const found = [];
  for (const svg of document.querySelectorAll(".fig > svg")) {
    const texts = [...svg.querySelectorAll("text")].map((one) => [one.textContent, one.getBoundingClientRect()])
      .filter(([, box]) => box.width);
    for (const [i, [a, one]] of texts.entries())
      for (const [b, other] of texts.slice(i + 1)) if (over(one, other, 3)) found.push(`${a} | ${b}`);
    for (const [name, box] of texts.filter(([name]) => name.startsWith("memory")))
      for (const dot of svg.querySelectorAll("circle"))
        if (over(box, dot.getBoundingClientRect(), 1)) found.push(`${name} | dot`);
  }
  return [...new Set(found)];
}"""


@pytest.mark.parametrize("width", [1440, 1024, 390, 320])
def test_no_text_of_a_figure_lies_over_another_or_over_dots(
    open_page: Callable[..., Page], edge: str, width: int
) -> None:
    page = open_page("/", width, java_script_enabled=False)
    found = {}
    for name in ("idle node", "GPUs", "twelve nodes", "one minute", "long names"):
        page.goto(edge + PATHS[name])
        found[name] = page.evaluate(OVERLAPS)
    assert {name: what for name, what in found.items() if what} == {}


# Where the finding of each row is to be read without scrolling: how many times, in rows that have one.
FINDINGS_IN_SIGHT = """() => [...document.querySelectorAll("tr[data-row]")].map((row) => {
  const finding = row.querySelector(":scope > :last-child").textContent.trim();
  const says = [...row.querySelectorAll("*")].filter((one) => {
    const box = one.getBoundingClientRect();
    const own = [...one.childNodes].some((node) => node.nodeType === Node.TEXT_NODE && node.data.includes(finding));
    return own && box.width && box.left >= 0 && box.right <= innerWidth && one.scrollWidth <= one.clientWidth + 1;
  });
  return finding ? says.length : 1;
})"""


@pytest.mark.parametrize("width", [1440, 390, 320])
@pytest.mark.parametrize("path", ["/", f"{LIST}?view=table"])
def test_the_finding_of_each_job_is_in_sight_once(open_page: Callable[..., Page], path: str, width: int) -> None:
    page = open_page(path, width)
    found = page.evaluate(FINDINGS_IN_SIGHT)
    assert len(found) >= 4
    assert set(found) == {1}


def texts_of(pdf: bytes) -> list[str]:
    """What each page of a PDF made by Chromium shows as text, in the order it is drawn."""
    found = re.findall(rb"(?:^|\n)(\d+) 0 obj\s(.*?)\nendobj", pdf, flags=re.DOTALL)
    objects = {int(number): body for number, body in found}
    pages = []
    for body in objects.values():
        if not re.search(rb"/Type /Page\b(?!s)", body):
            continue
        tables = {name: letters(objects, int(number)) for name, number in re.findall(rb"/(F\d+) (\d+) 0 R", body)}
        contents = re.search(rb"/Contents (\d+) 0 R", body)
        assert contents is not None
        table: dict[int, str] = {}
        shown = []
        text = stream(objects[int(contents[1])])
        for font, codes in re.findall(rb"/(F\d+) [\d.]+ Tf|<([0-9A-Fa-f]+)>", text):
            table = tables.get(font, {}) if font else table
            shown += [table.get(int(codes[i : i + 4], 16), "") for i in range(0, len(codes), 4)]
        pages.append("".join(shown))
    return pages


def stream(body: bytes) -> bytes:
    """The stream of an object, unpacked."""
    head, _, rest = body.partition(b"stream\n")
    data = rest.rpartition(b"\nendstream")[0]
    return zlib.decompress(data) if b"FlateDecode" in head else data


def letters(objects: dict[int, bytes], font: int) -> dict[int, str]:
    """From the codes of a font to the letters that they stand for."""
    found = re.search(rb"/ToUnicode (\d+) 0 R", objects[font])
    text = stream(objects[int(found[1])]).decode("latin-1") if found else ""
    table: dict[int, str] = {}
    for block in re.findall(r"beginbfchar(.*?)endbfchar", text, flags=re.DOTALL):
        for code, to in re.findall(r"<(\w+)> <(\w+)>", block):
            table[int(code, 16)] = bytes.fromhex(to).decode("utf-16-be", "replace")
    for block in re.findall(r"beginbfrange(.*?)endbfrange", text, flags=re.DOTALL):
        for low, high, to in re.findall(r"<(\w+)> <(\w+)> <(\w+)>", block):
            for code in range(int(low, 16), int(high, 16) + 1):
                table[code] = chr(int(to, 16) + code - int(low, 16))
    return table


def printed(page: Page) -> list[str]:
    """The sheets of the page on paper."""
    return texts_of(page.pdf(prefer_css_page_size=True))


@pytest.mark.parametrize("script", [True, False])
@pytest.mark.parametrize("job", [site_jobs.TWELVE_NODES, site_jobs.IDLE_NODE, site_jobs.LONG_NAMES])
def test_the_first_sheet_of_a_job_has_its_verdict_facts_and_footprint(
    open_page: Callable[..., Page], job: int, *, script: bool
) -> None:
    page = open_page(JOB.format(job), java_script_enabled=script)
    if script:
        show_all(page, 1440)
    sheets = printed(page)
    first = re.sub(r"\s+", "", sheets[0])
    assert "Alert" in first or "Caution" in first
    for text in (str(job), "Footprint", "Memoryused", "CPUload"):
        assert text in first
    assert 2 <= len(sheets) <= 6
    assert all(sheet.strip() for sheet in sheets)
    everything = re.sub(r"\s+", "", "".join(sheets))
    for text in ("Skiptocontent", "Runtime", "Showastable", "Signout", "Live"):
        assert text not in everything
    assert "every2min" in everything
    assert "Jobscript" in everything


def test_on_paper_the_pictures_of_the_server_stand_in_for_the_canvases(open_page: Callable[..., Page]) -> None:
    page = open_page(JOB.format(site_jobs.IDLE_NODE))
    show_all(page, 1440)
    page.emulate_media(media="print")
    shown = page.evaluate(
        """() => [...document.querySelectorAll("#metrics .plot")].map((plot) => [
          plot.querySelectorAll("canvas").length,
          [...plot.querySelectorAll("canvas")].filter((one) => one.getClientRects().length).length,
          [...plot.querySelectorAll(".fig > svg")].filter((one) => one.getClientRects().length).length,
        ])"""
    )
    assert len(shown) == 8
    assert all(canvases == 1 and visible == 0 and pictures == 2 for canvases, visible, pictures in shown)


def test_on_paper_the_statistics_have_the_mean_of_every_metric(open_page: Callable[..., Page]) -> None:
    page = open_page(JOB.format(site_jobs.TWELVE_NODES), 718)  # A4 without its margins
    page.emulate_media(media="print")
    heads = page.locator("#statistics thead th:visible")
    assert len(heads.all()) == 9
    assert heads.nth(1).inner_text().startswith("CPU load")
    table = page.locator("#statistics table").bounding_box()
    assert table is not None
    assert table["x"] + table["width"] <= 718


def test_on_paper_a_list_is_whole_and_says_what_it_lists(open_page: Callable[..., Page]) -> None:
    page = open_page("/monitoring/jobs/?view=table&verdict=alert,caution", 718)  # A4 without its margins
    page.emulate_media(media="print")
    assert page.locator("h1 ~ .on-paper:visible").all_inner_texts() == ["verdict Alert or Caution"]
    assert page.locator("td.wide:visible").count() > 3
    cut = page.evaluate(
        """() => [...document.querySelectorAll("table, td, th, td *, th *")]
          .filter((one) => one.getClientRects().length && !one.closest(".sr, svg"))
          .filter((one) => one.getBoundingClientRect().right > 719
            || (getComputedStyle(one).overflowX !== "visible" && one.scrollWidth > one.clientWidth))
          .map((one) => one.textContent)"""
    )
    assert cut == []


def test_on_paper_the_worst_check_keeps_its_colour_where_backgrounds_are_left_out(
    open_page: Callable[..., Page],
) -> None:
    page = open_page(JOB.format(site_jobs.IDLE_NODE))
    page.emulate_media(media="print")
    lit = page.locator(".annun [data-v=alert]").first
    assert lit.evaluate("one => getComputedStyle(one).printColorAdjust") == "exact"


def test_on_paper_the_plots_of_what_is_wrong_come_first(open_page: Callable[..., Page]) -> None:
    page = open_page(JOB.format(site_jobs.TWELVE_NODES), 718)
    page.emulate_media(media="print")
    page.locator("#metrics .plot").last.evaluate("plot => plot.dataset.v = 'alert'")
    tops = page.locator("#metrics .plot").evaluate_all("all => all.map((plot) => plot.getBoundingClientRect().top)")
    assert tops[-1] == min(tops) < max(tops)
