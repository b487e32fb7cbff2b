"""Traffic of the network devices, from /proc/net/dev."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Set, Tuple

from cc_agent.collectors.base import (
    KernelFile,
    MetricDescription,
    MetricFilter,
    RateClock,
    Reading,
    SeriesPool,
    Tick,
    counter_deltas,
    read_required,
    select_metrics,
)
from cc_agent.errors import NotAvailableError
from cc_common.settings import option

_COUNTERS = (
    ("net_bytes_in", "B", "bytes received"),
    ("net_bytes_out", "B", "bytes sent"),
    ("net_pkts_in", "packets", "packets received"),
    ("net_pkts_out", "packets", "packets sent"),
)
_BYTES_IN, _BYTES_OUT = 0, 1
_COLUMNS = (0, 8, 1, 9)
"""Columns of /proc/net/dev, in the order of _COUNTERS."""

_ETHERNET = "1"
"""ARPHRD_ETHER in /sys/class/net/*/type."""
_INFINIBAND = "32"
"""ARPHRD_INFINIBAND: IP over InfiniBand."""
_LOWER = "lower_"
"""Prefix of the links in /sys/class/net/NAME to the devices below NAME."""
_MAX_STACK_DEPTH = 8
"""Maximum number of stacked devices that are followed; the kernel allows as many."""
_VIRTUAL_NAMES = (
    "lo", "bond", "br-", "bridge", "cali", "cni", "docker", "dummy", "flannel", "ifb", "podman", "sit", "tap", "team",
    "tun", "veth", "virbr", "vlan", "vxlan", "wg",
)  # fmt: skip


@dataclass(frozen=True)
class NetstatOptions(MetricFilter):
    """Options of the collector netstat."""

    include_devices: Tuple[str, ...] = option(
        (), "count only these devices; empty means all with hardware behind them", key="include_devices"
    )
    exclude_devices: Tuple[str, ...] = option((), "never count these devices", key="exclude_devices")
    interface_aliases: Mapping[str, Tuple[str, ...]] = option(
        {}, "names that stand for one device: its lasting name -> names it may have", key="interface_aliases"
    )
    send_abs_values: bool = option(True, "send counters", key="send_abs_values")
    send_derived_values: bool = option(False, "send rates", key="send_derived_values")
    send_device_values: bool = option(
        False,
        "send each device too, with stype=network; cc-metric-store keeps only one of them for a node",
        key="send_device_values",
    )


def _describe(options: NetstatOptions) -> Tuple[MetricDescription, ...]:
    described: List[MetricDescription] = []
    if options.send_abs_values:
        described += [
            MetricDescription(name, unit, "node", f"All {text} since boot.", "counter")
            for name, unit, text in _COUNTERS
        ]
    if options.send_derived_values:
        described += [
            MetricDescription(f"{name}_bw", f"{unit}/s", "node", f"Rate of {text}.", "rate")
            for name, unit, text in _COUNTERS
        ]
        described += [
            MetricDescription("net_bw", "B/s", "node", "Bytes received and sent on all devices.", "rate"),
            MetricDescription("eth_read_bw", "B/s", "node", "Bytes received on Ethernet devices.", "rate"),
            MetricDescription("eth_write_bw", "B/s", "node", "Bytes sent on Ethernet devices.", "rate"),
        ]
    return select_metrics(described, options)


class NetstatCollector:
    """Counters and rates as sums over the devices of the node, with each byte counted once.

    Bytes of stacked devices are in the counters of both. The sums leave one of the two out; `send_device_values` still
    sends each device.
    """

    name = "netstat"

    def __init__(self, options: NetstatOptions, root: Path = Path("/")) -> None:
        self.metrics = _describe(options)
        self._options = options
        self._file = KernelFile(root / "proc/net/dev")
        self._folder = root / "sys/class/net"
        self._table = SeriesPool(self.metrics, source="NetstatCollector", group="Network")
        self._clock = RateClock()
        self._canonical = {
            alias: canonical for canonical, aliases in options.interface_aliases.items() for alias in aliases
        }
        self._counted: Dict[str, bool] = {}
        self._in_totals: Set[str] = set()
        self._ethernet: Dict[str, bool] = {}
        self._before: Dict[str, Tuple[int, ...]] = {}

    def open(self) -> None:
        """Check that there is a device to count."""
        devices = parse_net_dev(read_required(self._file, "mount /proc"))
        self._clock.reset()
        self._before = {}
        self._counted = {}
        if not self._counted_devices(devices):
            wanted = ", ".join(self._options.include_devices) or "any with hardware behind it"
            raise NotAvailableError(
                f"no network device to count (wanted: {wanted}; there: {', '.join(sorted(devices)) or 'none'})",
                'name devices in "include_devices"',
            )

    def read(self, tick: Tick) -> List[Reading]:
        """Totals, and single devices if configured; after a device was reset there are no total rates at this tick."""
        devices = self._counted_devices(parse_net_dev(self._file.read()))
        elapsed_s = self._clock.elapsed_s(tick)
        readings: List[Reading] = []
        for index, (name, _, _) in enumerate(_COUNTERS):
            self._append_readings(name, {device: counters[index] for device, counters in devices.items()}, readings)
        if elapsed_s is not None:
            self._append_rates(devices, elapsed_s, readings)
        for gone in self._before.keys() - devices.keys():
            self._table.forget(gone)
        self._before = devices
        return readings

    def _append_rates(self, devices: Mapping[str, Tuple[int, ...]], elapsed_s: float, readings: List[Reading]) -> None:
        known = {device: now for device, now in devices.items() if device in self._before}
        steps = {device: counter_deltas(now, self._before[device]) for device, now in known.items()}
        rates = {
            device: [step / elapsed_s for step in counters]
            for device, counters in steps.items()
            if counters is not None
        }
        complete = self._in_totals & known.keys() <= rates.keys() and bool(self._in_totals & rates.keys())
        for index, (name, _, _) in enumerate(_COUNTERS):
            self._append_readings(
                f"{name}_bw", {device: rate[index] for device, rate in rates.items()}, readings, complete=complete
            )
        if not complete:
            return
        once = {device: rate for device, rate in rates.items() if device in self._in_totals}
        wired = [rate for device, rate in once.items() if self._is_ethernet(device)]
        sums = {
            "net_bw": sum(rate[_BYTES_IN] + rate[_BYTES_OUT] for rate in once.values()),
            "eth_read_bw": sum(rate[_BYTES_IN] for rate in wired),
            "eth_write_bw": sum(rate[_BYTES_OUT] for rate in wired),
        }
        readings.extend(
            (self._table.get(name), value) for name, value in sums.items() if self._table.declared(name, "node")
        )

    def _append_readings(
        self, name: str, values: Mapping[str, float], readings: List[Reading], *, complete: bool = True
    ) -> None:
        if not self._table.declared(name, "node"):
            return
        if complete:
            total = sum(value for device, value in values.items() if device in self._in_totals)
            readings.append((self._table.get(name), total))
        if self._options.send_device_values:
            readings.extend(
                (self._table.get(name, stype="network", stype_id=device), value) for device, value in values.items()
            )

    def _counted_devices(self, devices: Mapping[str, Tuple[int, ...]]) -> Dict[str, Tuple[int, ...]]:
        """The counters of the devices to count, by canonical name."""
        self._classify_new_devices(devices.keys() - self._counted.keys(), set(devices))
        self._counted = {device: self._counted[device] for device in devices}
        chosen_devices = {device for device, counted in self._counted.items() if counted}
        self._in_totals = {
            self._canonical.get(device, device)
            for device in chosen_devices - double_counted_devices(chosen_devices, self._folder)
        }
        return {self._canonical.get(device, device): devices[device] for device in devices if device in chosen_devices}

    def _classify_new_devices(self, new: Set[str], present: Set[str]) -> None:
        if not new:
            return
        hardware = {device for device in present if (self._folder / device / "device").exists()}
        if hardware:
            hardware |= {device for device in present - hardware if self._is_infiniband_partition(device)}
        for device in new:
            names = {device, self._canonical.get(device, device)}
            if names & set(self._options.exclude_devices):
                self._counted[device] = False
            elif self._options.include_devices:
                self._counted[device] = bool(names & set(self._options.include_devices))
            elif hardware:
                self._counted[device] = device in hardware
            else:  # in a container, or without /sys, there is only the name
                self._counted[device] = not device.startswith(_VIRTUAL_NAMES)
            self._ethernet[self._canonical.get(device, device)] = self._type_of(device) in (None, _ETHERNET)

    def _is_infiniband_partition(self, device: str) -> bool:
        """Whether it is IP over InfiniBand with a partition key, whose bytes are not in the counters of its parent."""
        if self._type_of(device) != _INFINIBAND or _lower_devices(self._folder / device):
            return False
        index, parent = (_number(self._folder / device / name) for name in ("ifindex", "iflink"))
        return parent is not None and parent != index

    def _type_of(self, device: str) -> Optional[str]:
        try:
            return (self._folder / device / "type").read_text(encoding="ascii").strip()
        except OSError:
            return None

    def _is_ethernet(self, device: str) -> bool:
        return self._ethernet.get(device, True)

    def close(self) -> None:
        """Release the file."""
        self._file.close()


def double_counted_devices(devices: Set[str], folder: Path) -> Set[str]:
    """The devices whose bytes are also counted by others of the set; `folder` is /sys/class/net.

    These are devices stacked on others, directly or not, whose counters have all their bytes: a VLAN on its device, a
    bond or team whose parts are all present, a bridge on a port. If a part is missing, the bond is counted instead of
    its parts. A master with hardware of its own (the synthetic device of Hyper-V over a virtual function, a failover
    pair) is counted, and the devices below it are not.
    """
    if len(devices) < 2:  # noqa: PLR2004 one device cannot stand on another
        return set()
    covered = {device for device in devices if _is_covered(device, devices, folder)}
    masters = {device: _link_target(folder / device / "master") for device in devices}
    return covered | {device for device, master in masters.items() if master in devices - covered}


def _is_covered(device: str, devices: Set[str], folder: Path, *, depth: int = 0) -> bool:
    """Whether the devices below it count all its bytes."""
    lower = _lower_devices(folder / device) if depth < _MAX_STACK_DEPTH else set()
    parts = {name for name in lower if _link_target(folder / name / "master") == device}
    carried = {name for name in lower if name in devices or _is_covered(name, devices, folder, depth=depth + 1)}
    if carried - parts:
        return True
    if not carried or (folder / device / "device").exists():
        return False
    # A bridge counts what ends at this machine; its port to the outside also counts what passes through.
    return carried == lower or (folder / device / "bridge").is_dir()


def _number(file: Path) -> Optional[int]:
    try:
        return int(file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _link_target(link: Path) -> str:
    try:
        return link.readlink().name
    except OSError:
        return ""


def _lower_devices(folder: Path) -> Set[str]:
    try:
        return {entry.name[len(_LOWER) :] for entry in folder.iterdir() if entry.name.startswith(_LOWER)}
    except OSError:
        return set()


def parse_net_dev(content: bytes) -> Dict[str, Tuple[int, ...]]:
    """Bytes in, bytes out, packets in, packets out by device; lines of another format are skipped."""
    devices: Dict[str, Tuple[int, ...]] = {}
    for line in content.split(b"\n"):
        name, colon, rest = line.rpartition(b":")
        columns = rest.split()
        if colon and len(columns) > max(_COLUMNS) and columns[0].isdigit():
            devices[name.strip().decode(errors="replace")] = tuple(int(columns[column]) for column in _COLUMNS)
    return devices
