"""Files below /proc and /sys of a made machine; its counters move by the same amount at each step."""

import threading
from collections.abc import Callable, Mapping


def finish_thread(name: str) -> None:
    """Wait until the threads of this name have ended, which read in the background."""
    for thread in threading.enumerate():
        if thread.name == name:
            thread.join(30)


def system_files(step: int) -> Mapping[str, str]:
    """Content by path below the root."""
    files: dict[str, str] = {}
    for add in (_scheduler, _memory, _processors, _sensors, _fast_network, _network_files):
        files |= add(step)
    return files


def write_system_files(write: Callable[[str, str], None], step: int) -> None:
    """Write all of them."""
    for path, text in system_files(step).items():
        write(path, text)


def schedstat_text(busy_ns: Mapping[int, tuple[int, int]]) -> str:
    """/proc/schedstat with times in ns that tasks ran and waited, by hardware thread."""
    lines = ["version 15", "timestamp 4295158000"]
    for cpu, (ran, waited) in busy_ns.items():
        lines += [f"cpu{cpu} 0 0 900 400 500 300 {ran} {waited} 777", "domain0 00000003 1 2 3 4 5 6 7 8 9"]
    return "\n".join(lines) + "\n"


def _scheduler(step: int) -> Mapping[str, str]:
    second_ns = 10**9
    return {
        "proc/schedstat": schedstat_text(dict.fromkeys(range(4), (5 * second_ns * step, second_ns * step))),
        "proc/pressure/cpu": _pressure(step * 10**6, step * 10**5),
        "proc/pressure/memory": _pressure(step * 2 * 10**6, step * 10**5),
        "proc/pressure/io": _pressure(step * 3 * 10**6, step * 10**5),
    }


def _pressure(some_us: int, full_us: int) -> str:
    averages = "avg10=0.12 avg60=0.05 avg300=0.01"
    return f"some {averages} total={some_us}\nfull {averages} total={full_us}\n"


def _memory(step: int) -> Mapping[str, str]:
    keys = ("numa_hit", "numa_miss", "numa_foreign", "interleave_hit", "local_node", "other_node")
    numastat = "".join(f"{key} {1000 * step * (number + 1)}\n" for number, key in enumerate(keys))
    vmstat = {"nr_free_pages": 7, "pswpin": step, "pswpout": 2 * step, "pgfault": 100 * step, "pgmajfault": 10 * step}
    return {
        **{f"sys/devices/system/node/node{node}/numastat": numastat for node in range(2)},
        "proc/vmstat": "".join(f"{key} {value}\n" for key, value in vmstat.items()) + f"oom_kill {step}\n",
    }


def _processors(step: int) -> Mapping[str, str]:
    clocks = {f"sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_cur_freq": f"{2_000_000 + cpu}\n" for cpu in range(4)}
    entries = [f"processor\t: {cpu}\nmodel name\t: Example\ncpu MHz\t\t: {2000 + cpu}.5\n" for cpu in range(4)]
    entries[0] += "flags\t\t: fpu sse2 avx avx2\n"
    return {**clocks, "proc/cpuinfo": "\n".join(entries).replace("Example", "Example CPU @ 2.50GHz") + "\n"}


def _sensors(step: int) -> Mapping[str, str]:
    return {
        "sys/class/hwmon/hwmon0/name": "coretemp\n",
        "sys/class/hwmon/hwmon0/temp1_label": "Package id 0\n",
        "sys/class/hwmon/hwmon0/temp1_input": f"{40_000 + step}\n",
        "sys/class/hwmon/hwmon0/temp1_max": "90000\n",
        "sys/class/hwmon/hwmon0/temp1_crit": "100000\n",
        "sys/class/hwmon/hwmon0/temp2_label": "Core 0\n",
        "sys/class/hwmon/hwmon0/temp2_input": "39500\n",
        "sys/class/hwmon/hwmon1/name": "nvme\n",
        "sys/class/hwmon/hwmon1/temp1_label": "Composite\n",
        "sys/class/hwmon/hwmon1/temp1_input": "30000\n",
    }


def port_files(
    device: str, traffic: int, *, link_layer: str = "InfiniBand", state: str = "4: ACTIVE"
) -> Mapping[str, str]:
    """A port with as many words received, twice as many sent, and a tenth and a fifth of that as packets."""
    folder = f"sys/class/infiniband/{device}/ports/1"
    counters = {
        "port_rcv_data": traffic,
        "port_xmit_data": 2 * traffic,
        "port_rcv_packets": traffic // 10,
        "port_xmit_packets": traffic // 5,
        "port_xmit_wait": traffic,
        "symbol_error": 0,
    }
    return {
        **{f"{folder}/counters/{name}": f"{count}\n" for name, count in counters.items()},
        f"{folder}/hw_counters/out_of_sequence": f"{traffic}\n",
        f"{folder}/link_layer": f"{link_layer}\n",
        f"{folder}/state": f"{state}\n",
        f"{folder}/rate": "200 Gb/sec (4X HDR)\n",
        f"{folder}/lid": "0x0\n" if link_layer == "Ethernet" else "0x1c\n",
    }


def _fast_network(step: int) -> Mapping[str, str]:
    return {**port_files("mlx5_0", 1000 * step), **port_files("mlx5_1", 500 * step, link_layer="Ethernet")}


def mountstats_entry(path: str, step: int, *, server: str = "nas", export: str = "/home", version: str = "nfs4") -> str:
    """An NFS mount with 1000 B read and 2000 B written by programs at each step, half of that over the network."""
    return (
        f"device {server}:{export} mounted on {path} with fstype {version} statvers=1.1\n"
        f"\topts:\trw,vers=4.2\n\tage:\t{100 + step}\n\tevents:\t1 2 3\n"
        f"\tbytes:\t{1000 * step} {2000 * step} {10 * step} {20 * step} {500 * step} {1000 * step} {step} {2 * step} \n"
        "\tRPC iostats version: 1.1  p/v: 100003/4 (nfs)\n"
        "\txprt:\ttcp 935 1 1 0 0 32 32 0 0 0 2 0 0\n"
        "\tper-op statistics\n"
        "\t        NULL: 1 1 0 44 24 0 0 0 0\n"
        f"\t        READ: {10 * step} {11 * step} 0 1000 2000 5 {50 * step} {60 * step} 0\n"
        f"\t       WRITE: {20 * step} {20 * step} 0 1000 2000 5 {40 * step} {60 * step} 0\n"
        "\t   READ_PLUS: 0 0 0 0 0 0 0 0 0\n\n"
    )


def nfs_text(step: int) -> str:
    """/proc/net/rpc/nfs; each operation of version 3 is called as often as its number says, of version 4 twice."""
    three, four = range(22), range(69)
    return (
        "net 0 0 0 0\nrpc 100 0 100\n"
        f"proc3 {len(three)} {' '.join(str(step * number) for number in three)}\n"
        f"proc4 {len(four)} {' '.join(str(2 * step * number) for number in four)}\n"
    )


def llite_text(step: int) -> str:
    """Statistics of a Lustre mount."""
    return (
        "snapshot_time             1590070380.417838 secs.usecs\n"
        f"read_bytes                {10 * step} samples [bytes] 4096 1048576 {10_000 * step}\n"
        f"write_bytes               {20 * step} samples [bytes] 4096 1048576 {20_000 * step} 7777777\n"
        f"open                      {3 * step} samples [usecs] 1 2 3 4\n"
        f"close                     {3 * step} samples [usecs] 1 2 3 4\n"
        f"inode_permission          {40 * step} samples [regs]\n"
    )


def _network_files(step: int) -> Mapping[str, str]:
    return {
        "proc/self/statm": "1000 250 100 1 0 90 0\n",
        "proc/net/rpc/nfs": nfs_text(step),
        "proc/self/mountstats": "device proc mounted on /proc with fstype proc\n" + mountstats_entry("/home", step),
        "sys/kernel/debug/lustre/llite/scratch-ffff8b2c/stats": llite_text(step),
    }
