from collections.abc import Callable
from typing import Any

import pytest

from cc_backend.auth.login_throttle import (
    ACCOUNT,
    ACCOUNT_AT_ADDRESS,
    ADDRESS,
    BROWSER,
    LIMITS,
    MAX_BUCKETS_PER_KIND,
    NETWORK,
    BucketLimit,
    LoginAttempt,
    LoginThrottle,
)
from cc_backend.errors import TooManyRequests

SMALL = {
    ACCOUNT_AT_ADDRESS: BucketLimit(2, 100),
    ACCOUNT: BucketLimit(4, 50),
    ADDRESS: BucketLimit(6, 10),
    NETWORK: BucketLimit(8, 10),
    BROWSER: BucketLimit(3, 100),
}


def make(**changes: Any) -> LoginThrottle:
    return LoginThrottle(SMALL, **changes)


def fail(
    throttle: LoginThrottle, account: str, address: str = "", *, browser: str = "", times: int = 1, now_s: float = 0
) -> int:
    """So many wrong passwords, as far as they are let through; how many were."""
    through = 0
    for _ in range(times):
        try:
            throttle.consume(LoginAttempt(account, address, browser), now_s=now_s)
        except TooManyRequests:
            continue
        through += 1
    return through


def wait_s(throttle: LoginThrottle, account: str, address: str = "", *, now_s: float = 0) -> int | None:
    with pytest.raises(TooManyRequests) as refused:
        throttle.consume(LoginAttempt(account, address), now_s=now_s)
    return refused.value.retry_after_s


def test_wrong_passwords_of_somebody_else_do_not_lock_the_owner_out() -> None:
    throttle = make()
    assert fail(throttle, "kmeyer", "192.0.2.1", times=50) == 2
    assert wait_s(throttle, "kmeyer", "192.0.2.1") == 100
    assert fail(throttle, "kmeyer", "192.0.2.2") == 1


def test_five_wrong_passwords_are_what_an_account_has_at_one_address() -> None:
    assert fail(LoginThrottle(), "kmeyer", "192.0.2.1", times=50) == 5


def test_many_addresses_together_use_up_the_tries_of_an_account() -> None:
    throttle = make()
    assert sum(fail(throttle, "kmeyer", f"192.0.2.{number}") for number in range(50)) == 4
    assert wait_s(throttle, "kmeyer", "192.0.2.99") == 50
    assert fail(throttle, "other", "192.0.2.99") == 1


def test_a_browser_that_has_logged_in_before_is_let_through_all_the_same() -> None:
    throttle = make()
    for number in range(50):
        fail(throttle, "kmeyer", f"192.0.2.{number % 5}", times=2)
    assert fail(throttle, "kmeyer", "192.0.2.1", browser="mine", times=50) == 3
    assert fail(throttle, "kmeyer", "192.0.2.1", browser="stolen", times=50) == 3


def test_when_its_own_tries_are_used_up_a_browser_has_those_of_everybody() -> None:
    throttle = make()
    assert fail(throttle, "kmeyer", "192.0.2.1", browser="mine", times=50) == 3 + 2
    assert wait_s(throttle, "kmeyer", "192.0.2.1") == 100


def test_failures_from_an_address_use_up_its_tries_whatever_the_account() -> None:
    throttle = make()
    assert sum(fail(throttle, f"u{number}", "192.0.2.1") for number in range(50)) == 6
    assert wait_s(throttle, "another", "192.0.2.1") == 10
    assert fail(throttle, "another", "192.0.2.2") == 1


@pytest.mark.parametrize(
    ("addresses", "through"),
    [
        ([f"2001:db8:0:1::{number:x}" for number in range(1, 51)], 6),
        ([f"2001:db8:0:{number:x}::1" for number in range(1, 51)], 8),
        ([f"2001:db8:{number:x}::1" for number in range(1, 51)], 50),
        ([f"::ffff:192.0.2.{number}" for number in range(1, 51)], 50),
        (["::ffff:192.0.2.1", "192.0.2.1"] * 25, 6),
        (["2001:DB8::1", "2001:db8:0:0::1"] * 25, 6),
    ],
    ids=["one /64", "one /48", "many owners", "mapped v4", "v4 in two spellings", "v6 in two spellings"],
)
def test_an_address_is_what_one_customer_has(addresses: list[str], through: int) -> None:
    throttle = make()
    assert sum(fail(throttle, f"u{number}", address) for number, address in enumerate(addresses)) == through


def test_tries_come_back_with_time() -> None:
    throttle = make()
    fail(throttle, "kmeyer", "192.0.2.1", times=2)
    assert wait_s(throttle, "kmeyer", "192.0.2.1", now_s=99) == 1
    assert fail(throttle, "kmeyer", "192.0.2.1", now_s=100) == 1


def test_success_costs_nothing() -> None:
    throttle = make()
    for second in range(50):
        for browser in ("", "mine"):
            taken = throttle.consume(LoginAttempt("kmeyer", "192.0.2.1", browser), now_s=second)
            throttle.refund(taken, now_s=second)


def test_a_refused_try_counts_against_nobody() -> None:
    throttle = make()
    fail(throttle, "kmeyer", "192.0.2.1", times=50)
    assert fail(throttle, "other", "192.0.2.1") == 1


def test_a_clock_that_goes_back_gives_no_tries() -> None:
    throttle = make()
    fail(throttle, "kmeyer", "192.0.2.1", times=2, now_s=1000)
    assert wait_s(throttle, "kmeyer", "192.0.2.1", now_s=10) == 100


def test_a_clock_that_goes_back_keeps_nobody_out_for_longer() -> None:
    throttle = make()
    fail(throttle, "kmeyer", "192.0.2.1", times=2, now_s=1_000_000)
    assert fail(throttle, "kmeyer", "192.0.2.1", now_s=0) == 0
    assert fail(throttle, "kmeyer", "192.0.2.1", now_s=100) == 1


@pytest.mark.parametrize(
    "spray",
    [
        lambda number: LoginAttempt(f"user{number}"),
        lambda number: LoginAttempt(f"user{number}", f"2001:db8:{number:x}::1"),
        lambda number: LoginAttempt("kmeyer", f"2001:db8:{number:x}::1", f"browser{number}"),
    ],
    ids=["accounts", "addresses", "browsers"],
)
def test_memory_is_bounded(spray: Callable[[int], LoginAttempt]) -> None:
    throttle = make(max_buckets=10)
    for number in range(200):
        throttle.consume(spray(number), now_s=number * 1000)
    assert len(throttle) <= 10 * len(LIMITS)
    assert MAX_BUCKETS_PER_KIND * len(LIMITS) <= 50_000


def test_made_up_accounts_do_not_make_it_forget_what_an_address_has_done() -> None:
    throttle = make(max_buckets=4)
    fail(throttle, "a", "192.0.2.1", times=2)
    fail(throttle, "b", "192.0.2.1", times=2)
    for number in range(100):
        fail(throttle, f"user{number}")
    assert fail(throttle, "c", "192.0.2.1", times=50) == 2
