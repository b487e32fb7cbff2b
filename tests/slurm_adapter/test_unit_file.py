import configparser
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def unit(repository: Path) -> Path:
    return repository / "slurm_adapter/systemd/cc-slurm-adapter.service"


def _service(unit: Path) -> "dict[str, str]":
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # keys of units tell case apart
    parser.read_string(unit.read_text(encoding="utf-8"))
    return dict(parser["Service"])


def test_the_adapter_runs_without_root_and_without_capabilities(unit: Path) -> None:
    service = _service(unit)
    assert service["User"] == "cc-slurm-adapter"
    assert service["CapabilityBoundingSet"] == ""
    assert service["NoNewPrivileges"] == "yes"


def test_the_journal_has_a_folder_of_its_own(unit: Path) -> None:
    assert _service(unit)["StateDirectory"] == "cc-slurm-adapter"
    assert _service(unit)["StateDirectoryMode"] == "0700"


def test_a_wrong_configuration_is_not_tried_again_and_again(unit: Path) -> None:
    assert _service(unit)["RestartPreventExitStatus"] == "2"


def test_systemd_understands_the_unit(unit: Path, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    text = unit.read_text(encoding="utf-8").replace("/usr/bin/cc-slurm-adapter", "/bin/true")
    copy = tmp_path / "cc-slurm-adapter.service"
    copy.write_text(text, encoding="utf-8")
    result = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True, check=False, timeout=60)
    assert "Unknown" not in result.stderr
    assert "cc-slurm-adapter.service:" not in result.stderr
