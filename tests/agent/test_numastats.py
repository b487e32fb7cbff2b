import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_agent.collectors.base import Tick
from cc_agent.collectors.numastats import NumastatsCollector, NumastatsOptions, parse_numastat
from cc_agent.errors import NotPresentError

REAL = Path("/sys/devices/system/node/node0/numastat")


def test_counters_and_rates_of_each_domain(machine: Path, busy: Callable[[int], None]) -> None:
    collector = NumastatsCollector(NumastatsOptions(send_derived_values=True), machine)
    collector.open()
    first = {(series.metric, series.tags["type-id"]): value for series, value in collector.read(Tick(0, 5.0, 10.0))}
    busy(2)
    second = {(series.metric, series.tags["type-id"]): value for series, value in collector.read(Tick(10, 15.0, 10.0))}
    collector.close()
    assert first["numastats_numa_miss", "1"] == 2000
    assert len(first) == 12
    assert second["numastats_other_node", "0"] == 12000
    assert second["numastats_other_node_rate", "0"] == 600
    assert len(second) == 24


def test_a_domain_that_goes_away_costs_no_other(machine: Path, busy: Callable[[int], None]) -> None:
    collector = NumastatsCollector(NumastatsOptions(), machine)
    collector.open()
    collector.close()
    (machine / "sys/devices/system/node/node0/numastat").unlink()
    assert {series.tags["type-id"] for series, _ in collector.read(Tick(0, 5.0, 10.0))} == {"1"}
    collector.close()


def test_a_kernel_without_numa_is_not_at_fault(tmp_path: Path) -> None:
    with pytest.raises(NotPresentError, match="cannot be read"):
        NumastatsCollector(NumastatsOptions(), tmp_path).open()


@pytest.mark.parametrize("text", [b"", b"numa_hit", b"numa_hit x", b"numa_hit 1 2", b"hit 5", b"\xff\x00 1"])
def test_lines_of_another_form_are_skipped(text: bytes) -> None:
    assert parse_numastat(text) == {}
    assert parse_numastat(text + b"\nnuma_miss 4\n") == {"numastats_numa_miss": 4}


@given(st.integers(0, 2**64))
def test_what_is_written_is_read(count: int) -> None:
    assert parse_numastat(f"local_node {count}\n".encode()) == {"numastats_local_node": count}


@pytest.mark.skipif(
    not shutil.which("numastat") or not REAL.exists(), reason="needs numastat (package numactl) and NUMA"
)
def test_the_tool_numastat_counts_alike() -> None:
    before = parse_numastat(REAL.read_bytes())
    text = subprocess.run(["numastat"], capture_output=True, text=True, check=True).stdout
    after = parse_numastat(REAL.read_bytes())
    shown = {f"numastats_{key}": int(value) for key, value in re.findall(r"(?m)^(\w+)\s+(\d+)", text)}
    assert shown.keys() == after.keys()
    for name, value in shown.items():
        assert before[name] <= value <= after[name]
