import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_agent.collectors.base import Tick
from cc_agent.collectors.memstat import (
    MemstatCollector,
    MemstatOptions,
    domain_memory_used,
    node_memory_used,
    parse_meminfo,
    reference_memory_used,
)
from cc_agent.errors import NotAvailableError

Write = Callable[[str, str], None]
TICK = Tick(0, 0.0, 10.0)


def _values(root: Path, **options: object) -> dict[tuple[str, str], float]:
    collector = MemstatCollector(MemstatOptions(**options), root)  # type: ignore[arg-type]  # options of a test
    collector.open()
    readings = collector.read(TICK)
    collector.close()
    return {(series.metric, series.tags.get("type-id", "node")): value for series, value in readings}


def test_used_is_what_programs_cannot_get(machine: Path) -> None:
    assert _values(machine)["mem_used", "node"] == 6_000_000


def test_the_formula_of_the_reference_can_be_chosen(machine: Path) -> None:
    # 16.0 - 4.0 - 0.5 - 5.0 - 1.0 GB, with shared memory taken off twice
    assert _values(machine, mem_used="reference")["mem_used", "node"] == 5_500_000


def test_lines_without_kb_are_read(machine: Path) -> None:
    values = _values(machine)
    assert values["mem_hugepages_total", "node"] == 32
    assert values["mem_hugepages_surplus", "node"] == 2
    assert values["mem_hugepages_size", "node"] == 2048


def test_swap_in_use_is_the_difference(machine: Path) -> None:
    assert _values(machine)["swap_used", "node"] == 500_000


def test_the_kernels_kb_are_kib_unless_history_asks_for_the_old_label(machine: Path) -> None:
    units = {metric.name: metric.unit for metric in MemstatCollector(MemstatOptions(), machine).metrics}
    assert units["mem_used"] == "KiB"
    assert units["mem_hugepages_free"] == "pages"
    old = MemstatCollector(MemstatOptions(decimal_kilobytes=True), machine).metrics
    assert {metric.unit for metric in old} == {"kB", "pages"}


def test_numa_domains_report_under_their_position(machine: Path) -> None:
    values = _values(machine, numa_stats=True, node_stats=False)
    assert {domain for _, domain in values} == {"0", "1"}
    # used 6.0 GB, minus file cache 2.5 - 0.5 shared + 0.2 reclaimable
    assert values["mem_used", "1"] == 3_800_000


def test_memory_without_processors_comes_after_the_other_domains(machine: Path, write: Write) -> None:
    write("sys/devices/system/node/node0/cpulist", "\n")
    write("sys/devices/system/node/node0/meminfo", "Node 0 MemTotal: 77 kB\nNode 0 MemFree: 7 kB\n")
    values = _values(machine, numa_stats=True, node_stats=False, include_metrics=("mem_total",))
    assert values == {("mem_total", "0"): 8_000_000, ("mem_total", "1"): 77}


def test_numa_values_need_a_kernel_that_knows_numa(machine: Path) -> None:
    shutil.rmtree(machine / "sys/devices/system/node")
    with pytest.raises(NotAvailableError, match="no NUMA domain"):
        _values(machine, numa_stats=True)


def test_what_the_kernel_does_not_know_is_left_out(tmp_path: Path, write: Write) -> None:
    write("proc/meminfo", "MemTotal: 100 kB\nMemFree: 40 kB\nBuffers: 5 kB\nCached: 20 kB\nShmem: 7 kB\n")
    values = _values(tmp_path)
    assert ("mem_available", "node") not in values
    assert ("swap_used", "node") not in values
    assert values["mem_used", "node"] == 42  # without MemAvailable: neither free nor cache, shared memory is used


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"MemTotal:       16 kB\n", {"MemTotal": 16}),
        (b"HugePages_Total:       4\n", {"HugePages_Total": 4}),
        (b"Node 0 MemFree:  8 kB", {"MemFree": 8}),
        (b"Node 12 Active(anon): 3 kB", {"Active(anon)": 3}),
        (b"A: 1 kB\nrubbish\nB:\nC: x kB\nD: -4 kB\n: \nE: 5 kB\n", {"A": 1, "E": 5}),
    ],
)
def test_meminfo_is_read(text: bytes, expected: dict[str, int]) -> None:
    assert parse_meminfo(text) == expected


@pytest.mark.parametrize("text", [b"", b"\n\n", b"nothing here", b"MemTotal: many kB", b"\xff\xfe"])
def test_other_texts_are_rejected(text: bytes) -> None:
    with pytest.raises(ValueError, match="unknown form"):
        parse_meminfo(text)


@given(
    st.dictionaries(
        st.from_regex(r"[A-Z][A-Za-z_0-9()]{0,20}", fullmatch=True),
        st.tuples(st.integers(0, 2**60), st.sampled_from([" kB", ""])),
        min_size=1,
    ),
    st.sampled_from(["", "Node 0 ", "Node 17 "]),
)
def test_what_is_written_is_read(sizes: dict[str, tuple[int, str]], prefix: str) -> None:
    text = "".join(f"{prefix}{name}:{size:>12}{unit}\n" for name, (size, unit) in sizes.items())
    assert parse_meminfo(text.encode()) == {name: size for name, (size, _) in sizes.items()}


def test_formulas_give_nothing_without_their_inputs_and_never_less_than_zero() -> None:
    assert node_memory_used({"MemTotal": 5}) is None
    assert reference_memory_used({}) is None
    assert domain_memory_used({}) is None
    assert node_memory_used({"MemTotal": 5, "MemAvailable": 9}) == 0
    assert domain_memory_used({"MemUsed": 5, "FilePages": 90}) == 0


def test_agrees_with_the_systems_own_tool() -> None:
    free = shutil.which("free")
    if free is None:
        pytest.skip("free(1) is not installed")
    collector = MemstatCollector(MemstatOptions(include_metrics=("mem_total", "mem_available")))
    output = subprocess.run([free, "-b"], check=True, capture_output=True, text=True, env={"LC_ALL": "C"}).stdout
    collector.open()
    values = {series.metric: value * 1024 for series, value in collector.read(TICK)}
    collector.close()
    columns = output.splitlines()[1].split()
    assert values["mem_total"] == int(columns[1])
    assert values["mem_available"] == pytest.approx(int(columns[6]), rel=0.1)
