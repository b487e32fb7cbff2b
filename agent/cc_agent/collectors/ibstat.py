"""Traffic and state of the ports of InfiniBand, Omni-Path and RoCE, from /sys/class/infiniband.

Data is counted in units of four bytes (InfiniBand Architecture Specification 1.2.1,
16.1.3.5).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, List, Mapping, NamedTuple, Optional, Tuple

from cc_agent.collectors.base import (
    KernelFile,
    MetricDescription,
    MetricFilter,
    Reading,
    SeriesPool,
    Tick,
    select_metrics,
)
from cc_agent.collectors.counter_set import Counter, CounterForms, CounterSet, InstanceTags
from cc_agent.errors import NotPresentError
from cc_common.settings import option

_FOLDER = "sys/class/infiniband"
_WORD_BYTES = 4
_COUNTER_BITS = 64
_MAX_PORTS = 256
_SEARCH_INTERVAL_S = 300.0
_ETHERNET = "Ethernet"
_ACTIVE = "4"
"""IB_PORT_ACTIVE: the first word of the file `state`, as in `4: ACTIVE`."""
_RATE = re.compile(rb"([0-9.]+) Gb/sec")
_BYTES_PER_GBIT = 1e9 / 8

_TRAFFIC_FILES = {
    "ib_recv": ("port_rcv_data", "port_rcv_data_64"),
    "ib_xmit": ("port_xmit_data", "port_xmit_data_64"),
    "ib_recv_pkts": ("port_rcv_packets", "port_rcv_packets_64"),
    "ib_xmit_pkts": ("port_xmit_packets", "port_xmit_packets_64"),
}
"""Files by metric: in the folder `counters`, and in `counters_ext` of old kernels, where only that has 64 bits."""

_TRAFFIC = (
    Counter("ib_recv", "B", "bytes received", rate="ib_recv_bw", scale=_WORD_BYTES),
    Counter("ib_xmit", "B", "bytes sent", rate="ib_xmit_bw", scale=_WORD_BYTES),
    Counter("ib_recv_pkts", "packets", "packets received", rate="ib_recv_pkts_bw"),
    Counter("ib_xmit_pkts", "packets", "packets sent", rate="ib_xmit_pkts_bw"),
)
_TOTALS = (
    Counter("ib_total", "B", "bytes received and sent", rate="ib_total_bw", sum_of=("ib_recv", "ib_xmit")),
    Counter(
        "ib_total_pkts",
        "packets",
        "packets received and sent",
        rate="ib_total_pkts_bw",
        sum_of=("ib_recv_pkts", "ib_xmit_pkts"),
    ),
)
_ERRORS = (
    ("ib_xmit_wait", "port_xmit_wait", "counts", "ticks in which a port had data and could not send"),
    ("ib_xmit_discards", "port_xmit_discards", "packets", "packets thrown away instead of sent"),
    ("ib_recv_errors", "port_rcv_errors", "packets", "packets received with an error"),
    ("ib_symbol_errors", "symbol_error", "events", "minor errors of the link"),
    ("ib_link_recoveries", "link_error_recovery", "events", "times that a link recovered from an error"),
    ("ib_link_downed", "link_downed", "events", "times that a link failed"),
    ("ib_integrity_errors", "local_link_integrity_errors", "events", "errors beyond what a link may have"),
)
_HARDWARE = (
    ("ib_out_of_sequence", "out_of_sequence", "packets", "packets that came out of order"),
    ("ib_packet_seq_errors", "packet_seq_err", "events", "requests to send again after a lost packet"),
    ("ib_ack_timeouts", "local_ack_timeout_err", "events", "packets whose receipt was not confirmed in time"),
    ("ib_rnr_retries", "rnr_nak_retry_err", "events", "tries that met a receiver that was not ready"),
    ("ib_congestion_sent", "np_cnp_sent", "packets", "notices of congestion sent"),
    ("ib_congestion_handled", "rp_cnp_handled", "packets", "notices of congestion obeyed"),
    ("ib_ecn_marked", "np_ecn_marked_roce_packets", "packets", "packets received with a mark of congestion"),
    ("ib_retransmits", "roce_adp_retrans", "events", "retransmissions of RoCE"),
)
_GAUGES = (
    MetricDescription("ib_active_ports", "ports", "node", "Ports with a working link.", "gauge"),
    MetricDescription("ib_link_bw", "B/s", "node", "Speed of all ports with a working link.", "gauge"),
)
_ROCE = {
    "roce_recv_bw": ("ib_recv", "Bytes received, if there is no fast network but RoCE."),
    "roce_xmit_bw": ("ib_xmit", "Bytes sent, if there is no fast network but RoCE."),
}


@dataclass(frozen=True)
class IbstatOptions(MetricFilter):
    """Options of the collector ibstat."""

    exclude_devices: Tuple[str, ...] = option((), "never count these devices", key="exclude_devices")
    send_abs_values: bool = option(True, "send counters", key="send_abs_values")
    send_derived_values: bool = option(False, "send rates", key="send_derived_values")
    send_total_values: bool = option(False, "send the sums of received and sent", key="send_total_values")
    send_state_values: bool = option(
        False, "send the number of ports with a working link, and their speed", key="send_state_values"
    )
    send_error_values: bool = option(
        False, "send errors of ports and links, and the time that ports had to wait", key="send_error_values"
    )
    send_hardware_values: bool = option(
        False, "send the counters of congestion and retransmission that the hardware has", key="send_hardware_values"
    )
    send_device_values: bool = option(
        False,
        "send each port too, with stype=network; cc-metric-store keeps only one of them for a node",
        key="send_device_values",
    )
    roce: bool = option(True, "count ports whose link is Ethernet, which have no LID", key="roce")


class Port(NamedTuple):
    """A port, such as `mlx5_0:1`, and the files of its counters by metric."""

    name: str
    is_ethernet: bool
    files: Mapping[str, KernelFile]
    state: KernelFile
    rate: KernelFile


class IbstatCollector:
    """Counters and rates as sums over all ports; a counter that a port lacks is left out."""

    name = "ibstat"

    def __init__(self, options: IbstatOptions, root: Path = Path("/")) -> None:
        self._options = options
        self._folder = root / _FOLDER
        rows = (_ERRORS if options.send_error_values else ()) + (_HARDWARE if options.send_hardware_values else ())
        self._files_of = {
            **_TRAFFIC_FILES,
            **{name: (file,) for name, file, _, _ in rows},
        }
        self._counters = CounterSet(
            _TRAFFIC
            + (_TOTALS if options.send_total_values else ())
            + tuple(Counter(name, unit, text, rate=f"{name}_rate") for name, _, unit, text in rows),
            CounterForms(absolute=options.send_abs_values, rates=options.send_derived_values),
            options,
            InstanceTags(stype="network" if options.send_device_values else ""),
            wrap_bits=_COUNTER_BITS,
        )
        self._roce = CounterSet(
            [
                Counter(counter, "B", "", rate=rate, scale=_WORD_BYTES, absolute=False)
                for rate, (counter, _) in _ROCE.items()
            ],
            CounterForms(rates=options.roce and options.send_derived_values),
            options,
            wrap_bits=_COUNTER_BITS,
        )
        self._gauges = select_metrics(_GAUGES, options) if options.send_state_values else ()
        roce = tuple(metric._replace(meaning=_ROCE[metric.name][1]) for metric in self._roce.metrics)
        self.metrics = self._counters.metrics + roce + self._gauges
        self._table = SeriesPool(self.metrics, source="InfinibandCollector", group="Network")
        self._ports: List[Port] = []
        self._searched_s: Optional[float] = None

    def open(self) -> None:
        """Find the ports. Raises NotPresentError if there is none."""
        self.close()
        self._counters.reset()
        self._roce.reset()
        self._searched_s = None
        self._ports = self._find_ports()
        if not self._ports:
            raise NotPresentError(f"no port to count: {self._folder} cannot be read or has none", "load the driver")

    def read(self, tick: Tick) -> List[Reading]:
        """Counters, rates and state of the ports that can be read now."""
        if self._searched_s is None:
            self._searched_s = tick.monotonic_s
        elif tick.monotonic_s - self._searched_s >= _SEARCH_INTERVAL_S:
            self._searched_s = tick.monotonic_s
            self._refresh_ports()
        counts = {}
        for port in self._ports:
            values = _read_counts(port.files)
            if values:
                counts[port.name] = values
        if not counts:
            raise OSError(f"no port below {self._folder} can be read any more")
        readings = self._counters.readings(tick, counts, self._table)
        ethernet = {port.name: counts[port.name] for port in self._ports if port.is_ethernet and port.name in counts}
        if len(ethernet) == len(counts):
            readings += self._roce.readings(tick, ethernet, self._table)
        return readings + self._state_readings()

    def _state_readings(self) -> List[Reading]:
        if not self._gauges:
            return []
        active = [port for port in self._ports if _is_active(port)]
        values = {"ib_active_ports": len(active), "ib_link_bw": sum(_link_bytes_per_s(port) for port in active)}
        return [(self._table.get(metric.name), values[metric.name]) for metric in self._gauges]

    def _find_ports(self) -> List[Port]:
        ports = []
        try:
            folders = sorted(self._folder.glob("*/ports/*"))[:_MAX_PORTS]
        except OSError:
            return []
        for folder in folders:
            device, number = folder.parent.parent.name, folder.name
            is_ethernet = _text(folder / "link_layer") == _ETHERNET
            if device in self._options.exclude_devices or (is_ethernet and not self._options.roce):
                continue
            files = {name: file for name, names in self._files_of.items() for file in _counter_files(folder, names)}
            if files.keys() & _TRAFFIC_FILES.keys():
                state, rate = KernelFile(folder / "state"), KernelFile(folder / "rate")
                ports.append(Port(f"{device}:{number}", is_ethernet, files, state, rate))
        return ports

    def _refresh_ports(self) -> None:
        found = self._find_ports()
        if [port.name for port in found] != [port.name for port in self._ports]:
            self.close()
            self._ports = found

    def close(self) -> None:
        """Release the files."""
        for port in self._ports:
            for file in (*port.files.values(), port.state, port.rate):
                file.close()


def _counter_files(folder: Path, names: Tuple[str, ...]) -> Iterable[KernelFile]:
    """The file of a counter, none if the port does not have it."""
    places = [folder / "counters_ext" / name for name in names[1:]]
    places += [folder / part / names[0] for part in ("counters", "hw_counters")]
    return [KernelFile(place) for place in places if place.exists()][:1]


def _read_counts(files: Mapping[str, KernelFile]) -> Dict[str, int]:
    counts = {}
    for name, file in files.items():
        count = _read_counter(file)
        if count is not None:
            counts[name] = count
    return counts


def _read_counter(file: KernelFile) -> Optional[int]:
    try:
        return parse_counter(file.read_attribute())
    except (OSError, ValueError):  # the device went away, or the driver cannot ask it now
        file.close()
        return None


def parse_counter(content: bytes) -> int:
    """The value of a counter file. Raises ValueError, also for `N/A (no PMA)`."""
    text = content.strip()
    if not text.isdigit() or len(text) > 20:  # noqa: PLR2004 digits of 64 bits
        raise ValueError(f"not a counter: {text[:40]!r}")
    return int(text)


def _is_active(port: Port) -> bool:
    try:
        return port.state.read_attribute().decode(errors="replace").split(":", 1)[0].strip() == _ACTIVE
    except OSError:
        return False


def _link_bytes_per_s(port: Port) -> float:
    try:
        match = _RATE.match(port.rate.read_attribute())
        return float(match.group(1)) * _BYTES_PER_GBIT if match else 0.0
    except (OSError, ValueError):
        return 0.0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
