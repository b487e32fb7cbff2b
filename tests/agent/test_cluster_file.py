from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cc_agent.cluster_file import CpuInfo, cpu_clock, describe_cluster, read_cpuinfo
from cc_agent.metric_defaults import MachineSizes, metric_entry
from cc_agent.options import AgentOptions
from cc_agent.preview import sample_once
from cc_agent.settings import AgentConfiguration, load_configuration
from cc_common.line_protocol import decode

Write = Callable[[str, str], None]
MACHINE = MachineSizes(hwthreads=8, memory_bytes=64_000_000_000, network_bytes_per_s=1.25e9)


def _configuration(**options: Any) -> AgentConfiguration:
    return load_configuration(AgentOptions(cluster="demo", hostname="n01", **options), {})


def test_the_document_describes_the_machine(machine: Path) -> None:
    document = describe_cluster(_configuration(), root=machine).document
    assert document["name"] == "demo"
    (sub_cluster,) = document["subClusters"]
    assert sub_cluster["nodes"] == "n01"
    assert sub_cluster["processorType"] == "Example CPU @ 2.50GHz"
    assert (sub_cluster["socketsPerNode"], sub_cluster["coresPerSocket"], sub_cluster["threadsPerCore"]) == (1, 2, 2)
    assert sub_cluster["topology"] == {
        "node": [0, 1, 2, 3],
        "socket": [[0, 1, 2, 3]],
        "memoryDomain": [[0, 2], [1, 3]],
        "die": [[0, 1, 2, 3]],
        "core": [[0, 2], [1, 3]],
    }


def test_estimates_say_what_they_are_based_on(machine: Path) -> None:
    description = describe_cluster(_configuration(), root=machine)
    (sub_cluster,) = description.document["subClusters"]
    # two cores at 2.5 GHz: 4 operations a cycle, with AVX2 32
    assert sub_cluster["flopRateScalar"] == {"unit": {"base": "F/s", "prefix": "G"}, "value": 20.0}
    assert sub_cluster["flopRateSimd"] == {"unit": {"base": "F/s", "prefix": "G"}, "value": 160.0}
    assert sub_cluster["memoryBandwidth"] == {"unit": {"base": "B/s", "prefix": "G"}, "value": 20.0}
    assert "flopRateScalar is an estimate: 2 cores x 2.5 GHz (name of the processor) x 4" in description.notes


def test_the_metrics_are_those_that_are_sent(machine: Path, busy: Callable[[int], None]) -> None:
    configuration = _configuration()
    declared = {
        entry["name"]: entry for entry in describe_cluster(configuration, root=machine).document["metricConfig"]
    }
    seen = sample_once(configuration, root=machine, sleep=lambda _seconds: busy(2))
    points, errors = decode(configuration.make_router().encode(seen.readings, seen.time_s).lines, received_s=0)
    assert not errors
    of_jobs = {point.metric for point in points if point.tags["type"] == "job"}
    assert "job_mem_used" in of_jobs, "the backend knows the metrics of jobs by itself"
    points = [point for point in points if point.metric not in of_jobs]
    assert {point.metric for point in points} == set(declared)
    assert {point.tags["type"] for point in points if declared[point.metric]["scope"] == "node"} == {"node"}
    assert {"cpu_load", "cpu_user", "mem_used", "net_bw", "disk_read_bw"} <= set(declared)
    assert declared["cpu_user"]["scope"] == "hwthread"


def test_footprints_come_first(machine: Path) -> None:
    entries = describe_cluster(_configuration(), root=machine).document["metricConfig"]
    footprints = {entry["name"]: entry["footprint"] for entry in entries[:3]}
    assert footprints == {"cpu_user": "avg", "mem_used": "max", "cpu_load": "avg"}
    assert not any("footprint" in entry for entry in entries[3:])


def test_thresholds_follow_the_machine(machine: Path) -> None:
    entries = {
        entry["name"]: entry for entry in describe_cluster(_configuration(), root=machine).document["metricConfig"]
    }
    assert entries["cpu_load"]["peak"] == 4
    assert entries["mem_used"]["peak"] == 16.4  # 16,000,000 KiB in GB
    assert entries["mem_used"]["unit"] == {"base": "B", "prefix": "G"}
    assert entries["net_bw"]["peak"] == 2500  # two links of 10 Gbit/s in MB/s


def test_the_timestep_is_the_interval(machine: Path) -> None:
    assert {e["timestep"] for e in describe_cluster(_configuration(), root=machine).document["metricConfig"]} == {60}
    ten = describe_cluster(_configuration(interval="10s"), root=machine).document["metricConfig"]
    assert {entry["timestep"] for entry in ten} == {10}


def test_a_collector_that_cannot_work_here_declares_nothing(machine: Path, write: Write) -> None:
    write("proc/diskstats", "   7       0 loop0 0 0 0 0 0 0 0 0 0 0 0\n")
    names = {entry["name"] for entry in describe_cluster(_configuration(), root=machine).document["metricConfig"]}
    assert not any(name.startswith("disk_") for name in names)


@pytest.mark.parametrize("name", ["cpu_load", "cpu_user", "mem_used", "cpu_system", "net_bw", "something_else"])
@pytest.mark.parametrize("unit", ["%", "GB", "MB/s", "load", "W", ""])
def test_every_entry_has_what_the_schema_asks_for(name: str, unit: str) -> None:
    entry = metric_entry(name, unit, "node", machine=MACHINE, timestep_s=10)
    assert {"name", "unit", "scope", "aggregation", "timestep", "peak", "normal", "caution", "alert"} <= set(entry)
    assert entry["aggregation"] in ("sum", "avg")
    assert entry["peak"] > 0
    if entry.get("lowerIsBetter"):
        assert entry["normal"] <= entry["caution"] <= entry["alert"] <= entry["peak"]
    else:
        assert entry["alert"] <= entry["caution"] <= entry["normal"] <= entry["peak"]


def test_a_renamed_metric_keeps_its_thresholds() -> None:
    entry = metric_entry("memory", "GB", "node", machine=MACHINE, timestep_s=10, oldname="mem_used")
    assert entry["peak"] == 64
    assert entry["footprint"] == "max"


@pytest.mark.parametrize(
    ("path", "text", "clock"),
    [
        ("cpufreq/base_frequency", "2400000\n", (2.4, "base frequency")),
        ("acpi_cppc/nominal_freq", "2250\n", (2.25, "nominal frequency")),
        ("cpufreq/cpuinfo_max_freq", "3500000\n", (3.5, "maximum frequency")),
        ("cpufreq/base_frequency", "0\n", (2.6, "present clock")),
        ("cpufreq/base_frequency", "fast\n", (2.6, "present clock")),
    ],
)
def test_the_clock_is_looked_for_in_several_places(
    tmp_path: Path, write: Write, path: str, text: str, clock: "tuple[float, str]"
) -> None:
    write(f"sys/devices/system/cpu/cpu0/{path}", text)
    assert cpu_clock(CpuInfo("Some CPU", frozenset(), 2.6), tmp_path) == clock


def test_a_machine_that_tells_no_clock_gets_a_guess(tmp_path: Path) -> None:
    assert cpu_clock(CpuInfo("Some CPU", frozenset(), None), tmp_path) == (2.0, "a guess")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", CpuInfo("unknown", frozenset(), None)),
        ("model name : A\nmodel name : B\ncpu MHz : 2600.5\n", CpuInfo("A", frozenset(), 2.6005)),
        ("Features\t: fp asimd\nCPU part\t: 0xd0c\n", CpuInfo("0xd0c", frozenset({"fp", "asimd"}), None)),
        ("cpu\t\t: POWER9\n cpu MHz : fast\n", CpuInfo("POWER9", frozenset(), None)),
    ],
)
def test_cpuinfo_of_several_architectures(tmp_path: Path, write: Write, text: str, expected: CpuInfo) -> None:
    write("proc/cpuinfo", text)
    assert read_cpuinfo(tmp_path) == expected
    assert read_cpuinfo(tmp_path / "nowhere") == CpuInfo("unknown", frozenset(), None)
