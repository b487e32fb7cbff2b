from typing import Any, List, Optional

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_slurm_adapter.sources.slurm_values import (
    parse_integer,
    parse_megabytes,
    parse_number,
    parse_state,
    parse_time,
    parse_tres,
)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (5, 5),
        (5.0, 5),
        (0, 0),
        (None, None),
        (True, None),
        ("5", None),
        (-2, None),
        (65534, 65534),
        (4294967294, None),
        (4294967295, None),
        (float("nan"), None),
        ({"set": True, "infinite": False, "number": 7}, 7),
        ({"set": False, "infinite": False, "number": 0}, None),
        ({"set": False, "infinite": True, "number": 0}, None),
        ({"set": True, "infinite": True, "number": 0}, None),
        ({"set": True}, None),
        ({}, None),
        ([], None),
    ],
)
def test_a_number_is_read_however_a_version_writes_it(written: Any, meant: Optional[int]) -> None:
    assert parse_number(written) == meant


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        (946_684_799, 0),
        (946_684_800, 946_684_800),
        (4_102_444_800, 4_102_444_800),
        (4_102_444_801, 0),
        (65534, 0),
        (1, 0),
        ({"set": True, "infinite": False, "number": 1_790_000_000}, 1_790_000_000),
    ],
)
def test_a_time_that_no_receiver_takes_is_not_known(written: Any, meant: int) -> None:
    assert parse_time(written) == meant


@pytest.mark.parametrize(
    ("written", "base", "flags"),
    [
        ("RUNNING", "RUNNING", []),
        (["RUNNING"], "RUNNING", []),
        (["RUNNING", "CONFIGURING"], "RUNNING", ["CONFIGURING"]),
        ("CONFIGURING", "RUNNING", ["CONFIGURING"]),
        ("CANCELLED by 1001", "CANCELLED", []),
        (["COMPLETED", "COMPLETING"], "COMPLETED", ["COMPLETING"]),
        ("COMPLETING", "", ["COMPLETING"]),
        ("REQUEUED", "PENDING", ["REQUEUED"]),
        (["PENDING", "REQUEUED"], "PENDING", ["REQUEUED"]),
        (["REQUEUED", "PENDING"], "PENDING", ["REQUEUED"]),
        ("SPECIAL_EXIT", "PENDING", ["SPECIAL_EXIT"]),
        ("running", "RUNNING", []),
        ("WORMHOLE", "WORMHOLE", []),
        (["STAGE_OUT", "WORMHOLE"], "WORMHOLE", ["STAGE_OUT"]),
        ("", "", []),
        (None, "", []),
        ([7, None], "", []),
    ],
)
def test_a_state_is_a_base_state_with_flags(written: Any, base: str, flags: List[str]) -> None:
    assert parse_state(written) == (base, frozenset(flags))


def test_resources_are_split_and_the_first_of_a_name_counts() -> None:
    assert parse_tres("cpu=4,mem=2000M,gres/gpu=2,gres/gpu:a100=2,cpu=9,,x") == {
        "cpu": "4",
        "mem": "2000M",
        "gres/gpu": "2",
        "gres/gpu:a100": "2",
    }
    assert parse_tres(None) == {}


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("2000M", 2000),
        ("62.50G", 64000),
        ("1T", 1048576),
        ("512K", 0),
        ("1024K", 1),
        ("7", 7),
        ("", 0),
        ("much", 0),
        ("99999999999999P", 0),
    ],
)
def test_memory_is_megabytes(written: str, meant: int) -> None:
    assert parse_megabytes(written) == meant


@pytest.mark.parametrize("written", ["", "-1", "1.5", "x", "٣", "9" * 40])
def test_what_is_no_count_is_none(written: str) -> None:
    assert parse_integer(written) == 0


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.integers() | st.text(), st.lists))
def test_no_value_breaks_the_readers(value: Any) -> None:
    parse_number(value)
    parse_state(value)
    parse_tres(value)
