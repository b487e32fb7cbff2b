import gzip
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from cc_backend.httpserver.compression import ContentCoding, compress, decompress
from cc_backend.web import assets
from cc_backend.web.assets import STATIC, asset_digest, asset_paths

BUDGET_BYTES = 60_000
MODULES = sorted(path.relative_to(STATIC).as_posix() for path in STATIC.glob("js/*.js"))


@pytest.mark.skipif(not (STATIC / "vendor").is_dir(), reason="the front-end libraries are missing: run `make assets`")
def test_script_and_style_of_all_pages_together_stay_within_the_budget() -> None:
    sizes = {name: len(gzip.compress((STATIC / name).read_bytes(), 6)) for name in asset_paths()}
    assert sum(sizes.values()) <= BUDGET_BYTES, sizes


def test_files_under_the_current_digest_are_kept_for_good(client: FlaskClient) -> None:
    answer = client.get(f"/assets/{asset_digest()}/css/tokens.css")
    assert answer.status_code == 200
    assert "immutable" in answer.headers["Cache-Control"]
    assert answer.mimetype == "text/css"
    answer.close()


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of compressed files, empty; what the process has kept of files is forgotten before and after."""
    monkeypatch.setattr(assets, "PACKED", tmp_path)
    assets.asset_content.cache_clear()
    yield tmp_path
    assets.asset_content.cache_clear()


class TestCompressedFiles:
    name = "css/tokens.css"
    plain = (STATIC / name).read_bytes()

    def put(self, folder: Path, suffix: str, content: bytes) -> bytes:
        path = folder / f"{self.name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        return content

    @pytest.mark.parametrize(("coding", "suffix"), [(ContentCoding.GZIP, ".gz"), (ContentCoding.ZSTD, ".zst")])
    def test_what_was_compressed_at_the_build_is_sent_as_it_is(
        self, packed: Path, client: FlaskClient, coding: ContentCoding, suffix: str
    ) -> None:
        own = self.put(packed, suffix, compress(self.plain, coding))
        assert own != compress(self.plain, coding, is_cached=True)
        answer = client.get(f"/assets/{asset_digest()}/{self.name}", headers={"Accept-Encoding": coding})
        assert (answer.headers["Content-Encoding"], answer.data) == (coding, own)

    @pytest.mark.parametrize("stale", [b"", b"no gzip", gzip.compress(b"older"), gzip.compress(plain + b" "),
                                       gzip.compress(b"0" * 10**6), gzip.compress(plain)[:-200]],
                             ids=["empty", "no gzip", "older", "newer", "large", "cut off"])  # fmt: skip
    def test_what_is_of_another_content_is_not(self, packed: Path, client: FlaskClient, stale: bytes) -> None:
        self.put(packed, ".gz", stale)
        self.put(packed, ".zst", stale)
        for coding in (ContentCoding.GZIP, ContentCoding.ZSTD):
            answer = client.get(f"/assets/{asset_digest()}/{self.name}", headers={"Accept-Encoding": coding})
            assert answer.headers["Content-Encoding"] == coding
            assert decompress(answer.data, coding, max_bytes=10**6) == self.plain

    @pytest.mark.usefixtures("packed")
    def test_without_a_build_the_server_compresses_when_it_is_asked(self, client: FlaskClient) -> None:
        answer = client.get(f"/assets/{asset_digest()}/{self.name}", headers={"Accept-Encoding": "gzip"})
        assert gzip.decompress(answer.data) == self.plain

    def test_the_build_compresses_every_file_in_every_form(
        self, packed: Path, repository: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.put(packed, ".old.gz", b"left behind")
        build = runpy.run_path(str(repository / "packaging" / "compress_assets.py"))
        assert build["main"]() == 0
        names = {path.relative_to(packed).as_posix() for path in packed.rglob("*") if path.is_file()}
        assert names == {f"{name}{suffix}" for name in asset_paths() for suffix in (".gz", ".zst")}
        monkeypatch.setattr(assets, "compress", None)  # nothing is left to compress
        for name in asset_paths():
            for coding in (ContentCoding.GZIP, ContentCoding.ZSTD):
                assert (
                    decompress(assets.asset_content(name, coding), coding, max_bytes=10**6)
                    == (STATIC / name).read_bytes()
                )


def test_files_under_an_old_digest_are_asked_for_again(client: FlaskClient) -> None:
    answer = client.get("/assets/0123456789abcdef/js/page.js")
    assert (answer.headers["Cache-Control"], answer.mimetype) == ("no-cache", "text/javascript")
    answer.close()


@pytest.mark.parametrize(
    "name", ["../site.py", "..%2fsite.py", "js/../../site.py", "vendor/versions.json", "nothing.css", "/etc/passwd"]
)
def test_nothing_else_is_served(client: FlaskClient, name: str) -> None:
    assert client.get(f"/assets/{asset_digest()}/{name}").status_code in (404, 308)


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
