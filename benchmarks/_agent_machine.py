"""A made node with 2 sockets, 128 hardware threads, 4 GPUs, InfiniBand, file servers and 4 jobs, as files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

HWTHREADS = 128
CORES = HWTHREADS // 2
GPUS = 4
JOBS = 4
MEMORY_DOMAINS = 8
MEMORY_CHANNELS = 8
DISKS = ("nvme0n1", "nvme1n1", "sda")
LINKS = ("eth0", "eth1", "ib0", "ib1")
IB_PORTS = ("mlx5_0", "mlx5_1")
JOB_FOLDER = "sys/fs/cgroup/system.slice/slurmstepd.scope/job_{}"


def make_machine(root: Path) -> None:
    """Write everything that does not change, and the counters of step 1."""
    _write(root, _fixed_files())
    advance(root, 1)


def advance(root: Path, step: int) -> None:
    """Move all counters forward, by the same amount at each step."""
    for files in (_processors(step), _devices(step), _jobs(step), _file_servers(step)):
        _write(root, files)


def _write(root: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")


def _fixed_files() -> dict[str, str]:
    files = {
        "proc/loadavg": "96.00 90.00 80.00 130/2999 4711\n",
        "proc/meminfo": Path("/proc/meminfo").read_text(encoding="ascii"),
        "proc/cpuinfo": "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 106\n"
        "model name\t: Example CPU @ 2.50GHz\nflags\t\t: fpu sse2 avx avx2\n",
        "proc/filesystems": "nodev\tproc\n\text4\nnodev\tnfs4\n",
        "proc/self/mounts": "/dev/sda1 / ext4 rw 0 0\n/dev/nvme0n1 /scratch xfs rw 0 0\nproc /proc proc rw 0 0\n",
        "proc/driver/nvidia/version": "NVRM version: made\n",
        "sys/devices/system/cpu/online": f"0-{HWTHREADS - 1}\n",
        "sys/devices/system/node/online": f"0-{MEMORY_DOMAINS - 1}\n",
        "etc/slurm/slurm.conf": "",
    }
    for cpu in range(HWTHREADS):
        core = cpu % CORES
        topology = f"sys/devices/system/cpu/cpu{cpu}/topology"
        files |= {
            f"{topology}/physical_package_id": f"{2 * core // CORES}\n",
            f"{topology}/die_id": "0\n",
            f"{topology}/core_id": f"{core}\n",
            f"{topology}/core_cpus_list": f"{core},{core + CORES}\n",
        }
    size = CORES // MEMORY_DOMAINS
    for domain in range(MEMORY_DOMAINS):
        first = domain * size
        cpus = f"{first}-{first + size - 1},{first + CORES}-{first + CORES + size - 1}\n"
        files[f"sys/devices/system/node/node{domain}/cpulist"] = cpus
    for disk in DISKS:
        files[f"sys/block/{disk}/size"] = "1\n"
    for link in LINKS:
        files[f"sys/class/net/{link}/type"] = "32\n" if link.startswith("ib") else "1\n"
        files[f"sys/class/net/{link}/device/vendor"] = "0x1\n"
        files[f"sys/class/net/{link}/speed"] = "25000\n"
    for device in IB_PORTS:
        port = f"sys/class/infiniband/{device}/ports/1"
        files |= {f"{port}/link_layer": "InfiniBand\n", f"{port}/state": "4: ACTIVE\n", f"{port}/lid": "0x1c\n"}
    for chip in range(2):
        folder = f"sys/class/hwmon/hwmon{chip}"
        files[f"{folder}/name"] = "coretemp\n"
        for sensor in range(1, CORES // 2 + 2):
            label = f"Package id {chip}" if sensor == 1 else f"Core {sensor - 2}"
            files |= {f"{folder}/temp{sensor}_label": f"{label}\n", f"{folder}/temp{sensor}_input": "55000\n"}
    return files | _counters()


def _counters() -> dict[str, str]:
    """Those of Ice Lake-SP: of the cores, the memory controllers of both sockets, and energy."""
    files: dict[str, str] = {}
    units = {f"uncore_imc_{channel}": 20 + channel for channel in range(MEMORY_CHANNELS)}
    for name, number in {"cpu": 4, "power": 30, **units}.items():
        folder = f"sys/bus/event_source/devices/{name}"
        files |= {f"{folder}/type": f"{number}\n", f"{folder}/format/event": "config:0-7\n"}
        files[f"{folder}/format/umask"] = "config:8-15\n"
        if name != "cpu":
            files[f"{folder}/cpumask"] = f"0,{CORES // 2}\n"
        if name == "power":
            files |= {f"{folder}/events/energy-pkg": "event=2\n", f"{folder}/events/energy-ram": "event=3\n"}
    return files


def _processors(step: int) -> dict[str, str]:
    ticks = " ".join(str(number * step) for number in (901, 3, 77, 15, 2, 1, 1, 0, 0, 0))
    interrupts = "intr " + "1234 " * 2000
    lines = ["cpu  " + ticks, *(f"cpu{cpu} {ticks}" for cpu in range(HWTHREADS)), interrupts, f"ctxt {step * 1000}", ""]
    names = [f"nr_made_{number}" for number in range(160)]
    events = dict.fromkeys((*names, "pswpin", "pswpout", "pgfault", "pgmajfault", "oom_kill"), step)
    pressure = f"some avg10=0.00 avg60=0.00 avg300=0.00 total={step}\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=1\n"
    return {
        "proc/stat": "\n".join(lines),
        "proc/vmstat": "".join(f"{name} {count}\n" for name, count in events.items()),
        **{f"proc/pressure/{name}": pressure for name in ("cpu", "memory", "io")},
    }


def _devices(step: int) -> dict[str, str]:
    net = "".join(
        f"  {link}: {1000003 * step} {1009 * step} 0 0 0 0 0 0 {2000003 * step} {2009 * step} 0 0 0 0 0 0\n"
        for link in LINKS
    )
    counters = " ".join(str(step * number) for number in range(17))
    files = {
        "proc/net/dev": "Inter-| Receive\n face |bytes\n" + net,
        "proc/diskstats": "".join(f" 259 {number} {disk} {counters}\n" for number, disk in enumerate(DISKS)),
    }
    for device in IB_PORTS:
        for name in ("port_rcv_data", "port_xmit_data", "port_rcv_packets", "port_xmit_packets"):
            files[f"sys/class/infiniband/{device}/ports/1/counters/{name}"] = f"{step * 12345}\n"
    return files


def _jobs(step: int) -> dict[str, str]:
    files: dict[str, str] = {}
    memory = "".join(
        f"{name} {1_000_000 + number}\n" for number, name in enumerate(("anon", "file", "kernel", "shmem"))
    )
    memory += "".join(f"made_{number} 12345678\n" for number in range(40))
    share = HWTHREADS // JOBS
    for job in range(JOBS):
        folder = JOB_FOLDER.format(4711 + job)
        files |= {
            f"{folder}/memory.stat": memory,
            f"{folder}/memory.current": "13000000\n",
            f"{folder}/memory.max": "20000000\n",
            f"{folder}/memory.events": "low 0\nhigh 0\nmax 3\noom 0\noom_kill 0\n",
            f"{folder}/cpu.stat": f"usage_usec {9_000_000 * step}\nuser_usec {8_000_000 * step}\n"
            f"system_usec {1_000_000 * step}\nnr_periods 0\nnr_throttled 0\nthrottled_usec 0\n",
            f"{folder}/cpuset.cpus.effective": f"{job * share}-{(job + 1) * share - 1}\n",
            f"{folder}/cgroup.procs": "",
            f"{folder}/step_0/user/task_0/cgroup.procs": f"{4242 + job}\n",
            f"proc/{4242 + job}/cgroup": f"0::/system.slice/slurmstepd.scope/job_{4711 + job}/step_0/user/task_0\n",
            f"proc/{4242 + job}/environ": f"HOME=/\0CUDA_VISIBLE_DEVICES={job}\0",
        }
    return files


def _file_servers(step: int) -> dict[str, str]:
    operations = "".join(f"\t{name}: {step} {step} 0 1000 2000 5 {step} {step} 0\n" for name in _NFS_OPERATIONS)
    mounts = "".join(
        f"device nas:/{path} mounted on /{path} with fstype nfs4 statvers=1.1\n\topts:\trw,vers=4.2\n"
        f"\tbytes:\t{1000 * step} {2000 * step} 0 0 {500 * step} {1000 * step} 1 2 \n"
        f"\tper-op statistics\n{operations}\n"
        for path in ("home", "apps", "project")
    )
    lustre = (
        f"snapshot_time             {step}.417838 secs.usecs\n"
        f"read_bytes                {10 * step} samples [bytes] 4096 1048576 {10_000 * step}\n"
        f"write_bytes               {20 * step} samples [bytes] 4096 1048576 {20_000 * step} 7777777\n"
        f"open                      {3 * step} samples [usecs] 1 2 3 4\n"
        f"close                     {3 * step} samples [usecs] 1 2 3 4\n"
    )
    return {
        "proc/self/mountstats": "device proc mounted on /proc with fstype proc\n" + mounts,
        "sys/kernel/debug/lustre/llite/scratch-ffff8b2c/stats": lustre,
    }


_NFS_OPERATIONS = ("NULL", "READ", "WRITE", *(f"MADE{number}" for number in range(60)))
