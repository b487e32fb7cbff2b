"""Traffic of GPFS (IBM Storage Scale) file systems, from `mmpmon` with the request `fs_io_s`, in the background.

A line of its output is `_fs_io_s_ _n_ 10.0.0.1 … _rc_ 0 _t_ 1066660148 _tu_ 407431 _cl_ cluster _fs_ gpfs0 _d_ 2
_br_ 6291456 _bw_ 314572800 _oc_ 10 _cc_ 16 _rdc_ 101 _wc_ 300 _dir_ 7 _iu_ 2`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Dict, List, Optional, Tuple

from cc_agent.collectors.base import Reading, SeriesPool, Tick
from cc_agent.collectors.commands import BackgroundOptions, SlowSource, find_program, run_command
from cc_agent.collectors.counter_set import Counter, CounterForms, CounterSet, InstanceTags
from cc_common.settings import option

_KEYS = {
    b"_oc_": "gpfs_num_opens",
    b"_cc_": "gpfs_num_closes",
    b"_rdc_": "gpfs_num_reads",
    b"_wc_": "gpfs_num_writes",
    b"_dir_": "gpfs_num_readdirs",
    b"_iu_": "gpfs_num_inode_updates",
    b"_br_": "gpfs_bytes_read",
    b"_bw_": "gpfs_bytes_written",
}
_MAX_FILESYSTEMS = 256
_REQUEST = b"once fs_io_s\n"


def _calls(name: str, text: str) -> Counter:
    return Counter(f"gpfs_num_{name}", "requests", text, rate=f"gpfs_{name}_rate", difference=f"gpfs_num_{name}_diff")


_OPERATIONS = (
    _calls("opens", "opens"),
    _calls("closes", "closes"),
    _calls("reads", "reads"),
    _calls("writes", "writes"),
    _calls("readdirs", "directories read"),
    _calls("inode_updates", "inodes written"),
)
_BYTES = (
    Counter("gpfs_bytes_read", "B", "bytes read", rate="gpfs_bw_read", difference="gpfs_bytes_read_diff"),
    Counter("gpfs_bytes_written", "B", "bytes written", rate="gpfs_bw_write", difference="gpfs_bytes_written_diff"),
)
_BYTES_TOTAL = Counter(
    "gpfs_bytes_total",
    "B",
    "bytes read and written",
    rate="gpfs_bw_total",
    difference="gpfs_bytes_total_diff",
    sum_of=("gpfs_bytes_read", "gpfs_bytes_written"),
)
_TOTALS = (
    _BYTES_TOTAL,
    Counter(
        "gpfs_iops",
        "requests",
        "reads and writes",
        rate="gpfs_iops_rate",
        difference="gpfs_iops_diff",
        sum_of=("gpfs_num_reads", "gpfs_num_writes"),
    ),
    Counter(
        "gpfs_metaops",
        "requests",
        "opens, closes, directories read and inodes written",
        rate="gpfs_metaops_rate",
        difference="gpfs_metaops_diff",
        sum_of=("gpfs_num_opens", "gpfs_num_closes", "gpfs_num_readdirs", "gpfs_num_inode_updates"),
    ),
)


@dataclass(frozen=True)
class GpfsOptions(BackgroundOptions):
    """Options of the collector gpfs."""

    mmpmon_path: str = option("mmpmon", "the program mmpmon, often /usr/lpp/mmfs/bin/mmpmon", key="mmpmon_path")
    use_sudo: bool = option(False, "run it by `sudo -n`; `mmpmon_path` must be absolute then", key="use_sudo")
    exclude_filesystem: Tuple[str, ...] = option((), "never count these file systems", key="exclude_filesystem")
    send_abs_values: bool = option(False, "send counters", key="send_abs_values")
    send_diff_values: bool = option(
        False, "send differences between two readings, as cc-metric-collector does", key="send_diff_values"
    )
    send_derived_values: bool = option(
        False, "send rates; they are sent, too, if no other form is chosen", key="send_derived_values"
    )
    send_total_values: bool = option(False, "send sums over operations", key="send_total_values")
    send_bandwidths: bool = option(
        False, "send rates of bytes, also without send_derived_values", key="send_bandwidths"
    )
    send_device_values: bool = option(
        False,
        "send each file system too, with stype=filesystem; cc-metric-store keeps only one of them for a node",
        key="send_device_values",
    )


class GpfsCollector:
    """Counters and rates as sums over all GPFS file systems."""

    name = "gpfs"

    def __init__(
        self, options: GpfsOptions, _root: Path = Path("/"), monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._options = options
        chosen = (
            options.send_abs_values,
            options.send_diff_values,
            options.send_derived_values,
            options.send_bandwidths,
        )
        rates = options.send_derived_values or not any(chosen)
        forms = CounterForms(absolute=options.send_abs_values, rates=rates, differences=options.send_diff_values)
        tags = InstanceTags(stype="filesystem" if options.send_device_values else "")
        totals = _TOTALS if options.send_total_values else ()
        self._sets = [CounterSet((*_OPERATIONS, *_BYTES, *totals), forms, options, tags)]
        if options.send_bandwidths and not rates:
            bandwidths = tuple(counter._replace(difference="") for counter in (*_BYTES, _BYTES_TOTAL))
            self._sets.append(CounterSet(bandwidths, CounterForms(rates=True), options, tags))
        elif options.send_bandwidths and not totals:
            total = (_BYTES[0]._replace(rate=""), _BYTES[1]._replace(rate=""), _BYTES_TOTAL)
            self._sets.append(CounterSet(total, CounterForms(rates=True), options, tags))
        self.metrics = tuple(metric for counters in self._sets for metric in counters.metrics)
        self._table = SeriesPool(self.metrics, source="GpfsCollector", group="GPFS")
        self._program = ""
        self._source = SlowSource("gpfs", self._measure, options.interval_s, monotonic=monotonic)

    def open(self) -> None:
        """Check that the program is there."""
        self._source.close()
        for counters in self._sets:
            counters.reset()
        self._program = find_program(self._options.mmpmon_path, "needs mmpmon of IBM Storage Scale")

    def read(self, tick: Tick) -> List[Reading]:
        """Sums over the file systems when the program has ended, rates from its second run on."""
        measured = self._source.poll(tick)
        if measured is None:
            return []
        when = self._source.tick_of(tick, measured)
        return [reading for counters in self._sets for reading in counters.readings(when, measured.value, self._table)]

    def _measure(self) -> Dict[str, Dict[str, int]]:
        output = run_command(
            [self._program, "-p", "-s"], timeout_s=self._options.timeout_s, sudo=self._options.use_sudo, send=_REQUEST
        )
        counts = parse_mmpmon(output)
        return {name: counts[name] for name in counts if name not in self._options.exclude_filesystem}

    def close(self) -> None:
        """Drop a run that is under way."""
        self._source.close()


def parse_mmpmon(content: bytes) -> Dict[str, Dict[str, int]]:
    """Counters by metric of each file system; failed answers and lines of another format are skipped."""
    filesystems: Dict[str, Dict[str, int]] = {}
    for line in content.split(b"\n"):
        words = line.split()
        if not words or words[0] != b"_fs_io_s_" or len(filesystems) >= _MAX_FILESYSTEMS:
            continue
        values = dict(zip(words[1::2], words[2::2]))
        name: Optional[bytes] = values.get(b"_fs_")
        if values.get(b"_rc_") == b"0" and name:
            counts = {metric: values.get(key, b"") for key, metric in _KEYS.items()}
            filesystems[name.decode(errors="replace")] = {
                metric: int(text) for metric, text in counts.items() if text.isdigit()
            }
    return filesystems
