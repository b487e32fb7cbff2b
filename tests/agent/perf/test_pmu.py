from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from perf_machine import add_pmu, write

from cc_agent.collectors.perf.pmu import (
    named,
    parse_format,
    parse_terms,
    read_pmus,
    scatter_bits,
    socket_of_cpu,
)
from cc_agent.collectors.perf.syscall import EventCode
from cc_agent.errors import NotPresentError


def test_units_are_found_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in (10, 2, 0):
        add_pmu(tmp_path, f"uncore_imc_{number}", 20 + number, cpumask="0,64")
    add_pmu(tmp_path, "cpu_core", 4, cpus="0-7")
    pmus = read_pmus(tmp_path)
    assert [pmu.name for pmu in pmus] == ["cpu_core", "uncore_imc_0", "uncore_imc_2", "uncore_imc_10"]
    assert [pmu.name for pmu in named(pmus, r"uncore_imc_\d")] == ["uncore_imc_0", "uncore_imc_2"]
    assert pmus[0].cpus == tuple(range(8))
    assert pmus[1].cpus == (0, 64)


@pytest.mark.parametrize("number", ["", "x", "\x00\xff", "4" * 5000])
def test_a_unit_without_a_number_is_left_out(tmp_path: Path, number: str) -> None:
    add_pmu(tmp_path, "cpu", 4)
    (tmp_path / "sys/bus/event_source/devices/broken").mkdir()
    (tmp_path / "sys/bus/event_source/devices/broken/type").write_text(number, encoding="latin-1")
    assert [pmu.name for pmu in read_pmus(tmp_path)] == ["cpu"]


def test_a_kernel_without_perf_events_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotPresentError, match=r"cannot be read") as caught:
        read_pmus(tmp_path)
    assert "CONFIG_PERF_EVENTS" in caught.value.advice


def test_terms_become_the_bits_that_formats_tell(tmp_path: Path) -> None:
    # The data fabric of AMD: the event number in two parts.
    add_pmu(
        tmp_path,
        "amd_df",
        14,
        formats={
            "event": "config:0-7,32-37",
            "umask": "config:8-15,24-27",
            "extra": "config1:4-7",
            "edge": "config:18",
        },
    )
    (pmu,) = read_pmus(tmp_path)
    # 0x1F + 0x40 * 3 = 0xDF; 0x1F + 0x40 * 11 = 0x2DF: 0xDF below, 0x2 above
    assert pmu.encode("event=0xdf,umask=0xffe") == EventCode(14, 0xDF | 0xFE << 8 | 0xF << 24)
    assert pmu.encode("event=0x2df,umask=0x38") == EventCode(14, 0xDF | 0x2 << 32 | 0x38 << 8)
    assert pmu.encode("event=7,edge,extra=0xA") == EventCode(14, 7 | 1 << 18, 0xA0)
    assert pmu.encode("config=0x123,config2=5") == EventCode(14, 0x123, 0, 5)


@pytest.mark.parametrize("terms", ["other=1", "event=0x4000", "event=?", "", "event=1,,umask=1", "event=-1", "a b=1"])
def test_events_that_do_not_fit_are_rejected(tmp_path: Path, terms: str) -> None:
    add_pmu(tmp_path, "amd_df", 14, formats={"event": "config:0-7,32-37", "umask": "config:8-15"})
    with pytest.raises(ValueError, match=r"."):
        read_pmus(tmp_path)[0].encode(terms)


def test_the_kernel_names_events_with_scale_and_unit(tmp_path: Path) -> None:
    add_pmu(
        tmp_path,
        "uncore_imc_0",
        20,
        events={
            "cas_count_read": "event=0x04,umask=0x03",
            "cas_count_read.scale": "6.103515625e-5",
            "cas_count_read.unit": "MiB",
            "clockticks": "event=0xff",
            "bad": "event=1",
            "bad.scale": "much",
            "endless": "event=1",
            "endless.scale": "inf",
        },
    )
    (pmu,) = read_pmus(tmp_path)
    assert pmu.event("cas_count_read") == ("event=0x04,umask=0x03", 6.103515625e-5, "MiB")
    assert pmu.event("clockticks") == ("event=0xff", 1.0, "")
    assert pmu.event("bad") is None
    assert pmu.event("endless") is None
    assert pmu.event("missing") is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("config:0-7", ("config", [(0, 7)])),
        ("config:0-7,32-35,59-60\n", ("config", [(0, 7), (32, 35), (59, 60)])),
        ("config2:63", ("config2", [(63, 63)])),
    ],
)
def test_formats_are_read(text: str, expected: tuple[str, list[tuple[int, int]]]) -> None:
    assert parse_format(text) == expected


@pytest.mark.parametrize(
    "text", ["", "config", "config4:0-7", "config:7-0", "config:0-64", "config:a", "config:1,", "\0"]
)
def test_other_formats_are_rejected(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a format"):
        parse_format(text)


@given(st.text(max_size=60))
def test_parsers_reject_whatever_text_with_a_value_error(text: str) -> None:
    for parse in (parse_format, parse_terms):
        try:
            parse(text)
        except ValueError:
            continue


@given(st.integers(0, (1 << 12) - 1))
def test_scattered_bits_can_be_gathered(value: int) -> None:
    ranges = [(0, 7), (32, 35)]
    word = scatter_bits(value, ranges)
    assert (word & 0xFF) | (word >> 32 & 0xF) << 8 == value
    assert word & ~(0xFF | 0xF << 32) == 0


def test_a_socket_is_a_position_in_the_topology() -> None:
    assert socket_of_cpu(((0, 2), (1, 3))) == {0: 0, 2: 0, 1: 1, 3: 1}


def test_a_folder_that_is_no_unit_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "sys/bus/event_source/devices/uevent", "x")
    assert read_pmus(tmp_path) == []
