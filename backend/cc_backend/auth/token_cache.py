"""Cache of the last result for each token: samples must not wait for an unavailable job database."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

from cc_backend.auth.caller import Caller
from cc_backend.errors import NotAuthenticated, Unavailable

MAX_AGE_S = 900.0
"""Maximum age of a confirmation with which a token is accepted without the database."""

MAX_LOOKUPS = 1
"""Maximum threads that query the database at the same time for tokens that it has confirmed recently."""

HANGING_S = 0.5
"""A lookup that takes longer is hanging; meanwhile confirmed tokens are accepted without the database."""

FRESH_S = 1.0
"""Maximum age of a confirmation while MAX_LOOKUPS lookups are running and none is hanging."""

_MAX_TOKENS = 10_000


class TokenCache:
    """Looks up the caller of a token, and caches it in case a later lookup fails or hangs.

    As long as lookups succeed, each call makes one: a revocation is effective from the next call on, under load within
    a second.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._confirmed: OrderedDict[Hashable, tuple[Caller, float]] = OrderedDict()
        self._began: dict[object, float] = {}  # running lookups

    def resolve(self, key: Hashable, lookup: Callable[[], Caller]) -> Caller:
        """The caller of the token with this key.

        Raises:
            NotAuthenticated: the lookup rejects the token.
            Unavailable: the lookup fails, and the token was not confirmed within the last 15 minutes.
        """
        lookup_id = object()
        with self._lock:
            confirmed = self._recently_confirmed(key)
            if confirmed is not None and self._may_skip_lookup(key):
                return confirmed
            self._began[lookup_id] = self._monotonic()
        try:
            caller = lookup()
        except NotAuthenticated:
            with self._lock:
                self._confirmed.pop(key, None)
            raise
        except Unavailable:
            if confirmed is None:
                raise
            return confirmed
        finally:
            with self._lock:
                del self._began[lookup_id]
        with self._lock:
            self._confirmed[key] = caller, self._monotonic()
            self._confirmed.move_to_end(key)
            if len(self._confirmed) > _MAX_TOKENS:
                self._confirmed.popitem(last=False)
        return caller

    def _may_skip_lookup(self, key: Hashable) -> bool:
        """Whether a confirmed token is accepted without another lookup."""
        if len(self._began) < MAX_LOOKUPS:
            return False
        now_s = self._monotonic()
        is_hanging = now_s - min(self._began.values()) > HANGING_S
        return is_hanging or now_s - self._confirmed[key][1] <= FRESH_S

    def _recently_confirmed(self, key: Hashable) -> Caller | None:
        caller, confirmed_s = self._confirmed.get(key, (None, 0.0))
        return caller if self._monotonic() - confirmed_s <= MAX_AGE_S else None
