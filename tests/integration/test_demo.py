"""The demo as people start it: what the four see, what Ctrl-C leaves (nothing), what a second start finds."""

import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

pytestmark = pytest.mark.integration

MADE_UP, MACHINE = "birch", "local"
FINISHED = 12
PEOPLE = re.compile(r'href="/monitoring/jobs/\?user=([a-z]+)')


class Demo:
    """A running `demo.py`."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.said = ""
        assert process.stdout is not None
        for line in process.stdout:
            self.said += line
            if "Ctrl-C ends everything" in line:
                return
        pytest.fail(f"the demo did not come up: {self.said}")

    @property
    def url(self) -> str:
        """Where it says it runs."""
        found = re.search(r"http://\S+", self.said)
        assert found
        return found.group()

    def end(self, number: int) -> list[str]:
        """End it with a signal; the command lines of what it has left behind."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        assert len(children) >= 2  # backend and agent
        self.process.send_signal(number)
        said = self.process.communicate(timeout=60)[0]
        assert "All ended." in said
        assert self.process.returncode == 0
        left = psutil.wait_procs(children, timeout=5)[1]
        return [" ".join(child.cmdline()) for child in left]


@contextmanager
def demo(repository: Path, folder: Path, port: int) -> Iterator[Demo]:
    program = [sys.executable, repository / "packaging" / "demo.py", "--directory", folder, "--port", port]
    options = ["--finished", FINISHED, "--job-seconds", 2]
    process = subprocess.Popen(
        [*map(str, [*program, *options])], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        yield Demo(process)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


def list_of(url: str, name: str, password: str) -> str:
    """The job list as somebody sees it."""
    with httpx.Client(base_url=url, follow_redirects=True, timeout=30) as client:
        form = {"username": name, "password": password}
        assert client.post("/login", data=form).status_code == httpx.codes.OK
        return client.get("/monitoring/jobs/", params={"view": "table", "per": 100}).text


def archived(folder: Path) -> set[Path]:
    return set((folder / "var/job-archive" / MADE_UP).glob("*/*/*/meta.json"))


def test_the_demo_lives_ends_without_a_trace_and_goes_on_at_the_next_start(
    repository: Path, tmp_path: Path, processes: Any
) -> None:
    folder, port = tmp_path / "demo", processes.free_port()
    with demo(repository, folder, port) as first:
        assert first.url.endswith(f":{port}")
        passwords = json.loads((folder / "logins.json").read_text("utf-8"))
        assert all(word in first.said for pair in passwords.items() for word in pair)
        check_what_each_sees(first.url, passwords)
        assert first.end(signal.SIGINT) == []
    finished = archived(folder)
    assert len(finished) == FINISHED
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port))
        taken.listen()
        with demo(repository, folder, port) as second:
            assert f"Port {port} is taken" in second.said
            page = list_of(second.url, "hbrandt", passwords["hbrandt"])
            assert page.count("Running") >= 10
            assert second.end(signal.SIGTERM) == []
    assert archived(folder) >= finished


def check_what_each_sees(url: str, passwords: dict[str, str]) -> None:
    seen = {name: list_of(url, name, password) for name, password in passwords.items()}
    people = {name: set(PEOPLE.findall(page)) for name, page in seen.items()}
    assert people["mlindq"] == {"mlindq"}
    assert "flow-031" in seen["rmeyer"]
    assert "mat-019" in seen["rmeyer"]
    assert "chem-102" not in seen["rmeyer"]
    assert people["hbrandt"] == people["opsadmin"] > people["rmeyer"] | people["mlindq"]
    for name in ("mlindq", "hbrandt", "opsadmin"):
        assert MACHINE in seen[name]
        assert MADE_UP in seen[name]
