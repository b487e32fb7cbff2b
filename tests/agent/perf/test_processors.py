"""The tables of processors: which numbers the kernel is asked for, and metrics computed by hand from their counts."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path

import pytest
from perf_machine import CPUINFO, FakePerf, make_processor, write

from cc_agent.collectors.base import Tick
from cc_agent.collectors.perf.collector import PerfCollector, PerfOptions
from cc_agent.collectors.perf.cpu_model import base_clock_mhz, parse_cpuinfo, read_cpu_model
from cc_agent.errors import NotPresentError

INSTRUCTIONS, CYCLES, REFERENCE = (0, 1), (0, 0), (0, 9)
APERF, MPERF = (9, 1), (9, 2)
BASE = {INSTRUCTIONS: 3e9, CYCLES: 1.5e9, REFERENCE: 1.25e9, APERF: 3.0e9, MPERF: 2.5e9}
ALL = ("ipc", "clock", "flops_any", "flops_dp", "flops_sp", "vectorization_ratio")


def fp_arith(mask: int) -> tuple[int, int]:
    return (4, mask << 8 | 0xC7)


INTEL_CLASSES = {
    fp_arith(0x01): 1e8,  # scalar double
    fp_arith(0x02): 3e8,  # scalar single
    fp_arith(0x04): 1e8,  # 128 bit double
    fp_arith(0x08): 1e8,
    fp_arith(0x10): 2e8,  # 256 bit double
    fp_arith(0x20): 1e8,
    fp_arith(0x40): 1e8,  # 512 bit double
    fp_arith(0x80): 1e8,
}
# dp = 1*1 + 1*2 + 2*4 + 1*8 = 19e8; sp = 3*1 + 1*4 + 1*8 + 1*16 = 31e8; any = 2*19 + 31 = 69e8
# packed: 1+1+2+1+1+1 = 7 of 11
INTEL_EXPECTED = {
    "ipc": 2.0,
    "clock": 2400.0,
    "flops_dp": 1.9,
    "flops_sp": 3.1,
    "flops_any": 6.9,
    "vectorization_ratio": 700 / 11,
}
INTEL_WIDTHS = {fp_arith(0x01): 1e8, fp_arith(0x02): 3e8, fp_arith(0x0C): 2e8, fp_arith(0x30): 3e8, fp_arith(0xC0): 2e8}
# any = 1*2 + 3*1 + 2*4 + 3*8 + 2*16 = 69e8, the same work counted by width
ZEN_4_OPS = {(4, 0x1F03): 4e9, (4, 0x0408): 1e9, (4, 0x3808): 3e9}
ZEN_5_OPS = {
    (4, 0x4F03): 1e9,
    (4, 0x6F03): 2e9,
    (4, 0x8F03): 0.5e9,
    (4, 0xAF03): 4e9,
    (4, 0x0408): 1e9,
    (4, 0x3808): 1e9,
}
ARM_OPS = {
    (8, 0x4004): 0.625e9,
    (8, 0x80C1): 1e9,
    (8, 0x80C0): 3e9,
    (8, 0x75): 1e9,
    (8, 0x74): 2e9,
    (8, 0x8006): 1e9,
}


def measure(
    root: Path, kind: str, per_s: Mapping[tuple[int, int], float], metrics: tuple[str, ...], **smt: bool
) -> tuple[dict[str, float], FakePerf]:
    """What hardware thread 0 sends after ten seconds of these events per second."""
    make_processor(root, kind, cpus=2, **smt)
    calls = FakePerf({**BASE, **per_s})
    calls.only_listed = True
    calls.timer = 2000.0
    collector = PerfCollector(PerfOptions(include_metrics=metrics), root, calls)
    collector.open()
    collector.read(Tick(0, 0.0, 10.0))
    calls.advance(10.0)
    readings = collector.read(Tick(10, 10.0, 10.0))
    values = {series.metric: value for series, value in readings if series.tags["type-id"] == "0"}
    assert set(values) == {description.name for description in collector.metrics}
    return values, calls


@pytest.mark.parametrize(
    ("kind", "per_s", "expected"),
    [
        ("skylake", INTEL_CLASSES, INTEL_EXPECTED),
        ("cascade lake", INTEL_CLASSES, INTEL_EXPECTED),
        ("ice lake", INTEL_CLASSES, INTEL_EXPECTED),
        ("sapphire rapids", INTEL_CLASSES, INTEL_EXPECTED),
        ("emerald rapids", INTEL_CLASSES, INTEL_EXPECTED),
        ("granite rapids", INTEL_CLASSES, INTEL_EXPECTED),
        ("zen 2", {(4, 0x0F03): 4e9}, {"ipc": 2.0, "clock": 2400.0, "flops_any": 4.0}),
        ("zen 3", {(4, 0x0F03): 4e9}, {"ipc": 2.0, "clock": 2400.0, "flops_any": 4.0}),
        ("zen 4", ZEN_4_OPS, {"ipc": 2.0, "clock": 2400.0, "flops_any": 4.0, "vectorization_ratio": 75.0}),
        (
            "zen 5",
            ZEN_5_OPS,
            {
                "ipc": 2.0,
                "clock": 2400.0,
                "flops_sp": 3.0,
                "flops_dp": 4.5,
                "flops_any": 12.0,
                "vectorization_ratio": 50.0,
            },
        ),
        ("neoverse n1", ARM_OPS, {"ipc": 2.0, "vectorization_ratio": 200 / 3}),
        # the timer of 2000 MHz counted 0.625e9 while the core counted 1.5e9
        (
            "neoverse v1",
            ARM_OPS,
            {"ipc": 2.0, "clock": 4800.0, "flops_any": 1.0 + 3.0 * 2, "vectorization_ratio": 75.0},
        ),
        ("grace", ARM_OPS, {"ipc": 2.0, "clock": 4800.0, "flops_any": 1.0 + 3.0, "vectorization_ratio": 75.0}),
        ("unknown", {}, {"ipc": 2.0, "clock": 2400.0}),
    ],
)
def test_metrics_of_each_processor(
    tmp_path: Path, kind: str, per_s: Mapping[tuple[int, int], float], expected: dict[str, float]
) -> None:
    values, _ = measure(tmp_path, kind, per_s, ALL)
    assert values == pytest.approx(expected)


def test_five_counters_are_enough_for_flops_any_and_the_vector_share(tmp_path: Path) -> None:
    values, calls = measure(tmp_path, "ice lake", INTEL_WIDTHS, ("flops_any", "vectorization_ratio", "ipc"))
    assert values == pytest.approx({"ipc": 2.0, "flops_any": 6.9, "vectorization_ratio": 700 / 11})
    assert calls.groups == [[INSTRUCTIONS, CYCLES, *INTEL_WIDTHS]]


@pytest.mark.parametrize(
    ("kind", "threads_per_core", "watchdog", "sizes"),
    [
        ("ice lake", 2, "0", [11]),
        ("ice lake", 2, "1", [7, 4]),
        ("skylake", 2, "0", [7, 4]),
        ("skylake", 2, "1", [3, 4, 4]),
        ("skylake", 1, "0", [11]),
        ("zen 4", 2, "0", [4 + 1 + 2]),
        ("zen 4", 2, "1", [4 + 1, 2]),
        ("zen 5", 2, "0", [4 + 2, 2 + 2]),
        ("zen 5", 2, "1", [4 + 2, 2, 2]),
        ("grace", 2, "0", [5, 3]),
    ],
)
def test_groups_fit_the_counters_that_the_watchdog_leaves(
    tmp_path: Path, kind: str, threads_per_core: int, watchdog: str, sizes: list[int]
) -> None:
    write(tmp_path / "proc/sys/kernel/nmi_watchdog", f"{watchdog}\n")
    events = {"ice lake": INTEL_CLASSES, "skylake": INTEL_CLASSES, "zen 4": ZEN_4_OPS, "zen 5": ZEN_5_OPS}
    _, calls = measure(tmp_path, kind, events.get(kind, ARM_OPS), ALL, smt=threads_per_core == 2)
    assert [len(group) for group in calls.groups] == sizes


def test_four_counters_take_two_turns(tmp_path: Path) -> None:
    values, calls = measure(tmp_path, "cascade lake", INTEL_CLASSES, ("flops_any", "vectorization_ratio", "ipc"))
    assert values == pytest.approx({"ipc": 2.0, "flops_any": 6.9, "vectorization_ratio": 700 / 11})
    assert [len(group) for group in calls.groups] == [2 + 4, 4]


def test_only_what_is_asked_for_is_counted(tmp_path: Path) -> None:
    _, calls = measure(tmp_path, "ice lake", INTEL_CLASSES, ("ipc",))
    assert calls.groups == [[INSTRUCTIONS, CYCLES]]


def test_an_idle_hardware_thread_has_neither_ipc_nor_clock_nor_shares(tmp_path: Path) -> None:
    make_processor(tmp_path, "ice lake", cpus=2)
    calls = FakePerf({INSTRUCTIONS: 5e5, CYCLES: 9e5, REFERENCE: 8e5, fp_arith(1): 1e4})
    collector = PerfCollector(PerfOptions(include_metrics=ALL), tmp_path, calls)
    calls.timer = 2000.0
    collector.open()
    collector.read(Tick(0, 0.0, 10.0))
    calls.advance(10.0)
    values = {series.metric: value for series, value in collector.read(Tick(10, 10.0, 10.0))}
    assert values == pytest.approx({"flops_any": 2e-5, "flops_dp": 1e-5, "flops_sp": 0.0})


def test_user_mode_only_is_a_choice(tmp_path: Path) -> None:
    make_processor(tmp_path, "zen 4", cpus=2)
    for exclude in (True, False):
        calls = FakePerf()
        collector = PerfCollector(PerfOptions(exclude_kernel=exclude), tmp_path, calls)
        collector.open()
        flags = {event.code.user_only for event in calls.events.values() if event.code.type in (0, 4)}
        assert flags == {exclude}
        collector.close()
        assert not calls.events


def test_a_processor_without_the_metrics_asked_for_is_no_fault(tmp_path: Path) -> None:
    make_processor(tmp_path, "neoverse n1", cpus=2)
    collector = PerfCollector(PerfOptions(include_metrics=("flops_dp",)), tmp_path, FakePerf())
    with pytest.raises(NotPresentError):
        collector.open()


def test_a_virtual_machine_without_counters_is_no_fault(tmp_path: Path) -> None:
    make_processor(tmp_path, "ice lake", cpus=2)
    calls = FakePerf()
    calls.only_listed = True
    with pytest.raises(NotPresentError, match="no hardware counters, as in most virtual machines"):
        PerfCollector(PerfOptions(), tmp_path, calls).open()
    assert not calls.events


def test_a_clock_without_a_reference_is_not_invented(tmp_path: Path) -> None:
    make_processor(tmp_path, "grace", cpus=2)
    write(tmp_path / "sys/devices/system/cpu/cpu0/cpufreq/base_frequency", "3000000\n")
    collector = PerfCollector(PerfOptions(), tmp_path, FakePerf())  # the timer tells no rate
    collector.open()
    assert "clock" not in {metric.name for metric in collector.metrics}


@pytest.mark.parametrize(
    ("file", "text", "expected"),
    [
        ("cpufreq/base_frequency", "2400000\n", 2400.0),
        ("acpi_cppc/nominal_freq", "2250\n", 2250.0),
        ("cpufreq/base_frequency", "0\n", 2000.0),
        ("cpufreq/base_frequency", "x", 2000.0),
        ("none", "", 2000.0),
    ],
)
def test_the_nominal_clock_comes_from_the_kernel_or_the_name(
    tmp_path: Path, file: str, text: str, expected: float
) -> None:
    make_processor(tmp_path, "unknown", cpus=2)
    write(tmp_path / "sys/devices/system/cpu/cpu0" / file, text)
    assert base_clock_mhz(read_cpu_model(tmp_path), tmp_path) == expected


@pytest.mark.parametrize("name", ["", "Some CPU", "Some @ 2.0.0GHz", "@ GHz"])
def test_a_name_without_a_clock_tells_none(tmp_path: Path, name: str) -> None:
    assert base_clock_mhz(parse_cpuinfo(f"vendor_id : X\nmodel name : {name}\n"), tmp_path) is None


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("skylake", "Intel Skylake-SP"),
        ("cascade lake", "Intel Cascade Lake"),
        ("ice lake", "Intel Ice Lake-SP"),
        ("sapphire rapids", "Intel Sapphire Rapids"),
        ("emerald rapids", "Intel Emerald Rapids"),
        ("granite rapids", "Intel Granite Rapids"),
        ("zen 2", "AMD Zen 2"),
        ("zen 3", "AMD Zen 3"),
        ("zen 4", "AMD Zen 4"),
        ("zen 5", "AMD Zen 5"),
        ("neoverse n1", "Arm Neoverse N1"),
        ("neoverse v1", "Arm Neoverse V1"),
        ("grace", "Arm Neoverse V2"),
        ("unknown", "generic"),
    ],
)
def test_processors_are_recognised(kind: str, name: str) -> None:
    assert parse_cpuinfo(CPUINFO[kind]).table.name == name


@pytest.mark.parametrize("text", ["", "\x00", "model: x\nvendor_id", "cpu family : -\nvendor_id: GenuineIntel\n" * 3])
def test_an_unknown_processor_gets_the_generic_table(text: str) -> None:
    assert parse_cpuinfo(text).table.name == "generic"


def test_every_formula_names_its_source_and_has_its_events() -> None:
    for text in CPUINFO.values():
        for variant in parse_cpuinfo(text).table.variants:
            names = {event.name for event_set in variant.event_sets for event in event_set}
            for formula in variant.formulas:
                assert formula.source, formula.metric
                assert set(formula.events) <= names


def test_an_event_that_a_hypervisor_hides_costs_only_its_metrics(tmp_path: Path) -> None:
    make_processor(tmp_path, "zen 4", cpus=2)
    calls = FakePerf()
    calls.refuse = {(4, 0x1F03): errno.ENOENT, APERF: errno.EINVAL}
    collector = PerfCollector(PerfOptions(include_metrics=ALL), tmp_path, calls)
    collector.open()
    assert {metric.name for metric in collector.metrics} == {"ipc", "vectorization_ratio"}
