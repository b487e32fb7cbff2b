import configparser
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture
def unit(repository: Path) -> Path:
    return repository / "agent/systemd/cc-agent.service"


def _service(unit: Path) -> "dict[str, str]":
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # keys of units tell case apart
    parser.read_string(unit.read_text(encoding="utf-8"))
    return dict(parser["Service"])


def test_the_agent_runs_without_root_and_with_one_capability(unit: Path) -> None:
    service = _service(unit)
    assert service["User"] == "cc-agent"
    assert service["CapabilityBoundingSet"] == service["AmbientCapabilities"] == "CAP_PERFMON"
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"


def test_the_watchdog_allows_three_default_intervals(unit: Path) -> None:
    assert _service(unit)["Type"] == "notify"
    assert _service(unit)["WatchdogSec"] == "180"


def test_nothing_hides_what_collectors_read(unit: Path) -> None:
    hiding = {"ProtectProc", "ProcSubset", "PrivateDevices", "PrivateUsers", "MemoryDenyWriteExecute"}
    assert not hiding & set(_service(unit))


def test_a_wrong_configuration_is_not_tried_again_and_again(unit: Path) -> None:
    assert _service(unit)["RestartPreventExitStatus"] == "2"


def test_systemd_understands_the_unit(unit: Path, tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    text = unit.read_text(encoding="utf-8").replace("/usr/bin/cc-agent", "/bin/true")
    copy = tmp_path / "cc-agent.service"
    copy.write_text(text, encoding="utf-8")
    result = subprocess.run([analyze, "verify", str(copy)], capture_output=True, text=True, check=False, timeout=60)
    assert "Unknown" not in result.stderr
    assert "cc-agent.service:" not in result.stderr
