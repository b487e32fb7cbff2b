"""The wheel that a site without a compiler builds, and the agent from it on the oldest Python."""

import configparser
import itertools
import shutil
import zipfile
from pathlib import Path
from typing import Any

import pytest

from cc_common import line_protocol

pytestmark = pytest.mark.packaging


def test_without_a_compiler_the_wheel_fits_every_machine(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    assert not [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith((".so", ".c", ".h"))]


def test_with_a_compiler_the_wheel_carries_the_c_parts_but_not_their_source(native_wheel: Path) -> None:
    names = zipfile.ZipFile(native_wheel).namelist()
    for part in ("metricstore/_kernel", "metricstore/_codec", "metricstore/_resample", "archive/_numbers"):
        assert [name for name in names if name.startswith(f"cc_backend/{part}.") and name.endswith(".so")]
    assert not [name for name in names if name.endswith((".c", ".h"))]


def test_the_wheel_carries_pages_and_their_scripts_ready(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.startswith("cc_backend/web/templates/") for name in names)
    assert any(name.startswith("cc_backend/web/static/vendor/uPlot") for name in names)
    assert not any("node_modules" in name for name in names)
    assert "cc_backend/web/static/packed/css/tokens.css.zst" in names


def test_the_wheel_carries_the_known_applications_and_the_rules_of_job_classes(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "cc_backend/taggers/applications.toml" in names
    assert "cc_backend/taggers/rules/parameters.json" in names


def test_the_wheel_holds_the_four_packages_and_nothing_else(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/", 1)[0] for name in archive.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "cc_common",
        "cc_agent",
        "cc_slurm_adapter",
        "cc_backend",
    }


@pytest.fixture(scope="session")
def python39_with_wheel(wheel: Path, python39: Any) -> Any:
    shutil.copy(wheel, python39.outside)
    requirement = f"clustercockpit[agent,slurm] @ file://{python39.inside / wheel.name}"
    done = python39.run("-m", "pip", "install", "--quiet", "--disable-pip-version-check", requirement)
    assert done.returncode == 0, done.stderr
    return python39


def test_the_agent_samples_this_machine_on_python_39(python39_with_wheel: Any) -> None:
    assert "3.9" in python39_with_wheel.run("--version").stdout
    done = python39_with_wheel.program("cc-agent", "once")
    assert done.returncode == 0, done.stderr
    points, errors = line_protocol.decode(done.stdout.encode(), received_s=0)
    assert errors == []
    assert {"cpu_user", "mem_used", "cpu_load"} <= {point.metric for point in points}


def test_the_command_line_of_the_agent_works_on_python_39(python39_with_wheel: Any) -> None:
    done = python39_with_wheel.program("cc-agent", "--help")
    assert done.returncode == 0, done.stderr
    assert "doctor" in done.stdout


def test_the_command_line_of_the_adapter_works_on_python_39(python39_with_wheel: Any) -> None:
    done = python39_with_wheel.program("cc-slurm-adapter", "--help")
    assert done.returncode == 0, done.stderr
    assert "once" in done.stdout


def test_what_runs_on_nodes_and_controllers_passes_its_tests_on_python_39(
    python39_with_wheel: Any, repository: Path
) -> None:
    tools = ("pytest", "pytest-randomly", "hypothesis", "psutil", "nvidia-ml-py", "nats-py", "nkeys")
    done = python39_with_wheel.run("-m", "pip", "install", "--quiet", "--disable-pip-version-check", *tools)
    assert done.returncode == 0, done.stderr
    tests = python39_with_wheel.outside / "tests"
    shutil.rmtree(tests, ignore_errors=True)
    for name in ("common", "agent", "slurm_adapter"):
        shutil.copytree(repository / "tests" / name, tests / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("conftest.py", "nats_server.py"):
        shutil.copy(repository / "tests" / name, tests)
    for part, name in itertools.product(("agent", "slurm_adapter"), ("etc", "systemd")):
        shipped = python39_with_wheel.outside / part / name
        shutil.rmtree(shipped, ignore_errors=True)
        shutil.copytree(repository / part / name, shipped)
    settings = configparser.ConfigParser()
    settings.read(repository / "setup.cfg")
    markers = settings["tool:pytest"]["markers"].replace("\n", "\n    ")
    (tests / "pytest.ini").write_text(
        f"[pytest]\naddopts = --import-mode=importlib\nfilterwarnings = error\nmarkers ={markers}\n"
    )
    inside = str(python39_with_wheel.inside / "tests")
    chosen = ("-m", "not (alone or faults or integration)")  # these need more than the wheel
    done = python39_with_wheel.run("-m", "pytest", "-q", *chosen, "-c", f"{inside}/pytest.ini", inside, timeout_s=600)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
