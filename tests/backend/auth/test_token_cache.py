"""Tokens while the job database fails or hangs."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from cc_backend.auth.caller import Caller
from cc_backend.auth.token_cache import FRESH_S, HANGING_S, MAX_AGE_S, MAX_LOOKUPS, TokenCache
from cc_backend.errors import NotAuthenticated, Unavailable

AGENTS = Caller("agents", frozenset({"api"}))


class Lookup:
    """A database that answers, fails, or hangs, as told."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.release = threading.Event()
        self.release.set()
        self.waiting = threading.Semaphore(0)

    def __call__(self) -> Caller:
        self.waiting.release()
        assert self.release.wait(20)
        if self.error is not None:
            raise self.error
        return AGENTS


@pytest.fixture
def lookup() -> Lookup:
    return Lookup()


def test_while_the_lookup_answers_it_alone_counts(lookup: Lookup) -> None:
    verdicts = TokenCache()
    assert verdicts.resolve("t", lookup) is AGENTS
    lookup.error = NotAuthenticated("revoked")
    with pytest.raises(NotAuthenticated):
        verdicts.resolve("t", lookup)


def test_what_was_refused_is_forgotten(lookup: Lookup) -> None:
    verdicts = TokenCache()
    verdicts.resolve("t", lookup)
    for lookup.error in (NotAuthenticated("revoked"), Unavailable("away")):
        with pytest.raises(type(lookup.error)):
            verdicts.resolve("t", lookup)


def test_a_lookup_that_fails_leaves_what_was_confirmed_for_a_bounded_time(lookup: Lookup) -> None:
    now_s = [0.0]
    verdicts = TokenCache(monotonic=lambda: now_s[0])
    verdicts.resolve("t", lookup)
    lookup.error = Unavailable("away")
    now_s[0] = MAX_AGE_S
    assert verdicts.resolve("t", lookup) is AGENTS
    with pytest.raises(Unavailable):
        verdicts.resolve("another", lookup)
    now_s[0] = MAX_AGE_S + 1
    with pytest.raises(Unavailable):
        verdicts.resolve("t", lookup)


def test_many_lookups_at_a_time_do_not_let_a_revoked_token_in_for_longer_than_a_moment(lookup: Lookup) -> None:
    now_s = [0.0]
    verdicts, others = TokenCache(monotonic=lambda: now_s[0]), Lookup()
    verdicts.resolve("t", lookup)
    lookup.error = NotAuthenticated("revoked")
    others.release.clear()
    with ThreadPoolExecutor(MAX_LOOKUPS) as pool:
        now_s[0] = FRESH_S
        for number in range(MAX_LOOKUPS):
            pool.submit(verdicts.resolve, f"other {number}", others)
            assert others.waiting.acquire(timeout=20)
        try:
            assert verdicts.resolve("t", lookup) is AGENTS
            now_s[0] += HANGING_S / 2
            with pytest.raises(NotAuthenticated):
                verdicts.resolve("t", lookup)
        finally:
            others.release.set()


def test_of_many_threads_only_a_few_wait_for_a_lookup_that_hangs(lookup: Lookup) -> None:
    verdicts = TokenCache()
    verdicts.resolve("t", lookup)
    assert lookup.waiting.acquire(timeout=20)
    lookup.release.clear()
    with ThreadPoolExecutor(MAX_LOOKUPS + 1) as pool:
        stuck = [pool.submit(verdicts.resolve, "t", lookup) for _ in range(MAX_LOOKUPS)]
        for _ in stuck:
            assert lookup.waiting.acquire(timeout=20)
        try:
            assert pool.submit(verdicts.resolve, "t", lookup).result(20) is AGENTS
        finally:
            lookup.release.set()
    assert [one.result() for one in stuck] == [AGENTS] * MAX_LOOKUPS
    assert verdicts.resolve("t", lookup) is AGENTS
