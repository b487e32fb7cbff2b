"""Keys of a batch that are not known yet: what is new is registered only once a line of it is found fit to be stored.

A batch whose lines are refused, for whatever reason, so leaves no host and no series behind.
"""

from collections.abc import Collection, Iterator

from cc_backend.errors import NotAllowed, TooLarge
from cc_backend.metricstore.ingest.identity import Rejection
from cc_backend.metricstore.ingest.key_cache import KeyCache, Resolver
from cc_backend.metricstore.model import Identity
from cc_common.error_codes import ErrorCode
from cc_common.errors import LineProtocolError
from cc_common.line_protocol import parse_series

MAX_NEW_KEYS = 200_000
"""Maximum keys of one batch that have to be resolved, some 10 microseconds each."""

FIRST_NEW_CODE = 1 << 30
"""Codes from here on stand for new series of the batch, those below for registered ones."""


class NewKeys:
    """The new series of one batch, by a code each, and the keys that led to them."""

    def __init__(self) -> None:
        self._codes: dict[Identity, int] = {}
        self._keys: dict[bytes, int] = {}
        self._resolved = 0

    def code_of(self, series: bytes) -> int | None:
        """The code of a key that was met before in this batch."""
        return self._keys.get(series)

    def count_resolved(self) -> None:
        """Note that one more key was resolved.

        Raises:
            TooLarge: there are too many of them.
        """
        self._resolved += 1
        if self._resolved > MAX_NEW_KEYS:
            text = f"the batch has more than {MAX_NEW_KEYS} series that are new; send it in smaller parts"
            raise TooLarge(text, code=ErrorCode.BODY_TOO_LARGE)

    def add(self, series: bytes, identity: Identity) -> int:
        """The code of a new series."""
        code = self._codes.setdefault(identity, FIRST_NEW_CODE + len(self._codes))
        self._keys[series] = code
        return code

    def identities(self, codes: Collection[int]) -> list[Identity]:
        """The series behind codes, in their order."""
        known = list(self._codes)
        return [known[code - FIRST_NEW_CODE] for code in codes]

    def keys_of(self, codes: Collection[int]) -> Iterator[tuple[bytes, int]]:
        """Each key that led to one of these codes, with the code."""
        return ((series, code) for series, code in self._keys.items() if code in codes)

    def __len__(self) -> int:
        return len(self._codes)


class ScopedResolver:
    """Resolves keys for a caller who may write to some clusters only: a key of another one ends the batch.

    Such keys are remembered nowhere, and nothing of their batch is stored.
    """

    def __init__(self, resolver: Resolver, allowed_clusters: Collection[str]) -> None:
        self._resolver = resolver
        self._allowed_clusters = frozenset(allowed_clusters)

    def resolve(self, series: bytes, default_cluster: str) -> Identity | Rejection:
        """The identity behind a series key, or why there is none.

        Raises:
            NotAllowed: the key is of another cluster.
        """
        self._check_cluster(series, default_cluster)
        return self._resolver.resolve(series, default_cluster)

    def intern(self, spellings: KeyCache, series: bytes, default_cluster: str) -> int:
        """The code of a key that is not remembered yet; raises NotAllowed if it is of another cluster."""
        self._check_cluster(series, default_cluster)
        return self._resolver.intern(spellings, series, default_cluster)

    def _check_cluster(self, series: bytes, default_cluster: str) -> None:
        try:
            _, tags = parse_series(series)
        except LineProtocolError:
            return  # a key that cannot be read is of no cluster
        cluster = tags.get("cluster") or default_cluster
        if cluster and cluster not in self._allowed_clusters:
            text = f"this token is not for cluster {cluster[:60]!r}"
            raise NotAllowed(text, code=ErrorCode.CLUSTER_NOT_ALLOWED)
