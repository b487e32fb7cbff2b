import numpy as np
import pytest

from cc_backend.metricstore.index.layout import Layout, Names, Parts
from cc_backend.metricstore.model import Part

CORES = [Part("core", str(number)) for number in range(4)]
FAR = 1000


def test_a_series_has_the_same_place_for_all_hosts() -> None:
    layout = Layout()
    first = [layout.take("load", part, below=FAR) for part in CORES]
    second = [layout.take("load", part, below=FAR) for part in reversed(CORES)]
    assert first == [0, 1, 2, 3]
    assert second == first[::-1]
    assert layout.place("load", CORES[2]) == 2
    assert layout.place("power", CORES[2]) == layout.place("load", Part()) == -1


def test_a_place_that_is_too_far_away_is_not_taken() -> None:
    layout = Layout()
    for part in CORES:
        layout.take("load", part, below=FAR)
    assert layout.take("load", CORES[3], below=3) == -1
    assert layout.take("load", CORES[2], below=3) == 2
    assert layout.take("power", Part(), below=4) == -1
    layout.leave("load", CORES[1])
    assert layout.take("power", Part(), below=1) == -1
    assert layout.take("power", Part(), below=2) == 1


def test_a_place_is_free_again_once_no_host_uses_it() -> None:
    layout = Layout()
    for part in [*CORES, CORES[1]]:
        layout.take("load", part, below=FAR)
    layout.leave("load", CORES[1])
    assert layout.place("load", CORES[1]) == 1
    layout.leave("load", CORES[1])
    layout.leave("load", CORES[0])
    assert layout.place("load", CORES[1]) == -1
    assert [layout.take("power", part, below=FAR) for part in CORES[:3]] == [0, 1, 4]
    assert layout.users() == 5


def test_metrics_that_nobody_has_any_more_leave_nothing_behind() -> None:
    layout = Layout()
    layout.take("load", Part(), below=FAR)
    layout.leave("load", Part())
    assert layout.places == {}


def test_hosts_take_many_places_at_once() -> None:
    layout = Layout()
    for part in CORES:
        layout.take("load", part, below=FAR)
    layout.take_again(np.array([3, 1]))
    assert layout.users() == 6
    for part in CORES:
        layout.leave("load", part)
    assert [layout.place("load", part) for part in CORES] == [-1, 1, -1, 3]


def test_places_that_are_gone_are_counted() -> None:
    layout = Layout()
    layout.take("load", CORES[0], below=FAR)
    layout.take("load", CORES[0], below=FAR)
    layout.leave("load", CORES[0])
    assert layout.freed == 0
    layout.leave("load", CORES[0])
    assert layout.freed == 1


def test_names_keep_their_numbers() -> None:
    names = Names()
    assert [names.number(text) for text in ("load", "power", "load")] == [0, 1, 0]
    assert [names[0], names[1], len(names)] == ["load", "power", 2]


def test_a_part_is_kept_once_and_as_long_as_a_series_is_of_it() -> None:
    parts = Parts()
    numbers = [parts.take(Part("core", "1")), parts.take(Part("core", "12"[:1])), parts.take(Part("core", "2"))]
    assert numbers == [0, 0, 1]
    assert parts[0] == Part("core", "1")
    parts.leave(0)
    assert parts[0] == Part("core", "1")
    parts.leave(0)
    with pytest.raises(LookupError):
        parts[0]
    assert parts.take(Part("job", "17")) == 0
    assert parts[0] == Part("job", "17")
    assert parts.users() == 2


def test_many_series_take_parts_again() -> None:
    parts = Parts()
    first, second = (parts.take(part) for part in CORES[:2])
    parts.take_again(np.array([second, first, second]))
    assert parts.users() == 5
    for _ in range(2):
        parts.leave(first)
        parts.leave(second)
    with pytest.raises(KeyError):
        parts.number(CORES[0])
    assert parts.number(CORES[1]) == second
    parts.leave(second)
    with pytest.raises(KeyError):
        parts.number(CORES[1])


def test_bytes_of_parts_are_given_back() -> None:
    parts = Parts()
    parts.take(Part("core", "1"))
    before = parts.text_bytes
    number = parts.take(Part("filesystem", "/a/long/name/of/a/folder"))
    assert parts.text_bytes > before
    parts.leave(number)
    assert parts.text_bytes == before


def test_a_sender_that_makes_up_kinds_fills_nothing_for_good() -> None:
    parts = Parts()
    for number in range(3000):
        parts.leave(parts.take(Part(f"kind{number}")))
    assert parts.size_bytes < 100_000
    assert parts.users() == 0
