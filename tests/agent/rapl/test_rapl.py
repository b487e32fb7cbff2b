"""Power from made counters, with answers computed by hand."""

from __future__ import annotations

import errno
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType

import pytest
from perf_machine import FakePerf, add_pmu, make_processor, write

from cc_agent.collectors.base import Reading, Tick
from cc_agent.collectors.rapl import RaplCollector, RaplOptions
from cc_agent.collectors.rapl.node_command import parse_power_w
from cc_agent.collectors.rapl.node_meter import find_meters, meters_of_node
from cc_agent.errors import NotAvailableError, NotPresentError

POWERCAP = "sys/class/powercap"
HWMON = "sys/class/hwmon"
JOULES_PER_COUNT = 2.0**-32
RANGE_UJ = 262_143_328_850

Values = dict[tuple[str, str, str], float]


def values(readings: list[Reading]) -> Values:
    return {(series.metric, series.tags["type"], series.tags.get("type-id", "")): value for series, value in readings}


def two_readings(collector: RaplCollector, calls: FakePerf | None = None) -> Values:
    collector.open()
    collector.read(Tick(0, 100.0, 10.0))
    if calls:
        calls.advance(10.0)
    return values(collector.read(Tick(10, 110.0, 10.0)))


def add_power_pmu(root: Path, *events: str, name: str = "power", cpumask: str = "0,1", number: int = 30) -> None:
    codes = {"energy-cores": 1, "energy-pkg": 2, "energy-ram": 3, "energy-psys": 5, "energy-core": 1}
    files = {}
    for event in events:
        files |= {event: f"event={codes[event]:#04x}", f"{event}.unit": "Joules"}
        files[f"{event}.scale"] = "2.3283064365386962890625e-10"
    add_pmu(root, name, number, formats={"event": "config:0-7"}, events=files, cpumask=cpumask)


def watts(power_w: float) -> float:
    return power_w / JOULES_PER_COUNT


def add_zone(root: Path, zone: str, name: str, energy_uj: int | str, range_uj: int = RANGE_UJ) -> Path:
    folder = root / POWERCAP / zone
    write(folder / "name", f"{name}\n")
    write(folder / "max_energy_range_uj", f"{range_uj}\n")
    write(folder / "energy_uj", f"{energy_uj}\n")
    return folder / "energy_uj"


class Zones:
    """A machine with the zones of powercap, and a collector that reads them."""

    def __init__(
        self, root: Path, zones: Mapping[str, tuple[str, int]], kind: str = "ice lake", **options: object
    ) -> None:
        make_processor(root, kind, sockets=2)
        self.files = {zone: add_zone(root, zone, name, energy) for zone, (name, energy) in zones.items()}
        self.collector = RaplCollector(RaplOptions(**options), root, FakePerf())  # type: ignore[arg-type]
        self.now_s = 100.0
        self.collector.open()
        self.collector.read(Tick(0, self.now_s, 10.0))

    def read(self, energies: Mapping[str, int | str], seconds: float = 10.0) -> list[Reading]:
        for zone, energy in energies.items():
            self.files[zone].write_text(f"{energy}\n")
        self.now_s += seconds
        return self.collector.read(Tick(int(self.now_s), self.now_s, 10.0))


def test_the_pmu_power_has_sockets_and_their_memory(tmp_path: Path) -> None:
    make_processor(tmp_path, "ice lake", sockets=2)
    add_power_pmu(tmp_path, "energy-pkg", "energy-ram", "energy-psys")
    calls = FakePerf({(30, 2): watts(205.5), (30, 3): watts(31.25), (30, 5): watts(700.0)})
    collector = RaplCollector(RaplOptions(), tmp_path, calls)
    assert two_readings(collector, calls) == pytest.approx(
        {
            **{("cpu_power", "socket", socket): 205.5 for socket in "01"},
            **{("mem_power", "socket", socket): 31.25 for socket in "01"},
        }
    )
    assert {(metric.name, metric.scope) for metric in collector.metrics} == {
        ("cpu_power", "socket"),
        ("mem_power", "socket"),
    }
    assert {event.code.config for event in calls.events.values()} == {2, 3}, "psys would count the processors twice"
    collector.close()
    assert not calls.events


def test_amd_has_the_power_of_each_core(tmp_path: Path) -> None:
    make_processor(tmp_path, "zen 4")
    add_power_pmu(tmp_path, "energy-pkg", cpumask="0")
    add_power_pmu(tmp_path, "energy-core", name="power_core", cpumask="0-1", number=31)
    calls = FakePerf({(30, 2): watts(280.0), (31, 1): watts(3.5)})
    assert two_readings(RaplCollector(RaplOptions(), tmp_path, calls), calls) == pytest.approx(
        {("cpu_power", "socket", "0"): 280.0, ("core_power", "core", "0"): 3.5, ("core_power", "core", "1"): 3.5}
    )


def test_dies_of_a_package_add_up(tmp_path: Path) -> None:
    make_processor(tmp_path, "ice lake")
    add_power_pmu(tmp_path, "energy-pkg", cpumask="0,1")
    calls = FakePerf({(30, 2): watts(100.0)})
    collector = RaplCollector(RaplOptions(), tmp_path, calls)
    assert two_readings(collector, calls) == pytest.approx({("cpu_power", "socket", "0"): 200.0})
    calls.silent = {1}
    assert values(collector.read(Tick(20, 120.0, 10.0))) == {}, "half a socket is no socket"


def test_the_counter_of_the_kernel_may_wrap_at_64_bits(tmp_path: Path) -> None:
    make_processor(tmp_path, "ice lake")
    add_power_pmu(tmp_path, "energy-pkg", cpumask="0")
    calls = FakePerf({(30, 2): watts(100.0)})
    collector = RaplCollector(RaplOptions(), tmp_path, calls)
    collector.open()
    (event,) = calls.events.values()
    event.value = (1 << 64) - 1000
    collector.read(Tick(0, 100.0, 10.0))
    event.value = round(watts(1000.0)) - 1000
    calls.enabled[next(iter(calls.events))] = [10.0, 10.0]
    assert values(collector.read(Tick(10, 110.0, 10.0))) == pytest.approx({("cpu_power", "socket", "0"): 100.0})


def test_without_the_pmu_the_zones_of_powercap_serve(tmp_path: Path) -> None:
    node = Zones(
        tmp_path,
        {
            "intel-rapl:0": ("package-1", 5_000_000),
            "intel-rapl:0:0": ("dram", 1_000_000),
            "intel-rapl:1": ("package-0", 7_000_000),
            "intel-rapl:1:0": ("core", 0),
            "intel-rapl:2": ("psys", 0),
            "intel-rapl-mmio:0": ("package-0", 0),
            "dtpm:0": ("package-0", 0),
        },
    )
    readings = node.read(
        {
            "intel-rapl:0": 1_505_000_000,
            "intel-rapl:0:0": 301_000_000,
            "intel-rapl:1": 2_007_000_000,
            "intel-rapl:1:0": 900_000_000,
            "intel-rapl:2": 4_000_000_000,
            "intel-rapl-mmio:0": 2_000_000_000,
        }
    )
    assert values(readings) == pytest.approx(
        {
            ("cpu_power", "socket", "1"): 150.0,
            ("mem_power", "socket", "1"): 30.0,
            ("cpu_power", "socket", "0"): 200.0,
            ("core_power", "socket", "0"): 90.0,
        }
    )


def test_a_zone_that_wraps_goes_on(tmp_path: Path) -> None:
    node = Zones(tmp_path, {"intel-rapl:0": ("package-0", RANGE_UJ - 999_999_999)})
    # 10^9 - 1 up to the end, one for the step to 0, 5 * 10^8 from there: 150 W for 10 s
    assert values(node.read({"intel-rapl:0": 500_000_000})) == pytest.approx({("cpu_power", "socket", "0"): 150.0})
    assert values(node.read({"intel-rapl:0": 1_500_000_000})) == pytest.approx({("cpu_power", "socket", "0"): 100.0})


def test_a_counter_that_was_reset_is_not_taken_for_a_wrap(tmp_path: Path) -> None:
    node = Zones(tmp_path, {"intel-rapl:0": ("package-0", 1_000_000_000)})
    assert node.read({"intel-rapl:0": 100_000_000}) == [], "a wrap would be 26 kW"
    assert values(node.read({"intel-rapl:0": 1_100_000_000})) == pytest.approx({("cpu_power", "socket", "0"): 100.0})


@pytest.mark.parametrize("text", ["", "x", "1e9", "\x00", "-"])
def test_a_zone_that_gives_nonsense_costs_two_readings_of_its_own(tmp_path: Path, text: str) -> None:
    node = Zones(tmp_path, {"intel-rapl:0": ("package-0", 0), "intel-rapl:1": ("package-1", 0)})
    assert values(node.read({"intel-rapl:0": text, "intel-rapl:1": 10**9})) == {("cpu_power", "socket", "1"): 100.0}
    assert values(node.read({"intel-rapl:0": 10**9, "intel-rapl:1": 2 * 10**9})) == {
        ("cpu_power", "socket", "1"): 100.0
    }
    assert ("cpu_power", "socket", "0") in values(node.read({"intel-rapl:0": 2 * 10**9}))


def test_a_zone_that_vanishes_costs_only_itself(tmp_path: Path) -> None:
    node = Zones(tmp_path, {"intel-rapl:0": ("package-0", 0), "intel-rapl:1": ("package-1", 0)})
    node.collector._provider._zones[0].file.close()  # type: ignore[union-attr]
    node.files["intel-rapl:0"].unlink()
    assert values(node.read({"intel-rapl:1": 10**9})) == {("cpu_power", "socket", "1"): 100.0}


def test_counters_that_fall_silent_are_opened_anew(tmp_path: Path) -> None:
    node = Zones(tmp_path, {"intel-rapl:0": ("package-0", 0)})
    assert node.read({"intel-rapl:0": "x"}) == node.read({}) == []
    with pytest.raises(OSError, match="give no values any more"):
        node.read({})


def test_there_is_no_power_after_a_gap(tmp_path: Path) -> None:
    node = Zones(tmp_path, {"intel-rapl:0": ("package-0", 0)})
    assert node.read({"intel-rapl:0": 10**9}, seconds=26.0) == []
    assert values(node.read({"intel-rapl:0": 2 * 10**9})) == {("cpu_power", "socket", "0"): 100.0}


def test_the_core_zone_of_amd_is_one_core_and_left_out(tmp_path: Path) -> None:
    node = Zones(
        tmp_path, {"intel-rapl:0": ("package-0", 0), "intel-rapl:0:0": ("core", 0)}, kind="zen 3", provider="powercap"
    )
    assert set(values(node.read({"intel-rapl:0": 10**9, "intel-rapl:0:0": 10**7}))) == {("cpu_power", "socket", "0")}


def test_dies_of_powercap_add_up(tmp_path: Path) -> None:
    node = Zones(tmp_path, {f"intel-rapl:{die}": (f"package-1-die-{die}", 0) for die in (0, 1)})
    readings = node.read({"intel-rapl:0": 10**9, "intel-rapl:1": 5 * 10**8})
    assert values(readings) == {("cpu_power", "socket", "1"): 150.0}


@pytest.mark.parametrize(
    ("options", "left"),
    [
        ({"exclude_device_by_name": ("dram",)}, {"cpu_power"}),
        ({"exclude_device_by_name": ("package-0",)}, {"mem_power"}),
        ({"exclude_device_by_id": ("0:0",)}, {"cpu_power"}),
        ({"exclude_device_by_id": ("0",)}, {"mem_power"}),
        ({"exclude_metrics": ("mem_power",)}, {"cpu_power"}),
    ],
)
def test_zones_can_be_left_out_by_name_and_number(tmp_path: Path, options: dict[str, object], left: set[str]) -> None:
    node = Zones(tmp_path, {"intel-rapl:0": ("package-0", 0), "intel-rapl:0:0": ("dram", 0)}, **options)
    readings = node.read({"intel-rapl:0": 10**9, "intel-rapl:0:0": 10**8})
    assert {series.metric for series, _ in readings} == left
    assert {metric.name for metric in node.collector.metrics} == left


def test_the_tags_of_the_reference_are_sent_on_request(tmp_path: Path) -> None:
    zones = {"intel-rapl:0": ("package-0", 0), "intel-rapl:0:0": ("dram", 0), "intel-rapl:1": ("psys", 0)}
    node = Zones(tmp_path, zones, send_zone_values=True, include_metrics=("rapl_average_power",))
    readings = node.read({"intel-rapl:0": 10**9, "intel-rapl:0:0": 10**8, "intel-rapl:1": 3 * 10**9})
    assert [(series.metric, dict(series.tags), value) for series, value in readings] == [
        ("rapl_average_power", {"id": "0", "zone_name": "package-0"}, 100.0),
        ("rapl_average_power", {"id": "0:0", "zone_name": "package-0", "sub_zone_name": "dram"}, 10.0),
        ("rapl_average_power", {"id": "1", "zone_name": "psys"}, 300.0),
    ]
    again = node.read({"intel-rapl:0": 2 * 10**9})
    assert [id(series) for series, _ in again] == [id(series) for series, _ in readings]


def test_the_right_that_lacks_is_named(tmp_path: Path) -> None:
    make_processor(tmp_path, "ice lake")
    write(tmp_path / "proc/sys/kernel/perf_event_paranoid", "2\n")
    add_power_pmu(tmp_path, "energy-pkg", cpumask="0")
    calls = FakePerf()
    calls.refuse = {(30, 2): errno.EACCES}
    with pytest.raises(
        NotAvailableError, match=r"CAP_PERFMON or kernel.perf_event_paranoid <= 0, which is 2"
    ) as caught:
        RaplCollector(RaplOptions(), tmp_path, calls).open()
    assert not isinstance(caught.value, NotPresentError)


def test_files_that_only_root_may_read_are_named(tmp_path: Path) -> None:
    make_processor(tmp_path, "ice lake")
    add_zone(tmp_path, "intel-rapl:0", "package-0", 0).unlink()
    (tmp_path / POWERCAP / "intel-rapl:0/energy_uj").mkdir()  # root may read every file, but no folder as one
    with pytest.raises(NotAvailableError, match="energy_uj cannot be read") as caught:
        RaplCollector(RaplOptions(provider="powercap"), tmp_path).open()
    assert "CAP_PERFMON" in caught.value.advice


def test_a_forbidden_pmu_gives_way_to_readable_zones(tmp_path: Path) -> None:
    make_processor(tmp_path, "ice lake")
    add_power_pmu(tmp_path, "energy-pkg", cpumask="0")
    add_zone(tmp_path, "intel-rapl:0", "package-0", 0)
    calls = FakePerf()
    calls.refuse = {(30, 2): errno.EACCES}
    collector = RaplCollector(RaplOptions(), tmp_path, calls)
    collector.open()
    assert [metric.name for metric in collector.metrics] == ["cpu_power"]
    assert not calls.events


def test_a_machine_without_energy_counters_is_no_fault(tmp_path: Path) -> None:
    make_processor(tmp_path, "ice lake")
    with pytest.raises(NotPresentError):
        RaplCollector(RaplOptions(), tmp_path, FakePerf()).open()


def test_this_machine_has_power_or_says_why_not() -> None:
    collector = RaplCollector(RaplOptions())
    problem = ""
    try:
        collector.open()
    except NotAvailableError as error:
        problem = str(error)
    finally:
        collector.close()
    assert not problem or "power" in problem or "energy" in problem or "perf_event" in problem


def add_meter(root: Path, chip: tuple[int, str], file: str, power_uw: int | str, label: str = "") -> Path:
    number, name = chip
    folder = root / HWMON / f"hwmon{number}"
    write(folder / "name", f"{name}\n")
    write(folder / file, f"{power_uw}\n")
    if label:
        write(folder / f"{file.split('_', maxsplit=1)[0]}_label", f"{label}\n")
    return folder / file


def test_the_acpi_meter_is_the_power_of_the_node(tmp_path: Path) -> None:
    make_processor(tmp_path, "ice lake")
    file = add_meter(tmp_path, (2, "power_meter"), "power1_average", 412_500_000)
    add_meter(tmp_path, (3, "amdgpu"), "power1_average", 90_000_000, "PPT")
    collector = RaplCollector(RaplOptions(), tmp_path, FakePerf())
    assert two_readings(collector) == {("node_power", "node", ""): 412.5}
    for text in ("0\n", "x", "", "-5\n", "9" * 30):
        file.write_text(text)
        assert collector.read(Tick(20, 120.0, 10.0)) == []


def test_modules_of_grace_add_up_and_their_sockets_serve_as_processors(tmp_path: Path) -> None:
    make_processor(tmp_path, "grace", sockets=2)
    for socket in (0, 1):
        for index, (label, power_w) in enumerate((("Module", 600), ("Grace", 300), ("CPU", 200), ("SysIO", 20))):
            folder = tmp_path / HWMON / f"hwmon{socket * 4 + index}"
            write(folder / "name", "power_meter\n")
            write(folder / "device/power1_average", f"{power_w + socket}000000\n")
            write(folder / "device/power1_oem_info", f"{label} Power Socket {socket}\n")
    assert two_readings(RaplCollector(RaplOptions(), tmp_path, FakePerf())) == {
        ("node_power", "node", ""): 1201.0,
        ("cpu_power", "socket", "0"): 200.0,
        ("cpu_power", "socket", "1"): 201.0,
    }


def test_several_meters_that_do_not_say_what_they_measure_are_not_added(tmp_path: Path) -> None:
    for chip in (1, 2):
        add_meter(tmp_path, (chip, "power_meter"), "power1_average", 100_000_000)
    assert meters_of_node(find_meters(tmp_path)) == []


def test_an_average_is_taken_before_a_momentary_value(tmp_path: Path) -> None:
    add_meter(tmp_path, (1, "power_meter"), "power1_input", 1)
    add_meter(tmp_path, (1, "power_meter"), "power1_average", 2)
    assert [meter.path.name for meter in find_meters(tmp_path)] == ["power1_average"]


class FakeDevices(ModuleType):
    """The parts of pyRAPL that are used: package and dram of each socket, in microjoules, -1 for none."""

    def __init__(self, *energies: list[float]) -> None:
        super().__init__("pyRAPL")
        answers = list(energies)

        class Sensor:
            def energy(self) -> list[float]:
                return answers.pop(0)

        self.Sensor = Sensor


def test_pyrapl_serves_where_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_processor(tmp_path, "ice lake", sockets=2)
    found = [5e6, 1e6, 7e6, -1.0]
    monkeypatch.setitem(sys.modules, "pyRAPL", FakeDevices(found, found, [1005e6, 101e6, 3e6, -1.0]))
    collector = RaplCollector(RaplOptions(provider="pyrapl"), tmp_path)
    assert two_readings(collector) == {("cpu_power", "socket", "0"): 100.0, ("mem_power", "socket", "0"): 10.0}


def test_pyrapl_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_processor(tmp_path, "ice lake")
    monkeypatch.setitem(sys.modules, "pyRAPL", None)
    with pytest.raises(NotAvailableError, match="pyRAPL is not installed") as caught:
        RaplCollector(RaplOptions(provider="pyrapl"), tmp_path).open()
    assert "install pyRAPL" in caught.value.advice


def test_pyrapl_without_counters_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_processor(tmp_path, "ice lake")
    module = ModuleType("pyRAPL")
    monkeypatch.setitem(sys.modules, "pyRAPL", module)
    with pytest.raises(NotPresentError, match="pyRAPL finds no energy counter"):
        RaplCollector(RaplOptions(provider="pyrapl"), tmp_path).open()


IPMITOOL = b"""
    Instantaneous power reading:                   412 Watts
    Minimum during sampling period:                 98 Watts
    Power reading state is:                   activated
"""
FREEIPMI = b"""Current Power                        : 388 Watts
Minimum Power over sampling duration : 12 watts
"""


@pytest.mark.parametrize(("output", "expected"), [(IPMITOOL, 412), (FREEIPMI, 388)])
def test_both_programs_for_dcmi_are_understood(output: bytes, expected: int) -> None:
    assert parse_power_w(output) == expected


@pytest.mark.parametrize(
    "output",
    [
        b"",
        b"\x00\xff",
        b"Current Power : 0 Watts",
        b"Current Power : 1234567 Watts",
        b"Current Power : x Watts",
        b"W" * 9999,
    ],
)
def test_other_output_is_rejected(output: bytes) -> None:
    with pytest.raises(ValueError, match="prints no power"):
        parse_power_w(output)


def run_until_known(collector: RaplCollector, now_s: float) -> Values:
    """What is sent once the program has ended."""
    for _ in range(2000):
        found = values(collector.read(Tick(int(now_s), now_s, 10.0)))
        if found:
            return found
        time.sleep(0.005)
    raise AssertionError("the program has not ended")


def test_a_program_asks_the_bmc(tmp_path: Path) -> None:
    make_processor(tmp_path, "ice lake")
    file = tmp_path / "answer"
    file.write_bytes(FREEIPMI)
    collector = RaplCollector(RaplOptions(node_power_command=("cat", str(file))), tmp_path, FakePerf())
    collector.open()
    assert run_until_known(collector, 1000.0) == {("node_power", "node", ""): 388.0}
    file.write_bytes(b"")
    assert values(collector.read(Tick(1010, 1010.0, 10.0))) == {("node_power", "node", ""): 388.0}
    collector.close()


def test_a_program_that_is_not_there_is_named(tmp_path: Path) -> None:
    make_processor(tmp_path, "ice lake")
    options = RaplOptions(include_metrics=("node_power",), node_power_command=("no-such-program",))
    with pytest.raises(NotPresentError, match="no-such-program"):
        RaplCollector(options, tmp_path, FakePerf()).open()
