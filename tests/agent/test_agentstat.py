from __future__ import annotations

import os
from pathlib import Path

import psutil
import pytest

from cc_agent.collectors.agentstat import AgentstatCollector, AgentstatOptions, Backlog, CollectorCost
from cc_agent.collectors.base import Tick

COSTS = (CollectorCost("cpustat", 0.002, fails=False), CollectorCost("ibstat", 0.001, fails=True))


def _second_reading(root: Path = Path("/"), options: AgentstatOptions | None = None) -> dict[str, float]:
    collector = AgentstatCollector(options or AgentstatOptions(), root, now_s=lambda: 1010.25)
    collector.attach_collectors(lambda: COSTS)
    collector.attach_sinks(lambda: (Backlog(2, 100, 1), Backlog(3, 50, 0)))
    collector.open()
    collector.read(Tick(1000, 50.0, 10.0))
    readings = collector.read(Tick(1010, 60.0, 10.0))
    collector.close()
    return {series.metric + series.tags.get("stype-id", ""): value for series, value in readings}


def test_collectors_and_sinks_are_summed() -> None:
    sent = _second_reading()
    assert sent["agent_collector_cpu"] == pytest.approx(0.003)
    assert (sent["agent_failing"], sent["agent_queue"], sent["agent_queue_size"], sent["agent_dropped"]) == (
        1,
        5,
        150,
        1,
    )
    assert sent["agent_lateness"] == 0.25
    assert sent["agent_cpu"] >= 0


def test_memory_is_what_the_kernel_says(tmp_path: Path) -> None:
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/statm").write_text("1000 250 100 1 0 90 0\n")
    assert _second_reading(tmp_path)["agent_rss"] == 250 * os.sysconf("SC_PAGE_SIZE")


def test_memory_is_as_psutil_has_it() -> None:
    assert _second_reading()["agent_rss"] == pytest.approx(psutil.Process().memory_info().rss, rel=0.1)


def test_single_collectors_and_figures_of_the_kernel_on_request() -> None:
    sent = _second_reading(options=AgentstatOptions(send_collector_values=True, read_rusage=True))
    assert sent["agent_collector_cpucpustat"] == 0.002
    assert sent["rusage_user_time"] > 0
    assert {name for name in sent if name.startswith("rusage_")} == {
        "rusage_user_time", "rusage_system_time", "rusage_vol_ctx_switch", "rusage_invol_ctx_switch", "rusage_signals",
        "rusage_major_pgfaults", "rusage_minor_pgfaults",
    }  # fmt: skip


def test_a_clock_that_was_set_back_makes_no_negative_lateness() -> None:
    collector = AgentstatCollector(AgentstatOptions(), now_s=lambda: 5.0)
    collector.open()
    readings = {series.metric: value for series, value in collector.read(Tick(1000, 50.0, 10.0))}
    collector.close()
    assert readings["agent_lateness"] == 0
    assert "agent_cpu" not in readings
