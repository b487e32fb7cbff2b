import pytest

from cc_backend.auth.throttle import Limit, Throttle
from cc_backend.errors import TooMany


def make(**changes: int) -> Throttle:
    return Throttle(per_account=Limit(2, 100), per_address=Limit(3, 10), **changes)


def test_failures_of_an_account_use_up_its_tries_wherever_they_come_from() -> None:
    throttle = make()
    throttle.take("kmeyer", "192.0.2.1", now_s=0)
    throttle.take("kmeyer", "192.0.2.2", now_s=0)
    with pytest.raises(TooMany) as refused:
        throttle.take("kmeyer", "192.0.2.3", now_s=0)
    assert refused.value.retry_after_s == 100


def test_failures_from_an_address_use_up_its_tries_whatever_the_account() -> None:
    throttle = make()
    for name in ("a", "b", "c"):
        throttle.take(name, "192.0.2.1", now_s=0)
    with pytest.raises(TooMany) as refused:
        throttle.take("d", "192.0.2.1", now_s=0)
    assert refused.value.retry_after_s == 10
    throttle.take("d", "192.0.2.2", now_s=0)


def test_tries_come_back_with_time() -> None:
    throttle = make()
    for _ in range(2):
        throttle.take("kmeyer", "", now_s=0)
    with pytest.raises(TooMany):
        throttle.take("kmeyer", "", now_s=99)
    throttle.take("kmeyer", "", now_s=100)


def test_success_costs_nothing() -> None:
    throttle = make()
    for second in range(20):
        throttle.take("kmeyer", "192.0.2.1", now_s=second)
        throttle.give_back("kmeyer", "192.0.2.1", now_s=second)


def test_a_refused_try_counts_against_nobody() -> None:
    throttle = make()
    for _ in range(2):
        throttle.take("kmeyer", "192.0.2.1", now_s=0)
    for _ in range(50):
        with pytest.raises(TooMany):
            throttle.take("kmeyer", "192.0.2.1", now_s=0)
    throttle.take("other", "192.0.2.1", now_s=0)


def test_a_clock_that_goes_back_gives_no_tries() -> None:
    throttle = make()
    for _ in range(2):
        throttle.take("kmeyer", "", now_s=1000)
    with pytest.raises(TooMany):
        throttle.take("kmeyer", "", now_s=10)


def test_memory_is_bounded_and_the_longest_unused_is_forgotten() -> None:
    throttle = make(max_buckets=10)
    for number in range(100):
        throttle.take(f"user{number}", "", now_s=0)
    assert len(throttle) == 10
