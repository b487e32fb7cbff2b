from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_agent.collectors.base import Tick
from cc_agent.collectors.netstat import NetstatCollector, NetstatOptions, parse_net_dev
from cc_agent.errors import NotAvailableError

Write = Callable[[str, str], None]


def _dev(**devices: tuple[int, int, int, int]) -> str:
    lines = [
        f"{name}:{rx} {rx_packets} 0 0 0 0 0 0 {tx} {tx_packets} 0 0 0 0 0 0"
        for name, (rx, tx, rx_packets, tx_packets) in devices.items()
    ]
    return "\n".join(["Inter-| Receive | Transmit", " face |bytes packets |bytes packets", *lines, ""])


def _values(root: Path, write: Write, before: str, after: str, **options: object) -> dict[str, float]:
    collector = NetstatCollector(
        NetstatOptions(**{"send_derived_values": True, **options}),  # type: ignore[arg-type]  # options of a test
        root,
    )
    write("proc/net/dev", before)
    collector.open()
    collector.read(Tick(0, 100.0, 10.0))
    write("proc/net/dev", after)
    readings = collector.read(Tick(10, 110.0, 10.0))
    collector.close()
    return {series.metric + series.tags.get("stype-id", ""): value for series, value in readings}


@pytest.fixture
def hardware(write: Write) -> None:
    for device, kind in (("eth0", 1), ("eth1", 1), ("ib0", 32)):
        write(f"sys/class/net/{device}/device/vendor", "")
        write(f"sys/class/net/{device}/type", f"{kind}\n")


@pytest.mark.usefixtures("hardware")
def test_totals_are_sums_over_hardware_in_bytes_per_second(tmp_path: Path, write: Write) -> None:
    values = _values(
        tmp_path,
        write,
        _dev(lo=(0, 0, 0, 0), eth0=(0, 0, 0, 0), ib0=(0, 0, 0, 0), docker0=(0, 0, 0, 0)),
        _dev(lo=(9999, 9999, 9, 9), eth0=(1000, 2000, 10, 20), ib0=(5000, 7000, 1, 2), docker0=(1000, 2000, 1, 1)),
    )
    assert values["net_bw"] == 1500
    assert values["eth_read_bw"] == 100
    assert values["eth_write_bw"] == 200
    assert values["net_bytes_in_bw"] == 600
    assert values["net_pkts_out_bw"] == pytest.approx(2.2)
    assert values["net_bytes_in"] == 6000


def test_without_sysfs_the_name_tells_what_is_virtual(tmp_path: Path, write: Write) -> None:
    before = _dev(eth0=(0, 0, 0, 0), veth12=(0, 0, 0, 0), lo=(0, 0, 0, 0))
    values = _values(tmp_path, write, before, _dev(eth0=(10, 0, 0, 0), veth12=(10, 0, 0, 0), lo=(10, 0, 0, 0)))
    assert values["eth_read_bw"] == 1


@pytest.mark.usefixtures("hardware")
def test_included_devices_are_the_only_ones_even_if_virtual(tmp_path: Path, write: Write) -> None:
    texts = _dev(eth0=(0, 0, 0, 0), lo=(0, 0, 0, 0)), _dev(eth0=(10, 0, 0, 0), lo=(70, 0, 0, 0))
    assert _values(tmp_path, write, *texts, include_devices=("lo",))["net_bw"] == 7
    assert _values(tmp_path, write, *texts, exclude_devices=("eth1",))["net_bw"] == 1


@pytest.mark.usefixtures("hardware")
def test_aliases_give_a_device_its_lasting_name(tmp_path: Path, write: Write) -> None:
    values = _values(
        tmp_path,
        write,
        _dev(eth0=(0, 0, 0, 0)),
        _dev(eth0=(10, 0, 0, 0)),
        interface_aliases={"lan": ("eth0", "enp1s0")},
        include_devices=("lan",),
        send_device_values=True,
    )
    assert values["net_bytes_inlan"] == 10
    assert values["net_bytes_in_bwlan"] == 1


@pytest.mark.usefixtures("hardware")
def test_a_reset_device_leaves_out_the_rates_but_not_the_counters(tmp_path: Path, write: Write) -> None:
    values = _values(
        tmp_path,
        write,
        _dev(eth0=(9000, 0, 0, 0), eth1=(0, 0, 0, 0)),
        _dev(eth0=(10, 0, 0, 0), eth1=(100, 0, 0, 0)),
        send_device_values=True,
    )
    assert values["net_bytes_in"] == 110
    assert values["net_bytes_in_bweth1"] == 10
    assert not {"net_bw", "net_bytes_in_bw", "net_bytes_in_bweth0"} & set(values)


@pytest.mark.usefixtures("hardware")
def test_devices_may_come_and_go(tmp_path: Path, write: Write) -> None:
    values = _values(
        tmp_path,
        write,
        _dev(eth0=(0, 0, 0, 0), eth1=(0, 0, 0, 0)),
        _dev(eth0=(10, 0, 0, 0), ib0=(999, 0, 0, 0)),
    )
    assert values["net_bw"] == 1


def test_no_device_to_count_is_no_collector(tmp_path: Path, write: Write) -> None:
    write("proc/net/dev", _dev(lo=(0, 0, 0, 0)))
    with pytest.raises(NotAvailableError, match=r"wanted: any with hardware behind it; there: lo"):
        NetstatCollector(NetstatOptions(), tmp_path).open()
    write("proc/net/dev", _dev(eth0=(0, 0, 0, 0)))
    with pytest.raises(NotAvailableError, match=r"wanted: enp1s0; there: eth0") as caught:
        NetstatCollector(NetstatOptions(include_devices=("enp1s0",)), tmp_path).open()
    assert "include_devices" in caught.value.advice


def test_the_real_machine_is_understood() -> None:
    if not Path("/proc/net/dev").exists():
        pytest.skip("no /proc")
    devices = parse_net_dev(Path("/proc/net/dev").read_bytes())
    listed = (
        {entry.name for entry in Path("/sys/class/net").iterdir()} if shutil.os.path.isdir("/sys/class/net") else set()
    )
    assert set(devices) <= listed or not listed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", {}),
        (b"Inter-|\n face |bytes\n", {}),
        (b"eth0:1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0", {"eth0": (1, 3, 2, 4)}),
        (b"  eth0:1 2 0 0 0 0 0 0\n", {}),
        (b"eth0:1:7 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0", {"eth0:1": (7, 3, 2, 4)}),
        (b"eth0: -1 2 0 0 0 0 0 0 3 4 0 0 0 0 0 0", {}),
    ],
)
def test_lines_of_another_form_are_skipped(text: bytes, expected: dict[str, tuple[int, ...]]) -> None:
    assert parse_net_dev(text) == expected


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9.@_-]{0,14}", fullmatch=True),
        st.tuples(*[st.integers(0, 2**64 - 1)] * 4),
    )
)
def test_what_is_written_is_read(devices: dict[str, tuple[int, int, int, int]]) -> None:
    assert parse_net_dev(_dev(**devices).encode()) == devices


def _below(root: Path, lower: str, upper: str, *, as_master: bool) -> None:
    """Links two devices as the kernel does."""
    net = root / "sys/class/net"
    (net / lower).mkdir(parents=True, exist_ok=True)
    (net / upper).mkdir(parents=True, exist_ok=True)
    (net / upper / f"lower_{lower}").symlink_to(f"../{lower}")
    (net / lower / f"upper_{upper}").symlink_to(f"../{upper}")
    if as_master:
        (net / lower / "master").symlink_to(f"../{upper}")


def _bandwidth(root: Path, write: Write, *devices: str, **options: object) -> dict[str, float]:
    zero = (0, 0, 0, 0)
    return _values(
        root, write, _dev(**dict.fromkeys(devices, zero)), _dev(**dict.fromkeys(devices, (100, 0, 1, 0))), **options
    )


@pytest.mark.usefixtures("hardware")
def test_a_virtual_function_below_a_synthetic_device_is_not_counted_again(tmp_path: Path, write: Write) -> None:
    _below(tmp_path, "eth1", "eth0", as_master=True)
    values = _bandwidth(tmp_path, write, "eth0", "eth1", send_device_values=True)
    assert values["net_bw"] == 10
    assert values["eth_read_bw"] == 10
    assert values["net_bytes_in"] == 100
    assert values["net_pkts_in_bw"] == pytest.approx(0.1)
    assert values["net_bytes_in_bweth1"] == 10  # asked for, so shown


@pytest.mark.usefixtures("hardware")
def test_the_device_that_counts_for_both_may_lose_the_other_at_any_time(tmp_path: Path, write: Write) -> None:
    _below(tmp_path, "eth1", "eth0", as_master=True)
    zero, moved = (0, 0, 0, 0), (100, 0, 0, 0)
    assert _values(tmp_path, write, _dev(eth0=zero, eth1=zero), _dev(eth0=moved))["net_bw"] == 10
    assert _values(tmp_path, write, _dev(eth0=zero, eth1=(999, 0, 0, 0)), _dev(eth0=moved, eth1=zero))["net_bw"] == 10


@pytest.mark.usefixtures("hardware")
@pytest.mark.parametrize("upper", ["bond0", "team0", "br0", "uplink"])
def test_devices_and_the_bond_or_bridge_over_them_count_once(tmp_path: Path, write: Write, upper: str) -> None:
    for lower in ("eth0", "eth1"):
        _below(tmp_path, lower, upper, as_master=True)
    assert _bandwidth(tmp_path, write, "eth0", "eth1", upper)["net_bw"] == 20
    everything = _bandwidth(tmp_path, write, "eth0", "eth1", upper, include_devices=("eth0", "eth1", upper))
    assert everything["net_bw"] == 20
    some = _bandwidth(tmp_path, write, "eth0", "eth1", upper, include_devices=("eth0", upper))
    assert some["net_bw"] == 10  # the bond has what both carry
    assert _bandwidth(tmp_path, write, "eth0", "eth1", upper, include_devices=(upper,))["net_bw"] == 10


@pytest.mark.usefixtures("hardware")
def test_a_vlan_and_the_device_that_carries_it_count_once(tmp_path: Path, write: Write) -> None:
    _below(tmp_path, "eth0", "vlan7", as_master=False)
    values = _bandwidth(tmp_path, write, "eth0", "vlan7", include_devices=("eth0", "vlan7"))
    assert values["net_bw"] == 10
    assert _bandwidth(tmp_path, write, "eth0", "vlan7", include_devices=("vlan7",))["net_bw"] == 10


@pytest.mark.usefixtures("hardware")
def test_a_bond_of_vlans_and_the_devices_below_count_once(tmp_path: Path, write: Write) -> None:
    for number in "01":
        _below(tmp_path, f"eth{number}", f"eth{number}.7", as_master=False)
        _below(tmp_path, f"eth{number}.7", "bond0", as_master=True)
    names = ("eth0", "eth1", "eth0.7", "eth1.7", "bond0")
    for included in (("eth0", "eth1", "bond0"), names):
        assert _bandwidth(tmp_path, write, *names, include_devices=included)["net_bw"] == 20


@pytest.mark.usefixtures("hardware")
def test_a_vlan_on_a_bond_and_the_devices_of_the_bond_count_once(tmp_path: Path, write: Write) -> None:
    for lower in ("eth0", "eth1"):
        _below(tmp_path, lower, "bond0", as_master=True)
    _below(tmp_path, "bond0", "bond0.7", as_master=False)
    names = ("eth0", "eth1", "bond0", "bond0.7")
    assert _bandwidth(tmp_path, write, *names, include_devices=("eth0", "eth1", "bond0.7"))["net_bw"] == 20


@pytest.mark.usefixtures("hardware")
def test_of_a_bridge_and_its_port_the_port_counts_what_passes(tmp_path: Path, write: Write) -> None:
    (tmp_path / "sys/class/net/br0/bridge").mkdir(parents=True)
    for lower in ("eth0", "tap0"):
        _below(tmp_path, lower, "br0", as_master=True)
    devices = _dev(eth0=(0, 0, 0, 0), br0=(0, 0, 0, 0), tap0=(0, 0, 0, 0))
    later = _dev(eth0=(100, 0, 1, 0), br0=(40, 0, 1, 0), tap0=(60, 0, 1, 0))
    assert _values(tmp_path, write, devices, later, include_devices=("eth0", "br0"))["net_bw"] == 10


@pytest.mark.usefixtures("hardware")
def test_a_partition_of_infiniband_counts_beside_its_parent_but_a_bond_over_it_does_not(
    tmp_path: Path, write: Write
) -> None:
    numbers = {"ib0": (4, 4), "ib0.8001": (7, 4), "bond0": (9, 9)}
    for device, (index, parent) in numbers.items():
        write(f"sys/class/net/{device}/ifindex", f"{index}\n")
        write(f"sys/class/net/{device}/iflink", f"{parent}\n")
        write(f"sys/class/net/{device}/type", "32\n")
    _below(tmp_path, "ib0.8001", "bond0", as_master=True)
    values = _values(
        tmp_path,
        write,
        "".join(f"{name}: {' 0' * 16}\n" for name in ("ib0", "ib0.8001", "bond0")),
        "".join(f"{name}: 100 {' 0' * 15}\n" for name in ("ib0", "ib0.8001", "bond0")),
    )
    assert values["net_bw"] == 20
