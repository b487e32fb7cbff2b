import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cc_backend.metricstore.blocks.row_allocator import RowAllocator


def claim(rows: RowAllocator, row: int, owner: int) -> bool:
    return bool(rows.claim_many(np.array([row]), np.array([owner]))[0])


def test_rows_of_one_owner_lie_together() -> None:
    rows = RowAllocator()
    mine: dict[int, list[int]] = {1: [], 2: []}
    for _ in range(100):
        for owner in (1, 2):
            mine[owner].append(rows.allocate(owner))
    assert mine[1][:8] == list(range(8))
    assert mine[2][:8] == list(range(8, 16))
    assert np.count_nonzero(np.diff(mine[1]) != 1) + 1 <= 14
    rows.validate()


def test_many_at_once_are_neighbours() -> None:
    rows = RowAllocator()
    rows.allocate(1)
    many = rows.allocate_many(2, 1000)
    assert many.tolist() == list(range(8, 1008))
    assert rows.allocate(2) == 1008
    rows.validate()


def test_a_row_is_claimed_once() -> None:
    rows = RowAllocator()
    assert claim(rows, 5, 1)
    assert not claim(rows, 5, 1)
    assert not claim(rows, 5, 2)
    assert rows.count == 6
    rows.validate()


def test_rows_below_a_claimed_one_are_free_for_others() -> None:
    rows = RowAllocator()
    assert claim(rows, 20, 1)
    assert rows.allocate(2) == 0
    assert claim(rows, 10, 3)
    assert rows.allocate_many(4, 20).tolist()[:2] == [8, 9]
    rows.validate()


def test_the_rest_of_an_extent_is_for_its_owner() -> None:
    rows = RowAllocator()
    rows.allocate(1)
    assert not claim(rows, 3, 2)
    assert claim(rows, 3, 1)
    assert [rows.allocate(1) for _ in range(3)] == [1, 2, 4]
    rows.validate()


def test_of_many_those_that_are_free_are_taken() -> None:
    rows = RowAllocator()
    rows.allocate(9)
    taken = rows.claim_many(np.array([8, 0, 2000, 9]), np.array([1, 1, 1, 2]))
    assert taken.tolist() == [True, False, True, True]
    assert rows.claim_many(np.empty(0, np.int64), np.empty(0, np.int64)).tolist() == []
    rows.validate()


def test_what_an_owner_leaves_is_handed_out_again_the_lowest_first() -> None:
    rows = RowAllocator()
    mine = rows.allocate_many(1, 16)
    rows.allocate(2)
    rows.release(1, mine[3:])
    assert rows.allocate(2) > 16
    rows.release(1, mine[:3])
    assert rows.allocate(3) == 0
    rows.validate()


class Books(RuleBasedStateMachine):
    """Whatever is asked, no row has two owners and none gets lost."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = RowAllocator()
        self.owner: dict[int, int] = {}

    def take(self, row: int, owner: int) -> None:
        assert row not in self.owner
        self.owner[row] = owner

    @rule(owner=st.integers(0, 3))
    def allocate(self, owner: int) -> None:
        self.take(self.rows.allocate(owner), owner)

    @rule(owner=st.integers(0, 3), count=st.integers(1, 30))
    def allocate_many(self, owner: int, count: int) -> None:
        rows = self.rows.allocate_many(owner, count)
        assert len(rows) == count
        for row in rows.tolist():
            self.take(row, owner)

    @rule(rows=st.sets(st.integers(0, 60), min_size=1, max_size=10), owner=st.integers(0, 3))
    def claim(self, rows: set[int], owner: int) -> None:
        numbers = np.array(sorted(rows))
        taken = self.rows.claim_many(numbers, np.full(len(numbers), owner))
        assert not any(row in self.owner for row in numbers[taken].tolist())
        for row in numbers[taken].tolist():
            self.take(row, owner)

    @rule(owner=st.integers(0, 3), share=st.integers(1, 4))
    def release(self, owner: int, share: int) -> None:
        mine = [row for row, other in self.owner.items() if other == owner][::share]
        if mine:
            self.rows.release(owner, np.array(mine))
            for row in mine:
                del self.owner[row]

    @invariant()
    def books_agree(self) -> None:
        self.rows.validate()
        assert self.rows.idle_rows() == set(range(self.rows.count)) - set(self.owner)


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
