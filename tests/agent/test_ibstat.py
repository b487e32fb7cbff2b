import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_files import port_files

from cc_agent.collectors.base import Reading, Tick
from cc_agent.collectors.ibstat import IbstatCollector, IbstatOptions, parse_counter
from cc_agent.errors import NotPresentError

Write = Callable[[str, str], None]

RATES = {"send_abs_values": False, "send_derived_values": True}


def _write_all(write: Write, *parts: Mapping[str, str]) -> None:
    for files in parts:
        for path, text in files.items():
            write(path, text)


def _named(readings: list[Reading]) -> dict[str, float]:
    return {series.metric + series.tags.get("stype-id", ""): value for series, value in readings}


def _values(root: Path, write: Write, *steps: list[Mapping[str, str]], **options: Any) -> list[dict[str, float]]:
    """What is sent at each step, ten seconds apart."""
    _write_all(write, *steps[0])
    collector = IbstatCollector(IbstatOptions(**options), root)
    collector.open()
    sent = []
    for number, step in enumerate(steps):
        _write_all(write, *step)
        sent.append(_named(collector.read(Tick(10 * number, 50.0 + 10 * number, 10.0))))
    collector.close()
    return sent


def test_data_is_in_bytes_and_summed_over_the_ports(tmp_path: Path, write: Write) -> None:
    ports = [port_files("mlx5_0", 1000), port_files("mlx5_1", 500)]
    later = [port_files("mlx5_0", 2000), port_files("mlx5_1", 700)]
    first, second = _values(tmp_path, write, ports, later, send_derived_values=True, send_total_values=True)
    assert first == {
        "ib_recv": 6000, "ib_xmit": 12000, "ib_recv_pkts": 150, "ib_xmit_pkts": 300,
        "ib_total": 18000, "ib_total_pkts": 450,
    }  # fmt: skip
    assert {name: value for name, value in second.items() if name.endswith("_bw")} == {
        "ib_recv_bw": 480, "ib_xmit_bw": 960, "ib_recv_pkts_bw": 12, "ib_xmit_pkts_bw": 24,
        "ib_total_bw": 1440, "ib_total_pkts_bw": 36,
    }  # fmt: skip


def test_single_ports_are_sent_on_request(tmp_path: Path, write: Write) -> None:
    (only,) = _values(tmp_path, write, [port_files("mlx5_0", 1000), port_files("hfi1_0", 10)], send_device_values=True)
    assert only["ib_recvmlx5_0:1"] == 4000
    assert only["ib_recvhfi1_0:1"] == 40
    assert only["ib_recv"] == 4040


def test_counters_of_64_bits_go_on_after_their_wrap(tmp_path: Path, write: Write) -> None:
    before, after = dict(port_files("mlx5_0", 0)), dict(port_files("mlx5_0", 0))
    before["sys/class/infiniband/mlx5_0/ports/1/counters/port_rcv_data"] = f"{2**64 - 100}\n"
    after["sys/class/infiniband/mlx5_0/ports/1/counters/port_rcv_data"] = "150\n"
    assert _values(tmp_path, write, [before], [after], **RATES)[1]["ib_recv_bw"] == 100


def test_a_reset_gives_no_rate_at_one_reading(tmp_path: Path, write: Write) -> None:
    steps = [[port_files("mlx5_0", words)] for words in (5000, 100, 600)]
    _, second, third = _values(tmp_path, write, *steps, **RATES)
    assert second == {}
    assert third["ib_recv_bw"] == 200


def test_ports_of_roce_count_though_they_have_no_lid(tmp_path: Path, write: Write) -> None:
    ports = [[port_files("mlx5_0", words, link_layer="Ethernet")] for words in (1000, 2000)]
    _, second = _values(tmp_path, write, *ports, **RATES)
    assert second["ib_recv_bw"] == second["roce_recv_bw"] == 400
    assert second["ib_xmit_bw"] == second["roce_xmit_bw"] == 800


def test_beside_infiniband_roce_is_a_part_of_the_sum(tmp_path: Path, write: Write) -> None:
    ports = [[port_files("a", words), port_files("b", words, link_layer="Ethernet")] for words in (1000, 2000)]
    _, second = _values(tmp_path, write, *ports, **RATES)
    assert second["ib_recv_bw"] == 800
    assert "roce_recv_bw" not in second
    _, second = _values(tmp_path, write, *ports, roce=False, **RATES)
    assert second["ib_recv_bw"] == 400


def test_state_and_speed_of_links_that_work(tmp_path: Path, write: Write) -> None:
    ports = [port_files("a", 1), port_files("b", 1), port_files("c", 1, state="1: DOWN")]
    (only,) = _values(tmp_path, write, ports, send_state_values=True, include_metrics=("ib_active_ports", "ib_link_bw"))
    assert only == {"ib_active_ports": 2, "ib_link_bw": 50e9}


def test_errors_and_counters_of_the_hardware_on_request(tmp_path: Path, write: Write) -> None:
    steps = [[port_files("mlx5_0", 1000 * number)] for number in (1, 2)]
    _, second = _values(tmp_path, write, *steps, send_error_values=True, send_hardware_values=True, **RATES)
    assert second["ib_xmit_wait_rate"] == 100
    assert second["ib_symbol_errors_rate"] == 0
    assert second["ib_out_of_sequence_rate"] == 100
    assert "ib_link_downed_rate" not in second, "the port does not count it"


def test_the_old_folder_of_64_bit_counters_is_preferred(tmp_path: Path, write: Write) -> None:
    write("sys/class/infiniband/qib0/ports/1/counters_ext/port_rcv_data_64", "5000000000\n")
    (only,) = _values(tmp_path, write, [port_files("qib0", 4_294_967_295)])
    assert only["ib_recv"] == 20_000_000_000


def test_excluded_devices_are_not_read(tmp_path: Path, write: Write) -> None:
    (only,) = _values(tmp_path, write, [port_files("a", 10), port_files("b", 1000)], exclude_devices=("b",))
    assert only["ib_recv"] == 40


@pytest.mark.parametrize("text", ["N/A (no PMA)\n", "", "-1\n", "x", "9" * 400])
def test_a_counter_that_cannot_be_read_costs_only_itself(tmp_path: Path, write: Write, text: str) -> None:
    files = {**port_files("a", 10), "sys/class/infiniband/a/ports/1/counters/port_rcv_data": text}
    assert _values(tmp_path, write, [files]) == [{"ib_xmit": 80, "ib_recv_pkts": 1, "ib_xmit_pkts": 2}]


def test_a_device_that_goes_away_costs_no_other(tmp_path: Path, write: Write) -> None:
    _write_all(write, port_files("a", 10), port_files("b", 10))
    collector = IbstatCollector(IbstatOptions(send_device_values=True), tmp_path)
    collector.open()
    collector.read(Tick(0, 5.0, 10.0))
    collector.close()
    shutil.rmtree(tmp_path / "sys/class/infiniband/a")
    assert "ib_recva:1" not in _named(collector.read(Tick(10, 15.0, 10.0)))
    collector.close()
    shutil.rmtree(tmp_path / "sys/class/infiniband/b")
    with pytest.raises(OSError, match="no port"):
        collector.read(Tick(20, 25.0, 10.0))


def test_a_device_that_is_added_is_found_after_a_while(tmp_path: Path, write: Write) -> None:
    _write_all(write, port_files("a", 10))
    collector = IbstatCollector(IbstatOptions(), tmp_path)
    collector.open()
    assert _named(collector.read(Tick(0, 1000.0, 10.0)))["ib_recv"] == 40
    _write_all(write, port_files("b", 10))
    assert _named(collector.read(Tick(10, 1010.0, 10.0)))["ib_recv"] == 40
    assert _named(collector.read(Tick(300, 1300.0, 10.0)))["ib_recv"] == 80
    collector.close()


def test_a_machine_without_ports_is_not_at_fault(tmp_path: Path) -> None:
    with pytest.raises(NotPresentError, match="cannot be read"):
        IbstatCollector(IbstatOptions(), tmp_path).open()


@given(st.integers(0, 2**64 - 1))
def test_what_is_written_is_read(count: int) -> None:
    assert parse_counter(f"{count}\n".encode()) == count
