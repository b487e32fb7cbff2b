from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kernel_files import nfs_text

from cc_agent.collectors.base import Tick
from cc_agent.collectors.nfsstat import NfsstatCollector, NfsstatOptions, parse_calls
from cc_agent.errors import NotPresentError

Write = Callable[[str, str], None]


def _second_reading(
    root: Path, write: Write, version: int, options: NfsstatOptions, step: int = 11
) -> dict[str, float]:
    write("proc/net/rpc/nfs", nfs_text(1))
    collector = NfsstatCollector(version, options, root)
    collector.open()
    assert collector.read(Tick(0, 5.0, 10.0)) == []
    write("proc/net/rpc/nfs", nfs_text(step))
    readings = collector.read(Tick(10, 15.0, 10.0))
    collector.close()
    return {series.metric: value for series, value in readings}


def test_calls_per_second_of_version_3(tmp_path: Path, write: Write) -> None:
    rates = _second_reading(tmp_path, write, 3, NfsstatOptions())
    assert len(rates) == 23
    assert (rates["nfs3_getattr"], rates["nfs3_read"], rates["nfs3_commit"]) == (1, 6, 21)
    assert rates["nfs3_total"] == sum(range(22))


def test_calls_per_second_of_version_4_by_the_order_of_the_kernel(tmp_path: Path, write: Write) -> None:
    rates = _second_reading(tmp_path, write, 4, NfsstatOptions())
    assert (rates["nfs4_read"], rates["nfs4_open"], rates["nfs4_sequence"], rates["nfs4_read_plus"]) == (2, 8, 82, 136)
    assert rates["nfs4_total"] == 2 * sum(range(69))


def test_calls_of_an_interval_as_in_the_reference_on_request(tmp_path: Path, write: Write) -> None:
    calls = _second_reading(tmp_path, write, 4, NfsstatOptions(per_interval_values=True))
    assert calls["nfs4_write"] == 40


def test_operations_are_excluded_with_and_without_prefix(tmp_path: Path, write: Write) -> None:
    rates = _second_reading(tmp_path, write, 3, NfsstatOptions(exclude_metrics=("getattr", "nfs3_read")))
    assert len(rates) == 21
    assert not {"nfs3_getattr", "nfs3_read"} & rates.keys()


def test_a_reset_gives_nothing(tmp_path: Path, write: Write) -> None:
    assert _second_reading(tmp_path, write, 3, NfsstatOptions(), step=0) == {}


def test_a_kernel_with_fewer_operations_sends_those(tmp_path: Path, write: Write) -> None:
    text = "proc4 3 1 2 3\n"
    assert parse_calls(text.encode(), b"proc4", ("null", "read", "write", "commit")) == {
        "total": 6, "null": 1, "read": 2, "write": 3,
    }  # fmt: skip


def test_operations_that_are_not_known_yet_count_in_the_total() -> None:
    assert parse_calls(b"proc3 3 1 2 30\n", b"proc3", ("null", "read")) == {"total": 33, "null": 1, "read": 2}


def test_a_machine_without_nfs_is_not_at_fault(tmp_path: Path) -> None:
    with pytest.raises(NotPresentError, match="cannot be read"):
        NfsstatCollector(4, NfsstatOptions(), tmp_path).open()


@pytest.mark.parametrize("text", [b"", b"proc3", b"proc3 x 1", b"proc3 2 1 -2", b"proc44 1 1", b"\xff\0"])
def test_other_texts_are_rejected(text: bytes) -> None:
    with pytest.raises(ValueError, match="no line proc3"):
        parse_calls(text, b"proc3", ("null",))


@given(st.lists(st.integers(0, 2**64), max_size=300))
def test_what_is_written_is_read(calls: list[int]) -> None:
    text = f"net 1\nproc4 {len(calls)} {' '.join(map(str, calls))}\n".encode()
    parsed = parse_calls(text, b"proc4", [str(number) for number in range(300)])
    assert parsed.pop("total") == sum(calls[:256])
    assert list(parsed.values()) == calls[:256]
