"""The commands of README and of the first steps, run word for word but for paths, port and installation."""

import re
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

pytestmark = pytest.mark.integration

BLOCK = re.compile(r"^```\n(.*?)^```$", re.MULTILINE | re.DOTALL)
INSTALLATION = ("useradd ", "install -d -o ", "make wheel", "python3 -m venv ", "/opt/clustercockpit/bin/pip install ")
"""What the tests of the wheel try, and what is for root."""
SERVERS = ("cc-backend serve", "cc-agent run")
PASSWORD = "a long enough password"

# `serve` and `run` stay in the foreground; the next lines are written for another terminal.
PRELUDE = """
set -euo pipefail
trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT
until_it_answers() { for _ in $(seq 300); do curl -sf "$1/healthz" >/dev/null && return; sleep 0.1; done; exit 1; }
"""


def blocks_of(text: str) -> str:
    """All commands of a document, in order."""
    return "\n".join(BLOCK.findall(text))


def script_of(document: str, changes: Mapping[str, str], url: str) -> str:
    """The commands with what is of the test in place of what is of a site."""
    lines = []
    for line in blocks_of(document).splitlines():
        if line.startswith(INSTALLATION):
            continue
        for old, new in changes.items():
            line = line.replace(old, new)  # noqa: PLW2901 - one after the other
        words = re.sub(r"^\S*/(?=cc-)", "", line)
        if words.startswith("cc-backend user add"):
            line = f"{line} <<< {PASSWORD!r}"  # noqa: PLW2901 - which is asked for at a terminal
        if words.startswith("cc-agent run"):
            line = f"{line} --interval 5s"  # noqa: PLW2901 - a minute is long for a test
        lines.append(f"{line} >>servers.log 2>&1 &" if re.sub(" +", " ", words).startswith(SERVERS) else line)
        if words.startswith("cc-backend serve"):
            lines.append(f"until_it_answers {url}")
    return "\n".join(lines)


@contextmanager
def running(script: str, folder: Path, bin_folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """The script, with what it started in the background still alive."""
    (folder / ".venv").mkdir(exist_ok=True)
    (folder / ".venv/bin").symlink_to(bin_folder)
    path = f"{bin_folder}:/usr/sbin:/usr/bin:/sbin:/bin"
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            ["bash", "-c", f"{PRELUDE}\n{script}\ntouch done\ncat >/dev/null"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            env={"PATH": path, "HOME": str(folder), "LANG": "C.UTF-8"},
        )
        try:
            yield process
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(timeout=60)


def wait_until_done(integration: Any, process: "subprocess.Popen[bytes]", folder: Path) -> None:
    """Wait until all commands have run; fails with what they said if one did not work."""
    integration.wait_for("the last command", lambda: process.poll() is not None or (folder / "done").exists(), 120)
    assert (folder / "done").exists(), said(folder)[-3000:]


def said(folder: Path) -> str:
    """What the commands printed."""
    return "".join(path.read_text("utf-8") for path in (folder / "output", folder / "servers.log") if path.exists())


def sign_in(client: httpx.Client) -> bool:
    form = {"username": "ada", "password": PASSWORD}
    return client.post("/login", data=form).status_code == httpx.codes.SEE_OTHER


def test_the_first_steps_lead_from_nothing_to_an_archived_job(
    repository: Path, integration: Any, tmp_path: Path
) -> None:
    port = integration.free_port()
    url = f"http://localhost:{port}"
    text = (repository / "docs/getting-started.md").read_text("utf-8").split("## Files of ClusterCockpit")[0]
    script = script_of(text, {"localhost:8080": f"localhost:{port}"}, url)
    script = script.replace("cc-backend serve", f"cc-backend serve --addr localhost:{port}")
    with running(script, tmp_path, integration.BIN) as process:
        wait_until_done(integration, process, tmp_path)
        with httpx.Client(base_url=url, timeout=30) as client:
            assert sign_in(client)
            assert "1\u00a0job" in client.get("/monitoring/jobs/").text
        archive = tmp_path / "site/var/job-archive/mycluster/0/001"
        integration.wait_for("the archived job", lambda: list(archive.glob("*/meta.json")), 90)
    assert "Traceback" not in said(tmp_path)


def test_the_set_up_of_the_readme_can_be_followed_word_for_word(
    repository: Path, integration: Any, tmp_path: Path
) -> None:
    port = integration.free_port()
    url = f"http://localhost:{port}"
    text = (repository / "README.md").read_text("utf-8")
    section = text[text.index("## Set it up for real") : text.index("## Read on")]
    changes = {
        "/opt/clustercockpit/bin": str(integration.BIN),
        "/var/lib/clustercockpit": str(tmp_path / "var-lib"),
        "/etc/clustercockpit": str(tmp_path / "etc"),
        "0.0.0.0:8080": f"127.0.0.1:{port}",
        "http://server:8080": url,
    }
    with running(script_of(section, changes, url), tmp_path, integration.BIN) as process:
        wait_until_done(integration, process, tmp_path)
        with httpx.Client(base_url=url, timeout=30) as client:
            assert sign_in(client)
            integration.wait_for(
                "the node on the start page",
                lambda: "1 of 1\u00a0node reported" in client.get("/").text,
                150,
            )
    assert (tmp_path / "etc/token").stat().st_mode & 0o777 == 0o600
    assert "Traceback" not in said(tmp_path)


@pytest.mark.parametrize("name", ["README.md", "docs/getting-started.md"])
def test_every_command_of_a_document_is_looked_at(repository: Path, name: str) -> None:
    """A block that is marked otherwise than the others would be left out of the tests above."""
    text = (repository / name).read_text("utf-8")
    assert text.count("```") == 2 * len(re.findall(r"^```$\n", text, re.MULTILINE)) // 2
    assert len(BLOCK.findall(text)) * 2 == text.count("```")
