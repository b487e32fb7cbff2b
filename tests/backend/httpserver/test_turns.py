"""Whose work is next: senders take turns, strangers leave half to who is known, who has most gives way first."""

from hypothesis import given
from hypothesis import strategies as st

from cc_backend.httpserver.turns import Sender, Turns, Work

ADA, BOB = Sender("ada", is_known=True), Sender("bob", is_known=True)
HERE, THERE = Sender("192.0.2.1", is_known=False), Sender("192.0.2.2", is_known=False)


def work(sender: Sender) -> Work:
    return Work(sender, lambda: None, lambda: None)


def turns_with(*senders: Sender, max_waiting: int = 100, at_once: int = 100) -> Turns:
    turns = Turns(max_waiting=max_waiting, at_once=at_once)
    for sender in senders:
        assert turns.add(work(sender)) is None
    return turns


def order(turns: Turns) -> list[str]:
    """Who has a turn, one after the other, each ended before the next begins."""
    found = []
    while (taken := turns.take()) is not None:
        found.append(taken.sender.name)
        turns.end(taken)
    return found


def test_senders_take_turns_however_much_each_has() -> None:
    assert order(turns_with(ADA, ADA, ADA, ADA, BOB, BOB)) == ["ada", "bob", "ada", "bob", "ada", "ada"]


def test_what_one_sender_has_keeps_its_order() -> None:
    turns, works = turns_with(), [work(ADA) for _ in range(3)]
    for one in works:
        turns.add(one)
    assert [turns.take() for _ in works] == works


def test_known_callers_together_have_every_other_turn_beside_any_number_of_strangers() -> None:
    strangers = [Sender(f"192.0.2.{number}", is_known=False) for number in range(4)]
    assert order(turns_with(*strangers, ADA, ADA, ADA))[:6:2] == ["ada"] * 3


def test_only_so_many_strangers_are_served_at_the_same_time() -> None:
    turns = turns_with(HERE, THERE, HERE, ADA, BOB, at_once=1)
    begun = [taken for _ in range(5) if (taken := turns.take()) is not None]
    assert [one.sender for one in begun] == [ADA, HERE, BOB]
    turns.end(begun[1])
    assert order(turns) == ["192.0.2.2", "192.0.2.1"]


def test_who_is_served_often_enough_at_the_same_time_is_passed_over() -> None:
    turns = turns_with(ADA, ADA, ADA, ADA, BOB, at_once=2)
    begun = [taken for _ in range(5) if (taken := turns.take()) is not None]
    assert [one.sender for one in begun] == [ADA, BOB, ADA]
    turns.end(begun[0])
    assert turns.take() is not None
    assert turns.take() is None


def test_who_has_most_waiting_gives_way() -> None:
    turns, latest = turns_with(HERE, HERE, THERE, max_waiting=4), work(HERE)
    assert turns.add(latest) is None
    assert turns.add(work(THERE)) is latest
    one_too_many = work(HERE)
    assert turns.add(one_too_many) is one_too_many
    assert order(turns) == ["192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.2"]


def test_strangers_never_take_the_room_of_who_is_known() -> None:
    turns = turns_with(HERE, THERE, max_waiting=2)
    assert turns.add(work(ADA)) is None
    assert turns.add(work(ADA)) is None
    assert turns.add(work(THERE)) is not None


@given(st.lists(st.sampled_from([ADA, BOB, HERE, THERE, None]), max_size=60))
def test_all_that_is_not_refused_is_done_once(events: list[Sender | None]) -> None:
    turns = Turns(max_waiting=5, at_once=2)
    waiting: list[Work] = []
    running: list[Work] = []
    for sender in events:
        if sender is not None:
            waiting.append(work(sender))
            refused = turns.add(waiting[-1])
            if refused is not None:
                waiting.remove(refused)
        elif (taken := turns.take()) is not None:
            waiting.remove(taken)
            running.append(taken)
        elif running:
            turns.end(running.pop())
        assert sum(not one.sender.is_known for one in running) <= 2
        assert all(sum(one.sender == known for one in running) <= 2 for known in (ADA, BOB))
    for one in running:
        turns.end(one)
    assert len(order(turns)) == len(waiting)
