"""Files below /proc and /sys of a made machine; its counters move by the same amount at each step."""

from collections.abc import Callable, Mapping


def system_files(step: int) -> Mapping[str, str]:
    """Content by path below the root."""
    files: dict[str, str] = {}
    for add in (_scheduler, _memory):
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
