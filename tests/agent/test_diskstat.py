import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_agent.collectors.base import Tick
from cc_agent.collectors.diskstat import DiskstatCollector, DiskstatOptions, parse_mounts
from cc_agent.errors import NotAvailableError

Write = Callable[[str, str], None]
TICK = Tick(0, 0.0, 10.0)


def _answer(blocks: int, free: int, available: int) -> os.statvfs_result:
    return os.statvfs_result((4096, 4096, blocks, free, available, 0, 0, 0, 0, 255))


def _values(root: Path, sizes: dict[str, os.statvfs_result], **options: object) -> dict[str, float]:
    def statvfs(path: str) -> os.statvfs_result:
        if path not in sizes:
            raise PermissionError(path)
        return sizes[path]

    collector = DiskstatCollector(DiskstatOptions(**options), root, statvfs)  # type: ignore[arg-type]  # test options
    collector.open()
    readings = collector.read(TICK)
    collector.close()
    return {series.metric + series.tags.get("stype-id", ""): value for series, value in readings}


def test_sizes_are_bytes_and_the_fullest_counts(tmp_path: Path, write: Write) -> None:
    write("proc/self/mounts", "/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 /data xfs rw 0 0\n")
    values = _values(tmp_path, {"/": _answer(1000, 500, 400), "/data": _answer(1000, 900, 900)})
    assert values["disk_total"] == 2000 * 4096
    assert values["disk_free"] == 1300 * 4096
    assert values["part_max_used"] == pytest.approx(100 * 500 / 900)  # as df(1): without the reserve of root


def test_file_systems_that_cannot_be_asked_are_left_out(tmp_path: Path, write: Write) -> None:
    write("proc/self/mounts", "/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 /gone xfs rw 0 0\n")
    assert _values(tmp_path, {"/": _answer(10, 5, 5)})["disk_total"] == 40960
    assert _values(tmp_path, {}) == {}


def test_single_file_systems_are_sent_on_request(tmp_path: Path, write: Write) -> None:
    write("proc/self/mounts", "/dev/sda1 / ext4 rw 0 0\n")
    values = _values(tmp_path, {"/": _answer(10, 5, 5)}, send_device_values=True, include_metrics=("disk_free",))
    assert values == {"disk_free": 5 * 4096, "disk_free/": 5 * 4096}


def test_the_fill_level_agrees_with_the_real_root(tmp_path: Path, write: Write) -> None:
    write("proc/self/mounts", "/dev/root / ext4 rw 0 0\n")
    collector = DiskstatCollector(DiskstatOptions(), tmp_path)
    values = {series.metric: value for series, value in collector.read(TICK)}
    collector.close()
    real = os.statvfs("/")
    assert values["disk_total"] == real.f_blocks * real.f_frsize
    assert 0 <= values["part_max_used"] <= 100


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", []),
        (b"tmpfs /tmp tmpfs rw 0 0\nproc /proc proc rw 0 0\n", []),
        (b"/dev/sda1 / ext4 rw 0 0\n/dev/sda1 /bind ext4 rw 0 0\n", ["/"]),
        (b"/dev/loop0 /snap squashfs ro 0 0\n", []),
        (b"/dev/sda1 /boot/efi vfat rw 0 0\n", []),
        (rb"/dev/sdb1 /my\040data\134x xfs rw 0 0", ["/my data\\x"]),
        (b"/dev/sda1\n/dev\n\n", []),
        (b"nfs:/export /home nfs rw 0 0\n/dev/mapper/vg-home /home2 xfs rw 0 0\n", ["/home2"]),
        (b"/dev/sdc /scratch/a xfs rw 0 0\n", []),
    ],
)
def test_local_mounts_are_found_once_each(text: bytes, expected: list[str]) -> None:
    assert parse_mounts(text, exclude=("scratch",)) == expected


@given(
    st.lists(st.from_regex(r"/[a-z \t\\]{1,10}", fullmatch=True), unique=True).filter(lambda m: "boot" not in str(m))
)
def test_what_is_written_is_read(mounts: list[str]) -> None:
    def escaped(mount: str) -> str:
        return "".join(f"\\{ord(char):03o}" if char in " \t\\" else char for char in mount)

    text = "".join(f"/dev/sd{number} {escaped(mount)} ext4 rw 0 0\n" for number, mount in enumerate(mounts))
    assert parse_mounts(text.encode()) == mounts


def test_a_diskless_node_has_nothing_to_report(tmp_path: Path, write: Write) -> None:
    write("proc/self/mounts", "tmpfs / tmpfs rw 0 0\nproc /proc proc rw 0 0\n")
    with pytest.raises(NotAvailableError, match="no local file system"):
        DiskstatCollector(DiskstatOptions(), tmp_path).open()


@pytest.mark.parametrize(
    ("device", "mount"),
    [
        ("/dev/sdb1", "/data/bootstrap"),
        ("/dev/sdb1", "/scratch/reboot-tests"),
        ("/dev/sdb1", "/bootx"),
        ("/dev/mapper/vg-loopback", "/scratch"),
        ("/dev/disk/by-label/loops", "/work"),
        ("/dev/ram0", "/fast"),
    ],
)
def test_boot_and_loop_within_a_name_leave_nothing_out(device: str, mount: str) -> None:
    assert parse_mounts(f"{device} {mount} xfs rw 0 0\n".encode()) == [mount]


@pytest.mark.parametrize(
    "line",
    [
        "/dev/loop3 /snap/core/1 ext4 rw",
        "/dev/loop12p1 /image ext4 rw",
        "/dev/sda1 /boot ext4 rw",
        "/dev/sda2 /boot/efi vfat rw",
        "bpool/BOOT/debian /boot zfs rw",
        "/dev/sr0 /mnt/config iso9660 ro,relatime",
        "/dev/vdb /config-2 iso9660 rw",
        "/dev/nvme1n1p2 /usr erofs ro",
        "/dev/ram0 /image squashfs rw",
        "/dev/sr1 /media/dvd udf rw",
        "/dev/mmcblk0p1 /rom cramfs rw",
        "/dev/sda3 /usr ext4 noatime,ro",
        "/dev/fuse /run/user/1000/doc fuse.portal rw",
        "/dev/fuse /run/user/1000/gvfs fuse rw",
        "/devices /odd ext4 rw",
    ],
)
def test_what_cannot_fill_up_is_left_out(line: str) -> None:
    assert parse_mounts(f"/dev/sdz / ext4 rw 0 0\n{line} 0 0\n".encode()) == ["/"]


def test_a_device_mounted_for_reading_first_counts_where_it_can_be_written() -> None:
    text = b"/dev/sdb1 /export ext4 ro 0 0\n/dev/sdb1 /data ext4 rw,errors=remount-ro 0 0\n"
    assert parse_mounts(text) == ["/data"]


_SEEN_BY_A_SERVICE = b"""\
24 30 0:22 / /proc rw,nosuid,nodev,noexec,relatime shared:14 - proc proc rw
30 1 254:0 / / ro,relatime shared:1 master:2 - ext4 /dev/vda rw,discard
31 30 8:17 / /home ro,nosuid - xfs /dev/mapper/vg-home rw,attr2
32 30 8:33 / /cold rw,relatime shared:9 - ext4 /dev/sdc1 ro
33 30 0:49 /@ /data rw - btrfs /dev/sdd1 rw,subvolid=256,subvol=/@
34 30 0:49 /@scratch /scratch\\040two rw - btrfs /dev/sde1 rw,subvolid=257,subvol=/@scratch
35 30 8:17 /ada /export/ada rw - xfs /dev/disk/by-label/home rw
36 30 0:51 / /none rw - tmpfs  rw
"""


def test_a_service_that_may_write_nothing_still_sees_what_can_fill_up() -> None:
    assert parse_mounts(_SEEN_BY_A_SERVICE) == ["/", "/home", "/data"]


def test_one_file_system_by_two_names_of_its_device_counts_once() -> None:
    assert "/export/ada" not in parse_mounts(_SEEN_BY_A_SERVICE)
    assert parse_mounts(_SEEN_BY_A_SERVICE, exclude=("/home",)) == ["/", "/data", "/export/ada"]


def test_read_only_is_decided_by_the_file_system_and_not_by_the_mount(tmp_path: Path, write: Write) -> None:
    write("proc/self/mounts", "/dev/vda / ext4 ro,relatime 0 0\n")
    write("proc/self/mountinfo", "30 1 254:0 / / ro,relatime - ext4 /dev/vda rw,discard\n")
    assert _values(tmp_path, {"/": _answer(100, 60, 60)})["part_max_used"] == 40


@pytest.mark.parametrize("above", ["beegfs_nodev /data beegfs rw", "srv:/x /data nfs4 rw", "tmpfs /data tmpfs rw"])
def test_what_another_mount_hides_is_not_taken_for_the_one_above(above: str) -> None:
    assert parse_mounts(f"/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 /data xfs rw 0 0\n{above} 0 0\n".encode()) == ["/"]


def test_an_automatic_mount_counts_once_it_is_there() -> None:
    assert parse_mounts(b"systemd-1 /data autofs rw 0 0\n/dev/sdb1 /data xfs rw 0 0\n") == ["/data"]


@pytest.mark.parametrize("kind", ["gpfs", "gfs2", "ocfs2"])
def test_a_file_system_that_a_cluster_shares_is_not_local(kind: str) -> None:
    assert parse_mounts(f"/dev/sda1 / ext4 rw 0 0\n/dev/fs1 /work {kind} rw 0 0\n".encode()) == ["/"]


def test_subvolumes_of_a_btrfs_count_once(tmp_path: Path, write: Write) -> None:
    write("proc/self/mounts", "/dev/sda2 / btrfs rw,subvol=/@ 0 0\n/dev/sda2 /home btrfs rw,subvol=/@home 0 0\n")
    assert _values(tmp_path, {"/": _answer(100, 40, 40), "/home": _answer(100, 40, 40)})["disk_total"] == 100 * 4096


def test_a_zfs_pool_counts_once_with_what_all_its_file_systems_use(tmp_path: Path, write: Write) -> None:
    write("proc/self/mounts", "tank / zfs rw 0 0\ntank/home /home zfs rw 0 0\nfast/tmp /tmp zfs rw 0 0\n")
    sizes = {"/": _answer(700, 600, 600), "/home": _answer(900, 600, 600), "/tmp": _answer(100, 90, 90)}
    values = _values(tmp_path, sizes, send_device_values=True)
    assert values["disk_total"] == (1000 + 100) * 4096
    assert values["disk_free"] == (600 + 90) * 4096
    assert values["part_max_used"] == pytest.approx(40)
    assert values["disk_total/"] == 1000 * 4096
    assert "disk_total/home" not in values


def test_a_full_quota_in_a_zfs_pool_is_seen(tmp_path: Path, write: Write) -> None:
    write("proc/self/mounts", "tank / zfs rw 0 0\ntank/home /home zfs rw 0 0\n")
    assert _values(tmp_path, {"/": _answer(1000, 990, 990), "/home": _answer(10, 0, 0)})["part_max_used"] == 100


def test_a_mount_that_blocks_affects_no_other(tmp_path: Path, write: Write) -> None:
    write("proc/self/mounts", "/dev/sda1 / ext4 rw 0 0\n/dev/sdb1 /dead xfs rw 0 0\n")
    release = threading.Event()

    def statvfs(path: str) -> os.statvfs_result:
        if path == "/dead":
            release.wait(10)
        return _answer(100, 60, 60)

    collector = DiskstatCollector(DiskstatOptions(statfs_timeout_s=0.02), tmp_path, statvfs)
    for _ in range(3):
        assert {series.metric: value for series, value in collector.read(TICK)}["part_max_used"] == 40
    release.set()
    collector.close()
