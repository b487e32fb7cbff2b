"""The pages in a real browser. Every test also fails on any error, warning or policy violation in the console."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import expect

pytestmark = pytest.mark.browser

Visit = Callable[..., Any]
JOB = "/monitoring/jobs/?q=4711823"
JOBS = "/monitoring/jobs/"


def test_signing_in_leads_to_the_page_and_signing_out_back_to_the_form(visit: Visit) -> None:
    visitor = visit(known=False)
    page = visitor.go("/login?redirect=/monitoring/jobs/%3Fstate=running")
    page.fill("#username", "hbrandt")
    page.fill("#password", "cockpit-demo")
    page.press("#password", "Enter")
    page.wait_for_url("**/monitoring/jobs/?state=running")
    page.click("header details.menu summary")
    page.click("text=Sign out")
    page.wait_for_url("**/login")


def test_the_filter_dialog_narrows_the_list_and_a_pill_widens_it_again(visit: Visit) -> None:
    page = visit().go(JOBS)
    everything = page.locator("[data-row]").count()
    page.keyboard.press("f")
    page.check("input[name=state][value=running]")
    page.click("dialog#filter button[type=submit]")
    page.wait_for_url("**/?state=running")
    expect(page.locator("[data-row]")).to_have_count(5)
    page.click(".pill a[aria-label='Remove filter state']")
    expect(page.locator("[data-row]")).to_have_count(everything)


def test_the_filter_dialog_keeps_the_focus_and_gives_it_back(visit: Visit) -> None:
    page = visit().go(JOBS)
    page.focus("[data-key=f]")
    page.keyboard.press("Enter")
    expect(page.locator("dialog#filter")).to_be_visible()
    for _ in range(60):
        page.keyboard.press("Tab")
        # The browser's own controls count as the body; nothing of the page behind the dialog is ever reached.
        assert page.evaluate("document.activeElement.closest('dialog#filter, body') !== document.body "
                             "|| document.activeElement === document.body")  # fmt: skip
    page.keyboard.press("Escape")
    expect(page.locator("dialog#filter")).to_be_hidden()
    expect(page.locator("[data-key=f]")).to_be_focused()
    page.keyboard.press("f")
    page.click("dialog#filter button[aria-label='Close filter']")
    expect(page.locator("dialog#filter")).to_be_hidden()


def test_sizes_nodes_and_tags_are_filtered_in_the_dialog(visit: Visit) -> None:
    page = visit().go(JOBS)
    page.keyboard.press("f")
    page.fill("input[name='numAccelerators[from]']", "1")
    page.fill("input[name='duration[to]']", "100d")
    page.fill("input[name=node]", "tg[01-16]")
    page.click("dialog#filter button[type=submit]")
    page.wait_for_url("**/?duration=lessthan-100d&numAccelerators=morethan-1&node=*")
    expect(page.locator("[data-row]").first).to_be_visible()
    for size in page.locator("[data-row] .job-i p:nth-child(4)").all_text_contents():
        assert "GPU" in size
    page.click("a[aria-label='Remove filter GPUs']")
    assert "numAccelerators" not in page.url


def test_a_changed_order_is_shown_at_once_and_is_part_of_the_address(visit: Visit) -> None:
    page = visit().go(JOBS)
    page.select_option("select[name=sort]", "nodes")
    page.wait_for_url("**/?sort=nodes")
    expect(page.locator("[data-row] .job-t a").first).to_have_text("4711790")
    page.go_back()
    page.wait_for_url("**/monitoring/jobs/")


def test_the_list_is_plots_or_a_table(visit: Visit) -> None:
    page = visit().go(JOBS)
    expect(page.locator(".spk").first).to_be_visible()
    page.click(".seg >> text=Table")
    expect(page.locator("main table.tbl")).to_be_visible()
    expect(page.locator(".spk")).to_have_count(0)


def test_the_search_field_leads_straight_to_a_job(visit: Visit) -> None:
    page = visit().go("/")
    page.keyboard.press("/")
    page.keyboard.type("4711823")
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text("md_prod_310K")


def test_every_plot_in_sight_becomes_a_canvas_of_the_same_size(visit: Visit) -> None:
    visitor = visit(script=False)
    before = [box["height"] for box in _plot_boxes(visitor.go(JOB))]
    page = visit().go(JOB)
    _draw_all(page)
    after = [box["height"] for box in _plot_boxes(page)]
    assert len(before) == 8
    assert after == before


def test_the_cursor_is_shared_and_its_values_go_to_the_lines_below(visit: Visit) -> None:
    page = visit().go(JOB)
    _draw_all(page)
    box = page.locator("#m-cpu_load .u-over").bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.8, box["y"] + 20)
    for metric in ("cpu_load", "flops_any"):
        expect(page.locator(f"[data-read={metric}]")).to_contain_text("median")
        expect(page.locator(f"[data-read={metric}]")).to_contain_text("5 h")
    page.mouse.move(2, 2)
    expect(page.locator("[data-read=cpu_load]")).to_contain_text("every 2 min")


def test_the_cursor_moves_by_the_arrow_keys(visit: Visit) -> None:
    page = visit().go(JOB)
    _draw_all(page)
    page.focus("[data-plot=cpu_load]")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    expect(page.locator("[data-read=cpu_load]")).to_contain_text("20 min")


def test_dragging_zooms_all_plots_and_r_shows_everything_again(visit: Visit) -> None:
    page = visit().go(JOB)
    _draw_all(page)
    box = page.locator("#m-cpu_load .u-over").bounding_box()
    before = _picture(page)
    page.mouse.move(box["x"] + 40, box["y"] + 30)
    page.mouse.down()
    page.mouse.move(box["x"] + 140, box["y"] + 30, steps=4)
    page.mouse.up()
    page.mouse.move(2, 2)
    zoomed = _picture(page)
    page.keyboard.press("r")
    assert zoomed != before
    assert _picture(page) == before


def test_the_theme_changes_at_once_and_stays(visit: Visit) -> None:
    page = visit().go(JOB)
    _draw_all(page)
    light = page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor")
    page.click("header details.menu summary")
    page.click("header button[value=dark]")
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    assert page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor") != light
    page.reload()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")


def test_rows_are_walked_by_j_and_k_and_opened_by_enter(visit: Visit) -> None:
    page = visit().go(JOBS)
    page.keyboard.press("j")
    page.keyboard.press("j")
    page.keyboard.press("k")
    expect(page.locator("[data-row].on")).to_have_count(1)
    wanted = page.locator("[data-row].on .job-t a").text_content()
    page.keyboard.press("Enter")
    expect(page.locator("h1")).to_contain_text(wanted)


def test_the_list_of_keys_opens_and_closes(visit: Visit) -> None:
    page = visit().go(JOBS)
    page.keyboard.press("?")
    expect(page.locator("dialog#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("dialog#keys")).to_be_hidden()


def test_live_updates_ask_again_and_can_be_paused(visit: Visit) -> None:
    visitor = visit()
    visitor.page.clock.install()
    page = visitor.go(JOBS)
    expect(page.locator("[data-live-bar]")).to_be_visible()
    with page.expect_request(lambda request: request.resource_type == "fetch"):
        page.clock.run_for(31_000)
    page.click("[data-live-pause]")
    expect(page.locator("[data-live-pause]")).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize("width", [390, 320])
@pytest.mark.parametrize("path", ["/", JOBS, f"{JOBS}?view=table&state=running&cluster=tarn", JOB, "/nothing"])
def test_nothing_sticks_out_on_a_phone(visit: Visit, path: str, width: int) -> None:
    visitor = visit(width)
    visitor.go(path)
    overflow = visitor.overflow()
    visitor.complaints = [text for text in visitor.complaints if path != "/nothing" or "404" not in text]
    assert overflow <= 0


@pytest.mark.parametrize("width", [1280, 390])
def test_the_form_fits_before_signing_in(visit: Visit, width: int) -> None:
    visitor = visit(width, known=False)
    visitor.go("/login")
    assert visitor.overflow() <= 0


def test_on_a_phone_the_navigation_opens_from_its_button(visit: Visit) -> None:
    page = visit(390).go("/")
    expect(page.locator("#nav")).to_be_hidden()
    page.click("button[popovertarget=nav]")
    page.click("#nav >> text=Jobs")
    page.wait_for_url("**/monitoring/jobs/")


def test_without_script_everything_is_there_as_pictures_and_tables(visit: Visit) -> None:
    visitor = visit(script=False)
    page = visitor.go(JOB)
    assert page.locator("[data-plot] svg path.ln").count() >= 8
    assert page.locator("#statistics tbody tr").count() == 16
    assert page.locator("canvas").count() == 0
    page.click("#metrics >> text=sockets")
    assert "scope=socket" in page.url


def test_without_script_filter_order_and_pages_work(visit: Visit) -> None:
    page = visit(script=False).go(JOBS)
    page.click("button[popovertarget=filter]")
    page.check("input[name=state][value=completed]")
    page.click("dialog#filter button[type=submit]")
    assert "state=completed" in page.url
    page.select_option("select[name=sort]", "longest")
    page.click("text=Show")
    assert "sort=longest" in page.url
    assert "state=completed" in page.url
    assert page.locator("[data-row] .job-t a").first.text_content() == "4711731"


def _draw_all(page: Any) -> None:
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": page.viewport_size["width"], "height": height})
    drawn = "() => [...document.querySelectorAll('[data-plot]')].every((box) => box.querySelector('canvas'))"
    page.wait_for_function(drawn)


def _plot_boxes(page: Any) -> list[dict[str, float]]:
    return [box.bounding_box() for box in page.locator("[data-plot]").all()]


def _picture(page: Any) -> str:
    return str(page.evaluate("document.querySelector('#m-flops_any canvas').toDataURL()"))
