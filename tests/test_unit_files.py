"""The systemd units of agent and adapter."""

from __future__ import annotations

import configparser
import shutil
import subprocess
from pathlib import Path
from typing import Dict

import pytest

AGENT, ADAPTER = "agent/systemd/cc-agent.service", "slurm_adapter/systemd/cc-slurm-adapter.service"


def service(repository: Path, unit: str) -> Dict[str, str]:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]  # keys of units are case-sensitive
    parser.read_string((repository / unit).read_text(encoding="utf-8"))
    return dict(parser["Service"])


@pytest.mark.parametrize(
    ("unit", "user", "capabilities"), [(AGENT, "cc-agent", "CAP_PERFMON"), (ADAPTER, "cc-slurm-adapter", "")]
)
def test_the_service_runs_without_root_and_with_few_capabilities(
    repository: Path, unit: str, user: str, capabilities: str
) -> None:
    keys = service(repository, unit)
    assert keys["User"] == user
    assert keys["CapabilityBoundingSet"] == keys.get("AmbientCapabilities", "") == capabilities
    assert keys["NoNewPrivileges"] == "yes"
    assert keys["ProtectSystem"] == "strict"


@pytest.mark.parametrize("unit", [AGENT, ADAPTER])
def test_a_wrong_configuration_is_not_tried_again_and_again(repository: Path, unit: str) -> None:
    assert service(repository, unit)["RestartPreventExitStatus"] == "2"


@pytest.mark.parametrize("unit", [AGENT, ADAPTER])
def test_systemd_understands_the_unit(repository: Path, tmp_path: Path, unit: str) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    name = Path(unit).name
    text = (repository / unit).read_text(encoding="utf-8").replace(f"/usr/bin/{Path(unit).stem}", "/bin/true")
    (tmp_path / name).write_text(text, encoding="utf-8")
    command = [analyze, "verify", str(tmp_path / name)]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert "Unknown" not in result.stderr
    assert f"{name}:" not in result.stderr


def test_the_watchdog_of_the_agent_allows_three_default_intervals(repository: Path) -> None:
    assert service(repository, AGENT)["Type"] == "notify"
    assert service(repository, AGENT)["WatchdogSec"] == "180"


def test_nothing_hides_what_collectors_read(repository: Path) -> None:
    hiding = {"ProtectProc", "ProcSubset", "PrivateDevices", "PrivateUsers", "MemoryDenyWriteExecute"}
    assert not hiding & set(service(repository, AGENT))


def test_the_journal_of_the_adapter_has_a_folder_of_its_own(repository: Path) -> None:
    assert service(repository, ADAPTER)["StateDirectory"] == "cc-slurm-adapter"
    assert service(repository, ADAPTER)["StateDirectoryMode"] == "0700"
