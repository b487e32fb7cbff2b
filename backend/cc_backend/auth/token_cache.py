"""What the database last said of each token: samples must not wait behind a job database that does not answer."""

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

from cc_backend.auth.caller import Caller
from cc_backend.errors import NotAuthenticated, Unavailable

MAX_AGE_S = 900.0
"""For so long after the database last confirmed a token it is taken without it."""

MAX_LOOKUPS = 1
"""While so many threads wait for the database, those with a token that it has confirmed do not join them."""

HANGING_S = 0.5
"""A lookup that takes longer hangs. While some do, tokens that were confirmed do not wait for the database."""

FRESH_S = 1.0
"""While that many lookups run that do not hang, a token is taken without one for so long after it was confirmed."""

_MAX_TOKENS = 10_000


class TokenCache:
    """Asks a lookup who a token stands for, and remembers the answer for when the lookup fails or hangs.

    While it answers, each call asks it: a revocation counts from the next call on, under load within a second.
    """

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._confirmed: OrderedDict[Hashable, tuple[Caller, float]] = OrderedDict()
        self._began: dict[object, float] = {}  # lookups that run

    def resolve(self, key: Hashable, lookup: Callable[[], Caller]) -> Caller:
        """Who the token of this key stands for.

        Raises:
            NotAuthenticated: the lookup says that the token is no good.
            Unavailable: the lookup fails, and the token was not confirmed in the last quarter of an hour.
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
        """Whether a token that was confirmed is taken without asking again."""
        if len(self._began) < MAX_LOOKUPS:
            return False
        now_s = self._monotonic()
        is_hanging = now_s - min(self._began.values()) > HANGING_S
        return is_hanging or now_s - self._confirmed[key][1] <= FRESH_S

    def _recently_confirmed(self, key: Hashable) -> Caller | None:
        caller, confirmed_s = self._confirmed.get(key, (None, 0.0))
        return caller if self._monotonic() - confirmed_s <= MAX_AGE_S else None
