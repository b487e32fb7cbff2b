import numpy as np
import pytest

from cc_backend.metricstore.index.layout import HostLayout, MetricNames, PartTable
from cc_backend.metricstore.model import HostPart

CORES = [HostPart("core", str(number)) for number in range(4)]
FAR = 1000


def test_a_series_has_the_same_place_for_all_hosts() -> None:
    layout = HostLayout()
    first = [layout.acquire("load", part, below=FAR) for part in CORES]
    second = [layout.acquire("load", part, below=FAR) for part in reversed(CORES)]
    assert first == [0, 1, 2, 3]
    assert second == first[::-1]
    assert layout.place_of("load", CORES[2]) == 2
    assert layout.place_of("power", CORES[2]) == layout.place_of("load", HostPart()) == -1


def test_a_place_that_is_too_far_away_is_not_taken() -> None:
    layout = HostLayout()
    for part in CORES:
        layout.acquire("load", part, below=FAR)
    assert layout.acquire("load", CORES[3], below=3) == -1
    assert layout.acquire("load", CORES[2], below=3) == 2
    assert layout.acquire("power", HostPart(), below=4) == -1
    layout.release("load", CORES[1])
    assert layout.acquire("power", HostPart(), below=1) == -1
    assert layout.acquire("power", HostPart(), below=2) == 1


def test_a_place_is_free_again_once_no_host_uses_it() -> None:
    layout = HostLayout()
    for part in [*CORES, CORES[1]]:
        layout.acquire("load", part, below=FAR)
    layout.release("load", CORES[1])
    assert layout.place_of("load", CORES[1]) == 1
    layout.release("load", CORES[1])
    layout.release("load", CORES[0])
    assert layout.place_of("load", CORES[1]) == -1
    assert [layout.acquire("power", part, below=FAR) for part in CORES[:3]] == [0, 1, 4]
    assert layout.user_count() == 5


def test_metrics_that_nobody_has_any_more_leave_nothing_behind() -> None:
    layout = HostLayout()
    layout.acquire("load", HostPart(), below=FAR)
    layout.release("load", HostPart())
    assert layout.places == {}


def test_hosts_take_many_places_at_once() -> None:
    layout = HostLayout()
    for part in CORES:
        layout.acquire("load", part, below=FAR)
    layout.acquire_many(np.array([3, 1]))
    assert layout.user_count() == 6
    for part in CORES:
        layout.release("load", part)
    assert [layout.place_of("load", part) for part in CORES] == [-1, 1, -1, 3]


def test_places_that_are_gone_are_counted() -> None:
    layout = HostLayout()
    layout.acquire("load", CORES[0], below=FAR)
    layout.acquire("load", CORES[0], below=FAR)
    layout.release("load", CORES[0])
    assert layout.freed_count == 0
    layout.release("load", CORES[0])
    assert layout.freed_count == 1


def test_names_keep_their_numbers() -> None:
    names = MetricNames()
    assert [names.intern(text) for text in ("load", "power", "load")] == [0, 1, 0]
    assert [names[0], names[1], len(names)] == ["load", "power", 2]


def test_a_part_is_kept_once_and_as_long_as_a_series_is_of_it() -> None:
    parts = PartTable()
    numbers = [
        parts.acquire(HostPart("core", "1")),
        parts.acquire(HostPart("core", "12"[:1])),
        parts.acquire(HostPart("core", "2")),
    ]
    assert numbers == [0, 0, 1]
    assert parts[0] == HostPart("core", "1")
    parts.release(0)
    assert parts[0] == HostPart("core", "1")
    parts.release(0)
    with pytest.raises(LookupError):
        parts[0]
    assert parts.acquire(HostPart("job", "17")) == 0
    assert parts[0] == HostPart("job", "17")
    assert parts.user_count() == 2


def test_many_series_take_parts_again() -> None:
    parts = PartTable()
    first, second = (parts.acquire(part) for part in CORES[:2])
    parts.acquire_many(np.array([second, first, second]))
    assert parts.user_count() == 5
    for _ in range(2):
        parts.release(first)
        parts.release(second)
    with pytest.raises(KeyError):
        parts.number_of(CORES[0])
    assert parts.number_of(CORES[1]) == second
    parts.release(second)
    with pytest.raises(KeyError):
        parts.number_of(CORES[1])


def test_bytes_of_parts_are_given_back() -> None:
    parts = PartTable()
    parts.acquire(HostPart("core", "1"))
    before = parts.text_bytes
    number = parts.acquire(HostPart("filesystem", "/a/long/name/of/a/folder"))
    assert parts.text_bytes > before
    parts.release(number)
    assert parts.text_bytes == before


def test_a_sender_that_makes_up_kinds_fills_nothing_for_good() -> None:
    parts = PartTable()
    for number in range(3000):
        parts.release(parts.acquire(HostPart(f"kind{number}")))
    assert parts.size_bytes < 100_000
    assert parts.user_count() == 0
