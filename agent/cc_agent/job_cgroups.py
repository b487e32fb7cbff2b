"""The control groups of Slurm's jobs on this node: where they are, and what the kernel counted for them.

cgroup v2: `system.slice/slurmstepd.scope/job_<id>`, or `<node>_slurmstepd.scope` of each of several slurmd on a host.
cgroup v1: `<controller>/slurm/uid_<uid>/job_<id>`, or `slurm_<node>`. From Slurm 26.05 on the folder of a job has its
SLUID as name instead of its id.

Files are opened for each reading: a node may have hundreds of jobs with ten files each, more than a process may keep
open.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Dict, FrozenSet, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Tuple

from cc_agent.errors import CpuTopologyError
from cc_agent.topology import parse_cpu_list

CGROUP_FOLDER = "sys/fs/cgroup"
DEFAULT_SCOPE = "/sys/fs/cgroup/system.slice/slurmstepd.scope"

MAX_JOBS = 4096
"""Maximum jobs of a node that are followed."""

_MAX_FOLDERS = 4096
_MAX_FILE_BYTES = 1 << 18
_US_PER_CLOCK_TICK = 10_000
"""Times in cpuacct.stat are in USER_HZ, which is 100 on all machines that Slurm runs on."""
_NS_PER_US = 1000
_V1_UNLIMITED = 1 << 62
_V1_CONTROLLERS = ("memory", "cpuacct", "cpuset", "cpu", "blkio")
_IO_KEYS = ("rbytes", "wbytes", "rios", "wios")

_JOB_FOLDER = re.compile(r"job_([0-9]{1,10})")
_SLUID = r"s[0-9A-HJKMNP-TV-Za-hjkmnp-tv-z]{13}"
"""The letter s and 13 characters of Crockford's base 32."""
_SLUID_FOLDER = re.compile(_SLUID)
_PATH_OF_JOB = re.compile(
    rb"(?:^|\n)[0-9]+:[^:\n]*:(/(?:system\.slice/[^/\n]*slurmstepd\.scope|slurm[^/\n]*/uid_[0-9]+)/"
    rb"(?:job_([0-9]{1,10})|" + _SLUID.encode() + rb"))(?=[/\n]|$)"
)
"""A line of /proc/PID/cgroup; below a scope of Slurm only, since users may name groups of their own as they like."""
_STEP_TITLE = re.compile(rb"slurmstepd: \[([0-9]{1,10})[.\]]")
"""What slurmstepd shows as its command line: `slurmstepd: [<job>.<step>]`."""
_GPU_VARIABLE = re.compile(
    rb"(?:^|\0)(?:SLURM_JOB_GPUS|SLURM_STEP_GPUS|CUDA_VISIBLE_DEVICES|ROCR_VISIBLE_DEVICES)=([^\0]*)"
)
_NO_GPU = (b"", b"-1", b"NoDevFiles")

Folders = Mapping[str, Path]
"""The folders of one group by controller; of cgroup v2 there is one, under the name ''."""


class JobUsage(NamedTuple):
    """What the kernel counted for a job: amounts now, counters since its start, and its hardware threads."""

    amounts: Dict[str, float]
    counters: Dict[str, float]
    hwthreads: Tuple[int, ...]


def add_usages(usages: Sequence[JobUsage]) -> JobUsage:
    """The sum of what several groups of one job used."""
    amounts: Dict[str, float] = {}
    counters: Dict[str, float] = {}
    for usage in usages:
        for sums, values in ((amounts, usage.amounts), (counters, usage.counters)):
            for name, value in values.items():
                sums[name] = sums.get(name, 0) + value
    return JobUsage(amounts, counters, tuple(sorted({cpu for usage in usages for cpu in usage.hwthreads})))


class CgroupTree:
    """The groups of all jobs of the node; `base` is one scope of cgroup v2 instead of all that are found."""

    def __init__(self, root: Path, base: str = "") -> None:
        self._root = root
        self._groups = root / CGROUP_FOLDER
        self._base = None if base in ("", DEFAULT_SCOPE) else root / base.lstrip("/")
        self._job_of_sluid: Dict[Path, str] = {}

    def scopes(self) -> List[Path]:
        """The folders that have those of jobs: of cgroup v2, else of each controller of v1."""
        if self._base is not None:
            return [self._base] if self._base.is_dir() else []
        found = sorted((self._groups / "system.slice").glob("*slurmstepd.scope"))
        return found or [
            path
            for name in _V1_CONTROLLERS
            for path in sorted((self._groups / name).glob("slurm*"))
            if path.name == "slurm" or path.name.startswith("slurm_")
        ]

    def jobs(self) -> Dict[str, List[Folders]]:
        """Job id -> its groups: one, or one for each slurmd of this host that runs a part of the job.

        A job whose folder is named by a SLUID is left out until its slurmstepd tells its id.
        """
        jobs: Dict[str, List[Folders]] = {}
        job_of_sluid: Dict[Path, str] = {}
        of_v1: Dict[Tuple[str, ...], Dict[str, Path]] = {}
        for scope in self.scopes():
            is_v1 = self._base is None and scope.parent.name in _V1_CONTROLLERS
            users = [entry for entry in _folders(scope) if entry.name.startswith("uid_")] if is_v1 else [scope]
            for folder in (entry for user in users for entry in _folders(user)):
                job = self._job_id(folder, job_of_sluid)
                if not job or (job not in jobs and len(jobs) >= MAX_JOBS):
                    continue
                if not is_v1:
                    jobs.setdefault(job, []).append({"": folder})
                    continue
                key = (scope.name, folder.parent.name, folder.name)
                if key not in of_v1:
                    of_v1[key] = {}
                    jobs.setdefault(job, []).append(of_v1[key])
                of_v1[key][scope.parent.name] = folder
        self._job_of_sluid = job_of_sluid
        return jobs

    def _job_id(self, folder: Path, job_of_sluid: Dict[Path, str]) -> str:
        number = _JOB_FOLDER.fullmatch(folder.name)
        if number:
            return number.group(1)
        if not _SLUID_FOLDER.fullmatch(folder.name):
            return ""
        job = self._job_of_sluid.get(folder) or job_id_of_sluid(folder, self._root)
        if job:
            job_of_sluid[folder] = job
        return job


class UsageReader:
    """Reads what groups used; `wanted` names what to read, so that a metric nobody wants costs nothing.

    It knows `memory`, `current`, `peak`, `limit`, `oom`, `cpu`, `io`, `pressure` and `processes`.
    """

    def __init__(self, root: Path, wanted: FrozenSet[str]) -> None:
        self._devices = root / "sys/dev/block"
        self._wanted = wanted
        self._lower: Dict[str, FrozenSet[str]] = {}

    def read(self, folders: Folders) -> JobUsage:
        """What a group used until now. Raises OSError if it is gone, ValueError for a file that cannot be read."""
        usage = self._read_v2(folders[""]) if "" in folders else self._read_v1(folders)
        if not usage.counters and not any(folder.is_dir() for folder in folders.values()):
            raise FileNotFoundError(f"{next(iter(folders.values()))} is gone")
        return usage

    def _read_v2(self, folder: Path) -> JobUsage:
        counters: Dict[str, float] = {}
        amounts = self._read_v2_amounts(folder)
        if "oom" in self._wanted:
            _put(counters, "oom_kills", value_after(_read(folder / "memory.events"), b"oom_kill"))
        if "cpu" in self._wanted:
            content = _read(folder / "cpu.stat")
            for name in ("user", "system", "throttled"):
                _put(counters, f"{name}_us", value_after(content, f"{name}_usec".encode()))
        if "io" in self._wanted:
            counters.update(self._sum_devices(parse_io_stat(_read(folder / "io.stat"))))
        if "pressure" in self._wanted:
            for name in ("cpu", "memory", "io"):
                _put(counters, f"{name}_waiting_us", parse_pressure_us(_read(folder / f"{name}.pressure")))
        return JobUsage(amounts, counters, _cpu_list(_read(folder / "cpuset.cpus.effective")))

    def _read_v2_amounts(self, folder: Path) -> Dict[str, float]:
        amounts: Dict[str, float] = {}
        if "memory" in self._wanted:
            content = _read(folder / "memory.stat")
            _put_memory(amounts, value_after(content, b"anon"), value_after(content, b"shmem"))
        for name, file in (("current", "memory.current"), ("peak", "memory.peak"), ("limit", "memory.max")):
            if name in self._wanted:
                _put(amounts, name, _number(_read(folder / file)))
        if "processes" in self._wanted:
            amounts["processes"] = sum(1 for _ in processes_below(folder))
        return amounts

    def _read_v1(self, folders: Folders) -> JobUsage:
        amounts: Dict[str, float] = {}
        counters: Dict[str, float] = {}

        def content_of(controller: str, file: str) -> bytes:
            return _read(folders[controller] / file) if controller in folders else b""

        if "memory" in self._wanted:
            content = content_of("memory", "memory.stat")
            _put_memory(amounts, value_after(content, b"total_rss"), value_after(content, b"total_shmem"))
        for name, file in (
            ("current", "memory.usage_in_bytes"),
            ("peak", "memory.max_usage_in_bytes"),
            ("limit", "memory.limit_in_bytes"),
        ):
            number = _number(content_of("memory", file)) if name in self._wanted else None
            _put(amounts, name, None if number is not None and number >= _V1_UNLIMITED else number)
        if "oom" in self._wanted:
            _put(counters, "oom_kills", value_after(content_of("memory", "memory.oom_control"), b"oom_kill"))
        if "cpu" in self._wanted:
            content = content_of("cpuacct", "cpuacct.stat")
            for name in ("user", "system"):
                _put(counters, f"{name}_us", value_after(content, name.encode()), _US_PER_CLOCK_TICK)
            throttled_ns = value_after(content_of("cpu", "cpu.stat"), b"throttled_time")
            _put(counters, "throttled_us", throttled_ns, 1 / _NS_PER_US)
        if "io" in self._wanted:
            for file, keys in (("io_service_bytes", _IO_KEYS[:2]), ("io_serviced", _IO_KEYS[2:])):
                devices = parse_blkio(content_of("blkio", f"blkio.throttle.{file}"), keys)
                counters.update(self._sum_devices(devices))
        if "processes" in self._wanted:
            amounts["processes"] = len({pid for folder in folders.values() for pid in processes_below(folder)})
        cpus = content_of("cpuset", "cpuset.effective_cpus").strip() or content_of("cpuset", "cpuset.cpus")
        return JobUsage(amounts, counters, _cpu_list(cpus))

    def _sum_devices(self, devices: Mapping[str, Mapping[str, int]]) -> Dict[str, int]:
        """The sums over devices, without those stacked on others that are counted, such as LVM on a disk."""
        own = [counts for device, counts in devices.items() if self._lower_devices(device).isdisjoint(devices)]
        return {key: sum(counts[key] for counts in own) for key in own[0]} if own else {}

    def _lower_devices(self, device: str) -> FrozenSet[str]:
        lower = self._lower.get(device)
        if lower is None:
            slaves = (self._devices / device / "slaves").glob("*/dev")
            lower = self._lower[device] = frozenset(_read(file).decode("ascii", "replace").strip() for file in slaves)
        return lower


def value_after(content: bytes, key: bytes) -> Optional[int]:
    """The number behind a key at the begin of a line; None if there is no such line or no number."""
    _, found, rest = (b"\n" + content).partition(b"\n" + key + b" ")
    return _number(rest.split(b"\n", 1)[0]) if found else None


def parse_io_stat(content: bytes) -> Dict[str, Dict[str, int]]:
    """Device (major:minor) -> rbytes, wbytes, rios, wios from io.stat; lines without all of them are left out."""
    devices: Dict[str, Dict[str, int]] = {}
    for line in content.splitlines():
        words = line.split()
        found = {key: _number(text) for key, is_pair, text in (word.partition(b"=") for word in words[1:]) if is_pair}
        counts = {key: found.get(key.encode()) for key in _IO_KEYS}
        known = {key: count for key, count in counts.items() if count is not None}
        if len(known) == len(_IO_KEYS):
            devices[words[0].decode("ascii", "replace")] = known
    return devices


def parse_blkio(content: bytes, keys: Sequence[str]) -> Dict[str, Dict[str, int]]:
    """Device -> reads and writes, under the two keys, from blkio.throttle.io_service_bytes or io_serviced."""
    devices: Dict[str, Dict[str, int]] = {}
    for line in content.splitlines():
        device, operation, number = [*line.split(), b"", b"", b""][:3]
        count = _number(number)
        if count is not None and operation in (b"Read", b"Write"):
            counts = devices.setdefault(device.decode("ascii", "replace"), dict.fromkeys(keys, 0))
            counts[keys[operation == b"Write"]] = count
    return devices


def parse_pressure_us(content: bytes) -> Optional[int]:
    """Microseconds in which some task waited, from a pressure file; None if it has no such number."""
    line = content.split(b"\n", 1)[0]
    return _number(line.rpartition(b" total=")[2]) if line.startswith(b"some ") else None


def processes_below(folder: Path) -> Iterator[int]:
    """The processes of a group and of those below it, at most of 4096 groups."""
    waiting, count = [folder], 0
    while waiting and count < _MAX_FOLDERS:
        current = waiting.pop()
        count += 1
        waiting += _folders(current)
        yield from (int(line) for line in _read(current / "cgroup.procs").split() if line.isdigit())


def job_id_of_sluid(folder: Path, root: Path) -> str:
    """The id of the job whose folder is named by a SLUID, from the command line of its slurmstepd; else empty.

    Only a process of the owner of the folder is believed: those of the user may show any command line.
    """
    for pid in processes_below(folder):
        process = root / f"proc/{pid}"
        title = _STEP_TITLE.match(_read(process / "cmdline"))
        if title and _owner(process) == _owner(folder) is not None:
            return title.group(1).decode()
    return ""


def job_id_of_process(pid: int, root: Path = Path("/")) -> str:
    """The id of the job that a process belongs to; empty if it belongs to none or has ended."""
    found = _PATH_OF_JOB.search(_read(root / f"proc/{pid}/cgroup"))
    if found is None:
        return ""
    if found.group(2):
        return found.group(2).decode()
    path = found.group(1).decode("utf-8", "replace").lstrip("/")
    return job_id_of_sluid(root / CGROUP_FOLDER / path, root)


def count_job_gpus(folder: Path, root: Path) -> Optional[int]:
    """The number of GPUs that the environment of a job's processes names; None if none of them can be read."""
    is_readable = False
    for pid in processes_below(folder):
        environment = _read(root / f"proc/{pid}/environ")
        is_readable = is_readable or bool(environment)
        found = _GPU_VARIABLE.search(environment)
        if found:
            return sum(1 for name in found.group(1).split(b",") if name.strip() not in _NO_GPU)
    return 0 if is_readable else None


def _put_memory(amounts: Dict[str, float], anonymous: Optional[int], shared: Optional[int]) -> None:
    _put(amounts, "rss", anonymous)
    _put(amounts, "memory", None if anonymous is None else anonymous + (shared or 0))


def _put(target: Dict[str, float], name: str, value: Optional[int], factor: float = 1) -> None:
    if value is not None:
        target[name] = value * factor


def _number(text: bytes) -> Optional[int]:
    text = text.strip()
    return int(text) if text.isdigit() and len(text) <= 20 else None  # noqa: PLR2004 digits of 64 bits


def _cpu_list(content: bytes) -> Tuple[int, ...]:
    try:
        return parse_cpu_list(content.decode("ascii", "replace"))
    except CpuTopologyError as error:
        raise ValueError(str(error)) from error


def _owner(path: Path) -> Optional[int]:
    try:
        return path.stat().st_uid
    except OSError:
        return None


def _folders(folder: Path) -> List[Path]:
    try:
        with os.scandir(folder) as entries:
            return [folder / entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []


def _read(path: Path) -> bytes:
    """The content of a file, cut at 256 KiB; empty if it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return b""
    try:
        parts: List[bytes] = []
        while sum(map(len, parts)) < _MAX_FILE_BYTES:
            part = os.read(descriptor, _MAX_FILE_BYTES)
            if not part:
                break
            parts.append(part)
        return b"".join(parts)
    except OSError:
        return b""
    finally:
        os.close(descriptor)
