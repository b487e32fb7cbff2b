import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_files import finish_thread

from cc_agent.collectors.base import Tick
from cc_agent.collectors.smartmon import SmartmonCollector, SmartmonOptions, parse_disk, parse_scan
from cc_agent.errors import NotPresentError
from cc_common.settings import load

Write = Callable[[str, str], None]

LOG = {
    "critical_warning": 0, "temperature": 41, "available_spare": 98, "available_spare_threshold": 10,
    "percentage_used": 7, "data_units_read": 1000, "data_units_written": 2000, "host_reads": 30, "host_writes": 40,
    "power_cycles": 5, "power_on_hours": 10, "unsafe_shutdowns": 1, "media_errors": 2, "num_err_log_entries": 3,
    "warning_temp_time": 4, "critical_comp_time": 6,
}  # fmt: skip
NVME = {"smart_status": {"passed": True}, "nvme_smart_health_information_log": LOG}
ATA = {
    "smart_status": {"passed": False},
    "temperature": {"current": 50},
    "power_on_time": {"hours": 2},
    "power_cycle_count": 9,
}


@pytest.fixture
def smartctl(tmp_path: Path, write: Write) -> str:
    """A program that knows two disks; like the real one it ends with a status other than 0 for a disk that fails."""
    scan = {"devices": [{"name": "/dev/nvme0", "type": "nvme"}, {"name": "/dev/sda", "type": "sat"}]}
    for name, document in (("scan", scan), ("nvme0", NVME), ("sda", ATA)):
        write(name, json.dumps(document))
    write(
        "bin/smartctl",
        f'#!/bin/sh\ncase "$*" in\n"--scan --json=c") cat {tmp_path}/scan ;;\n'
        f'"--json=c --device=nvme --all /dev/nvme0"|"--json=c --all /dev/nvme0") cat {tmp_path}/nvme0 ;;\n'
        f'"--json=c --device=sat --all /dev/sda") cat {tmp_path}/sda; exit 8 ;;\n*) exit 2 ;;\nesac\n',
    )
    (tmp_path / "bin/smartctl").chmod(0o700)
    return str(tmp_path / "bin/smartctl")


def _readings(smartctl: str, **options: Any) -> dict[str, float]:
    collector = SmartmonCollector(load(SmartmonOptions, {"smartctl_path": smartctl, **options}, source="test").value)
    collector.open()
    assert collector.read(Tick(0, 1000.0, 10.0)) == []
    finish_thread("smartmon")
    readings = collector.read(Tick(10, 1010.0, 10.0))
    collector.close()
    return {series.metric + series.tags.get("stype-id", ""): value for series, value in readings}


def test_the_node_has_the_worst_disk_and_the_sums(smartctl: str) -> None:
    assert _readings(smartctl) == {
        "smartmon_temp": 50, "smartmon_percent_used": 7, "smartmon_avail_spare": 98,
        "smartmon_data_units_read": 1000, "smartmon_data_units_write": 2000, "smartmon_host_reads": 30,
        "smartmon_host_writes": 40, "smartmon_power_cycles": 14, "smartmon_power_on": 36000,
        "smartmon_unsafe_shutdowns": 1, "smartmon_media_errors": 2, "smartmon_errlog_entries": 3,
        "smartmon_warn_temp_time": 4, "smartmon_crit_comp_time": 6, "smartmon_failing": 1,
    }  # fmt: skip


def test_single_disks_on_request(smartctl: str) -> None:
    sent = _readings(smartctl, send_device_values=True)
    assert (sent["smartmon_temp/dev/nvme0"], sent["smartmon_temp/dev/sda"]) == (41, 50)


@pytest.mark.parametrize("key", ["excludeMetrics", "exclude_metrics"])
def test_disks_and_metrics_are_excluded_as_in_the_reference(smartctl: str, key: str) -> None:
    sent = _readings(smartctl, exclude_devices=["/dev/sda"], **{key: ["smartmon_host_reads"]})
    assert sent["smartmon_temp"] == 41
    assert "smartmon_host_reads" not in sent


def test_disks_may_be_named(smartctl: str) -> None:
    devices = [{"name": "/dev/nvme0", "type": "nvme"}, {"name": "/dev/gone"}, {"name": "/dev/nvme0"}]
    assert _readings(smartctl, devices=devices)["smartmon_temp"] == 41


def test_a_scan_that_fails_is_a_failure(tmp_path: Path, write: Write) -> None:
    write("bin/smartctl", "#!/bin/sh\necho not allowed\n")
    (tmp_path / "bin/smartctl").chmod(0o700)
    with pytest.raises(ValueError, match="does not answer with JSON"):
        _readings(str(tmp_path / "bin/smartctl"))


def test_a_machine_without_smartctl_is_not_at_fault(tmp_path: Path) -> None:
    with pytest.raises(NotPresentError, match="smartctl"):
        SmartmonCollector(SmartmonOptions(smartctl_path=str(tmp_path / "smartctl"))).open()


@pytest.mark.parametrize("text", [b"", b"[]", b"null", b"{", b"[" * 100_000, b"\xff"])
def test_other_texts_are_rejected(text: bytes) -> None:
    for parse in (parse_scan, parse_disk):
        with pytest.raises(ValueError, match="does not answer"):
            parse(text)


@pytest.mark.parametrize(
    "document",
    [{}, {"devices": 5}, {"devices": [1, {"name": 3, "type": "x"}]}, {"nvme_smart_health_information_log": [1]},
     {"temperature": 5, "smart_status": 1}, {"nvme_smart_health_information_log": {"temperature": "hot"}}],
)  # fmt: skip
def test_documents_of_another_form_give_nothing(document: dict[str, object]) -> None:
    text = json.dumps(document).encode()
    assert parse_scan(text) == []
    assert parse_disk(text) == {}


@given(st.integers(0, 2**63))
def test_what_is_written_is_read(count: int) -> None:
    document = {"nvme_smart_health_information_log": {"host_reads": count}}
    assert parse_disk(json.dumps(document).encode()) == {"smartmon_host_reads": float(count)}
