"""Pictures of the pages with made-up jobs: list, job and sign-in at 1440 and 390 px, light and dark.

usage: screenshots.py FOLDER [NAME ...]
"""

import os
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from cc_backend.demo.serve import PASSWORD, USER, served

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PAGES = {
    "start": "/",
    "jobs": "/monitoring/jobs/",
    "jobs-table": "/monitoring/jobs/?view=table",
    "job": "/monitoring/jobs/?q=4711823",
    "job-gpu": "/monitoring/jobs/?q=4711831",
    "job-ended": "/monitoring/jobs/?q=4711765",
    "missing": "/monitoring/job/999999",
    "login": "/login",
}
WIDTHS = (1440, 390)


def main() -> int:
    """Take all pictures, or those whose names are given."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "build/screenshots")
    wanted = sys.argv[2:] or list(PAGES)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as home, served(Path(home)) as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for name in wanted:
            for width in WIDTHS:
                for theme in ("light", "dark"):
                    path = folder / f"{name}-{width}-{theme}.png"
                    take(browser, url, name, path, width=width, theme=theme)
                    print(path)
        browser.close()
    return 0


def take(browser: Browser, url: str, name: str, path: Path, *, width: int, theme: str) -> None:
    """One picture of a whole page, once its plots are drawn."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)  # type: ignore[arg-type]  # a plain string of the two themes
    page = context.new_page()
    page.on("console", lambda message: print(f"  console: {message.text}"))
    page.on("pageerror", lambda error: print(f"  page error: {error}"))
    page.goto(f"{url}/login")
    if name != "login":
        page.fill("#username", USER)
        page.fill("#password", PASSWORD)
        page.click("button[type=submit]")
        page.goto(url + PAGES[name])
    if name.startswith("job-") or name == "job":
        height = page.evaluate("document.documentElement.scrollHeight")
        page.set_viewport_size({"width": width, "height": height})
        page.wait_for_function(
            "() => [...document.querySelectorAll('[data-plot]')].every((box) => box.querySelector('canvas'))"
        )
    page.wait_for_timeout(300)
    page.screenshot(path=str(path), full_page=True)
    context.close()


if __name__ == "__main__":
    sys.exit(main())
