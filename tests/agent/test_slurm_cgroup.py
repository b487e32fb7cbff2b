"""What jobs use, from made control groups of both versions."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_agent.collectors.base import Reading, Tick
from cc_agent.collectors.slurm_cgroup import SlurmCgroupCollector, SlurmCgroupOptions
from cc_agent.errors import NotPresentError
from cc_agent.job_cgroups import (
    CgroupTree,
    UsageReader,
    job_id_of_process,
    parse_blkio,
    parse_io_stat,
    parse_pressure_us,
    value_after,
)

Write = Callable[[str, str], None]
SCOPE = "sys/fs/cgroup/system.slice/slurmstepd.scope"
SLUID = "s01J8XZ4M9KQ2W"
EVERYTHING = frozenset({"memory", "current", "peak", "limit", "oom", "cpu", "io", "pressure", "processes"})


def _two_readings(
    collector: SlurmCgroupCollector, between: Callable[[], object], *, elapsed_s: float = 10.0
) -> list[Reading]:
    collector.open()
    collector.read(Tick(1000, 50.0, 10.0))
    between()
    readings = collector.read(Tick(1010, 50.0 + elapsed_s, 10.0))
    collector.close()
    return readings


def _values(readings: list[Reading], job: str = "4711") -> dict[str, float]:
    return {series.metric: value for series, value in readings if series.tags["type-id"] == job}


def test_each_value_of_a_job_is_what_its_files_say(machine: Path, busy: Callable[[int], None]) -> None:
    collector = SlurmCgroupCollector(SlurmCgroupOptions(), machine)
    values = _values(_two_readings(collector, lambda: busy(2)))
    assert values == {
        "job_mem_used": 4e6,
        "job_mem_rss": 3e6,
        "job_mem_current": 13e6,
        "job_mem_peak": 14e6,
        "job_mem_limit": 20e6,
        "job_processes": 1,
        "job_hwthreads": 2,
        "job_gpus": 2,
        "job_oom_kills": 1,
        "job_cpu_used": 40.0,  # 8 s in 10 s of two hardware threads
        "job_cpu_user": 35.0,
        "job_cpu_system": 5.0,
        "job_cpu_throttled": 2.5,
        "job_io_read_bw": 409.6,
        "job_io_write_bw": 819.2,
        "job_io_read_iops": pytest.approx(0.1),
        "job_io_write_iops": pytest.approx(0.2),
        "job_cpu_pressure": 1.0,
        "job_mem_pressure": 1.0,
        "job_io_pressure": 1.0,
    }


def test_shares_have_the_names_of_the_reference_and_add_up_on_shared_hwthreads(
    machine: Path, write: Write, busy: Callable[[int], None]
) -> None:
    other = f"{SCOPE}/job_9"
    write(f"{other}/memory.current", "1000\n")
    write(f"{other}/cpu.stat", "usage_usec 0\nuser_usec 0\nsystem_usec 0\n")
    write(f"{other}/cpuset.cpus.effective", "3\n")
    options = SlurmCgroupOptions(send_job_values=False, send_hwthread_shares=True)
    readings = _two_readings(SlurmCgroupCollector(options, machine), lambda: busy(2))
    shares = {(series.metric, series.tags["type-id"]): value for series, value in readings}
    assert {series.tags["type"] for series, _ in readings} == {"hwthread"}
    assert shares["job_mem_used", "1"] == 6.5e6
    assert shares["job_mem_used", "3"] == 6.5e6 + 1000
    assert shares["job_user_cpu", "1"] == 35.0
    assert shares["job_sys_cpu", "3"] == 5.0
    assert shares["job_mem_limit", "3"] == 10e6


def test_a_limit_of_max_and_a_missing_controller_are_no_values(machine: Path, write: Write) -> None:
    write(f"{SCOPE}/job_4711/memory.max", "max\n")
    (machine / SCOPE / "job_4711/io.stat").unlink()
    collector = SlurmCgroupCollector(SlurmCgroupOptions(), machine)
    values = _values(_two_readings(collector, lambda: None))
    assert "job_mem_limit" not in values
    assert "job_io_read_bw" not in values
    assert values["job_mem_used"] == 4e6
    assert values["job_cpu_used"] == 0.0


def test_a_kernel_without_peak_gets_the_highest_of_the_readings(machine: Path, write: Write) -> None:
    (machine / SCOPE / "job_4711/memory.peak").unlink()
    collector = SlurmCgroupCollector(SlurmCgroupOptions(include_metrics=("job_mem_peak",)), machine)
    values = _values(_two_readings(collector, lambda: write(f"{SCOPE}/job_4711/memory.current", "5\n")))
    assert values == {"job_mem_peak": 13e6}


def test_a_job_without_a_set_of_hwthreads_has_those_that_are_online(machine: Path, busy: Callable[[int], None]) -> None:
    (machine / SCOPE / "job_4711/cpuset.cpus.effective").unlink()
    collector = SlurmCgroupCollector(SlurmCgroupOptions(include_metrics=("job_cpu_used",)), machine)

    def advance() -> None:
        busy(2)
        (machine / SCOPE / "job_4711/cpuset.cpus.effective").unlink()

    assert _values(_two_readings(collector, advance)) == {"job_cpu_used": 20.0}


@pytest.mark.parametrize("step", [0, 1])
def test_counters_that_stand_or_are_reset_never_go_below_zero(
    step: int, machine: Path, busy: Callable[[int], None]
) -> None:
    values = _values(_two_readings(SlurmCgroupCollector(SlurmCgroupOptions(), machine), lambda: busy(step)))
    assert values.get("job_cpu_used", 0.0) == 0.0
    assert ("job_cpu_used" in values) == (step == 1)


def test_there_is_no_rate_after_a_pause(machine: Path, busy: Callable[[int], None]) -> None:
    collector = SlurmCgroupCollector(SlurmCgroupOptions(), machine)
    assert "job_cpu_used" not in _values(_two_readings(collector, lambda: busy(2), elapsed_s=26.0))


def test_jobs_come_and_go_and_a_broken_one_costs_only_its_own(machine: Path, write: Write) -> None:
    collector = SlurmCgroupCollector(SlurmCgroupOptions(include_metrics=("job_mem_used",)), machine)

    def change() -> None:
        write(f"{SCOPE}/job_5/memory.stat", "anon 7\nshmem 1\n")
        write(f"{SCOPE}/job_6/memory.stat", "anon 7\nshmem 1\n")
        write(f"{SCOPE}/job_6/cpuset.cpus.effective", "nonsense\n")
        write(f"{SCOPE}/job_/memory.stat", "anon 7\n")
        write(f"{SCOPE}/system/memory.stat", "anon 7\n")
        shutil.rmtree(machine / SCOPE / "job_4711")

    readings = _two_readings(collector, change)
    assert [(series.tags, value) for series, value in readings] == [({"type": "job", "type-id": "5"}, 8)]
    collector.open()
    shutil.rmtree(machine / SCOPE)
    assert collector.read(Tick(1020, 70.0, 10.0)) == []


def test_a_job_of_several_slurmd_on_one_host_is_the_sum(machine: Path, write: Write) -> None:
    for node in ("n1", "n2"):
        folder = f"sys/fs/cgroup/system.slice/{node}_slurmstepd.scope/job_8"
        write(f"{folder}/memory.stat", "anon 100\nshmem 10\n")
        write(f"{folder}/cpuset.cpus.effective", f"{node[1]}\n")
    collector = SlurmCgroupCollector(SlurmCgroupOptions(), machine)
    values = _values(_two_readings(collector, lambda: None), "8")
    assert values["job_mem_used"] == 220
    assert values["job_hwthreads"] == 2
    one = "/sys/fs/cgroup/system.slice/n2_slurmstepd.scope"
    own = SlurmCgroupCollector(SlurmCgroupOptions(cgroup_base=one), machine)
    assert _values(_two_readings(own, lambda: None), "8")["job_mem_used"] == 110


def test_version_1_is_read_from_each_controller(tmp_path: Path, write: Write) -> None:
    def groups(step: int) -> None:
        for controller, file, text in (
            ("memory", "memory.stat", "cache 5\nrss 1\ntotal_cache 900\ntotal_rss 3000\ntotal_shmem 500\n"),
            ("memory", "memory.usage_in_bytes", "4400\n"),
            ("memory", "memory.max_usage_in_bytes", "5000\n"),
            ("memory", "memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory", "memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n"),
            ("cpuacct", "cpuacct.stat", f"user {300 * step}\nsystem {100 * step}\n"),
            ("cpu", "cpu.stat", f"nr_periods 1\nnr_throttled 1\nthrottled_time {1_000_000_000 * step}\n"),
            ("cpuset", "cpuset.effective_cpus", "0-1\n"),
            (
                "blkio",
                "blkio.throttle.io_service_bytes",
                f"8:0 Read {1000 * step}\n8:0 Write {2000 * step}\n253:0 Read {1000 * step}\n253:0 Write 0\nTotal 9\n",
            ),
        ):
            write(f"sys/fs/cgroup/{controller}/slurm_n1/uid_1000/job_12/{file}", text)

    groups(1)
    write("sys/fs/cgroup/memory/slurm.service/uid_0/job_1/memory.stat", "total_rss 1\n")
    write("sys/fs/cgroup/cpuacct/slurm_n1/uid_1000/job_12/step_0/task_0/cgroup.procs", "77\n")
    write("sys/fs/cgroup/memory/slurm_n1/uid_1000/job_12/step_0/cgroup.procs", "77\n78\n")
    write("sys/dev/block/253:0/slaves/sda/dev", "8:0\n")
    readings = _two_readings(SlurmCgroupCollector(SlurmCgroupOptions(), tmp_path), lambda: groups(2))
    assert {series.tags["type-id"] for series, _ in readings} == {"12"}
    values = _values(readings, "12")
    assert values == {
        "job_mem_used": 3500,
        "job_mem_rss": 3000,
        "job_mem_current": 4400,
        "job_mem_peak": 5000,
        "job_processes": 2,
        "job_hwthreads": 2,
        "job_oom_kills": 2,
        "job_cpu_used": 20.0,  # 4 s in 10 s of two hardware threads
        "job_cpu_user": 15.0,
        "job_cpu_system": 5.0,
        "job_cpu_throttled": 5.0,
        "job_io_read_bw": 100.0,  # the volume on the disk is not counted twice
        "job_io_write_bw": 200.0,
    }


def test_a_folder_named_by_a_sluid_is_the_job_that_its_slurmstepd_names(tmp_path: Path, write: Write) -> None:
    write(f"{SCOPE}/{SLUID}/memory.stat", "anon 5\n")
    write(f"{SCOPE}/{SLUID}/step_batch/user/task_0/cgroup.procs", "31\n")
    assert CgroupTree(tmp_path).jobs() == {}
    write(f"{SCOPE}/{SLUID}/step_batch/slurm/cgroup.procs", "30\n")
    write("proc/31/cmdline", "bash\0")
    write("proc/30/cmdline", "slurmstepd: [815.batch]\0")
    tree = CgroupTree(tmp_path)
    assert list(tree.jobs()) == ["815"]
    (tmp_path / "proc/30/cmdline").unlink()
    assert list(tree.jobs()) == ["815"], "asked once"
    write("proc/31/cgroup", f"0::/system.slice/slurmstepd.scope/{SLUID}/step_batch/user/task_0\n")
    write("proc/30/cmdline", "slurmstepd: [815.batch]\0")
    assert job_id_of_process(31, tmp_path) == "815"


def test_a_user_cannot_pass_for_another_job_by_a_command_line(
    tmp_path: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(f"{SCOPE}/{SLUID}/step_batch/user/task_0/cgroup.procs", "31\n")
    write("proc/31/cmdline", "slurmstepd: [1.batch]\0")
    monkeypatch.setattr("cc_agent.job_cgroups._owner", lambda path: 1000 if path.name == "31" else 0)
    assert CgroupTree(tmp_path).jobs() == {}


@pytest.mark.parametrize(
    ("text", "job"),
    [
        ("0::/system.slice/slurmstepd.scope/job_42/step_0/user/task_0\n", "42"),
        ("0::/system.slice/n1_slurmstepd.scope/job_42\n", "42"),
        ("5:memory:/slurm/uid_5/job_43/step_0/task_0\n4:cpu:/slurm\n0::/\n", "43"),
        ("4:memory:/slurm_n01/uid_1000/job_78\n", "78"),
        ("0::/system.slice/slurmstepd.scope/job_42/step_0/user/job_43\n", "42"),
        ("0::/user.slice/user-1000.slice/system.slice/slurmstepd.scope/job_4711/x\n", ""),
        ("0::/home/slurmstepd.scopejob_1/\n", ""),
        ("0::/system.slice/slurmstepd.scope/system\n", ""),
        ("0::/system.slice/slurmstepd.scope/job_42x/step_0\n", ""),
        ("0::/system.slice/job_\n", ""),
        ("", ""),
    ],
)
def test_a_process_is_of_the_job_whose_group_it_is_in(text: str, job: str, tmp_path: Path, write: Write) -> None:
    write("proc/7/cgroup", text)
    assert job_id_of_process(7, tmp_path) == job
    assert job_id_of_process(8, tmp_path) == ""


def test_a_machine_without_slurm_is_no_fault_and_one_with_slurmd_waits_for_jobs(tmp_path: Path, write: Write) -> None:
    collector = SlurmCgroupCollector(SlurmCgroupOptions(), tmp_path)
    with pytest.raises(NotPresentError, match="control groups"):
        collector.open()
    write("usr/sbin/slurmd", "")
    collector.open()
    assert collector.read(Tick(0, 0.0, 1.0)) == []


@pytest.mark.parametrize("variable", ["CUDA_VISIBLE_DEVICES=", "CUDA_VISIBLE_DEVICES=-1", "SLURM_JOB_GPUS=NoDevFiles"])
def test_a_job_without_gpus_has_none(variable: str, machine: Path, write: Write) -> None:
    write("proc/4242/environ", f"{variable}\0X=1\0")
    collector = SlurmCgroupCollector(SlurmCgroupOptions(include_metrics=("job_gpus",)), machine)
    assert _values(_two_readings(collector, lambda: None)) == {"job_gpus": 0}


def test_gpus_are_not_known_where_the_environment_is_closed(machine: Path) -> None:
    (machine / "proc/4242/environ").unlink()
    collector = SlurmCgroupCollector(SlurmCgroupOptions(include_metrics=("job_gpus",)), machine)
    assert _values(_two_readings(collector, lambda: None)) == {}


@pytest.mark.parametrize(
    "content", ["", "\0\0\0", "anon\n", "anon -5\n", "anon 1e9\n", "anon " + "9" * 40 + "\n", "xanon 5\n"]
)
def test_nasty_files_give_no_value(content: str, machine: Path, write: Write) -> None:
    for file in ("memory.stat", "memory.current", "memory.max", "cpu.stat", "io.stat", "cpu.pressure", "memory.events"):
        write(f"{SCOPE}/job_4711/{file}", content)
    usage = UsageReader(machine, EVERYTHING).read({"": machine / SCOPE / "job_4711"})
    assert set(usage.amounts) <= {"peak", "processes"}
    assert set(usage.counters) <= {"memory_waiting_us", "io_waiting_us"}


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,12}", fullmatch=True), st.integers(0, 2**64 - 1), max_size=8))
def test_every_value_of_a_flat_file_is_found(values: dict[str, int]) -> None:
    content = "".join(f"{key} {value}\n" for key, value in values.items()).encode()
    assert {key: value_after(content, key.encode()) for key in values} == values
    assert value_after(content, b"A") is None


@given(st.binary(max_size=200))
def test_no_bytes_break_the_parsers(content: bytes) -> None:
    parse_io_stat(content)
    parse_blkio(content, ("r", "w"))
    parse_pressure_us(content)
    value_after(content, b"anon")


@given(
    st.dictionaries(
        st.from_regex(r"[0-9]{1,3}:[0-9]{1,3}", fullmatch=True),
        st.fixed_dictionaries({key: st.integers(0, 2**63) for key in ("rbytes", "wbytes", "rios", "wios")}),
        max_size=5,
    )
)
def test_devices_come_back_from_io_stat(devices: dict[str, dict[str, int]]) -> None:
    lines = [
        f"{name} " + " ".join(f"{key}={value}" for key, value in counts.items()) for name, counts in devices.items()
    ]
    assert parse_io_stat("\n".join(lines).encode()) == devices
