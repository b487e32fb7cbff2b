from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_agent.collectors.base import Tick
from cc_agent.collectors.cpustat import CpustatCollector, CpustatOptions, parse_stat

Write = Callable[[str, str], None]


def _line(cpu: int, **ticks: int) -> str:
    names = ("user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal", "guest", "guest_nice")
    return f"cpu{cpu} " + " ".join(str(ticks.get(name, 0)) for name in names)


def _stat(*lines: str) -> str:
    return "\n".join(["cpu  0 0 0 0", *lines, "intr 5 1 1", ""])


def _rates(root: Path, write: Write, before: str, after: str, **options: object) -> dict[tuple[str, str], float]:
    collector = CpustatCollector(CpustatOptions(**options), root)  # type: ignore[arg-type]  # options of a test
    write("proc/stat", before)
    collector.open()
    collector.read(Tick(0, 10.0, 10.0))
    write("proc/stat", after)
    readings = collector.read(Tick(10, 20.0, 10.0))
    collector.close()
    return {(series.metric, series.tags.get("type-id", "node")): value for series, value in readings}


def test_node_values_are_the_mean_and_never_exceed_100(tmp_path: Path, write: Write) -> None:
    rates = _rates(
        tmp_path,
        write,
        _stat(_line(0), _line(1)),
        _stat(_line(0, user=1000), _line(1, user=500, idle=500)),
    )
    assert rates["cpu_user", "0"] == 100
    assert rates["cpu_user", "1"] == 50
    assert rates["cpu_user", "node"] == 75
    assert rates["num_cpus", "node"] == 2


def test_guest_time_is_counted_once(tmp_path: Path, write: Write) -> None:
    # The kernel adds guest time to user time too: 600 ticks of user, 400 of them in a guest, 400 idle.
    rates = _rates(tmp_path, write, _stat(_line(0)), _stat(_line(0, user=600, guest=400, idle=400)))
    assert rates["cpu_user", "0"] == 60
    assert rates["cpu_guest", "0"] == 40
    assert rates["cpu_used", "0"] == 60
    assert rates["cpu_idle", "0"] == 40


def test_waiting_and_stolen_time_is_not_work(tmp_path: Path, write: Write) -> None:
    after = _stat(_line(0, user=10, nice=10, system=10, irq=10, softirq=10, iowait=20, steal=20, idle=10))
    rates = _rates(tmp_path, write, _stat(_line(0)), after)
    assert rates["cpu_used", "0"] == pytest.approx(50)
    assert sum(value for (name, cpu), value in rates.items() if cpu == "0" and name not in _PARTS) == pytest.approx(100)


_PARTS = ("cpu_used", "cpu_guest", "cpu_guest_nice")


def test_a_hardware_thread_that_comes_online_is_left_out_once(tmp_path: Path, write: Write) -> None:
    rates = _rates(tmp_path, write, _stat(_line(0)), _stat(_line(0, user=5, idle=5), _line(1, user=999)))
    assert rates["cpu_user", "node"] == 50
    assert ("cpu_user", "1") not in rates


def test_a_hardware_thread_that_goes_offline_disappears(tmp_path: Path, write: Write) -> None:
    rates = _rates(tmp_path, write, _stat(_line(0), _line(1)), _stat(_line(0, user=10)))
    assert rates["cpu_user", "node"] == 100
    assert rates["num_cpus", "node"] == 1
    assert ("cpu_user", "1") not in rates


def test_after_off_and_on_again_the_counters_of_before_do_not_count(tmp_path: Path, write: Write) -> None:
    collector = CpustatCollector(CpustatOptions(), tmp_path)
    texts = (_stat(_line(0), _line(1, user=100)), _stat(_line(0, idle=9)), _stat(_line(0, idle=19), _line(1, user=900)))
    for step, text in enumerate(texts):
        write("proc/stat", text)
        readings = collector.read(Tick(10 * step, 10.0 * step, 10.0))
    collector.close()
    assert {series.tags["type-id"] for series, _ in readings if series.tags["type"] == "hwthread"} == {"0"}


def test_a_reset_leaves_out_the_interval(tmp_path: Path, write: Write) -> None:
    rates = _rates(tmp_path, write, _stat(_line(0, user=500, idle=500)), _stat(_line(0, user=3, idle=600)))
    assert set(rates) == {("num_cpus", "node")}


@pytest.mark.parametrize("back", [{"user": 105, "idle": 3}, {"user": 100, "idle": 20, "iowait": 1}, {"user": 900}])
def test_a_hardware_thread_whose_idle_time_began_anew_is_left_out(
    tmp_path: Path, write: Write, back: dict[str, int]
) -> None:
    before = _stat(_line(0, idle=50_000), _line(1, user=100, idle=50_000, iowait=90))
    rates = _rates(tmp_path, write, before, _stat(_line(0, idle=51_000), _line(1, **back)))
    assert rates["cpu_user", "node"] == 0
    assert ("cpu_user", "1") not in rates


@pytest.mark.parametrize("counted", [0, 10, 700, 1400, 60_000])
def test_a_hardware_thread_that_was_offline_for_a_while_is_left_out(tmp_path: Path, write: Write, counted: int) -> None:
    before = _stat(*(_line(cpu) for cpu in range(4)))
    after = _stat(*(_line(cpu, user=1000) for cpu in range(3)), _line(3, idle=counted))
    rates = _rates(tmp_path, write, before, after)
    assert rates["cpu_user", "node"] == 100
    assert ("cpu_user", "3") not in rates


@pytest.mark.parametrize("counted", [800, 990, 1010, 1300])
def test_irregular_ticks_and_hidden_stolen_time_leave_nothing_out(tmp_path: Path, write: Write, counted: int) -> None:
    before = _stat(*(_line(cpu) for cpu in range(4)))
    after = _stat(*(_line(cpu, user=1000) for cpu in range(3)), _line(3, idle=counted))
    assert _rates(tmp_path, write, before, after)["cpu_idle", "3"] == 100


def test_of_two_hardware_threads_the_one_that_counted_more_was_there(tmp_path: Path, write: Write) -> None:
    rates = _rates(tmp_path, write, _stat(_line(0), _line(1)), _stat(_line(0, user=400), _line(1, idle=1000)))
    assert rates["cpu_user", "node"] == 0
    assert ("cpu_user", "0") not in rates


def test_idle_and_iowait_may_shrink_without_harm(tmp_path: Path, write: Write) -> None:
    before = _stat(_line(0, user=100, iowait=50, idle=10))
    rates = _rates(tmp_path, write, before, _stat(_line(0, user=110, iowait=49, idle=20)))
    assert rates["cpu_user", "0"] == 50
    assert rates["cpu_iowait", "0"] == 0


def test_sparse_numbers_are_kept_as_ids(tmp_path: Path, write: Write) -> None:
    rates = _rates(tmp_path, write, _stat(_line(3), _line(130)), _stat(_line(3, user=1), _line(130, idle=1)))
    assert rates["cpu_user", "130"] == 0
    assert rates["cpu_user", "3"] == 100


def test_scopes_can_be_switched_off(tmp_path: Path, write: Write) -> None:
    texts = _stat(_line(0)), _stat(_line(0, user=1))
    node_only = _rates(tmp_path, write, *texts, hwthread_values=False, include_metrics=("cpu_user",))
    assert set(node_only) == {("cpu_user", "node")}
    threads_only = _rates(tmp_path, write, *texts, node_values=False, include_metrics=("cpu_user",))
    assert set(threads_only) == {("cpu_user", "0")}


def test_the_total_is_not_a_hardware_thread_and_old_kernels_have_fewer_columns() -> None:
    assert parse_stat(b"cpu  9 9 9 9\ncpu0 1 2 3 4\nintr 1\n") == {b"0": [1, 2, 3, 4, 0, 0, 0, 0, 0, 0]}


def test_columns_of_the_future_are_ignored() -> None:
    assert parse_stat(b"cpu0 1 2 3 4 5 6 7 8 9 10 11 12\n") == {b"0": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]}


@pytest.mark.parametrize(
    "text",
    [b"", b"\n", b"intr 1 2 3\n", b"cpu  1 2 3 4\n", b"cpu0 1 2\n", b"cpu0 a b c d\n", b"cpu0\n", b"\x00\xff"],
)
def test_other_texts_are_rejected(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"/proc/stat|invalid literal"):
        parse_stat(text)


@given(st.dictionaries(st.integers(0, 4095), st.lists(st.integers(0, 2**63), min_size=10, max_size=10), min_size=1))
def test_what_is_written_is_read(cpus: dict[int, list[int]]) -> None:
    lines = [f"cpu{cpu} " + " ".join(map(str, ticks)) for cpu, ticks in cpus.items()]
    text = "\n".join(["cpu  1 1 1 1 1 1 1 1 1 1", *lines, "intr 0", "softirq 3 4"])
    assert parse_stat(text.encode()) == {str(cpu).encode(): ticks for cpu, ticks in cpus.items()}
