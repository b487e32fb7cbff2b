"""Rate limit of failed logins: token buckets per account and address together, and per each alone.

Wrong passwords for the account of another person first use up the attempts of that account at the attacker's address,
so the owner is not locked out. Against many addresses the account has a larger bucket of its own; a browser that has
logged in to the account before is limited by its own bucket instead.

An address counts as what one customer of a provider gets: one IPv4 address, or an IPv6 network of 64 bits. As an owner
may have many of these, each IPv6 network of 48 bits is limited as well.
"""

import ipaddress
import math
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cc_backend.errors import TooManyRequests


@dataclass(frozen=True, slots=True)
class BucketLimit:
    """`burst` failures at once, then one more per `refill_s` seconds."""

    burst: int
    refill_s: float


@dataclass(frozen=True, slots=True)
class LoginAttempt:
    """Account and origin of a login; `browser` identifies a browser that has logged in to this account before."""

    account: str
    address: str = ""
    browser: str = ""


BucketKey = tuple[str, str]
"""Kind and owner of a bucket."""

ACCOUNT_AT_ADDRESS, ACCOUNT, ADDRESS, NETWORK, BROWSER = (
    "account at address",
    "account",
    "address",
    "network",
    "browser",
)

LIMITS: Mapping[str, BucketLimit] = {
    ACCOUNT_AT_ADDRESS: BucketLimit(burst=5, refill_s=180),
    ACCOUNT: BucketLimit(burst=30, refill_s=60),
    # Many people may share an address (a gateway, a proxy that is not trusted): more tries, faster refill.
    ADDRESS: BucketLimit(burst=20, refill_s=30),
    NETWORK: BucketLimit(burst=100, refill_s=6),
    BROWSER: BucketLimit(burst=5, refill_s=180),
}
MAX_BUCKETS_PER_KIND = 10_000
_ADDRESS_BITS, _NETWORK_BITS = 64, 48


@dataclass(slots=True)
class _Bucket:
    spent: float
    at_s: float


class LoginThrottle:
    """Counts failures only: an attempt consumes from its buckets, and is refunded if it succeeds.

    At most `max_buckets` buckets are kept per kind, and the least recently used is dropped, so that a flood of invented
    accounts does not drop the buckets of addresses.
    """

    def __init__(
        self, limits: Mapping[str, BucketLimit] | None = None, *, max_buckets: int = MAX_BUCKETS_PER_KIND
    ) -> None:
        self._limits = {**LIMITS, **(limits or {})}
        self._max_buckets = max_buckets
        self._buckets: dict[str, OrderedDict[str, _Bucket]] = {kind: OrderedDict() for kind in self._limits}
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))

    def consume(self, attempt: LoginAttempt, *, now_s: float) -> tuple[BucketKey, ...]:
        """Consume an attempt, and return the keys to `refund`.

        To be called before the password is checked, so that concurrent attempts cannot exceed the limit.

        Raises:
            TooManyRequests: no attempt is left; nothing is consumed.
        """
        with self._lock:
            if attempt.browser:
                keys: tuple[BucketKey, ...] = ((BROWSER, attempt.browser),)
                if self._wait_s(keys, now_s) <= 0:
                    return self._spend(keys, now_s)
            keys = tuple(_keys(attempt))
            wait_s = self._wait_s(keys, now_s)
            if wait_s > 0:
                retry_after_s = math.ceil(wait_s)
                raise TooManyRequests(
                    f"too many failed logins; try again in {retry_after_s} s", retry_after_s=retry_after_s
                )
            return self._spend(keys, now_s)

    def refund(self, keys: tuple[BucketKey, ...], *, now_s: float) -> None:
        """Return the attempt of a successful login."""
        with self._lock:
            for key in keys:
                bucket = self._bucket(key, now_s)
                bucket.spent = max(0.0, bucket.spent - 1)

    def _wait_s(self, keys: tuple[BucketKey, ...], now_s: float) -> float:
        """Seconds until all of the buckets have an attempt; 0 or less if they have one now."""
        waits = []
        for key in keys:
            limit = self._limits[key[0]]
            waits.append((self._bucket(key, now_s).spent + 1 - limit.burst) * limit.refill_s)
        return max(waits)

    def _spend(self, keys: tuple[BucketKey, ...], now_s: float) -> tuple[BucketKey, ...]:
        for key in keys:
            self._bucket(key, now_s).spent += 1
        return keys

    def _bucket(self, key: BucketKey, now_s: float) -> _Bucket:
        kind, name = key
        buckets = self._buckets[kind]
        bucket = buckets.get(name)
        if bucket is None:
            bucket = buckets[name] = _Bucket(spent=0.0, at_s=now_s)
            if len(buckets) > self._max_buckets:
                buckets.popitem(last=False)
        else:
            buckets.move_to_end(name)
            refilled = max(0.0, now_s - bucket.at_s) / self._limits[kind].refill_s
            bucket.spent = max(0.0, bucket.spent - refilled)
            bucket.at_s = now_s  # also if the clock was set back, or nothing would be refilled until it catches up
        return bucket


def _keys(attempt: LoginAttempt) -> Iterator[BucketKey]:
    yield ACCOUNT, attempt.account
    if attempt.address:
        address, network = _networks(attempt.address)
        yield ADDRESS, address
        yield ACCOUNT_AT_ADDRESS, f"{attempt.account}\0{address}"
        if network:
            yield NETWORK, network


def _networks(text: str) -> tuple[str, str]:
    """The limited address or network of a client, and the larger network that is limited as well, or empty."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return text, ""
    if isinstance(address, ipaddress.IPv4Address):
        return str(address), ""
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped), ""
    return _network(address, _ADDRESS_BITS), _network(address, _NETWORK_BITS)


def _network(address: ipaddress.IPv6Address, bits: int) -> str:
    return str(ipaddress.IPv6Network((int(address), bits), strict=False))
