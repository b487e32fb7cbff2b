"""What is written is what is."""

import configparser
import re
import runpy
import subprocess
from pathlib import Path

import pytest

from cc_backend.api.routes import ROUTES
from cc_backend.settings import LEGACY_KEYS, LEGACY_VARIABLES
from cc_backend.storeservice.settings import LEGACY as STORE_LEGACY

LINK = re.compile(r"\[[^\]]*\]\((?!https?:)([^)#]*)(?:#([^)]*))?\)")


def anchors_of(target: Path) -> set[str]:
    """The anchors that a reader on the web has for the headings of a document."""
    headings = re.findall(r"^#+ (.+)$", target.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_reference_pages_are_those_that_the_declarations_give(repository: Path) -> None:
    pages = runpy.run_path(str(repository / "packaging/reference_pages.py"))["pages"]()
    written = {name: (repository / "docs/reference" / name).read_text("utf-8") for name in pages}
    assert written == pages, "run `make docs`"


def test_what_a_setting_means_is_written_in_whole_sentences(repository: Path) -> None:
    begins = re.compile(r"[^.!?:] (?:At least|At most|One of|Environment:|Secret;) ")
    rows = [
        (page.name, line)
        for page in (repository / "docs/reference").glob("*.md")
        for line in page.read_text("utf-8").splitlines()
        if line.startswith("| `")
    ]
    assert len(rows) > 100
    assert [
        row for row in rows if begins.search(row[1]) or not row[1].rstrip(" |").endswith((".", "!", "?", "`"))
    ] == []


def test_every_link_of_a_document_leads_somewhere(repository: Path) -> None:
    documents = [*repository.glob("*.md"), *repository.glob("docs/**/*.md")]
    links = [(document, *found) for document in documents for found in LINK.findall(document.read_text("utf-8"))]
    broken = [
        f"{document.name}: {link}#{anchor}"
        for document, link, anchor in links
        if not (target := document.parent / link if link else document).exists()
        or (anchor and anchor not in anchors_of(target))
    ]
    assert broken == []


def not_done(repository: Path) -> list[str]:
    """What stands in backticks in the first column of the list of what is not done."""
    text = (repository / "docs/compatibility.md").read_text("utf-8").partition("## Not done, because\n")[2]
    rows = [line.split(" | ")[0] for line in text.splitlines() if line.startswith("| ")]
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def test_settings_without_effect_are_named_among_what_is_not_done_and_no_others(repository: Path) -> None:
    named = not_done(repository)
    unused = {key.rstrip("*") for key, advice in LEGACY_KEYS.items() if "does not use yet" in advice}
    lacking = [key for key in unused if not any(key.startswith(name) or key.endswith(f".{name}") for name in named)]
    assert lacking == []
    settings = [name for name in named if re.fullmatch(r"(main|auth|archive|metric-store)\.[a-z.-]+", name)]
    assert [name for name in settings if not any(key.startswith(name) for key in LEGACY_KEYS)] == []


def test_no_route_is_among_what_is_not_done(repository: Path) -> None:
    paths = [name for name in not_done(repository) if name.startswith("/") and name != "/monitoring/"]
    assert "/query" in paths
    assert [route.path for route in ROUTES if any(route.path.startswith(path) for path in paths)] == []


@pytest.mark.parametrize("target", ["demo", "test", "check", "bench", "assets", "screenshots", "clean"])
def test_every_promised_make_target_exists_and_is_explained(repository: Path, target: str) -> None:
    assert re.search(rf"^{target}:.*## \S", (repository / "Makefile").read_text("utf-8"), re.MULTILINE)


def test_the_architecture_has_the_direct_dependencies_of_each_program(repository: Path) -> None:
    setup = configparser.ConfigParser()
    setup.read(repository / "setup.cfg", encoding="utf-8")
    extras = {
        program: re.findall(r"^([\w-]+)", setup["options.extras_require"][extra].lstrip(), re.MULTILINE)
        for program, extra in (
            *(("backend", "backend"), ("agent", "agent"), ("adapter", "slurm")),
            *(("the extra nats", "nats"), ("the extra postgresql", "postgresql")),
        )
    }
    assert len(extras["backend"]) <= 12
    text = (repository / "docs/architecture.md").read_text("utf-8").partition("## Direct dependencies\n")[2]
    rows = re.findall(r"^\| ([\w-]+) \| ([\w, ]+) \|", text, re.MULTILINE)[1:]
    documented = {program: [package for package, users in rows if program in users.split(", ")] for program in extras}
    assert documented == extras


def test_the_manual_makes_the_unit_fit_what_readme_sets_up(repository: Path, tmp_path: Path) -> None:
    readme = (repository / "README.md").read_text("utf-8")
    manual = (repository / "docs/operation.md").read_text("utf-8")
    commands = re.search(r"^```\n(sed .*?)^systemctl", manual, re.MULTILINE | re.DOTALL)
    assert commands
    script = commands[1].replace("/etc/systemd/system", str(tmp_path))
    subprocess.run(["bash", "-euc", script], cwd=repository, check=True)
    unit = (tmp_path / "cc-backend.service").read_text("utf-8")
    account = re.search(r"^User=(.*)\nGroup=\1$", unit, re.MULTILINE)
    start = re.search(r"^ExecStart=(\S+)/cc-backend serve --config (\S+)$", unit, re.MULTILINE)
    assert account
    assert start
    assert f"useradd --create-home --shell /bin/bash {account[1]}\n" in readme
    assert f'export PATH="{start[1]}:$PATH" CC_BACKEND_CONFIG={start[2]}\n' in readme
    assert f"StateDirectory={Path(start[2]).parent.name}\n" in unit


def test_what_operators_read_of_settings_names_the_other_program_by_its_name(repository: Path) -> None:
    pages = [page.read_text("utf-8") for page in (repository / "docs/reference").glob("*.md")]
    advice = [*LEGACY_KEYS.values(), *LEGACY_VARIABLES.values(), *STORE_LEGACY.values()]
    assert [text for text in (*pages, *advice) if "the reference" in text] == []
