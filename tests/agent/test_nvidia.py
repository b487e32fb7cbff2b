"""GPUs of NVIDIA, by a made driver library under the real nvidia-ml-py."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cc_agent.collectors.base import Reading, Tick
from cc_agent.collectors.nvidia import NvidiaCollector, NvidiaOptions, import_nvml
from cc_agent.default_metrics import default_collectors
from cc_agent.errors import NotAvailableError, NotPresentError
from cc_agent.options import AgentOptions
from cc_agent.settings import load_configuration

PCI = "00000000:A0:00.0"
DRIVER_NOT_LOADED, GPU_IS_LOST, RESET_REQUIRED, MISMATCH, NOT_SUPPORTED = 9, 15, 16, 18, 3


class Gpus:
    """A collector of the made GPUs, and a clock that moves ten seconds for each reading."""

    def __init__(self, root: Path, **options: Any) -> None:
        self.now_s = 100.0
        self.collector = NvidiaCollector(NvidiaOptions(**options), root, monotonic=lambda: self.now_s)
        self.collector.open()

    def read(self, interval_s: float = 10.0) -> list[Reading]:
        self.now_s += 10.0
        return self.collector.read(Tick(int(self.now_s), self.now_s, interval_s))

    def values(self, **tags: str) -> dict[str, float]:
        """The values of a reading whose series have these tags, and `stype` only if it is among them."""
        wanted = {name.replace("_", "-"): value for name, value in tags.items()}
        return {
            series.metric: value
            for series, value in self.read()
            if wanted.items() <= series.tags.items() and ("stype" in series.tags) == ("stype" in wanted)
        }


@pytest.fixture
def gpus(nvml: Any, tmp_path: Path) -> Any:
    made: list[Gpus] = []

    def make(**options: Any) -> Gpus:
        made.append(Gpus(tmp_path, **options))
        return made[-1]

    yield make
    for one in made:
        one.collector.close()
    assert nvml.started() == 0
    assert nvml.samples() == 0


def test_every_value_is_what_the_driver_says_in_its_unit(gpus: Any, nvml: Any) -> None:
    one = gpus()
    one.read()
    nvml.set_named({"energy mJ": 1_000_000 + 3_000_500, "field 197": 6000, "field 198": 3500, "field 138": 1020})
    values = one.values(type="accelerator")
    assert values.pop("nv_energy_abs") == 4000.5
    assert values.pop("nv_energy") == 3000.5
    assert values.pop("nv_average_power") == 300.05
    assert values.pop("nv_pcie_tx_bw") == 500.0
    assert values.pop("nv_pcie_rx_bw") == 250.0
    assert values.pop("nv_nvlink_tx_bw") == 2048.0  # 20 KiB in 10 s
    assert values.pop("nv_nvlink_rx_bw") == 0.0
    assert values == {
        "nv_util": 50,
        "nv_mem_util": 25,
        "nv_fb_mem_total": 81920,
        "nv_fb_mem_used": 4096,
        "nv_bar1_mem_total": 81920,
        "nv_bar1_mem_used": 4096,
        "nv_temp": 55,
        "nv_fan": 30,
        "nv_ecc_mode": 1,
        "nv_perf_state": 2,
        "nv_power_usage": 250.5,
        "nv_power_instant": 1.0,
        "nv_graphics_clock": 1000,
        "nv_sm_clock": 1001,
        "nv_mem_clock": 1002,
        "nv_video_clock": 1003,
        "nv_max_graphics_clock": 2000,
        "nv_max_sm_clock": 2001,
        "nv_max_mem_clock": 2002,
        "nv_max_video_clock": 2003,
        "nv_ecc_uncorrected_error": 7,
        "nv_ecc_corrected_error": 70,
        "nv_power_max_limit": 400,
        "nv_encoder_util": 11,
        "nv_decoder_util": 12,
        "nv_remapped_rows_corrected": 1,
        "nv_remapped_rows_uncorrected": 2,
        "nv_remapped_rows_pending": 0,
        "nv_remapped_rows_failure": 1,
        "nv_throttle_reasons": 4,
        **{
            f"nv_violation_{name}": pytest.approx(policy + 1)
            for name, policy in {
                "power": 0,
                "thermal": 1,
                "sync_boost": 2,
                "board_limit": 3,
                "low_util": 4,
                "reliability": 5,
                "below_app_clock": 10,
                "below_base_clock": 11,
            }.items()
        },
        "nv_pcie_replays": 1000,
        "nv_compute_processes": 1,
        "nv_graphics_processes": 0,
        "nv_sm_activity": 2,
        "nv_sm_occupancy": 3,
        "nv_tensor_activity": 5,
        "nv_dram_activity": 10,
        "nv_fp64_activity": 11,
        "nv_fp32_activity": 12,
        "nv_fp16_activity": 13,
        "nv_nvlink_crc_errors_sum": 13,
        "nv_nvlink_ecc_errors_sum": 14,
        "nv_nvlink_replay_errors_sum": 10,
        "nv_nvlink_recovery_errors_sum": 11,
        "nv_nvlink_crc_flit_errors_sum": 12,
    }


def test_links_that_are_up_have_series_of_their_own(gpus: Any) -> None:
    readings = gpus().read()
    links = {(s.metric, s.tags["stype-id"]): value for s, value in readings if s.tags.get("stype") == "nvlink"}
    assert links["nv_nvlink_crc_errors", "0"] == 13
    assert {link for _, link in links} == {"0"}, "the second one is down"


def test_the_memory_of_a_job_is_that_of_its_processes_on_all_gpus(gpus: Any, nvml: Any, write: Any) -> None:
    nvml.set_named(
        {"count": 2, "compute count": 3, "compute pid 1": 50, "compute pid 2": 51, "compute memory 1": 1 << 30}
    )
    nvml.set_named({"graphics count": 1, "graphics pid 0": 4242, "graphics memory 0": 3 << 30})
    write("proc/50/cgroup", "0::/system.slice/slurmstepd.scope/job_12/step_0\n")
    write("proc/51/cgroup", "0::/user.slice\n")
    one = gpus(include_metrics=("job_acc_mem_used",))
    found = {series.tags["type-id"]: (value, series.tags["type"]) for series, value in one.read()}
    assert found == {"4711": (6 << 30, "job"), "12": (2 << 30, "job")}


def test_gpus_are_named_by_address_or_index_and_left_out_by_either(gpus: Any, nvml: Any) -> None:
    nvml.set(count=3)

    def names(**options: Any) -> set[str]:
        return {series.tags["type-id"] for series, _ in gpus(include_metrics=("nv_util",), **options).read()}

    assert names() == {"00000000:A0:00.0", "00000000:A1:00.0", "00000000:A2:00.0"}
    assert names(use_pci_info_as_type_id=False) == {"0", "1", "2"}
    assert names(exclude_devices=("1", "00000000:a2:00.0")) == {PCI}


def test_what_else_is_known_of_a_gpu_is_meta_information(gpus: Any) -> None:
    one = gpus(
        include_metrics=("nv_util",),
        add_pci_info_tag=True,
        add_uuid_meta=True,
        add_board_number_meta=True,
        add_serial_meta=True,
    )
    ((series, _),) = one.read()
    assert set(series.tags) == {"type", "type-id"}
    meta = {key: series.meta[key] for key in ("pci_identifier", "uuid", "board_number", "serial", "unit")}
    assert meta == {"pci_identifier": PCI, "uuid": "GPU-0", "board_number": "900-2", "serial": "1650", "unit": "%"}


@pytest.mark.parametrize(
    ("options", "name"),
    [({}, "0"), ({"use_uuid_for_mig_device": True}, "MIG-0-0-0"), ({"use_slice_for_mig_device": True}, "1g.5gb")],
)
def test_a_mig_instance_that_appears_is_measured(options: dict[str, bool], name: str, gpus: Any, nvml: Any) -> None:
    one = gpus(**options)
    assert not [series for series, _ in one.read() if series.tags.get("stype") == "mig"]
    nvml.set_named(
        {"0.mig": 1, "0.instances": 1, "0/0.memory used": 1 << 30, "0.fail nvmlDeviceGetUtilizationRates": 3}
    )
    one.read()
    values = one.values(stype="mig", stype_id=name, type_id=PCI)
    assert values["nv_fb_mem_used"] == 1024
    assert values["nv_util"] == 10, "by its graphics engine, since the driver does not tell the use of instances"
    assert "nv_power_usage" not in values
    assert values["nv_compute_processes"] == 1
    nvml.set_named({"0.instances": 0})
    one.read()
    assert not [series for series, _ in one.read() if series.tags.get("stype") == "mig"]


def test_an_instance_made_anew_is_another_device(gpus: Any, nvml: Any) -> None:
    nvml.set_named({"0.mig": 1, "0.instances": 2})
    one = gpus(include_metrics=("nv_util", "nv_fb_mem_used"))
    one.read()
    nvml.set_named({"0/1.made": 1})
    assert "nv_util" not in one.values(stype="mig", stype_id="1"), "there is no sample from before"
    assert one.values(stype="mig", stype_id="1")["nv_util"] == 20
    assert not [s for s, _ in gpus(process_mig_devices=False).read() if s.tags.get("stype") == "mig"]


def test_what_is_not_supported_is_asked_once(gpus: Any, nvml: Any) -> None:
    nvml.set_named({"fail nvmlDeviceGetFanSpeed": NOT_SUPPORTED, "field 186": -1, "gpm": 0, "gpm fails": 11})
    one = gpus()
    for _ in range(3):
        values = one.values(type="accelerator")
    assert not {"nv_fan", "nv_power_instant", "nv_sm_activity"} & values.keys()
    assert values["nv_util"] == 50
    assert nvml.calls("nvmlDeviceGetFanSpeed") == 1
    assert nvml.calls("nvmlGpmQueryDeviceSupport") == 1


def test_a_unit_without_a_counter_of_activity_is_left_out(gpus: Any, nvml: Any) -> None:
    nvml.set_named({"gpm fails": 11})
    one = gpus()
    one.read()
    values = one.values(type="accelerator")
    assert values["nv_fp32_activity"] == 12
    assert "nv_fp64_activity" not in values


def test_without_an_energy_counter_the_power_at_the_reading_is_the_mean(gpus: Any, nvml: Any) -> None:
    nvml.set_named({"fail nvmlDeviceGetTotalEnergyConsumption": NOT_SUPPORTED})
    one = gpus(include_metrics=("nv_average_power", "nv_energy"))
    assert one.values() == {}
    assert one.values() == {"nv_average_power": 250.5}


def test_a_counter_that_was_reset_and_a_pause_give_no_rate(gpus: Any, nvml: Any) -> None:
    one = gpus(include_metrics=("nv_average_power", "nv_pcie_tx_bw"))
    one.read()
    nvml.set_named({"energy mJ": 5, "field 197": 5})
    assert one.values() == {}
    nvml.set_named({"energy mJ": 10_005, "field 197": 105})
    assert one.values() == {"nv_average_power": 1.0, "nv_pcie_tx_bw": 10.0}
    one.now_s += 20.0
    assert one.values() == {}


@pytest.mark.parametrize("error", [GPU_IS_LOST, RESET_REQUIRED, 999])
def test_a_lost_gpu_costs_only_its_own_samples_and_comes_back(error: int, gpus: Any, nvml: Any) -> None:
    nvml.set(count=2)
    one = gpus(include_metrics=("nv_util",))
    assert len(one.read()) == 2
    nvml.set_named({"1.lost": error})
    assert [series.tags["type-id"] for series, _ in one.read()] == [PCI]
    started = nvml.calls("nvmlDeviceGetCount_v2")
    assert [series.tags["type-id"] for series, _ in one.read()] == [PCI]
    assert nvml.started() == 1, "sessions are not begun anew at each tick"
    nvml.set_named({"1.lost": 0})
    assert len(one.read()) == 2
    assert nvml.calls("nvmlDeviceGetCount_v2") == started + 2


@pytest.mark.parametrize(
    ("error", "advice"), [(DRIVER_NOT_LOADED, "load the driver"), (MISMATCH, "restart cc-agent"), (1, "nvidia-smi")]
)
def test_a_driver_that_goes_is_said_and_found_again(error: int, advice: str, gpus: Any, nvml: Any) -> None:
    one = gpus(include_metrics=("nv_util",))
    one.read()
    nvml.set_named({"fail nvmlDeviceGetCount_v2": error, "fail init": error})
    for _ in range(2):
        with pytest.raises(NotAvailableError, match=f"error {error}") as caught:
            one.read()
        assert advice in caught.value.advice
        one.collector.close()
        one.collector.open()
    assert nvml.started() == 0
    nvml.set_named({"fail nvmlDeviceGetCount_v2": 0, "fail init": 0})
    assert len(one.read()) == 1


def test_a_driver_that_hangs_holds_up_no_tick(gpus: Any, nvml: Any) -> None:
    one = gpus(include_metrics=("nv_util",))
    assert len(one.read()) == 1
    nvml.set_named({"hang nvmlDeviceGetUtilizationRates": 1})
    try:
        assert one.read(interval_s=0.01) == []
        with pytest.raises(NotAvailableError, match="has not answered"):
            one.read()
        one.collector.close()
        with pytest.raises(NotAvailableError, match="has not answered"):
            one.collector.open()
    finally:
        nvml.set_named({"hang nvmlDeviceGetUtilizationRates": 0})
    reader = one.collector._reader
    assert reader is not None
    assert reader.wait(30.0)
    one.collector.open()
    assert len(one.read()) == 1


def test_the_number_of_gpus_may_change(gpus: Any, nvml: Any) -> None:
    one = gpus(include_metrics=("nv_util",))
    assert len(one.read()) == 1
    nvml.set(count=3)
    assert len(one.read()) == 3
    nvml.set(count=0)
    assert one.read() == []


def test_a_machine_without_gpus_is_no_fault_and_one_without_the_library_gets_advice(
    tmp_path: Path, write: Callable[[str, str], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    collector = NvidiaCollector(NvidiaOptions(), tmp_path)
    with pytest.raises(NotPresentError):
        collector.open()
    write("dev/nvidiactl", "")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(NotAvailableError) as caught:
        collector.open()
    assert "pip install nvidia-ml-py" in caught.value.advice
    with pytest.raises(NotAvailableError):
        import_nvml()


def test_by_itself_the_agent_sends_the_names_and_units_of_job_pages(gpus: Any, nvml: Any) -> None:
    one = gpus(include_metrics=tuple(default_collectors()["nvidia"]["include_metrics"]))
    one.read()
    nvml.set_named({"energy mJ": 3_001_000_000})
    configuration = load_configuration(AgentOptions(url="http://localhost:8080", token="abc"), {})
    lines = configuration.make_router().encode(one.read(), 1000).lines.decode().splitlines()
    sent = {line.split(",")[0]: float(line.split("value=")[1].split()[0]) for line in lines}
    assert sent == {
        "acc_utilization": 50,
        "acc_mem_used": pytest.approx(4.294967296),
        "acc_power": 300_000,
        "job_acc_mem_used": pytest.approx(3 << 30),
    }
