"""Password hashes: how they are made and checked, and how many are worked on at the same time."""

import logging
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import argon2
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from cc_backend.errors import InvalidInput, Unavailable

logger = logging.getLogger(__name__)

MIN_LENGTH = 8
MAX_LENGTH = 1024  # a longer one only costs the server time
_BUSY_RETRY_S = 2


class LoginsBusy(Unavailable):
    """More people log in at this moment than the server checks at a time; nothing was tried."""


def password_hasher() -> argon2.PasswordHasher:
    """Argon2id with 19 MiB and two passes, the least that OWASP's password storage sheet asks for.

    The memory is per login that runs at the moment; more would let a handful of logins push a small server around.
    """
    return argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


class HashSlots:
    """How many passwords are checked at a time, and how many requests may wait for that.

    A check takes some 30 ms of a core and 19 MiB. Half of the cores at most work on them; a flood of logins holds
    no more than `waiting` threads and leaves `reserved` places for browsers that have logged in before.
    """

    def __init__(self, *, running: int | None = None, waiting: int = 6, reserved: int = 2) -> None:
        at_once = max(1, (os.cpu_count() or 1) // 2) if running is None else running
        self._running = threading.BoundedSemaphore(at_once)
        self._places = threading.BoundedSemaphore(at_once + waiting)
        self._reserved = threading.BoundedSemaphore(reserved)

    @contextmanager
    def slot(self, *, known_browser: bool) -> Iterator[None]:
        """A place to check one password in, waited for if need be.

        Raises:
            LoginsBusy: as many as may are waiting already.
        """
        places = self._acquire_place(known_browser=known_browser)
        try:
            with self._running:
                yield
        finally:
            places.release()

    def _acquire_place(self, *, known_browser: bool) -> threading.BoundedSemaphore:
        if self._places.acquire(blocking=False):
            return self._places
        if known_browser and self._reserved.acquire(blocking=False):
            return self._reserved
        raise LoginsBusy("many people log in at this moment; try again in a few seconds", retry_after_s=_BUSY_RETRY_S)


class Passwords:
    """Hashes passwords and checks them; a check costs the same whether there is a hash to check against or not."""

    def __init__(self, hasher: argon2.PasswordHasher | None = None) -> None:
        self._hasher = hasher or password_hasher()
        self._dummy_hash = ""
        self._lock = threading.Lock()

    def hash(self, password: str) -> str:
        """The hash to store.

        Raises:
            InvalidInput: the password is too short, too long, or cannot be written as bytes.
        """
        if len(password) < MIN_LENGTH:
            raise InvalidInput(f"the password is too short: use {MIN_LENGTH} characters or more")
        if len(password) > MAX_LENGTH:
            raise InvalidInput(f"the password is too long: use at most {MAX_LENGTH} characters")
        try:
            return self._hasher.hash(password)
        except UnicodeEncodeError as error:
            raise InvalidInput("the password holds characters that have no bytes") from error

    def matches(self, stored: str | None, password: str) -> bool:
        """Whether the password belongs to the stored hash; never without one, which takes as long."""
        dummy = self._dummy()  # made at the first login of all, not at the first for an unknown name
        try:
            # A password that is too long was refused when it was set; hash something all the same.
            self._hasher.verify(stored or dummy, password[:MAX_LENGTH])
        except VerifyMismatchError:
            return False
        except (InvalidHashError, VerificationError, UnicodeEncodeError):
            logger.warning("a stored password hash cannot be read, or a typed password has no bytes")
            return False
        return stored is not None

    def rehash_if_outdated(self, stored: str, password: str) -> str | None:
        """The hash with the settings of today, None where the stored one has them."""
        return self._hasher.hash(password) if self._hasher.check_needs_rehash(stored) else None

    def _dummy(self) -> str:
        """A hash of nothing anybody knows."""
        with self._lock:
            if not self._dummy_hash:
                self._dummy_hash = self._hasher.hash(secrets.token_hex(16))
        return self._dummy_hash
