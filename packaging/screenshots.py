"""Pictures of the pages with made-up jobs, as they are looked at before a release, at 1440 and 390 px, light and dark.

Start page, list, and job pages: idle node, hung, GPUs, one idle GPU, 12 nodes, silent node, 1 minute, array, long
names; and what one of them prints.

usage: screenshots.py FOLDER [NAME ...]
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from cc_demo import site_jobs
from cc_demo.site_server import PASSWORD, USER, served

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_JOB = "/monitoring/jobs/?q={}"
PAGES = {
    "start": "/",
    "list": "/monitoring/jobs/",
    "job-idle-node": _JOB.format(site_jobs.IDLE_NODE),
    "job-hung": _JOB.format(site_jobs.HUNG),
    "job-gpu": _JOB.format(site_jobs.GPUS),
    "job-idle-gpu": _JOB.format(site_jobs.IDLE_GPU),
    "job-12-nodes": _JOB.format(site_jobs.TWELVE_NODES),
    "job-silent-node": _JOB.format(site_jobs.SILENT_NODE),
    "job-1-minute": _JOB.format(site_jobs.ONE_MINUTE),
    "job-array": _JOB.format(site_jobs.ARRAY),
    "job-long-names": _JOB.format(site_jobs.LONG_NAMES),
}
PRINTED = {"print": PAGES["job-12-nodes"]}
WIDTHS = (1440, 390)
DRAWN = "() => [...document.querySelectorAll('[data-plot]')].every((box) => box.querySelector('canvas'))"


def main() -> int:
    """Take all pictures, or those whose names are given."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "build/screenshots")
    wanted = sys.argv[2:] or [*PAGES, *PRINTED]
    folder.mkdir(parents=True, exist_ok=True)
    jobs = (*site_jobs.EVERYDAY_JOBS, *site_jobs.EDGE_CASES)
    with tempfile.TemporaryDirectory() as home, served(Path(home), jobs) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for name in wanted:
            if name in PRINTED:
                print(print_out(browser, url, folder / f"{name}.pdf", PRINTED[name]))
                continue
            for width in WIDTHS:
                for theme in ("light", "dark"):
                    print(
                        take(
                            browser, url, folder / f"{name}-{width}-{theme}.png", PAGES[name], width=width, theme=theme
                        )
                    )
        browser.close()
    return 0


def take(browser: Browser, url: str, path: Path, address: str, *, width: int, theme: str) -> Path:
    """One picture of a whole page, once its plots are drawn."""
    page = opened(browser, url, address, width=width, theme=theme)
    page.screenshot(path=str(path), full_page=True)
    page.context.close()
    return path


def print_out(browser: Browser, url: str, path: Path, address: str) -> Path:
    """What the page is on paper."""
    page = opened(browser, url, address, width=WIDTHS[0], theme="light")
    page.pdf(path=str(path), prefer_css_page_size=True, print_background=True)
    page.context.close()
    return path


def opened(browser: Browser, url: str, address: str, *, width: int, theme: Any) -> Page:
    """A page of somebody who has signed in, with all its plots drawn."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    page = context.new_page()
    page.on("console", lambda message: print(f"  console: {message.text}"))
    page.on("pageerror", lambda error: print(f"  page error: {error}"))
    page.goto(f"{url}/login")
    page.fill("#username", USER)
    page.fill("#password", PASSWORD)
    page.click("button[type=submit]")
    page.wait_for_url(f"{url}/")
    page.goto(url + address)
    page.set_viewport_size({"width": width, "height": page.evaluate("document.documentElement.scrollHeight")})
    page.wait_for_function(DRAWN)
    page.wait_for_timeout(300)
    return page


if __name__ == "__main__":
    sys.exit(main())
