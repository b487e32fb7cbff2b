import pytest
from hypothesis import given
from hypothesis import strategies as st

from cc_backend.clusters import Accelerator, NodeTopology
from cc_backend.model import Scope

SMT = NodeTopology(
    node=(0, 4, 1, 5, 2, 6, 3, 7),
    socket=((0, 4, 1, 5), (2, 6, 3, 7)),
    memory_domain=((0, 4, 1, 5), (2, 6, 3, 7)),
    core=((0, 4), (1, 5), (2, 6), (3, 7)),
    accelerators=(Accelerator("0000:01:00.0", "Nvidia GPU", "X"),),
)
GAPPY = NodeTopology(node=(0, 1, 2), socket=((0, 1), (9,)), memory_domain=(), core=((0,), (), (2,)))


@pytest.mark.parametrize(
    ("scope", "threads", "ids"),
    [
        (Scope.CORE, [4], [0]),
        (Scope.CORE, [7, 0], [0, 3]),
        (Scope.SOCKET, [5, 2], [0, 1]),
        (Scope.MEMORY_DOMAIN, [6], [1]),
        (Scope.HWTHREAD, [6, 0, 6], [6, 0]),
        (Scope.NODE, [6], [0]),
        (Scope.ACCELERATOR, [6], []),
    ],
)
def test_threads_touch_the_units_that_hold_them(scope: Scope, threads: list[int], ids: list[int]) -> None:
    assert SMT.ids_of(scope, threads) == ids


@pytest.mark.parametrize(("scope", "count"), [(Scope.NODE, 1), (Scope.SOCKET, 2), (Scope.CORE, 4), (Scope.HWTHREAD, 8)])
def test_no_threads_mean_the_whole_node(scope: Scope, count: int) -> None:
    assert len(SMT.ids_of(scope, ())) == count == SMT.unit_count(scope)


def test_accelerators_are_counted_and_named_but_have_no_threads() -> None:
    assert SMT.unit_count(Scope.ACCELERATOR) == 1
    assert SMT.accelerator_ids() == ("0000:01:00.0",)
    assert SMT.units(Scope.ACCELERATOR) == ()


def test_an_id_leads_back_to_its_threads() -> None:
    assert SMT.hwthreads_of(Scope.CORE, 3) == (3, 7)
    assert SMT.hwthreads_of(Scope.HWTHREAD, 7) == (7,)
    assert SMT.hwthreads_of(Scope.NODE, 0) == SMT.node


@pytest.mark.parametrize("index", [-1, 4, 99])
def test_an_id_that_does_not_exist_has_no_threads(index: int) -> None:
    assert SMT.hwthreads_of(Scope.CORE, index) == ()


def test_gaps_in_the_description_do_not_fail() -> None:
    assert GAPPY.ids_of(Scope.CORE, [1]) == []
    assert GAPPY.ids_of(Scope.SOCKET, [2]) == []
    assert GAPPY.ids_of(Scope.MEMORY_DOMAIN, [0]) == []


@given(st.sets(st.integers(0, 7), min_size=1), st.sampled_from([Scope.SOCKET, Scope.CORE, Scope.MEMORY_DOMAIN]))
def test_touched_units_cover_the_threads(threads: set[int], scope: Scope) -> None:
    touched = SMT.ids_of(scope, threads)
    assert threads <= {thread for unit in touched for thread in SMT.hwthreads_of(scope, unit)}
