from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_agent.collectors.base import Tick
from cc_agent.collectors.iostat import IostatCollector, IostatOptions, parse_diskstats
from cc_agent.errors import NotAvailableError

Write = Callable[[str, str], None]


def _line(name: str, *counters: int) -> str:
    return f"   8       0 {name} " + " ".join(map(str, counters)) + "\n"


def _counters(reads: int = 0, read: int = 0, writes: int = 0, written: int = 0, busy: int = 0) -> list[int]:
    return [reads, 0, read, 0, writes, 0, written, 0, 2, busy, 0, 0, 0, 0, 0, 0, 0]


def _values(root: Path, write: Write, before: str, after: str, **options: object) -> dict[str, float]:
    collector = IostatCollector(IostatOptions(**options), root)  # type: ignore[arg-type]  # options of a test
    write("proc/diskstats", before)
    collector.open()
    collector.read(Tick(0, 100.0, 10.0))
    write("proc/diskstats", after)
    readings = collector.read(Tick(10, 110.0, 10.0))
    collector.close()
    return {series.metric + series.tags.get("stype-id", ""): value for series, value in readings}


def _disks(write: Write, *names: str) -> None:
    for name in names:
        write(f"sys/block/{name}/size", "1\n")


def _device(root: Path, name: str, place: str, *, slaves: tuple[str, ...] = ()) -> None:
    """A block device as the kernel shows it: a link into the device tree, with what it stands on."""
    folder = root / "sys/devices" / place / name.replace("/", "!")
    (folder / "slaves").mkdir(parents=True)
    for slave in slaves:
        (folder / "slaves" / slave).symlink_to(root / "sys/block" / slave)
    entry = root / "sys/block" / name.replace("/", "!")
    entry.parent.mkdir(parents=True, exist_ok=True)
    entry.symlink_to(folder)


_HARDWARE = "pci0000:00/0000:00:1f.2/ata1/host0/block"


@pytest.mark.parametrize(
    ("name", "place", "slaves"),
    [
        ("md127", "virtual/block", ("sda",)),
        ("scratch", "virtual/block", ("sda",)),  # any name that its driver likes
        ("dm-0", "virtual/block", ("sda",)),
        ("bcache0", "virtual/block", ("sda",)),
        ("drbd0", "virtual/block", ()),
        ("zd16", "virtual/block", ()),
        ("emcpowera", "virtual/block", ()),
        ("nvmesh/scratch", "virtual/block", ()),
        ("multipath7", "pci0000:00/0000:00:02.0", ("sda",)),  # with hardware of its own, and yet on another
        ("loop0", "virtual/block", ()),
        ("sr0", "pci0000:00/0000:00:1f.2/ata2/host1/block", ()),
    ],
)
def test_what_stands_on_a_disk_is_not_counted_again(
    tmp_path: Path, write: Write, name: str, place: str, slaves: tuple[str, ...]
) -> None:
    _device(tmp_path, "sda", _HARDWARE)
    _device(tmp_path, name, place, slaves=slaves)
    before = _line("sda", *_counters()) + _line(name, *_counters())
    after = _line("sda", *_counters(reads=10)) + _line(name, *_counters(reads=10))
    assert _values(tmp_path, write, before, after)["disk_read_iops"] == 1


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("vda", "pci0000:00/0000:00:05.0/virtio2/block"),
        ("pmem0", "LNXSYSTM:00/ndbus0/region0/btt0/block"),
        ("rbd0", "rbd/0/block"),
        ("nvme2n1", "virtual/nvme-fabrics/ctl/nvme2"),
        ("mdisk", _HARDWARE),
        ("sdloop", _HARDWARE),
    ],
)
def test_disks_are_counted_whatever_their_names(tmp_path: Path, write: Write, name: str, place: str) -> None:
    _device(tmp_path, name, place)
    values = _values(tmp_path, write, _line(name, *_counters()), _line(name, *_counters(reads=10)))
    assert values["disk_read_iops"] == 1


@pytest.mark.parametrize("paths", [1, 2, 4])
@pytest.mark.parametrize("counts_at_head", [False, True])
def test_nvme_multipath_counts_once_on_old_and_new_kernels(
    tmp_path: Path, write: Write, *, paths: int, counts_at_head: bool
) -> None:
    _device(tmp_path, "nvme0n1", "virtual/nvme-subsystem/nvme-subsys0")
    below = [f"nvme0c{number}n1" for number in range(paths)]
    for number, name in enumerate(below):
        _device(tmp_path, name, f"pci0000:00/nvme/nvme{number}")
    names = ["nvme0n1", *below]
    each = _counters(reads=80 // paths, busy=100)
    after = _line("nvme0n1", *(_counters(reads=80, busy=100) if counts_at_head else _counters()))
    after += "".join(_line(name, *each) for name in below)
    before = "".join(_line(name, *_counters()) for name in names)
    values = _values(tmp_path, write, before, after, send_device_values=True)
    assert values["disk_read_iops"] == 8
    assert values["io_readsnvme0n1"] == 8
    assert "io_readsnvme0c0n1" not in values


def test_a_path_without_its_head_counts_by_itself(tmp_path: Path, write: Write) -> None:
    _device(tmp_path, "nvme0c0n1", "pci0000:00/nvme/nvme0")
    texts = _line("nvme0c0n1", *_counters()), _line("nvme0c0n1", *_counters(reads=10))
    assert _values(tmp_path, write, *texts)["disk_read_iops"] == 1


@pytest.mark.parametrize("name", ["dm-3", "md0", "md127p1", "bcache0", "drbd1", "zd0", "emcpowerb", "nvmesh/x", "nbd0"])
def test_without_sysfs_the_name_tells_what_stands_on_others(tmp_path: Path, write: Write, name: str) -> None:
    before = _line("sda", *_counters()) + _line(name, *_counters())
    after = _line("sda", *_counters(reads=10)) + _line(name, *_counters(reads=10))
    assert _values(tmp_path, write, before, after)["disk_read_iops"] == 1


def test_totals_are_rates_of_whole_disks_only(tmp_path: Path, write: Write) -> None:
    names = ("sda", "sda1", "nvme0n1", "nvme0n1p1", "dm-0", "loop0", "zram0", "md0", "nvme0c0n1")
    _disks(write, *(name for name in names if name not in ("sda1", "nvme0n1p1")))
    values = _values(
        tmp_path,
        write,
        "".join(_line(name, *_counters()) for name in names),
        "".join(_line(name, *_counters(10, 2048, 20, 4096, 5000)) for name in names),
    )
    assert values["disk_read_bw"] == 2 * 2048 * 512 / 10
    assert values["disk_write_bw"] == 2 * 4096 * 512 / 10
    assert values["disk_read_iops"] == 2
    assert values["disk_write_iops"] == 4
    assert values["disk_busy"] == 50
    assert values["io_reads"] == 2


@pytest.mark.parametrize(
    ("disk", "partition"),
    [
        ("sda", "sda1"),
        ("vdb", "vdb12"),
        ("xvda", "xvda1"),
        ("dasda", "dasda1"),
        ("nvme1n1", "nvme1n1p2"),
        ("mmcblk0", "mmcblk0p1"),
        ("cciss/c0d0", "cciss/c0d0p1"),
        ("ida/c1d2", "ida/c1d2p12"),
        ("rbd0", "rbd0p1"),
        ("mtdblock3", "mtdblock3p1"),
    ],
)
def test_without_sysfs_the_name_tells_what_is_a_partition(
    tmp_path: Path, write: Write, disk: str, partition: str
) -> None:
    before = _line(disk, *_counters()) + _line(partition, *_counters())
    after = _line(disk, *_counters(reads=10)) + _line(partition, *_counters(reads=10))
    assert _values(tmp_path, write, before, after)["disk_read_iops"] == 1


def test_without_sysfs_a_name_like_a_partition_without_its_disk_is_a_disk(tmp_path: Path, write: Write) -> None:
    texts = _line("xvda1", *_counters()), _line("xvda1", *_counters(reads=10))
    assert _values(tmp_path, write, *texts)["disk_read_iops"] == 1


def test_a_disk_whose_name_has_a_slash_is_found_in_sysfs(tmp_path: Path, write: Write) -> None:
    _device(tmp_path, "cciss!c0d0", _HARDWARE)
    names = ("cciss/c0d0", "cciss/c0d0p1")
    before = "".join(_line(name, *_counters()) for name in names)
    after = "".join(_line(name, *_counters(reads=10)) for name in names)
    assert _values(tmp_path, write, before, after)["disk_read_iops"] == 1


def test_requests_in_flight_are_a_gauge(tmp_path: Path, write: Write) -> None:
    values = _values(tmp_path, write, _line("sda", *_counters()), _line("sda", *_counters(reads=5)))
    assert values["io_ioops"] == 2


def test_differences_per_interval_can_be_had_as_before(tmp_path: Path, write: Write) -> None:
    texts = _line("sda", *_counters()), _line("sda", *_counters(reads=50))
    assert _values(tmp_path, write, *texts)["io_reads"] == 5
    assert _values(tmp_path, write, *texts, per_interval_values=True)["io_reads"] == 50


def test_single_disks_are_sent_on_request_and_may_be_excluded(tmp_path: Path, write: Write) -> None:
    before = _line("sda", *_counters()) + _line("sdb", *_counters())
    after = _line("sda", *_counters(reads=10)) + _line("sdb", *_counters(reads=20))
    values = _values(tmp_path, write, before, after, send_device_values=True, exclude_devices=("sdb",))
    assert values["io_readssda"] == 1
    assert values["io_reads"] == 1
    assert "io_readssdb" not in values


def test_a_replaced_disk_leaves_out_the_totals_once(tmp_path: Path, write: Write) -> None:
    before = _line("sda", *_counters(reads=500)) + _line("sdb", *_counters())
    values = _values(tmp_path, write, before, _line("sda", *_counters(reads=3)) + _line("sdb", *_counters(reads=10)))
    assert values == {}


def test_a_disk_that_appears_counts_from_its_second_reading_on(tmp_path: Path, write: Write) -> None:
    after = _line("sda", *_counters(reads=10)) + _line("sdb", *_counters(reads=99999))
    assert _values(tmp_path, write, _line("sda", *_counters()), after)["disk_read_iops"] == 1


def test_kernels_without_discards_and_flushes_are_understood(tmp_path: Path, write: Write) -> None:
    values = _values(tmp_path, write, _line("sda", *_counters()[:11]), _line("sda", *_counters(reads=10)[:11]))
    assert values["disk_read_iops"] == 1
    assert "io_discards" not in values


def test_a_node_without_disks_has_no_collector(tmp_path: Path, write: Write) -> None:
    write("proc/diskstats", _line("loop0", *_counters()))
    with pytest.raises(NotAvailableError, match=r"no disk among the block devices \(loop0\)") as caught:
        IostatCollector(IostatOptions(), tmp_path).open()
    assert "diskless" in caught.value.advice


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", {}),
        (b"8 0 sda 1 2 3\n", {}),
        (b"8 0 sda 1 2 3 4 5 6 7 8 9 10 x\n", {}),
        (b"8 0 sda 1 2 3 4 5 6 7 8 9 10 11", {"sda": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]}),
        (b"104 0 cciss/c0d0 1 2 3 4 5 6 7 8 9 10 11", {"cciss/c0d0": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]}),
    ],
)
def test_lines_of_another_form_are_skipped(text: bytes, expected: dict[str, list[int]]) -> None:
    assert parse_diskstats(text) == expected


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9/-]{0,14}", fullmatch=True),
        st.sampled_from([11, 15, 17]).flatmap(
            lambda size: st.lists(st.integers(0, 2**64 - 1), min_size=size, max_size=size)
        ),
    )
)
def test_what_is_written_is_read(devices: dict[str, list[int]]) -> None:
    text = "".join(_line(name, *counters) for name, counters in devices.items())
    assert parse_diskstats(text.encode()) == devices
