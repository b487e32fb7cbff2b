"""Password hashes: creation, verification, and a limit of concurrent verifications."""

import logging
import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import argon2
from argon2.exceptions import InvalidHashError, VerificationError, VerifyMismatchError

from cc_backend.auth.imported_passwords import is_imported_hash, matches_imported_hash
from cc_backend.errors import InvalidInput, Unavailable

logger = logging.getLogger(__name__)

MIN_LENGTH = 8
MAX_LENGTH = 1024  # longer ones only cost processor time
_BUSY_RETRY_S = 2


class LoginsBusy(Unavailable):
    """Too many concurrent logins; the password was not checked."""


def password_hasher() -> argon2.PasswordHasher:
    """Argon2id with 19 MiB and two passes, the minimum of OWASP's password storage cheat sheet.

    The memory is per concurrent login; more would let a few logins exhaust a small server.
    """
    return argon2.PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


class HashSlots:
    """Limits concurrent password checks and the requests that wait for one.

    A check takes some 30 ms of a core and 19 MiB. At most half of the cores are used; a flood of logins occupies at
    most `waiting` more threads, and `reserved` places are kept for browsers that have logged in before.
    """

    def __init__(self, *, running: int | None = None, waiting: int = 6, reserved: int = 2) -> None:
        at_once = max(1, (os.cpu_count() or 1) // 2) if running is None else running
        self._running = threading.BoundedSemaphore(at_once)
        self._places = threading.BoundedSemaphore(at_once + waiting)
        self._reserved = threading.BoundedSemaphore(reserved)

    @contextmanager
    def slot(self, *, known_browser: bool) -> Iterator[None]:
        """A slot to check one password inside the block; waits for a free one.

        Raises:
            LoginsBusy: the maximum number of requests is already waiting.
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
    """Hashes and verifies passwords; verification takes equally long with and without a stored hash."""

    def __init__(self, hasher: argon2.PasswordHasher | None = None) -> None:
        self._hasher = hasher or password_hasher()
        self._dummy_hash = ""
        self._lock = threading.Lock()

    def hash(self, password: str) -> str:
        """The hash to store.

        Raises:
            InvalidInput: the password is too short, too long, or cannot be encoded as UTF-8.
        """
        if len(password) < MIN_LENGTH:
            raise InvalidInput(f"the password is too short: use {MIN_LENGTH} characters or more")
        if len(password) > MAX_LENGTH:
            raise InvalidInput(f"the password is too long: use at most {MAX_LENGTH} characters")
        try:
            return self._hasher.hash(password)
        except UnicodeEncodeError as error:
            raise InvalidInput("the password has characters that cannot be encoded as UTF-8") from error

    def matches(self, stored: str | None, password: str, *, has_imported: bool = False) -> bool:
        """Whether the password matches the stored hash; False, after the same time, if there is none.

        With `has_imported`, some account has a hash of ClusterCockpit 1.5: then both kinds are checked for every
        account, so that the time does not say which accounts have one.
        """
        if not has_imported:
            return self._matches(stored, password)
        is_imported = is_imported_hash(stored)
        fits = self._matches(None if is_imported else stored, password)
        return matches_imported_hash(stored if is_imported else None, password) or fits

    def _matches(self, stored: str | None, password: str) -> bool:
        dummy = self._dummy()  # created at the very first login, not at the first unknown name
        try:
            # No account has a password that is too long; verify something of the same cost.
            self._hasher.verify(stored or dummy, password[:MAX_LENGTH])
        except VerifyMismatchError:
            return False
        except (InvalidHashError, VerificationError, UnicodeEncodeError):
            logger.warning("a stored password hash is invalid, or a typed password cannot be encoded as UTF-8")
            return False
        return stored is not None

    def rehash_if_outdated(self, stored: str, password: str) -> str | None:
        """A new hash with the present parameters, None if the stored one has them."""
        is_outdated = is_imported_hash(stored) or self._hasher.check_needs_rehash(stored)
        return self._hasher.hash(password) if is_outdated else None

    def _dummy(self) -> str:
        """The hash of a random password."""
        with self._lock:
            if not self._dummy_hash:
                self._dummy_hash = self._hasher.hash(secrets.token_hex(16))
        return self._dummy_hash
