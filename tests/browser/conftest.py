"""A real browser before a real server with the made-up site."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page

from cc_backend.jobs.filters import JobFilter
from cc_backend.jobs.job_queries import ALL_ON_ONE_PAGE
from cc_backend.model import RowRule
from cc_backend.services import EXTENSION, Services
from cc_demo.site_server import PASSWORD, USER, demo_app, listening

VENDOR = Path(__file__).resolve().parents[2] / "backend" / "cc_backend" / "web" / "static" / "vendor"
TIMEOUT_MS = 20_000


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """A backend with the made-up site."""
    if not VENDOR.is_dir():
        pytest.skip("the front-end libraries are missing: run `make assets`")
    return demo_app(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def url(app: Flask) -> Iterator[str]:
    """The address at which the made-up site is served."""
    with listening(app) as address:
        yield address


@pytest.fixture
def services(app: Flask, url: str) -> Services:
    """The services behind the made-up site, to change what the pages show."""
    found: Services = app.extensions[EXTENSION]
    return found


@pytest.fixture
def job_ids(services: Services) -> dict[int, int]:
    """The ids of the site's jobs by their number."""
    everything = RowRule(all_jobs=True)
    found = services.job_queries.find(JobFilter(), everything, now_s=services.now_s(), items_per_page=ALL_ON_ONE_PAGE)
    return {job.job_id: job.id for job in found.jobs}


@dataclass
class Visitor:
    """A browser window, and everything its console said."""

    url: str
    page: Page
    complaints: list[str] = field(default_factory=list)

    def go(self, path: str) -> Page:
        """Open a page of the site."""
        self.page.goto(self.url + path)
        return self.page

    def overflow(self) -> int:
        """By how many pixels the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


@pytest.fixture(scope="session")
def signed_in(browser: Browser, url: str) -> Any:
    """The cookies of somebody from the support staff."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(f"{url}/login")
    page.fill("#username", USER)
    page.fill("#password", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_url(f"{url}/")
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def visit(browser: Browser, url: str, signed_in: Any) -> Iterator[Callable[..., Visitor]]:
    """Opens a window: width, theme, with or without script, signed in or not. No window may complain."""
    contexts: list[BrowserContext] = []
    visitors: list[Visitor] = []

    def listen(visitor: Visitor) -> Callable[[ConsoleMessage], None]:
        return lambda message: visitor.complaints.append(message.text) if message.type in ("error", "warning") else None

    def open_window(width: int = 1280, *, theme: str = "light", script: bool = True, known: bool = True) -> Visitor:
        more: dict[str, Any] = {"color_scheme": theme, "storage_state": signed_in if known else None}
        context = browser.new_context(viewport={"width": width, "height": 900}, java_script_enabled=script, **more)
        context.set_default_timeout(TIMEOUT_MS)
        contexts.append(context)
        visitor = Visitor(url, context.new_page())
        visitor.page.on("console", listen(visitor))
        visitor.page.on("pageerror", lambda error: visitor.complaints.append(str(error)))
        visitors.append(visitor)
        return visitor

    yield open_window
    for context in contexts:
        context.close()
    assert [complaint for visitor in visitors for complaint in visitor.complaints] == []
