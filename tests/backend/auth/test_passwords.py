import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import argon2
import pytest

from cc_backend.auth.login_throttle import ACCOUNT, ACCOUNT_AT_ADDRESS, ADDRESS, BucketLimit, LoginThrottle
from cc_backend.auth.passwords import HashSlots, LoginsBusy, Passwords
from cc_backend.auth.users import Users
from cc_backend.db.database import Database
from cc_backend.errors import NotAuthenticated

NOW_S = 1_760_000_000
PASSWORD = "correct horse"


class WatchedHasher(argon2.PasswordHasher):
    """A real one that remembers how many checks ran at the same time."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=1024, parallelism=1)
        self._lock = threading.Lock()
        self.running = 0
        self.most = 0

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # noqa: A002 - as the base class names it
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            return super().verify(hash, password)
        finally:
            with self._lock:
                self.running -= 1


@pytest.fixture
def full() -> Iterator[HashSlots]:
    """Slots of which one works, two wait, and no more have a place."""
    slots = HashSlots(running=1, waiting=2, reserved=1)
    with ThreadPoolExecutor(2) as pool, ExitStack() as working:
        working.enter_context(slots.slot(known_browser=False))

        def wait() -> None:
            with slots.slot(known_browser=False):
                pass

        waiting = [pool.submit(wait) for _ in range(2)]
        while slots._places._value:
            time.sleep(0.001)
        yield slots
        working.close()
        for one in waiting:
            one.result()


def test_a_flood_of_logins_is_turned_away_and_not_queued(full: HashSlots) -> None:
    with pytest.raises(LoginsBusy) as refused, full.slot(known_browser=False):
        pass
    assert (refused.value.status, refused.value.retry_after_s) == (503, 2)


def test_known_browsers_have_places_of_their_own_in_a_flood(full: HashSlots) -> None:
    places = full._acquire_place(known_browser=True)
    with pytest.raises(LoginsBusy):
        full._acquire_place(known_browser=True)
    places.release()


def test_no_more_passwords_are_checked_at_a_time_than_may(database: Database) -> None:
    hasher = WatchedHasher()
    plenty = {kind: BucketLimit(1000, 1) for kind in (ACCOUNT_AT_ADDRESS, ACCOUNT, ADDRESS)}
    slots = HashSlots(running=2, waiting=50, reserved=1)
    users = Users(database, hasher=hasher, throttle=LoginThrottle(plenty), slots=slots)
    users.add("kmeyer", ["user"], password=PASSWORD)

    def log_in(_: int) -> None:
        users.verify_password("kmeyer", PASSWORD, NOW_S, address="192.0.2.1")

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(log_in, range(40)))
    assert hasher.most <= 2


def test_who_was_turned_away_has_lost_no_try(
    database: Database, hasher: argon2.PasswordHasher, full: HashSlots
) -> None:
    throttle = LoginThrottle({ACCOUNT_AT_ADDRESS: BucketLimit(1, 100)})
    Users(database, hasher=hasher).add("kmeyer", ["user"], password=PASSWORD)
    busy = Users(database, hasher=hasher, throttle=throttle, slots=full)
    for _ in range(10):
        with pytest.raises(LoginsBusy):
            busy.verify_password("kmeyer", PASSWORD, NOW_S, address="192.0.2.1")
    free = Users(database, hasher=hasher, throttle=throttle)
    assert free.verify_password("kmeyer", PASSWORD, NOW_S, address="192.0.2.1").name == "kmeyer"


def test_a_place_is_given_back_when_a_check_fails(database: Database, hasher: argon2.PasswordHasher) -> None:
    users = Users(database, hasher=hasher, slots=HashSlots(running=1, waiting=0, reserved=0))
    for number in range(5):
        with pytest.raises(NotAuthenticated):
            users.verify_password(f"nobody{number}", "wrong", NOW_S)


class CountingHasher(argon2.PasswordHasher):
    """Counts what it is asked to do; both cost the same."""

    def __init__(self) -> None:
        super().__init__(time_cost=1, memory_cost=8, parallelism=1)
        self.calls: list[str] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # noqa: A002 - as the base class names it
        self.calls.append("verify")
        return super().verify(hash, password)

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self.calls.append("hash")
        return super().hash(password, salt=salt)


@pytest.mark.parametrize("known", ["known", ""])
def test_the_first_check_of_all_costs_the_same_for_unknown_names(known: str) -> None:
    hasher = CountingHasher()
    stored = Passwords(argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)).hash(PASSWORD)
    assert not Passwords(hasher).matches(stored if known else None, "wrong horse")
    assert hasher.calls == ["hash", "verify"]
