"""Whose work is next: senders take turns, strangers leave half to who is known, who has most gives way first."""

from hypothesis import given
from hypothesis import strategies as st

from cc_backend.httpserver.fair_queue import FairQueue, Sender, WorkItem

ADA, BOB = Sender("ada", is_known=True), Sender("bob", is_known=True)
HERE, THERE = Sender("192.0.2.1", is_known=False), Sender("192.0.2.2", is_known=False)


def work(sender: Sender) -> WorkItem:
    return WorkItem(sender, lambda: None, lambda: None)


def queue_with(*senders: Sender, max_waiting: int = 100, at_once: int = 100) -> FairQueue:
    queue = FairQueue(max_waiting=max_waiting, max_running=at_once)
    for sender in senders:
        assert queue.add(work(sender)) is None
    return queue


def order(queue: FairQueue) -> list[str]:
    """Who has a turn, one after the other, each ended before the next begins."""
    found = []
    while (taken := queue.next_item()) is not None:
        found.append(taken.sender.name)
        queue.finish_item(taken)
    return found


def test_senders_take_turns_however_much_each_has() -> None:
    assert order(queue_with(ADA, ADA, ADA, ADA, BOB, BOB)) == ["ada", "bob", "ada", "bob", "ada", "ada"]


def test_what_one_sender_has_keeps_its_order() -> None:
    queue, works = queue_with(), [work(ADA) for _ in range(3)]
    for one in works:
        queue.add(one)
    assert [queue.next_item() for _ in works] == works


def test_known_callers_together_have_every_other_turn_beside_any_number_of_strangers() -> None:
    strangers = [Sender(f"192.0.2.{number}", is_known=False) for number in range(4)]
    assert order(queue_with(*strangers, ADA, ADA, ADA))[:6:2] == ["ada"] * 3


def test_only_so_many_strangers_are_served_at_the_same_time() -> None:
    queue = queue_with(HERE, THERE, HERE, ADA, BOB, at_once=1)
    begun = [taken for _ in range(5) if (taken := queue.next_item()) is not None]
    assert [one.sender for one in begun] == [ADA, HERE, BOB]
    queue.finish_item(begun[1])
    assert order(queue) == ["192.0.2.2", "192.0.2.1"]


def test_who_is_served_often_enough_at_the_same_time_is_passed_over() -> None:
    queue = queue_with(ADA, ADA, ADA, ADA, BOB, at_once=2)
    begun = [taken for _ in range(5) if (taken := queue.next_item()) is not None]
    assert [one.sender for one in begun] == [ADA, BOB, ADA]
    queue.finish_item(begun[0])
    assert queue.next_item() is not None
    assert queue.next_item() is None


def test_who_has_most_waiting_gives_way() -> None:
    queue, latest = queue_with(HERE, HERE, THERE, max_waiting=4), work(HERE)
    assert queue.add(latest) is None
    assert queue.add(work(THERE)) is latest
    one_too_many = work(HERE)
    assert queue.add(one_too_many) is one_too_many
    assert order(queue) == ["192.0.2.1", "192.0.2.2", "192.0.2.1", "192.0.2.2"]


def test_strangers_never_take_the_room_of_who_is_known() -> None:
    queue = queue_with(HERE, THERE, max_waiting=2)
    assert queue.add(work(ADA)) is None
    assert queue.add(work(ADA)) is None
    assert queue.add(work(THERE)) is not None


@given(st.lists(st.sampled_from([ADA, BOB, HERE, THERE, None]), max_size=60))
def test_all_that_is_not_refused_is_done_once(events: list[Sender | None]) -> None:
    queue = FairQueue(max_waiting=5, max_running=2)
    waiting: list[WorkItem] = []
    running: list[WorkItem] = []
    for sender in events:
        if sender is not None:
            waiting.append(work(sender))
            refused = queue.add(waiting[-1])
            if refused is not None:
                waiting.remove(refused)
        elif (taken := queue.next_item()) is not None:
            waiting.remove(taken)
            running.append(taken)
        elif running:
            queue.finish_item(running.pop())
        assert sum(not one.sender.is_known for one in running) <= 2
        assert all(sum(one.sender == known for one in running) <= 2 for known in (ADA, BOB))
    for one in running:
        queue.finish_item(one)
    assert len(order(queue)) == len(waiting)
