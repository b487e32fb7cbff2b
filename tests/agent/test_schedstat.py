from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_files import schedstat_text

from cc_agent.collectors.base import Tick
from cc_agent.collectors.schedstat import SchedstatCollector, SchedstatOptions, parse_schedstat
from cc_agent.errors import NotPresentError

Write = Callable[[str, str], None]

SECOND_NS = 10**9


def _loads(root: Path, write: Write, *steps: dict[int, tuple[int, int]]) -> list[dict[str, float]]:
    collector = SchedstatCollector(SchedstatOptions(), root)
    write("proc/schedstat", schedstat_text(steps[0]))
    collector.open()
    loads = []
    for number, step in enumerate(steps):
        write("proc/schedstat", schedstat_text(step))
        readings = collector.read(Tick(10 * number, 50.0 + 10 * number, 10.0))
        loads.append({series.tags["type-id"]: value for series, value in readings})
    collector.close()
    return loads


def test_the_load_is_the_time_that_tasks_ran_or_waited(tmp_path: Path, write: Write) -> None:
    first, second = _loads(
        tmp_path,
        write,
        {0: (0, 0), 1: (SECOND_NS, 7)},
        {0: (10 * SECOND_NS, 15 * SECOND_NS), 1: (2 * SECOND_NS, SECOND_NS // 2 + 7)},
    )
    assert first == {}
    assert second == {"0": pytest.approx(2.5), "1": pytest.approx(0.15)}


def test_a_hardware_thread_that_went_away_or_came_back_costs_no_other(tmp_path: Path, write: Write) -> None:
    busy = [dict.fromkeys(range(3), (SECOND_NS * step, 0)) for step in range(4)]
    del busy[1][2]
    busy[3][1] = (0, 0)
    _, second, third, fourth = _loads(tmp_path, write, *busy)
    assert set(second) == {"0", "1"}
    assert set(third) == {"0", "1"}
    assert set(fourth) == {"0", "2"}


def test_a_kernel_without_the_statistics_is_not_at_fault(tmp_path: Path) -> None:
    with pytest.raises(NotPresentError, match="No such file"):
        SchedstatCollector(SchedstatOptions(), tmp_path).open()


@pytest.mark.parametrize(
    "text", [b"", b"version 15\n", b"\ncpu", b"\ncpu0 1 2 3\n", b"\ncpux 1 2 3 4 5 6 7 8 9\n", b"\0" * 99]
)
def test_other_texts_are_rejected(text: bytes) -> None:
    with pytest.raises(ValueError, match="unknown form"):
        parse_schedstat(text)


def test_the_line_may_end_after_the_eighth_number() -> None:
    assert parse_schedstat(b"version 14\ncpu12 0 0 0 0 0 0 5 6\n") == {b"12": 11}


@given(st.dictionaries(st.integers(0, 4095), st.tuples(st.integers(0, 2**64), st.integers(0, 2**64)), min_size=1))
def test_what_is_written_is_read(times: dict[int, tuple[int, int]]) -> None:
    parsed = parse_schedstat(schedstat_text(times).encode())
    assert parsed == {str(cpu).encode(): ran + waited for cpu, (ran, waited) in times.items()}
