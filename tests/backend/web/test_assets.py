import gzip
import re

import pytest
from flask.testing import FlaskClient

from cc_backend.web.assets import STATIC, asset_paths, digest

BUDGET_BYTES = 60_000
MODULES = sorted(path.relative_to(STATIC).as_posix() for path in STATIC.glob("js/*.js"))


@pytest.mark.skipif(not (STATIC / "vendor").is_dir(), reason="the front-end libraries are missing: run `make assets`")
def test_script_and_style_of_all_pages_together_stay_within_the_budget() -> None:
    sizes = {name: len(gzip.compress((STATIC / name).read_bytes(), 6)) for name in asset_paths()}
    assert sum(sizes.values()) <= BUDGET_BYTES, sizes


def test_files_under_the_current_digest_are_kept_for_good(client: FlaskClient) -> None:
    answer = client.get(f"/assets/{digest()}/css/tokens.css")
    assert answer.status_code == 200
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.mimetype == "text/css"
    answer.close()


def test_files_under_an_old_digest_are_asked_for_again(client: FlaskClient) -> None:
    answer = client.get("/assets/0123456789abcdef/js/page.js")
    assert (answer.headers["Cache-Control"], answer.mimetype) == ("no-cache", "text/javascript")
    answer.close()


@pytest.mark.parametrize(
    "name", ["../site.py", "..%2fsite.py", "js/../../site.py", "vendor/versions.json", "nothing.css", "/etc/passwd"]
)
def test_nothing_else_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/assets/{digest()}/{name}").status_code in (404, 308)


@pytest.mark.parametrize("module", MODULES)
def test_modules_import_only_their_neighbours_and_build_no_code_from_text(module: str) -> None:
    text = (STATIC / module).read_text(encoding="utf-8")
    imported = re.findall(r'from "([^"]+)"', text)
    assert all(f"js/{name.removeprefix('./')}" in MODULES for name in imported)
    assert not re.search(
        r"\beval\(|new Function|innerHTML\s*=[^=]|insertAdjacentHTML|document\.write|setAttribute\(\"style", text
    )


def test_styles_hold_no_address_of_another_server() -> None:
    for path in STATIC.glob("css/*.css"):
        assert "http" not in path.read_text(encoding="utf-8")
