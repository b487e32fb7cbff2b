from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_agent.errors import CpuTopologyError
from cc_agent.topology import MemoryDomain, memory_domains, online_cpus, parse_cpu_list, read_topology

Write = Callable[[str, str], None]
AddCpu = Callable[..., None]


@pytest.fixture
def server(tmp_path: Path, write: Write, add_cpu: AddCpu) -> Path:
    """Two sockets of four cores of two threads; core numbers are sparse and repeat in the second socket."""
    write("sys/devices/system/cpu/online", "0-15\n")
    sparse = (0, 1, 8, 9)
    for cpu in range(16):
        core = cpu % 8
        add_cpu(cpu, socket=core // 4, core_id=sparse[core % 4], siblings=f"{core},{core + 8}")
    for node in range(2):
        write(
            f"sys/devices/system/node/node{node}/cpulist", f"{4 * node}-{4 * node + 3},{4 * node + 8}-{4 * node + 11}\n"
        )
    return tmp_path


def test_a_server_with_two_sockets_and_smt(server: Path) -> None:
    topology = read_topology(server)
    assert topology.hwthreads == tuple(range(16))
    assert topology.sockets == ((0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15))
    assert topology.cores == tuple((core, core + 8) for core in range(8))
    assert topology.dies == topology.sockets
    assert topology.memory_domains == topology.sockets
    assert topology.threads_per_core == 2
    assert topology.cores_per_socket == 4


def test_core_numbers_alone_do_for_kernels_without_sibling_lists(tmp_path: Path, write: Write, add_cpu: AddCpu) -> None:
    write("sys/devices/system/cpu/online", "0-3\n")
    for cpu in range(4):
        add_cpu(cpu, socket=cpu // 2, core_id=7)
    assert read_topology(tmp_path).cores == ((0, 1), (2, 3))


def test_the_older_name_of_the_sibling_list_is_known(tmp_path: Path, write: Write, add_cpu: AddCpu) -> None:
    write("sys/devices/system/cpu/online", "0-1\n")
    for cpu in range(2):
        add_cpu(cpu, socket=0, core_id=cpu)
        write(f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list", "0-1\n")
    assert read_topology(tmp_path).cores == ((0, 1),)


def test_hardware_threads_that_are_offline_do_not_appear(server: Path, write: Write) -> None:
    write("sys/devices/system/cpu/online", "0-7,9,11-15\n")
    topology = read_topology(server)
    assert 8 not in topology.hwthreads
    assert topology.cores[0] == (0,)
    assert topology.cores[2] == (2,)
    assert topology.memory_domains[0] == (0, 1, 2, 3, 9, 11)
    assert topology.threads_per_core == 2


def test_memory_without_processors_is_no_domain_of_the_topology(server: Path, write: Write) -> None:
    write("sys/devices/system/node/node2/cpulist", "\n")
    assert len(read_topology(server).memory_domains) == 2
    assert memory_domains(server)[2] == MemoryDomain(2, ())


def test_sparse_domain_numbers_become_positions(tmp_path: Path, write: Write, add_cpu: AddCpu) -> None:
    write("sys/devices/system/cpu/online", "0-1\n")
    for cpu in range(2):
        add_cpu(cpu, socket=cpu, core_id=0, siblings=str(cpu))
    write("sys/devices/system/node/node8/cpulist", "1\n")
    write("sys/devices/system/node/node0/cpulist", "0\n")
    write("sys/devices/system/node/node255/cpulist", "\n")
    write("sys/devices/system/node/online", "0,8,255\n")
    assert [domain.number for domain in memory_domains(tmp_path)] == [0, 8, 255]
    assert read_topology(tmp_path).memory_domains == ((0,), (1,))


def test_two_dies_of_each_socket_do_not_collide(tmp_path: Path, write: Write, add_cpu: AddCpu) -> None:
    write("sys/devices/system/cpu/online", "0-3\n")
    for cpu in range(4):
        add_cpu(cpu, socket=cpu // 2, die=cpu % 2, core_id=0, siblings=str(cpu))
    topology = read_topology(tmp_path)
    assert topology.dies == ((0,), (1,), (2,), (3,))
    assert topology.sockets == ((0, 1), (2, 3))


def test_sockets_stand_in_the_order_of_their_numbers(tmp_path: Path, write: Write, add_cpu: AddCpu) -> None:
    write("sys/devices/system/cpu/online", "0-2\n")
    for cpu, socket in enumerate((36, 0, 36)):
        add_cpu(cpu, socket=socket, core_id=cpu, siblings=str(cpu))
    assert read_topology(tmp_path).sockets == ((1,), (0, 2))


def test_a_kernel_that_knows_little_still_gives_a_topology(tmp_path: Path, write: Write) -> None:
    for cpu in (0, 1, 10):
        write(f"sys/devices/system/cpu/cpu{cpu}/uevent", "")
    write("sys/devices/system/cpu/cpu0/topology/physical_package_id", "-1\n")
    write("sys/devices/system/cpu/cpu1/topology/physical_package_id", "what\n")
    write("sys/devices/system/cpu/cpufreq/x", "")
    topology = read_topology(tmp_path)
    assert topology.hwthreads == (0, 1, 10)
    assert topology.sockets == ((0, 1, 10),)
    assert topology.cores == ((0,), (1,), (10,))
    assert topology.memory_domains == ((0, 1, 10),)


def test_without_sysfs_there_is_none(tmp_path: Path, write: Write) -> None:
    with pytest.raises(CpuTopologyError, match="is /sys mounted"):
        online_cpus(tmp_path)
    write("sys/devices/system/cpu/uevent", "")
    with pytest.raises(CpuTopologyError, match="lists no processor"):
        online_cpus(tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("", ()), ("\n", ()), ("0", (0,)), ("0-3,8", (0, 1, 2, 3, 8)), ("3,1,1-2\n", (1, 2, 3)), ("5-5", (5,))],
)
def test_cpu_lists_are_read(text: str, expected: "tuple[int, ...]") -> None:
    assert parse_cpu_list(text) == expected


@pytest.mark.parametrize("text", ["a", "1-", "-1", "3-1", "1-2-3", "0-99999999", "1 2", "0x1"])
def test_other_texts_are_rejected(text: str) -> None:
    with pytest.raises(CpuTopologyError, match="is not a"):
        parse_cpu_list(text)


@given(st.sets(st.integers(0, 5000)))
def test_what_is_written_is_read(numbers: "set[int]") -> None:
    assert parse_cpu_list(",".join(map(str, numbers))) == tuple(sorted(numbers))


def test_this_machine_has_a_topology() -> None:
    topology = read_topology()
    assert sorted(cpu for core in topology.cores for cpu in core) == list(topology.hwthreads)
    assert sorted(cpu for socket in topology.sockets for cpu in socket) == list(topology.hwthreads)
