"""Whatever stands in the way of a command is told in one line, with a status that scripts can use."""

import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

COMMAND = Path(sys.executable).parent / "cc-backend"
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH = 24, 1, 2


def cc_backend(*arguments: object, **more: Any) -> "subprocess.CompletedProcess[str]":
    environment = {key: value for key, value in os.environ.items() if not key.startswith("CC_")}
    options = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment}
    return subprocess.run(
        [str(COMMAND), *map(str, arguments)], text=True, check=False, timeout=60, **{**options, **more}
    )


def told_in_one_line(done: "subprocess.CompletedProcess[str]") -> str:
    assert done.returncode in (1, 2)
    assert "Traceback" not in done.stderr
    lines = done.stderr.splitlines()
    assert lines[-1].startswith("cc-backend: ")
    return lines[-1]


@pytest.fixture(scope="module", name="site")
def made_site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "site"
    assert cc_backend("init", folder).returncode == 0
    return folder


@pytest.fixture(name="closed")
def folder_that_one_may_not_write() -> Iterator[Path]:
    """A folder that everybody may read and in which only root may write."""
    with tempfile.TemporaryDirectory(prefix="cc-cli-") as name:
        Path(name).chmod(0o555)
        yield Path(name)
        Path(name).chmod(0o755)


def within_the_modes(*arguments: object) -> "subprocess.CompletedProcess[str]":
    """Runs the command so that modes of files hold for it, even if the tests run as root."""
    return cc_backend(*arguments, preexec_fn=_give_up_overriding_modes)


def _give_up_overriding_modes() -> None:
    for capability in (CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH):
        ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)


class TestInit:
    def test_where_one_may_not_write(self, closed: Path) -> None:
        done = within_the_modes("init", closed / "site")
        line = told_in_one_line(done)
        assert f"{closed}/site: Permission denied" in line
        assert f"install -d -o ACCOUNT {closed}/site" in line
        assert len(done.stderr.splitlines()) == 1

    def test_in_place_of_a_file_and_below_one(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("", "utf-8")
        for folder in (tmp_path / "file", tmp_path / "file" / "below"):
            assert "is a file, not a folder; name another folder" in told_in_one_line(cc_backend("init", folder))

    def test_where_no_folder_can_be(self) -> None:
        assert "/proc/site: " in told_in_one_line(cc_backend("init", "/proc/site"))

    def test_one_that_was_interrupted_can_be_made_again(self, tmp_path: Path) -> None:
        (tmp_path / "site" / "secrets").mkdir(parents=True)
        assert cc_backend("init", tmp_path / "site").returncode == 0


COMMANDS = (
    ["show-config"],
    ["serve"],
    ["capacity"],
    ["user", "list"],
    ["user", "add", "ada", "--generate"],
    ["token", "list"],
    ["token", "create", "agents"],
    ["metric-store", "show-config"],
)


class TestTheConfiguration:
    @pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
    def test_one_that_is_missing(self, tmp_path: Path, command: list[str]) -> None:
        line = told_in_one_line(cc_backend(*command, "--config", tmp_path / "nowhere.json"))
        assert line == (
            f"cc-backend: {tmp_path}/nowhere.json: cannot be read: No such file or directory; "
            "name the right one with --config"
        )

    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"{", "is not JSON"),
            (b"[]", "must hold an object"),
            (b"\xff\xfe", "is not UTF-8"),
            (b'{"a":' * 5000, "is nested too deeply"),
            (b'{"main": {"db": 7}}', "main.db: must be a string"),
            (b'{"main": {"adr": ""}}', "did you mean 'addr'"),
        ],
    )
    def test_one_that_cannot_be_read(self, tmp_path: Path, content: bytes, words: str) -> None:
        (tmp_path / "config.json").write_bytes(content)
        done = cc_backend("user", "list", "--config", tmp_path / "config.json")
        assert (done.returncode, words in told_in_one_line(done)) == (2, True)

    def test_a_folder_in_its_place(self, tmp_path: Path) -> None:
        line = told_in_one_line(cc_backend("serve", "--config", tmp_path))
        assert line == f"cc-backend: {tmp_path}: is a folder; name the file in it: --config {tmp_path}/config.json"

    def test_one_that_others_may_not_read(self, closed: Path) -> None:
        closed.chmod(0o755)
        (closed / "config.json").write_text("{}", "utf-8")
        (closed / "config.json").chmod(0)
        line = told_in_one_line(within_the_modes("user", "list", "--config", closed / "config.json"))
        assert line == f"cc-backend: {closed}/config.json: cannot be read: Permission denied"

    @pytest.mark.parametrize("name", ["nowhere", ".", "/dev/zero"])
    @pytest.mark.parametrize("command", [["cluster", "check"], ["cluster", "add"]], ids=" ".join)
    def test_a_cluster_that_cannot_be_read(self, site: Path, tmp_path: Path, command: list[str], name: str) -> None:
        options = ["--config", site / "config.json"] if command[1] == "add" else []
        told_in_one_line(cc_backend(*command, *options, tmp_path / name))


class TestTheOutput:
    def test_a_reader_that_has_gone_is_no_fault_to_talk_about(self, site: Path) -> None:
        reader, writer = os.pipe()
        os.close(reader)
        done = cc_backend("show-config", "--config", site / "config.json", stdout=writer)
        os.close(writer)
        assert done.stderr == ""

    def test_a_full_disk_is_told(self, site: Path) -> None:
        with Path("/dev/full").open("wb") as full:
            done = cc_backend("show-config", "--config", site / "config.json", stdout=full)
        assert (done.returncode, done.stderr) == (1, "cc-backend: No space left on device\n")

    def test_an_interrupt_ends_it_without_a_word(self, site: Path) -> None:
        process = subprocess.Popen(
            [str(COMMAND), "user", "add", "eve", "--config", str(site / "config.json")],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
        )
        deadline = time.monotonic() + 30
        maps = Path(f"/proc/{process.pid}/maps")
        while time.monotonic() < deadline and "argon2" not in maps.read_text("utf-8"):  # its packages are loaded
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=30)
        assert process.returncode in (1, 130)
        assert "Traceback" not in stderr


class TestTheInstallation:
    def test_a_package_of_the_server_that_is_missing_is_told_with_the_extra(self, tmp_path: Path) -> None:
        (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['argon2'] = None\n", "utf-8")
        (tmp_path / "run.py").write_text(
            "import sys, importlib.abc\n"
            "class Missing(importlib.abc.MetaPathFinder):\n"
            "    def find_spec(self, name, path, target=None):\n"
            "        if name == 'argon2': raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
            "sys.meta_path.insert(0, Missing())\n"
            "from cc_backend.__main__ import main\nmain()\n",
            "utf-8",
        )
        done = subprocess.run(
            [sys.executable, tmp_path / "run.py", "user", "list"],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert told_in_one_line(done) == (
            "cc-backend: the package 'argon2' is missing; install the server's: pip install 'clustercockpit[backend]'"
        )

    def test_a_defect_of_this_program_is_one_line_too_and_shows_its_place_on_demand(self, tmp_path: Path) -> None:
        (tmp_path / "run.py").write_text(
            "from cc_backend.cli import app\n"
            "@app.command('broken')\ndef broken() -> None:\n    raise ZeroDivisionError('two\\nlines')\n"
            "from cc_backend.__main__ import main\nmain()\n",
            "utf-8",
        )

        def run(**more: str) -> "subprocess.CompletedProcess[str]":
            command = [sys.executable, tmp_path / "run.py", "broken"]
            return subprocess.run(
                command, capture_output=True, text=True, check=False, timeout=60, env={**os.environ, **more}
            )

        assert told_in_one_line(run()) == (
            "cc-backend: internal error, which should be reported: ZeroDivisionError: two "
            "(CC_BACKEND_TRACEBACK=1 shows where)"
        )
        assert "Traceback" in run(CC_BACKEND_TRACEBACK="1").stderr


@pytest.mark.parametrize("option", ["--nodes=-1", "--series=-1", "--timestep=0", "--nodes=99999999999999999999"])
def test_a_forecast_of_what_cannot_be_is_refused(site: Path, option: str) -> None:
    done = cc_backend("capacity", "--config", site / "config.json", "--nodes=1", "--series=1", option)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr


class TestTheDatabase:
    @pytest.mark.parametrize("command", [["user", "list"], ["token", "list"], ["serve"]], ids=" ".join)
    @pytest.mark.parametrize("fault", ["nonsense", "a folder"])
    def test_one_that_cannot_be_used_is_told_once_with_its_file(
        self, tmp_path: Path, command: list[str], fault: str
    ) -> None:
        site = tmp_path / "site"
        assert cc_backend("init", site).returncode == 0
        for file in (site / "var").glob("job.db*"):
            file.unlink()
        if fault == "nonsense":
            (site / "var/job.db").write_text("nonsense " * 100, "utf-8")
        else:
            (site / "var/job.db").mkdir()
        done = cc_backend(*command, "--config", site / "config.json")
        assert f"cc-backend: {site}/var/job.db: the database cannot be used now: " in told_in_one_line(done)
        assert len(done.stderr.splitlines()) == 1
