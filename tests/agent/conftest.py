"""A small machine made of files, to be read instead of the real one."""

import ctypes
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

if str(Path(__file__).parent) not in sys.path:
    sys.path.insert(0, str(Path(__file__).parent))

from kernel_files import write_system_files

Write = Callable[[str, str], None]


_NVML_SOURCE = Path(__file__).with_name("nvml") / "fake_nvml.c"


@pytest.fixture(scope="session")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A made libnvidia-ml.so.1, loaded before nvidia-ml-py looks for one: the loader then takes this one."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler to make a library of the driver with")
    pytest.importorskip("pynvml", reason="nvidia-ml-py is not installed")
    path = tmp_path_factory.mktemp("nvml") / "libnvidia-ml.so.1"
    options = ("-shared", "-fPIC", "-O1", "-Wl,-soname,libnvidia-ml.so.1")
    subprocess.run([compiler, *options, "-o", str(path), str(_NVML_SOURCE)], check=True)
    library = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    library.fake_get.restype = ctypes.c_longlong
    return library


class MadeNvml:
    """The driver of made GPUs: what its library answers, by name."""

    def __init__(self, library: Any) -> None:
        self._library = library
        self.started = library.fake_started
        self.samples = library.fake_samples

    def set(self, **values: int) -> None:
        """Set values by name, with `_` for a blank."""
        self.set_named({name.replace("_", " "): value for name, value in values.items()})

    def set_named(self, values: Mapping[str, int]) -> None:
        """Set values by name: `name` for all devices, `0.name` for the first GPU, `0/1.name` for an instance of it."""
        for name, value in values.items():
            self._library.fake_set(name.encode(), ctypes.c_longlong(value))

    def calls(self, function: str) -> int:
        """How often a function was called."""
        return int(self._library.fake_get(f"calls {function}".encode(), ctypes.c_longlong(0)))


@pytest.fixture
def add_amd_gpu(write: Write) -> Callable[..., None]:
    """Describes a GPU of AMD below /sys; its energy moves forward by the same amount at each step."""

    def add(card: int, address: str, *, step: int = 1) -> None:
        device = f"sys/class/drm/card{card}/device"
        files = {
            "vendor": "0x1002",
            "uevent": f"DRIVER=amdgpu\nPCI_CLASS=38000\nPCI_SLOT_NAME={address}",
            "unique_id": "7b3c",
            "gpu_busy_percent": "97",
            "mem_busy_percent": "31",
            "mem_info_vram_total": f"{64 << 30}",
            "mem_info_vram_used": f"{5 << 30}",
            "hwmon/hwmon4/power1_average": "200000000",
            "hwmon/hwmon4/energy1_input": f"{2_500_000_000 * step}",
        }
        sensors = {"temp1": ("edge", 45500), "temp2": ("junction", 55000), "temp3": ("mem", 65000)}
        sensors |= {"freq1": ("sclk", 1_700_000_000), "freq2": ("mclk", 1_600_000_000)}
        for name, (label, value) in sensors.items():
            files |= {f"hwmon/hwmon4/{name}_label": label, f"hwmon/hwmon4/{name}_input": f"{value}"}
        for file, text in files.items():
            write(f"{device}/{file}", f"{text}\n")

    return add


@pytest.fixture
def amd(tmp_path: Path, write: Write, add_amd_gpu: Callable[..., None]) -> Path:
    """The root of a machine with one GPU of AMD, used by a process of job 4711."""
    add_amd_gpu(1, "0000:c1:00.0")
    numbers = (45, 55, 65, 41, 42, 43, 97, 31, 5, 200, 0, 0, 1700, 1000, 1600, 900, 800, 901, 801)
    table = struct.pack("<HBB10HQQ7H", 120, 1, 3, *numbers).ljust(88, b"\0") + struct.pack("<4H", 61, 62, 63, 64)
    (tmp_path / "sys/class/drm/card1/device/gpu_metrics").write_bytes(table.ljust(120, b"\0"))
    write("sys/class/kfd/kfd/proc/4242/vram_51234", f"{3 << 30}\n")
    write("proc/4242/cgroup", "0::/system.slice/slurmstepd.scope/job_4711/step_0/user/task_0\n")
    return tmp_path


@pytest.fixture
def nvml(nvml_library: Any, write: Callable[[str, str], None]) -> Iterator[MadeNvml]:
    """A machine with one made GPU that answers everything, used by a process of job 4711."""
    nvml_library.fake_reset()
    made = MadeNvml(nvml_library)
    made.set_named({f"field {number}": 1000 for number in (94, 138, 139, 186, 197, 198)})
    made.set_named({"gpm": 1, "compute count": 1, "compute pid 0": 4242, "compute memory 0": 3 << 30})
    write("proc/driver/nvidia/version", "NVRM version: made\n")
    write("proc/4242/cgroup", "0::/system.slice/slurmstepd.scope/job_4711/step_0/user/task_0\n")
    yield made
    nvml_library.fake_reset()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a text to a path below the fake root."""

    def write_file(path: str, text: str) -> None:
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")

    return write_file


@pytest.fixture
def add_cpu(write: Write) -> Callable[..., None]:
    """Describes a hardware thread below /sys."""

    def add(cpu: int, *, socket: int, core_id: int, siblings: str = "", die: int = 0) -> None:
        folder = f"sys/devices/system/cpu/cpu{cpu}/topology"
        write(f"{folder}/physical_package_id", f"{socket}\n")
        write(f"{folder}/die_id", f"{die}\n")
        write(f"{folder}/core_id", f"{core_id}\n")
        if siblings:
            write(f"{folder}/core_cpus_list", f"{siblings}\n")

    return add


MEMINFO = """\
MemTotal:       16000000 kB
MemFree:         4000000 kB
MemAvailable:   10000000 kB
Buffers:          500000 kB
Cached:          5000000 kB
SwapCached:            0 kB
Active:          6000000 kB
Inactive:        3000000 kB
Active(anon):    1000000 kB
Mlocked:              10 kB
SwapTotal:       2000000 kB
SwapFree:        1500000 kB
Dirty:               100 kB
Writeback:             0 kB
AnonPages:       1200000 kB
Mapped:           300000 kB
Shmem:           1000000 kB
Slab:             700000 kB
SReclaimable:     400000 kB
KernelStack:       10000 kB
PageTables:        20000 kB
VmallocTotal:   34359738367 kB
AnonHugePages:    200000 kB
ShmemHugePages:        0 kB
ShmemPmdMapped:        0 kB
HugePages_Total:      32
HugePages_Free:       30
HugePages_Rsvd:        1
HugePages_Surp:        2
Hugepagesize:       2048 kB
DirectMap4k:      400000 kB
DirectMap2M:     8000000 kB
DirectMap4M:           0 kB
DirectMap1G:     9000000 kB
"""

NODE_MEMINFO = """\
Node {0} MemTotal:        8000000 kB
Node {0} MemFree:         2000000 kB
Node {0} MemUsed:         6000000 kB
Node {0} Active:          3000000 kB
Node {0} Inactive:        1500000 kB
Node {0} Mlocked:              10 kB
Node {0} Dirty:                50 kB
Node {0} Writeback:             0 kB
Node {0} FilePages:       2500000 kB
Node {0} Mapped:           150000 kB
Node {0} AnonPages:        600000 kB
Node {0} Shmem:            500000 kB
Node {0} KernelStack:        5000 kB
Node {0} PageTables:        10000 kB
Node {0} SReclaimable:     200000 kB
Node {0} Slab:             350000 kB
Node {0} AnonHugePages:    100000 kB
Node {0} ShmemHugePages:        0 kB
Node {0} ShmemPmdMapped:        0 kB
Node {0} HugePages_Total:    16
Node {0} HugePages_Free:     15
Node {0} HugePages_Surp:      1
"""

NET_DEV = """\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed
    lo:  999999 999 0 0 0 0 0 0   999999 999 0 0 0 0 0 0
  eth0:{0:>8} {1:>7} 0 0 0 0 0 0 {2:>8} {3:>7} 0 0 0 0 0 0
   ib0:    5000 50 0 0 0 0 0 0 6000 60 0 0 0 0 0 0
"""

DISKSTATS = """\
   7       0 loop0 9 9 9 9 0 0 0 0 0 9 9 0 0 0 0 0 0
   8       0 sda {0} 10 {1} 50 {2} 20 {3} 70 3 {4} 120 5 0 40 1 2 1
   8       1 sda1 {0} 10 {1} 50 {2} 20 {3} 70 3 {4} 120 5 0 40 1 2 1
 253       0 dm-0 {0} 10 {1} 50 {2} 20 {3} 70 3 {4} 120 5 0 40 1 2 1
"""


JOB_FOLDER = "sys/fs/cgroup/system.slice/slurmstepd.scope/job_4711"


def job_cgroup(step: int) -> dict[str, str]:
    """The files of a job's control group; counters move forward by the same amount at each step."""
    pressure = f"some avg10=0.00 avg60=0.00 avg300=0.00 total={100_000 * step}\nfull avg10=0.00 total=1\n"
    return {
        "memory.stat": "anon 3000000\nfile 9000000\nshmem 1000000\nkernel 50\n",
        "memory.current": "13000000\n",
        "memory.peak": "14000000\n",
        "memory.max": "20000000\n",
        "memory.events": "low 0\nhigh 0\nmax 3\noom 1\noom_kill 1\n",
        "cpu.stat": f"usage_usec {8_000_000 * step}\nuser_usec {7_000_000 * step}\nsystem_usec {1_000_000 * step}\n"
        f"nr_periods 0\nnr_throttled 0\nthrottled_usec {500_000 * step}\n",
        "io.stat": f"8:0 rbytes={4096 * step} wbytes={8192 * step} rios={step} wios={2 * step} dbytes=0 dios=0\n",
        **{f"{name}.pressure": pressure for name in ("cpu", "memory", "io")},
        "cpuset.cpus.effective": "1,3\n",
        "cgroup.procs": "",
        "step_0/user/task_0/cgroup.procs": "4242\n",
    }


def stat_text(cpus: dict[int, list[int]]) -> str:
    """/proc/stat with these counters."""
    total = [sum(ticks[column] for ticks in cpus.values()) for column in range(10)]
    lines = ["cpu  " + " ".join(map(str, total))]
    lines += [f"cpu{number} " + " ".join(map(str, ticks)) for number, ticks in cpus.items()]
    return "\n".join([*lines, "intr 1 2 3", "ctxt 5", ""])


@pytest.fixture
def busy(write: Write) -> Callable[[int], None]:
    """Moves all counters of the machine forward to a step; the same amount at each step."""

    def advance(step: int) -> None:
        write("proc/stat", stat_text({cpu: [100 * step] + [50 * step] * 9 for cpu in range(4)}))
        write("proc/net/dev", NET_DEV.format(1000 * step, 10 * step, 2000 * step, 20 * step))
        for file, text in job_cgroup(step).items():
            write(f"{JOB_FOLDER}/{file}", text)
        write("proc/diskstats", DISKSTATS.format(10 * step, 2048 * step, 20 * step, 4096 * step, 100 * step))
        write_system_files(write, step)

    return advance


@pytest.fixture
def machine(tmp_path: Path, write: Write, add_cpu: Callable[..., None], busy: Callable[[int], None]) -> Path:
    """The root of a machine with one socket, two cores of two threads, two NUMA domains, a disk and two links."""
    write("proc/loadavg", "0.50 0.25 0.12 3/412 12345\n")
    write("proc/meminfo", MEMINFO)
    write("proc/self/mounts", "/dev/sda1 / ext4 rw 0 0\nproc /proc proc rw 0 0\n")
    write("proc/cpuinfo", "processor\t: 0\nmodel name\t: Example CPU @ 2.50GHz\nflags\t\t: fpu sse2 avx avx2\n")
    write("sys/devices/system/cpu/online", "0-3\n")
    for cpu in range(4):
        add_cpu(cpu, socket=0, core_id=cpu % 2, siblings=f"{cpu % 2},{cpu % 2 + 2}")
    for node in range(2):
        write(f"sys/devices/system/node/node{node}/cpulist", f"{node},{node + 2}\n")
        write(f"sys/devices/system/node/node{node}/meminfo", NODE_MEMINFO.format(node))
    write("proc/4242/environ", "HOME=/\0CUDA_VISIBLE_DEVICES=0,1\0")
    write("sys/block/sda/size", "1\n")
    write("sys/block/dm-0/size", "1\n")
    write("sys/block/loop0/size", "1\n")
    write("sys/class/net/lo/type", "772\n")
    for device, kind in (("eth0", "1"), ("ib0", "32")):
        write(f"sys/class/net/{device}/type", f"{kind}\n")
        write(f"sys/class/net/{device}/device/vendor", "0x1\n")
        write(f"sys/class/net/{device}/speed", "10000\n")
    busy(1)
    return tmp_path
