"""How often a wrong password may be tried: one bucket of tries for each account and one for each address."""

import math
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from cc_backend.errors import TooMany


@dataclass(frozen=True, slots=True)
class Limit:
    """`burst` failures at once, then one more each `refill_s` seconds."""

    burst: int
    refill_s: float


PER_ACCOUNT = Limit(burst=5, refill_s=180)
# Many people may share an address (a gateway, a proxy that is not trusted): more tries, faster refill.
PER_ADDRESS = Limit(burst=20, refill_s=30)
MAX_BUCKETS = 20_000


@dataclass(slots=True)
class _Bucket:
    spent: float
    at_s: float


class Throttle:
    """Counts failures only: a try takes from its buckets and gives back when it succeeded.

    Takes the time as an argument and holds at most `max_buckets` buckets; the longest unused are forgotten first.
    """

    def __init__(
        self,
        *,
        per_account: Limit = PER_ACCOUNT,
        per_address: Limit = PER_ADDRESS,
        max_buckets: int = MAX_BUCKETS,
    ) -> None:
        self._limits = {"account": per_account, "address": per_address}
        self._max_buckets = max_buckets
        self._buckets: OrderedDict[tuple[str, str], _Bucket] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, account: str, address: str, *, now_s: float) -> None:
        """Counts a try against the account and, where it is known, the address it came from.

        Taken before the password is looked at, so that many tries at once cannot slip through together.

        Raises:
            TooMany: one of the two has no try left; nothing is counted then.
        """
        with self._lock:
            buckets = [(self._bucket(key, now_s), self._limits[key[0]]) for key in _keys(account, address)]
            waits = [(bucket.spent + 1 - limit.burst) * limit.refill_s for bucket, limit in buckets]
            longest = max(waits)
            if longest > 0:
                retry_after_s = math.ceil(longest)
                raise TooMany(f"too many failed logins; try again in {retry_after_s} s", retry_after_s=retry_after_s)
            for bucket, _ in buckets:
                bucket.spent += 1

    def give_back(self, account: str, address: str, *, now_s: float) -> None:
        """Undoes `take` for a try that succeeded."""
        with self._lock:
            for key in _keys(account, address):
                bucket = self._bucket(key, now_s)
                bucket.spent = max(0.0, bucket.spent - 1)

    def _bucket(self, key: tuple[str, str], now_s: float) -> _Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(spent=0.0, at_s=now_s)
            if len(self._buckets) > self._max_buckets:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(key)
            refilled = max(0.0, now_s - bucket.at_s) / self._limits[key[0]].refill_s
            bucket.spent = max(0.0, bucket.spent - refilled)
            bucket.at_s = max(bucket.at_s, now_s)
        return bucket


def _keys(account: str, address: str) -> Iterable[tuple[str, str]]:
    yield "account", account
    if address:
        yield "address", address
