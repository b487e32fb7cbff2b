"""Traffic of the disks, from /proc/diskstats.

Columns after the name (Linux, Documentation/admin-guide/iostats.rst): reads, reads merged, sectors read, ms reading,
writes, writes merged, sectors written, ms writing, requests in flight, ms busy, weighted ms busy, then since Linux 4.18
four for discards and since 5.5 two for flushes. A sector is 512 bytes whatever the disk says.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Mapping, Optional, Sequence, Set, Tuple

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
from cc_agent.collectors.blockdevices import whole_disks
from cc_agent.errors import NotPresentError
from cc_common.settings import option

_SECTOR_BYTES = 512
_IN_FLIGHT = 8

_FIELDS = (
    ("io_reads", "requests", "reads done"),
    ("io_reads_merged", "requests", "reads merged into others"),
    ("io_read_sectors", "sectors", "sectors of 512 B read"),
    ("io_read_ms", "ms", "time spent reading"),
    ("io_writes", "requests", "writes done"),
    ("io_writes_merged", "requests", "writes merged into others"),
    ("io_writes_sectors", "sectors", "sectors of 512 B written"),
    ("io_writes_ms", "ms", "time spent writing"),
    ("io_ioops", "requests", "requests in flight now"),
    ("io_ioops_ms", "ms", "time with a request in flight"),
    ("io_ioops_weighted_ms", "ms", "time of all requests in flight"),
    ("io_discards", "requests", "discards done"),
    ("io_discards_merged", "requests", "discards merged into others"),
    ("io_discards_sectors", "sectors", "sectors of 512 B discarded"),
    ("io_discards_ms", "ms", "time spent discarding"),
    ("io_flushes", "requests", "flushes done"),
    ("io_flushes_ms", "ms", "time spent flushing"),
)
_OLDEST_COLUMNS = 11
_READS, _READ_SECTORS, _WRITES, _WRITE_SECTORS, _BUSY_MS = 0, 2, 4, 6, 9


@dataclass(frozen=True)
class IostatOptions(MetricFilter):
    """Options of the collector iostat."""

    exclude_devices: Tuple[str, ...] = option((), "never count these devices", key="exclude_devices")
    send_device_values: bool = option(
        False,
        "send the io_ metrics of each disk too, with stype=disk; cc-metric-store keeps only one of them for a node",
        key="send_device_values",
    )
    per_interval_values: bool = option(
        False,
        "send the io_ metrics as differences per interval, as cc-metric-collector does, instead of per second",
        key="per_interval_values",
    )


def _describe(options: IostatOptions) -> Tuple[MetricDescription, ...]:
    per = "" if options.per_interval_values else "/s"
    described = [
        MetricDescription("disk_read_bw", "B/s", "node", "Bytes read from all disks.", "rate"),
        MetricDescription("disk_write_bw", "B/s", "node", "Bytes written to all disks.", "rate"),
        MetricDescription("disk_read_iops", "requests/s", "node", "Reads done by all disks.", "rate"),
        MetricDescription("disk_write_iops", "requests/s", "node", "Writes done by all disks.", "rate"),
        MetricDescription("disk_busy", "%", "node", "Time the busiest disk had a request in flight.", "rate"),
    ]
    for index, (name, unit, text) in enumerate(_FIELDS):
        gauge = index == _IN_FLIGHT
        meaning = f"{text[0].upper()}{text[1:]}, all disks."
        described.append(
            MetricDescription(name, unit if gauge else unit + per, "node", meaning, "gauge" if gauge else "rate")
        )
    return select_metrics(described, options)


class IostatCollector:
    """Rates as sums over the whole disks of the node."""

    name = "iostat"

    def __init__(self, options: IostatOptions, root: Path = Path("/")) -> None:
        self.metrics = _describe(options)
        self._options = options
        self._file = KernelFile(root / "proc/diskstats")
        self._folder = root / "sys/block"
        self._table = SeriesPool(self.metrics, source="IOstatCollector", group="Disk")
        self._clock = RateClock()
        self._before: Dict[str, List[int]] = {}
        self._disks: Dict[str, Tuple[str, ...]] = {}
        self._device_names: Set[str] = set()

    def open(self) -> None:
        """Check that there is a disk."""
        devices = parse_diskstats(read_required(self._file, "mount /proc"))
        self._clock.reset()
        self._before = {}
        self._device_names = set()
        self._refresh_disks(devices)
        if not self._disks:
            raise NotPresentError(
                f"no disk among the block devices ({', '.join(sorted(devices)) or 'none'})",
                "nothing to do on a diskless node",
            )

    def read(self, tick: Tick) -> List[Reading]:
        """Rates since the previous call; after a disk was replaced there are no totals at this tick."""
        devices = parse_diskstats(self._file.read())
        self._refresh_disks(devices)
        elapsed_s = self._clock.elapsed_s(tick)
        readings: List[Reading] = []
        if elapsed_s is not None:
            self._append_readings(self._disk_deltas(devices), elapsed_s, readings)
        for gone in self._before.keys() - devices.keys():
            self._table.forget(gone)
        self._before = devices
        return readings

    def _refresh_disks(self, devices: Mapping[str, Sequence[int]]) -> None:
        """Determine the whole disks if the devices have changed."""
        if devices.keys() == self._device_names:
            return
        self._device_names = set(devices)
        self._disks = whole_disks(devices, self._folder, self._options.exclude_devices)

    def _disk_deltas(self, devices: Mapping[str, List[int]]) -> Dict[str, List[int]]:
        """The increase of the counters of each known disk, requests in flight as they are; without reset disks."""
        steps: Dict[str, List[int]] = {}
        for name, paths in sorted(self._disks.items()):
            parts = [self._device_deltas(source, devices) for source in _counter_devices(name, paths, devices)]
            went = [part for part in parts if part is not None]
            if went and len(went) == len(parts) and len({len(part) for part in went}) == 1:
                steps[name] = [sum(column) for column in zip(*went)]
        return steps

    def _device_deltas(self, name: str, devices: Mapping[str, List[int]]) -> Optional[List[int]]:
        now, before = devices[name], self._before.get(name)
        if before is None or len(before) != len(now):
            return None
        counted_from = list(before)
        counted_from[_IN_FLIGHT] = 0
        return counter_deltas(now, counted_from)

    def _append_readings(self, steps: Mapping[str, List[int]], elapsed_s: float, readings: List[Reading]) -> None:
        disks = list(steps.values())
        complete = bool(disks) and all(name in steps for name in self._disks if name in self._before)
        if complete:
            self._append_totals(disks, elapsed_s, readings)
        divisor = 1.0 if self._options.per_interval_values else elapsed_s
        for index, (metric, _, _) in enumerate(_FIELDS):
            if not self._table.declared(metric, "node"):
                continue
            scale = 1.0 if index == _IN_FLIGHT else divisor
            if complete and all(index < len(disk) for disk in disks):
                readings.append((self._table.get(metric), sum(disk[index] for disk in disks) / scale))
            if self._options.send_device_values:
                readings.extend(
                    (self._table.get(metric, stype="disk", stype_id=name), step[index] / scale)
                    for name, step in steps.items()
                    if index < len(step)
                )

    def _append_totals(self, disks: Sequence[List[int]], elapsed_s: float, readings: List[Reading]) -> None:
        values = {
            "disk_read_bw": sum(disk[_READ_SECTORS] for disk in disks) * _SECTOR_BYTES / elapsed_s,
            "disk_write_bw": sum(disk[_WRITE_SECTORS] for disk in disks) * _SECTOR_BYTES / elapsed_s,
            "disk_read_iops": sum(disk[_READS] for disk in disks) / elapsed_s,
            "disk_write_iops": sum(disk[_WRITES] for disk in disks) / elapsed_s,
            "disk_busy": min(max(disk[_BUSY_MS] for disk in disks) / (10.0 * elapsed_s), 100.0),
        }
        readings.extend(
            (self._table.get(name), value) for name, value in values.items() if self._table.declared(name, "node")
        )

    def close(self) -> None:
        """Release the file."""
        self._file.close()


def _counter_devices(name: str, paths: Tuple[str, ...], devices: Mapping[str, List[int]]) -> Tuple[str, ...]:
    """The devices whose counters have the traffic of a disk: the disk itself, or its NVMe paths.

    Kernels before 6.4 count the requests of an NVMe multipath device at its paths only, later ones at both. A head that
    has not counted a request since boot belongs to an old kernel.
    """
    head = devices[name]
    return (name,) if not paths or head[_READS] or head[_WRITES] else paths


def parse_diskstats(content: bytes) -> Dict[str, List[int]]:
    """Counters by device; 11, 15 or 17 of them depending on the kernel. Lines of another format are skipped."""
    devices: Dict[str, List[int]] = {}
    for line in content.split(b"\n"):
        words = line.split()
        counters = words[3 : 3 + len(_FIELDS)]
        if len(counters) >= _OLDEST_COLUMNS and all(map(bytes.isdigit, counters)):
            devices[words[2].decode(errors="replace")] = [int(counter) for counter in counters]
    return devices
