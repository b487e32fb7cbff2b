"""What make does on a machine that lacks something, and what it says meanwhile."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

FAKE_PYTHON = """#!/bin/sh
# Makes a virtual environment whose pip says what a real one says.
case "$*" in
*"-m venv "*) mkdir -p "$3/bin"; cp "$0" "$3/bin/python" ;;
*"-m pip install"*)
    echo "Collecting flask>=3.0"
    echo "  Downloading flask-3.1.0-py3-none-any.whl (102 kB)"
    echo "Requirement already satisfied: numpy"
    echo "Installing collected packages: flask"
    [ -z "$PIP_FAILS" ] || { echo "ERROR: no matching distribution"; exit 1; }
    echo "Successfully installed flask-3.1.0" ;;
*ensurepip*) exit "${NO_VENV:-0}" ;;
esac
"""
FAKE_NPM = """#!/bin/sh
echo "added 1 package in 2s"; echo "npm notice a new version of npm" >&2
[ -z "$NPM_FAILS" ] || exit 1
mkdir -p node_modules/uplot/dist
for file in dist/uPlot.iife.min.js dist/uPlot.min.css LICENSE; do echo x >"node_modules/uplot/$file"; done
"""


def program(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, "utf-8")
    path.chmod(0o755)
    return path


class TestTheEnvironment:
    def make(
        self, repository: Path, folder: Path, *, python: str = "", **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        fake = program(folder, "fake-python", FAKE_PYTHON)
        return subprocess.run(
            ["sh", repository / "packaging/make_venv.sh", python or fake, folder / "venv"],
            capture_output=True,
            text=True,
            check=False,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "CI": "", "PIP_FAILS": "", **environment},
        )

    def test_a_python_that_is_not_there_is_told_as_such(self, repository: Path, tmp_path: Path) -> None:
        done = self.make(repository, tmp_path, python="python3.99")
        assert done.returncode == 1
        assert done.stderr == "There is no python3.99 on this machine. Name another one: make PYTHON=python3.12\n"

    def test_nothing_is_installed_without_being_asked(self, repository: Path, tmp_path: Path) -> None:
        done = self.make(repository, tmp_path, NO_VENV="1", PATH=f"{tmp_path}:{os.environ['PATH']}")
        assert done.returncode == 1
        assert "has no venv module. On Debian, as root: apt-get install -y git make python3-venv" in done.stderr
        assert "Installing what a bare Debian lacks" not in done.stdout

    def test_each_package_is_told_as_it_comes(self, repository: Path, tmp_path: Path) -> None:
        done = self.make(repository, tmp_path)
        assert done.returncode == 0
        assert done.stdout.splitlines()[1:] == ["  flask", "  installing"]
        assert "Successfully installed" in (tmp_path / "venv/install.log").read_text("utf-8")

    def test_a_failure_shows_everything_that_was_said(self, repository: Path, tmp_path: Path) -> None:
        done = self.make(repository, tmp_path, PIP_FAILS="1")
        assert done.returncode == 1
        assert "ERROR: no matching distribution" in done.stderr


class TestTheAssets:
    def build(self, repository: Path, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
        program(folder, "npm", FAKE_NPM)
        path = str(repository / "packaging/build_assets.py")
        source = f"import runpy; runpy.run_path({path!r})['fetch']()"
        return subprocess.run(
            [sys.executable, "-c", source],
            capture_output=True,
            text=True,
            check=False,
            env={
                **os.environ,
                "PATH": f"{folder}:{os.environ['PATH']}",
                "CC_ASSETS_CACHE": str(folder / "cache"),
                "NPM_FAILS": "",
                **environment,
            },
        )

    def test_npm_is_quiet_while_all_is_well(self, repository: Path, tmp_path: Path) -> None:
        done = self.build(repository, tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == "build_assets: fetching the front-end libraries\n"

    def test_what_npm_said_is_shown_when_it_fails(self, repository: Path, tmp_path: Path) -> None:
        done = self.build(repository, tmp_path, NPM_FAILS="1")
        assert done.returncode != 0
        assert "npm notice a new version of npm" in done.stderr


FAKE_BUILD = """#!/bin/sh
# Builds a wheel as the real one would name it.
echo "running build_ext"
[ -z "$BUILD_FAILS" ] || { echo "error: no room"; exit 1; }
[ "$CC_NO_EXT" = 1 ] && tag=py3-none-any || tag=cp311-cp311-linux_x86_64
[ -z "$NO_COMPILER" ] || { tag=py3-none-any; echo "setup.py: no C compiler"; }
echo x >"$5/clustercockpit-0.2.0-$tag.whl"
"""


class TestTheWheels:
    def build(self, repository: Path, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
        fake = program(folder, "fake-build", FAKE_BUILD)
        empty = {"BUILD_FAILS": "", "NO_COMPILER": "", "CC_NO_EXT": ""}
        return subprocess.run(
            ["sh", repository / "packaging/build_wheels.sh", fake, folder / "dist"],
            capture_output=True,
            text=True,
            check=False,
            env={**os.environ, **empty, **environment},
        )

    def test_nodes_get_one_that_fits_every_python(self, repository: Path, tmp_path: Path) -> None:
        (tmp_path / "dist/nodes").mkdir(parents=True)
        for name in ("dist", "dist/nodes"):  # left by an older release; README's names stand for one file each
            (tmp_path / name / "clustercockpit-0.1.0-py3-none-any.whl").touch()
        done = self.build(repository, tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert [path.name for path in (tmp_path / "dist").glob("*.whl")] == [
            "clustercockpit-0.2.0-cp311-cp311-linux_x86_64.whl"
        ]
        assert [path.name for path in (tmp_path / "dist/nodes").glob("*.whl")] == [
            "clustercockpit-0.2.0-py3-none-any.whl"
        ]

    def test_the_build_is_quiet_but_for_a_missing_compiler(self, repository: Path, tmp_path: Path) -> None:
        assert "build_ext" not in self.build(repository, tmp_path).stdout
        assert "no C compiler" in self.build(repository, tmp_path, NO_COMPILER="1").stdout

    def test_what_a_failed_build_said_is_shown(self, repository: Path, tmp_path: Path) -> None:
        done = self.build(repository, tmp_path, BUILD_FAILS="1")
        assert done.returncode == 1
        assert "error: no room" in done.stderr


def test_clean_removes_everything_that_git_ignores_and_make_makes(repository: Path) -> None:
    done = subprocess.run(["make", "-n", "clean"], cwd=repository, capture_output=True, text=True, check=True)
    removed = set(re.split(r"\s+", done.stdout))
    ignored = {line.strip("/") for line in (repository / ".gitignore").read_text("utf-8").split()}
    by_find = {"__pycache__", "*.pyc"}
    missing = {name for name in ignored - by_find if not any(path.strip("/'").endswith(name) for path in removed)}
    assert missing == set()


@pytest.mark.parametrize("package", ["gcc", "python3-dev", "chromium", "slurmctld"])
def test_what_tests_need_is_among_what_test_deps_installs(repository: Path, package: str) -> None:
    assert package in (repository / "packaging/test_deps.sh").read_text("utf-8")
