"""GPUs of AMD, from a made /sys."""

import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_agent.collectors.base import Reading, Tick
from cc_agent.collectors.rocm_smi import RocmSmiCollector, RocmSmiOptions, parse_gpu_metrics
from cc_agent.errors import NotPresentError

PCI = "00000000:C1:00.0"
NONE = 0xFFFF
FIRST = (40, 50, 60, 41, 42, 43, 99, 20, 5, 300)
CLOCKS = (1700, 1000, 1600, 900, 800, 901, 801)


def table(
    first: tuple[int, ...] = FIRST,
    clocks: tuple[int, ...] = CLOCKS,
    hbm: tuple[int, ...] = (61, 62, 63, NONE),
    revision: tuple[int, int] = (1, 3),
) -> bytes:
    """A table of the driver of revision 1.3, 120 bytes long."""
    head = struct.pack("<HBB10HQQ7H", 120, *revision, *first, 1, 2, *clocks)
    return (head.ljust(88, b"\0") + struct.pack("<4H", *hbm)).ljust(120, b"\0")


def _read(collector: RocmSmiCollector, between: Callable[[], object] = lambda: None) -> list[Reading]:
    collector.open()
    collector.read(Tick(1000, 50.0, 10.0))
    between()
    readings = collector.read(Tick(1010, 60.0, 10.0))
    collector.close()
    return readings


def _values(readings: list[Reading]) -> dict[str, float]:
    return {series.metric: value for series, value in readings if "stype" not in series.tags}


def test_files_come_first_and_the_table_adds_what_they_lack(amd: Path, add_amd_gpu: Any) -> None:
    (amd / "sys/class/drm/card1/device/gpu_metrics").write_bytes(table())
    readings = _read(RocmSmiCollector(RocmSmiOptions(), amd), lambda: add_amd_gpu(1, "0000:c1:00.0", step=2))
    assert _values(readings) == {
        "rocm_gfx_util": 97,
        "rocm_umc_util": 31,
        "rocm_mm_util": 5,
        "rocm_mem_total": 64 << 30,
        "rocm_mem_used": 5 << 30,
        "rocm_avg_power": pytest.approx(250.0),  # 2500 J in 10 s
        "rocm_temp_edge": 45.5,
        "rocm_temp_hotspot": 55.0,
        "rocm_temp_mem": 65.0,
        "rocm_temp_vrgfx": 41,
        "rocm_temp_vrsoc": 42,
        "rocm_temp_vrmem": 43,
        "rocm_gfx_clock": pytest.approx(1700),
        "rocm_soc_clock": 1000,
        "rocm_u_clock": pytest.approx(1600),
        "rocm_v0_clock": 900,
        "rocm_d0_clock": 800,
        "rocm_v1_clock": 901,
        "rocm_d1_clock": 801,
        "job_acc_mem_used": 3 << 30,
    }
    hbm = {series.tags["stype-id"]: value for series, value in readings if series.tags.get("stype") == "device"}
    assert hbm == {"0": 61, "1": 62, "2": 63}


def test_without_table_and_energy_there_is_what_files_say(amd: Path) -> None:
    device = amd / "sys/class/drm/card1/device"
    (device / "gpu_metrics").unlink()
    (device / "hwmon/hwmon4/energy1_input").unlink()
    (device / "hwmon/hwmon4/power1_average").rename(device / "hwmon/hwmon4/power1_input")
    values = _values(_read(RocmSmiCollector(RocmSmiOptions(), amd)))
    assert values["rocm_avg_power"] == 200.0
    assert "rocm_soc_clock" not in values


def test_gpus_are_named_by_address_or_index_and_left_out_by_either(amd: Path, add_amd_gpu: Any, write: Any) -> None:
    add_amd_gpu(10, "0001:03:00.1")
    add_amd_gpu(2, "0000:c2:00.0")
    write("sys/class/drm/card0/device/vendor", "0x102b\n")
    write("sys/class/drm/card1-DP-1/status", "disconnected\n")

    def names(**options: Any) -> list[str]:
        chosen = RocmSmiOptions(include_metrics=("rocm_gfx_util",), **options)
        return [series.tags["type-id"] for series, _ in _read(RocmSmiCollector(chosen, amd))]

    assert names() == [PCI, "00000000:C2:00.0", "00000001:03:00.1"]
    assert names(use_pci_info_as_type_id=False) == ["0", "1", "2"]
    assert names(exclude_devices=("0", "00000001:03:00.1")) == ["00000000:C2:00.0"]


def test_a_gpu_that_goes_costs_only_its_own_samples_and_a_new_one_is_found(amd: Path, add_amd_gpu: Any) -> None:
    collector = RocmSmiCollector(RocmSmiOptions(include_metrics=("rocm_gfx_util",)), amd)

    def swap() -> None:
        add_amd_gpu(2, "0000:c2:00.0")
        shutil.rmtree(amd / "sys/class/drm/card1")

    assert [series.tags["type-id"] for series, _ in _read(collector, swap)] == ["00000000:C2:00.0"]


def test_serial_and_address_are_meta_information(amd: Path) -> None:
    options = RocmSmiOptions(include_metrics=("rocm_gfx_util",), add_pci_info_tag=True, add_serial_meta=True)
    ((series, _),) = _read(RocmSmiCollector(options, amd))
    assert (series.meta["pci_identifier"], series.meta["serial"]) == (PCI, "7b3c")


def test_an_energy_counter_that_was_reset_gives_the_power_at_the_reading(amd: Path, add_amd_gpu: Any) -> None:
    collector = RocmSmiCollector(RocmSmiOptions(include_metrics=("rocm_avg_power",)), amd)
    assert _values(_read(collector, lambda: add_amd_gpu(1, "0000:c1:00.0", step=0))) == {"rocm_avg_power": 200.0}


def test_all_ones_are_no_values() -> None:
    values = parse_gpu_metrics(table((NONE,) * 10, (NONE,) * 7, (NONE,) * 4))
    assert values == {}
    assert (
        parse_gpu_metrics(table((40, 50, 60, 41, 42, 43, 101, 200, 5, 300)))
        .keys()
        .isdisjoint({"rocm_gfx_util", "rocm_umc_util"})
    )


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 200, table()[:50], table(revision=(1, 0)), table(revision=(1, 4)), table(revision=(2, 1))]
)
def test_a_table_that_is_not_known_or_cut_off_has_no_values(content: bytes) -> None:
    assert parse_gpu_metrics(content) == {}


@given(st.binary(max_size=200))
def test_no_bytes_break_the_reader_of_the_table(content: bytes) -> None:
    assert all(value < NONE for value in parse_gpu_metrics(content).values())


@pytest.mark.parametrize("content", ["", "nonsense\n", "-1\n", "255\n", "9" * 30])
def test_nasty_files_give_no_value(content: str, amd: Path, write: Any) -> None:
    write("sys/class/drm/card1/device/gpu_busy_percent", content)
    (amd / "sys/class/drm/card1/device/gpu_metrics").write_bytes(b"")
    assert "rocm_gfx_util" not in _values(_read(RocmSmiCollector(RocmSmiOptions(), amd)))


def test_a_machine_without_such_gpus_is_no_fault(tmp_path: Path, write: Any) -> None:
    write("sys/class/drm/card0/device/vendor", "0x10de\n")
    write("sys/class/drm/card0/device/uevent", "PCI_SLOT_NAME=0000:01:00.0\n")
    with pytest.raises(NotPresentError, match="GPU of AMD"):
        RocmSmiCollector(RocmSmiOptions(), tmp_path).open()
